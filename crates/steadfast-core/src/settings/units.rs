//! Numbers as people write them.

use std::time::Duration;

use super::value::Wrong;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 24 * 3_600 * 1_000_000_000),
];

/// Reads a length of time: a number and its unit, `250ms`, `1.5 s`, `2m`.
///
/// Units are ns, us, ms, s, m, h and d, which has 24 hours whatever clocks do. A number alone is refused, because half of its readers would
/// take it for seconds and half for milliseconds.
///
/// # Errors
/// When it is none, or not a whole number of nanoseconds.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let split = text.find(|c| !number(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    let unknown = || {
        let message = format!("{text:?} is not a length of time");
        Wrong::new(message).with_fix("write a number and its unit, such as \"250ms\" or \"2s\"")
    };
    let no_unit = || {
        let message = format!("{text:?} has no unit");
        Wrong::new(message).with_fix(format!("write \"{number}ms\" or \"{number}s\""))
    };
    if unit.is_empty() && !number.is_empty() {
        return Err(no_unit());
    }
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(unknown)?;
    let nanos = scaled(number, *unit).ok_or_else(unknown)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| unknown())?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// Reads a part of a whole: `10 %`, or `0.1`.
///
/// # Errors
/// When it is neither. The range is not checked.
pub fn share(text: &str) -> Result<f64, Wrong> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let parsed = number
        .parse::<f64>()
        .ok()
        .filter(|_| number.chars().all(plain));
    match parsed {
        Some(value) => Ok(value / whole),
        None => Err(Wrong::new(format!("{text:?} is not a part of a whole"))
            .with_fix("write it as \"10 %\" or 0.1")),
    }
}

/// Multiplies a decimal number, exactly; `None` if what results is no whole number, or too large.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // 18 digits of each are more than any unit has use for, and cannot overflow.
    if !digits(whole) || !digits(fraction) || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let parts = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    let product = parts.checked_mul(unit)?;
    product.is_multiple_of(scale).then_some(product / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_exactly() {
        let check = |text, expect| assert_eq!(duration(text).ok(), Some(expect), "{text}");

        check("250ms", Duration::from_millis(250));
        check("2s", Duration::from_secs(2));
        check("2 s", Duration::from_secs(2));
        check("1.5s", Duration::from_millis(1_500));
        check("0.000000001s", Duration::from_nanos(1));
        check("15us", Duration::from_micros(15));
        check("15µs", Duration::from_micros(15));
        check("7ns", Duration::from_nanos(7));
        check("2m", Duration::from_secs(120));
        check("1h", Duration::from_secs(3_600));
        check("1d", Duration::from_secs(24 * 3_600));
        check("1.5d", Duration::from_secs(36 * 3_600));
        check("0s", Duration::ZERO);
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        let wrong = [
            "",
            "s",
            "ms",
            "-1s",
            "+1s",
            "1.s",
            ".5s",
            "1..5s",
            "1e3s",
            "1 2s",
            "1s2ms",
            "0.5ns",
            "2S",
            "2 sec",
            "1w",
            "99999999999999999999s",
            "999999999999999999h",
            "∞s",
            "1\u{660}s",
        ];
        for text in wrong {
            assert!(duration(text).is_err(), "{text}");
        }
        let message = duration("250").unwrap_err().to_string();
        assert_eq!(message, "\"250\" has no unit; write \"250ms\" or \"250s\"");
    }

    #[test]
    fn parts_of_a_whole_are_read_as_percent_or_fraction() {
        for (text, expect) in [
            ("10 %", 0.1),
            ("10%", 0.1),
            ("0.1", 0.1),
            ("100 %", 1.0),
            ("2.5 %", 0.025),
        ] {
            assert_eq!(share(text).ok(), Some(expect), "{text}");
        }
        for text in ["", "%", "ten", "nan", "inf", "1e-1", "-5 %", "10 % of it"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
