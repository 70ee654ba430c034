use http::{HeaderMap, HeaderName, HeaderValue};
use steadfast_core::context::{self, Captured, Context, Propagated, SpanId, TraceId};

use super::list;
use super::traceparent::TraceParent;
use crate::{Trust, attempt};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `x-request-id` that is kept: 64 characters, two UUIDs.
const REQUEST_ID_MAX: usize = 64;

/// What a request says about the trace it belongs to, as far as it is believed.
pub(super) struct Received {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) request_id: Option<HeaderValue>,
    propagated: Option<Propagated>,
}

impl Received {
    pub(super) fn read(headers: &HeaderMap, trust: Trust, begun: Option<TraceId>) -> Self {
        let came = TraceParent::read(headers);
        let (baggage, attempt) = match trust {
            Trust::Edge => (None, None),
            Trust::Inside => (list::baggage(headers), attempt::read(headers)),
        };
        let mut propagated = Propagated::default();
        if let Some(came) = came {
            propagated.parent = Some(came.parent);
            propagated.flags = came.flags;
            propagated.tracestate = list::tracestate(headers);
        } else {
            propagated.flags = TraceParent::STARTED;
        }
        propagated.baggage = baggage;
        propagated.attempt = attempt;
        // A trace that begins here has nothing to carry that is not known anyway.
        let carries = came.is_some() || propagated.baggage.is_some() || attempt.is_some();
        Self {
            trace_id: match (came, begun) {
                (Some(came), _) => came.trace_id,
                (None, Some(begun)) => begun,
                (None, None) => TraceId::random(),
            },
            span_id: SpanId::random(),
            request_id: request_id(headers),
            propagated: carries.then_some(propagated),
        }
    }

    /// The facts at hand, with those that were received.
    pub(super) fn context(&self) -> Context {
        context::current()
            .with_trace_id(self.trace_id)
            .with_span_id(self.span_id)
    }

    /// Where the request is served: in `context`, with what is not a fact of its own.
    pub(super) fn place(self, context: Context) -> Captured {
        let mut captured = context.captured();
        if let Some(propagated) = self.propagated {
            captured = captured.propagating(propagated);
        }
        let id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        if let Some(id) = id {
            // A context that is full without us has no room for it; the answer still has it.
            let _ = captured.enter(|| context::put("request_id", id));
        }
        captured
    }
}

/// Gives the trace that a request belongs to: the one it brings, or one that begins.
#[cfg(feature = "serve")]
pub(crate) fn of(headers: &HeaderMap) -> TraceId {
    TraceParent::read(headers).map_or_else(TraceId::random, |came| came.trace_id)
}

/// What a client is told that has said no id of its own.
pub(crate) fn echo(trace_id: TraceId) -> HeaderValue {
    HeaderValue::from_bytes(&trace_id.digits()).expect("digits only")
}

pub(crate) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (values.next(), values.next()) else {
        return None;
    };
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    let fits = (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(known);
    fits.then(|| id.clone())
}

/// What a request that is sent from here has to say.
pub(super) struct Sent {
    pub(super) context: Context,
    parent: TraceParent,
    propagated: Option<std::sync::Arc<Propagated>>,
}

impl Sent {
    /// One more call of the request at hand; outside of any, the first of a new trace.
    pub(super) fn next() -> Self {
        let propagated = context::propagated();
        let context = context::current();
        let parent = TraceParent {
            trace_id: context.trace_id().unwrap_or_else(TraceId::random),
            parent: SpanId::random(),
            flags: propagated
                .as_ref()
                .map_or(TraceParent::STARTED, |came| came.flags),
        };
        Self {
            context: context
                .with_trace_id(parent.trace_id)
                .with_span_id(parent.parent),
            parent,
            propagated,
        }
    }

    /// Says it in the headers, in place of what is there.
    pub(super) fn write(&self, headers: &mut HeaderMap, trust: Trust) {
        headers.insert(super::traceparent::TRACEPARENT, self.parent.to_value());
        let propagated = self.propagated.as_deref();
        let state = propagated.and_then(|came| came.tracestate.as_deref());
        set(headers, list::TRACESTATE, state);
        let baggage = propagated.and_then(|came| came.baggage.as_deref());
        set(
            headers,
            list::BAGGAGE,
            baggage.filter(|_| trust == Trust::Inside),
        );
        // A retry outside of this layer has said it already, for this very call. And where nobody
        // retries, a retry inside of this layer may.
        if let Some(mark) = propagated.and_then(|came| came.attempt)
            && mark.is_retried_outside()
            && trust == Trust::Inside
            && !headers.contains_key(attempt::ATTEMPT)
        {
            headers.insert(attempt::ATTEMPT, attempt::value(mark));
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    // What was read from headers fits into one.
    let value = value.and_then(|value| HeaderValue::from_str(value).ok());
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}
