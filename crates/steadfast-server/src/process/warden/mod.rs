//! The warden: a process of ours that outlives us for a moment, to end what our programs have started.
//!
//! When we are killed, the kernel kills our children and not theirs: a shell dies, and what it has begun goes on, into
//! the run that comes after. The warden knows each process group that runs, and its standard input ends when we do,
//! however that comes. Then it kills them.

pub(crate) mod post;

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use steadfast::clock::{self, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::launch::{GO, OURSELVES, Waiting};

/// How long the warden may take to hear a word: 5 s. It does nothing but read; one that does not is frozen.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// The time between two starts of a warden: 1 s, so that one that cannot live costs little.
const STARTS_APART: Duration = Duration::from_secs(1);

/// Gives what starts programs that the warden knows, and what keeps the warden.
pub(crate) fn new() -> (Warden, Keeper) {
    // No more than two words for each program, and those are as many as there are permits.
    let (words, heard) = mpsc::unbounded_channel();
    let keeper = Keeper {
        heard,
        groups: HashSet::new(),
        process: None,
        next_start: clock::now(),
    };
    (Warden(words), keeper)
}

enum Word {
    Begun(Pid, oneshot::Sender<()>),
    Over(Pid),
}

/// Starts programs that end with us, and with them all of their process group. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Warden(mpsc::UnboundedSender<Word>);

impl Warden {
    /// Starts a program, which begins once the warden knows its group.
    ///
    /// # Cancel safety
    /// It is killed when this is dropped.
    pub(crate) async fn launch(&self, program: Waiting) -> io::Result<Program> {
        let mut program = Program::new(program.spawn()?, self)?;
        let pid = program.group.pid;
        let (known, is_known) = oneshot::channel();
        let _ = self.0.send(Word::Begun(pid, known));
        // Without an answer we are at our end, and so is the program.
        let _ = is_known.await;
        if let Some(stdin) = &mut program.child.stdin {
            // One that has died has an exit status, which says more.
            let _ = stdin.write_all(&[GO]).await;
        }
        Ok(program)
    }
}

/// A program that runs; killed with its group when this goes.
#[derive(Debug)]
pub(crate) struct Program {
    /// Not waited for but by [`Program::ended`]: from then on another process may have its number.
    pub(crate) child: Child,
    pub(crate) group: Arc<Group>,
}

impl Program {
    fn new(child: Child, warden: &Warden) -> io::Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("it has no process"))?;
        let group = Group {
            pid,
            words: warden.0.clone(),
            is_over: Mutex::new(false),
        };
        Ok(Self {
            child,
            group: Arc::new(group),
        })
    }

    /// Waits until it ends by itself; then kills what it has left behind.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let mut children = signal(SignalKind::child())?;
        let pid = self.group.pid;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(None) = waitid(WaitId::Pid(pid), look) {
            children.recv().await;
        }
        self.group.end();
        self.child.wait().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.group.end();
    }
}

/// The process group of a program, as long as its number is its own: until its leader has been waited for.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) pid: Pid,
    words: mpsc::UnboundedSender<Word>,
    /// Locked over each signal, so that none comes after the end.
    is_over: Mutex<bool>,
}

impl Group {
    /// Sends its leader a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_over {
            // One that has ended needs none.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills all that is left of it, once.
    ///
    /// The warden forgets it a moment later. Should we be killed within that, its number would have to be another's
    /// already: numbers are given in turn, so that all others come first.
    pub(crate) fn end(&self) {
        let mut is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_over, true) {
            return;
        }
        // There is nothing left of most. One that has not begun its group yet is alone.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = self.words.send(Word::Over(self.pid));
    }
}

/// Keeps a warden while there are programs to tell it of.
pub(crate) struct Keeper {
    heard: mpsc::UnboundedReceiver<Word>,
    groups: HashSet<Pid>,
    process: Option<Process>,
    next_start: Instant,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
}

