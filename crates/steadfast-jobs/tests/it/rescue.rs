//! What comes back to work, from whom, and how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steadfast_core::{BoxError, clock};
use steadfast_jobs::{Batch, Jobs, Kind, Options, Run, Worker};
use steadfast_store::testing::Database;
use steadfast_store::{Dialect, NodeConfig, Store, batch, binds};
use tokio::sync::{mpsc, oneshot};

use super::fence::{claim_up_to, end};
use super::support::{
    Act, PATIENCE, kill, look, node, node_of, rescue, sql, statement, until_state, worker,
};

/// Has a node say how long it leaves runs of a kind alone, and nothing on top; whatever it said before.
async fn leave_alone(store: &Store, incarnation: i64, kind: &str, minutes: i64, fixed: bool) {
    sql(
        store,
        "DELETE FROM steadfast_job_longest WHERE incarnation = ?1 AND kind = ?2",
        "DELETE FROM steadfast.job_longest WHERE incarnation = $1 AND kind = $2",
        binds![incarnation, kind],
    )
    .await;
    let said = batch![
        vec![kind.to_owned()],
        vec![minutes * 60_000_000],
        vec![fixed],
        vec![0_i64]
    ];
    let noted = store.run(statement("longest"), binds![incarnation, said]);
    noted.await.unwrap();
}

