//! What is being polled, and where, as far as it can be seen from another thread.
//!
//! While a watchdog runs, every poll in a context notes two things: in its node, that it is being
//! polled, or when that ended; and in a record of its thread, its name. Both are relaxed stores
//! into lines that this thread owns, a few nanoseconds in all; the watchdog reads them from
//! outside. Without a watchdog a poll costs one load more.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::time;
use crate::context::{Frame, Name};

/// How many threads are listed: 4,096. Locks taken on later ones work; their names are not told.
const THREADS_MAX: usize = 4_096;

/// How many names deep a thread tells what it polls: 8, as deep as a scope path shows.
const DEPTH_MAX: usize = 8;

/// How many different names can be told: 8,192, twice the number of names made at run time.
const LABELS_MAX: usize = 8_192;

/// When a node was polled; part of each.
pub(crate) struct Polled(AtomicU64);

/// What a node's polls say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polling {
    /// No watchdog has seen it yet.
    Unknown,
    /// It is being polled, since this time.
    Now(u64),
    /// Its last poll ended at this time.
    Ended(u64),
}

impl Polled {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The lowest bit says whether the poll goes on; a time of 63 bits lasts for 292 years.
    fn note(&self, now: u64, goes_on: bool) {
        self.0
            .store(now << 1 | u64::from(goes_on), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Polling {
        match self.0.load(Ordering::Relaxed) {
            0 => Polling::Unknown,
            noted if noted & 1 == 1 => Polling::Now(noted >> 1),
            noted => Polling::Ended(noted >> 1),
        }
    }
}

/// Notes that a frame comes into force; tells whether there is a watchdog to note it for.
#[inline]
pub(crate) fn entering(frame: &Frame) -> bool {
    match time::tick() {
        Some(now) => {
            note_entering(frame, now);
            true
        }
        None => false,
    }
}

/// Notes that a frame is in force no more.
pub(crate) fn leaving(frame: &Frame) {
    if let Some(node) = frame.named() {
        node.node().polled.note(time::now(), false);
    }
    let _ = THREAD.try_with(|thread| thread.leave());
}

fn note_entering(frame: &Frame, now: u64) {
    let name = match frame.named() {
        Some(node) => {
            let node = node.node();
            node.polled.note(now, true);
            node.name
        }
        None => Name::OTHER,
    };
    let _ = THREAD.try_with(|thread| thread.enter(label(name), now));
}

/// What can be seen of a thread from outside.
struct Thread {
    id: u64,
    name: Name,
    depth: AtomicUsize,
    labels: [AtomicU32; DEPTH_MAX],
    since: AtomicU64,
}

impl Thread {
    fn enter(&self, label: u32, now: u64) {
        let depth = self.depth.load(Ordering::Relaxed);
        if depth == 0 {
            self.since.store(now, Ordering::Relaxed);
        }
        if let Some(place) = self.labels.get(depth) {
            place.store(label, Ordering::Relaxed);
        }
        // Release, against the Acquire of the watchdog: it must not see the depth before the name.
        self.depth.store(depth + 1, Ordering::Release);
    }

    fn leave(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth.saturating_sub(1), Ordering::Release);
    }
}

static THREADS: Mutex<Vec<Weak<Thread>>> = Mutex::new(Vec::new());

fn threads() -> MutexGuard<'static, Vec<Weak<Thread>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static THREAD: Arc<Thread> = register();
}

fn register() -> Arc<Thread> {
    static NEXT: AtomicU64 = AtomicU64::new(1);

    let thread = Arc::new(Thread {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        name: match std::thread::current().name() {
            Some(name) => Name::from(name.to_owned()),
            None => Name::new("(unnamed)"),
        },
        depth: AtomicUsize::new(0),
        labels: [const { AtomicU32::new(0) }; DEPTH_MAX],
        since: AtomicU64::new(0),
    });
    let mut threads = threads();
    if threads.len() >= THREADS_MAX {
        threads.retain(|known| known.strong_count() > 0);
    }
    if threads.len() < THREADS_MAX {
        threads.push(Arc::downgrade(&thread));
    }
    thread
}

/// Gives a number for the thread at hand; zero while it is torn down.
pub(super) fn thread_id() -> u64 {
    THREAD.try_with(|thread| thread.id).unwrap_or(0)
}

/// Gives the name of a thread that still lives.
pub(super) fn thread_name(id: u64) -> Option<Name> {
    let live = |known: &Weak<Thread>| known.upgrade().filter(|thread| thread.id == id);
    Some(threads().iter().find_map(live)?.name)
}

/// A thread that is inside of a poll for a long time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// The name of the thread.
    pub thread: Name,
    /// The names of the tasks and scopes that it polls, outermost first, at most 8.
    pub polling: Vec<Name>,
    /// How long the outermost poll has lasted.
    pub since: Duration,
}

/// Lists the threads that have been inside of one poll for at least `at_least_ns`, the longest
/// first, at most `max` of them.
pub(super) fn busy(now: u64, at_least_ns: u64, max: usize) -> Vec<Busy> {
    let live: Vec<_> = threads().iter().filter_map(Weak::upgrade).collect();
    let mut busy: Vec<_> = live
        .iter()
        .filter_map(|thread| {
            let depth = thread.depth.load(Ordering::Acquire);
            let since_ns = now.saturating_sub(thread.since.load(Ordering::Relaxed));
            (depth > 0 && since_ns >= at_least_ns).then(|| Busy {
                thread: thread.name,
                polling: names(&thread.labels[..depth.min(DEPTH_MAX)]),
                since: Duration::from_nanos(since_ns),
            })
        })
        .collect();
    busy.sort_by_key(|busy| std::cmp::Reverse(busy.since));
    busy.truncate(max);
    busy
}

/// Numbers for names, so that an atomic can hold one. The first stands for all that do not fit.
struct Labels {
    by_address: HashMap<(usize, usize), u32>,
    names: Vec<Name>,
}

static LABELS: LazyLock<Mutex<Labels>> = LazyLock::new(|| {
    Mutex::new(Labels {
        by_address: HashMap::new(),
        names: vec![Name::OTHER],
    })
});

fn labels() -> MutexGuard<'static, Labels> {
    LABELS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn names(of: &[AtomicU32]) -> Vec<Name> {
    let labels = labels();
    let name = |label: &AtomicU32| labels.names.get(label.load(Ordering::Relaxed) as usize);
    of.iter().filter_map(name).copied().collect()
}

/// How many labels a thread finds without the lock: 64, more than one thread polls in turn.
const CACHED: usize = 64;

thread_local! {
    static CACHE: [Cell<((usize, usize), u32)>; CACHED] =
        const { [const { Cell::new(((0, 0), 0)) }; CACHED] };
}

fn label(name: Name) -> u32 {
    let text = name.as_str();
    // The text lives for ever, so its address stands for it.
    let address = (text.as_ptr() as usize, text.len());
    let place = (address.0 >> 3 ^ address.0 >> 9 ^ address.1) % CACHED;
    let cached = CACHE.try_with(|cache| {
        let (known, label) = cache[place].get();
        if known == address {
            return label;
        }
        let label = new_label(name, address);
        cache[place].set((address, label));
        label
    });
    cached.unwrap_or(0)
}

fn new_label(name: Name, address: (usize, usize)) -> u32 {
    let mut labels = labels();
    if let Some(label) = labels.by_address.get(&address) {
        return *label;
    }
    if labels.names.len() == LABELS_MAX {
        return 0;
    }
    let label = labels.names.len() as u32;
    labels.names.push(name);
    labels.by_address.insert(address, label);
    label
}
