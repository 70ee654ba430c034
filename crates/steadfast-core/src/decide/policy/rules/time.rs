//! Lengths of time that contradict each other.

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::reach::{RouteView, readable};
use crate::decide::policy::users::{Policy, RouteKind};
use crate::decide::policy::values::Setting;

pub(super) const P002: Rule = Rule {
    id: "P002",
    title: "attempts × inner timeout is more than the outer one",
    severity: Severity::Error,
    why: "Each attempt of a call may take its whole timeout, and there are waits between them. \
          If all that is more than the route allows, the last attempts are promised and never \
          made: the caller is gone, and the retries were paid for in time that nobody had.",
    check: attempts_over_outer,
};

pub(super) const P013: Rule = Rule {
    id: "P013",
    title: "floor above ceiling",
    severity: Severity::Error,
    why: "A learned value moves between its floor and its ceiling. With the floor above the \
          ceiling there is no value that keeps both.",
    check: floor_above_ceiling,
};

pub(super) const P014: Rule = Rule {
    id: "P014",
    title: "deadline shorter than the timeout can be",
    severity: Severity::Error,
    why: "A timeout never gets shorter than its floor, and a fixed one is what it is. If the \
          deadline comes earlier than that, it always comes first, and the timeout, with all \
          that is learned for it, never acts.",
    check: deadline_below_floor,
};

pub(super) const P015: Rule = Rule {
    id: "P015",
    title: "queue wait longer than the timeout",
    severity: Severity::Error,
    why: "Waiting for a permit comes before the work, and the caller pays for both. A request \
          that waits longer than it is allowed to run spends most of its caller's patience in \
          a queue, and with a deadline it starts when nobody waits for it any more.",
    check: queue_wait_over_timeout,
};

pub(super) const P017: Rule = Rule {
    id: "P017",
    title: "stream with a response timeout",
    severity: Severity::Error,
    why: "A stream is meant to go on. A timeout made for responses either cuts off healthy \
          streams or, as it runs to the head of the response only, does not protect at all. \
          What a stream needs is an idle timeout and a budget of connections, which routes of \
          this kind have.",
    check: stream_with_timeout,
};

pub(super) const P022: Rule = Rule {
    id: "P022",
    title: "hedge comes after the timeout",
    severity: Severity::Error,
    why: "A hedge is sent when the first attempt takes longer than the delay. If the first \
          attempt is ended before that, no hedge is ever sent.",
    check: hedge_after_timeout,
};

pub(super) const P024: Rule = Rule {
    id: "P024",
    title: "no timeout",
    severity: Severity::Error,
    why: "Without a timeout a stall is waited out, by every request, with everything it holds. \
          There is no default, because any number we could choose is wrong for somebody; write \
          one down, or let it be learned.",
    check: without_timeout,
};

fn attempts_over_outer(policy: &Policy) -> Vec<Hit> {
    let check = |view: RouteView<'_>| {
        let Some(outer) = view.limit() else {
            return Vec::new();
        };
        let field = if view.timeout.is_some() {
            "timeout"
        } else {
            "deadline"
        };
        view.calls()
            .filter_map(|call| {
                let (each, all) = (call.longest_attempt()?, call.longest_call()?);
                let attempts = call.attempts();
                (attempts > 1 && all > outer).then(|| {
                    let inner = outer.saturating_sub(call.waits()) / u32::from(attempts);
                    Hit::new(
                        view.path().join(field),
                        format!(
                            "{attempts} attempts × {} + waits of {} = {} for {:?}, more than {}",
                            readable(each),
                            readable(call.waits()),
                            readable(all),
                            call.name,
                            readable(outer)
                        ),
                        if inner.is_zero() {
                            format!("allow {}, or make fewer", readable(all))
                        } else {
                            format!(
                                "allow {}, or give each attempt {} or less, or make fewer",
                                readable(all),
                                readable(inner)
                            )
                        },
                    )
                })
            })
            .collect()
    };
    policy.route_views().flat_map(check).collect()
}

