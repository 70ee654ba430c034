use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{Limits, Phase, PhaseEnd};
use crate::context::Name;
use crate::panic::Panic;
use crate::report::EventDoc;
use crate::voice;

/// What a shutdown will do; printed before anything happens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The limits of the phases.
    pub limits: Limits,
    /// The hooks, in the order in which they will run within their phase.
    pub hooks: Vec<PlannedHook>,
}

/// A hook that will run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PlannedHook {
    /// The phase in which it runs.
    pub phase: Phase,
    /// The name it was registered with.
    pub name: Name,
    /// Where it was registered.
    pub place: &'static Location<'static>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shutdown within {:?}:", self.limits.hard)?;
        for phase in Phase::ACTIVE {
            let mut hooks = self
                .hooks
                .iter()
                .filter(|hook| hook.phase == phase)
                .peekable();
            if self.limits.of(phase).is_zero() && hooks.peek().is_none() {
                continue;
            }
            write!(f, "\n  {phase:<15} at most {:?}", self.limits.of(phase))?;
            for hook in hooks {
                let place = hook.place;
                write!(
                    f,
                    "\n    {:<20} [{}:{}]",
                    hook.name,
                    place.file(),
                    place.line()
                )?;
            }
        }
        Ok(())
    }
}

/// What a shutdown did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Why it was asked for.
    pub reason: Option<Name>,
    /// One for each phase, in order, also for those that were jumped over.
    pub phases: Vec<PhaseReport>,
    /// How long all of it took.
    pub took: Duration,
    /// Whether a second signal ended the waiting.
    pub hurried: bool,
    /// How many dropped scopes were still being cleaned up when it ended.
    pub reaping: usize,
    /// How many tasks [pools](mod@crate::pool) still had when it ended, running and queued.
    pub pool_tasks: usize,
}

/// What one phase did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// How it ended.
    pub end: PhaseEnd,
    /// How long it took.
    pub took: Duration,
    /// How much work was in flight when it ended; the main function of [`run`](crate::run()) is
    /// one.
    pub in_flight: usize,
    /// What its hooks did, in the order in which they ran or would have.
    pub hooks: Vec<HookReport>,
}

/// What one hook did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HookReport {
    /// The name it was registered with.
    pub name: Name,
    /// Where it was registered.
    pub place: &'static Location<'static>,
    /// How it went.
    pub end: HookEnd,
    /// How long it took; zero when it was cut short or not run.
    pub took: Duration,
}

/// How a hook went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HookEnd {
    /// It ran to its end.
    Ran,
    /// It returned this error.
    Failed(String),
    /// It panicked.
    Panicked(Panic),
    /// It was dropped because it exceeded this limit.
    TimedOut(Duration),
    /// It was dropped because its phase had to end.
    CutShort,
    /// It was never called: the time of its phase was used up by those before it, or its phase was
    /// jumped over.
    NotRun,
}

impl HookEnd {
    fn is_ok(&self) -> bool {
        matches!(self, HookEnd::Ran)
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookEnd::Ran => f.write_str("ran"),
            HookEnd::Failed(error) => write!(f, "failed: {error}"),
            HookEnd::Panicked(panic) => write!(f, "panicked: {}", panic.message()),
            HookEnd::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            HookEnd::CutShort => f.write_str("cut short"),
            HookEnd::NotRun => f.write_str("not run"),
        }
    }
}

impl ShutdownReport {
    pub(super) fn new(reason: Option<Name>) -> Self {
        Self {
            reason,
            phases: Vec::new(),
            took: Duration::ZERO,
            hurried: false,
            reaping: 0,
            pool_tasks: 0,
        }
    }

    /// Tells whether no phase was cut short: what was [in flight](super::Shutdown::in_flight) ended
    /// by itself, all hooks ran, all cleanups are done, no pool has a task left.
    ///
    /// Tasks that were [spawned](crate::spawn) outside of scopes, and that nobody has put in flight,
    /// are not part of it: each that is dropped unfinished has a line of its own.
    pub fn is_clean(&self) -> bool {
        let done =
            |part: &PhaseReport| part.is_done() && part.hooks.iter().all(|hook| hook.end.is_ok());
        let nothing_left = self.reaping == 0 && self.pool_tasks == 0;
        !self.hurried && nothing_left && self.phases.iter().all(done)
    }

