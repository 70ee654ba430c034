//! An orderly end, in phases, within a limit.
//!
//! A `select!` over signals that drops everything is no shutdown: requests in flight fail, load
//! balancers still send new ones, cleanups are cut in half, and one peer that keeps its
//! connection open keeps the process alive until somebody kills it.
//!
//! A [`Shutdown`] goes through [phases](Phase), each with a limit, all of them within a hard one:
//!
//! 1. *not ready*: [`is_ready`](Shutdown::is_ready) turns false while work goes on;
//! 2. *stop accepting*: [`stop_accepting`](Shutdown::stop_accepting) is cancelled;
//! 3. *drain*: work in flight ([`in_flight`](Shutdown::in_flight)) may end, below the core tier
//!    for a shorter time than the core; under [`run`](crate::run()) the main function counts as
//!    core work;
//! 4. *cancel*: [`token`](Shutdown::token) is cancelled, with
//!    [`Cause::Shutdown`](crate::Cause::Shutdown);
//! 5. *cleanup*: the cleanups of dropped scopes end.
//!
//! [Hooks](Shutdown::on) run in any of them, last registered first, each contained and within its
//! limit. A second signal ends the waiting: it goes on with *cancel*, and the hooks of the phases
//! in between are reported as [not run](HookEnd::NotRun).
//! [`plan`](Shutdown::plan) gives all of it before anything happens, to be printed or logged, and
//! the [`ShutdownReport`] what came of it.
//!
//! [`run`](crate::run()) makes one and drives it; `main` gets the handle.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use steadfast::{Shutdown, shutdown::Phase};
//!
//! let shutdown = Shutdown::default();
//! shutdown.on(Phase::StopAccepting, "leave the cluster", async || { /* … */ }).unwrap();
//! println!("{}", shutdown.plan());
//!
//! shutdown.request("deploy");
//! let report = shutdown.drive().await;
//! assert!(report.is_clean());
//! # }
//! ```

mod drive;
mod report;
mod sequence;

use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use report::EVENTS;
pub use report::{HookEnd, HookReport, PhaseReport, Plan, PlannedHook, ShutdownReport};
pub use sequence::{Limits, Phase, PhaseEnd};

use crate::cancel::Cancel;
use crate::clock;
use crate::context::{Name, Tier};
use crate::report::{Collector, MetricDoc, Source};
use crate::scope::CleanupResult;
use drive::Progress;
use sequence::Sequence;

/// How long one hook may take: 5 s, as a cleanup; the limit of its phase may be shorter.
pub const HOOK_LIMIT: Duration = Duration::from_secs(5);

/// How many hooks there can be: 1,000; a program that needs more registers per connection what
/// belongs into a scope.
pub const HOOKS_MAX: usize = 1_000;

/// The handle of a shutdown: asks for it, watches it, takes part in it. A cheap clone.
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
    stop_accepting: Cancel,
    /// For work below the core tier; a child of `token`.
    lower: Cancel,
    token: Cancel,
    in_flight: [AtomicUsize; Tier::COUNT],
}

struct State {
    sequence: Sequence,
    reason: Option<Name>,
    hooks: Vec<Hook>,
    driven: bool,
    progress: Option<Progress>,
    report: Option<ShutdownReport>,
    main_over: bool,
}

struct Hook {
    phase: Phase,
    name: Name,
    place: &'static Location<'static>,
    run: Box<dyn FnOnce() -> HookFuture + Send>,
}

type HookFuture = Pin<Box<dyn Future<Output = HookEnd> + Send>>;

/// Says that a hook was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HookRefused {
    /// The phase has begun or is over; what the hook was for has to be done by other means.
    #[error("the shutdown has come to phase {now}: too late for a hook of {wanted}")]
    TooLate {
        /// The phase of the hook.
        wanted: Phase,
        /// The phase of the shutdown.
        now: Phase,
    },
    /// There is nothing to run in this phase.
    #[error("nothing runs in phase {0}")]
    NoSuchPhase(Phase),
    /// There are [`HOOKS_MAX`] hooks.
    #[error("there are {HOOKS_MAX} hooks already")]
    TooMany,
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_shutdown_phase",
        &["phase"],
        "1 for the phase in which the shutdown of the process is, `running` until one begins.",
    ),
    MetricDoc::gauge(
        "steadfast_shutdown_in_flight",
        &["tier"],
        "Work that the shutdown waits for, or would.",
    ),
];

impl Source for Shared {
    fn collect(&self, to: &mut Collector) {
        let phase = self.state().sequence.phase();
        to.labels([("phase", phase.as_str().into())])
            .gauge("steadfast_shutdown_phase", 1.0);
        for (number, count) in self.in_flight.iter().enumerate() {
            let count = count.load(Ordering::SeqCst);
            to.labels([("tier", TIERS[number])])
                .gauge("steadfast_shutdown_in_flight", count as f64);
        }
    }

    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }
}

