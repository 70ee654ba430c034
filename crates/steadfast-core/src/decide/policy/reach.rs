//! What the parts of a policy amount to where they are used.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parts::{AdmissionPolicy, BreakerPolicy, HedgePolicy, RetryPolicy, TimeoutPolicy};
use super::path::FieldPath;
use super::users::{Dependency, Policy, Route, RouteKind};
use super::values::{Rate, Setting};
use crate::decide::budget::Replay;

/// A route with the policies that its names stand for; an unknown name stands for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteView<'a> {
    pub(super) policy: &'a Policy,
    pub(super) name: &'a str,
    pub(super) route: &'a Route,
    pub(super) timeout: Option<&'a TimeoutPolicy>,
    pub(super) admission: Option<&'a AdmissionPolicy>,
}

/// A dependency with the policies that its names stand for; an unknown name stands for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct DependencyView<'a> {
    pub(super) name: &'a str,
    pub(super) dependency: &'a Dependency,
    pub(super) timeout: Option<&'a TimeoutPolicy>,
    pub(super) admission: Option<&'a AdmissionPolicy>,
    pub(super) breaker: Option<&'a BreakerPolicy>,
    pub(super) retry: Option<&'a RetryPolicy>,
    pub(super) hedge: Option<&'a HedgePolicy>,
}

impl Policy {
    pub(super) fn route_views(&self) -> impl Iterator<Item = RouteView<'_>> {
        self.routes.iter().map(|(name, route)| RouteView {
            policy: self,
            name,
            route,
            timeout: named(&self.timeouts, &route.timeout),
            admission: named(&self.admissions, &route.admission),
        })
    }

    pub(super) fn dependency_views(&self) -> impl Iterator<Item = DependencyView<'_>> {
        self.dependencies
            .iter()
            .map(|(name, dependency)| self.dependency_view(name, dependency))
    }

    fn dependency_view<'a>(
        &'a self,
        name: &'a str,
        dependency: &'a Dependency,
    ) -> DependencyView<'a> {
        DependencyView {
            name,
            dependency,
            timeout: named(&self.timeouts, &dependency.timeout),
            admission: named(&self.admissions, &dependency.admission),
            breaker: named(&self.breakers, &dependency.breaker),
            retry: named(&self.retries, &dependency.retry),
            hedge: named(&self.hedges, &dependency.hedge),
        }
    }
}

fn named<'a, T>(parts: &'a BTreeMap<String, T>, name: &Option<String>) -> Option<&'a T> {
    parts.get(name.as_ref()?)
}

// === impl RouteView ===

impl<'a> RouteView<'a> {
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::new(["routes", self.name])
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = DependencyView<'a>> {
        let policy = self.policy;
        self.route.calls.iter().filter_map(|name| {
            let (name, dependency) = policy.dependencies.get_key_value(name)?;
            Some(policy.dependency_view(name, dependency))
        })
    }

    pub(super) fn permits(&self) -> Option<u32> {
        self.admission
            .map(|admission| admission.permits.most().get())
    }

    /// The longest time until the guard ends a request: by its timeout or its deadline.
    pub(super) fn limit(&self) -> Option<Duration> {
        let timeout = self
            .timeout
            .filter(|_| self.route.kind == RouteKind::Response)
            .map(|timeout| longest(timeout, self.route.rate, self.permits()));
        let deadline = self.route.deadline.map(|deadline| deadline.get());
        timeout.into_iter().chain(deadline).min()
    }

    /// The longest time that a request keeps its permit when a dependency stalls: until the call
    /// gives up, or the request is ended.
    pub(super) fn hold(&self, stalled: &DependencyView<'_>) -> Option<Duration> {
        self.limit().into_iter().chain(stalled.longest_call()).min()
    }

    /// The longest time that a request keeps its permit, whatever stalls.
    pub(super) fn longest_hold(&self) -> Option<Duration> {
        let calls: Option<Duration> = self.calls().map(|call| call.longest_call()).sum();
        let calls = calls.filter(|_| !self.route.calls.is_empty());
        self.limit().into_iter().chain(calls).min()
    }
}

