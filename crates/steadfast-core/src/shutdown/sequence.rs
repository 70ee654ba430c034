//! The order of a shutdown, as a pure state machine: what happened and what time it is in, which
//! phase it is now and when to look again out.

use std::fmt;
use std::time::Duration;

use super::HOOK_LIMIT;

/// One part of a shutdown; they come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nobody has asked for a shutdown.
    Running,
    /// Still serving, but says that it is not ready, so that load balancers go elsewhere.
    NotReady,
    /// Takes nothing new.
    StopAccepting,
    /// Waits for work in flight below the core tier; then cancels what is left of it.
    DrainLower,
    /// Waits for work in flight of the core tier.
    DrainCore,
    /// Tells everything that still runs to stop, and waits for the main function.
    Cancel,
    /// Waits for the cleanups of dropped scopes.
    Cleanup,
    /// Over.
    Ended,
}

impl Phase {
    /// The phases that do something, in order.
    pub const ACTIVE: [Phase; 6] = [
        Phase::NotReady,
        Phase::StopAccepting,
        Phase::DrainLower,
        Phase::DrainCore,
        Phase::Cancel,
        Phase::Cleanup,
    ];

    /// Gives a short stable word for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Running => "running",
            Phase::NotReady => "not_ready",
            Phase::StopAccepting => "stop_accepting",
            Phase::DrainLower => "drain_lower",
            Phase::DrainCore => "drain_core",
            Phase::Cancel => "cancel",
            Phase::Cleanup => "cleanup",
            Phase::Ended => "ended",
        }
    }

    fn next(self) -> Self {
        match self {
            Phase::Running => Phase::NotReady,
            Phase::NotReady => Phase::StopAccepting,
            Phase::StopAccepting => Phase::DrainLower,
            Phase::DrainLower => Phase::DrainCore,
            Phase::DrainCore => Phase::Cancel,
            Phase::Cancel => Phase::Cleanup,
            Phase::Cleanup | Phase::Ended => Phase::Ended,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long the phases of a shutdown may take.
///
/// The defaults fit into the 30 s that a container gets between SIGTERM and SIGKILL, with 5 s to
/// spare for the runtime itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long to go on serving while not ready: 0 s by default. Behind a load balancer that
    /// polls readiness, at least two of its intervals. The hooks of this phase run meanwhile, and
    /// may take up to [`HOOK_LIMIT`] longer.
    pub not_ready: Duration,
    /// How long hooks that stop accepting may take: 2 s.
    pub stop_accepting: Duration,
    /// How long work below the core tier may go on: 5 s.
    pub drain_lower: Duration,
    /// How long work of the core tier may go on after that: 10 s.
    pub drain_core: Duration,
    /// How long what was cancelled may take to end: 3 s.
    pub cancel: Duration,
    /// How long cleanups of dropped scopes may take: 5 s, that of one cleanup.
    pub cleanup: Duration,
    /// How long all of it may take: 25 s. When it is over, so is the shutdown, wherever it is.
    pub hard: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            not_ready: Duration::ZERO,
            stop_accepting: Duration::from_secs(2),
            drain_lower: Duration::from_secs(5),
            drain_core: Duration::from_secs(10),
            cancel: Duration::from_secs(3),
            cleanup: Duration::from_secs(5),
            hard: Duration::from_secs(25),
        }
    }
}

impl Limits {
    /// Gives the limit of a phase; zero for those that do nothing.
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Running | Phase::Ended => Duration::ZERO,
            Phase::NotReady => self.not_ready.saturating_add(HOOK_LIMIT),
            Phase::StopAccepting => self.stop_accepting,
            Phase::DrainLower => self.drain_lower,
            Phase::DrainCore => self.drain_core,
            Phase::Cancel => self.cancel,
            Phase::Cleanup => self.cleanup,
        }
    }
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseEnd {
    /// All that it waited for was done.
    Done,
    /// Its limit was reached first.
    TimedOut,
    /// A second signal came: no more waiting for work to end by itself.
    Hurried,
    /// The hard limit of the whole shutdown was reached.
    HardLimit,
    /// It never began: a second signal or the hard limit jumped over it.
    Skipped,
}

impl PhaseEnd {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            PhaseEnd::Done => "done",
            PhaseEnd::TimedOut => "timed_out",
            PhaseEnd::Hurried => "hurried",
            PhaseEnd::HardLimit => "hard_limit",
            PhaseEnd::Skipped => "skipped",
        }
    }
}

/// Where a shutdown is. Times are nanoseconds of one monotonic clock.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    limits: Limits,
    phase: Phase,
    /// When the present phase must end.
    deadline: u64,
    hard_deadline: u64,
    hurried: bool,
}

