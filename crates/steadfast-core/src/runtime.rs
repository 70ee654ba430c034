//! Owns the runtime, so that it outlives every scope.

use std::fmt;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cancel::{self, Cause};
use crate::panic::{self, Panic};
use crate::scope::{BoxError, ScopeError, scope};
use crate::shutdown::{Limits, Phase, Shutdown, ShutdownReport};
use crate::task::spawn;
use crate::voice::{self, say, say_at_end};

/// The exit code when main returned an error: 1.
pub const EXIT_FAILED: u8 = 1;

/// The exit code when the build cannot contain panics: 78, as `EX_CONFIG` of `sysexits.h`.
pub const EXIT_PANIC_ABORT: u8 = 78;

/// The exit code when main panicked: 101, as that of any Rust program.
pub const EXIT_PANICKED: u8 = 101;

/// The exit code when the hard limit ended the shutdown, or main had not ended with its last
/// phase: 124, as that of `timeout`.
pub const EXIT_HARD_LIMIT: u8 = 124;

/// The exit code when a second signal ended the waiting: 130, as that of a shell after Ctrl-C.
pub const EXIT_HURRIED: u8 = 130;

/// How long the end of the process waits for panics that are not reported yet, and for blocking
/// work: 1 s each.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Runs a program: builds the runtime, runs `main` in a scope, and ends in
/// [phases](mod@crate::shutdown) when `main` returns or a signal comes.
///
/// - SIGTERM and SIGINT ask for the shutdown; a second one ends the waiting for work in flight.
/// - `main` counts as work in flight: when [`Shutdown::stop_accepting`] is cancelled it should end
///   what it has begun and return. The phase *cancel* drops it at its next await; what it has not
///   cleaned up when the last phase ends is left behind.
/// - The runtime ends after the last phase, so every cleanup of every scope that was told to stop
///   has run by then, or has a line that says why not. A task that is no child of a scope is told
///   by nobody: it watches [`Shutdown::token`], or its scopes are left to the
///   [reaper](mod@crate::reaper) without their runtime.
/// - Panics that are contained are told as events instead of on standard error, whatever hook was
///   there before. Troubles are told as events of `tracing` at `WARN` and above; for as long as no
///   subscriber is set, they are written to standard error instead, so that none is lost.
/// - Pools and tasks outside of scopes are not waited for, unless the shutdown is told to:
///   [`Shutdown::on`], [`Shutdown::in_flight`]. Blocking work gets a second; then the process ends.
///   What is cut short so is named in the log.
/// - A program that is built with `panic = "abort"` is refused: nothing could be contained.
///   [`Program::accept_panic_abort`] is the exception.
///
/// The scope of `main` is named `main`: paths of scopes in logs and reports begin with it.
///
/// # Exit codes
///
/// | code | when |
/// |---|---|
/// | 0 | `main` returned `Ok`, or was ended by a requested shutdown; [`ShutdownReport`] tells whether that was clean |
/// | [`EXIT_FAILED`] | `main` returned an error, which is written to standard error with its sources |
/// | [`EXIT_PANICKED`] | `main` panicked; message and place are written to standard error |
/// | [`EXIT_HARD_LIMIT`] | the hard limit ended the shutdown |
/// | [`EXIT_HURRIED`] | a second signal ended the waiting |
/// | [`EXIT_PANIC_ABORT`] | the build cannot contain panics |
///
/// # Panics
/// In async code: there is a runtime already, whose thread it would block.
///
/// # Examples
/// A service: a group of children that is stopped with the program, and a log.
///
/// ```no_run
/// # use steadfast_core as steadfast;
/// use std::process::ExitCode;
/// use std::time::Duration;
/// use steadfast::supervise::{Child, ChildContext, Intensity, Rules, Strategy, Supervisor};
/// use steadfast::{BoxError, clock};
///
/// async fn tick(child: ChildContext) -> Result<(), BoxError> {
///     let every = Duration::from_secs(1);
///     while child.stop_token().run(clock::sleep(every)).await.is_ok() {
///         tracing::info!("tick");
///     }
///     Ok(())
/// }
///
/// fn main() -> ExitCode {
///     // Without a subscriber, troubles go to standard error, and nothing else is told.
///     tracing_subscriber::fmt().init();
///     steadfast::run(async |shutdown| {
///         let rarely = Intensity::new(3, Duration::from_secs(60))?;
///         let group = Supervisor::builder("service", Rules::new(Strategy::OneForOne, rarely))
///             .child(Child::permanent("ticker", tick))
///             .stop_on(&shutdown.stop_accepting())
///             .start()
///             .await?;
///         // Ends when a signal comes, or with exit code 1 when the ticker fails too often.
///         group.ended().await.into_result()?;
///         Ok::<_, BoxError>(())
///     })
/// }
/// ```
///
/// The smallest one:
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::process::ExitCode;
/// use steadfast::BoxError;
///
/// fn main() -> ExitCode {
///     steadfast::run(async |shutdown| {
///         // serve(shutdown.stop_accepting()).await?;
///         drop(shutdown);
///         Ok::<_, BoxError>(())
///     })
/// }
/// ```
pub fn run<F, Fut, E>(main: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    Program::new().run(main)
}

