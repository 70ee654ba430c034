use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Our own header, in whole milliseconds.
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-steadfast-timeout-ms");

/// The header of gRPC: at most eight digits and a unit.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What Envoy tells the service behind it, in whole milliseconds.
pub const ENVOY_EXPECTED_TIMEOUT: HeaderName =
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// The most digits that gRPC allows.
const GRPC_DIGITS_MAX: usize = 8;

/// The units of gRPC with their nanoseconds, the finest first.
const GRPC_UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Gives the shortest time that any of the headers says; `None` when none says one.
pub(crate) fn shortest(headers: &HeaderMap) -> Option<Duration> {
    let all = |name, read: fn(&[u8]) -> Option<Duration>| {
        let values = headers.get_all(name).iter();
        values.filter_map(move |value| read(value.as_bytes())).min()
    };
    // Zero means without a limit there.
    let envoy = all(ENVOY_EXPECTED_TIMEOUT, |text| {
        milliseconds(text).filter(|time| !time.is_zero())
    });
    let said = [all(TIMEOUT, milliseconds), all(GRPC_TIMEOUT, grpc), envoy];
    said.into_iter().flatten().min()
}

/// Gives the shortest time that `grpc-timeout` says.
pub(super) fn shortest_grpc(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(GRPC_TIMEOUT).iter();
    values.filter_map(|value| grpc(value.as_bytes())).min()
}

fn milliseconds(text: &[u8]) -> Option<Duration> {
    number(text).map(Duration::from_millis)
}

fn grpc(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let (_, nanos) = GRPC_UNITS.iter().find(|(known, _)| known == unit)?;
    if digits.len() > GRPC_DIGITS_MAX {
        return None;
    }
    // At most 10^8 hours: more nanoseconds than 64 bits hold.
    Some(Duration::from_nanos(number(digits)?.saturating_mul(*nanos)))
}

/// Reads digits and nothing else; what is too large is the largest there is.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// Writes a time in whole milliseconds: rounded down, since whoever is told too much works for
/// nobody; but never to zero, which says that it is over.
pub(super) fn in_milliseconds(left: Duration) -> HeaderValue {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    HeaderValue::from(millis.max(1))
}

/// Writes a time in the finest unit for which eight digits are enough, rounded down.
pub(super) fn in_grpc(left: Duration) -> HeaderValue {
    const MAX: u128 = 10u128.pow(GRPC_DIGITS_MAX as u32) - 1;
    let fits = |(unit, nanos): &(u8, u64)| {
        let number = left.as_nanos() / u128::from(*nanos);
        (number <= MAX).then(|| format!("{number}{}", char::from(*unit)))
    };
    let text = GRPC_UNITS.iter().find_map(fits);
    // Only hours can be too many.
    let text = text.unwrap_or_else(|| format!("{MAX}H"));
    HeaderValue::try_from(text).expect("digits and a letter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(values: &[(HeaderName, &str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value.parse().unwrap());
        }
        shortest(&headers)
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_well_formed_is_read() {
        for (name, value, time) in [
            (TIMEOUT, "1500", ms(1_500)),
            (TIMEOUT, "0", ms(0)),
            (TIMEOUT, "0007", ms(7)),
            (TIMEOUT, "99999999999999999999999999", ms(u64::MAX)),
            (ENVOY_EXPECTED_TIMEOUT, "15000", ms(15_000)),
            (GRPC_TIMEOUT, "1H", ms(3_600_000)),
            (GRPC_TIMEOUT, "2M", ms(120_000)),
            (GRPC_TIMEOUT, "3S", ms(3_000)),
            (GRPC_TIMEOUT, "4m", ms(4)),
            (GRPC_TIMEOUT, "5000u", ms(5)),
            (GRPC_TIMEOUT, "6000000n", ms(6)),
            (GRPC_TIMEOUT, "0n", ms(0)),
            (
                GRPC_TIMEOUT,
                "99999999H",
                Some(Duration::from_nanos(u64::MAX)),
            ),
        ] {
            assert_eq!(said(&[(name.clone(), value)]), time, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        for (name, value) in [
            (TIMEOUT, ""),
            (TIMEOUT, "-5"),
            (TIMEOUT, "+5"),
            (TIMEOUT, "1.5"),
            (TIMEOUT, "1e3"),
            (TIMEOUT, "5ms"),
            (TIMEOUT, "5, 6"),
            (TIMEOUT, "\u{665}"),
            (ENVOY_EXPECTED_TIMEOUT, "-1"),
            (ENVOY_EXPECTED_TIMEOUT, "0"),
            (GRPC_TIMEOUT, ""),
            (GRPC_TIMEOUT, "S"),
            (GRPC_TIMEOUT, "5"),
            (GRPC_TIMEOUT, "5s"),
            (GRPC_TIMEOUT, "-5S"),
            (GRPC_TIMEOUT, "5 S"),
            (GRPC_TIMEOUT, "123456789n"),
        ] {
            assert_eq!(said(&[(name.clone(), value)]), None, "{name}: {value}");
        }
        assert_eq!(said(&[]), None);
    }

    #[test]
    fn of_several_the_shortest_holds() {
        let three = [
            (GRPC_TIMEOUT, "3S"),
            (ENVOY_EXPECTED_TIMEOUT, "2000"),
            (TIMEOUT, "4000"),
        ];
        assert_eq!(said(&three), ms(2_000));
        assert_eq!(
            said(&[(TIMEOUT, "9"), (TIMEOUT, "x"), (TIMEOUT, "8")]),
            ms(8)
        );
    }

    #[test]
    fn the_finest_unit_is_written_for_which_the_digits_are_enough() {
        for (nanos, text) in [
            (1, "1n"),
            (99_999_999, "99999999n"),
            (100_000_000, "100000u"),
            (1_500_000_000, "1500000u"),
            (u64::MAX, "5124095H"),
        ] {
            assert_eq!(in_grpc(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(in_grpc(Duration::MAX), "99999999H");
        assert_eq!(in_milliseconds(Duration::from_micros(900)), "1");
        assert_eq!(in_milliseconds(Duration::from_micros(2_900)), "2");
        assert_eq!(in_milliseconds(Duration::MAX), "18446744073709551615");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_no_more_and_hardly_less(nanos in 1_000_000..u64::MAX / 2) {
            let left = Duration::from_nanos(nanos);

            for (name, value) in [(TIMEOUT, in_milliseconds(left)), (GRPC_TIMEOUT, in_grpc(left))] {
                let read = said(&[(name, value.to_str().unwrap())]).unwrap();
                prop_assert!(read <= left);
                // A millisecond, or what the next coarser unit has of eight digits: the second is a
                // thousand times as long as the millisecond.
                let lost = Duration::from_millis(1).max(left / 99_999);
                prop_assert!(left - read <= lost, "{left:?} became {read:?}");
            }
        }

        #[test]
        fn anything_may_come(text in "[ -~]{0,30}") {
            for name in [TIMEOUT, GRPC_TIMEOUT, ENVOY_EXPECTED_TIMEOUT] {
                let digits = text.bytes().filter(u8::is_ascii_digit).count();
                prop_assert!(said(&[(name, &text)]).is_none() || digits > 0);
            }
        }
    }
}
