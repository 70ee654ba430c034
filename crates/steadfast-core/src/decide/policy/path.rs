//! Where in a policy a value stands.

use std::fmt;
use std::str::FromStr;

/// Names one field of a policy, such as `routes./orders.timeout`.
///
/// The segments are kept apart, so that whoever read the document can attach line and column, and a
/// name with a dot in it stays one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// Makes a path from its segments, outermost first.
    pub fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Self {
        Self(segments.into_iter().map(Into::into).collect())
    }

    /// Returns the path of a field in this one.
    #[must_use]
    pub fn join(&self, segment: impl Into<String>) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.into());
        Self(segments)
    }

    /// Returns the segments, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// Returns the path of what this is a field of, or `None` for an empty path.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }
}

/// Refuses a text that is no path of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path such as timeouts.page.timeout or routes.\"GET /orders\".tier")]
pub struct InvalidPath(String);

/// As it is displayed.
impl FromStr for FieldPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (segment, after) = next_segment(rest).ok_or_else(|| InvalidPath(text.into()))?;
            segments.push(segment);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(Self(segments)),
                None => return Err(InvalidPath(text.into())),
            }
        }
    }
}

/// Splits off a segment; `None` if it is empty without quotes, or its quotes are not closed.
fn next_segment(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut segment = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((segment, &quoted[at + 1..])),
            '\\' => segment.push(chars.next()?.1),
            char => segment.push(char),
        }
    }
    None
}

/// Dots between the segments; a segment that has a dot, a space or a quote in it is quoted.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if segment.is_empty() || segment.contains(['.', ' ', '"']) {
                let escaped = segment.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "\"{escaped}\"")?;
            } else {
                f.write_str(segment)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_could_be_misread_are_quoted() {
        let check = |segments: &[&str], expect: &str| {
            assert_eq!(FieldPath::new(segments.iter().copied()).to_string(), expect);
        };

        check(&["routes", "/orders", "timeout"], "routes./orders.timeout");
        check(&["routes", "/v1.0/x", "rate"], "routes.\"/v1.0/x\".rate");
        check(&["routes", "", "rate"], "routes.\"\".rate");
        check(&["routes", "a b"], "routes.\"a b\"");
        check(&[], "");
    }

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for segments in [
            &["routes", "GET /v1.0/\"x\"", "rate"][..],
            &["routes", "a\\b", "rate"],
            &["routes", "a\\ b", "rate"],
            &["routes", "", "rate"],
            &["drain", "hard"],
        ] {
            let path = FieldPath::new(segments.iter().copied());
            assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "", ".", "a.", ".a", "a..b", "a.\"b", "a.\"b\"c", "a\"b\"", "a.\"b\\",
        ] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }
}
