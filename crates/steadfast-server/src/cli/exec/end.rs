//! How a program ended, in words for people on call.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::process::status::{Ending, write_last_words};

/// The end of one life of a program.
#[derive(Debug)]
pub(super) enum Ended {
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended by itself, or by somebody else's signal.
    ByItself {
        ending: Ending,
        /// The last it wrote to standard error.
        last_words: Vec<String>,
    },
    /// It was asked to, in time.
    Asked(ExitStatus),
    /// It was asked to, and was killed since it did not.
    Killed,
    /// It was killed since it hung.
    Hung {
        /// Why the last check failed.
        why: String,
        last_words: Vec<String>,
    },
}

impl Ended {
    /// Tells whether nothing is to be done about it.
    pub(super) fn is_success(&self) -> bool {
        match self {
            Ended::ByItself { ending, .. } => ending.status.success(),
            Ended::Asked(_) => true,
            Ended::NotStarted(_) | Ended::Killed | Ended::Hung { .. } => false,
        }
    }

    /// Gives the exit code of the program, or 128 and the number of the signal, as a shell does.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Ended::NotStarted(_) => 1,
            Ended::ByItself { ending, .. } => code_of(ending.status),
            // It did as it was told.
            Ended::Asked(status) if status.signal() == Some(15) => 0,
            Ended::Asked(status) => code_of(*status),
            Ended::Killed | Ended::Hung { .. } => 128 + 9,
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::NotStarted(error) => write!(f, "cannot be started: {error}"),
            Ended::ByItself { ending, last_words } => {
                write!(f, "{ending}")?;
                write_last_words(f, last_words)
            }
            Ended::Asked(status) => {
                write!(f, "asked to end, and {}", Ending::of(*status))
            }
            Ended::Killed => f.write_str("asked to end, and killed since it did not in time"),
            Ended::Hung { why, last_words } => {
                write!(f, "killed since it hung: {why}")?;
                write_last_words(f, last_words)
            }
        }
    }
}

impl Error for Ended {}
