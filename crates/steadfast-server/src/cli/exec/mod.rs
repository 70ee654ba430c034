//! `steadfast exec`: somebody else's program, kept up.
//!
//! What no recovery inside a process can catch ends the process: an abort, a stack overflow, a kill
//! for want of memory, a hang. From outside it is an ordinary end, which is judged like that of any
//! other child: by a group of one, with its backoff and its intensity.

mod end;
mod health;
mod lines;
mod process;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;
use steadfast::decide::restart::{AutoShutdown, End};
use steadfast::settings::duration;
use steadfast::shutdown::Limits;
use steadfast::supervise::{
    Backoff, Child, ChildContext, Event, EventKind, GroupEnd, Intensity, Jitter, Restart, Rules,
    Strategy, Supervisor,
};
use steadfast::{BoxError, Program, Shutdown};

use super::{Cli, fail, log};
use crate::process::launch::{NOT_FOUND, NOT_STARTED};
use crate::process::warden::{self, Warden};
use end::Ended;
use health::Check;

/// The kernel's own lines on children say the same in its words.
const LOGGED: &str = "info,steadfast::supervise=off,steadfast::scope=off,steadfast::shutdown=off";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Restarts the program when it ends or hangs; without this it is run once.
    #[arg(long)]
    supervise: bool,

    /// After which ends it is restarted: any, or only those that are failures.
    #[arg(long, requires = "supervise", value_enum, value_name = "WHEN", default_value_t = Restarted::OnFailure)]
    restart: Restarted,

    /// How many restarts are allowed within `--within`; one more, and it is given up.
    #[arg(
        long,
        requires = "supervise",
        value_name = "NUMBER",
        default_value_t = 5
    )]
    restarts: u32,

    /// The stretch of time in which restarts are counted.
    #[arg(long, requires = "supervise", value_name = "TIME", default_value = "5m", value_parser = time)]
    within: Duration,

    /// The wait before the first restart; doubled for each that follows soon, with jitter.
    #[arg(long, requires = "supervise", value_name = "TIME", default_value = "100ms", value_parser = time)]
    backoff: Duration,

    /// The longest wait before a restart.
    #[arg(long, requires = "supervise", value_name = "TIME", default_value = "30s", value_parser = time)]
    backoff_max: Duration,

    /// How long the program may take to end when it is asked to; then it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    stop_within: Duration,

    /// Asks whether the program still works: `http://HOST:PORT/PATH` (below 400 is well) or
    /// `tcp://HOST:PORT` (accepts). After three checks in a row that fail it counts as hanging.
    #[arg(long, value_name = "URL", value_parser = Check::parse)]
    health: Option<Check>,

    /// The time between two checks; each may take so long.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    health_every: Duration,

    /// How long the program may take from its start to the first check that succeeds.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
    health_grace: Duration,

    /// The program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Restarted {
    /// When it ends with another exit code than 0, or by a signal, or hangs.
    OnFailure,
    /// However it ends.
    Always,
}

/// What the exit code will be, once that is known.
#[derive(Clone, Default)]
struct Verdict(Arc<Mutex<Option<u8>>>);

pub(crate) fn run(options: Options) -> ExitCode {
    let rules = match rules(&options) {
        Ok(rules) => rules,
        Err(wrong) => {
            let wrong = Cli::command().error(ErrorKind::ValueValidation, wrong);
            return fail::misunderstood(&wrong);
        }
    };
    let _flushed = log::of_service(LOGGED);
    let verdict = Verdict::default();
    let program = Program::new().limits(limits(options.stop_within));
    let ended = {
        let verdict = verdict.clone();
        program.run(async move |shutdown| exec(options, rules, shutdown, verdict).await)
    };
    // One that was cut short has a code of its own.
    verdict.take().map_or(ended, ExitCode::from)
}

/// Leaves the program its time, and the rest what it needs to notice that it was too short.
fn limits(stop_within: Duration) -> Limits {
    let limits = Limits::default();
    let drain_core = stop_within.saturating_add(Duration::from_secs(2));
    Limits {
        drain_core,
        hard: limits.hard.saturating_add(drain_core),
        ..limits
    }
}

