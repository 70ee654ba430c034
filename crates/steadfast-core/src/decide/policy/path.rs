//! Where in a policy a value stands.

use std::fmt;

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

/// Dots between the segments; a segment that has a dot, a space or a quote in it is quoted.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if segment.is_empty() || segment.contains(['.', ' ', '"']) {
                write!(f, "{segment:?}")?;
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
}
