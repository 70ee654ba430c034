//! What a program says about its run: lines on standard output that begin with `::steadfast`.
//!
//! | line | says |
//! |---|---|
//! | `::steadfast beat` | it gets on; for handlers with `beat_every` |
//! | `::steadfast progress 40 copied 4 of 10` | the same, and how far |
//! | `::steadfast result {"rows": 10}` | what is kept as the result, as JSON |
//! | `::steadfast discard REASON` | another attempt would not help |
//! | `::steadfast retry-after 30s REASON` | the attempt failed, and the next is to come after that |
//! | `::steadfast snooze 10m REASON` | the time is not right: again after that, and no attempt is spent |
//!
//! The last three count however the program ends, and the last of them counts. No wait is longer than a day, and no line
//! than 16 KiB. What begins so and cannot be understood is output, and noted with the job.
//!
//! Its launcher says in the same way that it begins, and why it does not.

use std::time::Duration;

use steadfast::settings::duration;

use crate::handlers::WAIT_MAX;
use crate::process::launch::{BEGINS, MARK, NOT_BEGUN};
use crate::process::status::harmless;

/// Something that a program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Begins,
    NotBegun(String),
    Beat,
    Progress(u8, String),
    Result(String),
    End(End),
}

/// How a program wants its run to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Discard(String),
    RetryAfter(Duration, String),
    Snooze(Duration, String),
}

/// Tells whether a line is meant for us, also where nothing in it can be understood.
pub(super) fn is_meant(line: &[u8]) -> bool {
    line.starts_with(MARK.trim_end().as_bytes())
}

/// Reads a line; `None` for one that says nothing to us, or nothing that can be understood: that is
/// output. What it says in words goes into the log, without what moves a cursor.
pub(super) fn parse(line: &str) -> Option<Word> {
    let said = line.trim_end().strip_prefix(MARK)?;
    let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
    let rest = rest.trim();
    let timed = || {
        let (time, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        duration(time)
            .ok()
            .map(|time| (time.min(WAIT_MAX), harmless(rest.trim())))
    };
    match word {
        "beat" if rest.is_empty() => Some(Word::Beat),
        "progress" => {
            let (percent, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let percent = percent.trim_end_matches('%').parse().ok()?;
            (percent <= 100).then(|| Word::Progress(percent, harmless(text.trim())))
        }
        "result" => {
            serde_json::from_str::<serde::de::IgnoredAny>(rest).ok()?;
            Some(Word::Result(rest.to_owned()))
        }
        "discard" => Some(Word::End(End::Discard(harmless(rest)))),
        "retry-after" => timed().map(|(time, why)| Word::End(End::RetryAfter(time, why))),
        "snooze" => timed().map(|(time, why)| Word::End(End::Snooze(time, why))),
        BEGINS if rest.is_empty() => Some(Word::Begins),
        NOT_BEGUN => Some(Word::NotBegun(harmless(rest))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let check = |line: &str, expect: Word| assert_eq!(parse(line), Some(expect), "{line}");

        check("::steadfast beat\n", Word::Beat);
        check(
            "::steadfast progress 40 copied 4 of 10\r\n",
            Word::Progress(40, "copied 4 of 10".into()),
        );
        check("::steadfast progress 7%", Word::Progress(7, String::new()));
        check(
            "::steadfast result {\"rows\": 10}",
            Word::Result("{\"rows\": 10}".into()),
        );
        check(
            "::steadfast discard no such table",
            Word::End(End::Discard("no such table".into())),
        );
        check(
            "::steadfast retry-after 30s the bank is closed",
            Word::End(End::RetryAfter(
                Duration::from_secs(30),
                "the bank is closed".into(),
            )),
        );
        check(
            "::steadfast snooze 10m",
            Word::End(End::Snooze(Duration::from_secs(600), String::new())),
        );
        check(
            "::steadfast snooze 99999h the bank is closed",
            Word::End(End::Snooze(WAIT_MAX, "the bank is closed".into())),
        );
        check(
            "::steadfast retry-after 99999h",
            Word::End(End::RetryAfter(WAIT_MAX, String::new())),
        );
    }

    #[test]
    fn words_move_no_cursor() {
        let hostile = "\x1b[2J\x1b]0;x\x07\u{9b}2Jwell";
        let tame = " [2J ]0;x  2Jwell".to_owned();
        let check = |word: &str, expect: Word| {
            let line = format!("::steadfast {word} {hostile}\n");
            assert_eq!(parse(&line), Some(expect), "{line:?}");
        };

        let after = Duration::from_secs(1);
        check("discard", Word::End(End::Discard(tame.clone())));
        check(
            "retry-after 1s",
            Word::End(End::RetryAfter(after, tame.clone())),
        );
        check("progress 40", Word::Progress(40, tame.clone()));
        check("not-begun", Word::NotBegun(tame));
    }

    #[test]
    fn what_cannot_be_understood_is_output() {
        for line in [
            "beat",
            " ::steadfast beat",
            "::steadfast",
            "::steadfastbeat",
            "::steadfast beat it",
            "::steadfast progress",
            "::steadfast progress 101",
            "::steadfast progress -1",
            "::steadfast result {",
            "::steadfast result",
            "::steadfast retry-after soon",
            "::steadfast retry-after 30",
            "::steadfast snooze",
            "::steadfast snooze 99999999999999999999h",
            "::steadfast dance",
        ] {
            assert_eq!(parse(line), None, "{line}");
            let is_meant = is_meant(line.as_bytes());
            assert_eq!(is_meant, line.starts_with("::"), "{line}");
        }
    }
}
