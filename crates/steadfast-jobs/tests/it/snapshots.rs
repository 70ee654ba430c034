//! A session that is left idle in its transaction, and a worker that tells of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{clock, report};
use steadfast_jobs::{Jobs, SNAPSHOT_OLD};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Rows, binds};

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

/// In real time, since the age is told by the server. On one thread, so that what is told anywhere is heard.
#[tokio::test]
async fn a_worker_tells_who_holds_an_old_snapshot_until_it_ends() {
    let events = Events::default();
    // While there is only one, a line that another test's thread writes first would be disabled for all.
    let _second = tracing::Dispatch::new(Events::default());
    let _heard = tracing::subscriber::set_default(events.clone());
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let config = Config {
        transaction_timeout: SNAPSHOT_OLD * 10,
        ..database.config()
    };
    let mut report = database.open_with(config).await.begin().await.unwrap();
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    report.sql(isolation, binds![]).await.unwrap();
    let named =
        "SELECT set_config('application_name', 'the report', true), pg_backend_pid()::bigint";
    let rows: Rows = report.sql(named, binds![]).await.unwrap();
    let pid: i64 = rows.one().unwrap().get(1).unwrap();
    let running = worker(&jobs).build().unwrap().start();

    let told = || {
        let all = events.0.lock().unwrap();
        let of_it = |line: &&String| line.contains("holds an old snapshot");
        all.iter().find(of_it).cloned()
    };
    let until = clock::now() + SNAPSHOT_OLD + PATIENCE * 2;
    while told().is_none() {
        assert!(clock::now() < until, "{:?}", events.0.lock().unwrap());
        clock::sleep(Duration::from_millis(100)).await;
    }
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
    let until = clock::now() + PATIENCE * 2;
    while held_s() > 0.0 {
        assert!(clock::now() < until, "{} s after its end", held_s());
        clock::sleep(Duration::from_millis(100)).await;
    }
    running.stop(PATIENCE).await;
}
