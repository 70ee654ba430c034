//! Every key of a policy document: what it takes, and what holds without it.
//!
//! The reference page and `explain` are made from this; tests hold it against the policies and the
//! constants that it describes.

mod calls;
mod limits;
mod service;
mod subjects;
mod words;

#[cfg(test)]
mod tests;

/// A part of a policy document, `[timeouts.NAME]` or `[drain]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name of its table.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// What the names of its tables are, or `None` if it is one table itself.
    pub names: Option<&'static str>,
    /// Its keys, in the order in which they are written.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name. `guaranteed_TIER` stands for one key for each tier.
    pub name: &'static str,
    /// What it says.
    pub what: &'static str,
    /// What may be written, with unit and range.
    pub takes: &'static str,
    /// What holds without it.
    pub absent: Absent,
}

/// What holds when a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The document is refused: there is no value that is right for everybody.
    Refused,
    /// The document is refused if the key before it says `"learn"`, and if it is there without.
    RefusedIfLearned,
    /// A value, and why it is this one.
    Default {
        /// The value, as a document writes it.
        value: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Nothing, and what that means.
    Nothing(&'static str),
    /// The same if the key before it says `"learn"`; refused if it is there without.
    NothingIfLearned(&'static str),
}

/// All sections, in the order in which they are written.
pub const SECTIONS: &[Section] = &[
    limits::ADMISSIONS,
    limits::TIMEOUTS,
    limits::RATES,
    calls::BREAKERS,
    calls::RETRIES,
    calls::HEDGES,
    limits::STREAMS,
    subjects::ROUTES,
    subjects::DEPENDENCIES,
    service::TRUST,
    service::DRAIN,
];

impl Section {
    /// Finds a section by the name of its table.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.name == name)
    }

    /// Finds one of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        let name = match name.starts_with("guaranteed_") {
            true => "guaranteed_TIER",
            false => name,
        };
        self.keys.iter().find(|key| key.name == name)
    }
}
