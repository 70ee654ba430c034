//! A crontab, taken over as handlers and schedules of a configuration.
//!
//! What a line says is kept: its command by the shell, its variables, its zone, what it reads; one
//! attempt, runs that may overlap, as with cron. What is different, and why one moves: a run that was
//! missed is caught up once, one that died with its machine is run again, and whatever happened is known.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use read::{Form, read};
pub(crate) use write::write;

use std::collections::BTreeMap;

use serde::Serialize;
use steadfast::jobs::schedule::Rule;

/// The longest command that is taken over: 4,000 bytes, as long as an argument of a handler may be.
pub(crate) const COMMAND_BYTES_MAX: usize = 4_000;

/// The most lines with a time: 1,000, as many as a configuration may have schedules.
pub(crate) const ENTRIES_MAX: usize = 1_000;

/// A line with a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number, from 1.
    pub(crate) line: usize,
    pub(crate) rule: Rule,
    /// In which zone, if the file says so.
    pub(crate) zone: Option<String>,
    /// Whom it runs as, in a system's crontab.
    pub(crate) user: Option<String>,
    pub(crate) shell: String,
    pub(crate) command: String,
    /// What it reads, behind the first `%`.
    pub(crate) stdin: String,
    /// The folder it runs in, if the file sets `HOME`.
    pub(crate) home: Option<String>,
    pub(crate) variables: BTreeMap<String, String>,
    /// By how many minutes a start is put off at most.
    pub(crate) delay_minutes: u64,
}

/// Something that could not be taken over, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// Whether a line with a time is missing for it.
    pub(crate) lost: bool,
}

/// What is in a crontab.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Crontab {
    pub(crate) entries: Vec<Entry>,
    pub(crate) notes: Vec<Note>,
}
