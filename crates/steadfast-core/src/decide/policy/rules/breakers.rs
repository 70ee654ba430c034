//! Breakers that cannot do what they are there for.

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::parts::BreakerPolicy;
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::{held, number, readable};
use crate::decide::policy::users::Policy;
use crate::decide::policy::values::{Count, percent};

pub(super) const P003: Rule = Rule {
    id: "P003",
    title: "half-open probes too few",
    severity: Severity::Error,
    why: "A round of half-open is judged by the same failure share as a window. With so few \
          probes that a single failure is at or over the share, one chance failure opens the \
          breaker again, and a target that has recovered stays cut off.",
    check: too_few_probes,
};

pub(super) const P005: Rule = Rule {
    id: "P005",
    title: "slow threshold at or above the timeout",
    severity: Severity::Error,
    why: "A call counts as slow when it takes longer than the threshold. If the timeout ends \
          it before that, no call is ever slow, and this reason to trip never acts.",
    check: never_slow,
};

pub(super) const P006: Rule = Rule {
    id: "P006",
    title: "window never filled at the observed rate",
    severity: Severity::Error,
    why: "Shares are judged when a window has `min_calls`. If fewer calls than that come in a \
          window, it never has, and the breaker watches an outage from beginning to end.",
    check: never_filled,
};

pub(super) const P023: Rule = Rule {
    id: "P023",
    title: "breaker that never trips, or always does",
    severity: Severity::Error,
    why: "A breaker without any reason to trip does nothing. One that trips at a share of 0 % \
          trips when all calls are good.",
    check: without_reason,
};

pub(super) const P029: Rule = Rule {
    id: "P029",
    title: "open time above the longest one",
    severity: Severity::Error,
    why: "The time that a breaker stays open doubles with each round that fails, up to the longest. \
          If it begins above that, it never grows: a target that is down for hours is probed as \
          often as one that stumbled.",
    check: open_over_longest,
};

fn too_few_probes(policy: &Policy) -> Vec<Hit> {
    let check = |(name, breaker): (&String, &BreakerPolicy)| {
        let share = breaker.failure_share.filter(|share| share.get() > 0.0)?;
        let probes = breaker.half_open.get();
        let one = 1.0 / f64::from(probes);
        (one >= share.get()).then(|| {
            let enough = (1.0 / share.get()).floor() + 1.0;
            Hit::new(
                FieldPath::new(["breakers", name, "half_open"]),
                format!(
                    "1 failure of {probes} probes is {}, at or over the failure share of {share}",
                    percent(one)
                ),
                format!("allow {enough} probes or more"),
            )
        })
    };
    policy.breakers.iter().filter_map(check).collect()
}

fn never_slow(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter_map(|view| {
            let over = view.breaker?.slow?.over;
            let most = view.longest_attempt()?;
            (over.get() >= most).then(|| {
                Hit::new(
                    view.path().join("breaker"),
                    format!(
                        "a call is slow over {over}, and the timeout ends it after {}",
                        readable(most)
                    ),
                    format!("lower slow_over below {}", readable(most)),
                )
            })
        })
        .collect()
}

fn never_filled(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter_map(|view| {
            let (breaker, rate) = (view.breaker?, view.dependency.rate?);
            let judges_shares = breaker.failure_share.is_some() || breaker.slow.is_some();
            let calls = held(rate, breaker.window.get());
            let min_calls = breaker.min_calls;
            (judges_shares && calls < f64::from(min_calls.get())).then(|| {
                let enough = f64::from(min_calls.get()) / rate.get();
                Hit::new(
                    view.path().join("breaker"),
                    format!(
                        "{rate} × window {} = {} calls, fewer than min_calls {min_calls}",
                        breaker.window,
                        number(calls)
                    ),
                    format!(
                        "use a window of {}s or more, or trip on consecutive failures",
                        enough.ceil()
                    ),
                )
            })
        })
        .collect()
}

fn without_reason(policy: &Policy) -> Vec<Hit> {
    let check = |(name, breaker): (&String, &BreakerPolicy)| {
        let path = FieldPath::new(["breakers", name]);
        let shares = [
            ("failure_share", breaker.failure_share),
            ("slow_share", breaker.slow.map(|slow| slow.share)),
        ];
        if let Some((field, _)) = shares
            .into_iter()
            .find(|(_, share)| share.is_some_and(|share| share.get() == 0.0))
        {
            let message = "a share of 0 % is reached when no call fails";
            return Some(Hit::new(path.join(field), message, "set it over 0"));
        }
        let reasons = shares.iter().any(|(_, share)| share.is_some());
        let consecutive: Option<Count> = breaker.consecutive;
        (!reasons && consecutive.is_none()).then(|| {
            Hit::new(
                path.join("failure_share"),
                "it has no failure_share, no slow_over and no consecutive, so it never trips",
                "set at least one of them",
            )
        })
    };
    policy.breakers.iter().filter_map(check).collect()
}

fn open_over_longest(policy: &Policy) -> Vec<Hit> {
    let check = |(name, breaker): (&String, &BreakerPolicy)| {
        let (open, longest) = (breaker.open, breaker.open_longest);
        (open > longest).then(|| {
            Hit::new(
                FieldPath::new(["breakers", name, "open"]),
                format!("open {open} is above open_longest {longest}"),
                format!("lower it to {longest} or less, or raise open_longest"),
            )
        })
    };
    policy.breakers.iter().filter_map(check).collect()
}