steadfast_store::on_every_store! {
    async fn what_a_dead_node_held_comes_back_in_waves(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = Batch::new();
        for _ in 0..1_000 {
            batch.push(&Act::Succeed, Options::new()).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();
        let dead = node(&store).await;
        assert_eq!(claim_up_to(&store, dead, 1_000).await.len(), 1_000);
        // The database itself notes when each comes back.
        match store.dialect() {
            Dialect::Sqlite => {
                for text in [
                    "CREATE TABLE noted (at_us INTEGER)",
                    "CREATE TRIGGER note AFTER UPDATE ON steadfast_job WHEN OLD.state = 'running' AND NEW.state = 'pending'
                     BEGIN INSERT INTO noted VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER)); END",
                ] {
                    sql(&store, text, "", binds![]).await;
                }
            }
            Dialect::Postgres => {
                for text in [
                    "CREATE TABLE noted (at_us bigint)",
                    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     INSERT INTO noted VALUES (steadfast.now_us()); RETURN NULL; END $$",
                    "CREATE TRIGGER note AFTER UPDATE ON steadfast.job FOR EACH ROW
                     WHEN (OLD.state = 'running' AND NEW.state = 'pending') EXECUTE FUNCTION note()",
                ] {
                    sql(&store, "", text, binds![]).await;
                }
            }
        }

        kill(&store, dead).await;
        let running = worker(&jobs).queue("another", 1).build().unwrap().start();

        let count = "SELECT count(*), coalesce(max(at_us) - min(at_us), 0) FROM noted";
        let all = async {
            loop {
                let rows = sql(&store, count, count, binds![]).await;
                let row = rows.one().unwrap();
                if row.get::<i64>(0).unwrap() == 1_000 {
                    return row.get::<i64>(1).unwrap();
                }
                clock::sleep(Duration::from_millis(5)).await;
            }
        };
        let took_us = clock::timeout(PATIENCE, all).await.unwrap();
        assert!(took_us >= 500_000, "six waves, a tenth of a second apart: {took_us} us");
        let first = "SELECT count(*) FROM noted WHERE at_us < (SELECT min(at_us) FROM noted) + 100000";
        let rows = sql(&store, first, first, binds![]).await;
        let first: i64 = rows.one().unwrap().get(0).unwrap();
        assert!((1..=25).contains(&first), "{first} came back at once");
        running.stop(PATIENCE).await;
    }

    async fn one_job_of_a_dead_node_comes_back_at_once_and_keeps_its_place(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let dead = node(&store).await;
        let before = look(&store, id).await.unwrap();
        assert_eq!(claim_up_to(&store, dead, 1).await.len(), 1);

        kill(&store, dead).await;
        rescue(&store).await;

        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.due_us), ("pending", before.due_us));
    }

    async fn a_job_whose_holder_is_not_in_the_books_is_rescued(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let (gone, alive) = (node(&store).await, node(&store).await);
        let [(raw, term)] = claim_up_to(&store, gone, 1).await[..] else { panic!("not claimed") };
        let theirs = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        claim_up_to(&store, alive, 1).await;

        sql(
            &store,
            "DELETE FROM steadfast_node WHERE id = ?1",
            "DELETE FROM steadfast.node WHERE id = $1",
            binds![gone],
        )
        .await;
        rescue(&store).await;

        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.crashes), ("pending", 1));
        assert!(!end(&store, "completed", raw, term, gone).await);
        assert_eq!(look(&store, theirs).await.unwrap().state, "running");
    }

    async fn a_job_that_a_living_node_holds_beyond_any_time_is_taken_from_it(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let alive = node(&store).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
        }
        let [(raw, term), _] = claim_up_to(&store, alive, 2).await[..] else { panic!("not claimed") };
        sql(
            &store,
            "UPDATE steadfast_job SET claimed_us = claimed_us - 3600000000 WHERE id = ?1",
            "UPDATE steadfast.job SET claimed_us = claimed_us - 3600000000 WHERE id = $1",
            binds![raw],
        )
        .await;
        let over = async || store.run(statement("rescue"), binds![10_i64, true]).await.unwrap().len();
        let other = node(&store).await;

        assert_eq!(over().await, 0, "it has not said how long it may take");
        leave_alone(&store, other, "act", 1, true).await;
        leave_alone(&store, alive, "other", 1, true).await;
        assert_eq!(over().await, 0, "not as another node would have it");
        leave_alone(&store, alive, "act", 31, true).await;
        assert_eq!(over().await, 0, "not yet");
        leave_alone(&store, alive, "act", 29, true).await;
        let rows = store.run(statement("rescue"), binds![10_i64, false]).await.unwrap();
        assert_eq!(rows.len(), 0, "that is not asked for each time");
        assert_eq!(over().await, 1);

        assert_eq!(look(&store, ids[0]).await.unwrap().state, "pending");
        assert_eq!(look(&store, ids[1]).await.unwrap().state, "running");
        assert!(!end(&store, "completed", raw, term, alive).await, "the fence holds for the living, too");
    }

    async fn what_a_job_says_of_its_time_counts_unless_its_kind_does(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let alive = node(&store).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
        }
        assert_eq!(claim_up_to(&store, alive, 2).await.len(), 2);
        sql(
            &store,
            "UPDATE steadfast_job SET claimed_us = claimed_us - 3600000000, run_us_max = CASE WHEN id = ?1 THEN 60000000 END",
            "UPDATE steadfast.job SET claimed_us = claimed_us - 3600000000, run_us_max = CASE WHEN id = $1 THEN 60000000 END",
            binds![i64::try_from(ids[0].get()).unwrap()],
        )
        .await;
        let over = async || store.run(statement("rescue"), binds![10_i64, true]).await.unwrap().len();

        leave_alone(&store, alive, "act", 31, true).await;
        assert_eq!(over().await, 0);
        leave_alone(&store, alive, "act", 31, false).await;
        assert_eq!(over().await, 1);
        assert_eq!(look(&store, ids[0]).await.unwrap().state, "pending");
    }

    async fn a_worker_says_how_long_its_runs_are_to_be_left_alone_and_what_the_dead_said_is_forgotten(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (dead, alive) = (node(&store).await, node(&store).await);
        leave_alone(&store, dead, "act", 1, true).await;
        leave_alone(&store, alive, "act", 1, true).await;
        kill(&store, dead).await;
        let brief = Kind::of_name("brief", async |_, _, _| Ok(None)).timeout(Duration::from_secs(7));
        let running = worker(&jobs).kind(brief).build().unwrap().start();

        let said = async {
            loop {
                let rows = sql(
                    &store,
                    "SELECT kind, run_us, is_fixed, extra_us, incarnation = ?1, incarnation = ?2 FROM steadfast_job_longest ORDER BY kind, run_us",
                    "SELECT kind, run_us, is_fixed::int::bigint, extra_us, (incarnation = $1)::int::bigint, (incarnation = $2)::int::bigint
                     FROM steadfast.job_longest ORDER BY kind, run_us",
                    binds![alive, dead],
                )
                .await;
                let said: Vec<(String, [i64; 5])> = rows
                    .iter()
                    .map(|row| (row.get(0).unwrap(), [1, 2, 3, 4, 5].map(|column| row.get(column).unwrap())))
                    .collect();
                if said.len() == 3 {
                    return said;
                }
                clock::sleep(Duration::from_millis(5)).await;
            }
        };
        let said = clock::timeout(PATIENCE, said).await.unwrap();

        // A minute, 30 s before a start, and twice five for a cleanup.
        const EXTRA: i64 = 100_000_000;
        assert_eq!(said[0], ("act".into(), [60_000_000, 1, 0, 1, 0]), "what a living one said stays");
        assert_eq!(said[1], ("act".into(), [900_000_000, 0, EXTRA, 0, 0]));
        assert_eq!(said[2], ("brief".into(), [7_000_000, 1, EXTRA, 0, 0]));
        running.stop(PATIENCE).await;
    }

    async fn jobs_that_may_take_long_do_not_hide_one_that_its_node_holds_beyond_its_time(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
        }
        let alive = node(&store).await;
        assert_eq!(claim_up_to(&store, alive, 4).await.len(), 4);
        sql(
            &store,
            "UPDATE steadfast_job SET claimed_us = claimed_us - 7200000000",
            "UPDATE steadfast.job SET claimed_us = claimed_us - 7200000000",
            binds![],
        )
        .await;
        sql(
            &store,
            "UPDATE steadfast_job SET kind = 'brief', claimed_us = claimed_us + 3600000000 WHERE id = ?1",
            "UPDATE steadfast.job SET kind = 'brief', claimed_us = claimed_us + 3600000000 WHERE id = $1",
            binds![i64::try_from(ids[3].get()).unwrap()],
        )
        .await;

        leave_alone(&store, alive, "act", 600, true).await;
        leave_alone(&store, alive, "brief", 1, true).await;
        let rows = store.run(statement("rescue"), binds![2_i64, true]).await.unwrap();

        assert_eq!(rows.len(), 1);
        assert_eq!(look(&store, ids[3]).await.unwrap().state, "pending");
    }

    async fn a_cancelled_job_whose_process_dies_is_not_run_again(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let dead = node(&store).await;
        let [(raw, term)] = claim_up_to(&store, dead, 1).await[..] else { panic!("not claimed") };
        jobs.cancel(id, "not wanted").await.unwrap();

        kill(&store, dead).await;
        rescue(&store).await;

        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.error.as_deref()), ("cancelled", Some("not wanted")));
        assert_eq!((seen.term, seen.attempt, seen.crashes), (term + 1, 0, 1));
        assert!(!end(&store, "completed", raw, term, dead).await);
    }

    async fn workers_that_share_a_node_have_one_suspect_between_them(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut ids = Vec::new();
        for queue in ["one", "two"] {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new().queue(queue)).await.unwrap());
        }
        sql(
            &store,
            "UPDATE steadfast_job SET crashes = 2",
            "UPDATE steadfast.job SET crashes = 2",
            binds![],
        )
        .await;
        let (ours, theirs) = (node_of(&store, -1).await, node(&store).await);
        // Another worker of the same process, which has joined by itself.
        let beside = node_of(&store, -1).await;
        let suspect = async |incarnation: i64, queue: &str| {
            let binds = binds![incarnation, vec![queue.to_owned()], vec!["act".to_owned()], 0_i64];
            store.run(statement("claim_suspect"), binds).await.unwrap().len()
        };

        assert_eq!(suspect(ours, "one").await, 1);
        assert_eq!(suspect(ours, "two").await, 0, "it would be held against both if this process died");
        assert_eq!(suspect(beside, "two").await, 0, "the same process");
        assert_eq!(suspect(theirs, "two").await, 1);

        let seen = look(&store, ids[0]).await.unwrap();
        assert!(end(&store, "completed", i64::try_from(ids[0].get()).unwrap(), seen.term, ours).await);
        kill(&store, theirs).await;
        rescue(&store).await;
        assert_eq!(suspect(ours, "two").await, 1);
    }

    async fn a_job_that_comes_back_to_a_node_which_still_runs_it_takes_no_permit_for_ever(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (started, mut starts) = mpsc::unbounded_channel();
        let kind = Kind::new(move |run: Run, _: Act| {
            let started = started.clone();
            async move {
                let (go, gate) = oneshot::channel::<()>();
                let _ = started.send((run.id(), run.term(), go));
                let _ = gate.await;
                Ok::<(), BoxError>(())
            }
        });
        let worker = Worker::builder(&jobs).kind(kind).queue("default", 2);
        let running = worker.join(NodeConfig::new("test", "0")).build().unwrap().start();
        let mut next = async || clock::timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let (_, first, _old) = next().await;

        // As one does whose program gives the kind less time.
        sql(
            &store,
            "UPDATE steadfast_job SET state = 'pending', term = term + 1, incarnation = NULL, claimed_us = NULL",
            "UPDATE steadfast.job SET state = 'pending', term = term + 1, incarnation = NULL, claimed_us = NULL",
            binds![],
        )
        .await;
        let (again, second, go) = next().await;
        assert_eq!((again, second), (id, first + 2));
        go.send(()).unwrap();
        until_state(&store, id, "completed").await;

        // The one that nobody wants any more has been told to end, so there are two permits.
        let mut both = Vec::new();
        for _ in 0..2 {
            jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        }
        for _ in 0..2 {
            both.push(next().await);
        }
        drop(both);
        running.stop(PATIENCE).await;
    }
}

