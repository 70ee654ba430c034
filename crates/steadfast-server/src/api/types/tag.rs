//! By what it is known which policy somebody has seen.

use std::fmt;
use std::str::FromStr;

/// How many digits of the hash stand in it: 16, which no two documents share by chance.
pub(crate) const HASH_DIGITS: usize = 16;

/// What the `ETag` of a policy says: the number of its revision, and what its document is recognized by.
///
/// A number alone says too little: the code of a service gives one as well, to a document that the store has never seen
/// and that no other process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) revision: u64,
    digits: String,
}

impl Tag {
    /// The tag of a revision whose document has this hash.
    pub(crate) fn of(revision: u64, hash: &str) -> Self {
        Self {
            revision,
            digits: hash.chars().take(HASH_DIGITS).collect(),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}-{}\"", self.revision, self.digits)
    }
}

/// What was no tag of a policy.
#[derive(Debug)]
pub(crate) struct NoTag;

impl FromStr for Tag {
    type Err = NoTag;

    fn from_str(text: &str) -> Result<Self, NoTag> {
        let (revision, digits) = text.trim_matches('"').split_once('-').ok_or(NoTag)?;
        let revision = revision.parse().map_err(|_| NoTag)?;
        Ok(Self::of(revision, digits))
    }
}
