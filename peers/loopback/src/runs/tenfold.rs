//! Ten times the load: core is served as if nothing had happened, and everybody else is told why not.
//!
//! An axum service with ten permits whose handlers take 10 ms can do 1,000 requests a second by construction. 300 a
//! second of the core tier are steady; others are raised until both together are 10,000 a second.

use std::error::Error;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use load::{Class, ClassReport, Plan};
use steadfast::BoxError;

use super::step;
use crate::child::Service;
use crate::control::Counts;
use crate::serving::{Served, Server, guard};
use crate::table::{Table, Target};

const RUN: &str = "tenfold";

const POLICY: &str = r#"
[admissions.http]
permits = 10
queue = 64
queue_wait = "100ms"

[timeouts.page]
timeout = "400ms"

[routes."POST /orders"]
tier = "core"
timeout = "page"
deadline = "500ms"
admission = "http"

[routes."GET /recommendations"]
tier = "tier3"
timeout = "page"
deadline = "500ms"
admission = "http"
"#;

const PERMITS: f64 = 10.0;
const TAKES: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(500);
const CORE: f64 = 300.0;
const OTHERS: f64 = 9_700.0;

/// How long the load is as usual, and then ten times of what can be done, in seconds.
const USUAL: u64 = 10;
const OVERLOAD: u64 = 20;

/// How late the generator may be before what it measures says more about itself.
const LAG_MOST_MS: f64 = 50.0;

pub(super) async fn service() -> Result<Served, BoxError> {
    let counts = Counts::new(["served", "held_ns"]);
    let work = {
        let counts = counts.clone();
        async move || {
            let began = Instant::now();
            tokio::time::sleep(TAKES).await;
            counts.add("served", 1);
            counts.add("held_ns", began.elapsed().as_nanos() as u64);
        }
    };
    let routes = Router::new()
        .route("/orders", post(work.clone()))
        .route("/recommendations", get(work));
    Ok(Served {
        routes: guard(POLICY)?.protect(routes).await?,
        control: counts.router(),
        server: Server::Axum,
    })
}

pub(super) fn measure() -> Result<Table, Box<dyn Error>> {
    let service = Service::start(&["tenfold"])?;
    let both = USUAL + OVERLOAD;
    let orders = Class::new(
        "orders",
        "POST",
        "/orders",
        vec![step(both, CORE)],
        PATIENCE,
    );
    let steps = vec![step(USUAL, 400.0), step(OVERLOAD, OTHERS)];
    let others = Class::new("others", "GET", "/recommendations", steps, PATIENCE);
    let mut plan = Plan::new(service.address, vec![orders, others]);
    plan.connections_max = 8_000;

    let report = plan.run()?;

    let (orders, others) = (report.class("orders"), report.class("others"));
    let held_ns = service.count("held_ns")? / service.count("served")?;
    let capacity = PERMITS * 1e9 / held_ns;
    let overload = USUAL as usize..both as usize;
    let sum = |of: &[u64]| of[overload.clone()].iter().sum::<u64>() as f64;
    let core = 100.0 * sum(&orders.in_time_by_second) / sum(&orders.offered_by_second);
    let all = sum(&orders.in_time_by_second) + sum(&others.in_time_by_second);
    let worst = overload
        .clone()
        .map(|second| {
            orders.in_time_by_second[second] as f64 / orders.offered_by_second[second] as f64
        })
        .fold(1.0, f64::min);
    let told = others.rejected.values().sum::<u64>() as f64;
    let not_served = (others.offered - others.in_time) as f64;
    let lag = others.lag.p99_ms.unwrap_or(f64::NAN);

    let mut table = Table::default();
    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    row("core in time, %", Target::AtLeast(99.5), core, 2);
    row(
        "core in its worst second, %",
        Target::AtLeast(99.5),
        100.0 * worst,
        1,
    );
    let percent = 100.0 * all / OVERLOAD as f64 / capacity;
    row(
        "all in time, % of what ten permits can do",
        Target::AtLeast(98.0),
        percent,
        1,
    );
    row(
        "others told why, % of those not served",
        Target::AtLeast(99.5),
        100.0 * told / not_served,
        2,
    );
    row(
        "offered in the overload, 1/s",
        Target::None,
        offered(orders, others, overload.clone()),
        0,
    );
    row("served by ten permits, 1/s", Target::None, capacity, 0);
    row(
        "core p99, ms",
        Target::None,
        orders.latency.p99_ms.unwrap_or(f64::NAN),
        1,
    );
    row(
        "unsent, for want of a connection",
        Target::AtMost(0.0),
        (orders.unsent + others.unsent) as f64,
        0,
    );
    row(
        "lag of the generator, p99, ms",
        Target::AtMost(LAG_MOST_MS),
        lag,
        1,
    );
    Ok(table)
}

fn offered(orders: &ClassReport, others: &ClassReport, seconds: std::ops::Range<usize>) -> f64 {
    let classes = [orders, others];
    let offered = classes.map(|of| of.offered_by_second[seconds.clone()].iter().sum::<u64>());
    offered.iter().sum::<u64>() as f64 / OVERLOAD as f64
}
