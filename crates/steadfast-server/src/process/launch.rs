//! A program that dies with us, in a group of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tokio::process::{Child, Command};

use super::status::harmless;

/// The exit code when the program cannot be started because it is not there: 127, as a shell's.
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit code when the program cannot be started although it is there: 126, as a shell's.
pub(crate) const NOT_STARTED: u8 = 126;

/// Ourselves, also once another version has taken our place on the disk.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// What a program that waits is told, ahead of its standard input.
pub(super) const GO: u8 = b'\n';

/// With what a line on standard output begins that is meant for us, and is no output.
pub(crate) const MARK: &str = "::steadfast ";

/// Ahead of all that the program writes, where it is to be told how far its start is.
pub(crate) const BEGINS: &str = "begins";

/// Before the reason why it was not begun.
pub(crate) const NOT_BEGUN: &str = "not-begun";

/// Begins a command: not the program itself, but this one as its launcher, so that it dies with us
/// ([`Launch`]).
#[cfg(feature = "drill")]
pub(crate) fn command(program: &[String]) -> Command {
    let mut command = begin(&[], None, program);
    command.process_group(0);
    command
}

/// Whom a program runs as: a user, with its groups, the first of which is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gids: Vec<u32>,
}

/// Where a program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folder {
    /// Where we are.
    Ours,
    /// In this one, or not at all.
    This(PathBuf),
    /// In this one, or where it is not there in the root: users that are for programs have none.
    Home(PathBuf),
}

/// A command that does not become the program before it is told to, by what launches it: this one is its launcher, so
/// that it dies with us ([`Launch`]).
pub(crate) struct Waiting(pub(crate) Command);

impl Waiting {
    /// One that is told on its standard output how far its start is: [`BEGINS`], [`NOT_BEGUN`]. What is written to its
    /// standard input afterwards is the program's.
    ///
    /// It is the launcher that goes to the folder: where a disk does not answer, it hangs, and not we. It also begins a
    /// session, and with that a process group: the program has no terminal, also where we have one, to write to or to type into.
    pub(crate) fn telling(program: &[String], folder: &Folder, run_as: Option<&Identity>) -> Self {
        let mut options = vec![
            "--wait".into(),
            "--tells".into(),
            OsString::from("--session"),
        ];
        match folder {
            Folder::Ours => {}
            Folder::This(dir) => options.extend(["--dir".into(), dir.into()]),
            Folder::Home(dir) => options.extend(["--home".into(), dir.into()]),
        }
        Self(begin(&options, run_as, program))
    }

    /// The program has nothing to read.
    pub(crate) fn without_input(program: &[String]) -> Self {
        let mut command = begin(&["--wait".into(), "--no-input".into()], None, program);
        command.process_group(0);
        Self(command)
    }

    pub(super) fn spawn(mut self) -> io::Result<Child> {
        self.0.stdin(Stdio::piped()).spawn()
    }
}

fn begin(options: &[OsString], run_as: Option<&Identity>, program: &[String]) -> Command {
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

    /// Runs it in this folder.
    #[arg(long)]
    dir: Option<PathBuf>,

    /// Runs it in this folder, or where there is none in the root.
    #[arg(long, conflicts_with = "dir")]
    home: Option<PathBuf>,

    /// Begins a session of its own, which has no terminal.
    #[arg(long)]
    session: bool,

    /// Says on standard output that the program begins, and why it does not.
    #[arg(long)]
    tells: bool,

    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Launch {
    pub(crate) fn run(self) -> ExitCode {
        if let Some(uid) = self.uid
            && let Err(error) = become_user(uid, &self.gid)
        {
            return self.not_begun(NOT_STARTED, &format!("cannot become user {uid}: {error}"));
        }
        // Only now: whoever becomes another user is not watched any more.
        let watched = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if watched.is_err() || parent != i32::try_from(self.supervisor).ok() {
            return ExitCode::from(NOT_STARTED);
        }
        // Before it waits: nobody tells it to go on whose group is not known.
        if self.session
            && let Err(error) = rustix::process::setsid()
        {
            return self.not_begun(NOT_STARTED, &format!("cannot begin a session: {error}"));
        }
        if self.wait && told_to_go().is_err() {
            return ExitCode::from(NOT_STARTED);
        }
        if let Err(why) = self.enter() {
            return self.not_begun(NOT_STARTED, &why);
        }
        let program = &self.command[0];
        let path = std::env::var_os("PATH");
        if let Err(error) = found(program, path.as_deref(), None) {
            return self.not_begun(NOT_FOUND, &format!("cannot start {program}: {error}"));
        }
        if self.tells {
            let _ = writeln!(io::stdout(), "{MARK}{BEGINS}");
        }
        let mut command = std::process::Command::new(program);
        if self.no_input {
            command.stdin(Stdio::null());
        }
        let error = command.args(&self.command[1..]).exec();
        let (code, why) = match error.kind() {
            io::ErrorKind::NotFound => (
                NOT_FOUND,
                "what its first line names is not there".to_owned(),
            ),
            _ => (NOT_STARTED, error.to_string()),
        };
        self.not_begun(code, &format!("cannot start {program}: {why}"))
    }

    /// Goes to the folder that it is to run in.
    fn enter(&self) -> Result<(), String> {
        let Some(dir) = self.dir.as_ref().or(self.home.as_ref()) else {
            return Ok(());
        };
        let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        let entered = std::env::set_current_dir(dir);
        let entered = match entered {
            Err(error) if self.home.is_some() && missing.contains(&error.kind()) => {
                std::env::set_current_dir("/")
            }
            entered => entered,
        };
        entered.map_err(|error| match missing.contains(&error.kind()) {
            true => format!("there is no folder {} to run it in", dir.display()),
            false => format!("cannot run it in {}: {error}", dir.display()),
        })
    }

    fn not_begun(&self, code: u8, why: &str) -> ExitCode {
        let _ = match self.tells {
            true => writeln!(io::stdout(), "{MARK}{NOT_BEGUN} {}", harmless(why)),
            false => writeln!(io::stderr(), "{why}"),
        };
        ExitCode::from(code)
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
