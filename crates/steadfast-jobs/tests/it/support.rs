//! What the tests share: a kind whose handler does what its payload says, and looks into the tables.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{BoxError, clock};
use steadfast_jobs::{
    Job, JobEvent, JobId, Jobs, Kind, PACKAGE, Run, What, Worker, WorkerBuilder, end,
};
use steadfast_store::{Binds, Dialect, NodeConfig, Rows, Statement, Store, binds};
use tokio::sync::broadcast;

/// A job whose handler does what it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Act {
    Succeed,
    Answer(i64),
    Fail,
    FailOnce,
    Panic,
    Snooze,
    Discard,
    Hang,
}

impl Job for Act {
    const KIND: &'static str = "act";
    const MAX_ATTEMPTS: u32 = 2;
}

pub(crate) async fn act(run: Run, act: Act) -> Result<Option<i64>, BoxError> {
    match act {
        Act::Succeed => Ok(None),
        Act::Answer(answer) => Ok(Some(answer)),
        Act::Fail => Err("no luck".into()),
        Act::FailOnce if run.attempt() == 1 => Err("no luck at first".into()),
        Act::FailOnce => Ok(None),
        Act::Panic => panic!("no luck at all"),
        Act::Snooze if run.term() == 1 => Err(end::snooze(Duration::from_millis(20))),
        Act::Snooze => Ok(None),
        Act::Discard => Err(end::discard("never")),
        Act::Hang => std::future::pending().await,
    }
}

/// A worker for [`Act`], with short waits.
pub(crate) fn worker(jobs: &Jobs) -> WorkerBuilder {
    let backoff = steadfast_core::decide::backoff::Backoff::new(
        Duration::from_millis(1),
        Duration::from_millis(10),
    );
    Worker::builder(jobs)
        .kind(Kind::new(act).backoff(backoff.unwrap()))
        .rescue_every(Duration::from_millis(200))
        .join(NodeConfig::new("test", "0"))
}

/// How long a test waits for what must come: long enough for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for an event of a job.
pub(crate) async fn until(
    events: &mut broadcast::Receiver<JobEvent>,
    id: JobId,
    wanted: impl Fn(&What) -> bool,
) -> JobEvent {
    let found = async {
        loop {
            let event = events.recv().await.expect("the worker lives");
            if event.id == id && wanted(&event.what) {
                return event;
            }
        }
    };
    match clock::timeout(PATIENCE, found).await {
        Ok(event) => event,
        Err(_) => panic!("nothing of the kind happened to job {id}"),
    }
}

/// Gives a statement of the package.
pub(crate) fn statement(name: &str) -> &'static Statement {
    let found = PACKAGE.statements.iter().find(|known| known.name() == name);
    found
        .copied()
        .unwrap_or_else(|| panic!("no statement {name}"))
}

/// Runs SQL of the test: the words for SQLite, those for PostgreSQL. Boxed, since a test has many of
/// them, and each would have its place on the stack.
pub(crate) fn sql<'a>(
    store: &'a Store,
    sqlite: &'static str,
    postgres: &'static str,
    binds: Binds,
) -> Pin<Box<dyn Future<Output = Rows> + Send + 'a>> {
    let text = match store.dialect() {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
    };
    Box::pin(async move {
        let ran: Result<Rows, steadfast_store::Error> =
            store.write(async |mut tx| tx.sql(text, binds).await).await;
        ran.unwrap()
    })
}

/// What the tables say of a job: table, state, attempt, term, and its error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) state: String,
    pub(crate) attempt: i64,
    pub(crate) crashes: i64,
    pub(crate) term: i64,
    pub(crate) incarnation: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) due_us: i64,
}

pub(crate) async fn look(store: &Store, id: JobId) -> Option<Seen> {
    let id = i64::try_from(id.get()).unwrap();
    let rows = store.run(statement("find"), binds![id]).await.unwrap();
    assert!(rows.len() <= 1, "a job is in one of the tables");
    let row = rows.first()?;
    Some(Seen {
        state: row.get(3).unwrap(),
        due_us: row.get(5).unwrap(),
        attempt: row.get(7).unwrap(),
        crashes: row.get(9).unwrap(),
        term: row.get(10).unwrap(),
        incarnation: row.get(11).unwrap(),
        error: row.get(17).unwrap(),
        result: row.get(18).unwrap(),
    })
}

/// Waits until a job is in a state, by the tables.
pub(crate) async fn until_state(store: &Store, id: JobId, state: &str) -> Seen {
    let found = async {
        loop {
            if let Some(seen) = look(store, id).await.filter(|seen| seen.state == state) {
                return seen;
            }
            clock::sleep(Duration::from_millis(2)).await;
        }
    };
    match clock::timeout(PATIENCE, found).await {
        Ok(seen) => seen,
        Err(_) => panic!("job {id} is not {state}: {:?}", look(store, id).await),
    }
}

/// Has a node look for the dead, as it does every few seconds.
pub(crate) async fn rescue(store: &Store) {
    let rescued = store.run(statement("rescue"), binds![1_000_i64, false]);
    rescued.await.unwrap();
}

/// Adds a node by hand, as if of a process of its own; gives its incarnation.
pub(crate) async fn node(store: &Store) -> i64 {
    static PID: AtomicI64 = AtomicI64::new(1);
    node_of(store, PID.fetch_add(1, Ordering::Relaxed)).await
}

/// Adds a node of a process by hand; gives its incarnation.
pub(crate) async fn node_of(store: &Store, pid: i64) -> i64 {
    let rows = sql(
        store,
        "INSERT INTO steadfast_node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_boot_us) VALUES ('test', '0', 'test', ?1, 'test', 'test', 0, 0, 0) RETURNING id",
        "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us) VALUES ('test', '0', 'test', $1, 'test', 'test', 0, 0, 9000000000000000000) RETURNING id",
        binds![pid],
    )
    .await;
    rows.one().unwrap().get(0).unwrap()
}

/// Marks a node as dead.
pub(crate) async fn kill(store: &Store, incarnation: i64) {
    sql(
        store,
        "UPDATE steadfast_node SET ended_us = 1 WHERE id = ?1",
        "UPDATE steadfast.node SET ended_us = 1 WHERE id = $1",
        binds![incarnation],
    )
    .await;
}
