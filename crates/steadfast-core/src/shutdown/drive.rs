//! Goes through the phases. Whatever the driver has done stands in the shared state, so that it
//! can be dropped at any await, and another one go on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::{
    HOOK_LIMIT, Hook, HookEnd, HookReport, Phase, PhaseEnd, PhaseReport, Shutdown, ShutdownReport,
};
use crate::cancel::{self, Cause};
use crate::clock::{self, Instant};
use crate::context::Tier;
use crate::{panic, pool, reaper, recover, recover_async, voice};

/// How far the driver has come.
pub(super) struct Progress {
    begun: Instant,
    phase_begun: Instant,
    /// Those of the present phase that have begun.
    hooks: Vec<HookReport>,
    report: ShutdownReport,
}

/// Lets another one drive when the driver is dropped.
struct Driving<'a>(&'a Shutdown);

impl<'a> Driving<'a> {
    /// Gives nothing when somebody else drives.
    fn start(shutdown: &'a Shutdown) -> Option<Self> {
        let driven = std::mem::replace(&mut shutdown.shared.state().driven, true);
        (!driven).then(|| Self(shutdown))
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.driven = false);
    }
}

impl Shutdown {
    /// Waits until the shutdown is asked for, then goes through it.
    ///
    /// Every caller gets the report; the first one drives.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// When the caller that drives is dropped, the hook that runs is cut short, and the next
    /// caller, already waiting or yet to come, goes on from there; without any the shutdown stands
    /// still. [`run`](crate::run()) drives in a task of its own.
    pub async fn drive(&self) -> ShutdownReport {
        loop {
            self.until(|state| state.report.is_some() || !state.driven)
                .await;
            if let Some(report) = self.report() {
                return report;
            }
            let Some(_driving) = Driving::start(self) else {
                continue;
            };
            self.reached(Phase::NotReady).await;
            let report = self.go_through().await;
            self.change(|state| state.report = Some(report));
        }
    }

    async fn go_through(&self) -> ShutdownReport {
        self.start();
        loop {
            let phase = self.phase();
            self.begin(phase);
            self.skip_to(phase);
            if phase == Phase::Ended {
                return self.finish();
            }
            let end = self.work_or_limit(phase).await;
            self.end_phase(phase, end);
        }
    }

    fn report(&self) -> Option<ShutdownReport> {
        self.shared.state().report.clone()
    }

    fn start(&self) {
        let mut state = self.shared.state();
        if state.progress.is_some() {
            return;
        }
        let now = clock::now();
        let reason = state.reason;
        state.progress = Some(Progress {
            begun: now,
            phase_begun: now,
            hooks: Vec::new(),
            report: ShutdownReport::new(reason),
        });
        drop(state);
        // A subscriber that panics must not keep the process up.
        let _ = recover(|| {
            tracing::info!(
                target: "steadfast::shutdown",
                reason = reason.map(|reason| reason.as_str()),
                plan = %self.plan().to_string().replace("\n  ", "; "),
                "shutdown started"
            );
        });
    }

    fn finish(&self) -> ShutdownReport {
        let mut state = self.shared.state();
        let progress = state.progress.take().expect("there from the start on");
        let hurried = state.sequence.is_hurried();
        drop(state);
        let report = ShutdownReport {
            took: clock::now() - progress.begun,
            hurried,
            reaping: reaper::in_flight(),
            pool_tasks: tasks_left_in_pools(),
            ..progress.report
        };
        let _ = recover(|| report.tell());
        report
    }

    /// What the beginning of a phase tells everybody.
    fn begin(&self, phase: Phase) {
        let shared = &self.shared;
        // A second signal and the hard limit jump over phases; what they tell is told here.
        if phase >= Phase::StopAccepting {
            shared.stop_accepting.cancel(Cause::Shutdown);
        }
        if phase >= Phase::DrainCore {
            shared.lower.cancel(Cause::Shutdown);
        }
        if phase >= Phase::Cancel {
            shared.token.cancel(Cause::Shutdown);
        }
    }

    /// Reports the phases before `phase` that never began.
    fn skip_to(&self, phase: Phase) {
        let reported = |state: &super::State| {
            let parts = state.progress.as_ref().map(|known| &known.report.phases);
            parts.and_then(|parts| parts.last()).map(|part| part.phase)
        };
        let last = reported(&self.shared.state());
        let skipped = Phase::ACTIVE
            .into_iter()
            .filter(|known| Some(*known) > last && *known < phase);
        for phase in skipped {
            self.end_phase(phase, PhaseEnd::Skipped);
        }
    }

