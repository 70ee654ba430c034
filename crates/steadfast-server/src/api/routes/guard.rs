//! What the guard governs: routes, and the breakers of what is called.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use steadfast::clock;
use steadfast::decide::breaker::{BreakerState, Override};
use steadfast::decide::policy::{Policy, RouteKind};
use steadfast::report::{self, Snapshot, Value};
use steadfast::tower::Guard;
use steadfast::tower::breaker::{Breakers, EndpointStatus};
use steadfast::tower::guard::{DependencyStatus, RouteStatus};
use steadfast::tower::policy::Signed;

use super::*;
use crate::traffic::{Durations, Recent, Totals, Traffic};

pub(super) async fn list(State(api): State<Api>, Asked(asked): Asked) -> Answer<types::Guarded> {
    known(&asked, &[])?;
    let guard = guard(&api)?;
    let (now, snapshot) = (clock::now(), report::snapshot());
    let totals = Totals::of(&snapshot);
    let in_force = guard.in_force();
    let routes = guard.routes();
    let routes = {
        let recent = api.0.traffic.recent();
        let shown = |status: &RouteStatus| {
            let of = Counted {
                recent: &recent,
                now: (now, &totals),
                snapshot: &snapshot,
            };
            of.route(status, in_force.policy(), &routes)
        };
        routes.iter().map(shown).collect()
    };
    Ok(Json(types::Guarded {
        revision: in_force.revision().n(),
        seconds: (now - api.0.traffic.begun).as_secs(),
        armed: guard.armed().to_string(),
        routes,
        dependencies: guard.dependencies().iter().map(dependency).collect(),
    }))
}

/// What was counted, and when.
struct Counted<'a> {
    recent: &'a Recent,
    now: (clock::Instant, &'a Totals),
    snapshot: &'a Snapshot,
}

impl Counted<'_> {
    fn route(&self, status: &RouteStatus, policy: &Policy, all: &[RouteStatus]) -> types::Route {
        let names = all.iter().map(|route| route.name.as_str());
        let (lately, over) = self.recent.of_route(&status.name, names.clone(), self.now);
        let total = self.now.1.of_route(&status.name, names);
        let policy = policy.routes.get(&status.name);
        let admission = policy.and_then(|route| route.admission.clone());
        let gauge = |name| gauge(self.snapshot, name, admission.as_deref()?);
        types::Route {
            name: status.name.clone(),
            tier: tier(status.tier.number()),
            kind: match policy.map(|route| route.kind) {
                Some(RouteKind::Stream) => "stream".to_owned(),
                _ => "response".to_owned(),
            },
            timeout: policy.and_then(|route| route.timeout.clone()),
            timeout_seconds: status.timeout.map(|timeout| timeout.as_secs_f64()),
            limit: gauge("steadfast_admission_limit"),
            in_flight: gauge("steadfast_admission_in_flight"),
            admission,
            lately: shown_lately(&lately, over),
            total: shown_total(total),
        }
    }
}

fn shown_lately(traffic: &Traffic, over: Duration) -> types::Lately {
    let seconds = over.as_secs_f64();
    types::Lately {
        seconds,
        per_second: match over.is_zero() {
            true => 0.0,
            false => traffic.requests as f64 / seconds,
        },
        p99_seconds: traffic.durations.quantile(0.99),
        failed: traffic.failed,
        rejected: traffic.rejected.clone(),
    }
}

fn shown_total(traffic: Traffic) -> types::Traffic {
    let Durations { buckets, seconds } = traffic.durations;
    let buckets = buckets.into_iter().map(|(up_to, count)| types::Bucket {
        up_to_seconds: up_to.is_finite().then_some(up_to),
        count,
    });
    types::Traffic {
        requests: traffic.requests,
        failed: traffic.failed,
        rejected: traffic.rejected,
        durations: buckets.collect(),
        duration_seconds: seconds,
    }
}

fn tier(number: u8) -> String {
    match number {
        0 => "core".to_owned(),
        number => format!("tier{number}"),
    }
}

fn gauge(snapshot: &Snapshot, name: &str, policy: &str) -> Option<f64> {
    let is_of = |labels: &[(&str, steadfast::context::Name)]| {
        labels
            .iter()
            .any(|(label, value)| *label == "policy" && value.as_str() == policy)
    };
    let found = snapshot
        .metrics()
        .find(|metric| metric.name == name && is_of(&metric.labels));
    match found?.value {
        Value::Gauge(value) => Some(value),
        _ => None,
    }
}

fn dependency(status: &DependencyStatus) -> types::Dependency {
    types::Dependency {
        name: status.name.clone(),
        is_used: status.is_used,
        succeeded: status.succeeded,
        failed: status.failed,
        rejected: status.rejected,
        dropped: status.dropped,
        timeout_seconds: status.timeout.map(|timeout| timeout.as_secs_f64()),
        endpoints: status.endpoints.iter().map(endpoint).collect(),
        replaced: Vec::new(),
    }
}

/// What an operator makes a breaker do, if one does.
fn forced(status: &EndpointStatus) -> Option<types::Forced> {
    let (over, left) = status.breaker.forced?;
    Some(types::Forced {
        state: forced_word(over).to_owned(),
        left_seconds: left.as_secs(),
        author: signed(status, Signed::author),
        reason: signed(status, Signed::reason),
    })
}

