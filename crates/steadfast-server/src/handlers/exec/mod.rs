//! A job as a program: a process in a group of its own, which never outlives its run.

mod environment;
pub(crate) mod look;
mod output;
mod protocol;
mod unbegun;
mod user;

use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use serde::Serialize;
use serde_json::value::RawValue;
use steadfast::jobs::{Body, Run, end};
use steadfast::scope::{Edit, Outcome};
use steadfast::{BoxError, Cause, Task, clock, spawn};
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::sync::watch;

use super::progress::{Progress, Teller};
use super::{About, RESULT_BYTES_MAX};
use crate::config::Exec;
use crate::process::launch::{Folder, Waiting};
use crate::process::memory;
use crate::process::status::{Ending, write_last_words};
use crate::process::warden::{Group, Warden};
use output::{Output, Said};
use protocol::{End, Word};
use unbegun::Unbegun;
use user::User;

/// How long the last lines are waited for, once the program has ended: 1 s. Whoever has left its
/// group may live on with its outputs open.
const OUTPUT_AFTER_END: Duration = Duration::from_secs(1);

/// How long it is waited for that a program that was killed is dead: 2 s. One that does not die
/// hangs in the kernel, on a disk that does not answer.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// How long it may take until a program begins: 30 s, and half of the time of its run. What takes longer waits for a disk
/// that does not answer.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// Runs a program for a job. Where it cannot be begun, the job is put off.
pub(super) async fn run(
    exec: Arc<Exec>,
    about: About,
    run: Run,
    scope: Body,
    payload: String,
    progress: Teller,
    shared: &Programs,
) -> Result<Option<String>, BoxError> {
    let not_begun = |why| shared.unbegun.put_off(&about.kind, run.id().get(), why);
    shared.unbegun.check().map_err(not_begun)?;
    let process = Process::start(&exec, &about, &run, payload, progress, &shared.warden);
    let process = Arc::new(process.await.map_err(not_begun)?);
    {
        let (process, run, stop_within) = (process.clone(), run.clone(), exec.stop_within);
        scope.defer_outcome_async("end the program", async move |edit| {
            process.end(&run, stop_within, edit).await;
        });
    }
    if let Err(why) = process.begun(run.longest()).await {
        if !process.is_over() {
            shared.unbegun.hangs(process.status.clone());
        }
        return Err(not_begun(why));
    }
    let status = process.ended().await;
    process.finish().await;
    let told = process.told();
    if let Some(why) = &told.not_begun {
        return Err(not_begun(why.clone().into()));
    }
    shared.unbegun.begun(run.id().get());
    if let Some(end) = told.end.clone() {
        return Err(told.wanted(end));
    }
    let code = status.code().map(i64::from);
    match code {
        Some(0) => Ok(Some(process.result(&told)?)),
        Some(code) if exec.snooze_on.contains(&code) => {
            let why = told.noted(format!("put off by its exit code {code}"));
            Err(end::snooze_because(exec.snooze_for, why))
        }
        Some(code) if exec.discard_on.contains(&code) => {
            Err(end::discard(process.failure(None, status)))
        }
        _ => Err(process.failure(None, status).into()),
    }
}

/// What the runs of a handler share.
#[derive(Clone)]
pub(super) struct Programs {
    warden: Warden,
    unbegun: Arc<Unbegun>,
}

impl Programs {
    pub(super) fn new(warden: &Warden) -> Self {
        Self {
            warden: warden.clone(),
            unbegun: Arc::default(),
        }
    }
}

/// A program that runs, or has run.
struct Process {
    group: Arc<Group>,
    memory: memory::Before,
    begun: watch::Receiver<bool>,
    status: watch::Receiver<Option<ExitStatus>>,
    output: Output,
    writer: Option<Task<()>>,
    progress: Arc<Teller>,
    readers: Mutex<Vec<Task<()>>>,
    told: Arc<Mutex<Told>>,
}

/// What it has said.
#[derive(Debug, Default, Clone)]
struct Told {
    not_begun: Option<String>,
    result: Option<String>,
    end: Option<End>,
    /// What was meant for us and could not be understood.
    not_understood: Option<String>,
}

