//! What a server sees of a request, and what the guard inside of it tells back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(feature = "serve")]
use std::sync::atomic::{AtomicU8, AtomicUsize};
#[cfg(feature = "serve")]
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "serve")]
use steadfast_core::clock;
use steadfast_core::context::{Tier, TraceId};

#[cfg(feature = "serve")]
use crate::Hold;

/// Goes along with a request, as an extension of it: the guard tells by it that it was passed.
#[derive(Clone)]
pub(super) struct Seen(Arc<Request>);

struct Request {
    /// Of a trace that begins here.
    trace_id: TraceId,
    passed: AtomicBool,
    core: AtomicBool,
    /// Since when the client has not taken what was there for it, by `clock::nanos`; zero while the
    /// handler is at work.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "a server sets it"))]
    unread: AtomicU64,
}

impl Seen {
    /// The trace that the server has begun for this request, unless that has brought one.
    pub(super) fn trace_id(&self) -> TraceId {
        self.0.trace_id
    }

    /// Tells that the guard was passed.
    pub(super) fn pass(&self, tier: Tier) {
        self.0.passed.store(true, Ordering::Relaxed);
        self.0.core.store(tier == Tier::CORE, Ordering::Relaxed);
    }
}

/// One connection, and what is served on it.
#[cfg(feature = "serve")]
#[derive(Default)]
pub(super) struct Line {
    begun: AtomicUsize,
    /// It has become another protocol, or is one with frames of its own.
    is_framed: AtomicBool,
    /// What was not waited for any longer, as the number of [`Late`]; zero for nothing.
    late: AtomicU8,
    /// The last of an answer of core was given, and is not known to be sent.
    core_unsent: AtomicBool,
    open: Mutex<Vec<Arc<Request>>>,
}

/// What a connection was not waited for any longer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg(feature = "serve")]
pub(super) enum Late {
    /// The head of a request.
    Head = 1,
    /// The client, to take what is there for it.
    Unread = 2,
}

/// A request that is served, until this is dropped.
#[cfg(feature = "serve")]
pub(super) struct Open {
    line: Arc<Line>,
    request: Arc<Request>,
}

#[cfg(feature = "serve")]
impl Open {
    pub(super) fn begin(line: &Arc<Line>, trace_id: TraceId) -> Self {
        let request = Arc::new(Request {
            trace_id,
            passed: AtomicBool::new(false),
            core: AtomicBool::new(false),
            unread: AtomicU64::new(0),
        });
        line.begun.fetch_add(1, Ordering::Relaxed);
        line.open().push(request.clone());
        let line = line.clone();
        Self { line, request }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen(self.request.clone())
    }

    pub(super) fn has_passed(&self) -> bool {
        self.request.passed.load(Ordering::Relaxed)
    }

    /// Notes that something is there for the client since `now`, or that the handler is at work.
    fn note_unread(&self, now: Option<u64>) {
        let now = now.unwrap_or(0);
        self.request.unread.store(now, Ordering::Relaxed);
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}

#[cfg(feature = "serve")]
impl Hold for Open {
    fn asked(&mut self, has_given: bool) {
        // A server asks for the next frame once the client has taken those before.
        self.note_unread(has_given.then(clock::nanos));
    }
}

#[cfg(feature = "serve")]
impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.line.open();
        if self.request.core.load(Ordering::Relaxed) {
            self.line.core_unsent.store(true, Ordering::Relaxed);
        }
        if let Some(at) = open.iter().position(|one| Arc::ptr_eq(one, &self.request)) {
            open.swap_remove(at);
        }
    }
}

#[cfg(feature = "serve")]
impl Line {
    /// How many requests have begun.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open().is_empty()
    }

    /// Tells whether a request of core is at work, or its answer on its way.
    pub(super) fn serves_core(&self) -> bool {
        let open = self.open();
        self.core_unsent.load(Ordering::Relaxed)
            || open.iter().any(|one| one.core.load(Ordering::Relaxed))
    }

    /// Notes that the server has written all that it had. Over HTTP/2 some may wait for its window all the same.
    pub(super) fn flushed(&self) {
        self.core_unsent.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_framed(&self) -> bool {
        self.is_framed.load(Ordering::Relaxed)
    }

    pub(super) fn late(&self) -> Option<Late> {
        let late = self.late.load(Ordering::Relaxed);
        let all = [Late::Head, Late::Unread];
        all.into_iter().find(|one| *one as u8 == late)
    }

    pub(super) fn set_late(&self, late: Late) {
        self.late.store(late as u8, Ordering::Relaxed);
    }

    pub(super) fn set_framed(&self) {
        self.is_framed.store(true, Ordering::Relaxed);
    }

    /// Tells whether some of what is open was not read since `before`, and whether all of it.
    pub(super) fn stalled(&self, before: u64) -> (bool, bool) {
        let open = self.open();
        let stalled = open.iter().filter(|one| {
            let unread = one.unread.load(Ordering::Relaxed);
            unread != 0 && unread <= before
        });
        let stalled = stalled.count();
        (stalled > 0, stalled > 0 && stalled == open.len())
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Request>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
