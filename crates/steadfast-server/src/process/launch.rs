//! A program that dies with us, in a group of its own.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use rustix::process::Signal;
use tokio::process::Command;

/// The exit code when the program cannot be started because it is not there: 127, as a shell's.
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit code when the program cannot be started although it is there: 126, as a shell's.
pub(crate) const NOT_STARTED: u8 = 126;

/// Ourselves, also once another version has taken our place on the disk.
const OURSELVES: &str = "/proc/self/exe";

/// Begins a command: not the program itself, but this one as its launcher, so that it dies with us
/// ([`Launch`]).
pub(crate) fn command(program: &[String]) -> Command {
    let mut command = Command::new(OURSELVES);
    command
        .arg0("steadfast")
        .arg("launch")
        .arg(std::process::id().to_string())
        .arg("--")
        .args(program)
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Looks for a program as the launcher will, so that we can tell what is not there.
pub(crate) fn found(program: &str, path: Option<&OsStr>) -> io::Result<()> {
    let is_there = |path: &std::path::Path| path.is_file();
    let there = match program.contains('/') {
        true => is_there(program.as_ref()),
        false => path.is_some_and(|path| {
            std::env::split_paths(path).any(|dir| is_there(&dir.join(program)))
        }),
    };
    match there {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such program",
        )),
    }
}

/// Becomes the program, as one that is killed when its supervisor dies, however that dies.
#[derive(Debug, clap::Args)]
pub(crate) struct Launch {
    /// The process that must be the parent: it may have died before it could be watched.
    supervisor: u32,

    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Launch {
    pub(crate) fn run(self) -> ExitCode {
        let watched = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if watched.is_err() || parent != i32::try_from(self.supervisor).ok() {
            return ExitCode::from(NOT_STARTED);
        }
        let error = std::process::Command::new(&self.command[0])
            .args(&self.command[1..])
            .exec();
        let _ = writeln!(io::stderr(), "cannot start {}: {error}", self.command[0]);
        ExitCode::from(match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_STARTED,
        })
    }
}