impl Told {
    /// Ends the run as the program has said.
    fn wanted(&self, end: End) -> BoxError {
        let why = |said: String| {
            self.noted(match said.is_empty() {
                true => "the program did not say why".to_owned(),
                false => said,
            })
        };
        match end {
            End::Discard(said) => end::discard(why(said)),
            End::RetryAfter(after, said) => end::retry_after(after, why(said)),
            End::Snooze(after, said) => end::snooze_because(after, why(said)),
        }
    }

    fn noted(&self, why: String) -> String {
        match &self.not_understood {
            Some(note) => format!("{why}; {note}"),
            None => why,
        }
    }
}

impl Process {
    async fn start(
        exec: &Exec,
        about: &About,
        run: &Run,
        payload: String,
        progress: Teller,
        warden: &Warden,
    ) -> Result<Self, BoxError> {
        let user = exec.user.as_deref().map(user::find).transpose()?;
        let environment = environment::of(exec, user.as_ref(), about, run);
        let folder = match (&exec.dir, &user) {
            (Some(dir), _) => Folder::This(dir.clone()),
            (None, Some(user)) => Folder::Home(user.home.clone()),
            (None, None) => Folder::Ours,
        };
        let run_as = user.as_ref().and_then(User::to_become);
        let mut waiting = Waiting::telling(&exec.command, &folder, run_as);
        waiting
            .0
            .env_clear()
            .envs(&environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let memory = memory::Before::start();
        // By a thread that lives as long as we do: when the one that has started it ends, the kernel kills it. It is our own
        // program that is started, on no disk but ours.
        let program = warden.launch(waiting).await;
        let mut program = program.with_context(|| format!("cannot start {}", exec.command[0]))?;
        let group = program.group.clone();
        let output = Output::new(exec.output_bytes);
        let told = Arc::new(Mutex::new(Told::default()));
        let progress = Arc::new(progress);
        let (begins, begun) = watch::channel(false);
        let readers = readers(&mut program.child, &output, &told, run, &progress, begins);
        let given = exec.stdin.clone().unwrap_or(payload);
        let writer = program.child.stdin.take().map(|mut stdin| {
            spawn("standard input", async move {
                // Whoever does not read it does not want it.
                let _ = stdin.write_all(given.as_bytes()).await;
            })
        });
        let (ended, status) = watch::channel(None);
        spawn("program", async move {
            let status = program.ended().await;
            // It cannot be waited for only if somebody else has: then nothing is known of its end.
            ended.send_replace(Some(status.unwrap_or_else(|_| ExitStatus::from_raw(9))));
        });
        Ok(Self {
            group,
            memory,
            begun,
            status,
            output,
            writer,
            progress,
            readers: Mutex::new(readers),
            told,
        })
    }

    /// Waits until it begins, or is over.
    ///
    /// # Errors
    /// It has not begun in time, and was killed.
    async fn begun(&self, longest: Duration) -> Result<(), BoxError> {
        let within = BEGUN_WITHIN.min(longest / 2);
        let mut begun = self.begun.clone();
        let begins = async {
            tokio::select! {
                _ = begun.wait_for(|begun| *begun) => {}
                _ = self.ended() => {}
            }
        };
        if clock::timeout(within, begins).await.is_ok() {
            return Ok(());
        }
        self.group.end();
        let _ = clock::timeout(DEAD_WITHIN, self.ended()).await;
        self.finish().await;
        match *self.begun.borrow() {
            // In that very moment.
            true => Ok(()),
            false => Err(format!(
                "it was not begun within {within:?}: do the disks of its program and its folder answer?"
            )
            .into()),
        }
    }

    /// Waits for its end, which it comes to by itself.
    async fn ended(&self) -> ExitStatus {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await;
        let ended = ended.ok().and_then(|status| *status);
        // Whoever waits for it has been cut off with the runtime.
        ended.unwrap_or_else(|| ExitStatus::from_raw(9))
    }

    fn is_over(&self) -> bool {
        self.status.borrow().is_some()
    }

    /// Reads on to the end of what was written.
    async fn finish(&self) {
        if let Some(writer) = &self.writer {
            writer.abort();
        }
        let readers: Vec<_> = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.drain(..).collect()
        };
        let read = async {
            for reader in readers {
                let _ = reader.await;
            }
        };
        let _ = clock::timeout(OUTPUT_AFTER_END, read).await;
    }

