//! The production program: a store, a worker, schedules, and whether all of it is well.

mod certificates;
pub(crate) mod check;
mod health;
mod ids;
mod systemd;
mod unhandled;

use std::time::Duration;

use anyhow::Context;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use steadfast::clock::Elapsed;
use steadfast::decide::backoff::Backoff;
use steadfast::jobs::schedule::{Registered, Schedules};
use steadfast::jobs::{self, Jobs, Worker};
use steadfast::store::{self, Node, NodeConfig, Store};
use steadfast::{Shutdown, clock, rng};
use tokio::net::TcpListener;

use crate::api::{Api, Kinds, Usual};
use crate::config::Config;
use crate::handlers::{self, Outside, Progresses, Shared};
use crate::listen::listen;
use crate::process::warden::{self, Warden};
use crate::sql;
use crate::unwritten::unwritten;
use crate::writes::is_about_writes;
use certificates::Certificates;
use health::Health;
use ids::IdServer;

pub(crate) use handlers::ending_of;

/// The version of this program, as nodes say it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long to wait for a store that is away: from 200 ms doubling to 10 s, with jitter.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// What it is that ends the program where the API never comes.
const NOT_SERVED: &str = "the API cannot be served";

/// Runs until the shutdown, with a configuration that the machine has been [looked at](check::look) for.
pub(crate) async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    // Programs that run as the same user could read our environment and our memory, with all secrets in them, and what they
    // write is kept with their jobs.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(target: "steadfast::serve", %error, "programs of the same user can read the secrets of this process");
    }
    let certificates = Certificates::load(&config)?;
    let (api_tls, calls_tls) = (certificates.api.clone(), certificates.calls.clone());
    let ids_tls = certificates.ids.clone();
    let listener = TcpListener::from_std(listen(config.health, "in [health]")?)?;
    let (calls, calls_at) = match &config.calls {
        None => (None, None),
        Some(calls) => {
            let listener = TcpListener::from_std(listen(calls.listen, "in [calls]")?)?;
            let address = listener.local_addr()?;
            tracing::info!(target: "steadfast::serve", %address, "words about long work are taken");
            (Some(listener), Some(address))
        }
    };
    let outside = Outside::new(&config, calls_at)?;
    let (warden, keeper) = warden::new();
    let ids = IdServer::bind(&config).await?;
    tracing::info!(target: "steadfast::serve", address = %listener.local_addr()?, "health is told");
    let health = Health::new(&shutdown, ids.as_ref().map(IdServer::handing));
    let told = health
        .clone()
        .serve(listener)
        .map_err(|error| anyhow::anyhow!(error))?;
    // A store that is away is waited for, and no reason to start all over.
    systemd::tell("READY=1\nSTATUS=the store is being opened");
    let work = async {
        let place = config.store.config(&config.service)?;
        let progress = Progresses::default();
        let parts = Parts::start(
            &config, &place, &progress, &outside, &warden, &health, &shutdown,
        );
        let Some(parts) = parts.await? else {
            return Ok(());
        };
        let api = async || {
            if !config.api.enabled {
                return Ok(());
            }
            let (tls, place) = (api_tls.clone(), place.clone());
            let (guard, kinds) = (outside.guard(), Some(kinds(&config, &progress)));
            // One name for all servers of a store, however each is called: the policy follows from the configuration.
            let address =
                Api::start(&config.api, place, tls, guard, "serve", kinds, &shutdown).await?;
            tracing::info!(target: "steadfast::serve", %address, "the API is served");
            anyhow::Ok(())
        };
        let stop = shutdown.stop_accepting();
        // The jobs are begun once it is served, or while it is waited for, and not at all where it never is.
        let tried = stop.run(api()).await.unwrap_or(Ok(()));
        health.tried_api(&tried);
        if let Err(error) = &tried
            && !is_api_tried_again(error)
        {
            parts.leave().await;
            return tried.context(NOT_SERVED);
        }
        let handled = config.handlers.keys().cloned().collect();
        let queues = config.queues.keys().cloned().collect();
        let lost = unhandled::tell(parts.jobs.clone(), config.lease, handled, queues);
        let served = async {
            let served = until_served(tried, api, &health, &shutdown).await;
            if served.is_err() {
                // What runs has its time, and the node leaves.
                shutdown.request(NOT_SERVED);
            }
            served.context(NOT_SERVED)
        };
        let ended = async { tokio::join!(served, parts.run(&shutdown)) };
        tokio::select! {
            (served, ()) = ended => served,
            never = lost => match never {},
        }
    };
    let taken = async {
        match calls {
            Some(listener) => outside.serve(listener, calls_tls, &shutdown).await,
            None => std::future::pending().await,
        }
    };
    let handing = async {
        match ids {
            Some(ids) => ids.run(ids_tls, &shutdown).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        ended = async { tokio::try_join!(work, handing) } => ended.map(drop),
        () = certificates.follow() => Ok(()),
        never = keeper.run() => match never {},
        () = tell_the_end(&shutdown) => Ok(()),
        ended = taken => ended.context("words about long work cannot be taken"),
        // Nobody could tell any more how it is.
        _ = told => Err(anyhow::anyhow!("the listener of health has ended")),
    }
}

/// What jobs have that somebody makes by hand, and says no more of, and which schedules the files have.
fn kinds(config: &Config, progress: &Progresses) -> Kinds {
    let handlers = config.handlers.iter();
    let usual = handlers.map(|(name, handler)| {
        let usual = Usual {
            queue: handler.queue.clone(),
            attempts: handler.attempts,
        };
        (name.clone(), usual)
    });
    Kinds {
        usual: usual.collect(),
        queues: config.queues.keys().cloned().collect(),
        progress: progress.clone(),
        schedules: config.schedules.keys().cloned().collect(),
        lease: config.lease,
    }
}

