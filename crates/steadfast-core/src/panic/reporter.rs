use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::group::{Groups, Repeats, Told};
use super::record::{Fate, Record};
use super::{Group, Kind, Location, symbols};
use crate::clock::{self, Timestamp};
use crate::context::{Context, Name, ScopePath};
use crate::observers::{Observers, Registered};
use crate::report::EventDoc;
use crate::{recover, voice};

/// How long a panic may unwind before it is reported as uncaught: 400 ms, so that the report is
/// there within a second. Unwinding takes microseconds.
pub const CLAIM_LIMIT: Duration = Duration::from_millis(400);

/// How long a report waits for its backtrace: 750 ms; then it is told without. The first one of
/// a process has to read the debug information, which takes long on a busy machine.
const SYMBOLS_LIMIT: Duration = Duration::from_millis(750);

/// How many records wait for the reporter: 256. The oldest makes room for the newest, and is told
/// as a repeat of its place.
const RING_MAX: usize = 256;

/// How often the reporter looks while a sample is open. A wake-up per panic would cost more than the
/// panic. For repeats it sleeps until they are to be told: a place that goes on to panic would keep
/// it looking all the time.
const TICK: Duration = Duration::from_millis(10);

/// What the hook and the reporter share. The hook takes the lock while its thread panics:
/// nothing under this lock may panic, wait, or call code of others.
struct Shared {
    groups: Groups,
    /// What has to be told once its fate is known.
    ring: VecDeque<Waiting>,
    /// The reporter waits without a time limit and must be woken.
    idle: bool,
    /// It waits until repeats are due, which is too long for a sample.
    sleeps: bool,
    /// How many callers of [`flush`] wait.
    flushing: usize,
    /// How many rounds the reporter has ended with nothing left.
    quiet_rounds: u64,
}

struct Waiting {
    record: Arc<Record>,
    /// When it was raised, for the first time or again.
    since: Instant,
    /// Its backtrace was handed on to be symbolized.
    handed_on: bool,
}

