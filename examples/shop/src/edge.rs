//! In front of every handler stands the guard: a panic becomes a clean answer, too much load is
//! turned away by importance, and whoever is turned away is told why.

use std::time::Duration;

use axum::Router;
use steadfast::BoxError;
use steadfast::tower::drain::DrainLimits;
use steadfast::tower::{Drain, DrainLayer, Guard, PolicyDocument};

/// What the guard is told: a page that is worth reading.
const POLICY: &str = include_str!("../policy.toml");

/// What stands in front of the shop. There is one, since it holds all state.
pub struct Edge {
    /// Judges every request.
    pub guard: Guard,
    /// Closes the shop without failing what it has begun.
    pub drain: Drain,
}

impl Edge {
    /// Reads the policy.
    ///
    /// # Errors
    /// All mistakes of the policy at once, each with its line and what to write instead.
    pub fn new() -> Result<Self, BoxError> {
        let document = PolicyDocument::new("examples/shop/policy.toml", POLICY)?;
        let policy = document.policy();
        let limits = DrainLimits {
            notice: policy
                .drain
                .not_ready
                .map_or(Duration::ZERO, |time| time.get()),
            hard: policy.drain.hard.get(),
        };
        Ok(Self {
            guard: Guard::new(policy.clone())?,
            drain: Drain::new(limits),
        })
    }

    /// Puts itself around the finished routes: the drain inside of the guard, which knows the tiers.
    ///
    /// # Errors
    /// Every route of the policy that the shop does not have, or that goes past the guard: each is
    /// asked here, before the first customer comes.
    pub async fn protect(&self, routes: Router) -> Result<Router, BoxError> {
        let routes = routes.layer(DrainLayer::new(&self.drain));
        Ok(self.guard.protect(routes).await?)
    }
}
