//! Answers that do not end by themselves, and bodies that do.

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::users::{Policy, RouteKind};
use crate::decide::policy::values::Timeout;

pub(super) const P026: Rule = Rule {
    id: "P026",
    title: "stream without a budget of connections",
    severity: Severity::Error,
    why: "A stream holds a connection, a task and its buffers for as long as somebody listens, and \
          has no part in the permits of an admission. Without a number of its own there may be as \
          many as clients care to open, until memory is gone. And without an idle timeout those \
          whose client is gone without a word stay for ever.",
    check: unbounded_stream,
};

pub(super) const P027: Rule = Rule {
    id: "P027",
    title: "stream policy on a route that is none",
    severity: Severity::Error,
    why: "The budget counts streams. A route whose kind is `response` never counts, so the policy \
          that it names does nothing there. Most often `kind = \"stream\"` was forgotten, and the \
          timeouts of responses are about to cut its streams off.",
    check: stream_policy_of_response,
};

pub(super) const P028: Rule = Rule {
    id: "P028",
    title: "idle timeout that never acts",
    severity: Severity::Error,
    why: "Something that is ended after the total time, whatever it does, is never idle for longer \
          than that. With an idle timeout at or above the total one, dead connections are kept as \
          long as living ones.",
    check: idle_over_total,
};

fn unbounded_stream(policy: &Policy) -> Vec<Hit> {
    policy
        .route_views()
        .filter(|view| view.route.kind == RouteKind::Stream && view.route.stream.is_none())
        .map(|view| {
            Hit::new(
                view.path().join("stream"),
                "nothing bounds how many there are, and how long they stand still",
                "name one of `streams`",
            )
        })
        .collect()
}

fn stream_policy_of_response(policy: &Policy) -> Vec<Hit> {
    policy
        .route_views()
        .filter(|view| view.route.kind == RouteKind::Response)
        .filter_map(|view| {
            let name = view.route.stream.as_ref()?;
            Some(Hit::new(
                view.path().join("stream"),
                format!("{name:?} is for streams, and the kind of this route is response"),
                "set kind to \"stream\", or remove it",
            ))
        })
        .collect()
}

fn idle_over_total(policy: &Policy) -> Vec<Hit> {
    let check =
        |section: &str, name: &String, field: &str, idle: Timeout, total: Option<Timeout>| {
            let total = total.filter(|total| idle >= *total)?;
            Some(Hit::new(
                FieldPath::new([section, name]).join(field),
                format!("idle {idle} is not below the total of {total}"),
                format!("lower it well below {total}, or raise the total"),
            ))
        };
    let streams = policy
        .streams
        .iter()
        .filter_map(|(name, stream)| check("streams", name, "idle", stream.idle, stream.total));
    let bodies = policy.timeouts.iter().filter_map(|(name, timeout)| {
        let (idle, total) = (timeout.body_idle, timeout.body_total);
        check("timeouts", name, "body_idle", idle, total)
    });
    streams.chain(bodies).collect()
}
