//! S10: panics at a high rate, and leaving with connections of all kinds.
//!
//! One handler in a hundred panics, and one body in a thousand. Every panic of a handler is answered with a 500 that
//! has the trace id, and has its line in the log; nobody else notices. Then, in processes of their own, the service
//! is told to end while 200 connections are idle and 200 requests are under way.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use load::{Class, Plan};
use steadfast::BoxError;

use super::price::median;
use super::step;
use crate::child::{self, Service};
use crate::control::Counts;
use crate::serving::{Served, Server, guard};
use crate::table::{Table, Target};

const RUN: &str = "S10";

const POLICY: &str = r#"
[admissions.http]
permits = 1000
queue = 100
queue_wait = "1s"

[timeouts.page]
timeout = "5s"

[routes."GET /task/{number}"]
tier = "core"
timeout = "page"
admission = "http"

[routes."GET /calm/{number}"]
tier = "core"
timeout = "page"
admission = "http"

[routes."GET /slow"]
tier = "core"
timeout = "page"
admission = "http"
"#;

/// One handler in this many panics, and one body in that many.
const HANDLER: u64 = 100;
const BODY: u64 = 1_000;

const RATE: f64 = 1_500.0;

/// How long each is measured, with panics and without, in seconds, and how often in turn: short, so that whatever else
/// the machine does falls on both.
const SECONDS: u64 = 1;
const ALTERNATIONS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(2);

/// How long what is under way at the end takes, and until when the process has to be gone.
const SLOW: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 200;

/// How many panics are looked at one by one.
const SAMPLES: u64 = 100;

pub(crate) async fn service(log: &str) -> Result<Served, BoxError> {
    let file = fs::File::create(log)?;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .init();
    let counts = Counts::new(["handlers", "bodies", "under_way"]);
    let under_way = counts.clone();
    let slow = async move || {
        under_way.add("under_way", 1);
        tokio::time::sleep(SLOW).await;
        "done"
    };
    let routes = Router::new()
        .route("/task/{number}", get(work))
        .route("/calm/{number}", get(calm))
        .route("/slow", get(slow))
        .with_state(counts.clone());
    let guard = guard(POLICY)?;
    Ok(Served {
        routes: guard.protect(routes).await?,
        control: counts.router(),
        server: Server::Guard(guard),
    })
}

async fn calm(Path(_number): Path<u64>) -> &'static str {
    "calm"
}

async fn work(State(counts): State<Counts>, Path(number): Path<u64>) -> Response {
    if number.is_multiple_of(HANDLER) {
        counts.add("handlers", 1);
        panic!("handler {number}");
    }
    if number % BODY == 1 {
        counts.add("bodies", 1);
        return Response::new(Body::new(Panicking));
    }
    Response::new(Body::from("calm"))
}

/// A body that panics where it should give its first frame.
struct Panicking;

impl http_body::Body for Panicking {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        panic!("a body");
    }
}

pub(super) fn measure() -> Result<Table, Box<dyn Error>> {
    let log = Log::new();
    let mut table = Table::default();
    panics(&log, &mut table)?;
    leaving(&log, &mut table)?;
    Ok(table)
}

fn panics(log: &Log, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let service = Service::start(&["panicking", log.path()])?;
    let mut ratios = Vec::new();
    let (mut offered, mut answered, mut broken) = (0, 0, 0);
    let mut statuses_500 = 0;
    // The first time is not counted: the first panic of a process has its debug information read.
    for turn in 0..=ALTERNATIONS {
        let (without, _) = cpu_us(&service, "/calm/{n}")?;
        let (with, class) = cpu_us(&service, "/task/{n}")?;
        if turn > 0 {
            ratios.push(with / without);
        }
        offered += class.offered;
        answered += class.statuses.values().sum::<u64>();
        statuses_500 += class.statuses.get(&500).copied().unwrap_or(0);
        broken += class.errors.values().sum::<u64>();
    }
    let (handlers, bodies) = (service.count("handlers")?, service.count("bodies")?);
    let traced = samples(&service)?;
    std::thread::sleep(Duration::from_millis(500));
    let told = log.panicked()?;

    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    let share = 100.0 * statuses_500 as f64 / handlers;
    row(
        "panics of handlers answered with 500, %",
        Target::AtLeast(100.0),
        share,
        2,
    );
    let share = 100.0 * f64::from(traced) / SAMPLES as f64;
    row(
        "answers that have the trace id of the request, %",
        Target::AtLeast(100.0),
        share,
        0,
    );
    let lines = told.len() as f64 / (handlers + SAMPLES as f64 + bodies);
    row(
        "lines for panics, % of panics",
        Target::AtLeast(100.0),
        100.0 * lines,
        2,
    );
    // A client hears of a broken body as of a connection that ends too early.
    let lost = offered as f64 - (answered + broken) as f64;
    row(
        "requests that nobody answered or broke off",
        Target::AtMost(0.0),
        lost,
        0,
    );
    let unexplained = broken as f64 - bodies;
    row(
        "connections broken without a body that panicked",
        Target::AtMost(0.0),
        unexplained,
        0,
    );
    row(
        "processor a request, with panics by without",
        Target::AtMost(1.05),
        median(ratios),
        3,
    );
    Ok(())
}

