//! Points in time and lengths of it as text.

use std::time::Duration;

use steadfast::Timestamp;

/// Writes a point in time as RFC 3339 does, in universal time: `2026-11-30T02:30:00Z`.
pub(crate) fn text(at: Timestamp) -> String {
    written(at, None)
}

/// The same with all three digits of the milliseconds, as lines have it below each other.
pub(crate) fn text_ms(at: Timestamp) -> String {
    written(at, Some(3))
}

fn written(at: Timestamp, digits: Option<usize>) -> String {
    let at = jiff::Timestamp::from_millisecond(at.unix_millis());
    let Ok(at) = at else {
        return "(out of range)".to_owned();
    };
    match digits {
        Some(digits) => format!("{at:.digits$}"),
        None => at.to_string(),
    }
}

/// Writes a length of time as settings read it: `1.5s`.
pub(crate) fn length(time: Duration) -> String {
    format!("{time:?}").replace('µ', "u")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_standard_says() {
        let check = |ms, expect| assert_eq!(text(Timestamp::from_unix_millis(ms)), expect);

        check(0, "1970-01-01T00:00:00Z");
        check(1_774_695_600_250, "2026-03-28T11:00:00.25Z");
        check(i64::MAX, "(out of range)");
        for time in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_micros(90_000_001),
        ] {
            assert_eq!(steadfast::settings::duration(&length(time)).unwrap(), time);
        }
        let ms = text_ms(Timestamp::from_unix_millis(0));
        assert_eq!(ms, "1970-01-01T00:00:00.000Z");
    }
}
