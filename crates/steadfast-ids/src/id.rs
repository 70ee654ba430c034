//! An id as a number, as text, and in documents.
//!
//! # JavaScript
//! A number of JavaScript counts exactly up to 2⁵³ − 1 (`Number.MAX_SAFE_INTEGER`). A larger one is rounded
//! without a word: `JSON.parse("9007199254740993")` is `9007199254740992`, another id. So an [`Id`] is text
//! in documents ([`serde`](#documents)), and whoever wants numbers all the same takes
//! [`Layout::JAVASCRIPT`](crate::Layout::JAVASCRIPT), whose ids have 53 bits, and says so with [`as_number`].
//!
//! # Text
//! Besides the decimal number there is base 32 in Crockford's alphabet ([`Id::text`]): always 13 characters, without
//! the letters that are misread (`I L O U`), and in the order of the numbers. A check character
//! ([`Id::checked_text`]) finds every single wrong character and every swap of neighbors, for ids that people
//! type or read out.
//!
//! # Documents
//! With the feature `serde` an id is written as decimal text and read from text or from a number. As a field
//! with `#[serde(with = "steadfast_ids::id::as_number")]` it is written as a number.

use std::fmt;
use std::str::FromStr;

/// A unique id.
///
/// # Examples
/// ```
/// use steadfast_ids::Id;
///
/// let id = Id::new(121_413_632_000_073_735);
/// assert_eq!(id.to_string(), "121413632000073735");
/// assert_eq!(id.text(), "03BTS1RB42807");
/// assert_eq!(Id::from_text("03bts1rb428o7")?, id);       // people write O for 0
///
/// let checked = id.checked_text();
/// assert_eq!(Id::from_checked_text(&checked)?, id);
/// assert!(Id::from_checked_text(&checked.replace("3B", "B3")).is_err());
/// # Ok::<(), steadfast_ids::id::InvalidId>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

/// Refuses a text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidId(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("an id is a number from 0 to 18446744073709551615, in decimal digits without a sign")]
    Number,
    #[error("an id in base 32 has {expected} characters, this text has {found}")]
    Length { expected: usize, found: usize },
    #[error("`{0}` at character {1} is not a digit of base 32")]
    Digit(char, usize),
    #[error("the number is too large for an id: its first character is over F")]
    TooLarge,
    #[error("the check character does not fit: a character is wrong, or two are swapped")]
    Check,
}

/// The digits, and behind them the five more that the check character may be.
const DIGITS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

const LENGTH: usize = 13;

impl Id {
    /// Makes an id of a number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Gives the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Gives the number as databases store it; `None` if it has 64 bits, which no layout of ours gives.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    /// Makes an id of a number from a database; `None` if it is negative.
    #[must_use]
    pub fn from_i64(id: i64) -> Option<Self> {
        u64::try_from(id).ok().map(Self)
    }

    /// Gives it in base 32: 13 characters, which order as the numbers do.
    #[must_use]
    pub fn text(self) -> String {
        let digit = |place: usize| DIGITS[(self.0 >> (5 * place)) as usize & 31];
        (0..LENGTH)
            .rev()
            .map(|place| char::from(digit(place)))
            .collect()
    }

    /// Gives it in base 32 with a check character behind.
    #[must_use]
    pub fn checked_text(self) -> String {
        let mut text = self.text();
        text.push(char::from(DIGITS[(self.0 % 37) as usize]));
        text
    }

    /// Reads base 32: in upper or lower case, with `O` for 0 and `I` or `L` for 1.
    ///
    /// # Errors
    /// [`InvalidId`].
    pub fn from_text(text: &str) -> Result<Self, InvalidId> {
        let digits = split(text, LENGTH)?;
        let mut id: u64 = 0;
        for (index, c) in digits.into_iter().enumerate() {
            let Some(value) = value(c).filter(|value| *value < 32) else {
                return Err(Refusal::Digit(c, index + 1).into());
            };
            // Thirteen times five bits are one too many.
            if index == 0 && value > 15 {
                return Err(Refusal::TooLarge.into());
            }
            id = (id << 5) | value;
        }
        Ok(Self(id))
    }

    /// Reads base 32 with a check character behind.
    ///
    /// # Errors
    /// [`InvalidId`], also if the check character does not fit.
    pub fn from_checked_text(text: &str) -> Result<Self, InvalidId> {
        let check = split(text, LENGTH + 1)?.pop();
        let digits = &text[..text
            .char_indices()
            .nth(LENGTH)
            .map_or(text.len(), |(at, _)| at)];
        let id = Self::from_text(digits)?;
        match check.and_then(value) {
            Some(value) if value == id.0 % 37 => Ok(id),
            _ => Err(Refusal::Check.into()),
        }
    }
}

