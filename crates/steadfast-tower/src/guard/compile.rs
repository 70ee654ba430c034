//! From a policy to what governs its routes.

use std::collections::hash_map::RandomState;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use steadfast_core::context::{Name, Tier};
use steadfast_core::decide::admission::AdmissionConfig;
use steadfast_core::decide::limit::LimitConfig;
use steadfast_core::decide::policy::{
    self, AdmissionPolicy, Clients as Who, DrainPolicy, Finding, Policy, RatePolicy, RouteKind,
    Setting, Severity, Share, StreamPolicy, TimeoutPolicy,
};
use steadfast_core::decide::rate::{InvalidQuota, KeyedRate, Quota};
use steadfast_core::decide::timeout::{InvalidTimeout, TimeoutConfig};
use steadfast_core::report::{self, Source};

use super::armed::Passed;
use super::clients::{Clients, PeerOf};
use super::route::{Route, Routes, UNMATCHED, template_of};
use super::state::{Kept, Parts, State, TimeoutOf};
use super::{ClientOf, GuardError, dependency};
use crate::admission::{Permits, UserOf};
use crate::drain::DrainLimits;
use crate::rate_limit::Buckets;
use crate::streams::Budget;
use crate::timeout::BodyTimes;
use crate::{Trust, admission, timeout};

/// Looks for what cannot work; gives what may be doubted. What passes can be built.
pub(super) fn check(policy: &Policy) -> Result<Vec<Finding>, GuardError> {
    let findings = policy::lint(policy);
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    let mut others = Vec::new();
    others.extend(misplaced_queries(policy));
    for (key, route) in &policy.routes {
        if !template_of(key).starts_with('/') && key != UNMATCHED {
            others.push(format!(
                "routes.{key:?} is no template; write `/orders/{{id}}` or `GET /orders/{{id}}`"
            ));
        }
        for method in &route.methods {
            if method.parse::<Method>().is_err() {
                others.push(format!("routes.{key:?}: {method:?} is no method"));
            }
        }
    }
    others.extend(out_of_range(policy));
    // What names lead nowhere is told by the linter.
    if errors.is_empty() {
        others.extend(dependency::wrong(policy));
    }
    if errors.is_empty() && others.is_empty() {
        Ok(warnings)
    } else {
        Err(GuardError::new(errors, others))
    }
}

/// Names numbers that the parts refuse.
fn out_of_range(policy: &Policy) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, of) in &policy.admissions {
        let (permits, config) = admission_of(of);
        if let Err(error) = admission::Shared::new(Name::OTHER, permits, config) {
            wrong.push(format!("admissions.{name}: {error}"));
        }
        for (tier, share) in &of.guaranteed {
            if share.get() > 0.0 && whole_percent(*share) == 0 {
                let tier = tier.number();
                wrong.push(format!(
                    "admissions.{name}: what is guaranteed to tier {tier} is less than 1 %, and so \
                     nothing; write 1 % or more, or remove it"
                ));
            }
        }
    }
    for (name, of) in &policy.rates {
        if let Err(error) = quota_of(of) {
            wrong.push(format!("rates.{name}: {error}"));
        }
    }
    for (name, of) in &policy.timeouts {
        let of = timeout_of(of, None);
        if let Setting::Learn { .. } = of.timeout
            && let Err(error) = learned(&of)
        {
            wrong.push(format!("timeouts.{name}: {error}"));
        }
    }
    wrong
}

/// Names queries that stand for something else than what they are asked for.
fn misplaced_queries(policy: &Policy) -> impl Iterator<Item = String> {
    let routes = policy.routes.iter().map(|(key, of)| {
        let path = format!("routes.{key:?}");
        (path, &of.timeout, "$dependency", "$route")
    });
    let dependencies = policy.dependencies.iter().map(|(name, of)| {
        let path = format!("dependencies.{name}");
        (path, &of.timeout, "$route", "$dependency")
    });
    let all = routes.chain(dependencies);
    all.filter_map(|(path, timeout, wrong, right)| {
        let name = timeout.as_ref()?;
        let query = policy.timeouts.get(name)?.start_query.as_ref()?;
        query.contains(wrong).then(|| {
            format!(
                "{path}: the timeout_start_query of timeouts.{name} has {wrong}, which this has not; \
                 give it a timeout of its own, with {right}"
            )
        })
    })
}