impl Keeper {
    /// Does so until this is dropped: then the warden kills what is left.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            let is_missing = self.process.is_none() && !self.groups.is_empty();
            tokio::select! {
                word = self.heard.recv() => match word {
                    Some(Word::Begun(group, known)) => {
                        self.groups.insert(group);
                        self.tell('+', group).await;
                        let _ = known.send(());
                    }
                    Some(Word::Over(group)) => {
                        self.groups.remove(&group);
                        self.tell('-', group).await;
                    }
                    // Nobody starts programs any more.
                    None => std::future::pending().await,
                },
                status = ended(&mut self.process) => {
                    self.process = None;
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!(target: "steadfast::process", status, "the warden has ended; another takes its place");
                }
                () = clock::sleep_until(self.next_start), if is_missing => self.start().await,
            }
        }
    }

    async fn tell(&mut self, what: char, group: Pid) {
        if self.process.is_some() {
            self.write(&format!("{what}{}\n", group.as_raw_nonzero()))
                .await;
        }
        // Whoever begins is told of all. Before its time a program begins without it, and is told of when it is there.
        let is_missing = self.process.is_none() && !self.groups.is_empty();
        if is_missing && clock::now() >= self.next_start {
            self.start().await;
        }
    }

    async fn start(&mut self) {
        self.next_start = clock::now() + STARTS_APART;
        let started = Command::new(OURSELVES)
            .arg0("steadfast")
            .arg("warden")
            .env_clear()
            // Who ends us from a terminal does not end it before us.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let started = started.and_then(|mut child| {
            let stdin = child.stdin.take();
            let stdin = stdin.ok_or_else(|| io::Error::other("its standard input is not piped"))?;
            Ok(Process { child, stdin })
        });
        match started {
            Ok(process) => {
                tracing::debug!(target: "steadfast::process", pid = process.child.id(), "a warden is there");
                self.process = Some(process);
                let groups = self.groups.iter().map(|group| group.as_raw_nonzero());
                let all: String = groups.map(|group| format!("+{group}\n")).collect();
                self.write(&all).await;
            }
            Err(error) => tracing::error!(
                target: "steadfast::process",
                error = &error as &dyn std::error::Error,
                "no warden can be started; if this process is killed, what its programs have started may go on"
            ),
        }
    }

    async fn write(&mut self, words: &str) {
        let Some(Process { child, stdin }) = &mut self.process else {
            return;
        };
        let written = clock::timeout(HEARD_WITHIN, stdin.write_all(words.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            // Killed before its input ends, which it would take for our end.
            let _ = child.start_kill();
            self.process = None;
            tracing::warn!(target: "steadfast::process", "the warden does not listen; another takes its place");
        }
    }
}

/// Waits for the end of a warden, if there is one.
async fn ended(process: &mut Option<Process>) -> io::Result<ExitStatus> {
    match process {
        Some(process) => process.child.wait().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_program_that_has_ended_keeps_its_number_until_its_group_is_killed() {
        let mut leaves = Command::new("sh");
        leaves.args(["-c", "sleep 1000 & echo $!"]).process_group(0);
        let mut child = leaves.stdout(Stdio::piped()).spawn().unwrap();
        let mut left = BufReader::new(child.stdout.take().unwrap());
        let (warden, _keeper) = new();
        let mut program = Program::new(child, &warden).unwrap();
        let group = program.group.clone();
        let mut line = String::new();
        left.read_line(&mut line).await.unwrap();
        let left = Pid::from_raw(line.trim().parse().unwrap()).unwrap();

        // Nobody can kill the group as long as this is held.
        let held = group.is_over.lock().unwrap();
        let ended = steadfast::spawn("program", async move { program.ended().await });
        let stat = format!("/proc/{}/stat", group.pid.as_raw_nonzero());
        tokio::task::block_in_place(|| {
            while !std::fs::read_to_string(&stat).unwrap().contains(" Z ") {
                clock::block(Duration::from_millis(10));
            }
            clock::block(Duration::from_millis(200));
            assert!(std::fs::exists(&stat).unwrap(), "it was waited for");
        });
        drop(held);

        assert_eq!(ended.await.unwrap().unwrap().code(), Some(0));
        assert!(!std::fs::exists(&stat).unwrap());
        while rustix::process::test_kill_process(left).is_ok() {
            clock::sleep(Duration::from_millis(10)).await;
        }
        group.signal(Signal::KILL);
    }

    #[tokio::test]
    async fn a_warden_that_does_not_listen_is_killed_and_not_waited_for() {
        let (_warden, mut keeper) = new();
        let mut deaf = Command::new("sleep");
        let mut child = deaf.arg("1000").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let stdin = child.stdin.take().unwrap();
        keeper.process = Some(Process { child, stdin });

        // More than a pipe holds.
        keeper.write(&"+4711\n".repeat(100_000)).await;

        assert!(keeper.process.is_none());
        while rustix::process::test_kill_process(pid).is_ok() {
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
}
