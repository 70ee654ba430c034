use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use steadfast_core::context::Name;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::report::{Collector, MetricDoc, Source};

use super::budgets::Budgets;
use super::tally::Tally;
use crate::breaker::Breakers;
use crate::replay::Repeatable;
use crate::target::{EndpointOf, Targets};

/// What belongs to the layer, and is shared by all that is made of it.
pub(crate) struct Shared {
    pub(super) name: Name,
    plan: ArcSwap<Plan>,
    pub(super) tally: Tally,
    budgets: Mutex<Budgets>,
    /// Whoever could choose the key of a target could spend the budget of another one.
    pub(super) targets: Targets,
}

/// How often and when to try again. A call keeps the one that it has begun with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) rule: RetryRule,
    pub(crate) backoff: Backoff,
    /// Whether the target does once what it is told twice under one key.
    pub(crate) honors_keys: bool,
}

/// What the user says about calls.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) repeatable: Option<Repeatable>,
    pub(crate) target: Option<Target>,
    /// Asked before another attempt.
    pub(crate) breakers: Option<Breakers>,
}

/// Tells targets apart.
#[derive(Clone)]
pub(crate) enum Target {
    ByHash(Arc<ByHash>),
    ByEndpoint(EndpointOf),
}

type ByHash = dyn Fn(&http::request::Parts, &Targets) -> Option<u64> + Send + Sync;

/// All that a service needs.
pub(crate) struct Settings<C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hooks: Hooks,
    pub(crate) classifier: Arc<C>,
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
    pub(crate) fn new(name: Name, plan: Plan, budget: RetryBudget) -> Self {
        Self {
            name,
            plan: ArcSwap::from_pointee(plan),
            tally: Tally::default(),
            budgets: Mutex::new(Budgets::new(budget)),
            targets: Targets::new(),
        }
    }

    /// Changes the numbers for calls to come; what the budgets have counted goes on.
    pub(crate) fn reconfigure(&self, plan: Plan, budget: &RetryBudget) {
        if **self.plan.load() != plan {
            self.plan.store(Arc::new(plan));
        }
        self.budgets().reconfigure(budget);
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    pub(super) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whose target is not known have one together.
    pub(super) fn target_of(&self, request: &http::request::Parts, hooks: &Hooks) -> u64 {
        match &hooks.target {
            None => self.targets.key(request, None),
            Some(Target::ByEndpoint(endpoint_of)) => self.targets.key(request, Some(endpoint_of)),
            Some(Target::ByHash(hash)) => {
                // One that panics does not know it.
                let known = steadfast_core::recover(|| hash(request, &self.targets));
                known.ok().flatten().unwrap_or(crate::target::UNKNOWN)
            }
        }
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
