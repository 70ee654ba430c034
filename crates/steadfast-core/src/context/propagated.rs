use crate::context::SpanId;
use crate::decide::budget::AttemptMark;

/// What came from outside with a request, and goes on to all that it calls: the part of W3C Trace
/// Context and Baggage that is not the trace id, and which attempt of its caller it is.
///
/// Whoever takes requests in sets it by [`Captured::propagating`](super::Captured::propagating),
/// and bounds its size; whoever sends requests out reads it by [`propagated`](super::propagated).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Propagated {
    /// The span of the caller.
    pub parent: Option<SpanId>,
    /// The flags of the trace: bit 0 says that the caller records it.
    pub flags: u8,
    /// What tracing systems of the callers want to be passed on.
    pub tracestate: Option<Box<str>>,
    /// What the callers themselves want to be passed on.
    pub baggage: Option<Box<str>>,
    /// Which attempt of the caller the request is, so that what is called for it is not retried
    /// once more.
    pub attempt: Option<AttemptMark>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{self, Context, TraceId};

    #[test]
    fn what_is_propagated_reaches_what_is_started_inside_and_survives_other_changes() {
        let id = TraceId::random();
        let propagated = Propagated {
            flags: 1,
            baggage: Some("shop=berlin".into()),
            ..Propagated::default()
        };
        let around = Context::new().with_trace_id(id).run(context::capture);

        let (seen, block) = around.propagating(propagated.clone()).run(|| {
            context::put("order", "4711").unwrap();
            let there = context::capture();
            there.run(|| (context::propagated(), context::current()))
        });

        assert_eq!(seen.as_deref(), Some(&propagated));
        assert_eq!(block.trace_id(), Some(id));
        assert_eq!(context::propagated(), None);
    }

    #[test]
    fn changes_made_in_one_call_are_there_in_the_next() {
        let mut captured = context::capture();

        captured.enter(|| context::put("order", "4711")).unwrap();

        let seen = captured.enter(|| context::get("order"));
        assert_eq!(seen.as_deref(), Some("4711"));
        assert_eq!(context::get("order"), None);
    }
}
