//! Whom the service believes, and how it stops.

use crate::context::Tier;
use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::readable;
use crate::decide::policy::service::TrustPolicy;
use crate::decide::policy::users::Policy;

pub(super) const P030: Rule = Rule {
    id: "P030",
    title: "drain that does not fit into its hard limit",
    severity: Severity::Error,
    why: "The phases of a drain come one after the other, and the hard limit ends all of it \
          wherever it is. If they take longer together, the last one is cut short, and that is the \
          one in which core requests end.",
    check: over_hard_limit,
};

pub(super) const P031: Rule = Rule {
    id: "P031",
    title: "drain shorter than the timeout of a route",
    severity: Severity::Warning,
    why: "A request that may take longer than the drain lasts is cut off when the service stops, \
          which is at every deploy. Callers see an error that no outage explains.",
    check: cut_by_drain,
};

pub(super) const P032: Rule = Rule {
    id: "P032",
    title: "every address is a proxy",
    severity: Severity::Error,
    why: "The word of a proxy on where a request came from is taken. If every address is one, \
          anybody can write himself a new address for each request, and quotas for each client \
          limit nobody.",
    check: everybody_is_a_proxy,
};

pub(super) const P033: Rule = Rule {
    id: "P033",
    title: "hops without proxies",
    severity: Severity::Error,
    why: "Hops are counted from the nearest proxy. Without any, the client is the peer of the \
          connection, whatever the number says: behind a load balancer that is one client for all, \
          and a quota for each client becomes one for everybody.",
    check: hops_without_proxies,
};

fn over_hard_limit(policy: &Policy) -> Vec<Hit> {
    let (phases, hard) = (policy.drain.phases(), policy.drain.hard.get());
    let hit = || {
        let drain = &policy.drain;
        let not_ready = drain.not_ready.map(|time| format!("not_ready {time} + "));
        Hit::new(
            FieldPath::new(["drain", "hard"]),
            format!(
                "{}lower {} + core {} = {}, more than hard {}",
                not_ready.unwrap_or_default(),
                drain.lower,
                drain.core,
                readable(phases),
                drain.hard
            ),
            format!("raise it to {} or more, or shorten them", readable(phases)),
        )
    };
    (phases > hard).then(hit).into_iter().collect()
}

fn cut_by_drain(policy: &Policy) -> Vec<Hit> {
    let drain = &policy.drain;
    policy
        .route_views()
        .filter_map(|view| {
            let core = view.route.tier == Tier::CORE;
            let (most, phases) = match core {
                true => (drain.lower.get() + drain.core.get(), "lower + core"),
                false => (drain.lower.get(), "lower"),
            };
            let (timeout, limit) = (view.route.timeout.as_ref()?, view.limit()?);
            (limit > most).then(|| {
                Hit::new(
                    view.path().join("timeout"),
                    format!(
                        "timeout {timeout:?} lets it take {}, and the drain waits for {phases} = {}",
                        readable(limit),
                        readable(most)
                    ),
                    format!(
                        "give it a deadline of {} or less, or the drain more time",
                        readable(most)
                    ),
                )
            })
        })
        .collect()
}

fn everybody_is_a_proxy(policy: &Policy) -> Vec<Hit> {
    let everybody = policy.trust.proxies.iter().find(|one| one.is_everybody());
    let hit = |network| {
        Hit::new(
            FieldPath::new(["trust", "proxies"]),
            format!("{network} has every address in it"),
            "name the addresses of your own proxies",
        )
    };
    everybody.map(hit).into_iter().collect()
}

fn hops_without_proxies(policy: &Policy) -> Vec<Hit> {
    let trust = &policy.trust;
    let never = trust.proxies.is_empty() && trust.hops != TrustPolicy::DEFAULT_HOPS;
    let hit = || {
        Hit::new(
            FieldPath::new(["trust", "hops"]),
            format!(
                "{} hops are counted from proxies, and there are none",
                trust.hops
            ),
            "name your proxies, or remove it",
        )
    };
    never.then(hit).into_iter().collect()
}