impl Waiting {
    fn is_due(&mut self, now: Instant, flushing: bool) -> bool {
        if !std::mem::replace(&mut self.handed_on, true) {
            symbols::symbolize_later(self.record.clone());
        }
        let age = now.saturating_duration_since(self.since);
        let symbols_limit = if flushing { CLAIM_LIMIT } else { SYMBOLS_LIMIT };
        let fate_known = self.record.fate() == Fate::Contained || age >= CLAIM_LIMIT;
        let symbols_known = self.record.symbols_known() || age >= symbols_limit;
        fate_known && symbols_known
    }
}

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(|| {
    Mutex::new(Shared {
        groups: Groups::new(),
        ring: VecDeque::with_capacity(RING_MAX),
        idle: false,
        sleeps: false,
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
    /// The reporter's own panics (in an observer, in a subscriber) and the symbolizer's must not
    /// feed it.
    pub(super) static REPORTER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Starts the thread; called once, by the installation of the hook.
pub(super) fn start() {
    LazyLock::force(&SHARED);
    symbols::start();
    let started = std::thread::Builder::new()
        .name("steadfast-panics".into())
        .spawn(run);
    if let Err(error) = started {
        // Panics are still caught, carried and counted; only their events are missing.
        tracing::error!(target: "steadfast::panic", %error, "no thread to report panics");
    }
}

/// Counts a panic, and says how much of it is told. Called by the hook.
pub(super) fn count(record: &Record) -> Told {
    let mut shared = shared();
    let told = shared.groups.count(record);
    if REPORTER.get() {
        return Told::Repeat;
    }
    if told == Told::Repeat {
        note_repeat(&mut shared);
    }
    told
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
            if let Some(oldest) = self.ring.pop_front() {
                self.groups.left_out(&oldest.record);
            }
        }
        self.ring.push_back(Waiting {
            record,
            since,
            handed_on: false,
        });
        wake(self);
    }
}

fn wake(shared: &mut Shared) {
    let idle = std::mem::take(&mut shared.idle);
    let sleeps = std::mem::take(&mut shared.sleeps);
    if idle || sleeps {
        WORK.notify_one();
    }
}

/// There is a repeat to be told, perhaps the first since the reporter has come to rest. If it only
/// sleeps, it will look before this one is due.
fn note_repeat(shared: &mut Shared) {
    if shared.idle {
        wake(shared);
    }
}

/// Counts a panic as contained. Called by the catch.
pub(super) fn contained(record: &Record) {
    // The fate under the lock, too: who leaves a sample out looks at it there.
    let mut shared = shared();
    if record.set_fate(Fate::Contained) {
        shared.groups.contained(record);
    }
}

/// Takes a panic back that was contained, and waits for its fate anew. Called by
/// [`Panic::resume`](super::Panic::resume).
pub(super) fn resumed(record: &Arc<Record>) {
    let now = clock::real();
    let mut shared = shared();
    if !record.set_fate(Fate::Open) {
        return;
    }
    if shared.groups.resumed(record, now) {
        note_repeat(&mut shared);
        return;
    }
    let known = shared
        .ring
        .iter_mut()
        .find(|waiting| Arc::ptr_eq(&waiting.record, record));
    match known {
        Some(waiting) => waiting.since = now,
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
            .and_then(|record| record.keys.as_ref())
            .map(|keys| keys.own())
            .unwrap_or(&[])
    }

    /// Gives the thread's name, empty when it has none, and for repeats.
    pub fn thread(&self) -> &str {
        self.record().map_or("", |record| record.thread.as_str())
    }

    /// Gives the backtrace, if this is one of the first [`BACKTRACES_PER_SECOND`] of its place in a
    /// second, and symbolizing it did not take too long.
    ///
    /// [`BACKTRACES_PER_SECOND`]: super::BACKTRACES_PER_SECOND
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

static OBSERVERS: Observers<Report> = Observers::new();

/// Calls `observe` on the reporter thread for every report; `None` when there are 16 observers
/// already.
///
/// An observer that panics is not called again. One that is removed may be called for a last time
/// by a report that is on its way.
pub fn observe(observe: impl Fn(&Report) + Send + Sync + 'static) -> Option<Observer> {
    super::install();
    OBSERVERS.add(observe).map(Observer)
}

/// Keeps an observer of panics registered; made by [`observe`].
#[derive(Debug)]
#[must_use = "the observer is removed when this is dropped"]
pub struct Observer(#[expect(dead_code, reason = "it is there for its drop")] Registered<Report>);

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
    /// Nothing is left behind.
    last: bool,
    /// How long nothing is to be told after this, unless something comes.
    pause: Duration,
}

impl Round {
    fn wait() -> Self {
        let mut guard = shared();
        loop {
            let round = Self::take(&mut guard);
            let something = !(round.records.is_empty() && round.repeats.is_empty());
            if something || (round.last && guard.flushing > 0) {
                return round;
            }
            guard.idle = round.last;
            guard.sleeps = !round.last && round.pause > TICK;
            guard = if round.last {
                WORK.wait(guard).unwrap_or_else(PoisonError::into_inner)
            } else {
                WORK.wait_timeout(guard, round.pause)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
            guard.sleeps = false;
        }
    }

    fn take(shared: &mut Shared) -> Self {
        let now = clock::real();
        let mut records = Vec::new();
        let flushing = shared.flushing > 0;
        // Those of one place are told in their order: the first of them waits for its backtrace.
        let mut held_back = Vec::new();
        shared.ring.retain_mut(|waiting| {
            let place = waiting.record.fingerprint;
            let due = waiting.is_due(now, flushing) && !held_back.contains(&place);
            match due {
                true => records.push(waiting.record.clone()),
                false => held_back.push(place),
            }
            !due
        });
        let (repeats, next) = shared.groups.repeats(now, flushing);
        let pause = match next {
            Some(next) if shared.ring.is_empty() => next.saturating_duration_since(now),
            _ => TICK,
        };
        Self {
            records,
            repeats,
            last: shared.ring.is_empty() && next.is_none(),
            pause: pause.max(TICK),
        }
    }

    fn tell(self) {
        for record in self.records {
            let contained = record.fate() == Fate::Contained;
            if record.told() && contained {
                // Raised again, and caught again.
                continue;
            }
            let report = Report {
                contained,
                count: 1,
                backtrace: record
                    .symbols
                    .get()
                    .filter(|text| !text.is_empty())
                    .cloned(),
                subject: Subject::One(record),
            };
            emit(&report);
        }
        for repeats in self.repeats {
            let Repeats { group, sum } = repeats;
            let report = Report {
                contained: sum.contained,
                count: sum.count,
                backtrace: None,
                subject: Subject::Repeats(group),
            };
            emit(&report);
        }
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::panic", &["error"], "panic", &["backtrace", "contained", "count", "job", "kind", "location", "panic_message", "route", "scope", "span_id", "thread", "tier", "trace_id"]).when("A panic, when it happens; repeats are added up in `count`. `contained` says whether it became a value or ended its thread.").action("`location` is the place, `backtrace` how it came there (once a second for each place), `trace_id` the request. Mend it: a contained panic is still a failed request."),
    EventDoc::new("steadfast::panic", &["error"], "an observer of panics panicked and was removed", &[]).when("A closure given to `observe` panicked.").action("Mend the observer; it hears nothing more."),
    EventDoc::new("steadfast::panic", &["error"], "no thread to report panics", &["error"]).when("The system gives no further thread.").action("Panics are still counted and carried to whoever joins, and told by nobody: look at the limits of the process."),
    EventDoc::new("steadfast::panic", &["error"], "no thread to symbolize", &["error"]).when("The system gives no further thread.").action("Panics are told without backtraces: look at the limits of the process."),
];

fn emit(report: &Report) {
    voice::tell(|| trace(report));
    for _ in 0..OBSERVERS.tell(report) {
        let _ = recover(|| {
            tracing::error!(target: "steadfast::panic", "an observer of panics panicked and was removed");
        });
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
        // What has no route has no tier of its own.
        tier = context.route().map(|_| context.tier().number()),
        job = context.job(),
        backtrace = report.backtrace(),
        "panic"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_by_nobody() -> Shared {
        Shared {
            groups: Groups::new(),
            ring: VecDeque::new(),
            idle: false,
            sleeps: false,
            flushing: 0,
            quiet_rounds: 0,
        }
    }

    #[test]
    fn repeats_are_slept_over_and_samples_are_not() {
        let mut shared = shared_by_nobody();
        let start = clock::real();
        let mut records = (0..=u64::from(super::super::SAMPLES_PER_SECOND)).map(|_| {
            let mut record = Record::example(1, start);
            record.sampled = shared.groups.count(&record) != Told::Repeat;
            record
        });
        assert!(records.all(|record| record.sampled || record.round().is_some()));

        let asleep = Round::take(&mut shared);
        shared.push(Arc::new(Record::example(1, start)), start);
        let awake = Round::take(&mut shared);

        assert!(asleep.repeats.is_empty() && !asleep.last);
        assert!(
            asleep.pause > Duration::from_millis(500),
            "{:?}",
            asleep.pause
        );
        assert_eq!(awake.pause, TICK);
    }

    #[test]
    fn a_panic_is_told_within_a_second_though_nobody_claims_or_symbolizes_it() {
        const { assert!(SYMBOLS_LIMIT.as_millis() + 2 * TICK.as_millis() < 1_000) };
        let start = clock::real();
        let mut record = Record::example(1, start);
        record.frames = Some(super::super::record::Frames::none());
        let mut waiting = Waiting {
            record: Arc::new(record),
            since: start,
            handed_on: true,
        };

        assert!(!waiting.is_due(start + SYMBOLS_LIMIT - TICK, false));
        assert!(waiting.is_due(start + SYMBOLS_LIMIT, false));
    }

    #[test]
    fn a_sample_without_a_backtrace_does_not_wait_for_one() {
        let start = clock::real();
        let mut shared = shared_by_nobody();
        let bare = Record::example(1, start);
        let mut traced = Record::example(2, start);
        traced.frames = Some(super::super::record::Frames::none());
        for record in [bare, traced] {
            record.set_fate(Fate::Contained);
            // Later than now, so that no limit is over however late this is looked at.
            shared.push(Arc::new(record), start + Duration::from_secs(3_600));
        }
        // As if the symbolizer had it already, and was not done.
        shared.ring[1].handed_on = true;

        let round = Round::take(&mut shared);

        let told: Vec<_> = round.records.iter().map(|one| one.fingerprint).collect();
        assert_eq!(told, [1]);
        assert_eq!(shared.ring.len(), 1, "the other is still symbolized");
    }

    #[test]
    fn panics_of_one_place_are_told_in_their_order() {
        let start = clock::real();
        let mut shared = shared_by_nobody();
        for (fingerprint, traced) in [(1, true), (1, false), (2, false)] {
            let mut record = Record::example(fingerprint, start);
            record.frames = traced.then(super::super::record::Frames::none);
            record.set_fate(Fate::Contained);
            shared.push(Arc::new(record), start + Duration::from_secs(3_600));
        }
        shared.ring[0].handed_on = true;

        let round = Round::take(&mut shared);
        let told: Vec<_> = round.records.iter().map(|one| one.fingerprint).collect();
        assert_eq!(told, [2], "the first waits for its backtrace");

        let _ = shared.ring[0].record.symbols.set("a stack".into());
        let round = Round::take(&mut shared);
        let told: Vec<_> = round.records.iter().map(|one| one.fingerprint).collect();
        assert_eq!(told, [1, 1]);
        assert!(round.records[0].frames.is_some());
    }

    #[test]
    fn a_sample_wakes_the_reporter_from_its_sleep_and_a_repeat_does_not() {
        let mut shared = shared_by_nobody();
        shared.sleeps = true;

        note_repeat(&mut shared);
        assert!(shared.sleeps);
        let record = Record::example(1, clock::real());
        shared.push(Arc::new(record), clock::real());
        assert!(!shared.sleeps);
    }

    #[test]
    fn what_the_ring_has_no_room_for_is_told_as_a_repeat() {
        let start = clock::real();
        let mut shared = shared_by_nobody();
        for fingerprint in 1..=RING_MAX as u64 + 1 {
            let mut record = Record::example(fingerprint, start);
            record.sampled = shared.groups.count(&record) != Told::Repeat;
            shared.push(Arc::new(record), start);
        }

        assert_eq!(shared.ring.len(), RING_MAX);
        let (due, _) = shared.groups.repeats(start + CLAIM_LIMIT, true);
        let due: Vec<_> = due.iter().map(|due| due.group.fingerprint).collect();
        assert_eq!(due, [1], "the oldest");
    }
}