impl Sequence {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Running,
            deadline: u64::MAX,
            hard_deadline: u64::MAX,
            hurried: false,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When to call [`tick`](Self::tick) at the latest; `None` when nothing is waited for.
    pub(super) fn wake_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Running | Phase::Ended => None,
            _ => Some(self.deadline.min(self.hard_deadline)),
        }
    }

    /// Somebody asks for a shutdown; tells whether it is the first time.
    pub(super) fn request(&mut self, now: u64) -> bool {
        if self.phase != Phase::Running {
            return false;
        }
        self.hard_deadline = now.saturating_add(nanos(self.limits.hard));
        self.enter(self.phase.next(), now);
        true
    }

    /// Somebody asks again, with a signal: waiting for work to end by itself is over.
    pub(super) fn hurry(&mut self, now: u64) {
        if self.request(now) || self.phase == Phase::Ended {
            return;
        }
        self.hurried = true;
        if self.phase < Phase::Cancel {
            self.enter(Phase::Cancel, now);
        }
    }

    /// All that `phase` waits for is done.
    pub(super) fn done(&mut self, phase: Phase, now: u64) -> Option<PhaseEnd> {
        if phase != self.phase || matches!(phase, Phase::Running | Phase::Ended) {
            return None;
        }
        self.enter(phase.next(), now);
        Some(PhaseEnd::Done)
    }

    /// Time has passed; gives how the present phase ended, if it has.
    pub(super) fn tick(&mut self, now: u64) -> Option<PhaseEnd> {
        match self.phase {
            Phase::Running | Phase::Ended => None,
            _ if now >= self.hard_deadline => {
                self.enter(Phase::Ended, now);
                Some(PhaseEnd::HardLimit)
            }
            phase if now >= self.deadline => {
                self.enter(phase.next(), now);
                Some(PhaseEnd::TimedOut)
            }
            _ => None,
        }
    }

    pub(super) fn is_hurried(&self) -> bool {
        self.hurried
    }

    fn enter(&mut self, phase: Phase, now: u64) {
        self.phase = phase;
        self.deadline = now.saturating_add(nanos(self.limits.of(phase)));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Request,
        Hurry,
        Done,
        Wait,
    }

    /// Every sequence of events up to a length: phases only go forward, each in its turn but for
    /// the jump of a second signal, and the hard limit holds.
    #[test]
    fn phases_only_go_forward_and_end_by_the_hard_limit_whatever_happens() {
        const LENGTH: u32 = 9;
        let events = [Event::Request, Event::Hurry, Event::Done, Event::Wait];
        for number in 0..4u32.pow(LENGTH) {
            let mut sequence = Sequence::new(Limits::default());
            let (mut now, mut requested_at) = (SECOND, None);
            for place in 0..LENGTH {
                let event = events[(number / 4u32.pow(place) % 4) as usize];
                let before = sequence.phase();
                let hurried = sequence.is_hurried();
                match event {
                    Event::Request => drop(sequence.request(now)),
                    Event::Hurry => sequence.hurry(now),
                    Event::Done => drop(sequence.done(before, now)),
                    Event::Wait => {
                        now = sequence.wake_at().unwrap_or(now + SECOND);
                        sequence.tick(now);
                    }
                }
                let after = sequence.phase();
                if before == Phase::Running && after != before {
                    requested_at = Some(now);
                }
                let jumped = !hurried && sequence.is_hurried() && after == Phase::Cancel;
                let hard = requested_at.is_some_and(|at| now >= at + 25 * SECOND);
                assert!(
                    after == before || after == before.next() || jumped || hard,
                    "{before} to {after} by {event:?} in {number}"
                );
                assert!(after >= before);
                let waited = matches!(event, Event::Wait);
                assert!(!(hard && waited && after != Phase::Ended));
            }
        }
    }

    #[test]
    fn a_phase_that_is_not_done_ends_at_its_limit() {
        let mut sequence = Sequence::new(Limits::default());
        sequence.request(0);
        assert_eq!(sequence.tick(0), None, "hooks have their time");
        assert_eq!(sequence.done(Phase::NotReady, 0), Some(PhaseEnd::Done));
        assert_eq!(sequence.phase(), Phase::StopAccepting);

        assert_eq!(sequence.tick(2 * SECOND - 1), None);
        assert_eq!(sequence.tick(2 * SECOND), Some(PhaseEnd::TimedOut));
        assert_eq!(sequence.phase(), Phase::DrainLower);
    }

    #[test]
    fn what_an_earlier_phase_reports_late_changes_nothing() {
        let mut sequence = Sequence::new(Limits::default());
        sequence.request(0);
        sequence.done(Phase::NotReady, 0);

        assert_eq!(sequence.done(Phase::NotReady, 1), None);
        assert_eq!(sequence.phase(), Phase::StopAccepting);
    }

    #[test]
    fn a_second_signal_stops_the_waiting_and_a_third_changes_nothing() {
        let mut sequence = Sequence::new(Limits::default());
        sequence.hurry(0);
        assert_eq!(
            (sequence.phase(), sequence.is_hurried()),
            (Phase::NotReady, false),
            "the first one asks for an orderly end"
        );

        sequence.hurry(1);
        assert_eq!(
            (sequence.phase(), sequence.is_hurried()),
            (Phase::Cancel, true)
        );
        sequence.hurry(2);
        assert_eq!(sequence.phase(), Phase::Cancel);

        sequence.done(Phase::Cancel, 3);
        sequence.hurry(4);
        assert_eq!(sequence.phase(), Phase::Cleanup);
    }
}
