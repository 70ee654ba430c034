//! A program that dies with us, in a group of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tokio::process::{Child, Command};

/// The exit code when the program cannot be started because it is not there: 127, as a shell's.
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit code when the program cannot be started although it is there: 126, as a shell's.
pub(crate) const NOT_STARTED: u8 = 126;

/// Ourselves, also once another version has taken our place on the disk.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// What a program that waits is told, ahead of its standard input.
pub(super) const GO: u8 = b'\n';

/// Begins a command: not the program itself, but this one as its launcher, so that it dies with us
/// ([`Launch`]).
#[cfg(feature = "drill")]
pub(crate) fn command(program: &[String]) -> Command {
    begin(&[], None, program)
}

/// Whom a program runs as: a user, with its groups, the first of which is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gids: Vec<u32>,
}

/// A command that does not become the program before it is told to, by what launches it: this one is its launcher, so
/// that it dies with us ([`Launch`]).
pub(crate) struct Waiting(pub(crate) Command);

impl Waiting {
    /// What is written to its standard input afterwards is the program's.
    pub(crate) fn with_input(program: &[String], run_as: Option<&Identity>) -> Self {
        Self(begin(&["--wait"], run_as, program))
    }

    /// The program has nothing to read.
    pub(crate) fn without_input(program: &[String]) -> Self {
        Self(begin(&["--wait", "--no-input"], None, program))
    }

    pub(super) fn spawn(mut self) -> io::Result<Child> {
        self.0.stdin(Stdio::piped()).spawn()
    }
}

fn begin(options: &[&str], run_as: Option<&Identity>, program: &[String]) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg0("steadfast").arg("launch").args(options);
    if let Some(Identity { uid, gids }) = run_as {
        command.arg(format!("--uid={uid}"));
        command.args(gids.iter().map(|gid| format!("--gid={gid}")));
    }
    command
        .arg(std::process::id().to_string())
        .arg("--")
        .args(program)
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Looks for a program as the launcher will, in the folder that it runs in, so that we can tell what is not there.
pub(crate) fn found(program: &str, path: Option<&OsStr>, dir: Option<&Path>) -> io::Result<()> {
    let is_there = |path: &Path| dir.unwrap_or(Path::new("")).join(path).is_file();
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

    /// Waits for a byte on standard input: until it is known to whoever ends it with all that it starts.
    #[arg(long)]
    wait: bool,

    /// Gives the program nothing to read.
    #[arg(long)]
    no_input: bool,

    /// Becomes this user before.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,

    /// The groups of that user, its own first.
    #[arg(long, requires = "uid")]
    gid: Vec<u32>,

    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Launch {
    pub(crate) fn run(self) -> ExitCode {
        if let Some(uid) = self.uid
            && let Err(error) = become_user(uid, &self.gid)
        {
            let _ = writeln!(io::stderr(), "cannot become user {uid}: {error}");
            return ExitCode::from(NOT_STARTED);
        }
        // Only now: whoever becomes another user is not watched any more.
        let watched = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if watched.is_err() || parent != i32::try_from(self.supervisor).ok() {
            return ExitCode::from(NOT_STARTED);
        }
        if self.wait && told_to_go().is_err() {
            return ExitCode::from(NOT_STARTED);
        }
        let mut command = std::process::Command::new(&self.command[0]);
        if self.no_input {
            command.stdin(Stdio::null());
        }
        let error = command.args(&self.command[1..]).exec();
        let _ = writeln!(io::stderr(), "cannot start {}: {error}", self.command[0]);
        ExitCode::from(match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_STARTED,
        })
    }
}

/// Gives up all that root may, for good: the groups first, while that is still allowed.
fn become_user(uid: u32, gids: &[u32]) -> io::Result<()> {
    // Of the thread, which is the only one, and the one that becomes the program.
    let gids: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
    let (own, uid) = (gids.first().copied(), Uid::from_raw(uid));
    set_thread_groups(&gids)?;
    set_thread_res_gid(own, own, own)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Reads the one byte, and nothing of what comes after it, which is the program's.
fn told_to_go() -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    input.read_exact(&mut [0])
}
