//! S5 over sockets: a dependency stalls, and the route that has nothing to do with it goes on.
//!
//! A service of 200 permits has two routes, each of which makes one call: 500 a second to B and 500 to C, 40 ms each
//! on average. After a while B answers nobody for half a minute. Whoever calls B waits for as long as its client stack
//! says; C is answered as if nothing had happened, or finds no permit.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use load::{Class, Plan, Report};
use steadfast::BoxError;
use steadfast::tower::Guard;
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use super::step;
use crate::child::Service;
use crate::control::Counts;
use crate::serving::{Served, Server, exponential, guard};
use crate::table::{Table, Target};

const RUN: &str = "S5";

/// Whoever finds no permit is rejected at once: nobody waits in front of a stall. The floor is the 99th percentile of
/// exponential times of 40 ms, and C has the rest of the permits. `TIMEOUT` is that of B.
const POLICY: &str = r#"
[admissions.http]
permits = 200
queue = 1
queue_wait = "1ms"

[admissions.calls]
permits = 200
queue = 1
queue_wait = "1ms"

[timeouts.b]
TIMEOUT

[timeouts.c]
timeout = "400ms"

[dependencies.b]
methods = ["GET"]
timeout = "b"
admission = "calls"

[dependencies.c]
methods = ["GET"]
timeout = "c"

# Longer than any call: what ends a stall here is the timeout of the call.
[timeouts.route]
timeout = "40s"

[drain]
lower = "60s"
hard = "75s"

[routes."GET /b"]
timeout = "route"
admission = "http"
calls = ["b"]

[routes."GET /c"]
timeout = "route"
admission = "http"
calls = ["c"]

[trust]
clients = "inside"
"#;

const LEARNED: &str = r#"
timeout = "learn"
timeout_floor = "184ms"
timeout_ceiling = "30s"
permit_share = "75 %"
"#;

const RATE: f64 = 500.0;
const TAKES: Duration = Duration::from_millis(40);

/// How long clients wait for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long all is well, how long B stalls, and how long it is looked at after that, in seconds.
const WELL: u64 = 15;
const STALL: u64 = 30;
const AFTER: u64 = 5;

pub(super) type Client = BoxCloneSyncService<Request<Body>, http::Response<Body>, BoxError>;

#[derive(Clone)]
struct Way {
    client: Client,
    uri: String,
}

/// B and C, of which B may be told to stall.
pub(crate) fn dependencies() -> Served {
    let (stall, stalls) = watch::channel(false);
    let b = async move || {
        let mut stalls = stalls.clone();
        // It ends with the process.
        let _ = stalls.wait_for(|stalls| !stalls).await;
        tokio::time::sleep(exponential(TAKES)).await;
    };
    let c = async || tokio::time::sleep(exponential(TAKES)).await;
    let (begin, end) = (stall.clone(), stall);
    let control = Router::new()
        .route("/stall/begin", get(async move || told(&begin, true)))
        .route("/stall/end", get(async move || told(&end, false)));
    Served {
        routes: Router::new().route("/b", get(b)).route("/c", get(c)),
        control,
        server: Server::Axum,
    }
}

fn told(stall: &watch::Sender<bool>, stalls: bool) -> &'static str {
    stall.send_replace(stalls);
    "{}"
}

/// The service; `timeout` is that of B: `learned`, or as `1s`.
pub(crate) async fn service(dependencies: &str, timeout: &str) -> Result<Served, BoxError> {
    let timeout = match timeout {
        "learned" => LEARNED.to_owned(),
        fixed => format!("timeout = \"{fixed}\""),
    };
    let guard = guard(&POLICY.replace("TIMEOUT", &timeout))?;
    let way = |name: &str| -> Result<Way, BoxError> {
        Ok(Way {
            client: client(&guard, name)?,
            uri: format!("http://{dependencies}/{name}"),
        })
    };
    let routes = Router::new()
        .route("/b", get(call).with_state(way("b")?))
        .route("/c", get(call).with_state(way("c")?));
    Ok(Served {
        routes: guard.protect(routes).await?,
        control: Counts::new([]).router(),
        server: Server::Axum,
    })
}

/// The stack of a dependency around hyper's client.
pub(super) fn client(guard: &Guard, dependency: &str) -> Result<Client, BoxError> {
    let client = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .map_err(BoxError::from)
        .layer(guard.client(dependency)?)
        .service(legacy::Client::builder(TokioExecutor::new()).build_http());
    Ok(BoxCloneSyncService::new(client))
}

async fn call(State(way): State<Way>) -> Result<StatusCode, Infallible> {
    let request = Request::get(&way.uri).body(Body::empty());
    let response = way
        .client
        .oneshot(request.expect("the address is one"))
        .await;
    Ok(match response {
        Ok(response) => response.status(),
        Err(_) => StatusCode::GATEWAY_TIMEOUT,
    })
}

pub(super) fn measure() -> Result<Table, Box<dyn Error>> {
    let ours = run("learned")?;
    let usual = run("1s")?;
    let mut table = Table::default();
    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    let (c, _) = in_stall(&ours);
    row(
        "C answered in the stall of B, %",
        Target::AtLeast(99.0),
        c,
        2,
    );
    row(
        "the same, B with a timeout of 1 s",
        Target::None,
        in_stall(&usual).0,
        1,
    );
    row(
        "C answered in its worst second, %",
        Target::None,
        in_stall(&ours).1,
        1,
    );
    let b = ours.class("b");
    let well = 5..WELL as usize;
    let sum = |of: &[u64]| of[well.clone()].iter().sum::<u64>() as f64;
    let b_well = 100.0 * sum(&b.in_time_by_second) / sum(&b.offered_by_second);
    row("B answered while it is well, %", Target::None, b_well, 2);
    let lag = ours.class("c").lag.p99_ms.unwrap_or(f64::NAN);
    row("lag of the generator, p99, ms", Target::None, lag, 1);
    Ok(table)
}

fn run(timeout: &str) -> Result<Report, Box<dyn Error>> {
    let dependencies = Service::start(&["dependencies"])?;
    let address = dependencies.address.to_string();
    let service = Service::start(&["calling", &address, timeout])?;
    let steps = || vec![step(WELL + STALL + AFTER, RATE)];
    let class = |name: &str| Class::new(name, "GET", format!("/{name}"), steps(), PATIENCE);
    let mut plan = Plan::new(service.address, vec![class("b"), class("c")]);
    plan.connections_max = 4_000;
    std::thread::scope(|scope| {
        let faults = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(WELL));
            let begun = dependencies.ask("/stall/begin").is_ok();
            std::thread::sleep(Duration::from_secs(STALL));
            begun && dependencies.ask("/stall/end").is_ok()
        });
        let report = plan.run()?;
        match faults.join() {
            Ok(true) => Ok(report),
            _ => Err("the stall could not be made".into()),
        }
    })
}

/// What part of C was answered in the stall, and in the worst second of it, in percent.
fn in_stall(report: &Report) -> (f64, f64) {
    let c = report.class("c");
    let stall = WELL as usize + 1..(WELL + STALL) as usize;
    let sum = |of: &[u64]| of[stall.clone()].iter().sum::<u64>() as f64;
    let worst = stall
        .clone()
        .map(|second| c.in_time_by_second[second] as f64 / c.offered_by_second[second] as f64)
        .fold(1.0, f64::min);
    (
        100.0 * sum(&c.in_time_by_second) / sum(&c.offered_by_second),
        100.0 * worst,
    )
}
