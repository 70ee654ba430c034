//! What the program writes, passed on line by line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a line may be before it is passed on in parts: 16 KiB, a page of a log shipper. So a
/// program that never ends its line does not fill our memory.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How many lines are kept to be shown with a failure: 20, a screen without the backtrace.
const LAST_WORDS_MAX: usize = 20;

/// The latest lines of a program; a cheap clone.
#[derive(Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    pub(super) fn take(&self) -> Vec<String> {
        self.lines().drain(..).collect()
    }

    fn keep(&self, line: &[u8]) {
        let mut lines = self.lines();
        if lines.len() == LAST_WORDS_MAX {
            lines.pop_front();
        }
        let line = String::from_utf8_lossy(line);
        lines.push_back(line.trim_end().to_owned());
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what comes, in whole lines, so that those of the program and ours do not mix within one;
/// until the program and all that it started have closed it.
pub(super) async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    words: Option<LastWords>,
) {
    let mut pending = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        let room = LINE_BYTES_MAX - pending.len();
        let read = (&mut from).take(room as u64).read_buf(&mut pending).await;
        let ended = !matches!(read, Ok(read) if read > 0);
        let whole = match pending.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            // The rest of the last line, or one that is too long.
            None if ended || pending.len() == LINE_BYTES_MAX => pending.len(),
            None => continue,
        };
        let lines = &pending[..whole];
        if let Some(words) = &words {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                words.keep(line);
            }
        }
        // Whoever closed our output does not want it; the program goes on all the same.
        let _ = to.write_all(lines).await;
        let _ = to.flush().await;
        pending.drain(..whole);
        if ended && pending.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(input: &[u8]) -> (Vec<u8>, Vec<String>) {
        let (mut output, words) = (Vec::new(), LastWords::default());
        pass_on(input, &mut output, Some(words.clone())).await;
        (output, words.take())
    }

    #[tokio::test]
    async fn all_is_passed_on_and_the_latest_lines_are_kept() {
        let input: String = (0..30).map(|line| format!("line {line}\n")).collect();

        let (output, words) = passed(format!("{input}no end").as_bytes()).await;

        assert_eq!(output, format!("{input}no end").as_bytes());
        assert_eq!(words.len(), LAST_WORDS_MAX);
        assert_eq!((&*words[0], &*words[19]), ("line 11", "no end"));
    }

    #[tokio::test]
    async fn a_line_without_end_is_passed_on_in_parts() {
        let input = vec![b'x'; 3 * LINE_BYTES_MAX + 5];

        let (output, words) = passed(&input).await;

        assert_eq!(output, input);
        let lengths: Vec<_> = words.iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX, 5]);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_passed_on_as_they_are() {
        let (output, words) = passed(b"\xff\xfe\n").await;

        assert_eq!(output, b"\xff\xfe\n");
        assert_eq!(words, ["\u{fffd}\u{fffd}"]);
    }
}