/// Builds what a policy says, which was [checked](check), from what is there already: one admission,
/// one rate and one budget of streams for all routes that name it, a timeout for each route.
pub(super) fn build(
    policy: &Policy,
    warnings: Vec<Finding>,
    before: &Parts,
    by: Option<&ClientOf>,
    secret: &RandomState,
    detected: &Arc<Budget>,
) -> Result<State, GuardError> {
    let mut parts = Parts::default();
    for (name, of) in &policy.admissions {
        let kept = admission_part(name, of, before.admissions.get(name))
            .map_err(|error| GuardError::other(format_args!("admissions.{name}: {error}")))?;
        parts.admissions.insert(name.clone(), kept);
    }
    for (name, of) in &policy.rates {
        let kept = rate_part(name, of, before)
            .map_err(|error| GuardError::other(format_args!("rates.{name}: {error}")))?;
        kept.state.set_shadow(of.shadow);
        parts.rates.insert(name.clone(), kept);
    }
    for (name, of) in &policy.streams {
        let budget = stream_part(name, of, before);
        budget.set_limit(of.connections.get());
        budget.set_shadow(of.shadow);
        parts.streams.insert(name.clone(), budget);
    }
    let clients = Arc::new(Clients::new(by.cloned(), &policy.trust, secret.clone()));
    let user_of = user_of(clients.clone());
    let mut routes = Vec::new();
    for (key, route) in &policy.routes {
        let is_stream = route.kind == RouteKind::Stream;
        let admission = route.admission.as_deref();
        let permits = admission.map(|name| policy.admissions[name].permits.most().get());
        let timeout = route.timeout.as_deref().filter(|_| !is_stream);
        if let Some(name) = timeout {
            let of = &policy.timeouts[name];
            let kept = before.timeouts.get(key);
            let kept = timeout_part(key, of, permits, kept).map_err(|error| {
                GuardError::other(format_args!("the timeout of routes.{key:?}: {error}"))
            })?;
            parts.timeouts.insert(key.clone(), kept);
        }
        let stream = route.stream.as_deref().filter(|_| is_stream);
        let quota = route.quota.as_deref();
        let methods = route.methods.iter().map(|method| method.parse());
        routes.push(Route {
            name: Name::from(template_of(key).to_owned()),
            key: key.clone(),
            methods: methods
                .collect::<Result<_, _>>()
                .map_err(GuardError::other)?,
            tier: route.tier,
            deadline: route.deadline.map(|deadline| deadline.get()),
            rate: quota.map(|name| parts.rates[name].state.clone()),
            is_per_client: quota.is_some_and(|name| policy.rates[name].per_client),
            admission: admission.map(|name| parts.admissions[name].state.clone()),
            clients: clients.clone(),
            user_of: admission.map(|_| user_of.clone()),
            timeout: timeout.map(|_| parts.timeouts[key].state.clone()),
            body: match (stream, timeout) {
                (Some(name), _) => stream_times(name, &policy.streams[name]),
                (None, Some(name)) => body_times(key, &policy.timeouts[name]),
                (None, None) => BodyTimes::default(),
            },
            streams: match (is_stream, stream) {
                (true, Some(name)) => Some(parts.streams[name].clone()),
                (true, None) => None,
                (false, _) => Some(detected.clone()),
            },
            is_stream,
        });
    }
    Ok(State {
        trust: match policy.trust.clients {
            Who::Edge => Trust::Edge,
            Who::Inside => Trust::Inside,
        },
        routes: Routes::new(routes),
        drain: drain_of(&policy.drain),
        warnings,
        shadowed: shadowed(policy),
        parts,
    })
}

