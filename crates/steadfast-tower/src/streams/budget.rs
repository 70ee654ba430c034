use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use steadfast_core::context::{self, Name};
use steadfast_core::report::{Collector, EventDoc, MetricDoc, Source};

use crate::reject::soon;
use crate::{Hold, Reason, Rejection};

/// How many routes are kept that turned out to stream: 64, enough to see what was forgotten.
const DETECTED_MAX: usize = 64;

/// The state of one budget.
pub(crate) struct Budget {
    pub(crate) name: Name,
    limit: AtomicU32,
    open: AtomicU32,
    opened: AtomicU64,
    shadow: AtomicBool,
    detected: Mutex<BTreeSet<Name>>,
}

/// A connection of a budget; given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Budget>);

impl Hold for Slot {}

/// The connection that a request has come on, where the server tells: what it holds is dropped when
/// the connection ends, also one that has become another protocol.
#[derive(Clone, Default)]
pub(crate) struct Connection(Arc<Mutex<Vec<Slot>>>);

impl Budget {
    pub(crate) fn new(name: Name, limit: u32) -> Self {
        Self {
            name,
            limit: AtomicU32::new(limit),
            open: AtomicU32::new(0),
            opened: AtomicU64::new(0),
            shadow: AtomicBool::new(false),
            detected: Mutex::default(),
        }
    }

    /// Notes the route of an answer that turned out to be a stream, and tells it the first time.
    pub(super) fn detect(&self) {
        let Some(route) = context::current().route() else {
            return;
        };
        let mut detected = self.detected();
        if detected.len() >= DETECTED_MAX || !detected.insert(route) {
            return;
        }
        drop(detected);
        tracing::warn!(
            target: "steadfast::guard",
            route = %route,
            policy = %self.name,
            "an answer of this route is a stream, and its kind is response"
        );
    }

    /// Gives the routes of [`detect`](Self::detect), in order.
    pub(crate) fn routes(&self) -> Vec<String> {
        self.detected().iter().map(Name::to_string).collect()
    }

    fn detected(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.detected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many there may be from now on; those that are open stay open.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Says whether it only looks on.
    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    /// Takes a connection, or says why there is none; one that only looks on lets everybody pass.
    pub(super) fn open(self: &Arc<Self>) -> Result<Option<Slot>, Rejection> {
        let limit = self.limit.load(Ordering::Relaxed);
        let one_more = |open| (open < limit).then_some(open + 1);
        let taken = self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more);
        let open = match taken {
            Ok(_) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(Slot(self.clone())));
            }
            Err(open) => open,
        };
        let rejection = Rejection::new(Reason::Overloaded, self.name)
            .with_bound(f64::from(limit), f64::from(open) + 1.0, "streams at once")
            .with_retry_after(soon());
        if self.shadow.load(Ordering::Relaxed) {
            rejection.count_shadow();
            return Ok(None);
        }
        Err(rejection)
    }
}

impl Connection {
    pub(super) fn keep(&self, slot: Slot) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(slot);
    }
}

#[cfg(feature = "serve")]
impl Connection {
    /// Gives back all that it holds.
    pub(crate) fn end(&self) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(kept);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_streams_limit",
        &["policy"],
        "How many streams may be open at once.",
    ),
    MetricDoc::gauge(
        "steadfast_streams_open",
        &["policy"],
        "How many streams are open.",
    ),
    MetricDoc::counter(
        "steadfast_streams_opened_total",
        &["policy"],
        "Streams that were opened.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::guard",
    &["warn"],
    "an answer of this route is a stream, and its kind is response",
    &["policy", "route"],
)
.when(
    "The first answer of a route that is `text/event-stream` or `101`, and whose kind is response.",
)
.action("Write `kind = \"stream\"` and a budget for the route; until then all such share one.")];

impl Source for Budget {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let number = |count: &AtomicU32| f64::from(count.load(Ordering::Relaxed));
        to.labels([("policy", self.name)])
            .gauge("steadfast_streams_limit", number(&self.limit))
            .gauge("steadfast_streams_open", number(&self.open))
            .counter(
                "steadfast_streams_opened_total",
                self.opened.load(Ordering::Relaxed),
            );
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
