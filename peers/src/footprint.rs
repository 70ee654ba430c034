//! What is kept in memory for each route, and for each endpoint that is called.

use std::any::Any;
use std::time::Duration;

use recloser::Recloser;
use steadfast::decide::breaker::BreakerConfig;
use steadfast::decide::policy::{
    AdmissionPolicy, Count, Policy, Route, Setting, Timeout, TimeoutPolicy,
};
use steadfast::tower::{BreakerLayer, Guard};
use tower::Layer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

use crate::layers::service::{Handler, call};
use crate::work::beforehand;

/// Something that is kept for each of many.
pub struct Footprint {
    /// Whose it is.
    pub name: &'static str,
    /// For each of what.
    pub per: &'static str,
    /// Makes so many; what it gives keeps them.
    pub build: fn(u32) -> Box<dyn Any>,
}

/// Returns all of them, in the order of the table.
pub fn all() -> Vec<Footprint> {
    let of = |per, name, build| Footprint { name, per, build };
    vec![
        of(
            "route",
            "steadfast Guard, limit and timeout fixed",
            |routes| Box::new(guard(routes, false)),
        ),
        of(
            "route",
            "steadfast Guard, limit and timeout learned",
            |routes| Box::new(guard(routes, true)),
        ),
        of("endpoint", "steadfast BreakerLayer", |endpoints| {
            Box::new(breakers(endpoints))
        }),
        of(
            "endpoint",
            "tower-resilience circuit breaker",
            |endpoints| {
                let breaker = || {
                    CircuitBreakerLayer::builder()
                        .sliding_window_size(100)
                        .build()
                };
                let one = |_| breaker().expect("the breaker can be built").layer(Handler);
                Box::new((0..endpoints).map(one).collect::<Vec<_>>())
            },
        ),
        of("endpoint", "recloser", |endpoints| {
            let one = |_| Recloser::custom().closed_len(100).build();
            Box::new((0..endpoints).map(one).collect::<Vec<_>>())
        }),
        of("endpoint", "failsafe", |endpoints| {
            let one = |_| failsafe::Config::new().build();
            Box::new((0..endpoints).map(one).collect::<Vec<_>>())
        }),
    ]
}

/// Each route with a limit and a timeout of its own.
fn guard(routes: u32, learned: bool) -> Guard {
    let time = |time| Timeout::new(time).expect("the time is in range");
    let count = |number| Count::new(number).expect("the number is in range");
    let second = Duration::from_secs(1);
    let mut policy = Policy::default();
    for route in 0..routes {
        let name = format!("r{route}");
        let (permits, timeout) = if learned {
            let permits = Setting::Learn {
                floor: count(1),
                ceiling: count(1000),
            };
            let timeout = Setting::Learn {
                floor: time(second / 100),
                ceiling: time(second),
            };
            (permits, timeout)
        } else {
            (Setting::Fixed(count(64)), Setting::Fixed(time(second)))
        };
        let admission = AdmissionPolicy::new(permits, time(second / 10));
        policy.admissions.insert(name.as_str().into(), admission);
        policy
            .timeouts
            .insert(name.as_str().into(), TimeoutPolicy::new(timeout));
        let mut of = Route::new(["GET"]);
        of.admission = Some(name.as_str().into());
        of.timeout = Some(name.as_str().into());
        policy.routes.insert(format!("/{name}").as_str().into(), of);
    }
    Guard::new(policy).expect("the policy has no mistake")
}

/// One layer that has called so many hosts.
fn breakers(endpoints: u32) -> impl Any {
    let config = BreakerConfig::new().with_failure_share(0.5);
    let layer = BreakerLayer::new("calls", config.expect("the share is in range"));
    let host = std::cell::Cell::new(0);
    let layer = layer.expect("it has a reason to trip");
    let mut client = layer.clone().layer(Handler);
    beforehand(async {
        while host.get() < endpoints {
            // Once for each run of a program that ends soon.
            let path: &'static str = format!("http://h{}.example/", host.get()).leak();
            drop(call(&mut client, path).await);
            host.set(host.get() + 1);
        }
    });
    (layer, client)
}
