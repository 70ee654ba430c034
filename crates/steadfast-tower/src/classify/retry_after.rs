//! When to come back, by the word of the dependency.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use steadfast_core::clock::Timestamp;

use crate::reject::GRPC_PUSHBACK;

/// What a service of gRPC says about another attempt.
pub(super) enum Pushback {
    Absent,
    Wait(Duration),
    /// By a negative number, and by anything that is none.
    Never,
}

pub(super) fn pushback(headers: &HeaderMap) -> Pushback {
    let Some(value) = headers.get(GRPC_PUSHBACK) else {
        return Pushback::Absent;
    };
    match value.to_str().ok().and_then(number) {
        Some(millis) => Pushback::Wait(Duration::from_millis(millis)),
        None => Pushback::Never,
    }
}

/// Reads `Retry-After`: seconds, or a date. What is neither is as good as absent.
pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = number(value) {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    // By the clock of whoever has set the date, if it tells: ours may be another.
    let now = date(headers).unwrap_or(SystemTime::from(now));
    // In the past means now.
    Some(then.duration_since(now).unwrap_or_default())
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let value = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(value).ok()
}

/// Digits only; more than fit are as many as fit.
fn number(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    fn asked(value: &[u8], date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        let now = httpdate::parse_http_date(NOON).unwrap();
        read(&headers, Timestamp::from(now))
    }

    #[test]
    fn it_is_read_as_seconds_and_in_every_form_of_a_date() {
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("99999999999999999999999", u64::MAX),
            ("Sun, 06 Nov 1994 12:00:30 GMT", 30),
            ("Sunday, 06-Nov-94 12:00:30 GMT", 30),
            ("Sun Nov  6 12:00:30 1994", 30),
            ("Sun, 06 Nov 1994 11:00:00 GMT", 0),
        ] {
            let expected = Some(Duration::from_secs(seconds));
            assert_eq!(asked(value.as_bytes(), None), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_neither_is_as_good_as_absent() {
        for value in [
            "",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "soon",
            "0x10",
            "1, 2",
            "Sun, 06 Nov 1994",
            "\t",
        ] {
            assert_eq!(asked(value.as_bytes(), None), None, "{value:?}");
        }
        assert_eq!(asked(b"\xff\xfe", None), None);
    }

    #[test]
    fn a_date_is_judged_by_the_clock_of_whoever_has_set_it() {
        // Its clock is an hour behind ours.
        let date = "Sun, 06 Nov 1994 11:00:00 GMT";

        let after = asked(b"Sun, 06 Nov 1994 11:00:30 GMT", Some(date));

        assert_eq!(after, Some(Duration::from_secs(30)));
    }

    proptest! {
        #[test]
        fn no_value_panics(value: Vec<u8>, date: Vec<u8>) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, value), (DATE, date)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.insert(name, value);
                }
            }
            let _ = read(&headers, Timestamp::from(SystemTime::UNIX_EPOCH));
        }
    }
}
