//! What a program writes: read as fast as it comes, and kept within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::protocol::{self, Word};
use crate::process::status::harmless;

/// How long a line may be before it is taken in parts: 16 KiB, as by `steadfast exec`.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How many lines of standard error are told with a failure: 20, and at most 2 KiB of them, half of
/// what is kept of an error.
const LAST_WORDS_MAX: usize = 20;
const LAST_WORDS_BYTES_MAX: usize = 2 * 1024;

/// How much is shown of a line that is not understood: 60 characters, which have the word and what follows.
const SHOWN_CHARS_MAX: usize = 60;

/// How much of the output is told with a failure: 3 KiB, of the 4 KiB that are kept of an error.
const FAILURE_BYTES_MAX: usize = 3 * 1024;

/// What was written, in the order in which it came: the beginning and the end of it.
#[derive(Debug, Clone)]
pub(super) struct Output(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    head: Vec<u8>,
    head_max: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    bytes: u64,
    last_words: VecDeque<String>,
}

impl Output {
    pub(super) fn new(bytes_max: usize) -> Self {
        let head_max = bytes_max / 4;
        Self(Arc::new(Mutex::new(Kept {
            head: Vec::new(),
            head_max,
            tail: VecDeque::new(),
            tail_max: bytes_max - head_max,
            bytes: 0,
            last_words: VecDeque::new(),
        })))
    }

    fn keep(&self, line: &[u8]) {
        let mut kept = self.kept();
        kept.bytes = kept.bytes.saturating_add(line.len() as u64);
        let room = kept.head_max.saturating_sub(kept.head.len());
        // Once something has gone to the end, nothing is the beginning any more.
        let room = if kept.tail.is_empty() { room } else { 0 };
        let (head, tail) = line.split_at(room.min(line.len()));
        kept.head.extend_from_slice(head);
        kept.tail.extend(tail);
        let over = kept.tail.len().saturating_sub(kept.tail_max);
        kept.tail.drain(..over);
    }

    fn keep_words(&self, line: &[u8]) {
        let mut kept = self.kept();
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        kept.last_words.push_back(line);
        let bytes = |words: &VecDeque<String>| words.iter().map(String::len).sum::<usize>();
        while kept.last_words.len() > LAST_WORDS_MAX
            || (kept.last_words.len() > 1 && bytes(&kept.last_words) > LAST_WORDS_BYTES_MAX)
        {
            kept.last_words.pop_front();
        }
        // One that is too long alone.
        if let Some(line) = kept.last_words.front_mut() {
            while line.len() > LAST_WORDS_BYTES_MAX {
                line.pop();
            }
        }
    }

    /// Gives what is kept as text, of its beginning and its end at most so many bytes, and how many
    /// were written.
    pub(super) fn text(&self, bytes_max: usize) -> (String, u64) {
        let kept = self.kept();
        let tail: Vec<u8> = kept.tail.iter().copied().collect();
        let (head, tail) = (
            String::from_utf8_lossy(&kept.head),
            String::from_utf8_lossy(&tail),
        );
        let head_end = (0..=head.len().min(bytes_max / 4))
            .rev()
            .find(|at| head.is_char_boundary(*at))
            .unwrap_or(0);
        let room = bytes_max.saturating_sub(head_end);
        let tail_from = (tail.len().saturating_sub(room)..=tail.len())
            .find(|at| tail.is_char_boundary(*at))
            .unwrap_or(tail.len());
        // What fits in one piece is shown in one.
        let (head_end, tail_from) = match head.len() + tail.len() <= bytes_max {
            true => (head.len(), 0),
            false => (head_end, tail_from),
        };
        let held = (kept.head.len() + kept.tail.len()) as u64;
        let mut text = head[..head_end].to_owned();
        if kept.bytes > held || head_end < head.len() || tail_from > 0 {
            text.push_str("\n[… cut …]\n");
        }
        text.push_str(&tail[tail_from..]);
        (text, kept.bytes)
    }

    /// Gives what is told with a failure: the latest lines of standard error, unless they are in the text, and the
    /// beginning and the end of all that is kept, as lines that stand in from the margin.
    pub(super) fn told(&self) -> (Vec<String>, String) {
        let last_words: Vec<String> = self.kept().last_words.iter().cloned().collect();
        let text = self.indented(FAILURE_BYTES_MAX);
        let is_in_it = |line: &String| text.contains(&harmless(line));
        match last_words.iter().all(is_in_it) {
            true => (Vec::new(), text),
            false => (last_words, self.indented(FAILURE_BYTES_MAX / 3)),
        }
    }