/// Describes how a program is run, where [`run`] does not fit.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `run`"]
pub struct Program {
    worker_threads: Option<usize>,
    limits: Limits,
    signals: bool,
    accept_panic_abort: bool,
}

impl Default for Program {
    fn default() -> Self {
        Self::new()
    }
}

impl Program {
    /// Describes a program as [`run`] runs it.
    pub fn new() -> Self {
        Self {
            worker_threads: None,
            limits: Limits::default(),
            signals: true,
            accept_panic_abort: false,
        }
    }

    /// Chooses the number of threads of the runtime, one for each core by default; 0 counts as 1.
    pub fn worker_threads(mut self, threads: usize) -> Self {
        self.worker_threads = Some(threads.max(1));
        self
    }

    /// Chooses the limits of the shutdown.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Leaves SIGTERM and SIGINT alone: somebody else asks for the shutdown.
    pub fn without_signals(mut self) -> Self {
        self.signals = false;
        self
    }

    /// Runs although `panic = "abort"` makes every panic end the process.
    pub fn accept_panic_abort(mut self) -> Self {
        self.accept_panic_abort = true;
        self
    }

    /// Runs the program, see [`run`].
    ///
    /// # Panics
    /// In async code: there is a runtime already, whose thread it would block.
    pub fn run<F, Fut, E>(self, main: F) -> ExitCode
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        if !panic::can_unwind() && !self.accept_panic_abort {
            say(
                "this program is built with panic = \"abort\": no panic can be contained, and no \
                 cleanup would run; remove it from the profile, or accept it by name with \
                 Program::accept_panic_abort",
            );
            return ExitCode::from(EXIT_PANIC_ABORT);
        }
        voice::raise();
        panic::install_quiet();
        let runtime = match self.runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                say(format_args!("cannot start the runtime: {error}"));
                return ExitCode::from(EXIT_FAILED);
            }
        };
        let shutdown = Shutdown::new(self.limits);
        let _alive = last_resort(shutdown.clone(), self.limits.hard);
        let (ended, report) = runtime.block_on(self.run_main(shutdown, main));
        panic::flush(FLUSH_LIMIT);
        // Blocking work that does not end must not keep the process.
        runtime.shutdown_timeout(FLUSH_LIMIT);
        exit_code(ended, &report)
    }

    fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.worker_threads {
            builder.worker_threads(threads);
        }
        builder.enable_all().build()
    }

    async fn run_main<F, Fut, E>(
        &self,
        shutdown: Shutdown,
        main: F,
    ) -> (Option<Ended>, ShutdownReport)
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        // Before main: a signal that comes at its first step must not end the process.
        let signals = self.signals.then(Signals::catch).and_then(|caught| {
            let caught = caught.inspect_err(|error| {
                tracing::error!(target: "steadfast::shutdown", %error, "cannot catch signals");
            });
            let caught = caught.ok()?;
            Some(spawn("signals", caught.listen(shutdown.clone())))
        });
        shutdown.main_starts();
        let driver = shutdown.clone();
        let driver = spawn("shutdown", async move { driver.drive().await });

        let (handle, token) = (shutdown.clone(), shutdown.token());
        let main = scope("main")
            .cancel_on(&token)
            .run(async move |_| main(handle).await.map_err(Into::into));
        let ended = ended_or_left(main, &shutdown).await;
        shutdown.main_is_over();
        shutdown.request(match &ended {
            Some(Ok(())) => "main returned",
            _ => "main failed",
        });
        let report = driver.await;
        let report = report.expect("the driver contains the panics of hooks, and is not aborted");
        if let Some(signals) = signals {
            // It ends with the last phase; its panic, if any, was reported.
            let _ = signals.await;
        }
        (ended, report)
    }
}

