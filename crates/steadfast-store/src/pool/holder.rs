//! Who has a connection.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use steadfast_core::clock::{self, Instant};
use steadfast_core::context::{self, Tier, TraceId};

/// Who has a connection: the scopes around the work, its trace, the place in the source, and since when.
#[derive(Clone)]
pub struct Holder {
    pub(super) number: u64,
    scope: String,
    trace_id: Option<TraceId>,
    place: Option<&'static Location<'static>>,
    since: Instant,
    tier: Tier,
    task: Option<tokio::task::Id>,
    /// Whether it was told that it holds for long.
    pub(super) is_told: bool,
}

impl Holder {
    /// Describes the work at hand.
    pub(super) fn new(number: u64, place: Option<&'static Location<'static>>) -> Self {
        let context = context::current();
        Self {
            number,
            scope: context::scope_path().to_string(),
            trace_id: context.trace_id(),
            place,
            since: clock::now(),
            tier: context.tier(),
            task: tokio::task::try_id(),
            is_told: false,
        }
    }

    /// Gives the path of scopes; empty for work without one.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Gives the trace that it belongs to.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Gives where it was taken; unknown for what the store does by itself.
    pub fn place(&self) -> Option<&'static Location<'static>> {
        self.place
    }

    /// Gives since when.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Gives for how long.
    pub fn held(&self) -> Duration {
        clock::now().duration_since(self.since)
    }

    /// Gives its tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Tells whether the work at hand is the same task.
    pub(super) fn is_this_task(&self) -> bool {
        self.task.is_some() && self.task == tokio::task::try_id()
    }
}

/// Says who is at work: the scopes around, and the trace id.
pub(crate) fn at_work() -> String {
    named(
        &context::scope_path().to_string(),
        context::current().trace_id(),
    )
}

fn named(scope: &str, trace: Option<TraceId>) -> String {
    match (scope.is_empty(), trace) {
        (true, None) => "work without a scope".to_owned(),
        (true, Some(trace)) => format!("trace {trace}"),
        (false, None) => scope.to_owned(),
        (false, Some(trace)) => format!("{scope} (trace {trace})"),
    }
}

/// `orders (trace …) at src/orders.rs:17 for 3.2s`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(&self.scope, self.trace_id))?;
        if let Some(place) = self.place {
            write!(f, " at {}:{}", place.file(), place.line())?;
        }
        write!(f, " for {:.1?}", self.held())
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
