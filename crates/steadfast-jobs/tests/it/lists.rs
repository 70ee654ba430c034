use std::time::Duration;

use steadfast_core::{clock, spawn};
use steadfast_jobs::{Batch, COUNT_CAP, Cursor, Filter, Jobs, NoCursor, Options, State};
use steadfast_store::testing::Database;
use steadfast_store::{Dialect, Error, Rows, Statement, Store, binds};

use super::support::{Act, PATIENCE, sql, until_state, worker};

steadfast_store::on_every_store! {
    async fn pages_have_every_job_once_also_while_others_come(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = Batch::new();
        for number in 0..25 {
            let queue = if number % 5 == 0 { "rare" } else { "default" };
            batch.push(&Act::Succeed, Options::new().queue(queue)).unwrap();
        }
        let ids = jobs.enqueue_batch(batch).await.unwrap();

        let mut seen = Vec::new();
        let mut filter = Filter::live();
        loop {
            let page = jobs.list(&filter, 10).await.unwrap();
            seen.extend(page.jobs.iter().map(|job| job.id));
            jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
            let Some(next) = page.next else { break };
            // As text, the way it takes through an API.
            let next = next.to_string().parse().unwrap();
            filter = Filter::live().after(next);
        }

        seen.reverse();
        assert_eq!(seen, ids);
        let rare = Filter::state(State::Pending).queue("rare").kind("act");
        assert_eq!(jobs.list(&rare, 10).await.unwrap().jobs.len(), 5);
        assert!(jobs.list(&rare, 0).await.is_err());
        for no_cursor in ["", "7", "x-1", "-1-1", "1--1", "fffffffffffffffff-1"] {
            assert_eq!(no_cursor.parse::<Cursor>(), Err(NoCursor), "{no_cursor}");
        }
    }

    async fn a_list_that_begins_where_another_began_has_none_that_came_later(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let make = async |key: &str| jobs.enqueue(&Act::Succeed, Options::new().limit_key(key)).await.unwrap();
        let mut ids = Vec::new();
        for key in ["a", "b", "a"] {
            ids.push(make(key).await);
        }
        let of = |filter: Filter| filter.limit_key("a");
        let listed = async |filter: Filter| jobs.list(&of(filter), 10).await.unwrap();

        let live = listed(Filter::live()).await;
        make("a").await;
        let from = listed(Filter::live().after(live.first.unwrap())).await;
        assert_eq!(from.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[2], ids[0]]);
        assert_eq!(from.first, live.first);

        let cancelled = Filter::state(State::Cancelled);
        assert_eq!(listed(cancelled.clone()).await.first, None);
        jobs.cancel_all(&ids, "not wanted").await.unwrap();
        let ended = listed(cancelled.clone()).await;
        assert_eq!(ended.jobs.len(), 2);
        jobs.cancel(make("a").await, "later").await.unwrap();
        let from = listed(cancelled.after(ended.first.unwrap())).await;
        assert_eq!(
            from.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
            ended.jobs.iter().map(|job| job.id).collect::<Vec<_>>()
        );
    }

    async fn a_count_stops_at_its_cap_wherever_its_jobs_are(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        // Neither of the two indexes of a state has as many, and both together have more.
        let part = COUNT_CAP * 2 / 3;
        for options in [Options::new(), Options::new().delay(Duration::from_secs(3_600))] {
            let mut batch = Batch::new();
            for _ in 0..part * 2 {
                batch.push(&Act::Succeed, options.clone()).unwrap();
            }
            jobs.enqueue_batch(batch).await.unwrap();
        }
        let halves = match store.dialect() {
            Dialect::Sqlite => [
                "UPDATE steadfast_job SET crashes = 2 WHERE state = 'pending' AND id % 2 = 0",
                "UPDATE steadfast_job SET blocked = 1 WHERE state = 'waiting' AND id % 2 = 0",
            ],
            Dialect::Postgres => [
                "UPDATE steadfast.job SET crashes = 2 WHERE state = 'pending' AND id % 2 = 0",
                "UPDATE steadfast.job SET blocked = true WHERE state = 'waiting' AND id % 2 = 0",
            ],
        };
        for half in halves {
            let changed: Result<Rows, Error> = store.write(async |mut tx| tx.sql(half, binds![]).await).await;
            changed.unwrap();
        }

        let counts = jobs.counts().await.unwrap();

        assert_eq!(counts.of(State::Pending), COUNT_CAP);
        assert_eq!(counts.of(State::Waiting), COUNT_CAP);
        assert_eq!(counts.of(State::Completed), 0);
    }

    async fn what_has_ended_is_listed_counted_and_found_with_its_result(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();
        let mut ids = Vec::new();
        for answer in 0..5 {
            let id = jobs.enqueue(&Act::Answer(answer), Options::new()).await.unwrap();
            until_state(&store, id, "completed").await;
            ids.push(id);
        }
        let failed = jobs.enqueue(&Act::Discard, Options::new()).await.unwrap();
        until_state(&store, failed, "discarded").await;
        running.stop(PATIENCE).await;

        let first = jobs.list(&Filter::state(State::Completed), 3).await.unwrap();
        let rest = Filter::state(State::Completed).after(first.next.unwrap());
        let rest = jobs.list(&rest, 3).await.unwrap();
        let listed: Vec<_> = first.jobs.iter().chain(&rest.jobs).map(|job| job.id).collect();
        ids.reverse();
        assert_eq!(listed, ids);
        assert!(rest.next.is_none());

        let counts = jobs.counts().await.unwrap();
        assert_eq!((counts.of(State::Completed), counts.of(State::Discarded)), (5, 1));
        assert_eq!(counts.of(State::Pending), 0);
        let found = jobs.find(ids[0]).await.unwrap().unwrap();
        assert_eq!(found.result::<i64>().unwrap(), Some(4));
        assert!(found.result::<String>().is_err());
        assert_eq!((found.info.state, found.info.attempt), (State::Completed, 1));
        assert!(found.info.created <= found.info.finished.unwrap());
    }
}