/// What operators make breakers do, of all endpoints or of one.
fn all_forced(breakers: &Breakers, endpoint: Option<&str>) -> Vec<types::Forced> {
    let all = breakers.endpoints();
    let of = all
        .iter()
        .filter(|status| endpoint.is_none_or(|endpoint| status.endpoint == endpoint));
    let mut all: Vec<_> = of.filter_map(forced).collect();
    // One hand on all of them is told once.
    all.dedup();
    all
}

fn endpoint(status: &EndpointStatus) -> types::Endpoint {
    let breaker = &status.breaker;
    types::Endpoint {
        name: status.endpoint.clone(),
        state: match breaker.state {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen { .. } => "half-open",
            BreakerState::Ramp { .. } => "ramp",
        }
        .to_owned(),
        calls: u64::from(breaker.calls.calls),
        failed: u64::from(breaker.calls.failed),
        forced: forced(status),
        line: status.to_string(),
    }
}

fn signed(status: &EndpointStatus, part: impl Fn(&Signed) -> &str) -> String {
    let by = status.forced_by.as_ref();
    by.map_or_else(String::new, |by| part(by).to_owned())
}

fn forced_word(over: Override) -> &'static str {
    match over {
        Override::Open => "open",
        Override::Closed => "closed",
        Override::Disabled => "disabled",
    }
}

pub(super) async fn force(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Dependency> {
    let actor = actor(&request)?;
    let (force, detail): (types::Force, _) = body(request).await?;
    check_reason(&force.reason)?;
    let over = match force.state.as_str() {
        "open" => Override::Open,
        "closed" => Override::Closed,
        "disabled" => Override::Disabled,
        other => {
            return Err(
                Problem::refused(format!("no breaker can be forced {other:?}"))
                    .with_fix("say open, closed or disabled"),
            );
        }
    };
    let lasts = length(&force.lasts)?;
    let guard = guard(&api)?;
    let breakers = breakers(guard, &name)?;
    let mut replaced = Vec::new();
    if !force.dry_run {
        let entry = entry(&actor, &name, &force.reason, detail);
        let by = by(&actor, &force.reason)?;
        let done = async move {
            let before = all_forced(&breakers, force.endpoint.as_deref());
            let forced = match &force.endpoint {
                None => breakers.force(over, lasts, by),
                Some(endpoint) => breakers.force_endpoint(endpoint, over, lasts, by),
            };
            let forced = forced.map_err(|refused| Problem::refused(refused.to_string()));
            forced.map(|_| before)
        };
        replaced = api.change(entry, done).await?;
    }
    found(guard, &name, replaced)
}

pub(super) async fn release(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<types::Dependency> {
    let actor = actor(&request)?;
    let (release, detail): (types::Release, _) = body(request).await?;
    let guard = guard(&api)?;
    let breakers = breakers(guard, &name)?;
    let entry = entry(&actor, &name, &release.reason, detail);
    let by = by(&actor, &release.reason)?;
    let done = async move {
        let before = all_forced(&breakers, release.endpoint.as_deref());
        let held = match &release.endpoint {
            None => Ok(breakers.release(&by)),
            Some(endpoint) => breakers.release_endpoint(endpoint, &by),
        };
        match held.map_err(|refused| Problem::refused(refused.to_string()))? {
            true => Ok(before),
            false => Err(Problem::conflict("no operator holds it")),
        }
    };
    let replaced = api.change(entry, done).await?;
    found(guard, &name, replaced)
}

fn entry(actor: &Actor, name: &str, reason: &str, detail: String) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action: "breakers.force",
        subject: format!("breaker {name}"),
        reason: reason.to_owned(),
        detail,
    }
}

fn breakers(guard: &Guard, name: &str) -> Result<Breakers, Problem> {
    let known = guard.in_force().explain_dependency(name);
    known.map_err(|unknown| Problem::not_found(unknown.to_string()))?;
    guard
        .breakers(name)
        .map_err(|unknown| Problem::not_found(unknown.to_string()))
}

fn found(guard: &Guard, name: &str, replaced: Vec<types::Forced>) -> Answer<types::Dependency> {
    let all = guard.dependencies();
    let found = all.iter().find(|status| status.name == name);
    let found =
        found.ok_or_else(|| Problem::not_found(format!("{name} is not called any more")))?;
    Ok(Json(types::Dependency {
        replaced,
        ..dependency(found)
    }))
}

/// The guard of this process, if one was given to the API.
pub(super) fn guard(api: &Api) -> Result<&Guard, Problem> {
    api.0.guard.as_ref().ok_or_else(no_guard)
}

pub(super) fn no_guard() -> Problem {
    Problem::not_found("no guard is known to this API")
        .with_fix("give it the guard of the service when the API is made")
}

/// Whoever asks, as one who signs.
pub(super) fn by(actor: &Actor, reason: &str) -> Result<Signed, Problem> {
    Signed::new(actor.name.as_str(), reason)
        .map_err(|invalid| Problem::refused(invalid.to_string()))
}