/// Names the policies that only look on.
fn shadowed(policy: &Policy) -> Vec<String> {
    fn of<'a, P>(
        section: &'static str,
        policies: impl IntoIterator<Item = (&'a String, &'a P)>,
        is_shadow: impl Fn(&P) -> bool,
    ) -> Vec<String>
    where
        P: 'a,
    {
        let policies = policies.into_iter();
        let shadowed = policies.filter(|(_, of)| is_shadow(of));
        shadowed
            .map(|(name, _)| format!("{section}.{name}"))
            .collect()
    }
    let mut all = of("admissions", &policy.admissions, |of| of.shadow);
    all.extend(of("breakers", &policy.breakers, |of| of.shadow));
    all.extend(of("rates", &policy.rates, |of| of.shadow));
    all.extend(of("streams", &policy.streams, |of| of.shadow));
    all.extend(of("timeouts", &policy.timeouts, |of| of.shadow));
    all
}

/// Without a place in the report it still governs.
fn register<S: Source + 'static>(name: &'static str, state: S) -> Arc<S> {
    let state = Arc::new(state);
    let _ = report::register(name, &state);
    state
}

// === Admissions ===

pub(super) fn admission_part(
    name: &str,
    of: &AdmissionPolicy,
    kept: Option<&Kept<AdmissionPolicy, admission::Shared>>,
) -> Result<Kept<AdmissionPolicy, admission::Shared>, admission::InvalidAdmissionLayer> {
    let (permits, config) = admission_of(of);
    let numbers = of.clone();
    let state = match kept {
        Some(kept) => {
            if !is_same(&kept.numbers, of) {
                kept.state.reconfigure(permits, config);
            }
            kept.state.clone()
        }
        None => {
            let name = Name::from(name.to_owned());
            register("admission", admission::Shared::new(name, permits, config)?)
        }
    };
    state.set_shadow(of.shadow);
    Ok(Kept { numbers, state })
}

/// But for the shadow, which is no number.
fn is_same(a: &AdmissionPolicy, b: &AdmissionPolicy) -> bool {
    let mut a = a.clone();
    a.shadow = b.shadow;
    a == *b
}

fn admission_of(of: &AdmissionPolicy) -> (Permits, AdmissionConfig) {
    let default = AdmissionConfig::default();
    let wait_max = of.queue_wait.get();
    let mut guaranteed = [0; Tier::COUNT];
    for (tier, share) in &of.guaranteed {
        guaranteed[usize::from(tier.number())] = whole_percent(*share);
    }
    let config = AdmissionConfig {
        waiting_max: of.queue.get().min(AdmissionConfig::MAX_WAITING),
        wait_max,
        standing_after: default.standing_after.min(wait_max),
        guaranteed,
    };
    let permits = match of.permits {
        Setting::Fixed(permits) => Permits::Fixed(permits.get()),
        Setting::Learn { floor, ceiling } => {
            let queued = LimitConfig::queued();
            Permits::Learned(LimitConfig {
                min: floor.get(),
                max: ceiling.get(),
                initial: queued.initial.clamp(floor.get(), ceiling.get()),
                ..queued
            })
        }
    };
    (permits, config)
}

/// Down: what is not whole is nobody's, and lent like the rest. But 29 % is 29, which no fraction
/// with two in its base is exactly.
fn whole_percent(share: Share) -> u8 {
    (share.get() * 100.0 + 1e-9) as u8
}

// === Rates ===

fn rate_part(
    name: &str,
    of: &RatePolicy,
    before: &Parts,
) -> Result<Kept<RatePolicy, Buckets>, InvalidQuota> {
    let quota = quota_of(of)?;
    let numbers = of.clone();
    let kept = before.rates.get(name);
    // Buckets of all together are no buckets of one each.
    let kept = kept.filter(|kept| kept.numbers.per_client == of.per_client);
    let state = match kept {
        Some(kept) if quota_of(&kept.numbers)? == quota => kept.state.clone(),
        Some(kept) => register("rate_limit", kept.state.with_quota(quota)),
        None => {
            let name = Name::from(name.to_owned());
            let buckets = match of.per_client {
                true => Buckets::per_client(KeyedRate::DEFAULT_KEYS, name, quota, |request| {
                    request.extensions.get::<Passed>()?.client
                }),
                false => Buckets::shared(name, quota),
            };
            register("rate_limit", buckets)
        }
    };
    Ok(Kept { numbers, state })
}

