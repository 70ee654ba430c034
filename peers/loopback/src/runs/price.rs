//! S8 over sockets: what it costs a service to say no.
//!
//! All permits and all places to wait are taken for the whole run, so that every request is rejected. What the process
//! was on a processor, by the number of answers, is the price: reading the request, the guard, writing the answer. The
//! same is measured for a bare axum handler that answers `204`, which is what HTTP alone costs here.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use load::{Class, Plan};
use steadfast::BoxError;

use super::step;
use crate::child::{self, Service};
use crate::control::Counts;
use crate::serving::{Served, Server, guard};
use crate::table::{Table, Target};

const RUN: &str = "S8";

const POLICY: &str = r#"
[admissions.http]
permits = 1
queue = 1
queue_wait = "40s"

[timeouts.whole_run]
timeout = "50s"

[drain]
lower = "60s"
hard = "75s"

[routes."GET /task"]
timeout = "whole_run"
admission = "http"
"#;

const RATE: f64 = 4_000.0;
const SECONDS: u64 = 5;
const ALTERNATIONS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);

/// By which servers rejections are measured.
const BY_AXUM: &str = "axum";
const BY_GUARD: &str = "guard";

pub(super) async fn service(server: &str) -> Result<Served, BoxError> {
    let counts = Counts::new(["inside"]);
    let inside = counts.clone();
    let work = async move || {
        inside.add("inside", 1);
        std::future::pending::<()>().await;
    };
    let routes = Router::new().route("/task", get(work));
    let bare = Router::new().route("/bare", get(async || StatusCode::NO_CONTENT));
    let guard = guard(POLICY)?;
    Ok(Served {
        routes: guard.protect(routes).await?,
        control: counts.router().merge(bare),
        server: match server {
            BY_GUARD => Server::Guard(guard),
            _ => Server::Axum,
        },
    })
}

pub(super) fn measure() -> Result<Table, Box<dyn Error>> {
    let (service, guarded) = (full(BY_AXUM)?, full(BY_GUARD)?);
    let (mut rejections, mut bare, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_guard = Vec::new();
    for _ in 0..ALTERNATIONS {
        let (us, share) = price(&service, service.address, "/task", 503)?;
        rejections.push(us);
        answered.push(share);
        bare.push(price(&service, service.control, "/bare", 204)?.0);
        by_guard.push(price(&guarded, guarded.address, "/task", 503)?.0);
    }
    let mut table = Table::default();
    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    let (rejection, bare) = (median(rejections), median(bare));
    row(
        "a rejection, µs of processor",
        Target::AtMost(15.0),
        rejection,
        1,
    );
    row("a bare handler that answers 204, µs", Target::None, bare, 1);
    row(
        "a rejection behind `Guard::serve`, µs",
        Target::None,
        median(by_guard),
        1,
    );
    row(
        "rejected, % of all",
        Target::AtLeast(99.9),
        100.0 * median(answered),
        2,
    );
    Ok(table)
}

/// A service in which one request is inside and one waits, neither of which is ever answered.
fn full(server: &str) -> Result<Service, Box<dyn Error>> {
    let service = Service::start(&["full", server])?;
    let address = service.address;
    for _ in 0..2 {
        std::thread::spawn(move || drop(child::get(address, "/task", &[])));
    }
    while service.count("inside")? < 1.0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    Ok(service)
}

/// Microseconds of processor for each answer, and what part of the requests was answered so.
fn price(
    service: &Service,
    address: SocketAddr,
    path: &str,
    status: u16,
) -> Result<(f64, f64), Box<dyn Error>> {
    let class = Class::new("all", "GET", path, vec![step(SECONDS, RATE)], PATIENCE);
    let before = service.cpu()?;
    let report = Plan::new(address, vec![class]).run()?;
    let cpu = service.cpu()? - before;
    let class = report.class("all");
    let answers = class.statuses.get(&status).copied().unwrap_or(0) as f64;
    Ok((
        cpu.as_secs_f64() * 1e6 / answers,
        answers / class.offered as f64,
    ))
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