    /// Tells whether the hard limit ended it.
    pub fn hit_hard_limit(&self) -> bool {
        let mut parts = self.phases.iter();
        parts.any(|part| part.end == PhaseEnd::HardLimit)
    }

    pub(super) fn tell(&self) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "steadfast::shutdown",
                    reason = self.reason.map(Name::as_str),
                    clean = self.is_clean(),
                    hurried = self.hurried,
                    reaping = self.reaping,
                    pool_tasks = self.pool_tasks,
                    duration_s = self.took.as_secs_f64(),
                    "shutdown ended"
                )
            };
        }
        voice::tell(|| {
            if self.is_clean() {
                event!(info)
            } else {
                event!(warn)
            }
        });
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::shutdown", &["info"], "shutdown started", &["plan", "reason"]).when("Somebody asked for the end: a signal, the program, a supervisor.").action("Nothing; `plan` tells what comes, and how long each phase may take."),
    EventDoc::new("steadfast::shutdown", &["info", "warn"], "shutdown phase ended", &["duration_s", "end", "in_flight", "phase"]).when("A phase is over; at warn level its limit came before its end.").action("`in_flight` is what was left: shorten it, or raise the limit of the phase."),
    EventDoc::new("steadfast::shutdown", &["warn"], "a shutdown hook did not end well", &["hook", "phase", "place", "reason"]).when("A hook failed, panicked or took too long.").action("The reason is that of the hook."),
    EventDoc::new("steadfast::shutdown", &["warn"], "a pool still has tasks, which end with the runtime", &["pool", "queued", "running"]).when("The program ends with work in a pool.").action("Drain the pool in a hook, or accept it."),
    EventDoc::new("steadfast::shutdown", &["info", "warn"], "shutdown ended", &["clean", "duration_s", "hurried", "pool_tasks", "reaping", "reason"]).when("The end of the shutdown; at warn level something was cut short.").action("The events before name it."),
    EventDoc::new("steadfast::shutdown", &["error"], "cannot catch signals", &["error"]).when("The process cannot listen to signals.").action("Without them only the program itself starts a shutdown: look at the limits of the container."),
    EventDoc::new("steadfast::shutdown", &["warn"], "no thread for the last resort", &["error"]).when("The system gives no further thread.").action("The hard limit of the shutdown is not enforced: look at the limits of the process."),
];

impl PhaseReport {
    /// Tells whether it did all that it was for within its limit.
    fn is_done(&self) -> bool {
        self.end == PhaseEnd::Done
    }

    pub(super) fn tell(&self) {
        for hook in self.hooks.iter().filter(|hook| !hook.end.is_ok()) {
            voice::tell(|| {
                tracing::warn!(
                    target: "steadfast::shutdown",
                    phase = self.phase.as_str(),
                    hook = hook.name.as_str(),
                    reason = %hook.end,
                    place = %format_args!("{}:{}", hook.place.file(), hook.place.line()),
                    "a shutdown hook did not end well"
                );
            });
        }
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "steadfast::shutdown",
                    phase = self.phase.as_str(),
                    end = self.end.as_str(),
                    in_flight = self.in_flight,
                    duration_s = self.took.as_secs_f64(),
                    "shutdown phase ended"
                )
            };
        }
        voice::tell(|| {
            if self.is_done() {
                event!(info)
            } else {
                event!(warn)
            }
        });
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.map_or("", Name::as_str);
        let clean = if self.is_clean() {
            "clean"
        } else {
            "not clean"
        };
        write!(f, "shutdown ({reason}) took {:.1?}, {clean}", self.took)?;
        for part in &self.phases {
            write!(
                f,
                "\n  {:<15} {} ({:.1?})",
                part.phase,
                part.end.as_str(),
                part.took
            )?;
            if part.in_flight > 0 {
                write!(f, ", {} in flight", part.in_flight)?;
            }
            for hook in &part.hooks {
                write!(
                    f,
                    "\n    {:<20} {} ({:.1?})",
                    hook.name, hook.end, hook.took
                )?;
            }
        }
        if self.reaping > 0 {
            write!(
                f,
                "\n  {} dropped scopes are still being cleaned up",
                self.reaping
            )?;
        }
        if self.pool_tasks > 0 {
            write!(f, "\n  pools still have {} tasks", self.pool_tasks)?;
        }
        Ok(())
    }
}