fn quota_of(of: &RatePolicy) -> Result<Quota, InvalidQuota> {
    Quota::new(of.requests.get(), of.period.get(), of.burst.get())
}

// === Streams ===

fn stream_part(name: &str, of: &StreamPolicy, before: &Parts) -> Arc<Budget> {
    match before.streams.get(name) {
        Some(budget) => budget.clone(),
        None => {
            let name = Name::from(name.to_owned());
            register("streams", Budget::new(name, of.connections.get()))
        }
    }
}

fn stream_times(name: &str, of: &StreamPolicy) -> BodyTimes {
    BodyTimes {
        idle: Some(of.idle.get()),
        total: of.total.map(|total| total.get()),
        policy: Some(Name::from(name.to_owned())),
        shadow: of.shadow,
    }
}

// === Timeouts ===

pub(super) fn body_times(route: &str, of: &TimeoutPolicy) -> BodyTimes {
    BodyTimes {
        idle: Some(of.body_idle.get()),
        total: of.body_total.map(|total| total.get()),
        policy: Some(Name::from(route.to_owned())),
        shadow: of.shadow,
    }
}

fn timeout_of(of: &TimeoutPolicy, permits: Option<u32>) -> TimeoutOf {
    TimeoutOf {
        timeout: of.timeout,
        share: of.permit_share,
        permits,
    }
}

fn learned(of: &TimeoutOf) -> Result<TimeoutConfig, InvalidTimeout> {
    let (floor, ceiling): (Duration, Duration) = match of.timeout {
        Setting::Learn { floor, ceiling } => (floor.get(), ceiling.get()),
        Setting::Fixed(timeout) => (timeout.get(), timeout.get()),
    };
    TimeoutConfig::new(floor, ceiling)?.with_permit_share(of.share.get())
}

/// Named by the route or dependency: each learns its own. One whose numbers change goes on from
/// where it was.
pub(super) fn timeout_part(
    name: &str,
    of: &TimeoutPolicy,
    permits: Option<u32>,
    kept: Option<&Kept<TimeoutOf, timeout::Shared>>,
) -> Result<Kept<TimeoutOf, timeout::Shared>, InvalidTimeout> {
    let numbers = timeout_of(of, permits);
    let state = match kept {
        Some(kept) if kept.numbers == numbers => kept.state.clone(),
        _ => {
            let name = Name::from(name.to_owned());
            let state = match numbers.timeout {
                Setting::Fixed(timeout) => timeout::Shared::fixed(name, timeout.get()),
                Setting::Learn { .. } => {
                    let start = kept.map(|kept| kept.state.usual());
                    let start = start.or(of.start.map(|start| start.get()));
                    timeout::Shared::learned(name, learned(&numbers)?, permits, start)
                }
            };
            register(
                "timeout",
                match kept {
                    Some(kept) => state.following(&kept.state),
                    None => state,
                },
            )
        }
    };
    state.set_shadow(of.shadow);
    Ok(Kept { numbers, state })
}

// === The service ===

fn drain_of(of: &DrainPolicy) -> DrainLimits {
    let notice = of.not_ready.map_or(Duration::ZERO, |time| time.get());
    let phases = notice + of.lower.get() + of.core.get();
    DrainLimits {
        notice,
        lower: of.lower.get(),
        hard: of.hard.get().min(phases),
    }
}

/// Of those who wait in one tier, clients take turns. Made once, and asked of those who have to wait.
fn user_of(clients: Arc<Clients>) -> UserOf {
    Arc::new(move |request| {
        let passed = request.extensions.get::<Passed>();
        let known = passed.and_then(|passed| passed.client);
        let find = || clients.key(request, passed?.peer_of);
        known.or_else(find).unwrap_or(0)
    })
}

/// Where the framework does not know its clients.
pub(super) const NO_PEER: PeerOf = |_| None;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_whole_percent_is_guaranteed_as_it_is_written() {
        for percent in 1..=100 {
            let share = Share::new(f64::from(percent) / 100.0).unwrap();
            assert_eq!(u32::from(whole_percent(share)), percent);
        }
        assert_eq!(whole_percent(Share::new(0.999_9).unwrap()), 99);
    }
}
