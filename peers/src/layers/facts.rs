//! What is only noted of a request on its way: tier, deadline, and that it is there while the service drains. No peer
//! has any of it.

use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::policy::Timeout;
use steadfast::tower::{DeadlineLayer, Drain, DrainLayer, TierLayer, Trust};
use tower::Layer;

use super::service::{Handler, calls, served};
use crate::Group;

pub(super) fn groups() -> [Group; 3] {
    let second = Timeout::new(Duration::from_secs(1)).expect("a second is in range");
    let tier = TierLayer::new(Trust::Edge, |_| Some(Tier::CORE));
    let drain = Drain::default();
    [
        Group::new("layer: tier", "request")
            .ours(calls("steadfast TierLayer", tier.layer(Handler), served))
            .peer(calls("no layer", Handler, served)),
        Group::new("layer: deadline", "request")
            .ours(calls(
                "steadfast DeadlineLayer",
                DeadlineLayer::edge(second).layer(Handler),
                served,
            ))
            .peer(calls("no layer", Handler, served)),
        Group::new("layer: drain", "request")
            .ours(calls(
                "steadfast DrainLayer",
                DrainLayer::new(&drain).layer(Handler),
                served,
            ))
            .peer(calls("no layer", Handler, served)),
    ]
}