    /// Reports a phase, and the hooks of it that nobody will run any more.
    fn end_phase(&self, phase: Phase, end: PhaseEnd) {
        let mut left = Vec::new();
        while let Some(hook) = self.next_hook(phase) {
            left.push(hook.report(HookEnd::NotRun));
            // What it holds is dropped here, and may panic.
            panic::drop_contained(hook);
        }
        let now = clock::now();
        let mut state = self.shared.state();
        let in_flight = self.shared.in_flight(&state);
        let progress = state.progress.as_mut().expect("there from the start on");
        let mut hooks = std::mem::take(&mut progress.hooks);
        hooks.append(&mut left);
        let took = now - std::mem::replace(&mut progress.phase_begun, now);
        let part = PhaseReport {
            phase,
            end,
            took,
            in_flight,
            hooks,
        };
        progress.report.phases.push(part.clone());
        drop(state);
        let _ = recover(|| part.tell());
    }

    /// Takes the hook of a phase that was registered last.
    fn next_hook(&self, phase: Phase) -> Option<Hook> {
        let mut state = self.shared.state();
        let last = state.hooks.iter().rposition(|hook| hook.phase == phase)?;
        Some(state.hooks.remove(last))
    }

    /// Does the work of a phase until it is done, its time is up, or somebody hurries.
    async fn work_or_limit(&self, phase: Phase) -> PhaseEnd {
        let mut work = pin!(Some(self.work(phase)));
        let mut done = false;
        loop {
            let wake_at = self.shared.state().sequence.wake_at();
            let left = wake_at.map_or(0, |at| at.saturating_sub(clock::nanos()));
            let mut timer = pin!(clock::sleep(Duration::from_nanos(left)));
            let mut moved = pin!(self.until(|state| state.sequence.phase() != phase));
            poll_fn(|cx| {
                if let Some(running) = work.as_mut().as_pin_mut()
                    && running.poll(cx).is_ready()
                {
                    done = true;
                    return Poll::Ready(());
                }
                if moved.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                timer.as_mut().poll(cx)
            })
            .await;
            let end = self.change(|state| {
                let now = clock::nanos();
                match done {
                    // Nobody else moves it, and time passes for the next phase then.
                    _ if state.sequence.phase() != phase => Some(PhaseEnd::Hurried),
                    true => state.sequence.done(phase, now),
                    false => state.sequence.tick(now),
                }
            });
            if let Some(end) = end {
                cancel::dropping(Cause::Timeout(self.shared.limits.of(phase)), || {
                    work.set(None)
                });
                return end;
            }
        }
    }

    async fn work(&self, phase: Phase) {
        let ready_until = clock::after(self.shared.limits.not_ready);
        while let Some(hook) = self.next_hook(phase) {
            self.run_hook(hook).await;
        }
        match phase {
            Phase::NotReady => clock::sleep_until(ready_until).await,
            Phase::DrainLower => self.until_idle(1..Tier::COUNT).await,
            Phase::DrainCore => {
                self.until(|state| state.main_over).await;
                self.until_idle(0..1).await;
            }
            Phase::Cancel => {
                self.until(|state| state.main_over).await;
                self.until_idle(0..Tier::COUNT).await;
            }
            Phase::Cleanup => reaper::drain().await,
            Phase::StopAccepting | Phase::Running | Phase::Ended => {}
        }
    }

    async fn run_hook(&self, hook: Hook) {
        let begun = clock::now();
        // Reported as unfinished unless it gets to its end: the phase may be cut short.
        self.report_hook(|hooks| hooks.push(hook.report(HookEnd::CutShort)));
        let run = hook.run;
        let ended = clock::timeout(HOOK_LIMIT, recover_async(async move { run().await })).await;
        let end = match ended {
            Ok(Ok(end)) => end,
            Ok(Err(panic)) => HookEnd::Panicked(panic),
            Err(_) => HookEnd::TimedOut(HOOK_LIMIT),
        };
        let took = clock::now() - begun;
        self.report_hook(|hooks| {
            if let Some(last) = hooks.last_mut() {
                (last.end, last.took) = (end, took);
            }
        });
    }

    fn report_hook(&self, change: impl FnOnce(&mut Vec<HookReport>)) {
        if let Some(progress) = &mut self.shared.state().progress {
            change(&mut progress.hooks);
        }
    }

    async fn until_idle(&self, tiers: std::ops::Range<usize>) {
        let counts = &self.shared.in_flight[tiers];
        self.until(|_| counts.iter().all(|count| count.load(Ordering::SeqCst) == 0))
            .await;
    }
}

impl Hook {
    fn report(&self, end: HookEnd) -> HookReport {
        HookReport {
            name: self.name,
            place: self.place,
            end,
            took: Duration::ZERO,
        }
    }
}

/// Names the pools that still have tasks, and counts these.
fn tasks_left_in_pools() -> usize {
    let mut tasks = 0;
    for stats in pool::unfinished() {
        tasks += stats.in_flight + stats.depth();
        let told = || {
            tracing::warn!(
                target: "steadfast::shutdown",
                pool = stats.name.as_str(),
                running = stats.in_flight,
                queued = stats.depth(),
                "a pool still has tasks, which end with the runtime"
            );
        };
        voice::tell(told);
    }
    tasks
}
