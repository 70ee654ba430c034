//! A session that is left idle in its transaction, and a worker that tells of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{clock, report};
use steadfast_jobs::{Jobs, SNAPSHOT_OLD};
use steadfast_store::testing::{Cluster, SteppedHost, Stop};
use steadfast_store::{Config, Fault, Faults, NodeConfig, Rows, Store, binds};

use super::support::{PATIENCE, worker};

/// Keeps the fields of events of workers.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "steadfast::jobs"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

/// The longest that any worker of this process tells of: no other test holds a snapshot for long.
fn held_s() -> f64 {
    let snapshot = report::snapshot();
    let of_name = |metric: &&report::Metric| metric.name == "steadfast_jobs_snapshot_held_seconds";
    let held = snapshot.metrics().filter(of_name);
    let held = held.map(|metric| match metric.value {
        report::Value::Gauge(value) => value,
        _ => panic!("it is a gauge"),
    });
    held.fold(0.0, f64::max)
}

/// By how much the clock of the workers is put forward at once: a fraction of the time between their looks at snapshots.
const STEP: Duration = Duration::from_secs(1);

/// Puts the clock of the workers forward until this holds. That of nodes goes on as it does, and so does the server's.
async fn until(what: &str, holds: impl Fn() -> bool) {
    // By the wall clock, which is not put forward.
    let given_up = clock::timestamp().unix_millis() + PATIENCE.as_millis() as i64 * 2;
    while !holds() {
        let now = clock::timestamp().unix_millis();
        assert!(now < given_up, "not seen: {what}");
        tokio::time::pause();
        tokio::time::advance(STEP).await;
        tokio::time::resume();
        clock::sleep(Duration::from_millis(50)).await;
    }
}

/// The age is told by the server, whose clock is put forward. On one thread, so that what is told anywhere is heard.
#[tokio::test]
async fn a_worker_tells_who_holds_an_old_snapshot_until_it_ends() {
    let events = Events::default();
    // While there is only one, a line that another test's thread writes first would be disabled for all.
    let _second = tracing::Dispatch::new(Events::default());
    let _heard = tracing::subscriber::set_default(events.clone());
    let host = SteppedHost::new();
    let cluster = Cluster::start();
    cluster.stop(Stop::Fast);
    cluster.start_again_with(&host.environment());
    // Longer than the clocks are put forward.
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        acquire_timeout: SNAPSHOT_OLD * 10,
        statement_timeout: SNAPSHOT_OLD * 10,
        transaction_timeout: SNAPSHOT_OLD * 10,
        ..Config::postgres(cluster.url("postgres"))
    };
    let store = Store::open(config.clone()).await.unwrap();
    let jobs = Jobs::open(&store).await.unwrap();
    let mut report = Store::open(config).await.unwrap().begin().await.unwrap();
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    report.sql(isolation, binds![]).await.unwrap();
    let named =
        "SELECT set_config('application_name', 'the report', true), pg_backend_pid()::bigint";
    let rows: Rows = report.sql(named, binds![]).await.unwrap();
    let pid: i64 = rows.one().unwrap().get(1).unwrap();
    // A lease that is over neither by the clock of the workers nor by that of the server.
    let node = NodeConfig::new("test", "0").with_lease(SNAPSHOT_OLD * 10);
    let running = worker(&jobs).join(node).build().unwrap().start();
    let told = || {
        let all = events.0.lock().unwrap();
        let of_it = |line: &&String| line.contains("holds an old snapshot");
        all.iter().find(of_it).cloned()
    };
    // The first look is over once there is another one.
    faults.on_name("snapshots", Fault::Delay(Duration::ZERO));
    until("two looks", || faults.hits() >= 2).await;
    assert!(told().is_none() && held_s() == 0.0, "it is not old");

    host.put_ahead(SNAPSHOT_OLD.as_millis() as i64);

    until("who holds it", || told().is_some()).await;
    let told = told().unwrap();
    for part in [
        &*format!("pid={pid} "),
        "application=the report ",
        "state=idle in transaction ",
        "user=",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let seen = held_s();
    assert!(seen >= SNAPSHOT_OLD.as_secs_f64(), "{seen} after {told}");

    report.roll_back().await.unwrap();
    until("that it has ended", || held_s() == 0.0).await;
    running.stop(PATIENCE).await;
}
