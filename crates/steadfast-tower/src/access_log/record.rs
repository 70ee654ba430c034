use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Extensions, Method, StatusCode, Uri};
use steadfast_core::cancel;
use steadfast_core::clock::{self, Instant};
use steadfast_core::context::{Context, Tier, TraceId};
use steadfast_core::report::EventDoc;
use steadfast_core::{Cause, recover};

use super::books::{Active, BOOKS, End, Target};
use crate::noted::Noted;
use crate::route::UNMATCHED;

/// The longest path in a line, in bytes: 1,024, longer than people write them, and far less than
/// a server takes.
const PATH_BYTES_MAX: usize = 1_024;

/// What nginx says, and by now everybody: the client has left before the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How a request has ended, as one stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ended(&'static str);

impl Ended {
    pub(super) const SERVED: Self = Self("served");
    pub(super) const BODY_BROKE: Self = Self("body_broke");
    const FAILED: Self = Self("failed");
    const PANICKED: Self = Self("panicked");
    const CLIENT_GONE: Self = Self("client_gone");

    /// Gives what stands in the label of the metric: nothing for what went well.
    pub(super) fn error_type(self) -> &'static str {
        if self == Self::SERVED { "" } else { self.0 }
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::access",
    &["info"],
    "request ended",
    &[
        "body_bytes",
        "duration_s",
        "ended",
        "head_s",
        "method",
        "path",
        "route",
        "status",
        "tier",
        "trace_id",
    ],
)
.when("Every request, when all of it is over: served, broken off, or given up by its client (499).")
.action("Nothing for one; `ended` says how it ended, `trace_id` finds all its other lines.")];

/// One request on its way. Its end is told once: at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Record {
    begun: Instant,
    target: Target,
    /// Absent where it is not told.
    active: Option<Arc<Active>>,
    trace_id: Option<TraceId>,
    /// As it was when the request came; what was found out inside since is in the notes.
    tier: Tier,
    noted: Noted,
    /// Somebody wants the line.
    wanted: bool,
    path: Option<PathAndQuery>,
    head: Option<(StatusCode, Duration)>,
    body_bytes: u64,
    /// Inner code is at work: what is dropped now is dropped by its panic.
    at_work: bool,
    /// The server has all that it wants of the body.
    pub(super) whole: bool,
    over: bool,
}

impl Record {
    /// Begins the record of a request that came `now`, in this context; without `is_told` nothing comes of it.
    pub(crate) fn begin(
        (method, uri): (&Method, &Uri),
        extensions: &mut Extensions,
        context: &Context,
        now: Instant,
        is_told: bool,
    ) -> Self {
        let wanted =
            is_told && tracing::enabled!(target: "steadfast::access", tracing::Level::INFO);
        let noted = Noted::begin(extensions, wanted);
        let target = Target::new(context.route().unwrap_or(UNMATCHED), method);
        let path = uri.path_and_query().filter(|_| wanted);
        Self {
            begun: now,
            target,
            active: is_told.then(|| BOOKS.begin(target)),
            trace_id: context.trace_id(),
            tier: context.tier(),
            noted,
            wanted,
            path: path.cloned(),
            head: None,
            body_bytes: 0,
            at_work: false,
            whole: false,
            over: false,
        }
    }

    /// Runs inner code, so that a panic of it is known as one.
    pub(crate) fn work<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.at_work(true);
        let worked = f();
        self.at_work(false);
        worked
    }

    /// Says whether inner code is at work: what is dropped then is dropped by its panic.
    pub(crate) fn at_work(&mut self, is: bool) {
        self.at_work = is;
    }

    /// Drops inner code before its end, and tells it why.
    pub(crate) fn abandon(&mut self, drop_it: impl FnOnce()) {
        if self.at_work || self.whole {
            return drop_it();
        }
        let cause = cancel::told_cause().unwrap_or(Cause::ClientGone);
        cancel::dropping(cause, drop_it);
    }

    /// The head of the answer is there `now`.
    pub(super) fn answered(&mut self, status: StatusCode, now: Instant) {
        self.head = Some((status, now.saturating_duration_since(self.begun)));
    }

    /// The inner service has given an error in place of an answer.
    pub(crate) fn failed(&mut self) {
        self.end(Ended::FAILED);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.body_bytes += bytes as u64;
    }

    /// Counts and tells, the first time.
    pub(super) fn end(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let duration = clock::now() - self.begun;
        let (route, tier) = self.noted.found();
        let end = End {
            target: Target {
                route: route.unwrap_or(self.target.route),
                ..self.target
            },
            status: self.status(ended),
            ended,
        };
        if let Some(active) = &self.active {
            BOOKS.end(active, end, duration, self.body_bytes);
        }
        if self.wanted {
            let tier = tier.unwrap_or(self.tier);
            let tell = || self.tell(end, tier, duration);
            match self.noted.left() {
                Some(context) => context.run(tell),
                None => tell(),
            }
        }
    }

    /// The status that the client has seen, or would have.
    fn status(&self, ended: Ended) -> Option<StatusCode> {
        match self.head {
            Some((status, _)) => Some(status),
            None if ended == Ended::CLIENT_GONE => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).ok(),
            None if ended == Ended::PANICKED => Some(StatusCode::INTERNAL_SERVER_ERROR),
            None => None,
        }
    }

    fn tell(&self, end: End, tier: Tier, duration: Duration) {
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        tracing::info!(
            target: "steadfast::access",
            method = %end.target.method,
            path = head(path),
            route = %end.target.route,
            status = end.status.map(|status| status.as_u16()),
            head_s = self.head.map(|(_, after)| after.as_secs_f64()),
            duration_s = duration.as_secs_f64(),
            body_bytes = self.body_bytes,
            tier = tier.number(),
            trace_id = self.trace_id.map(tracing::field::display),
            ended = end.ended.0,
            "request ended",
        );
    }
}

/// Gives the part of a path that is told, whole characters only.
pub(crate) fn head(path: &str) -> &str {
    let mut end = PATH_BYTES_MAX.min(path.len());
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = if self.at_work {
            Ended::PANICKED
        } else if self.whole {
            Ended::SERVED
        } else {
            let told = cancel::told_cause();
            told.map_or(Ended::CLIENT_GONE, |cause| Ended(cause.as_str()))
        };
        // A subscriber that panics must not end the process while another panic unwinds.
        let _ = recover(|| self.end(ended));
    }
}
