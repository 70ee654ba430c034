//! A part of the shop as a process of its own: hurt by its standard input, which nobody else has, killed
//! and frozen by signals, and heard by its log, as by whoever is on call.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use steadfast::clock::{self, Instant};
use steadfast_shop::faults::{DRILL, Injection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::log::Log;
use crate::process::launch;

/// How long a part may take to begin, and to do what it is told: a minute, on a machine that does much
/// else. What is measured has bounds of its own.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed when this value goes, and with us.
pub(super) struct Process {
    pub(super) name: String,
    /// What it has told in its log.
    pub(super) log: Log,
    child: Child,
    pid: Pid,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a part, which logs into a file of this folder.
    pub(super) fn start(name: &str, words: &[String], folder: &Path) -> anyhow::Result<Self> {
        let mut program = vec!["/proc/self/exe".to_owned(), "drill-part".to_owned()];
        program.extend_from_slice(words);
        let mut child = launch::command(&program)
            .env(DRILL, std::process::id().to_string())
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.context("the process has ended already")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take().context("standard error is piped")?;
        let file = File::create(folder.join(format!("{name}.log")))?;
        Ok(Self {
            name: name.to_owned(),
            log: Log::follow(stderr, file),
            child,
            pid,
            stdin: stdin.context("standard input is piped")?,
            answers: BufReader::new(stdout.context("standard output is piped")?).lines(),
        })
    }

    /// Waits until it listens, and tells where.
    pub(super) async fn listening(&mut self) -> anyhow::Result<SocketAddr> {
        let begun = self.answer().await?;
        let address = begun["listening"]
            .as_str()
            .and_then(|address| address.parse().ok());
        address
            .with_context(|| format!("the {} says {begun} instead of where it listens", self.name))
    }

    /// Waits until it is ready, where it does not listen.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        self.answer().await.map(drop)
    }

    /// Has something go wrong in it; tells since when.
    pub(super) async fn hurt(&mut self, injection: &Injection) -> anyhow::Result<Instant> {
        self.ask(&serde_json::to_string(injection)?).await?;
        Ok(clock::now())
    }

    /// How many of its panics were faults so far.
    pub(super) async fn panics(&mut self) -> anyhow::Result<u64> {
        let answer = self.ask("\"panics\"").await?;
        answer["panics"].as_u64().context("a number of panics")
    }

    async fn ask(&mut self, line: &str) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = self.answer().await?;
        match answer["refused"].as_str() {
            Some(why) => bail!("the {} refuses: {why}", self.name),
            None => Ok(answer),
        }
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        let line = clock::timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.with_context(|| format!("the {} does not answer", self.name))??;
        let line = line.with_context(|| {
            let last = self.log.last();
            format!(
                "the {} has ended; the last line of its log: {last}",
                self.name
            )
        })?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Waits until it has ended; `None` if that takes longer.
    pub(super) async fn ended_within(
        &mut self,
        most: Duration,
    ) -> anyhow::Result<Option<ExitStatus>> {
        match clock::timeout(most, self.child.wait()).await {
            Ok(status) => Ok(Some(status?)),
            Err(_) => Ok(None),
        }
    }
}

/// Writes a line of a log; a full disk is no reason to end a drill.
pub(super) fn write_line(file: &mut File, line: &str) {
    let _ = writeln!(file, "{line}");
}