async fn exec(
    options: Options,
    rules: Rules,
    shutdown: Shutdown,
    verdict: Verdict,
) -> Result<(), BoxError> {
    let restart = match (options.supervise, options.restart) {
        (false, _) => Restart::Temporary,
        (true, Restarted::OnFailure) => Restart::Transient,
        (true, Restarted::Always) => Restart::Permanent,
    };
    let stop_within = options.stop_within;
    let name = options.command[0].clone();
    let kept = verdict.clone();
    let options = Arc::new(options);
    let (warden, keeper) = warden::new();
    let child = Child::new(name, restart, move |child| {
        live(child, options.clone(), kept.clone(), warden.clone())
    });
    // It is killed by its own life, which knows its process group; the group's limit comes after.
    let mut child = child
        .ready_within(Duration::from_secs(10))
        .stop_within(stop_within.saturating_add(Duration::from_secs(1)));
    if restart != Restart::Permanent {
        child = child.significant();
    }
    let group = Supervisor::builder("exec", rules)
        .child(child)
        .observe(tell)
        .stop_on(&shutdown.stop_accepting());
    let ended = async {
        match group.start().await {
            Ok(group) => group.ended().await,
            Err(error) => GroupEnd::Failed(error),
        }
    };
    let ended = tokio::select! {
        ended = ended => ended,
        never = keeper.run() => match never {},
    };
    let GroupEnd::Failed(error) = ended else {
        // The exit code says how the program ended.
        return Ok(());
    };
    if error.is_too_many_restarts() {
        tracing::error!(target: "steadfast::exec", "given up: {error}");
        verdict.at_least_failed();
        Ok(())
    } else if error.is_stopped() || verdict.is_known() {
        // Already told, with a code of its own.
        Ok(())
    } else {
        Err(error.into())
    }
}

fn rules(options: &Options) -> Result<Rules, BoxError> {
    let intensity = Intensity::new(options.restarts, options.within)?;
    // Not at once: what holds a port or a lock may need a moment to let go.
    let backoff = Backoff::new(options.backoff, options.backoff_max)?.with_jitter(Jitter::Equal);
    let auto = match (options.supervise, options.restart) {
        (true, Restarted::Always) => AutoShutdown::Never,
        _ => AutoShutdown::AnySignificant,
    };
    Ok(Rules::new(Strategy::OneForOne, intensity)
        .with_backoff(backoff)
        .with_auto_shutdown(auto))
}

/// One life of the program.
async fn live(
    child: ChildContext,
    options: Arc<Options>,
    verdict: Verdict,
    warden: Warden,
) -> Result<(), Ended> {
    let process = match process::start(&options.command, &child, &warden).await {
        Ok(process) => process,
        Err(error) => {
            verdict.set(match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_STARTED,
            });
            return Err(Ended::NotStarted(error));
        }
    };
    tracing::info!(target: "steadfast::exec", pid = process.id(), run = child.run(), "started");
    child.ready();
    let ended = process.until_end(&child, &options).await;
    verdict.set(ended.exit_code());
    if ended.is_success() {
        tracing::info!(target: "steadfast::exec", "{ended}");
        return Ok(());
    }
    if child.is_stopping() {
        tracing::warn!(target: "steadfast::exec", "{ended}");
    }
    Err(ended)
}

/// Says what becomes of the program when nobody has asked for it.
fn tell(event: &Event) {
    match &event.kind {
        EventKind::Ended { end, expected } if !expected && end.kind() != End::Normal => {
            if let Some(error) = end.error() {
                tracing::error!(target: "steadfast::exec", "{error}");
            }
        }
        EventKind::Restarting {
            after,
            restarts,
            intensity,
        } => {
            let when = match Duration::from_millis(after.as_millis() as u64) {
                Duration::ZERO => "at once".to_owned(),
                after => format!("in {after:?}"),
            };
            tracing::warn!(
                target: "steadfast::exec",
                "restarting {when}; restart {restarts} of at most {} within {:?}",
                intensity.restarts(),
                intensity.within()
            );
        }
        _ => {}
    }
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|wrong| wrong.to_string())
}

impl Verdict {
    fn set(&self, code: u8) {
        *self.code() = Some(code);
    }

    /// What was given up has failed, also if its last end was a good one.
    fn at_least_failed(&self) {
        let mut code = self.code();
        if code.is_none_or(|code| code == 0) {
            *code = Some(1);
        }
    }

    fn is_known(&self) -> bool {
        self.code().is_some()
    }

    fn take(&self) -> Option<u8> {
        self.code().take()
    }

    fn code(&self) -> std::sync::MutexGuard<'_, Option<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