fn floor_above_ceiling(policy: &Policy) -> Vec<Hit> {
    let hit = |section: &str, name: &str, field: &str, floor: String, ceiling: String| {
        Hit::new(
            FieldPath::new([section, name]).join(format!("{field}_floor")),
            format!("floor {floor} is above ceiling {ceiling}"),
            "swap them",
        )
    };
    let permits =
        policy
            .admissions
            .iter()
            .filter_map(|(name, admission)| match admission.permits {
                Setting::Learn { floor, ceiling } if floor > ceiling => Some((
                    "admissions",
                    name,
                    "permits",
                    floor.to_string(),
                    ceiling.to_string(),
                )),
                _ => None,
            });
    let timeouts = policy
        .timeouts
        .iter()
        .map(|(name, timeout)| ("timeouts", name, "timeout", timeout.timeout));
    let hedges = policy
        .hedges
        .iter()
        .map(|(name, hedge)| ("hedges", name, "delay", hedge.delay));
    let times =
        timeouts
            .chain(hedges)
            .filter_map(|(section, name, field, setting)| match setting {
                Setting::Learn { floor, ceiling } if floor > ceiling => {
                    Some((section, name, field, floor.to_string(), ceiling.to_string()))
                }
                _ => None,
            });
    permits
        .chain(times)
        .map(|(section, name, field, floor, ceiling)| hit(section, name, field, floor, ceiling))
        .collect()
}

fn deadline_below_floor(policy: &Policy) -> Vec<Hit> {
    let check = |view: RouteView<'_>| {
        let (timeout, deadline) = (&view.timeout?.timeout, view.route.deadline?);
        let least = timeout.least();
        (deadline < least).then(|| {
            let what = if timeout.is_learned() {
                "floor"
            } else {
                "timeout"
            };
            Hit::new(
                view.path().join("deadline"),
                format!("deadline {deadline} comes before the {what} of {least}"),
                format!("set the deadline to {least} or more, or lower the {what}"),
            )
        })
    };
    policy.route_views().filter_map(check).collect()
}

fn queue_wait_over_timeout(policy: &Policy) -> Vec<Hit> {
    let check = |view: RouteView<'_>| {
        let (admission, most) = (view.admission?, view.limit()?);
        let wait = admission.queue_wait.get();
        (wait > most).then(|| {
            let name = view.route.admission.as_deref().unwrap_or_default();
            Hit::new(
                view.path().join("admission"),
                format!(
                    "admission {name:?} lets it wait {}, longer than the {} it may take",
                    readable(wait),
                    readable(most)
                ),
                format!(
                    "lower admissions.{name}.queue_wait below {}",
                    readable(most)
                ),
            )
        })
    };
    policy.route_views().filter_map(check).collect()
}

fn stream_with_timeout(policy: &Policy) -> Vec<Hit> {
    let check = |view: RouteView<'_>| {
        let name = view.route.timeout.as_ref()?;
        (view.route.kind == RouteKind::Stream).then(|| {
            Hit::new(
                view.path().join("timeout"),
                format!("timeout {name:?} is for responses, and this is a stream"),
                "remove it",
            )
        })
    };
    policy.route_views().filter_map(check).collect()
}

fn hedge_after_timeout(policy: &Policy) -> Vec<Hit> {
    policy
        .dependency_views()
        .filter_map(|view| {
            let delay = view.hedge?.delay.least().get();
            let most = view.longest_attempt()?;
            (delay >= most).then(|| {
                Hit::new(
                    view.path().join("hedge"),
                    format!(
                        "it is sent after {} at the earliest, and an attempt ends after {}",
                        readable(delay),
                        readable(most)
                    ),
                    format!("lower the delay well below {}", readable(most)),
                )
            })
        })
        .collect()
}

fn without_timeout(policy: &Policy) -> Vec<Hit> {
    let routes = policy.route_views().filter_map(|view| {
        let route = view.route;
        let missing = route.kind == RouteKind::Response && route.timeout.is_none();
        missing.then(|| view.path())
    });
    let dependencies = policy.dependency_views().filter_map(|view| {
        let missing = view.dependency.timeout.is_none();
        missing.then(|| view.path())
    });
    let hit = |path: FieldPath| {
        Hit::new(
            path.join("timeout"),
            "nothing ends what stalls",
            "name one of `timeouts`; one that learns needs only a floor and a ceiling",
        )
    };
    routes.chain(dependencies).map(hit).collect()
}
