use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use crate::rng;

/// Ties together everything that happened for one request or job, across hosts: 128 bits, never
/// zero, written as 32 lower-case hexadecimal digits (W3C trace context).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// Names one timed part of a trace: 64 bits, never zero, written as 16 lower-case hexadecimal
/// digits (W3C trace context).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// Says that a text is not a trace or span id: wrong length, a digit that is not lower-case
/// hexadecimal, or all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {expected} lower-case hexadecimal digits, or all of them zero")]
pub struct InvalidId {
    expected: usize,
}

impl TraceId {
    /// Makes a fresh random id.
    pub fn random() -> Self {
        let bits = u128::from(rng::bits()) << 64 | u128::from(rng::bits());
        Self(NonZeroU128::new(bits).unwrap_or(NonZeroU128::MIN))
    }

    /// Takes an id from its bits; zero is no id.
    pub fn from_bits(bits: u128) -> Option<Self> {
        NonZeroU128::new(bits).map(Self)
    }

    /// Gives the bits.
    pub const fn bits(self) -> u128 {
        self.0.get()
    }

    /// Gives the digits, in ASCII: for headers, which are written for every request.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (place, eight) in digits.chunks_exact_mut(8).enumerate() {
            eight.copy_from_slice(&eight_digits((self.bits() >> (96 - 32 * place)) as u32));
        }
        digits
    }
}

impl SpanId {
    /// Makes a fresh random id.
    pub fn random() -> Self {
        Self(NonZeroU64::new(rng::bits()).unwrap_or(NonZeroU64::MIN))
    }

    /// Takes an id from its bits; zero is no id.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// Gives the bits.
    pub const fn bits(self) -> u64 {
        self.0.get()
    }

    /// Gives the digits, in ASCII: for headers, which are written for every call.
    pub fn digits(self) -> [u8; 16] {
        let mut digits = [0; 16];
        for (place, eight) in digits.chunks_exact_mut(8).enumerate() {
            eight.copy_from_slice(&eight_digits((self.bits() >> (32 - 32 * place)) as u32));
        }
        digits
    }
}

impl FromStr for TraceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { expected: 32 };
        let bits = hexadecimal(text, 32).ok_or(invalid)?;
        Self::from_bits(bits).ok_or(invalid)
    }
}

impl FromStr for SpanId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { expected: 16 };
        let bits = hexadecimal(text, 16).ok_or(invalid)?;
        // Sixteen digits fit into 64 bits.
        Self::from_bits(bits as u64).ok_or(invalid)
    }
}

/// Reads exactly `digits` lower-case digits: the standard forbids upper case, and
/// `from_str_radix` would take it and a sign as well.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    text.bytes().try_fold(0u128, |bits, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(bits << 4 | u128::from(digit))
    })
}

/// Gives the digits of 32 bits. By hand, since every request has its ids written several times: the eight
/// are made at once, each in a byte of its own.
fn eight_digits(bits: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let spread = u64::from(bits);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (spread | spread << 4) & (15 * EACH);
    // One for each that is ten or more: six more than that does not fit into four bits.
    let letters = (values + 6 * EACH) >> 4 & EACH;
    let to_letter = u64::from(b'a' - b'9' - 1);
    (values + u64::from(b'0') * EACH + letters * to_letter).to_be_bytes()
}

fn show(digits: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.digits(), f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.digits(), f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_way_through_text() {
        let (trace, span) = (TraceId::random(), SpanId::random());

        assert_eq!(trace.to_string(), format!("{:032x}", trace.bits()));
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert_eq!(span.to_string(), format!("{:016x}", span.bits()));
        assert_eq!(span.to_string().parse(), Ok(span));
    }

    #[test]
    fn every_digit_stands_at_its_place() {
        for place in 0..32 {
            for value in 1..16u128 {
                // Beside zeros, and beside the greatest digits.
                for others in [0, !(15u128 << (4 * place))] {
                    let bits = others | value << (4 * place);
                    let trace = TraceId::from_bits(bits).expect("not zero");
                    assert_eq!(trace.to_string(), format!("{bits:032x}"));
                    if let Some(span) = SpanId::from_bits(bits as u64) {
                        assert_eq!(span.to_string(), format!("{:016x}", bits as u64));
                    }
                }
            }
        }
    }

    #[test]
    fn texts_that_the_standard_forbids_are_refused() {
        for text in [
            "",
            "0",
            "00000000000000000000000000000000",
            "0AF7651916CD43DD8448EB211C80319C",
            "+af7651916cd43dd8448eb211c80319c",
            "0af7651916cd43dd8448eb211c80319cc",
            "0af7651916cd43dd8448eb211c8031é",
        ] {
            assert!(text.parse::<TraceId>().is_err(), "{text:?}");
        }
        assert!("0000000000000000".parse::<SpanId>().is_err());
        assert!("00f067aa0ba902b".parse::<SpanId>().is_err());
    }
}