    /// Ends it when its run is over and it is not.
    async fn end(&self, run: &Run, stop_within: Duration, edit: Edit<Option<String>, BoxError>) {
        if self.is_over() {
            return;
        }
        let cause = run.cancel().cause();
        // Another node has the job, and may have started it: no grace.
        let grace = match cause {
            Some(Cause::LeaseLost) => Duration::ZERO,
            _ => stop_within,
        };
        let mut killed = true;
        if !grace.is_zero() {
            self.group.signal(Signal::TERM);
            killed = clock::timeout(grace, self.ended()).await.is_err();
        }
        self.group.end();
        let status = clock::timeout(DEAD_WITHIN, self.ended()).await;
        self.finish().await;
        edit.change(|outcome| {
            let Outcome::Cancelled(why) = outcome else {
                return;
            };
            // These say by themselves what becomes of the job.
            if matches!(
                why,
                Cause::LeaseLost | Cause::Shutdown | Cause::Requested(_)
            ) {
                return;
            }
            let why = match killed {
                true => format!("{why}; asked to end, and killed since it did not in time"),
                false => format!("{why}; asked to end"),
            };
            let status = status.unwrap_or_else(|_| ExitStatus::from_raw(9));
            *outcome = Outcome::Err(self.failure(Some(why), status).into());
        });
    }

    fn told(&self) -> Told {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    fn failure(&self, why: Option<String>, status: ExitStatus) -> Failure {
        let (last_words, output) = self.output.told();
        Failure {
            why,
            ending: self.memory.ended(status),
            progress: self.progress.told(),
            not_understood: self.told().not_understood,
            last_words,
            output,
        }
    }

    /// Gives the result, as much of the output as fits into it.
    fn result(&self, told: &Told) -> Result<String, BoxError> {
        let said = told.result.clone().map(RawValue::from_string);
        let said = said.transpose()?;
        let mut room = RESULT_BYTES_MAX;
        loop {
            let (output, output_bytes) = self.output.text(room);
            let result = serde_json::to_string(&Kept {
                exit_code: 0,
                result: said.as_deref(),
                not_understood: told.not_understood.as_deref(),
                output: &output,
                output_bytes,
            })?;
            if result.len() <= RESULT_BYTES_MAX || room == 0 {
                return Ok(result);
            }
            room /= 2;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also where its end was cut off.
        self.group.end();
    }
}

/// What is kept of a run that was done.
#[derive(Serialize)]
struct Kept<'a> {
    exit_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_understood: Option<&'a str>,
    output: &'a str,
    output_bytes: u64,
}

fn readers(
    child: &mut Child,
    output: &Output,
    told: &Arc<Mutex<Told>>,
    run: &Run,
    progress: &Arc<Teller>,
    begins: watch::Sender<bool>,
) -> Vec<Task<()>> {
    let mut readers = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let (run, told, progress) = (run.clone(), told.clone(), progress.clone());
        let said = move |said| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let word = match said {
                Said::Word(word) => word,
                Said::NotUnderstood(note) => {
                    told.not_understood.get_or_insert(note);
                    return;
                }
            };
            run.beat();
            match word {
                Word::Begins => drop(begins.send_replace(true)),
                Word::NotBegun(why) => told.not_begun = Some(why),
                Word::Beat => {}
                Word::Progress(percent, text) => progress.tell(percent, &text),
                Word::Result(json) => told.result = Some(json),
                Word::End(end) => told.end = Some(end),
            }
        };
        let read = output::read_stdout(stdout, output.clone(), said);
        readers.push(spawn("standard output", read));
    }
    if let Some(stderr) = child.stderr.take() {
        let read = output::read_stderr(stderr, output.clone());
        readers.push(spawn("standard error", read));
    }
    readers
}

/// Says how a program ended that has not done its work.
#[derive(Debug)]
struct Failure {
    why: Option<String>,
    ending: Ending,
    progress: Option<Progress>,
    not_understood: Option<String>,
    last_words: Vec<String>,
    output: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => f.write_str(why)?,
            None => write!(f, "{}", self.ending)?,
        }
        if let Some(Progress { percent, text }) = &self.progress {
            write!(f, "; it had come to {percent} %")?;
            if !text.is_empty() {
                write!(f, " ({text})")?;
            }
        }
        if let Some(note) = &self.not_understood {
            write!(f, "; {note}")?;
        }
        write_last_words(f, &self.last_words)?;
        match self.output.is_empty() {
            true => Ok(()),
            false => write!(f, "; what it wrote:{}", self.output),
        }
    }
}

impl Error for Failure {}