/// Tells systemd when the end begins; does not end by itself.
async fn tell_the_end(shutdown: &Shutdown) {
    shutdown.stop_accepting().cancelled().await;
    systemd::tell("STOPPING=1");
    std::future::pending().await
}

/// Tells whether a trouble of the store is waited for: it is away, or a standby that is promoted, and neither is a
/// mistake of the configuration.
fn passes(error: &store::Error) -> bool {
    error.is_unreachable() || is_about_writes(error)
}

/// Tells whether what could not be opened is tried again.
fn is_tried_again(error: &jobs::Error) -> bool {
    error.is_retryable() || error.store().is_some_and(passes)
}

/// Tells whether the API, which could not be started, is tried again.
fn is_api_tried_again(error: &anyhow::Error) -> bool {
    error.is::<Elapsed>() || error.downcast_ref().is_some_and(is_tried_again)
}

/// Starts the API again for as long as the store is away, after a start that has `tried` it; no longer than until the program is
/// to end.
async fn until_served(
    mut tried: anyhow::Result<()>,
    start: impl AsyncFn() -> anyhow::Result<()>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let stop = shutdown.stop_accepting();
    let mut waits = Backoff::new(WAIT_FIRST, WAIT_LONGEST)?.state();
    while let Err(error) = &tried
        && is_api_tried_again(error)
    {
        tracing::error!(
            target: "steadfast::serve",
            error = error.as_ref() as &(dyn std::error::Error + 'static),
            fix = error.downcast_ref().map_or("", jobs::Error::fix),
            "the API cannot be served; it is tried again"
        );
        let wait = clock::sleep(waits.next(rng::bits()));
        let again = async {
            wait.await;
            start().await
        };
        tried = stop.run(again).await.unwrap_or(Ok(()));
        health.tried_api(&tried);
    }
    tried
}

/// What runs.
struct Parts {
    store: Store,
    jobs: Jobs,
    node: Node,
    /// Nobody, where only ids are handed out.
    worker: Option<Worker>,
}

impl Parts {
    /// Starts everything, however long the store is away; nothing once the program is to end.
    async fn start(
        config: &Config,
        place: &store::Config,
        progress: &Progresses,
        outside: &Outside,
        warden: &Warden,
        health: &Health,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<Self>> {
        let stop = shutdown.stop_accepting();
        let mut waits = Backoff::new(WAIT_FIRST, WAIT_LONGEST)?.state();
        loop {
            let open = Self::open(config, progress, outside, warden, place.clone());
            let opened = tokio::select! {
                opened = open => opened,
                _ = stop.cancelled() => return Ok(None),
            };
            let error = match opened {
                Ok(parts) => {
                    health.opened(&parts.store, &parts.node);
                    return Ok(Some(parts));
                }
                Err(error) => error,
            };
            let store = error.store();
            let fix = store.map_or("", |error| error.fix());
            if !is_tried_again(&error) {
                let code = store.map_or("SF-2101", |error| error.code());
                let error = anyhow::Error::new(error);
                return Err(error.context(format!("the store cannot be used ({code}): {fix}")));
            }
            health.failed(&error);
            tracing::error!(
                target: "steadfast::serve",
                error = &error as &(dyn std::error::Error + 'static),
                fix,
                "the store cannot be opened; it is tried again"
            );
            let wait = clock::sleep(waits.next(rng::bits()));
            if stop.run(wait).await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn open(
        config: &Config,
        progress: &Progresses,
        outside: &Outside,
        warden: &Warden,
        place: store::Config,
    ) -> Result<Self, jobs::Error> {
        let store = Store::open(place).await?;
        let jobs = Jobs::open(&store).await?;
        store.migrate(&sql::PACKAGE).await?;
        let schedules = Schedules::new(&jobs);
        for (name, schedule) in &config.schedules {
            let registered = schedules.register(&schedule.0).await?;
            if registered != Registered::Same {
                let plan = schedule.0.plan().describe();
                let change = if registered == Registered::Added {
                    "added"
                } else {
                    "changed"
                };
                tracing::info!(target: "steadfast::serve", schedule = name, change, plan, "a schedule is as the file says");
            }
        }
        let others = unwritten(&schedules, |name| config.schedules.contains_key(name)).await?;
        if let Some(names) = others {
            tracing::info!(target: "steadfast::serve", names, "the store has schedules that the file does not have; they go on");
        }
        let node = NodeConfig::new(&config.service, VERSION).with_lease(config.lease);
        let node = store.join(node).await?;
        if config.handlers.is_empty() {
            return Ok(Self {
                store,
                jobs,
                node,
                worker: None,
            });
        }
        let shared = Shared::new(&jobs, progress, outside, warden);
        let mut worker = Worker::builder(&jobs).node(node.clone());
        for (name, permits) in &config.queues {
            worker = worker.queue(name, *permits);
        }
        for (name, handler) in &config.handlers {
            if let Some(kind) = handlers::kind(name, handler, &shared) {
                worker = worker.kind(kind);
            }
        }
        Ok(Self {
            store,
            jobs,
            node,
            worker: Some(worker.build()?),
        })
    }

    async fn run(mut self, shutdown: &Shutdown) {
        tracing::info!(target: "steadfast::serve", "ready");
        systemd::tell("STATUS=ready");
        match self.worker.take() {
            Some(worker) => {
                worker.run(shutdown).await;
            }
            None => {
                shutdown.stop_accepting().cancelled().await;
            }
        }
        self.leave().await;
    }

    async fn leave(self) {
        self.node.leave().await;
        self.store.close().await;
    }
}
