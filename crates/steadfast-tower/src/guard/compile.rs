//! From a policy to what governs its routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use steadfast_core::context::{Name, Tier};
use steadfast_core::decide::admission::AdmissionConfig;
use steadfast_core::decide::limit::LimitConfig;
use steadfast_core::decide::policy::{
    self, AdmissionPolicy, Finding, Policy, RatePolicy, RouteKind, Setting, Severity, TimeoutPolicy,
};
use steadfast_core::decide::rate::Quota;
use steadfast_core::decide::timeout::TimeoutConfig;

use super::route::{Route, Routes, template_of};
use super::{ClientOf, GuardError};
use crate::timeout::BodyTimes;
use crate::{AdmissionLayer, RateLimitLayer, TimeoutLayer, admission};

/// Looks for what cannot work; gives what may be doubted.
pub(super) fn check(policy: &Policy, knows_clients: bool) -> Result<Vec<Finding>, GuardError> {
    let findings = policy::lint(policy);
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    let mut others = Vec::new();
    for (name, rate) in &policy.rates {
        if rate.per_client && !knows_clients {
            others.push(format!(
                "rates.{name} is counted per client, and nothing tells clients apart; \
                 say by what with `GuardBuilder::client_by`"
            ));
        }
    }
    others.extend(not_yet(policy));
    others.extend(asked_for_calls(policy));
    for (key, route) in &policy.routes {
        if !template_of(key).starts_with('/') {
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
    if errors.is_empty() && others.is_empty() {
        Ok(warnings)
    } else {
        Err(GuardError::new(errors, others))
    }
}

/// Names what the policy may say and this guard does not do: what would be silently left out is
/// refused instead.
fn not_yet(policy: &Policy) -> Vec<String> {
    let admissions = policy
        .admissions
        .iter()
        .map(|(name, of)| ("admissions", name, of.shadow));
    let timeouts = policy
        .timeouts
        .iter()
        .map(|(name, of)| ("timeouts", name, of.shadow));
    let rates = policy
        .rates
        .iter()
        .map(|(name, of)| ("rates", name, of.shadow));
    let shadows = admissions.chain(timeouts).chain(rates);
    let shadows = shadows
        .filter(|(.., shadow)| *shadow)
        .map(|(section, name, _)| {
            format!("{section}.{name} is in shadow mode, which the guard has not yet; take it out")
        });
    let streams = policy
        .routes
        .iter()
        .filter(|(_, route)| route.stream.is_some());
    let streams = streams.map(|(key, _)| {
        format!("routes.{key:?} has a stream budget, which the guard has not yet; give it an admission of its own")
    });
    shadows.chain(streams).collect()
}

/// Names queries that nobody asks: those of dependencies, of which there is no histogram.
fn asked_for_calls(policy: &Policy) -> impl Iterator<Item = String> {
    policy.dependencies.iter().filter_map(|(dependency, of)| {
        let name = of.timeout.as_ref()?;
        policy.timeouts.get(name)?.start_query.as_ref()?;
        Some(format!(
            "dependencies.{dependency}: timeouts.{name} has a timeout_start_query, which is asked for \
             routes alone; give the dependency a timeout of its own, with timeout_start"
        ))
    })
}

/// Makes the state of all routes: one admission and one rate for all routes that name it, a
/// timeout for each route.
pub(super) fn routes(policy: &Policy, client: Option<&ClientOf>) -> Result<Routes, GuardError> {
    let mut admissions = BTreeMap::new();
    for (name, of) in &policy.admissions {
        admissions.insert(name.as_str(), admission_of(name, of)?);
    }
    let mut rates = BTreeMap::new();
    for (name, of) in &policy.rates {
        rates.insert(name.as_str(), rate_of(name, of, client)?);
    }
    let user_of: Option<admission::UserOf> = client.cloned().map(|client| {
        let user_of: admission::UserOf = Arc::new(move |request| client(request).unwrap_or(0));
        user_of
    });
    let routes = policy.routes.iter().map(|(key, route)| {
        let is_stream = route.kind == RouteKind::Stream;
        let admission = route.admission.as_deref();
        let permits = admission.map(|name| policy.admissions[name].permits.most().get());
        let timeout = match &route.timeout {
            Some(name) if !is_stream => Some(timeout_of(key, &policy.timeouts[name], permits)?),
            _ => None,
        };
        let methods = route.methods.iter().map(|method| method.parse());
        Ok(Route {
            name: Name::from(template_of(key).to_owned()),
            key: key.clone(),
            methods: methods
                .collect::<Result<_, _>>()
                .map_err(GuardError::other)?,
            tier: route.tier,
            deadline: route.deadline.map(|deadline| deadline.get()),
            rate: route
                .quota
                .as_deref()
                .map(|name| rates[name].buckets.clone()),
            admission: admission.map(|name| admissions[name].shared.clone()),
            user_of: user_of.clone(),
            body: route
                .timeout
                .as_deref()
                .filter(|_| !is_stream)
                .map_or(BodyTimes::default(), |name| {
                    body_times(&policy.timeouts[name])
                }),
            timeout: timeout.map(|timeout| timeout.shared),
            is_stream,
        })
    });
    Ok(Routes::new(routes.collect::<Result<Vec<_>, GuardError>>()?))
}

pub(super) fn admission_of(name: &str, of: &AdmissionPolicy) -> Result<AdmissionLayer, GuardError> {
    let default = AdmissionConfig::default();
    let wait_max = of.queue_wait.get();
    let mut guaranteed = [0; Tier::COUNT];
    for (tier, share) in &of.guaranteed {
        // Down: what is not whole is nobody's, and lent like the rest.
        guaranteed[usize::from(tier.number())] = (share.get() * 100.0) as u8;
    }
    let config = AdmissionConfig {
        waiting_max: of.queue.get().min(AdmissionConfig::MAX_WAITING),
        wait_max,
        standing_after: default.standing_after.min(wait_max),
        guaranteed,
    };
    let name = Name::from(name.to_owned());
    let layer = match of.permits {
        Setting::Fixed(permits) => AdmissionLayer::fixed(name, permits.get(), config),
        Setting::Learn { floor, ceiling } => {
            let queued = LimitConfig::queued();
            let limit = LimitConfig {
                min: floor.get(),
                max: ceiling.get(),
                initial: queued.initial.clamp(floor.get(), ceiling.get()),
                ..queued
            };
            AdmissionLayer::adaptive(name, limit, config)
        }
    };
    layer.map_err(|error| GuardError::other(format_args!("admissions.{name}: {error}")))
}

fn rate_of(
    name: &str,
    of: &RatePolicy,
    client: Option<&ClientOf>,
) -> Result<RateLimitLayer, GuardError> {
    let quota = Quota::new(of.requests.get(), of.period.get(), of.burst.get());
    let quota = quota.map_err(|error| GuardError::other(format_args!("rates.{name}: {error}")))?;
    let name = Name::from(name.to_owned());
    Ok(match client {
        Some(client) if of.per_client => {
            let client = client.clone();
            RateLimitLayer::per_client(name, quota, move |request| client(request))
        }
        _ => RateLimitLayer::shared(name, quota),
    })
}

pub(super) fn body_times(of: &TimeoutPolicy) -> BodyTimes {
    BodyTimes {
        idle: Some(of.body_idle.get()),
        total: of.body_total.map(|total| total.get()),
    }
}

/// Named by the route: each learns its own.
pub(super) fn timeout_of(
    route: &str,
    of: &TimeoutPolicy,
    permits: Option<u32>,
) -> Result<TimeoutLayer, GuardError> {
    let refused = |error: &dyn std::fmt::Display| {
        GuardError::other(format_args!("the timeout of routes.{route:?}: {error}"))
    };
    let name = Name::from(route.to_owned());
    match of.timeout {
        Setting::Fixed(timeout) => {
            TimeoutLayer::fixed(name, timeout.get()).map_err(|error| refused(&error))
        }
        Setting::Learn { floor, ceiling } => {
            let ceiling: Duration = ceiling.get();
            let config = TimeoutConfig::new(floor.get(), ceiling)
                .and_then(|config| config.with_permit_share(of.permit_share.get()))
                .map_err(|error| refused(&error))?;
            Ok(match of.start {
                Some(start) => TimeoutLayer::learned_from(name, config, permits, start.get()),
                None => TimeoutLayer::learned(name, config, permits),
            })
        }
    }
}
