//! In front of every handler stands the guard: a panic becomes a clean answer, too much load is
//! turned away by importance, and whoever is turned away is told why.

use axum::Router;
use steadfast::BoxError;
use steadfast::tower::{Guard, PolicyDocument};

/// What the guard is told: a page that is worth reading.
const POLICY: &str = include_str!("../policy.toml");

/// Reads the policy. There is one guard, since it holds all state.
///
/// # Errors
/// All mistakes of the policy at once, each with its line and what to write instead.
pub fn guard() -> Result<Guard, BoxError> {
    let policy = PolicyDocument::new("examples/shop/policy.toml", POLICY)?;
    Ok(Guard::new(policy)?)
}

/// Puts the guard around the finished routes.
///
/// # Errors
/// Every route of the policy that the shop does not have, or that goes past the guard: each is
/// asked here, before the first customer comes.
pub async fn protect(guard: &Guard, routes: Router) -> Result<Router, BoxError> {
    Ok(guard.protect(routes).await?)
}
