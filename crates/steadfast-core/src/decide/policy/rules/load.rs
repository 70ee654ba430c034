//! Little's law: what comes a second times how long it stays is how much is there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::{RouteView, held, number, readable};
use crate::decide::policy::users::Policy;
use crate::decide::policy::values::{Rate, Setting};

pub(super) const P001: Rule = Rule {
    id: "P001",
    title: "timeout × rate is more than the permits",
    severity: Severity::Error,
    why: "When what a route waits for stalls, every request of that route keeps its permit \
          until its timeout. After one timeout, rate × timeout permits are held. If that is \
          more than there are, this one route holds them all, and every other route that \
          shares them is rejected, however healthy it is.",
    check: permits_held,
};

pub(super) const P019: Rule = Rule {
    id: "P019",
    title: "floor of a learned timeout × rate is more than its share of the permits",
    severity: Severity::Error,
    why: "A learned timeout is capped so that a stall holds no more than `permit_share` of the \
          permits. The floor is stronger than that cap, because below it healthy requests \
          would be cut off. If the floor times the rate is more than the share, the cap never \
          acts, and the share is a promise that is not kept.",
    check: floor_over_share,
};

pub(super) const P020: Rule = Rule {
    id: "P020",
    title: "routes that call one dependency together hold more than the permits",
    severity: Severity::Error,
    why: "Each route for itself is within the permits, but when the dependency stalls, all \
          routes that call it stall together, and what they hold adds up.",
    check: permits_held_together,
};

fn permits_held(policy: &Policy) -> Vec<Hit> {
    let routes = policy.route_views().filter_map(|view| {
        let hold = view.longest_hold()?;
        // The guard ends a request earlier than its calls give up, if it has a limit for that.
        let by_calls = view.limit() != Some(hold);
        let field = match (by_calls, view.timeout) {
            (true, _) => "calls",
            (false, Some(_)) => "timeout",
            (false, None) => "deadline",
        };
        let path = view.path().join(field);
        over_permits(path, view.route.rate?, hold, view.permits()?)
    });
    let dependencies = policy.dependency_views().filter_map(|view| {
        let path = view.path().join("timeout");
        let hold = view.longest_attempt()?;
        over_permits(path, view.dependency.rate?, hold, view.permits()?)
    });
    routes.chain(dependencies).collect()
}

fn over_permits(path: FieldPath, rate: Rate, hold: Duration, permits: u32) -> Option<Hit> {
    let held = held(rate, hold);
    (held > f64::from(permits)).then(|| {
        let most = Duration::from_secs_f64(f64::from(permits) / rate.get());
        Hit::new(
            path,
            format!(
                "{rate} × {} = {} permits are held when it stalls, of {permits}",
                readable(hold),
                number(held)
            ),
            format!(
                "shorten it to {} or less, learn it, or have an admission of its own",
                readable(most)
            ),
        )
    })
}

fn floor_over_share(policy: &Policy) -> Vec<Hit> {
    let check = |view: RouteView<'_>| {
        let timeout = view.timeout?;
        let Setting::Learn { floor, .. } = timeout.timeout else {
            return None;
        };
        let (rate, permits) = (view.route.rate?, view.permits()?);
        let share = timeout.permit_share;
        let held = held(rate, floor.get());
        let most = share.get() * f64::from(permits);
        (held > most).then(|| {
            Hit::new(
                view.path().join("timeout"),
                format!(
                    "{rate} × floor {floor} = {} permits, more than the share of {share} of \
                     {permits} = {}",
                    number(held),
                    number(most)
                ),
                format!(
                    "lower the floor to {} or less{}",
                    readable(Duration::from_secs_f64(most / rate.get())),
                    larger_share(held / f64::from(permits))
                ),
            )
        })
    };
    policy.route_views().filter_map(check).collect()
}

/// Offers the larger share that is needed, if it is a share at all.
fn larger_share(needed: f64) -> String {
    if needed <= 1.0 {
        let share = (needed * 100.0).ceil() / 100.0;
        format!(", or raise permit_share to {share} or more")
    } else {
        String::new()
    }
}

/// What is held of one admission while a dependency stalls.
struct Stall<'a> {
    dependency: &'a str,
    admission: &'a str,
    permits: u32,
    holds: Vec<(Rate, Duration)>,
}

fn permits_held_together(policy: &Policy) -> Vec<Hit> {
    policy
        .dependencies
        .keys()
        .flat_map(|dependency| stalls(policy, dependency))
        .filter_map(|stall| stall.over_permits())
        .collect()
}

/// By admission, because what is held there is missed there.
fn stalls<'a>(policy: &'a Policy, dependency: &'a str) -> Vec<Stall<'a>> {
    let mut stalls: BTreeMap<&str, Stall<'_>> = BTreeMap::new();
    for view in policy.route_views() {
        let call = view.calls().find(|call| call.name == dependency);
        let (Some(hold), Some(rate), Some(permits), Some(admission)) = (
            call.and_then(|call| view.hold(&call)),
            view.route.rate,
            view.permits(),
            &view.route.admission,
        ) else {
            continue;
        };
        let stall = stalls.entry(admission).or_insert_with(|| Stall {
            dependency,
            admission,
            permits,
            holds: Vec::new(),
        });
        stall.holds.push((rate, hold));
    }
    stalls.into_values().collect()
}

impl Stall<'_> {
    /// Leaves out what a single route does alone already.
    fn over_permits(&self) -> Option<Hit> {
        let permits = f64::from(self.permits);
        let held = self.holds.iter().map(|(rate, hold)| held(*rate, *hold));
        let sum: f64 = held.clone().sum();
        let alone = held.clone().any(|held| held > permits);
        (sum > permits && !alone).then(|| {
            let terms = self.holds.iter();
            let terms = terms.map(|(rate, hold)| format!("{rate} × {}", readable(*hold)));
            let rates: f64 = self.holds.iter().map(|(rate, _)| rate.get()).sum();
            Hit::new(
                FieldPath::new(["dependencies", self.dependency, "timeout"]),
                format!(
                    "{} = {} permits of admission {:?} are held when it stalls, of {}",
                    terms.collect::<Vec<_>>().join(" + "),
                    number(sum),
                    self.admission,
                    self.permits
                ),
                format!(
                    "shorten its timeout so that calls end within {}, or learn it",
                    readable(Duration::from_secs_f64(permits / rates))
                ),
            )
        })
    }
}
