//! Short texts held in place, for records that must neither allocate nor borrow.

use std::fmt;

/// A text of at most `N` bytes (and at most 255), held in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// Keeps the beginning of `text`, whole characters only.
    pub(crate) fn head(text: &str) -> Self {
        Self::copy(head(text, N))
    }

    /// Keeps the end of `text`, whole characters only.
    pub(crate) fn tail(text: &str) -> Self {
        Self::copy(tail(text, N))
    }

    fn copy(text: &str) -> Self {
        const { assert!(N <= u8::MAX as usize, "the length is kept in a byte") };
        let mut copied = Self::EMPTY;
        copied.bytes[..text.len()].copy_from_slice(text.as_bytes());
        copied.len = text.len() as u8;
        copied
    }

    pub(crate) fn as_str(&self) -> &str {
        // Cut between characters, so it never fails; the panic hook relies on that.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Gives the longest beginning of `text` that has at most `bytes` bytes and ends between
/// characters.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Gives the longest end of `text` that has at most `bytes` bytes and starts between characters.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_at_either_end() {
        assert_eq!(Text::<4>::head("aéé€").as_str(), "aé");
        assert_eq!(Text::<4>::tail("€ééa").as_str(), "éa");
        assert_eq!(Text::<4>::head("abcd").as_str(), "abcd");
        assert_eq!(Text::<4>::tail("").as_str(), "");
    }
}
