//! How a process ended, in words for people on call.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

const SIGNALS: [(i32, &str, &str); 9] = [
    (4, "SIGILL", "an illegal instruction"),
    (
        6,
        "SIGABRT",
        "it aborted: a stack overflow, a panic or a failed allocation in Rust ends so, too",
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

/// The end of a process, with what the kernel says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) status: ExitStatus,
    /// Whether the kernel has killed for want of memory while it ran; nothing where nobody counts.
    pub(crate) for_memory: Option<bool>,
}

impl Ending {
    /// One of which nothing else is known.
    pub(crate) fn of(status: ExitStatus) -> Self {
        Self {
            status,
            for_memory: None,
        }
    }
}

/// Says how it ended: by an exit code, or by a signal and what that means.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_short = self.for_memory == Some(true);
        let Some(signal) = self.status.signal() else {
            let code = self.status.code().unwrap_or(-1);
            write!(f, "ended with exit code {code}")?;
            return match is_short {
                true => f.write_str("; the kernel has killed for want of memory meanwhile"),
                false => Ok(()),
            };
        };
        match SIGNALS.iter().find(|(number, ..)| *number == signal) {
            Some((9, name, _)) if is_short => write!(
                f,
                "ended by {name} (for want of memory: the kernel has killed in its control group)"
            )?,
            Some((9, name, _)) if self.for_memory == Some(false) => write!(
                f,
                "ended by {name} (somebody killed it, and not the kernel for want of memory)"
            )?,
            Some((_, name, meaning)) => write!(f, "ended by {name} ({meaning})")?,
            None => write!(f, "ended by signal {signal}")?,
        }
        if self.status.core_dumped() {
            f.write_str(", core dumped")?;
        }
        Ok(())
    }
}

/// Gives a line as it can be shown: without what moves a cursor, so that no line of a program hides one of ours.
pub(crate) fn harmless(line: &str) -> String {
    line.replace(|char: char| char.is_control() && char != '\t', " ")
}

/// Adds what it wrote at last.
pub(crate) fn write_last_words(f: &mut fmt::Formatter<'_>, words: &[String]) -> fmt::Result {
    if words.is_empty() {
        return Ok(());
    }
    f.write_str("; its last lines on standard error:")?;
    for line in words {
        write!(f, "\n    {}", harmless(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_for_want_of_memory_is_told_from_one_by_an_operator() {
        let told = |raw, for_memory| {
            let status = ExitStatus::from_raw(raw);
            Ending { status, for_memory }.to_string()
        };

        assert_eq!(
            told(9, Some(true)),
            "ended by SIGKILL (for want of memory: the kernel has killed in its control group)"
        );
        assert_eq!(
            told(9, Some(false)),
            "ended by SIGKILL (somebody killed it, and not the kernel for want of memory)"
        );
        assert_eq!(
            told(9, None),
            "ended by SIGKILL (somebody killed it: the kernel for want of memory, or an operator)"
        );
        // What it had started was killed, and it has ended for that.
        assert_eq!(
            told(137 << 8, Some(true)),
            "ended with exit code 137; the kernel has killed for want of memory meanwhile"
        );
        assert_eq!(told(3 << 8, Some(false)), "ended with exit code 3");
    }
}
