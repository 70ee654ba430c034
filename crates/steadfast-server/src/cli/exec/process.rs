//! A process in a group of its own.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use steadfast::supervise::ChildContext;
use steadfast::{BoxError, CleanupHandle, clock};
use tokio::signal::unix::{SignalKind, signal};

use super::Options;
use super::end::Ended;
use super::lines::{LastWords, pass_on};
use crate::process::launch::{self, Waiting};
use crate::process::memory;
use crate::process::warden::{Group, Program, Warden};

/// How long the last lines are waited for, once the program has ended: 1 s. Whoever has left its
/// group may live on with its outputs open.
const OUTPUT_AFTER_END: Duration = Duration::from_secs(1);

/// A program that runs.
pub(super) struct Process<'a> {
    program: Program,
    memory: memory::Before,
    /// Kills all that is left of it.
    end: CleanupHandle<'a, (), BoxError>,
    words: LastWords,
    outputs: Vec<steadfast::Task<()>>,
}

/// Starts a program. Whatever becomes of this life of it, its group is killed at the end.
pub(super) async fn start<'a>(
    command: &[String],
    child: &'a ChildContext,
    warden: &Warden,
) -> io::Result<Process<'a>> {
    launch::found(&command[0], std::env::var_os("PATH").as_deref(), None)?;
    let mut waiting = Waiting::without_input(command);
    waiting.0.stdout(Stdio::piped()).stderr(Stdio::piped());
    let memory = memory::Before::start();
    let mut program = warden.launch(waiting).await?;
    let group = program.group.clone();
    let end = child
        .scope()
        .defer("kill the process group", move || group.end());
    let words = LastWords::default();
    let mut outputs = Vec::new();
    if let Some(stdout) = program.child.stdout.take() {
        let pass_on = pass_on(stdout, tokio::io::stdout(), None);
        outputs.push(steadfast::spawn("standard output", pass_on));
    }
    if let Some(stderr) = program.child.stderr.take() {
        let pass_on = pass_on(stderr, tokio::io::stderr(), Some(words.clone()));
        outputs.push(steadfast::spawn("standard error", pass_on));
    }
    Ok(Process {
        program,
        memory,
        end,
        words,
        outputs,
    })
}

impl Process<'_> {
    pub(super) fn id(&self) -> i32 {
        self.program.group.pid.as_raw_nonzero().get()
    }

    /// Waits for the end, or brings it about: when it is asked for, or when the program hangs.
    pub(super) async fn until_end(mut self, child: &ChildContext, options: &Options) -> Ended {
        let group = self.program.group.clone();
        let hung = async {
            match &options.health {
                Some(check) => {
                    let (every, grace) = (options.health_every, options.health_grace);
                    check.until_hung(every, grace).await
                }
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            status = self.program.ended() => match status {
                Ok(status) => Ended::ByItself { ending: self.memory.ended(status), last_words: Vec::new() },
                Err(error) => Ended::NotStarted(error),
            },
            _ = child.stopping() => self.stop(options.stop_within).await,
            why = hung => {
                self.kill().await;
                Ended::Hung { why, last_words: Vec::new() }
            }
            never = pass_signals(&group) => match never {},
        };
        self.last_words(ended).await
    }

    /// Asks the program to end; then kills it, and all that it started.
    async fn stop(&mut self, within: Duration) -> Ended {
        self.program.group.signal(Signal::TERM);
        match clock::timeout(within, self.program.ended()).await {
            Ok(Ok(status)) => Ended::Asked(status),
            Ok(Err(error)) => Ended::NotStarted(error),
            Err(_) => {
                self.kill().await;
                Ended::Killed
            }
        }
    }

    async fn kill(&mut self) {
        self.program.group.end();
        let _ = self.program.ended().await;
    }

    /// Adds what it wrote at last, once that has been passed on.
    async fn last_words(self, mut ended: Ended) -> Ended {
        // Also those that would keep the outputs open.
        self.end.run().await;
        let passed = async {
            for output in self.outputs {
                let _ = output.await;
            }
        };
        let _ = clock::timeout(OUTPUT_AFTER_END, passed).await;
        if let Ended::ByItself { last_words, .. } | Ended::Hung { last_words, .. } = &mut ended {
            *last_words = self.words.take();
        }
        ended
    }
}

enum Never {}

/// Hands on the signals that mean something to programs and nothing to us.
async fn pass_signals(group: &Group) -> Never {
    let kinds = [
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::quit(), Signal::QUIT),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
        (SignalKind::window_change(), Signal::WINCH),
    ];
    let passed = kinds.into_iter().filter_map(|(kind, passed)| {
        let mut stream = signal(kind).ok()?;
        Some(Box::pin(async move {
            while stream.recv().await.is_some() {
                group.signal(passed);
            }
        }))
    });
    let mut passed: Vec<_> = passed.collect();
    std::future::poll_fn(|cx| {
        for stream in &mut passed {
            let _ = stream.as_mut().poll(cx);
        }
        std::task::Poll::Pending
    })
    .await
}