fn split(text: &str, expected: usize) -> Result<Vec<char>, InvalidId> {
    let found = text.chars().take(expected + 1).count();
    if found != expected {
        let found = if found > expected {
            text.chars().count()
        } else {
            found
        };
        return Err(Refusal::Length { expected, found }.into());
    }
    Ok(text.chars().collect())
}

fn value(c: char) -> Option<u64> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let index = DIGITS.iter().position(|digit| char::from(*digit) == c)?;
    Some(index as u64)
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // Rust reads `+5` as well, which would be a second name of one id.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let id = digits.then(|| text.parse().ok()).flatten();
        id.map(Self).ok_or_else(|| Refusal::Number.into())
    }
}

impl From<Id> for u64 {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

#[cfg(feature = "serde")]
mod documents {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::Id;

    impl Serialize for Id {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Id {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(TextOrNumber)
        }
    }

    struct TextOrNumber;

    impl Visitor<'_> for TextOrNumber {
        type Value = Id;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an id, as text or as a number that is not negative")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, id: u64) -> Result<Id, E> {
            Ok(Id::new(id))
        }

        fn visit_i64<E: Error>(self, id: i64) -> Result<Id, E> {
            Id::from_i64(id).ok_or_else(|| E::custom("an id is not negative"))
        }
    }
}

/// Writes ids as numbers: for readers that count to 2⁶⁴, or for ids of 53 bits.
///
/// # Examples
/// ```
/// # use serde::{Deserialize, Serialize};
/// use steadfast_ids::Id;
///
/// #[derive(Serialize, Deserialize)]
/// struct Order {
///     id: Id,
///     #[serde(with = "steadfast_ids::id::as_number")]
///     invoice: Id,
/// }
///
/// let order = Order { id: Id::new(7), invoice: Id::new(8) };
/// let document = serde_json::to_string(&order)?;
/// assert_eq!(document, r#"{"id":"7","invoice":8}"#);
/// assert_eq!(serde_json::from_str::<Order>(&document)?.id, order.id);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg(feature = "serde")]
pub mod as_number {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Id;

    /// Writes a number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(id.get())
    }

    /// Reads a number or text.
    ///
    /// # Errors
    /// Those of the deserializer, and if it is no id.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        Id::deserialize(deserializer)
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_are_no_ids_are_refused_with_the_reason() {
        let check = |read: Result<Id, InvalidId>, part: &str| {
            let message = read.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        for text in ["", "-1", "+1", " 1", "1e3", "18446744073709551616", "٣"] {
            check(text.parse(), "decimal digits");
        }
        check(Id::from_text(""), "has 13 characters, this text has 0");
        check(Id::from_text(&"0".repeat(1_000)), "this text has 1000");
        check(Id::from_text("000000000000U"), "`U` at character 13");
        check(Id::from_text("00000ä0000000"), "`ä` at character 6");
        check(Id::from_text("G000000000000"), "too large");
        check(Id::from_checked_text("0000000000000"), "has 14 characters");
        check(Id::from_checked_text("00000000000001"), "check character");
        check(Id::from_checked_text("0000000000000ä"), "check character");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn documents_have_ids_as_text_and_may_have_numbers() {
        let id = Id::new(u64::MAX);

        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            "\"18446744073709551615\""
        );
        for text in ["\"18446744073709551615\"", "18446744073709551615"] {
            assert_eq!(serde_json::from_str::<Id>(text).unwrap(), id);
        }
        for text in ["-1", "1.5", "\"x\"", "null", "18446744073709551616"] {
            assert!(serde_json::from_str::<Id>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_of_an_id_is_read_again(number: u64) {
            let id = Id::new(number);

            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(Id::from_text(&id.text()), Ok(id));
            prop_assert_eq!(Id::from_text(&id.text().to_lowercase()), Ok(id));
            prop_assert_eq!(Id::from_checked_text(&id.checked_text()), Ok(id));
        }

        #[test]
        fn texts_order_as_the_numbers_do(one: u64, other: u64) {
            let texts = Id::new(one).text().cmp(&Id::new(other).text());

            prop_assert_eq!(texts, one.cmp(&other));
        }

        #[test]
        fn the_check_character_finds_one_wrong_character_and_one_swap(
            number: u64,
            at in 0..14_usize,
            to in 0..32_usize,
        ) {
            let text = Id::new(number).checked_text().into_bytes();
            let mut wrong = text.clone();
            wrong[at] = DIGITS[to];
            let mut swapped = text.clone();
            swapped.swap(at, (at + 1).min(13));

            for changed in [wrong, swapped] {
                if changed != text {
                    let changed = String::from_utf8(changed).unwrap();
                    prop_assert!(Id::from_checked_text(&changed).is_err(), "{changed}");
                }
            }
        }
    }
}
