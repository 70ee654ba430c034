//! What does the work of jobs: programs that are run, services that are called.

mod exec;
mod http;
mod outside;
mod progress;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use steadfast::context::{self, TraceId};
use steadfast::jobs::schedule::Schedules;
use steadfast::jobs::{Jobs, Kind, Run, end};
use steadfast::{BoxError, clock};

use crate::config::{Handler, Work};
use crate::process::warden::Warden;
use crate::time;

pub(crate) use exec::look::{Comes, look};
pub(crate) use outside::{Outside, SECRET_BYTES_MIN};

use progress::Progresses;

/// When a job comes again whose run could not ask the store what it is for: 1 s, and the store may be back.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// How long it is asked at most what a run is for: 10 s, and a quarter of the time that the run has. A store that stalls has
/// taken nothing of the run by then that could be told from a handler that is slow.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// The largest result: 60 KiB, below what is kept with a job.
const RESULT_BYTES_MAX: usize = 60 * 1024;

/// The longest wait that whoever does the work can ask for: a day. What is put off for longer than that is forgotten by people.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    schedules: Schedules,
    progress: Progresses,
    outside: Outside,
    warden: Warden,
}

impl Shared {
    pub(crate) fn new(jobs: &Jobs, outside: &Outside, warden: &Warden) -> Self {
        Self {
            schedules: Schedules::new(jobs),
            progress: Progresses::default(),
            outside: outside.clone(),
            warden: warden.clone(),
        }
    }
}

/// How long a run may take to end beyond the time that its program has for it: 4 s, to kill it, to
/// see it dead, and to read what it has written.
const ENDING: Duration = Duration::from_secs(4);

/// How long a run may take to end, once it is told to.
pub(crate) fn ending_of(handler: &Handler) -> Duration {
    match &handler.work {
        Work::Exec(exec) => exec.stop_within.saturating_add(ENDING),
        Work::Http(_) => ENDING,
    }
}

/// Makes the kind of a handler.
pub(crate) fn kind(name: &str, handler: &Handler, shared: &Shared) -> Option<Kind> {
    let shared = shared.clone();
    let within = ASK_WITHIN.min(handler.timeout / 4);
    let kind = match &handler.work {
        Work::Exec(exec) => {
            let exec = Arc::new(exec.clone());
            let programs = exec::Programs::new(&shared.warden);
            let name = name.to_owned();
            Kind::of_name(name.clone(), move |run, scope, payload| {
                let (exec, shared, name) = (exec.clone(), shared.clone(), name.clone());
                let programs = programs.clone();
                async move {
                    let about = About::of(&name, &run, &shared, within).await?;
                    let progress = shared.progress.begin(run.id());
                    exec::run(exec, about, run, scope, payload, progress, &programs).await
                }
            })
        }
        Work::Http(_) => {
            let target = shared.outside.targets.get(name)?.clone();
            Kind::of_name(name.to_owned(), move |run, _scope, payload| {
                let (target, shared) = (target.clone(), shared.clone());
                async move {
                    let about = About::of(&target.name, &run, &shared, within).await?;
                    http::run(target, about, run, payload).await
                }
            })
        }
    };
    let kind = kind
        .timeout(handler.timeout)
        .backoff(handler.backoff)
        .cleanup_limit(ending_of(handler));
    Some(match handler.beat_every {
        Some(every) => kind.beat_every(every),
        None => kind,
    })
}

/// What a handler outside of this process is told about its run.
struct About {
    kind: String,
    trace_id: TraceId,
    /// The schedule and the nominal time that the job was made for.
    occurrence: Option<(String, String)>,
}

impl About {
    async fn of(
        kind: &str,
        run: &Run,
        shared: &Shared,
        within: Duration,
    ) -> Result<Self, BoxError> {
        // Each run has one.
        let trace_id = context::current().trace_id();
        let trace_id = trace_id.unwrap_or_else(TraceId::random);
        let asked = shared.schedules.occurrence_of(run.id());
        // Nothing was begun: a store that was away for a moment costs no attempt, of which a line of a crontab has one.
        let put_off = |error: &dyn fmt::Display| {
            tracing::warn!(target: "steadfast::serve", kind, %error, "a run is put off, since what it is for cannot be asked");
            end::snooze_because(
                STORE_AGAIN,
                format!("what it is for cannot be asked: {error}"),
            )
        };
        let occurrence = match clock::timeout(within, asked).await {
            Ok(Ok(occurrence)) => occurrence,
            Ok(Err(error)) if error.is_retryable() => return Err(put_off(&error)),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(put_off(&format!("no answer within {within:?}"))),
        };
        Ok(Self {
            kind: kind.to_owned(),
            trace_id,
            occurrence: occurrence.map(|of| (of.schedule, time::text(of.nominal))),
        })
    }
}
