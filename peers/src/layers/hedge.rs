//! Hedges that are not needed, paid by each call all the same.

use std::time::Duration;

use steadfast::decide::hedge::Hedge;
use steadfast::tower::HedgeLayer;
use tower::Layer;
use tower_resilience::hedge::HedgeLayer as Resilience;

use super::service::{Handler, calls, served};
use crate::Group;
use crate::budget::Budget;

const DELAY: Duration = Duration::from_secs(1);

const RESILIENCE: &str = "tower-resilience hedge, without a budget";

pub(super) fn group() -> Group {
    let hedge = Hedge::fixed(0.1, DELAY).expect("the delay is in range");
    let ours = HedgeLayer::new("stock", hedge);
    let resilience = Resilience::builder()
        .delay(DELAY)
        .max_hedged_attempts(2)
        .build();
    Group::new("layer: hedge, none needed", "call")
        .ours(calls(
            "steadfast HedgeLayer, with budget",
            ours.layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls(RESILIENCE, resilience.layer(Handler), served))
        .budget(Budget::AheadOf { peer: RESILIENCE })
}
