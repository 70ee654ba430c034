use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;
use http::uri::Authority;
use steadfast_core::context::Name;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::recover;
use steadfast_core::report::{Collector, MetricDoc, Source};

use super::budgets::Budgets;
use super::tally::Tally;

/// What belongs to the layer, and is shared by all that is made of it.
pub(super) struct Shared {
    pub(super) name: Name,
    pub(super) rule: RetryRule,
    pub(super) backoff: Backoff,
    pub(super) tally: Tally,
    budgets: Mutex<Budgets>,
    /// Whoever could choose the key of a target could spend the budget of another one.
    secret: RandomState,
}

/// What the user says about calls.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) repeatable: Option<Arc<Repeatable>>,
    pub(super) target: Option<Arc<Target>>,
}

pub(super) type Repeatable = dyn Fn(&Parts) -> bool + Send + Sync;
pub(super) type Target = dyn Fn(&Parts, &RandomState) -> Option<u64> + Send + Sync;

/// All that a service needs.
pub(super) struct Settings<C> {
    pub(super) shared: Arc<Shared>,
    pub(super) hooks: Hooks,
    pub(super) classifier: Arc<C>,
}

impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            hooks: self.hooks.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl Shared {
    pub(super) fn new(name: Name, rule: RetryRule, backoff: Backoff, budget: RetryBudget) -> Self {
        Self {
            name,
            rule,
            backoff,
            tally: Tally::default(),
            budgets: Mutex::new(Budgets::new(budget)),
            secret: RandomState::new(),
        }
    }

    pub(super) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn key_of(&self, route: Name) -> u64 {
        self.secret.hash_one(route)
    }

    /// Calls whose target is not known have one together.
    pub(super) fn target_of(&self, request: &Parts, hooks: &Hooks) -> u64 {
        let known = match &hooks.target {
            // One that panics does not know it.
            Some(target) => recover(|| target(request, &self.secret)).ok().flatten(),
            None => self.authority_of(request),
        };
        known.unwrap_or(0)
    }

    /// By host and port alone: what else an authority may hold is a password.
    fn authority_of(&self, request: &Parts) -> Option<u64> {
        if let Some(authority) = request.uri.authority() {
            return Some(self.hash_of(authority, request.uri.scheme_str()));
        }
        let host = request.headers.get(http::header::HOST)?;
        let host = Authority::try_from(host.as_bytes()).ok()?;
        Some(self.hash_of(&host, None))
    }

    fn hash_of(&self, authority: &Authority, scheme: Option<&str>) -> u64 {
        let mut hasher = self.secret.build_hasher();
        for byte in authority.host().bytes() {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        let usual = if scheme == Some("https") { 443 } else { 80 };
        authority.port_u16().unwrap_or(usual).hash(&mut hasher);
        hasher.finish()
    }
}

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        super::METRICS
    }

    fn collect(&self, to: &mut Collector) {
        self.tally.collect(self.name, to);
        let seated = self.budgets().seated();
        for (by, count) in seated {
            to.labels([("policy", self.name), ("by", by.into())])
                .gauge("steadfast_retry_budgets", count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_target_is_known_by_host_and_port() {
        let millis = Duration::from_millis;
        let shared = Shared::new(
            "a".into(),
            RetryRule::new(2).unwrap(),
            Backoff::new(millis(1), millis(2)).unwrap(),
            RetryBudget::new(0.1).unwrap(),
        );
        let target = |uri: &str, host: Option<&str>| {
            let mut request = http::Request::get(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            shared.target_of(&parts, &Hooks::default())
        };
        let plain = target("http://pay.example/a", None);

        for same in ["http://PAY.example/b", "http://me:secret@pay.example:80/"] {
            assert_eq!(target(same, None), plain, "{same}");
        }
        assert_eq!(target("/a", Some("pay.example")), plain);
        for other in [
            "https://pay.example/a",
            "http://pay.example:81/",
            "http://pay.example.org/",
        ] {
            assert_ne!(target(other, None), plain, "{other}");
        }
        assert_eq!(target("/a", None), 0);
        assert_eq!(target("/a", Some("a b")), 0);
    }
}
