//! Guarantees that contradict each other.

use crate::context::Tier;
use crate::decide::policy::fields::tier_key;
use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::number;
use crate::decide::policy::users::Policy;
use crate::decide::policy::values::{Share, percent};

pub(super) const P004: Rule = Rule {
    id: "P004",
    title: "guaranteed shares are more than all permits",
    severity: Severity::Error,
    why: "Guarantees are kept when everybody wants more than there is, at the same time. More \
          than 100 % cannot be kept, and who loses would be decided by chance.",
    check: over_all,
};

pub(super) const P016: Rule = Rule {
    id: "P016",
    title: "a lower tier is guaranteed more than core",
    severity: Severity::Error,
    why: "Core is what the service exists for. With a smaller guarantee than a tier below it, \
          core is the first to be rejected in exactly the situation that guarantees are for. \
          Most often the numbers were meant the other way round.",
    check: below_core,
};

pub(super) const P018: Rule = Rule {
    id: "P018",
    title: "guaranteed share is less than one permit",
    severity: Severity::Error,
    why: "A guarantee is kept in whole permits. A share that is less than one of them is none.",
    check: below_one,
};

fn over_all(policy: &Policy) -> Vec<Hit> {
    policy
        .admissions
        .iter()
        .filter_map(|(name, admission)| {
            let shares: Vec<f64> = admission
                .guaranteed
                .values()
                .map(|share| share.get())
                .collect();
            let sum: f64 = shares.iter().sum();
            let (last, _) = admission.guaranteed.last_key_value()?;
            // Sums of decimal fractions are off by a few units in the last place.
            (sum > 1.0 + 1e-9).then(|| {
                let terms: Vec<String> = shares.iter().map(|share| percent(*share)).collect();
                Hit::new(
                    guarantee(name, *last),
                    format!("{} = {}", terms.join(" + "), percent(sum)),
                    "lower them until the sum is 100 % or less; what is left is for all",
                )
            })
        })
        .collect()
}

fn below_core(policy: &Policy) -> Vec<Hit> {
    let check = |(name, tier, share, core): (&String, Tier, Share, f64)| {
        (share.get() > core).then(|| {
            Hit::new(
                guarantee(name, tier),
                format!("{share} is more than the {} of core", percent(core)),
                "guarantee core at least as much",
            )
        })
    };
    policy
        .admissions
        .iter()
        .flat_map(|(name, admission)| {
            let core = admission
                .guaranteed
                .get(&Tier::CORE)
                .map_or(0.0, |share| share.get());
            admission
                .guaranteed
                .iter()
                .map(move |(tier, share)| (name, *tier, *share, core))
        })
        .filter_map(check)
        .collect()
}

fn below_one(policy: &Policy) -> Vec<Hit> {
    let check = |(name, tier, share, permits): (&String, Tier, Share, u32)| {
        let kept = share.get() * f64::from(permits);
        (kept < 1.0).then(|| {
            Hit::new(
                guarantee(name, tier),
                format!("{share} of {permits} permits = {}", number(kept)),
                format!(
                    "guarantee {} or more, or remove it",
                    percent((1_000.0 / f64::from(permits)).ceil() / 1_000.0)
                ),
            )
        })
    };
    policy
        .admissions
        .iter()
        .flat_map(|(name, admission)| {
            let least = admission.permits.least().get();
            admission
                .guaranteed
                .iter()
                .map(move |(tier, share)| (name, *tier, *share, least))
        })
        .filter_map(check)
        .collect()
}

fn guarantee(admission: &str, tier: Tier) -> FieldPath {
    let field = format!("guaranteed_{}", tier_key(tier.number()));
    FieldPath::new(["admissions", admission]).join(field)
}
