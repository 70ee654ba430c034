mod claims;
mod ends;
mod limits;
mod suspects;
mod turns;

use std::future::poll_fn;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use steadfast_core::Cancel;
use steadfast_store::testing::{Database, Kind as On};
use steadfast_store::{Binds, Dialect, Fault, Node, NodeConfig, Rows, binds};
use tokio::sync::{Notify, mpsc};

use super::held::Claimed;
use super::operation::{Back, Books, Outcome, SIDE_BY_SIDE, Told};
use super::outcome::FAILED_LONGEST;
use super::*;
use crate::decide::floor::Seen;
use crate::worker::alone::{self, Seat};
use crate::{Batch, Job, Kind, Options, Worker, WorkerBuilder};

const MILLI: u64 = 1_000_000;

/// An engine of a worker on a database of its own, and where its runs tell their ends. It holds nothing by the books.
async fn engine_of(
    on: On,
    describe: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
) -> (Database, Engine, mpsc::UnboundedReceiver<Finished>) {
    let database = Database::make(on).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let worker = describe(Worker::builder(&jobs)).build().unwrap();
    let (to, ended) = mpsc::unbounded_channel();
    let tokens = (Cancel::new(), Cancel::new());
    let legacy = (to, Legacy::default());
    let mut engine = Engine::new(worker.settings, jobs, worker.tally, 1, tokens, legacy);
    engine.uncertain = false;
    (database, engine, ended)
}

async fn engine() -> (Database, Engine, mpsc::UnboundedReceiver<Finished>) {
    engine_of(On::Sqlite, |worker| worker.kind(any())).await
}

#[derive(Serialize, Deserialize)]
struct Any;

impl Job for Any {
    const KIND: &'static str = "any";
}

fn any() -> Kind {
    Kind::of_name("any", async |_, _, _| Ok(None))
}

/// A kind that is held while somebody says so.
fn held_kind(name: &'static str) -> (Arc<AtomicBool>, Kind) {
    let is_down = Arc::new(AtomicBool::new(true));
    let looks = is_down.clone();
    let kind = Kind::of_name(name, async |_, _, _| Ok(None));
    (
        is_down,
        kind.hold_while(move || looks.load(Ordering::Relaxed)),
    )
}

/// Waits for what must come.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let patience = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = clock::timeout(Duration::from_secs(60), patience).await;
    assert!(in_time.is_ok(), "waited in vain until {what}");
}

/// A job that was claimed.
fn claimed(engine: &Engine, id: i64) -> Claimed {
    let kinds = &engine.settings.kinds;
    Claimed {
        id,
        term: 1,
        queue: 0,
        kind: kinds.values().next().unwrap().clone(),
        payload: "null".into(),
        spent: 0,
        max_attempts: 1,
        crashes: 0,
        rank_us: 0,
        trace_id: None,
        longest: None,
        since: 1_000 * MILLI,
        place: None,
    }
}

/// Has it hold a lease.
async fn join(engine: &mut Engine) -> Node {
    let node = NodeConfig::new("test", "0");
    let node = engine.jobs.store().join(node).await.unwrap();
    engine.incarnation = node.alive().await.unwrap().id();
    node
}

/// Has it ask the store once, if there is something to ask; tells whether there was.
async fn turn(engine: &mut Engine, now: u64) -> bool {
    let Some(operation) = engine.next_operation(now, false) else {
        return false;
    };
    let outcome = operation.await;
    engine.apply(now, outcome);
    true
}

/// Runs SQL of a test, with names as SQLite has them.
async fn sql(engine: &Engine, text: &'static str, binds: Binds) -> Rows {
    let store = engine.jobs.store();
    let text = match store.dialect() {
        Dialect::Sqlite => text,
        // Those of tests are few and short.
        Dialect::Postgres => text
            .replace("steadfast_", "steadfast.")
            .replace('?', "$")
            .leak(),
    };
    let ran: Result<Rows, steadfast_store::Error> =
        store.write(async |mut tx| tx.sql(text, binds).await).await;
    ran.unwrap()
}