/// What somebody reads in a transaction that does not end.
#[tokio::test(flavor = "multi_thread")]
async fn who_holds_an_old_snapshot_is_named() {
    let database = Database::make(steadfast_store::testing::Kind::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let mut tx = database.open().await.begin().await.unwrap();
    let named =
        "SELECT set_config('application_name', 'the report', true), pg_backend_pid()::bigint";
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    tx.sql(isolation, binds![]).await.unwrap();
    let rows: Rows = tx.sql(named, binds![]).await.unwrap();
    let pid: i64 = rows.one().unwrap().get(1).unwrap();

    let held = jobs.held_snapshots(Duration::ZERO).await.unwrap();

    let ours = held.iter().find(|held| held.pid == Some(pid));
    let ours = ours.unwrap_or_else(|| panic!("{pid} is not in {held:?}"));
    assert_eq!(
        (ours.application.as_str(), ours.state.as_str()),
        ("the report", "idle in transaction")
    );
    assert!(!ours.user.is_empty());
    let young = jobs
        .held_snapshots(Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(young, [], "none is an hour old");

    tx.roll_back().await.unwrap();
    let held = jobs.held_snapshots(Duration::ZERO).await.unwrap();
    assert!(held.iter().all(|held| held.pid != Some(pid)), "{held:?}");
}

/// A vacuum, however long it takes, keeps no other one from cleaning up: to end it would be the wrong thing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_is_not_taken_for_somebody_who_holds_a_snapshot() {
    static VACUUM: Statement = Statement::new("test", "vacuum", "", "VACUUM much");
    let database = Database::make(steadfast_store::testing::Kind::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    for text in [
        "CREATE TABLE much (id bigint PRIMARY KEY, text text)",
        "INSERT INTO much SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n",
        "DELETE FROM much",
        // After each page a nap: it is at work until somebody ends it.
        "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET vacuum_cost_delay = 100'', current_database()); END'",
        "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET vacuum_cost_limit = 1'', current_database()); END'",
    ] {
        sql(&store, "", text, binds![]).await;
    }
    let vacuums = Store::open(database.config()).await.unwrap();
    let vacuum = spawn("vacuum", async move {
        vacuums.run(&VACUUM, binds![]).await.map(drop)
    });
    let at_work = async {
        loop {
            let text = "SELECT coalesce(min(pid), 0)::bigint FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND query LIKE '%VACUUM much'";
            let rows = sql(&store, "", text, binds![]).await;
            match rows.one().unwrap().get::<i64>(0).unwrap() {
                0 => clock::sleep(Duration::from_millis(5)).await,
                pid => return pid,
            }
        }
    };
    let pid = clock::timeout(PATIENCE, at_work).await.unwrap();

    let held = jobs.held_snapshots(Duration::ZERO).await.unwrap();

    assert!(!vacuum.is_finished());
    assert!(held.iter().all(|held| held.pid != Some(pid)), "{held:?}");
    let end = "SELECT pg_terminate_backend($1::bigint::integer)";
    sql(&store, "", end, binds![pid]).await;
    assert!(vacuum.await.unwrap().is_err());
}