const TIERS: [Name; Tier::COUNT] = [
    Name::new("0"),
    Name::new("1"),
    Name::new("2"),
    Name::new("3"),
    Name::new("4"),
    Name::new("5"),
    Name::new("6"),
    Name::new("7"),
];

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Shutdown {
    /// Makes a shutdown that has not been asked for.
    pub fn new(limits: Limits) -> Self {
        let token = Cancel::new();
        let shared = Arc::new(Shared {
            limits,
            state: Mutex::new(State {
                sequence: Sequence::new(limits),
                reason: None,
                hooks: Vec::new(),
                driven: false,
                progress: None,
                report: None,
                main_over: true,
            }),
            changed: Notify::new(),
            stop_accepting: Cancel::new(),
            lower: token.child(),
            token,
            in_flight: Default::default(),
        });
        // Without a place in the report it still goes through its phases.
        let _ = crate::report::register("shutdown", &shared);
        Self { shared }
    }

    /// Asks for the shutdown; tells whether this was the first time. Later reasons are ignored.
    pub fn request(&self, reason: impl Into<Name>) -> bool {
        let reason = reason.into();
        self.change(|state| {
            let first = state.sequence.request(clock::nanos());
            if first {
                state.reason = Some(reason);
            }
            first
        })
    }

    /// Takes a signal: the first one asks for the shutdown, the second one ends the waiting for
    /// work in flight.
    pub fn signal(&self, name: impl Into<Name>) {
        if self.request(name) {
            return;
        }
        self.change(|state| state.sequence.hurry(clock::nanos()));
    }

    /// Gives the phase at this moment.
    pub fn phase(&self) -> Phase {
        self.shared.state().sequence.phase()
    }

    /// Tells whether new work should be sent here: the answer of a readiness probe.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Waits until the shutdown has come to `phase` or beyond.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn reached(&self, phase: Phase) {
        self.until(|state| state.sequence.phase() >= phase).await;
    }

    /// Gives the token that is cancelled when nothing new may be taken.
    pub fn stop_accepting(&self) -> Cancel {
        self.shared.stop_accepting.clone()
    }

    /// Gives the token that is cancelled when everything has to stop.
    pub fn token(&self) -> Cancel {
        self.shared.token.clone()
    }

    /// Counts a piece of work as in flight until the guard is dropped; `None` once nothing new
    /// may be taken.
    pub fn in_flight(&self, tier: Tier) -> Option<InFlight> {
        let work = InFlight {
            shared: self.shared.clone(),
            tier,
        };
        // Counted before the look: otherwise the drain could see nobody in between.
        self.shared.count(tier).fetch_add(1, Ordering::SeqCst);
        (!self.shared.stop_accepting.is_cancelled()).then_some(work)
    }

    /// Registers a hook of a phase. Hooks of one phase run one after the other, the last
    /// registered first.
    ///
    /// # Errors
    /// [`HookRefused`]; retrying is of no use.
    #[track_caller]
    pub fn on<R, F>(
        &self,
        phase: Phase,
        name: impl Into<Name>,
        hook: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(), HookRefused>
    where
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        let hook = Hook {
            phase,
            name: name.into(),
            place: Location::caller(),
            run: Box::new(move || {
                Box::pin(async move {
                    match hook().await.into_result() {
                        Ok(()) => HookEnd::Ran,
                        // Here, where a panic in showing or dropping it is that of the hook.
                        Err(error) => HookEnd::Failed(error.to_string()),
                    }
                })
            }),
        };
        let mut state = self.shared.state();
        let now = state.sequence.phase();
        if !Phase::ACTIVE.contains(&phase) {
            return Err(HookRefused::NoSuchPhase(phase));
        }
        if now >= phase {
            return Err(HookRefused::TooLate { wanted: phase, now });
        }
        if state.hooks.len() == HOOKS_MAX {
            return Err(HookRefused::TooMany);
        }
        state.hooks.push(hook);
        Ok(())
    }

    /// Gives what will happen: phases, limits, hooks, in order.
    pub fn plan(&self) -> Plan {
        let state = self.shared.state();
        let hooks = state.hooks.iter().rev().map(|hook| PlannedHook {
            phase: hook.phase,
            name: hook.name,
            place: hook.place,
        });
        Plan {
            limits: self.shared.limits,
            hooks: hooks.collect(),
        }
    }

    /// Says that the phase *cancel* has to wait for the main function.
    pub(crate) fn main_starts(&self) {
        self.change(|state| state.main_over = false);
    }

    pub(crate) fn main_is_over(&self) {
        self.change(|state| state.main_over = true);
    }

    async fn until(&self, mut condition: impl FnMut(&State) -> bool) {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // Before the look, so that a change between the two is not missed.
            changed.as_mut().enable();
            if condition(&self.shared.state()) {
                return;
            }
            changed.await;
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.shared.state());
        self.shared.changed.notify_waiters();
        result
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, tier: Tier) -> &AtomicUsize {
        &self.in_flight[usize::from(tier.number())]
    }

    /// Counts the main function, too.
    fn in_flight(&self, state: &State) -> usize {
        let counts = self.in_flight.iter();
        let work: usize = counts.map(|count| count.load(Ordering::SeqCst)).sum();
        work + usize::from(!state.main_over)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("phase", &self.phase())
            .field("in_flight", &self.shared.in_flight(&self.shared.state()))
            .finish_non_exhaustive()
    }
}

/// A piece of work that the drain waits for; ends with the drop.
#[must_use = "the work counts as ended when this is dropped"]
pub struct InFlight {
    shared: Arc<Shared>,
    tier: Tier,
}

impl InFlight {
    /// Gives the token that is cancelled when the time to drain is up for this tier.
    pub fn token(&self) -> Cancel {
        match self.tier {
            Tier::CORE => self.shared.token.clone(),
            _ => self.shared.lower.clone(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.shared.count(self.tier).fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.changed.notify_waiters();
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}