// === impl DependencyView ===

impl DependencyView<'_> {
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::new(["dependencies", self.name])
    }

    pub(super) fn permits(&self) -> Option<u32> {
        self.admission
            .map(|admission| admission.permits.most().get())
    }

    /// The longest time of one attempt.
    pub(super) fn longest_attempt(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        Some(longest(timeout, self.dependency.rate, self.permits()))
    }

    pub(super) fn attempts(&self) -> u8 {
        self.retry.map_or(1, |retry| retry.attempts.get())
    }

    pub(super) fn waits(&self) -> Duration {
        self.retry.map_or(Duration::ZERO, RetryPolicy::waits)
    }

    /// The longest time of a call, with all its attempts and the waits between them.
    pub(super) fn longest_call(&self) -> Option<Duration> {
        let attempts = u32::from(self.attempts());
        Some(self.longest_attempt()?.saturating_mul(attempts) + self.waits())
    }

    /// Whether none of its calls is safe to repeat.
    pub(super) fn is_never_safe_to_repeat(&self) -> bool {
        let keyed = self.dependency.idempotency_key;
        let methods = &self.dependency.methods;
        !methods.is_empty()
            && methods
                .iter()
                .all(|method| Replay::of_method(method, keyed) == Replay::Unsafe)
    }
}

/// The longest time that a timeout allows: a learned one is capped by its share of the permits,
/// but never below its floor.
fn longest(timeout: &TimeoutPolicy, rate: Option<Rate>, permits: Option<u32>) -> Duration {
    let Setting::Learn { floor, ceiling } = timeout.timeout else {
        return timeout.timeout.most().get();
    };
    let (Some(rate), Some(permits)) = (rate, permits) else {
        return ceiling.get();
    };
    // Below 10^12 seconds, far from the bound of a duration, but `ceiling` is tighter.
    let cap = timeout.permit_share.get() * f64::from(permits) / rate.get();
    Duration::from_secs_f64(cap)
        .min(ceiling.get())
        .max(floor.get())
}

/// How many permits are held if each of the requests that come keeps one for this long.
pub(super) fn held(rate: Rate, time: Duration) -> f64 {
    rate.get() * time.as_secs_f64()
}

/// Writes a number to one decimal, and without one that is zero.
pub(super) fn number(value: f64) -> String {
    ((value * 10.0).round() / 10.0).to_string()
}

/// Writes a length of time to three digits, so that a message stays readable.
pub(super) fn readable(time: Duration) -> String {
    format!(
        "{:?}",
        Duration::from_micros(rounded(time.as_micros()) as u64)
    )
}

/// Rounds down to three digits.
fn rounded(value: u128) -> u128 {
    let mut unit = 1;
    while value / unit >= 1_000 {
        unit *= 10;
    }
    value / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::policy::values::{Share, Timeout};

    #[test]
    fn a_learned_timeout_is_capped_by_its_share_of_the_permits() {
        let millis = |ms| Timeout::new(Duration::from_millis(ms)).unwrap();
        let mut timeout = TimeoutPolicy::new(Setting::Learn {
            floor: millis(100),
            ceiling: millis(2_000),
        });
        timeout.permit_share = Share::new(0.5).unwrap();
        let check = |rate, permits, expect_ms| {
            let rate = Rate::per_second(rate).unwrap();
            let longest = longest(&timeout, Some(rate), permits);
            assert_eq!(longest, Duration::from_millis(expect_ms), "{rate}");
        };

        check(500.0, Some(200), 200);
        check(10.0, Some(200), 2_000);
        check(5_000.0, Some(200), 100);
        check(5_000.0, None, 2_000);
        assert_eq!(longest(&timeout, None, Some(200)), Duration::from_secs(2));
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(number(500.0), "500");
        assert_eq!(number(0.25), "0.3");
        assert_eq!(readable(Duration::from_nanos(333_333_333)), "333ms");
        assert_eq!(readable(Duration::from_secs(3_600)), "3600s");
        assert_eq!(readable(Duration::from_micros(1_500)), "1.5ms");
    }
}
