use std::fmt::Display;
use std::io::Write;

use bytes::Bytes;

/// A JSON object on its way.
pub(crate) struct Document(Vec<u8>);

impl Document {
    /// Most documents fit, so that they are allocated once.
    const CAPACITY: usize = 320;

    pub(super) fn new() -> Self {
        let mut text = Vec::with_capacity(Self::CAPACITY);
        text.push(b'{');
        Self(text)
    }

    pub(crate) fn text(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.key(key);
        self.0.push(b'"');
        // Names come from policies and may hold what JSON has to escape.
        write!(Escaped(&mut self.0), "{value}").expect("a vector takes all");
        self.0.push(b'"');
        self
    }

    /// Adds a number; one that JSON cannot tell becomes `null`.
    pub(crate) fn number(&mut self, key: &str, value: f64) -> &mut Self {
        self.key(key);
        let written = if value.is_finite() {
            write!(self.0, "{value}")
        } else {
            self.0.write_all(b"null")
        };
        written.expect("a vector takes all");
        self
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write!(self.0, "\"{key}\":").expect("a vector takes all");
    }

    pub(super) fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}

/// Writes text as the inside of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.0.extend([b'\\', byte]),
                0..0x20 => write!(self.0, "\\u{byte:04x}")?,
                _ => self.0.push(byte),
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_json_whatever_its_names_hold() {
        let mut document = Document::new();
        document
            .text("policy", "a \"b\"\\\n\u{1}é")
            .number("limit", 2.5)
            .number("observed", f64::INFINITY);

        let read: serde_json::Value = serde_json::from_slice(&document.finish()).unwrap();

        assert_eq!(read["policy"], "a \"b\"\\\n\u{1}é");
        assert_eq!(read["limit"], 2.5);
        assert!(read["observed"].is_null());
    }
}
