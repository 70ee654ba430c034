use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::group::{Groups, Repeats};
use super::record::{Fate, Record};
use super::{Group, Kind, Location, symbols};
use crate::clock::{self, Timestamp};
use crate::context::{Context, Name, ScopePath};
use crate::{panic, recover};

/// How long a panic may unwind before it is reported as uncaught: half a second, so that the
/// report is there within a second.
pub const CLAIM_LIMIT: Duration = Duration::from_millis(500);

/// How many records wait for the reporter: 256. The oldest makes room for the newest, and is told
/// as a repeat of its place.
const RING_MAX: usize = 256;

/// How many backtraces wait to be symbolized for somebody; who comes later gets none.
const REQUESTS_MAX: usize = 64;

/// How many observers there can be: 16.
const OBSERVERS_MAX: usize = 16;

/// How often the reporter looks while something is open. A wake-up per panic would cost more
/// than the panic.
const TICK: Duration = Duration::from_millis(10);

/// What the hook and the reporter share. The hook takes the lock while its thread panics:
/// nothing under this lock may panic, wait, or call code of others.
struct Shared {
    groups: Groups,
    /// What has to be told once its fate is known, with the time at which it was raised.
    ring: VecDeque<(Arc<Record>, Instant)>,
    requests: Vec<Request>,
    /// The reporter waits without a time limit and must be woken.
    idle: bool,
    /// How many callers of [`flush`] wait.
    flushing: usize,
    /// How many rounds the reporter has ended with nothing left.
    quiet_rounds: u64,
}

struct Request {
    record: Arc<Record>,
    answer: oneshot::Sender<Arc<str>>,
}

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(|| {
    Mutex::new(Shared {
        groups: Groups::new(),
        ring: VecDeque::with_capacity(RING_MAX),
        requests: Vec::new(),
        idle: false,
        flushing: 0,
        quiet_rounds: 0,
    })
});
static WORK: Condvar = Condvar::new();
static QUIET: Condvar = Condvar::new();

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The reporter's own panics (in an observer, in a subscriber) must not feed it.
    static REPORTER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Starts the thread; called once, by the installation of the hook.
pub(super) fn start() {
    LazyLock::force(&SHARED);
    let started = std::thread::Builder::new()
        .name("steadfast-panics".into())
        .spawn(run);
    if let Err(error) = started {
        // Panics are still caught, carried and counted; only their events are missing.
        tracing::error!(target: "steadfast::panic", %error, "no thread to report panics");
    }
}

/// Counts a panic; tells whether it is one of the samples. Called by the hook.
pub(super) fn count(record: &Record) -> bool {
    let mut shared = shared();
    let sample = shared.groups.count(record);
    if REPORTER.get() {
        return false;
    }
    if !sample {
        // There is a repeat to be told, perhaps the first since the reporter has come to rest.
        wake(&mut shared);
    }
    sample
}

/// Hands a sample to the reporter. Called by the hook.
pub(super) fn push(record: Arc<Record>) {
    let since = record.since;
    shared().push(record, since);
}

impl Shared {
    fn push(&mut self, record: Arc<Record>, since: Instant) {
        if self.ring.len() == RING_MAX {
            // The oldest is the one that was waited for longest.
            if let Some((record, _)) = self.ring.pop_front() {
                self.groups.left_out(&record);
            }
        }
        self.ring.push_back((record, since));
        wake(self);
    }
}

fn wake(shared: &mut Shared) {
    if std::mem::take(&mut shared.idle) {
        WORK.notify_one();
    }
}

/// Counts a panic as contained. Called by the catch.
pub(super) fn contained(record: &Record) {
    shared().groups.contained(record);
}

/// Takes a panic back that was contained, and waits for its fate anew. Called by
/// [`Panic::resume`](super::Panic::resume).
pub(super) fn resumed(record: &Arc<Record>) {
    let now = clock::real();
    let mut shared = shared();
    shared.groups.resumed(record);
    if !record.sampled {
        return;
    }
    let known = shared
        .ring
        .iter_mut()
        .find(|(known, _)| Arc::ptr_eq(known, record));
    match known {
        Some((_, since)) => *since = now,
        None => shared.push(record.clone(), now),
    }
}

/// Lists the places that panicked, the most frequent first: at most [`GROUPS_MAX`](super::GROUPS_MAX),
/// counted exactly since the hook was installed.
pub fn groups() -> Vec<Group> {
    shared().groups.all()
}

