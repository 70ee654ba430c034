//! How a program ended, in words for people on call.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The end of one life of a program.
#[derive(Debug)]
pub(super) enum Ended {
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended by itself, or by somebody else's signal.
    ByItself {
        status: ExitStatus,
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

const SIGNALS: [(i32, &str, &str); 9] = [
    (4, "SIGILL", "an illegal instruction"),
    (
        6,
        "SIGABRT",
        "it aborted: a stack overflow or a panic in Rust ends so, too",
    ),
    (7, "SIGBUS", "memory behind a mapped file was gone"),
    (8, "SIGFPE", "an arithmetic error"),
    (
        9,
        "SIGKILL",
        "somebody killed it: the kernel for want of memory, or an operator",
    ),
    (
        11,
        "SIGSEGV",
        "it touched memory that is not its own: a stack overflow ends so, too",
    ),
    (13, "SIGPIPE", "nobody read what it wrote"),
    (15, "SIGTERM", "somebody asked it to end"),
    (31, "SIGSYS", "it made a system call that it may not make"),
];

impl Ended {
    /// Tells whether nothing is to be done about it.
    pub(super) fn is_success(&self) -> bool {
        match self {
            Ended::ByItself { status, .. } => status.success(),
            Ended::Asked(_) => true,
            Ended::NotStarted(_) | Ended::Killed | Ended::Hung { .. } => false,
        }
    }

    /// Gives the exit code of the program, or 128 and the number of the signal, as a shell does.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Ended::NotStarted(_) => 1,
            Ended::ByItself { status, .. } => code_of(*status),
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
            Ended::ByItself { status, last_words } => {
                write_status(f, *status)?;
                write_last_words(f, last_words)
            }
            Ended::Asked(status) => {
                f.write_str("asked to end, and ")?;
                write_status(f, *status)
            }
            Ended::Killed => f.write_str("asked to end, and killed since it did not in time"),
            Ended::Hung { why, last_words } => {
                write!(f, "killed since it hung: {why}")?;
                write_last_words(f, last_words)
            }
        }
    }
}

fn write_status(f: &mut fmt::Formatter<'_>, status: ExitStatus) -> fmt::Result {
    let Some(signal) = status.signal() else {
        return write!(f, "ended with exit code {}", status.code().unwrap_or(-1));
    };
    match SIGNALS.iter().find(|(number, ..)| *number == signal) {
        Some((_, name, meaning)) => write!(f, "ended by {name} ({meaning})")?,
        None => write!(f, "ended by signal {signal}")?,
    }
    if status.core_dumped() {
        f.write_str(", core dumped")?;
    }
    Ok(())
}

fn write_last_words(f: &mut fmt::Formatter<'_>, words: &[String]) -> fmt::Result {
    if words.is_empty() {
        return Ok(());
    }
    f.write_str("; its last lines on standard error:")?;
    for line in words {
        write!(f, "\n    {line}")?;
    }
    Ok(())
}

impl Error for Ended {}
