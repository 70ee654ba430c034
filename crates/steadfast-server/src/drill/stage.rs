//! The shop with all that belongs to it, as it stands between two scenarios.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::body::Body;
use axum::http::Request;
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use steadfast::clock;
use steadfast_shop::books::Books;

use super::Plan;
use super::judge::{Outcome, Sample};
use super::load::{self, Class, Running};
use super::process::{PATIENCE, Process};

/// The lease of the workers: 5 s instead of the usual 30 s, so that a drill takes a minute and not five.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// What the gateway may answer with: 16 MiB, its books after an hour.
const HOLDS_BYTES_MAX: usize = 16 << 20;

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So long that the figures mean something.
    Whole,
    /// So short that it fits into a test: fewer samples, the same criteria.
    Short,
}

/// What customers do, as often as usual: 90 requests a second, 35 of them core.
pub(super) const USUAL: [Class; 4] = [
    class("orders", true, "POST", "/orders", 10.0),
    class("payments", true, "POST", "/payments", 25.0),
    class("catalogue", false, "GET", "/catalogue", 15.0),
    class(
        "recommendations",
        false,
        "GET",
        "/recommendations/ada",
        40.0,
    ),
];

/// How long a customer waits.
const CUSTOMER: Duration = Duration::from_secs(2);

pub(super) const fn class(
    name: &'static str,
    core: bool,
    method: &'static str,
    path: &'static str,
    rate: f64,
) -> Class {
    Class {
        name,
        core,
        method,
        path,
        body: r#"{"item": "tea"}"#,
        rate,
        patience: CUSTOMER,
        attempts: 1,
        ends: Duration::MAX,
    }
}

/// The processes, and what is known of them.
pub(super) struct Stage {
    pub(super) protected: bool,
    pub(super) pace: Pace,
    pub(super) gateway: Process,
    pub(super) shop: Process,
    pub(super) workers: Vec<Process>,
    pub(super) books: Books,
    /// Orders that a client was told of.
    pub(super) promised: u64,
    /// The 99th percentile of core under the usual load, in milliseconds.
    pub(super) calm_core_p99_ms: Option<f64>,
    shop_at: SocketAddr,
    gateway_at: SocketAddr,
    folder: PathBuf,
    /// How many workers there were: each has a log of its own.
    started: usize,
    loads: u64,
}

impl Stage {
    /// Starts everything, and waits until it serves.
    pub(super) async fn open(plan: &Plan) -> anyhow::Result<Self> {
        let folder = plan.folder.clone();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let books = Books::open(&folder).await;
        let books = books.map_err(|error| anyhow!("the books cannot be opened: {error}"))?;
        let mut gateway = Process::start("gateway", &["gateway".into()], &folder)?;
        let gateway_at = gateway.listening().await?;
        let mut shop = Process::start(
            "shop",
            &words("shop", plan.protected, gateway_at, &folder),
            &folder,
        )?;
        let shop_at = shop.listening().await?;
        let mut stage = Self {
            protected: plan.protected,
            pace: plan.pace,
            gateway,
            shop,
            workers: Vec::new(),
            books,
            promised: 0,
            calm_core_p99_ms: None,
            shop_at,
            gateway_at,
            folder,
            started: 0,
            loads: 0,
        };
        // A timer in a process is there once: two would settle twice.
        for _ in 0..if plan.protected { 2 } else { 1 } {
            stage.add_worker().await?;
        }
        Ok(stage)
    }

    /// Starts one more worker.
    pub(super) async fn add_worker(&mut self) -> anyhow::Result<()> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let words = words("worker", self.protected, self.gateway_at, &self.folder);
        let mut worker = Process::start(&name, &words, &self.folder)?;
        worker.ready().await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Has customers come from now on. The n-th load of a drill is the same for every shop.
    pub(super) fn load(&mut self, classes: Vec<Class>, lasts: Duration) -> Running {
        self.loads += 1;
        load::start(self.shop_at, classes, lasts, self.loads)
    }

    /// Waits for the last customer, and notes what was promised.
    pub(super) async fn end(&mut self, load: Running) -> anyhow::Result<Vec<Sample>> {
        let samples = load.end().await?;
        let orders = samples.iter().filter(|it| {
            it.class == "orders" && matches!(it.outcome, Outcome::Answered { status: 201, .. })
        });
        self.promised += orders.count() as u64;
        Ok(samples)
    }

    /// Has the usual customers come for a time, and nothing happen to them.
    pub(super) async fn usual(&mut self, lasts: Duration) -> anyhow::Result<Vec<Sample>> {
        let load = self.load(USUAL.to_vec(), lasts);
        self.end(load).await
    }

    /// Gives one of two lengths.
    pub(super) fn lasts(&self, whole_s: f64, short_s: f64) -> Duration {
        Duration::from_secs_f64(match self.pace {
            Pace::Whole => whole_s,
            Pace::Short => short_s,
        })
    }

    /// Asks the gateway for its books.
    pub(super) async fn holds(&self) -> anyhow::Result<Value> {
        let client: legacy::Client<_, Body> =
            legacy::Client::builder(TokioExecutor::new()).build_http();
        let request =
            Request::get(format!("http://{}/holds", self.gateway_at)).body(Body::empty())?;
        let answer = clock::timeout(PATIENCE, client.request(request)).await??;
        let body = Limited::new(answer.into_body(), HOLDS_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| anyhow!("the books of the gateway: {error}"))?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}

fn words(
    role: &str,
    protected: bool,
    gateway: SocketAddr,
    folder: &std::path::Path,
) -> Vec<String> {
    let mut words = vec![
        role.to_owned(),
        format!("--gateway={gateway}"),
        format!("--data={}", folder.display()),
        format!("--lease-ms={}", LEASE.as_millis()),
    ];
    if !protected {
        words.push("--unprotected".to_owned());
    }
    words
}