/// Waits, at most for `limit`, until all panics so far have been reported; for the end of a
/// process. Blocks the calling thread.
pub fn flush(limit: Duration) {
    let deadline = clock::real() + limit;
    let mut shared = shared();
    if shared.idle && shared.ring.is_empty() {
        return;
    }
    shared.flushing += 1;
    // The round at hand may have looked before the last panic came.
    let until = shared.quiet_rounds + 2;
    wake(&mut shared);
    while shared.quiet_rounds < until {
        let left = deadline.saturating_duration_since(clock::real());
        if left.is_zero() {
            break;
        }
        shared = QUIET
            .wait_timeout(shared, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    shared.flushing -= 1;
}

/// Has a backtrace symbolized.
pub(super) async fn symbolized(record: Arc<Record>) -> Option<Arc<str>> {
    let (answer, symbolized) = oneshot::channel();
    {
        let mut shared = shared();
        if shared.requests.len() == REQUESTS_MAX {
            return None;
        }
        shared.requests.push(Request { record, answer });
        wake(&mut shared);
    }
    symbolized.await.ok()
}

/// What the reporter tells about one panic, or about the repeats of one place.
pub struct Report {
    subject: Subject,
    contained: bool,
    count: u64,
    backtrace: Option<Arc<str>>,
}

enum Subject {
    One(Arc<Record>),
    Repeats(Group),
}

impl Report {
    /// Tells whether a catch of ours has it. `false` when it ended a thread, when other code
    /// caught it, or when it still unwinds after [`CLAIM_LIMIT`]; and for
    /// [repeats](Self::count) of which at least one was not contained.
    pub fn contained(&self) -> bool {
        self.contained
    }

    /// Tells how many panics this is about: 1, or more for repeats of one place that had no
    /// report of their own.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Gives the message, or its beginning; of the first one, for repeats.
    pub fn message(&self) -> &str {
        match &self.subject {
            Subject::One(record) => record.message.as_str(),
            Subject::Repeats(group) => &group.message,
        }
    }

    /// Gives the place in the source.
    pub fn location(&self) -> Option<Location> {
        match &self.subject {
            Subject::One(record) => record.location(),
            Subject::Repeats(group) => group.location.clone(),
        }
    }

    /// Gives the time; of the last one, for repeats.
    pub fn at(&self) -> Timestamp {
        match &self.subject {
            Subject::One(record) => clock::timestamp_of(record.since),
            Subject::Repeats(group) => group.last,
        }
    }

    /// Tells a failed check of the runtime from a `panic!` of the code.
    pub fn kind(&self) -> Kind {
        match &self.subject {
            Subject::One(record) => record.kind(),
            Subject::Repeats(group) => group.kind,
        }
    }

    /// Gives the context of a single panic; an empty one for repeats.
    pub fn context(&self) -> Context {
        self.record()
            .map(|record| record.context)
            .unwrap_or_default()
    }

    /// Gives the scopes around a single panic; an empty path for repeats.
    pub fn scope_path(&self) -> ScopePath {
        self.record().map_or(ScopePath::EMPTY, |record| record.path)
    }

    /// Gives the values that [`context::put`](crate::context::put) held at a single panic.
    pub fn entries(&self) -> &[(Name, Arc<str>)] {
        self.record()
            .and_then(|record| record.keys.as_deref())
            .unwrap_or(&[])
    }

    /// Gives the thread's name, empty when it has none, and for repeats.
    pub fn thread(&self) -> &str {
        self.record().map_or("", |record| record.thread.as_str())
    }

    /// Gives the backtrace of a sample.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }

    fn record(&self) -> Option<&Record> {
        match &self.subject {
            Subject::One(record) => Some(record),
            Subject::Repeats(_) => None,
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("message", &self.message())
            .field("location", &self.location())
            .field("contained", &self.contained)
            .field("count", &self.count)
            .field("scope", &self.scope_path())
            .finish_non_exhaustive()
    }
}

type Observe = dyn Fn(&Report) + Send + Sync;

struct Observers {
    next_id: u64,
    all: Vec<(u64, Arc<Observe>)>,
}

static OBSERVERS: Mutex<Observers> = Mutex::new(Observers {
    next_id: 0,
    all: Vec::new(),
});

fn observers() -> MutexGuard<'static, Observers> {
    OBSERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(id: u64) {
    let mut observers = observers();
    let place = observers.all.iter().position(|(known, _)| *known == id);
    let removed = place.map(|place| observers.all.remove(place));
    // Not under the lock: what an observer holds may be another observer, or panic.
    drop(observers);
    panic::drop_contained(removed);
}

/// Calls `observe` on the reporter thread for every report; `None` when there are 16 observers
/// already.
///
/// An observer that panics is not called again. One that is removed may be called for a last time
/// by a report that is on its way.
pub fn observe(observe: impl Fn(&Report) + Send + Sync + 'static) -> Option<Observer> {
    super::install();
    let mut observers = observers();
    if observers.all.len() == OBSERVERS_MAX {
        return None;
    }
    let id = observers.next_id;
    observers.next_id += 1;
    observers.all.push((id, Arc::new(observe)));
    Some(Observer { id })
}

/// Keeps an observer of panics registered; made by [`observe`].
#[derive(Debug)]
#[must_use = "the observer is removed when this is dropped"]
pub struct Observer {
    id: u64,
}

impl Drop for Observer {
    fn drop(&mut self) {
        remove(self.id);
    }
}

fn run() {
    REPORTER.set(true);
    loop {
        let round = Round::wait();
        let quiet = round.last;
        round.tell();
        if quiet {
            let mut shared = shared();
            shared.quiet_rounds += 1;
            drop(shared);
            QUIET.notify_all();
        }
    }
}

/// What there is to tell at one tick.
struct Round {
    records: Vec<Arc<Record>>,
    repeats: Vec<Repeats>,
    requests: Vec<Request>,
    /// Nothing is left behind.
    last: bool,
}

impl Round {
    fn wait() -> Self {
        let mut guard = shared();
        loop {
            let round = Self::take(&mut guard);
            let something = !(round.records.is_empty()
                && round.repeats.is_empty()
                && round.requests.is_empty());
            if something || (round.last && guard.flushing > 0) {
                return round;
            }
            guard.idle = round.last;
            guard = if round.last {
                WORK.wait(guard).unwrap_or_else(PoisonError::into_inner)
            } else {
                WORK.wait_timeout(guard, TICK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
        }
    }

    fn take(shared: &mut Shared) -> Self {
        let now = clock::real();
        let mut records = Vec::new();
        shared.ring.retain(|(record, since)| {
            let old = now.saturating_duration_since(*since) >= CLAIM_LIMIT;
            let due = record.fate() == Fate::Contained || old;
            if due {
                records.push(record.clone());
            }
            !due
        });
        let (repeats, waiting) = shared.groups.repeats(now, shared.flushing > 0);
        Self {
            records,
            repeats,
            requests: std::mem::take(&mut shared.requests),
            last: shared.ring.is_empty() && !waiting,
        }
    }

    fn tell(self) {
        for request in self.requests {
            let backtrace = backtrace(&request.record);
            // Whoever asked may have left.
            let _ = request.answer.send(backtrace);
        }
        for record in self.records {
            let contained = record.fate() == Fate::Contained;
            if record.told() && contained {
                // Raised again, and caught again.
                continue;
            }
            let report = Report {
                contained,
                count: 1,
                backtrace: Some(backtrace(&record)).filter(|text| !text.is_empty()),
                subject: Subject::One(record),
            };
            emit(&report);
        }
        for repeats in self.repeats {
            let Repeats {
                group,
                count,
                contained,
            } = repeats;
            let report = Report {
                contained,
                count,
                backtrace: None,
                subject: Subject::Repeats(group),
            };
            emit(&report);
        }
    }
}

/// Symbolizes once per stack: the samples of one place mostly share it.
fn backtrace(record: &Record) -> Arc<str> {
    record.symbols.get_or_init(|| known_or_new(record)).clone()
}

fn known_or_new(record: &Record) -> Arc<str> {
    /// How many stacks are remembered: 64.
    const KNOWN_MAX: usize = 64;
    type Known = VecDeque<(Vec<usize>, Arc<str>)>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();

    let Some(frames) = &record.frames else {
        return Arc::default();
    };
    let addresses = frames.addresses();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = known.iter().find(|(stack, _)| stack == addresses) {
        return text.clone();
    }
    // Reads what the linker wrote: better no text than no reporter.
    let text = recover(|| symbols::symbolize(addresses)).unwrap_or_default();
    let text: Arc<str> = text.into();
    if known.len() == KNOWN_MAX {
        known.pop_front();
    }
    known.push_back((addresses.to_vec(), text.clone()));
    text
}

fn emit(report: &Report) {
    let _ = recover(|| trace(report));
    let current = observers().all.clone();
    for (id, observe) in current {
        if recover(|| observe(report)).is_err() {
            remove(id);
            let _ = recover(|| {
                tracing::error!(target: "steadfast::panic", "an observer of panics panicked and was removed");
            });
        }
    }
}

fn trace(report: &Report) {
    let context = report.context();
    let field = |value: Option<&dyn fmt::Display>| value.map(ToString::to_string);
    let location = report.location().map(|location| location.to_string());
    tracing::error!(
        target: "steadfast::panic",
        panic_message = report.message(),
        location = location.as_deref().unwrap_or(""),
        kind = report.kind().as_str(),
        contained = report.contained(),
        count = report.count(),
        scope = %report.scope_path(),
        thread = report.thread(),
        trace_id = field(context.trace_id().as_ref().map(|id| id as _)),
        span_id = field(context.span_id().as_ref().map(|id| id as _)),
        route = field(context.route().as_ref().map(|route| route as _)),
        job = context.job(),
        backtrace = report.backtrace(),
        "panic"
    );
}
