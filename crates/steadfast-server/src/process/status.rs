//! How a process ended, in words for people on call.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

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

/// Says how it ended: by an exit code, or by a signal and what that means.
pub(crate) fn write_status(f: &mut fmt::Formatter<'_>, status: ExitStatus) -> fmt::Result {
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

/// Adds what it wrote at last.
pub(crate) fn write_last_words(f: &mut fmt::Formatter<'_>, words: &[String]) -> fmt::Result {
    if words.is_empty() {
        return Ok(());
    }
    f.write_str("; its last lines on standard error:")?;
    for line in words {
        write!(f, "\n    {line}")?;
    }
    Ok(())
}