/// How main ended.
type Ended = Result<(), ScopeError<BoxError>>;

/// Waits for main; gives nothing when the shutdown was over before.
async fn ended_or_left(main: impl Future<Output = Ended>, shutdown: &Shutdown) -> Option<Ended> {
    let mut main = Box::pin(main);
    let ended = tokio::select! {
        biased;
        ended = &mut main => Some(ended),
        () = shutdown.reached(Phase::Ended) => None,
    };
    cancel::dropping(Cause::Shutdown, || drop(main));
    ended
}

/// The signals that ask for a shutdown; from its making on they do not end the process any more.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Asks for the shutdown at each signal, until it is over.
    async fn listen(mut self, shutdown: Shutdown) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                () = shutdown.reached(Phase::Ended) => return,
            };
            shutdown.signal(name);
        }
    }
}

/// Ends the process when not even the hard limit did: code that blocks every thread of the runtime
/// keeps the shutdown from going on. Stands down when the answer is dropped.
fn last_resort(shutdown: Shutdown, hard: Duration) -> mpsc::Sender<()> {
    /// How much later than the hard limit: 2 s.
    const GRACE: Duration = Duration::from_secs(2);
    /// How often to look whether a shutdown was asked for.
    const LOOK: Duration = Duration::from_millis(250);

    let (alive, stand_down) = mpsc::channel::<()>();
    let over = move |limit| stand_down.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected);
    let watch = move || {
        while shutdown.is_ready() {
            if over(LOOK) {
                return;
            }
        }
        if over(hard.saturating_add(GRACE)) {
            return;
        }
        say_at_end(
            "the shutdown did not end within its hard limit: code blocks the runtime's threads",
        );
        panic::flush(FLUSH_LIMIT);
        std::process::exit(i32::from(EXIT_HARD_LIMIT));
    };
    let thread = std::thread::Builder::new().name("steadfast-last-resort".into());
    if let Err(error) = thread.spawn(watch) {
        tracing::warn!(target: "steadfast::shutdown", %error, "no thread for the last resort");
    }
    alive
}

fn exit_code(ended: Option<Ended>, report: &ShutdownReport) -> ExitCode {
    let code = match &ended {
        Some(Err(ScopeError::Panicked(panic))) => {
            say_at_end(format_args!("error: main {}", panic.describe()));
            EXIT_PANICKED
        }
        Some(Err(ScopeError::Failed(error))) => {
            say_at_end(Chain(&**error));
            EXIT_FAILED
        }
        None => {
            say_at_end("main did not end within the limits of the shutdown");
            EXIT_HARD_LIMIT
        }
        _ if report.hit_hard_limit() => EXIT_HARD_LIMIT,
        _ if report.hurried => EXIT_HURRIED,
        Some(Ok(()) | Err(ScopeError::Cancelled(Cause::Shutdown))) => 0,
        Some(Err(ScopeError::Cancelled(cause))) => {
            say_at_end(format_args!("main was cancelled: {cause}"));
            EXIT_FAILED
        }
    };
    panic::drop_contained(ended);
    ExitCode::from(code)
}

/// Shows an error with all its sources.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            match error.downcast_ref::<Panic>() {
                // Its `Display` is for clients, and shows nothing of the inside.
                Some(panic) => write!(f, "\n  because: {}", panic.describe())?,
                None => write!(f, "\n  because: {error}")?,
            }
            source = error.source();
        }
        Ok(())
    }
}
