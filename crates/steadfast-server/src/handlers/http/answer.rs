//! What an answer says about a job.

use std::time::Duration;

use crate::handlers::WAIT_MAX;

/// What becomes of a job whose call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The work is done.
    Done,
    /// The work is under way, and its end is told later.
    Accepted,
    /// The target may do better next time, after this if it has said so.
    Again(Option<Duration>),
    /// Another attempt would be answered the same.
    Never,
}

/// Judges an answer by its status and its `Retry-After`.
pub(super) fn judge(status: u16, retry_after: Option<&str>, now_s: i64) -> Verdict {
    match status {
        202 => Verdict::Accepted,
        200..=299 => Verdict::Done,
        // Too early, too long, too many: each passes.
        408 | 425 | 429 | 500..=599 => {
            Verdict::Again(retry_after.and_then(|text| wait(text, now_s)))
        }
        // What is refused, and what lies elsewhere: a signed call does not go where an answer says.
        _ => Verdict::Never,
    }
}

/// Reads `Retry-After`: seconds, or a point in time.
fn wait(text: &str, now_s: i64) -> Option<Duration> {
    let text = text.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text)
                .ok()?
                .timestamp()
                .as_second();
            u64::try_from(at.saturating_sub(now_s)).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_what_becomes_of_a_job() {
        let check = |status, expect| assert_eq!(judge(status, None, 0), expect, "{status}");

        for done in [200, 201, 204, 299] {
            check(done, Verdict::Done);
        }
        check(202, Verdict::Accepted);
        for again in [408, 425, 429, 500, 502, 503, 504] {
            check(again, Verdict::Again(None));
        }
        for never in [100, 301, 302, 307, 400, 401, 404, 409, 410, 422, 600] {
            check(never, Verdict::Never);
        }
    }

    #[test]
    fn a_target_says_when_to_come_back() {
        let check = |text, expect| {
            let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
            assert_eq!(
                judge(503, Some(text), 1_774_695_600),
                Verdict::Again(seconds(expect)),
                "{text}"
            );
        };

        check("30", Some(30));
        check(" 0 ", Some(0));
        check("Sat, 28 Mar 2026 11:01:00 GMT", Some(60));
        check("Sat, 28 Mar 2026 10:00:00 GMT", Some(0));
        check("99999999999", Some(86_400));
        for nothing in ["", "soon", "-5", "1.5", "99999999999999999999999"] {
            check(nothing, None);
        }
    }
}
