//! Dense ids: ranges of a store.

use std::collections::HashSet;
use std::time::Duration;

use steadfast_core::decide::backoff::Backoff;
use steadfast_core::report::{self, Value};
use steadfast_core::{clock, spawn};
use steadfast_ids::segment::SegmentsConfig;
use steadfast_ids::{Dense, DenseConfig, Id, Ids};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Fault, Faults, binds};

use super::support::{Union, until};

fn steps(step_min: u64, step_max: u64) -> DenseConfig {
    DenseConfig {
        segments: SegmentsConfig {
            step_min,
            step_max,
            backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(20)).unwrap(),
            ..SegmentsConfig::default()
        },
        ..DenseConfig::default()
    }
}

/// Takes so many; each is there, or waited for.
async fn take(ids: &Dense, count: usize) -> Vec<Id> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let asked = clock::now();
        match ids.next().await {
            Ok(id) => taken.push(id),
            // A store that is slower than that is as good as away.
            Err(error) => {
                assert!(clock::now() - asked >= Duration::from_secs(1), "{error:?}");
                clock::sleep(error.retry_after().unwrap()).await;
            }
        }
    }
    taken
}

steadfast_store::on_every_store! {
    async fn several_servers_take_each_number_once_and_nearly_all_of_them(database) {
        let mut servers = Vec::new();
        for _ in 0..4 {
            let ids = Ids::open(&database.open().await).await.unwrap();
            servers.push(ids.segments("order", steps(10, 1_000)).await.unwrap());
        }

        let tasks: Vec<_> = servers
            .iter()
            .map(|server| {
                let server = server.clone();
                spawn("server", async move { take(&server, 2_000).await })
            })
            .collect();
        let mut union = Union::default();
        for task in tasks {
            let taken = task.await.unwrap();
            assert!(taken.is_sorted_by(|one, next| one < next));
            union.add(taken);
        }

        assert_eq!(union.len(), 8_000);
        // They were used fast, so the step has grown.
        assert!(servers.iter().all(|server| server.step() > 10));
        let most = database.open().await;
        let next = Ids::open(&most).await.unwrap().segments("order", steps(1, 1)).await.unwrap();
        let last = next.next().await.unwrap().get();
        assert!(last <= 8_000 + 4 * 2 * 1_000 + 4 * 1_000, "{last}: dense, but for what servers hold");
    }

    async fn a_store_that_is_away_is_not_noticed_until_the_last_id(database) {
        let faults = Faults::new();
        let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let ids = Ids::open(&store).await.unwrap().segments("order", steps(50, 50)).await.unwrap();
        // The second range is there as well.
        take(&ids, 1).await;
        until(async || (ids.left() == 99).then_some(())).await;

        faults.on_name("segment_take", Fault::Before);
        let mut taken = take(&ids, 99).await;
        let error = ids.next().await.unwrap_err();
        assert_eq!((error.code(), error.is_used_up()), ("SF-1309", true));
        assert_eq!(error.store().unwrap().code(), "SF-1199");
        assert!(error.retry_after().unwrap() <= Duration::from_millis(40), "{error:?}");
        assert_eq!(error.to_string(), "the numbers of \"order\" are used up, and the store gives no others (SF-1309)");

        // An answer that is lost costs a range, and nothing comes twice.
        faults.clear();
        faults.on_name("segment_take", Fault::After);
        until(async || { let _ = ids.next().await; (faults.hits() >= 2).then_some(()) }).await;
        faults.clear();
        taken.extend([until(async || ids.next().await.ok()).await]);
        assert_eq!(taken[0].get(), 2);
        assert!(taken[99].get() > 200, "two ranges are nobody's");
        assert!(taken.is_sorted_by(|one, next| one < next));
    }

    async fn a_crash_between_the_commit_of_a_range_and_its_use_makes_a_hole_and_no_second(database) {
        let mut union = Union::default();
        for crash in 0..10 {
            let faults = Faults::new();
            let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
            let ids = Ids::open(&store).await.unwrap();
            if crash % 2 == 0 {
                // The range is committed, and the one who asked for it never hears of it.
                faults.on_name("segment_take", Fault::After);
                assert!(ids.segments("order", steps(7, 7)).await.is_err());
                continue;
            }
            // It hears of it, uses some, and is gone.
            let dense = ids.segments("order", steps(7, 7)).await.unwrap();
            union.add(take(&dense, 3).await);
        }

        let next = Ids::open(&database.open().await).await.unwrap();
        let dense = next.segments("order", steps(7, 7)).await.unwrap();
        union.add(take(&dense, 100).await);
        assert_eq!(union.len(), 115);
    }

    async fn tags_are_apart_begin_where_they_are_told_and_end(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let from = |first| DenseConfig { first, ..steps(10, 10) };

        assert_eq!(ids.segments("a", from(1)).await.unwrap().next().await.unwrap().get(), 1);
        assert_eq!(ids.segments("b", from(5_000)).await.unwrap().next().await.unwrap().get(), 5_000);
        // What is known of a tag wins.
        let next = ids.segments("a", from(5_000)).await.unwrap().next().await.unwrap().get();
        assert!([11, 21].contains(&next), "{next}: whether or not the second range was fetched");

        let last = ids.segments("c", from(i64::MAX as u64 - 15)).await.unwrap();
        let taken = take(&last, 10).await;
        assert_eq!(taken[0].get(), i64::MAX as u64 - 15);
        let error = until(async || last.next().await.err()).await;
        assert_eq!((error.code(), error.is_retryable()), ("SF-1309", false), "{error:?}");
        let none = ids.segments("c", from(1)).await.unwrap_err();
        assert_eq!(none.code(), "SF-1307", "never a wrapped or negative number");

        for (tag, config) in [("", from(1)), ("d", from(0)), ("d", from(u64::MAX)), (&*"x".repeat(101), from(1)), ("d", steps(0, 1))] {
            assert_eq!(ids.segments(tag, config).await.unwrap_err().code(), "SF-1305");
        }
    }

    async fn a_counter_that_was_set_back_gives_nothing_twice(database) {
        let store = database.open().await;
        let ids = Ids::open(&store).await.unwrap();
        let tag = format!("set back {:?}", database.kind());
        let dense = ids.segments(&tag, steps(5, 5)).await.unwrap();
        let mut taken = take(&dense, 5).await;
        until(async || (dense.left() == 5).then_some(())).await;
        store
            .write(async |mut tx| {
                let table = match tx.store().dialect() {
                    steadfast_store::Dialect::Sqlite => "UPDATE steadfast_id_segment SET next = 1",
                    steadfast_store::Dialect::Postgres => "UPDATE steadfast.id_segment SET next = 1",
                };
                tx.sql(table, binds![]).await
            })
            .await
            .map_err(|error: steadfast_store::Error| error)
            .unwrap();

        // It notices, and goes on when the counter has passed what it knows.
        while taken.len() < 20 {
            taken.push(until(async || dense.next().await.ok()).await);
        }
        let snapshot = report::snapshot();
        let failures = snapshot.metrics().find(|metric| {
            metric.name == "steadfast_ids_segment_fetch_failures_total"
                && metric.labels.iter().any(|(_, value)| value.as_str() == tag)
        });
        assert_eq!(failures.unwrap().value, Value::Counter(2), "1 to 5, and 6 to 10 once more");
        let unique: HashSet<Id> = taken.iter().copied().collect();
        assert_eq!(unique.len(), taken.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_of_postgresql_gives_ranges_of_its_increment() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    for text in [
        "CREATE SCHEMA shop",
        "CREATE SEQUENCE shop.\"Order id\" INCREMENT BY 100",
        "CREATE SEQUENCE down INCREMENT BY -1",
        "CREATE SEQUENCE round INCREMENT BY 10 MAXVALUE 100 CYCLE",
        "CREATE SEQUENCE below MINVALUE -100 INCREMENT BY 10",
    ] {
        let made: Result<_, steadfast_store::Error> = store
            .write(async |mut tx| tx.sql(text, binds![]).await)
            .await;
        made.unwrap();
    }
    let mut union = Union::default();
    for _ in 0..3 {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let orders = ids.sequence("shop.\"Order id\"").await.unwrap();
        assert_eq!(orders.step(), 100);
        union.add(orders.batch(1_000).await.unwrap());
        union.add(take(&orders, 250).await);
    }
    assert!(union.len() >= 1_050);

    let ids = Ids::open(&store).await.unwrap();
    for (name, why) in [
        ("nobody's", "is not there"),
        ("shop.nothing", "is not there"),
        ("down", "goes down"),
        ("round", "begins anew"),
        ("below", "below 1"),
    ] {
        let error = ids.sequence(name).await.unwrap_err();
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
}

#[tokio::test]
async fn sqlite_has_no_sequences() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();

    assert_eq!(
        ids.sequence("order_id").await.unwrap_err().code(),
        "SF-1305"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_on_its_way_is_waited_for() {
    let database = Database::make(Kind::Sqlite).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        ..database.config()
    };
    let ids = Ids::open(&database.open_with(config).await).await.unwrap();
    let dense = ids.segments("order", steps(1, 1)).await.unwrap();
    faults.on_name("segment_take", Fault::Delay(Duration::from_millis(20)));

    // One at a time: each waits for the next range, and none is an error.
    let taken = take(&dense, 10).await;

    assert!(taken.is_sorted_by(|one, next| one < next));
    assert!(faults.hits() >= 8, "all but those of the start came late");
}
