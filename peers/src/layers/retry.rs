//! Retries that are not needed, paid by each call all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use steadfast::decide::backoff::Backoff;
use steadfast::decide::budget::{RetryBudget, RetryRule};
use steadfast::tower::RetryLayer;
use tower::Layer;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower_resilience::retry::{self, RetryBudgetBuilder};

use super::service::{Body, Handler, calls, served};
use crate::Group;
use crate::budget::Budget;

const RESILIENCE: &str = "tower-resilience retry, with budget";

pub(super) fn group() -> Group {
    let rule = RetryRule::new(3).expect("three attempts are in range");
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200))
        .expect("the backoff is in range");
    let budget = RetryBudget::new(0.1).expect("the budget is in range");
    let ours = RetryLayer::new("payments", rule, backoff, budget);
    let resilience: retry::RetryLayer<Request<Body>, Response<Body>, Infallible> =
        retry::RetryLayer::builder()
            .max_attempts(3)
            .exponential_backoff(Duration::from_millis(10))
            .budget(
                RetryBudgetBuilder::new()
                    .token_bucket()
                    .build()
                    .expect("the budget can be built"),
            )
            .build();
    Group::new("layer: retry, none needed", "call")
        .ours(calls(
            "steadfast RetryLayer, with budget",
            ours.layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls(
            "tower retry, with budget",
            tower::retry::RetryLayer::new(Budgeted::default()).layer(Handler),
            served,
        ))
        .peer(calls(RESILIENCE, resilience.layer(Handler), served))
        .budget(Budget::AheadOf { peer: RESILIENCE })
}

/// What tower asks one to write.
#[derive(Clone, Default)]
struct Budgeted(Arc<TpsBudget>);

impl tower::retry::Policy<Request<Body>, Response<Body>, Infallible> for Budgeted {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<Body>, Infallible>,
    ) -> Option<Self::Future> {
        match result {
            Ok(response) if response.status().is_server_error() => {
                self.0.withdraw().then(|| std::future::ready(()))
            }
            _ => {
                self.0.deposit();
                None
            }
        }
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}