/// What each of two workers asks for is not there yet for the other one.
#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_process_that_ask_at_once_have_one_suspect_between_them() {
    let database = Database::make(steadfast_store::testing::Kind::Postgres).await;
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    for queue in ["one", "two"] {
        jobs.enqueue(&Act::Succeed, Options::new().queue(queue))
            .await
            .unwrap();
    }
    for text in [
        "UPDATE steadfast.job SET crashes = 2",
        "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END'",
        "CREATE TRIGGER nap BEFORE UPDATE ON steadfast.job FOR EACH ROW WHEN (NEW.state = 'running') EXECUTE FUNCTION nap()",
    ] {
        sql(&store, "", text, binds![]).await;
    }
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (done, mut ended) = mpsc::unbounded_channel();
    let start = |queue: &str| {
        let (at_once, most, done) = (at_once.clone(), most.clone(), done.clone());
        let kind = Kind::new(move |_: Run, _: Act| {
            let (at_once, most, done) = (at_once.clone(), most.clone(), done.clone());
            async move {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                clock::sleep(Duration::from_secs(3)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                let _ = done.send(());
                Ok::<(), BoxError>(())
            }
        });
        let worker = Worker::builder(&jobs).kind(kind).queue(queue, 1);
        worker
            .join(NodeConfig::new("test", "0"))
            .build()
            .unwrap()
            .start()
    };

    let both = [start("one"), start("two")];
    for _ in 0..2 {
        clock::timeout(PATIENCE, ended.recv())
            .await
            .unwrap()
            .unwrap();
    }

    assert_eq!(most.load(Ordering::SeqCst), 1);
    for running in both {
        running.stop(PATIENCE).await;
    }
}
