//! So many at a time: with room, and where there is none.

use std::time::Duration;

use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::limit::LimitConfig;
use steadfast::tower::AdmissionLayer;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{Layer, ServiceBuilder};
use tower_resilience::bulkhead::BulkheadLayer;

use super::service::{
    CALLERS, Door, Handler, calls, calls_of_two, calls_while, failed, fill, refused, served,
};
use crate::Group;
use crate::budget::Budget;

const PLACES: u32 = 64;

const OURS: &str = "steadfast AdmissionLayer, fixed";
const LEARNED: &str = "steadfast AdmissionLayer, adaptive";
const TOWER: &str = "tower ConcurrencyLimit and LoadShed";
const RESILIENCE: &str = "tower-resilience bulkhead";

pub(super) fn groups() -> [Group; 3] {
    let ours = || fixed(PLACES).layer(Handler);
    let learned = || adaptive().layer(Handler);
    let tower = || {
        let layers = ServiceBuilder::new().layer(LoadShedLayer::new());
        layers
            .layer(GlobalConcurrencyLimitLayer::new(PLACES as usize))
            .service(Handler)
    };
    let resilience = || bulkhead(PLACES).layer(Handler);
    let room = Group::new("layer: admission", "request")
        .ours(calls(OURS, ours(), served))
        .peer(calls("no layer", Handler, served))
        .peer(calls(LEARNED, learned(), served))
        .peer(calls(TOWER, tower(), served))
        .peer(calls(RESILIENCE, resilience(), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let two = Group::new("layer: admission, two threads", "request")
        .units_per_iteration(CALLERS)
        .ours(calls_of_two(OURS, ours(), served))
        .peer(calls_of_two("no layer", Handler, served))
        .peer(calls_of_two(LEARNED, learned(), served))
        .peer(calls_of_two(TOWER, tower(), served))
        .peer(calls_of_two(RESILIENCE, resilience(), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    [room, two, full()]
}

/// One inside and, with ours, one who waits: the next of the same tier is refused.
fn full() -> Group {
    let door = Door::default();
    let ours = fixed(1).layer(door.clone());
    let ours_kept = fill(&ours, &door, 2);

    let door = Door::default();
    let layers = ServiceBuilder::new().layer(LoadShedLayer::new());
    let tower = layers
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .service(door.clone());
    let tower_kept = fill(&tower, &door, 1);

    let door = Door::default();
    let resilience = bulkhead(1).layer(door.clone());
    let resilience_kept = fill(&resilience, &door, 1);

    Group::new("layer: admission, refused", "request")
        .ours(calls_while(OURS, ours_kept, ours, refused))
        .peer(calls_while(TOWER, tower_kept, tower, failed))
        .peer(calls_while(RESILIENCE, resilience_kept, resilience, failed))
        .budget(Budget::AheadOf { peer: RESILIENCE })
}

fn config() -> AdmissionConfig {
    AdmissionConfig {
        waiting_max: 1,
        wait_max: Duration::from_secs(300),
        standing_after: Duration::from_secs(300),
        ..AdmissionConfig::default()
    }
}

fn fixed(places: u32) -> AdmissionLayer {
    AdmissionLayer::fixed("orders", places, config()).expect("the config is in range")
}

fn adaptive() -> AdmissionLayer {
    AdmissionLayer::adaptive("orders", LimitConfig::queued(), config())
        .expect("the config is in range")
}

fn bulkhead(places: u32) -> BulkheadLayer {
    BulkheadLayer::builder()
        .max_concurrent_calls(places as usize)
        .reject_when_full()
        .build()
        .expect("the bulkhead can be built")
}
