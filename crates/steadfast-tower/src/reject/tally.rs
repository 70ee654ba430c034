use std::sync::{Arc, LazyLock};

use steadfast_core::context::{self, Context, Name, Tier};
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};

use super::{Reason, Rejection};
use crate::count::Count;
use crate::counts::Counts;
use crate::route::UNMATCHED;
use crate::tier;

/// How many counts there are: 4,096, as many as there are names made at run time. What comes
/// later is counted under reason and tier alone.
const COUNTS_MAX: usize = 4_096;

/// What is counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    route: Name,
    policy: Name,
    reason: Reason,
    tier: Tier,
    acts: Acts,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Acts {
    Enforced,
    /// It looks on, and says what it would have rejected.
    Shadow,
}

/// All that was rejected in this process: one place, so that a layer used alone counts, too.
struct Tally {
    counts: Counts<Key, Count>,
}

static TALLY: LazyLock<Arc<Tally>> = LazyLock::new(|| {
    let tally = Arc::new(Tally {
        counts: Counts::new(COUNTS_MAX),
    });
    // Without a place in the report the log still tells.
    let _ = report::register("rejections", &tally);
    tally
});

/// Counts a rejection, and tells it unless one like it was told less than a second ago.
pub(super) fn count(rejection: &Rejection, acts: Acts, now: u64) {
    let context = context::current();
    let route = context.route().unwrap_or(UNMATCHED);
    let key = Key {
        route,
        policy: rejection.policy,
        reason: rejection.reason,
        tier: context.tier(),
        acts,
    };
    let beyond = |key| Key {
        route: Name::OTHER,
        policy: Name::OTHER,
        ..key
    };
    if let Some(since) = TALLY.counts.with(key, beyond, |count| count.add(now)) {
        tell(rejection, &context, route, acts, since);
    }
}

fn tell(rejection: &Rejection, context: &Context, route: Name, acts: Acts, since: u64) {
    let (shadow, what) = match acts {
        Acts::Enforced => (None, "rejected"),
        Acts::Shadow => (Some(true), "would have rejected"),
    };
    tracing::warn!(
        target: "steadfast::reject",
        route = %route,
        policy = %rejection.policy,
        reason = rejection.reason.as_str(),
        tier = context.tier().number(),
        limit = rejection.limit(),
        observed = rejection.observed(),
        unit = rejection.bound.map(|bound| bound.unit),
        trace_id = rejection.trace_id.map(tracing::field::display),
        count = since,
        shadow,
        "{what}: {}", rejection.reason.title(),
    );
}

impl Acts {
    fn metric(self) -> &'static str {
        match self {
            Self::Enforced => "steadfast_rejections_total",
            Self::Shadow => "steadfast_shadow_rejections_total",
        }
    }
}
/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::counter(
        "steadfast_rejections_total",
        &["route", "policy", "reason", "tier"],
        "Requests and calls that were not served, by the policy that said no, and why.",
    ),
    MetricDoc::counter(
        "steadfast_shadow_rejections_total",
        &["route", "policy", "reason", "tier"],
        "Requests and calls that a policy in shadow mode would have rejected, and why.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::reject", &["warn"], "{what}: {}", &["count", "limit", "observed", "policy", "reason", "route", "shadow", "tier", "trace_id", "unit"]).when("A request was not served. The first of each route, policy, reason and tier is told at once, then one a second, with the `count` since the last. A policy in shadow mode says `would have rejected`, with `shadow`.").action("`reason` says what to look at, `limit` and `observed` how far it is: see how to read a rejection."),
];

impl Source for Tally {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        self.counts.each(|key, count| {
            let total = count.total();
            to.labels([
                ("route", key.route),
                ("policy", key.policy),
                ("reason", key.reason.as_str().into()),
                ("tier", tier::label(key.tier)),
            ])
            .counter(key.acts.metric(), total);
        });
    }
}
