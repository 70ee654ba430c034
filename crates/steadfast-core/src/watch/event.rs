use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::party::Who;
use super::polls::Busy;
use super::{dog, time};
use crate::context::Name;
use crate::observers::{self, Observers, Registered};
use crate::report::EventDoc;
use crate::{recover, voice};

/// How many observers there can be: 16.
pub const OBSERVERS_MAX: usize = observers::OBSERVERS_MAX;

/// How many circles of waits queue up for the watchdog between two of its ticks: 256. More are
/// counted and left out.
const QUEUE_MAX: usize = 256;

/// Something that the watch noticed. Each is also an event of the target `steadfast::watch`.
///
/// What lasts is told again each time that its age has doubled. `Display` gives one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A runtime has had no free thread for a ready task for longer than
    /// [`stall_limit`](super::Config::stall_limit).
    RuntimeStalled(RuntimeStalled),
    /// A runtime that was stalled runs its tasks again.
    RuntimeResumed(RuntimeResumed),
    /// Work gave no sign of progress for three of its intervals.
    Stuck(Stuck),
    /// Work that was stuck gave a sign of progress.
    Resumed(Stuck),
    /// A wait for a lock has lasted longer than [`wait_limit`](super::Config::wait_limit).
    SlowWait(SlowWait),
    /// A wait has started that closes a circle: none of those in it can go on.
    WaitCycle(WaitCycle),
    /// A lock is held, or was handed to a waiter, and whoever has it has not been polled for
    /// longer than [`unpolled_limit`](super::Config::unpolled_limit).
    HolderNotPolled(HolderNotPolled),
}

/// A runtime that does not get to its tasks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuntimeStalled {
    /// The name under which it is watched.
    pub runtime: Name,
    /// How long a task that is ready has waited for its poll.
    pub late: Duration,
    /// The threads of the process that have been inside of one poll for half of that time or
    /// more, the longest first, at most 8. Only polls in a context of ours are seen.
    pub busy: Vec<Busy>,
}

/// A runtime that gets to its tasks again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuntimeResumed {
    /// The name under which it is watched.
    pub runtime: Name,
    /// How long a task that was ready has waited for its poll.
    pub late: Duration,
}

/// Work that is stuck, or was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stuck {
    /// The name of the [`Progress`](super::Progress).
    pub name: Name,
    /// Where it was registered.
    pub place: &'static Location<'static>,
    /// Who registered it.
    pub who: Who,
    /// The interval that was promised.
    pub every: Duration,
    /// How long there was no sign.
    pub silent: Duration,
    /// How long ago it was registered.
    pub age: Duration,
}

/// Who holds a lock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Holder {
    /// Who took it.
    pub who: Who,
    /// Where it was taken.
    pub place: &'static Location<'static>,
    /// How long ago it was taken.
    pub since: Duration,
}

/// A long wait for a lock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SlowWait {
    /// The name of the lock.
    pub lock: Name,
    /// Who waits.
    pub who: Who,
    /// Where the wait started.
    pub place: &'static Location<'static>,
    /// How long it has lasted.
    pub waited: Duration,
    /// Who holds the lock; `None` while it is on its way from one to the next.
    pub holder: Option<Holder>,
    /// Whether the holder seems to be the waiter itself: in code that does one thing after the
    /// other, this wait never ends.
    pub for_itself: bool,
}

/// A circle of waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WaitCycle {
    /// The links: each waits for a lock that the next one holds, and the last one for a lock of
    /// the first.
    pub links: Vec<Link>,
    /// Whether the last wait was refused, so that the circle is open again.
    pub refused: bool,
}

/// One wait in a circle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Link {
    /// Who waits.
    pub who: Who,
    /// Where the wait started.
    pub place: &'static Location<'static>,
    /// What it waits for.
    pub lock: Name,
    /// Who holds that.
    pub holder: Holder,
}

/// A lock whose holder does not run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HolderNotPolled {
    /// The name of the lock.
    pub lock: Name,
    /// Who has it.
    pub holder: Holder,
    /// How long that one has not been polled.
    pub unpolled: Duration,
    /// Whether the lock was handed to a waiter that does not come to take it.
    pub handed_over: bool,
}

