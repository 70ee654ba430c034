use std::cell::Cell;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

/// The key of a member, as it is written after another one; made by [`key`].
pub(crate) struct Key(pub(crate) &'static str);

/// Makes the [`Key`] of a literal.
macro_rules! key {
    ($key:literal) => {
        $crate::answer::Key(concat!(",\"", $key, "\":"))
    };
}
pub(crate) use key;

/// A JSON object on its way.
///
/// An overloaded service makes little else, so it is written without the machinery of formatting
/// where that is easy.
pub(crate) struct Document(String);

/// How much of a buffer is kept by a thread: 4 KiB, ten times what a document has.
const KEPT_BYTES_MAX: usize = 4_096;

thread_local! {
    /// For the next document of this thread: what is sent is copied out of it, and is as long as
    /// its text.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

impl Document {
    pub(super) fn new() -> Self {
        let mut text = BUFFER.try_with(Cell::take).unwrap_or_default();
        text.clear();
        text.push('{');
        Self(text)
    }

    pub(crate) fn text(&mut self, key: Key, value: &str) -> &mut Self {
        self.key(key);
        self.0.push('"');
        self.escape(value);
        self.0.push('"');
        self
    }

    /// Adds a text of ours, in parts, in which nothing is to be escaped.
    pub(crate) fn plain(&mut self, key: Key, parts: &[&str]) -> &mut Self {
        debug_assert!(!parts.iter().any(|part| has_special(part)));
        self.key(key);
        self.0.push('"');
        for part in parts {
            self.0.push_str(part);
        }
        self.0.push('"');
        self
    }

    /// Adds a number; one that JSON cannot tell becomes `null`.
    pub(crate) fn number(&mut self, key: Key, value: f64) -> &mut Self {
        self.key(key);
        let whole = value as u32;
        if f64::from(whole) == value {
            self.0.push_str(itoa::Buffer::new().format(whole));
        } else if value.is_finite() {
            write!(self.0, "{value}").expect("a string takes all");
        } else {
            self.0.push_str("null");
        }
        self
    }

    /// Adds a time in seconds, exactly.
    pub(crate) fn seconds(&mut self, key: Key, time: Duration) -> &mut Self {
        self.key(key);
        let mut digits = itoa::Buffer::new();
        self.0.push_str(digits.format(time.as_secs()));
        if time.subsec_nanos() > 0 {
            // The first digit holds the place of those that are not there.
            let fraction = digits.format(1_000_000_000 + time.subsec_nanos());
            self.0.push('.');
            self.0.push_str(fraction[1..].trim_end_matches('0'));
        }
        self
    }

    fn key(&mut self, Key(key): Key) {
        // The first member has no comma before it.
        let key = if self.0.len() > 1 { key } else { &key[1..] };
        self.0.push_str(key);
    }

    /// Writes text as the inside of a JSON string: names come from policies and may hold what JSON
    /// has to escape.
    fn escape(&mut self, text: &str) {
        let mut rest = text;
        // Looked at as a whole first, since nearly no name has any.
        while has_special(rest)
            && let Some(at) = rest.bytes().position(is_special)
        {
            let (plain, from) = rest.split_at(at);
            self.0.push_str(plain);
            // It is one byte long.
            let byte = from.as_bytes()[0];
            write!(self.0, "\\u{byte:04x}").expect("a string takes all");
            rest = &from[1..];
        }
        self.0.push_str(rest);
    }

    pub(super) fn finish(mut self) -> Bytes {
        self.0.push('}');
        let text = Bytes::copy_from_slice(self.0.as_bytes());
        if self.0.capacity() <= KEPT_BYTES_MAX {
            let _ = BUFFER.try_with(|buffer| buffer.set(self.0));
        }
        text
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// Without an end before the last byte, so that many are looked at in one step.
fn has_special(text: &str) -> bool {
    text.bytes()
        .fold(false, |found, byte| found | is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(write: impl FnOnce(&mut Document)) -> Value {
        let mut document = Document::new();
        write(&mut document);
        serde_json::from_slice(&document.finish()).unwrap()
    }

    #[test]
    fn a_document_is_json_whatever_its_names_hold() {
        let name = "a \"b\"\\\n\u{1}é";
        let read = written(|document| {
            document
                .text(key!("policy"), name)
                .text(key!("line"), &format!("<{name}>"))
                .plain(key!("type"), &["urn:", "a"])
                .number(key!("limit"), 2.5)
                .number(key!("observed"), f64::INFINITY);
        });

        let expected = json!({
            "policy": name,
            "line": format!("<{name}>"),
            "type": "urn:a",
            "limit": 2.5,
            "observed": null,
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn numbers_of_every_size_are_told() {
        for number in [
            0.0,
            7.0,
            f64::from(u32::MAX),
            f64::from(u32::MAX) + 1.0,
            -3.0,
            1e300,
            0.1,
        ] {
            let read = written(|document| {
                document.number(key!("n"), number);
            });
            assert_eq!(read["n"].as_f64(), Some(number));
        }
    }

    #[test]
    fn a_time_is_told_exactly() {
        for (time, expect) in [
            (Duration::ZERO, "0"),
            (Duration::from_secs(60), "60"),
            (Duration::from_nanos(1), "0.000000001"),
            (Duration::from_millis(1_050), "1.05"),
            (Duration::MAX, "18446744073709551615.999999999"),
        ] {
            let mut document = Document::new();
            document.seconds(key!("after"), time);
            let expect = format!("{{\"after\":{expect}}}");
            assert_eq!(document.finish(), expect, "{time:?}");
        }
    }

    #[test]
    fn a_document_has_nothing_of_the_one_before_it() {
        let long = "x".repeat(2 * KEPT_BYTES_MAX);
        for text in ["a", &long, "b", ""] {
            let read = written(|document| {
                document.text(key!("t"), text);
            });
            assert_eq!(read, json!({ "t": text }));
        }
    }
}