/// Microseconds of processor a request, and what became of them.
fn cpu_us(service: &Service, path: &str) -> Result<(f64, load::ClassReport), Box<dyn Error>> {
    let class = Class::new("all", "GET", path, vec![step(SECONDS, RATE)], PATIENCE);
    let before = service.cpu()?;
    let report = Plan::new(service.address, vec![class]).run()?;
    let cpu = service.cpu()? - before;
    let class = report.class("all").clone();
    Ok((cpu.as_secs_f64() * 1e6 / class.sent as f64, class))
}

/// How many of some panics were answered with the trace id that their request came with.
fn samples(service: &Service) -> Result<u32, Box<dyn Error>> {
    let mut traced = 0;
    for number in 0..SAMPLES {
        let id = format!("{:032x}", number + 1);
        let parent = format!("00-{id}-00000000000000a1-01");
        let path = format!("/task/{}", number * HANDLER);
        let answer = child::get(service.address, &path, &[("traceparent", &parent)])?;
        traced += u32::from(answer.status == 500 && answer.body.contains(&id));
    }
    Ok(traced)
}

fn leaving(log: &Log, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let mut service = Service::start(&["panicking", log.path()])?;
    let connect = |path: &str| -> Result<TcpStream, Box<dyn Error>> {
        let mut stream = TcpStream::connect(service.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: loopback\r\n\r\n")?;
        Ok(stream)
    };
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect("/calm/1")?;
        // An answer as short as this comes in one piece.
        let read = stream.read(&mut [0; 4096])?;
        assert!(read > 0, "the service answers");
        idle.push(stream);
    }
    let mut busy = Vec::new();
    for _ in 0..CONNECTIONS {
        busy.push(connect("/slow")?);
    }
    while service.count("under_way")? < CONNECTIONS as f64 {
        std::thread::sleep(Duration::from_millis(10));
    }

    service.terminate()?;
    let ended = service.ended_within(DEADLINE + Duration::from_secs(5))?;
    let answered = busy.into_iter().filter_map(|mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        (text.starts_with("HTTP/1.1 200 ") && text.ends_with("done")).then_some(())
    });
    let failed = CONNECTIONS - answered.count();

    let mut row =
        |name: &str, target, value, decimals| table.row(RUN, name, target, value, decimals);
    row(
        "requests under way that failed at the end",
        Target::AtMost(0.0),
        failed as f64,
        0,
    );
    let took = ended.map_or(f64::NAN, |(_, took)| took.as_secs_f64());
    row(
        "ended after, s, with 200 idle connections",
        Target::AtMost(DEADLINE.as_secs_f64()),
        took,
        1,
    );
    let code = ended
        .and_then(|(status, _)| status.code())
        .map_or(f64::NAN, f64::from);
    row("exit code", Target::AtMost(0.0), code, 0);
    drop(idle);
    Ok(())
}

/// What the service has logged, in a file that goes with this value.
struct Log(PathBuf);

impl Log {
    fn new() -> Self {
        let name = format!("loopback-{}.log", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of letters")
    }

    /// The trace ids of the requests whose line says that they have panicked.
    fn panicked(&self) -> Result<BTreeSet<String>, Box<dyn Error>> {
        let text = fs::read_to_string(&self.0)?;
        let lines = text
            .lines()
            .filter(|line| line.contains("ended=\"panicked\""));
        let id = |line: &str| {
            let (_, rest) = line.split_once("trace_id=")?;
            Some(rest.trim_start_matches('"').get(..32)?.to_owned())
        };
        Ok(lines.filter_map(id).collect())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