impl Event {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Event::RuntimeStalled(_) => "runtime_stalled",
            Event::RuntimeResumed(_) => "runtime_resumed",
            Event::Stuck(_) => "stuck",
            Event::Resumed(_) => "resumed",
            Event::SlowWait(_) => "slow_wait",
            Event::WaitCycle(_) => "wait_cycle",
            Event::HolderNotPolled(_) => "holder_not_polled",
        }
    }

    fn index(&self) -> usize {
        match self {
            Event::RuntimeStalled(_) => 0,
            Event::RuntimeResumed(_) => 1,
            Event::Stuck(_) => 2,
            Event::Resumed(_) => 3,
            Event::SlowWait(_) => 4,
            Event::WaitCycle(_) => 5,
            Event::HolderNotPolled(_) => 6,
        }
    }
}

/// The words of [`Event::as_str`], by index.
pub(super) const KINDS: [&str; 7] = [
    "runtime_stalled",
    "runtime_resumed",
    "stuck",
    "resumed",
    "slow_wait",
    "wait_cycle",
    "holder_not_polled",
];

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::RuntimeStalled(event) => event.fmt(f),
            Event::RuntimeResumed(event) => {
                let (runtime, late) = (event.runtime, event.late);
                write!(f, "runtime {runtime} runs its tasks again, after {late:?}")
            }
            Event::Stuck(event) => {
                let (name, silent, every) = (event.name, event.silent, event.every);
                write!(
                    f,
                    "{name} is stuck: no progress for {silent:?}, promised every {every:?}"
                )?;
                write!(f, "; registered by {} at {}", event.who, At(event.place))
            }
            Event::Resumed(event) => {
                write!(f, "{} goes on, after {:?}", event.name, event.silent)
            }
            Event::SlowWait(event) => event.fmt(f),
            Event::WaitCycle(event) => event.fmt(f),
            Event::HolderNotPolled(event) => {
                let how = if event.handed_over {
                    "was handed to"
                } else {
                    "is held by"
                };
                let (lock, unpolled) = (event.lock, event.unpolled);
                write!(f, "{lock} {how} {}", event.holder)?;
                write!(f, ", not polled for {unpolled:?}")
            }
        }
    }
}

impl fmt::Display for RuntimeStalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "runtime {} gets to no task for {:?}",
            self.runtime, self.late
        )?;
        for busy in &self.busy {
            write!(f, "; thread {} polls `", busy.thread)?;
            for (i, name) in busy.polling.iter().enumerate() {
                let gap = if i == 0 { "" } else { " > " };
                write!(f, "{gap}{name}")?;
            }
            write!(f, "` for {:?}", busy.since)?;
        }
        Ok(())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} since {:?}, taken at {}",
            self.who,
            self.since,
            At(self.place)
        )
    }
}

impl fmt::Display for SlowWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} waits for {} for {:?}",
            self.who, self.lock, self.waited
        )?;
        write!(f, " at {}", At(self.place))?;
        match (&self.holder, self.for_itself) {
            (None, _) => f.write_str("; nobody holds it at the moment"),
            (Some(holder), false) => write!(f, "; held by {holder}"),
            (Some(holder), true) => write!(f, "; held by the waiter itself, {holder}"),
        }
    }
}

impl fmt::Display for WaitCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.refused {
            "refused a circle of waits"
        } else {
            "circle of waits"
        })?;
        for (i, link) in self.links.iter().enumerate() {
            let gap = if i == 0 { ": " } else { "; " };
            write!(
                f,
                "{gap}{} waits at {} for {}",
                link.who,
                At(link.place),
                link.lock
            )?;
            write!(f, ", held by {}", link.holder)?;
        }
        Ok(())
    }
}