    /// Gives the text in from the margin, where no line of a program can be taken for one of ours.
    fn indented(&self, bytes_max: usize) -> String {
        // The cut alone says nothing.
        let bytes_kept = {
            let kept = self.kept();
            kept.head.len() + kept.tail.len()
        };
        if bytes_kept == 0 {
            return String::new();
        }
        let mut room = bytes_max;
        loop {
            let text = self.text(room).0;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let lines: String = lines
                .map(|line| format!("\n    {}", harmless(line)))
                .collect();
            if lines.len() <= bytes_max || room == 0 {
                return lines;
            }
            room /= 2;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is meant for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Word(Word),
    /// Which line begins as if it were, in words.
    NotUnderstood(String),
}

/// Reads to the end; `said` is given what is meant for us, of which no word is kept that is understood.
pub(super) async fn read_stdout(from: impl AsyncRead + Unpin, output: Output, said: impl Fn(Said)) {
    let mut number = 0_u64;
    lines(from, |line, begins| {
        number += u64::from(begins);
        let text = std::str::from_utf8(line).ok().filter(|_| begins);
        match text.and_then(protocol::parse) {
            Some(word) => {
                // The first line of all is that of the launcher, and not the program's.
                number -= u64::from(word == Word::Begins);
                said(Said::Word(word));
            }
            None => {
                if begins && protocol::is_meant(line) {
                    said(Said::NotUnderstood(not_understood(number, line)));
                }
                output.keep(line);
            }
        }
    })
    .await;
}

fn not_understood(number: u64, line: &[u8]) -> String {
    if line.len() == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        return format!(
            "line {number} is too long to be understood: {LINE_BYTES_MAX} bytes at most"
        );
    }
    let line = harmless(String::from_utf8_lossy(line).trim_end());
    let begin: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    format!("line {number} is not understood: {begin}")
}

/// Reads to the end.
pub(super) async fn read_stderr(from: impl AsyncRead + Unpin, output: Output) {
    lines(from, |line, _| {
        output.keep(line);
        output.keep_words(line);
    })
    .await;
}

/// Gives whole lines with their ends, or parts of those that are too long, and whether a line begins with it.
async fn lines(mut from: impl AsyncRead + Unpin, mut each: impl FnMut(&[u8], bool)) {
    let mut begins = true;
    let mut pending = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        let room = LINE_BYTES_MAX - pending.len();
        let read = (&mut from).take(room as u64).read_buf(&mut pending).await;
        let ended = !matches!(read, Ok(read) if read > 0);
        let whole = match pending.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if ended || pending.len() == LINE_BYTES_MAX => pending.len(),
            None => 0,
        };
        let whole = if ended { pending.len() } else { whole };
        for line in pending[..whole].split_inclusive(|byte| *byte == b'\n') {
            each(line, begins);
            begins = line.ends_with(b"\n");
        }
        pending.drain(..whole);
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn output(bytes_max: usize, input: &[u8]) -> (Output, Vec<Word>) {
        let (output, words) = (Output::new(bytes_max), Mutex::new(Vec::new()));
        read_stdout(input, output.clone(), |said| match said {
            Said::Word(word) => words.lock().unwrap().push(word),
            Said::NotUnderstood(_) => {}
        })
        .await;
        (output, words.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_short_is_kept_whole_without_what_is_meant_for_us() {
        let (output, words) = output(1_000, b"one\n::steadfast beat\ntwo, no end").await;

        assert_eq!(output.text(1_000), ("one\ntwo, no end".into(), 15));
        assert_eq!(words, [Word::Beat]);
    }

    #[tokio::test]
    async fn what_is_told_with_a_failure_moves_no_cursor() {
        let input = b"well\n\r\x1b[2K2026-11-30T14:00:00.000Z  INFO all is well\ttab\n";
        let output = Output::new(1_000);
        read_stderr(&input[..], output.clone()).await;

        let (last_words, text) = output.told();

        assert_eq!(last_words, [""; 0]);
        assert_eq!(
            text,
            "\n    well\n      [2K2026-11-30T14:00:00.000Z  INFO all is well\ttab"
        );
    }

    #[tokio::test]
    async fn of_what_is_long_the_beginning_and_the_end_are_kept() {
        let input: String = (0..1_000)
            .map(|number| format!("line {number}\n"))
            .collect();

        let (output, _) = output(80, input.as_bytes()).await;
        let (text, bytes) = output.text(1_000);

        assert!(text.starts_with("line 0\nline 1\nline 2"), "{text}");
        assert!(text.contains("[… cut …]"), "{text}");
        assert!(text.ends_with("line 998\nline 999\n"), "{text}");
        assert!(text.len() < 120, "{text}");
        assert_eq!(bytes, input.len() as u64);
    }

    #[tokio::test]
    async fn a_word_begins_a_line_wherever_one_that_is_too_long_is_divided() {
        let mut input = vec![b'x'; LINE_BYTES_MAX];
        input.extend(b"::steadfast discard said by others\n::steadfast beat\n");

        let (output, words) = output(64, &input).await;

        assert_eq!(words, [Word::Beat]);
        assert!(output.text(64).0.ends_with("discard said by others\n"));
    }

    #[tokio::test]
    async fn what_is_meant_for_us_and_not_understood_is_output_and_noted() {
        let check = async |input: &[u8], expect: &str| {
            let (output, notes) = (Output::new(100_000), Mutex::new(Vec::new()));
            read_stdout(input, output.clone(), |said| {
                if let Said::NotUnderstood(note) = said {
                    notes.lock().unwrap().push(note);
                }
            })
            .await;
            assert_eq!(notes.into_inner().unwrap(), [expect]);
            output.text(100_000).0
        };

        let kept = check(
            b"::steadfast begins\none\n::steadfast progress 400\n",
            "line 2 is not understood: ::steadfast progress 400",
        );
        assert_eq!(kept.await, "one\n::steadfast progress 400\n");
        check(
            b"::steadfast result {\"rows\": 10\x1b[2J",
            "line 1 is not understood: ::steadfast result {\"rows\": 10 [2J",
        )
        .await;
        let long = format!("::steadfast result \"{}\"\n", "x".repeat(70_000));
        check(
            long.as_bytes(),
            "line 1 is too long to be understood: 16384 bytes at most",
        )
        .await;
    }

    #[tokio::test]
    async fn a_flood_without_lines_is_bounded() {
        let (output, _) = output(64, &vec![b'x'; 100 * LINE_BYTES_MAX]).await;

        let (text, bytes) = output.text(1_000);
        assert_eq!(bytes, 100 * LINE_BYTES_MAX as u64);
        assert!(text.len() < 100);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_shown_as_such_within_the_bound() {
        let (output, _) = output(64, &[0xff; 1_000]).await;

        assert!(output.text(64).0.len() < 100);
        assert_eq!(output.text(0).0, "\n[… cut …]\n");
    }

    #[tokio::test]
    async fn nothing_is_kept_where_nothing_is_wanted() {
        let (output, _) = output(0, b"one\ntwo\n").await;

        assert_eq!(output.text(1_000), ("\n[… cut …]\n".into(), 8));
    }

    #[tokio::test]
    async fn the_latest_lines_of_standard_error_are_told_with_a_failure() {
        let input: String = (0..30).map(|number| format!("line {number}\n")).collect();
        let output = Output::new(10);
        read_stderr(input.as_bytes(), output.clone()).await;
        let (last_words, text) = output.told();
        assert_eq!(last_words.len(), LAST_WORDS_MAX);
        assert_eq!(last_words[19], "line 29");
        assert_eq!(text, "\n    li\n    [… cut …]\n    line 29");

        let output = Output::new(10);
        read_stderr(&vec![b'y'; 3 * LINE_BYTES_MAX][..], output.clone()).await;
        let words: usize = output.told().0.iter().map(String::len).sum();
        assert!(words <= LAST_WORDS_BYTES_MAX, "{words}");
    }

    #[tokio::test]
    async fn what_is_told_with_a_failure_has_both_outputs_within_the_bound() {
        let output = Output::new(1_000);
        read_stdout(&b"begun\n\n"[..], output.clone(), drop).await;
        read_stderr(&b"no luck\n"[..], output.clone()).await;
        assert_eq!(
            output.told(),
            (Vec::new(), "\n    begun\n    no luck".into())
        );

        let output = Output::new(49_152);
        read_stderr(&b"no luck\n"[..], output.clone()).await;
        read_stdout(&b"x\n".repeat(40_000)[..], output.clone(), drop).await;
        let (last_words, text) = output.told();
        assert!(last_words.is_empty() && text.len() <= FAILURE_BYTES_MAX);
        assert!(
            text.starts_with("\n    no luck\n    x") && text.ends_with("\n    x"),
            "{text}"
        );

        // Nothing is to be kept: then the last words are.
        let output = Output::new(0);
        read_stderr(&b"no luck\n"[..], output.clone()).await;
        assert_eq!(output.told(), (vec!["no luck".into()], String::new()));
    }
}
