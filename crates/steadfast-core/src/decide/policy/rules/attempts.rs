//! Retries and hedges: who may, who pays, and how often in all.

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::number;
use crate::decide::policy::users::Policy;

pub(super) const P009: Rule = Rule {
    id: "P009",
    title: "retries of calls that are not safe to repeat",
    severity: Severity::Error,
    why: "A call that may have taken effect is repeated only if that is safe: by its method, \
          or by an idempotency key. For calls that are neither, retries are configured and \
          next to never made. Either the target tells repeats apart, and the policy should say \
          how, or the retries should not be there to be relied on. Found where none of the \
          methods is safe; beside a method that is, an unsafe one is simply not repeated.",
    check: unsafe_retries,
};

pub(super) const P010: Rule = Rule {
    id: "P010",
    title: "hedging without a budget",
    severity: Severity::Error,
    why: "A hedge helps when one call in a hundred is slow. When all are slow, each is hedged, \
          and a target that is already too slow gets twice the load. The budget is what tells \
          these apart.",
    check: unbudgeted_hedge,
};

pub(super) const P011: Rule = Rule {
    id: "P011",
    title: "retries without a budget",
    severity: Severity::Error,
    why: "When a target is overloaded, all calls fail and each is retried, so that it gets a \
          multiple of the load that broke it, and stays down after the cause is gone. Backoff \
          and jitter only spread that load; a budget bounds it.",
    check: unbudgeted_retry,
};

pub(super) const P012: Rule = Rule {
    id: "P012",
    title: "retries multiply over nested layers",
    severity: Severity::Error,
    why: "If somebody further inside repeats each of our attempts, attempts multiply, and so \
          do budgets: each layer keeps to its share and the target gets the product. Retries \
          belong to one layer.",
    check: multiplied,
};

pub(super) const P021: Rule = Rule {
    id: "P021",
    title: "hedging of calls that are not safe to repeat",
    severity: Severity::Error,
    why: "A hedge sends a call a second time while the first is still under way, so that both \
          may take effect. It is done for safe calls only; where no method is, the hedge does \
          nothing.",
    check: unsafe_hedge,
};

fn unsafe_retries(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter_map(|view| {
            let retry = view.retry?;
            let inert =
                retry.attempts.get() > 1 && !retry.unsafe_methods && view.is_never_safe_to_repeat();
            inert.then(|| {
                Hit::new(
                    view.path().join("retry"),
                    format!(
                        "{} is not safe to repeat, so {} attempts are hardly ever made",
                        view.dependency.methods.join(", "),
                        retry.attempts
                    ),
                    "set idempotency_key if each call carries one, opt in with unsafe_methods, or \
                     remove it",
                )
            })
        })
        .collect()
}

fn unbudgeted_hedge(policy: &Policy) -> Vec<Hit> {
    policy
        .hedges
        .iter()
        .filter(|(_, hedge)| hedge.budget.is_none())
        .map(|(name, _)| {
            Hit::new(
                FieldPath::new(["hedges", name, "budget"]),
                "when all calls are slow, all are sent twice: 2 × the load",
                "set a budget, such as 0.02",
            )
        })
        .collect()
}

fn unbudgeted_retry(policy: &Policy) -> Vec<Hit> {
    policy
        .retries
        .iter()
        .filter(|(_, retry)| retry.attempts.get() > 1 && retry.budget.is_none())
        .map(|(name, retry)| {
            Hit::new(
                FieldPath::new(["retries", name, "budget"]),
                format!(
                    "when all calls fail, the target gets {} × the load",
                    retry.attempts
                ),
                "set a budget, such as 0.1",
            )
        })
        .collect()
}

fn multiplied(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter_map(|view| {
            let (ours, theirs) = (view.attempts(), view.dependency.attempts_inside.get());
            let product = u32::from(ours) * u32::from(theirs);
            (ours > 1 && theirs > 1).then(|| {
                let share = view.retry.and_then(|retry| retry.budget);
                let load = share.map_or(f64::from(ours), |share| 1.0 + share.get());
                Hit::new(
                    view.path().join("retry"),
                    format!(
                        "{ours} attempts × {theirs} inside = {product} of one call; when all fail, \
                         {} × {theirs} = {} × the load",
                        number(load),
                        number(load * f64::from(theirs))
                    ),
                    "turn the retries inside off, or remove ours",
                )
            })
        })
        .collect()
}

fn unsafe_hedge(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter(|view| view.hedge.is_some() && view.is_never_safe_to_repeat())
        .map(|view| {
            Hit::new(
                view.path().join("hedge"),
                format!(
                    "{} is not safe to repeat",
                    view.dependency.methods.join(", ")
                ),
                "set idempotency_key if each call carries one, or remove it",
            )
        })
        .collect()
}