/// A place as people click it.
pub(super) struct At(pub(super) &'static Location<'static>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

static OBSERVERS: Observers<Event> = Observers::new();

/// Calls `observe` for every event; `None` when there are [`OBSERVERS_MAX`] observers already.
///
/// It is called on the thread of the watchdog, and must not wait: the watch looks at nothing else
/// meanwhile. While no watchdog runs, the only events are circles of waits, and it is called by
/// whoever closes one. An observer that panics is not called again, and none
/// hears of what it causes itself on that thread.
pub fn observe(observe: impl Fn(&Event) + Send + Sync + 'static) -> Option<Observer> {
    OBSERVERS.add(observe).map(Observer)
}

/// Keeps an observer registered; made by [`observe`].
#[derive(Debug)]
#[must_use = "the observer is removed when this is dropped"]
pub struct Observer(#[expect(dead_code, reason = "it is there for its drop")] Registered<Event>);

static QUEUE: Mutex<VecDeque<Event>> = Mutex::new(VecDeque::new());
/// Lets a tick without events leave the queue alone.
static QUEUED: AtomicBool = AtomicBool::new(false);

fn queue() -> MutexGuard<'static, VecDeque<Event>> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many events there were of each kind, and how many did not fit into the queue.
pub(super) static TOTALS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];
pub(super) static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Tells an event from the code of others: by the watchdog if there is one, so that a subscriber
/// or an observer that itself takes a lock cannot come back into the lock at hand.
pub(super) fn hand_over(event: Event) {
    if time::tick().is_none() {
        emit(&event);
        return;
    }
    let mut queue = queue();
    if queue.len() == QUEUE_MAX {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        return;
    }
    queue.push_back(event);
    QUEUED.store(true, Ordering::Release);
    drop(queue);
    dog::wake();
}

/// Takes what [`hand_over`] has left for the watchdog.
pub(super) fn handed_over() -> Vec<Event> {
    if !QUEUED.swap(false, Ordering::Acquire) {
        return Vec::new();
    }
    queue().drain(..).collect()
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::watch", &["info", "warn", "error"], "{event}", &["duration_s", "kind", "lock", "progress", "runtime", "scope", "trace_id"]).when("A runtime stalls or goes on, work is stuck or goes on, somebody waits long for a lock, its holder is not polled, or waits form a cycle; `kind` says which.").action("`scope` and the message name the work and the place: something blocks a thread of the runtime, or holds a lock over an await."),
    EventDoc::new("steadfast::watch", &["error"], "an observer of the watch panicked and was removed", &[]).when("A closure given to `observe` panicked.").action("Mend the observer; it hears nothing more."),
];

pub(super) fn emit(event: &Event) {
    TOTALS[event.index()].fetch_add(1, Ordering::Relaxed);
    voice::tell(|| trace(event));
    for _ in 0..OBSERVERS.tell(event) {
        let _ = recover(|| {
            tracing::error!(target: "steadfast::watch", "an observer of the watch panicked and was removed");
        });
    }
}

fn trace(event: &Event) {
    macro_rules! event {
        ($level:ident, $name:ident = $value:expr, $who:expr, $duration:expr) => {{
            let who: Option<&Who> = $who;
            tracing::$level!(
                target: "steadfast::watch",
                kind = event.as_str(),
                $name = $value.as_str(),
                scope = who.map(|who| tracing::field::display(&who.scope_path)),
                trace_id = who.and_then(|who| who.trace_id).map(tracing::field::display),
                duration_s = $duration.as_secs_f64(),
                "{event}"
            )
        }};
    }
    match event {
        Event::RuntimeStalled(e) => event!(error, runtime = e.runtime, None, e.late),
        Event::RuntimeResumed(e) => event!(info, runtime = e.runtime, None, e.late),
        Event::Stuck(e) => event!(warn, progress = e.name, Some(&e.who), e.silent),
        Event::Resumed(e) => event!(info, progress = e.name, Some(&e.who), e.silent),
        Event::SlowWait(e) => event!(warn, lock = e.lock, Some(&e.who), e.waited),
        Event::HolderNotPolled(e) => event!(warn, lock = e.lock, Some(&e.holder.who), e.unpolled),
        Event::WaitCycle(e) => {
            let Some(last) = e.links.first() else { return };
            event!(error, lock = last.lock, Some(&last.who), last.holder.since)
        }
    }
}
