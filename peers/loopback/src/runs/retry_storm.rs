//! S4 over sockets: a target loses seven of its ten workers for ten seconds, and whoever calls it tries again.
//!
//! Clients send 700 requests a second to an edge, which makes one call to the target for each: 250 ms an attempt, up to
//! four attempts. The target has ten workers, in the order of arrival, 10 ms of work each on average, and finishes what
//! it has begun whether anybody waits or not. Ours is a retry budget of 10 % at the edge and an admission of twenty
//! permits at the target.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use load::{Class, Plan};
use steadfast::BoxError;
use tokio::sync::{Semaphore, oneshot};
use tower::ServiceExt;

use super::stall::{Client, client};
use super::step;
use crate::child::Service;
use crate::control::Counts;
use crate::serving::{Served, Server, exponential, guard};
use crate::table::{Table, Target};

const RUN: &str = "S4";

const POLICY: &str = r#"
[admissions.http]
permits = 20
queue = 100
queue_wait = "200ms"

[timeouts.task]
timeout = "240ms"

[routes."GET /task"]
timeout = "task"
admission = "http"
deadline = "250ms"

[trust]
clients = "inside"
"#;

const EDGE: &str = r#"
[timeouts.attempt]
timeout = "250ms"

[retries.few]
attempts = 4
budget = "10 %"

[dependencies.target]
methods = ["GET"]
timeout = "attempt"
retry = "few"
"#;

const WORKERS: usize = 10;
const LEFT: usize = 3;
const TAKES: Duration = Duration::from_millis(10);
const RATE: f64 = 700.0;

/// How long a client of the edge waits: for four attempts and what lies between.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long all is well, how long workers are gone, and how long it is looked at after that, in seconds.
const WELL: u64 = 10;
const FAULT: u64 = 10;
const AFTER: u64 = 15;

/// A second in which fewer are answered than this is not healthy.
const HEALTHY: f64 = 0.95;

/// The target, of whose workers some may be taken away.
pub(crate) async fn target() -> Result<Served, BoxError> {
    let counts = Counts::new(["asked", "served", "held_ns", "drawn_ns"]);
    let workers = Arc::new(Semaphore::new(WORKERS));
    let work = {
        let (counts, workers) = (counts.clone(), workers.clone());
        async move || {
            let (tell, told) = oneshot::channel::<()>();
            let (counts, workers) = (counts.clone(), workers.clone());
            // What has been begun goes on when the client has left.
            tokio::spawn(async move {
                let _worker = workers.acquire_owned().await;
                let (began, takes) = (Instant::now(), exponential(TAKES));
                tokio::time::sleep(takes).await;
                counts.add("served", 1);
                counts.add("drawn_ns", takes.as_nanos() as u64);
                counts.add("held_ns", began.elapsed().as_nanos() as u64);
                let _ = tell.send(());
            });
            match told.await {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            }
        }
    };
    let asked = counts.clone();
    let routes = Router::new().route("/task", get(work));
    let routes = guard(POLICY)?.protect(routes).await?;
    let routes = routes.layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            asked.add("asked", 1);
            next.run(request)
        },
    ));
    let take = {
        let workers = workers.clone();
        async move || {
            let gone = (WORKERS - LEFT) as u32;
            if let Ok(gone) = workers.acquire_many(gone).await {
                gone.forget();
            }
            "{}"
        }
    };
    let give = async move || {
        workers.add_permits(WORKERS - LEFT);
        "{}"
    };
    let control = counts.router();
    let control = control
        .route("/workers/take", get(take))
        .route("/workers/give", get(give));
    Ok(Served {
        routes,
        control,
        server: Server::Axum,
    })
}

/// The edge, which calls the target.
pub(crate) fn edge(target: &str) -> Result<Served, BoxError> {
    let client = client(&guard(EDGE)?, "target")?;
    let state = (client, format!("http://{target}/task"));
    Ok(Served {
        routes: Router::new().route("/", get(call)).with_state(state),
        control: Counts::new([]).router(),
        server: Server::Axum,
    })
}

async fn call(State((client, uri)): State<(Client, String)>) -> StatusCode {
    let request = Request::get(uri).body(Body::empty());
    match client.oneshot(request.expect("the address is one")).await {
        Ok(response) => response.status(),
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

/// Services as they were drawn.
struct Drawn {
    services: f64,
    ns: f64,
}

impl Drawn {
    fn until_now(target: &Service) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            services: target.count("served")?,
            ns: target.count("drawn_ns")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            services: self.services - before.services,
            ns: self.ns - before.ns,
        }
    }

    fn mean_ns(&self) -> f64 {
        self.ns / self.services
    }
}

pub(super) fn measure() -> Result<Table, Box<dyn Error>> {
    let target = Service::start(&["retried"])?;
    let edge = Service::start(&["retrying", &target.address.to_string()])?;
    let steps = vec![step(WELL + FAULT + AFTER, RATE)];
    let class = Class::new("all", "GET", "/", steps, PATIENCE);
    let mut plan = Plan::new(edge.address, vec![class]);
    plan.connections_max = 4_000;
    let (report, in_the_fault) = std::thread::scope(|scope| {
        let faults = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(WELL));
            target.ask("/workers/take").ok()?;
            std::thread::sleep(Duration::from_secs(1));
            let before = Drawn::until_now(&target).ok()?;
            std::thread::sleep(Duration::from_secs(FAULT - 1));
            let after = Drawn::until_now(&target).ok()?;
            target.ask("/workers/give").ok()?;
            Some(after.since(&before))
        });
        let report = plan.run()?;
        match faults.join() {
            Ok(Some(drawn)) => Ok((report, drawn)),
            _ => Err(Box::<dyn Error>::from("the workers could not be taken")),
        }
    })?;

    let all = report.class("all");
    let share =
        |second: usize| all.in_time_by_second[second] as f64 / all.offered_by_second[second] as f64;
    let over = (WELL + FAULT) as usize;
    let end = over + AFTER as usize;
    let recovers = (over..end).rposition(|second| share(second) < HEALTHY);
    let recovers = recovers.map_or(0.0, |last| last as f64 + 1.0);
    let mean_s = target.count("held_ns")? / target.count("served")? / 1e9;
    let capacity = WORKERS as f64 / mean_s;
    // Two thousand services of random length take a few percent more or less than others, which is neither merit nor
    // fault of whoever called: what was drawn is known.
    let luck = in_the_fault.mean_ns() / Drawn::until_now(&target)?.mean_ns();
    let fault = WELL as usize + 1..over;
    let served =
        all.in_time_by_second[fault.clone()].iter().sum::<u64>() as f64 / fault.len() as f64;
    let attempts = target.count("asked")? / all.offered as f64;
    let last = 100.0 * (end - 5..end).map(share).sum::<f64>() / 5.0;

    let mut table = Table::default();
    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    row(
        "recovers after, s, by whole seconds",
        Target::AtMost(1.0),
        recovers,
        0,
    );
    row(
        "served in the fault, % of healthy capacity",
        Target::AtLeast(29.0),
        100.0 * served / capacity * luck,
        1,
    );
    row("attempts a request", Target::AtMost(1.1), attempts, 2);
    row("in time in the last 5 s, %", Target::AtLeast(99.5), last, 1);
    row("capacity of ten workers, 1/s", Target::None, capacity, 0);
    row(
        "services of the fault, by the mean of all",
        Target::None,
        luck,
        3,
    );
    row(
        "lag of the generator, p99, ms",
        Target::None,
        all.lag.p99_ms.unwrap_or(f64::NAN),
        1,
    );
    Ok(table)
}
