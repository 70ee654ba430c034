use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{Batch, Cancelled, Jobs, Options, State};
use steadfast_store::{Error, binds};

use super::fence::claim_up_to;
use super::support::{Act, look, node, sql};

steadfast_store::on_every_store! {
    async fn what_is_enqueued_is_pending_and_what_is_due_later_waits(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();

        let now = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let later = Options::new().delay(Duration::from_secs(60));
        let later = jobs.enqueue(&Act::Succeed, later).await.unwrap();

        assert_eq!(look(&store, now).await.unwrap().state, "pending");
        assert_eq!(look(&store, later).await.unwrap().state, "waiting");
    }

    async fn ids_come_back_in_the_order_of_the_batch(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = Batch::new();
        for number in 0..500 {
            batch.push(&Act::Answer(number), Options::new()).unwrap();
        }

        let ids = jobs.enqueue_batch(batch).await.unwrap();

        for (number, id) in ids.iter().enumerate().step_by(97) {
            let payload = sql(
                &store,
                "SELECT payload FROM steadfast_job WHERE id = ?1",
                "SELECT payload::text FROM steadfast.job WHERE id = $1",
                binds![id.get() as i64],
            )
            .await;
            let payload: &str = payload.one().unwrap().get(0).unwrap();
            assert_eq!(payload, format!("{{\"Answer\":{number}}}"));
        }
    }

    async fn a_job_of_a_transaction_that_is_rolled_back_was_never_there(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();

        let mut tx = store.begin().await.unwrap();
        let lost = jobs.enqueue_in(&mut tx, &Act::Succeed, Options::new()).await.unwrap();
        tx.roll_back().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let kept = jobs.enqueue_in(&mut tx, &Act::Succeed, Options::new()).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(look(&store, kept.send()).await.unwrap().state, "pending");
        // SQLite gives the number of the one that was never there again.
        let rows = sql(&store, "SELECT count(*) FROM steadfast_job", "SELECT count(*) FROM steadfast.job", binds![]).await;
        assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), 1);
        drop(lost);
    }

    async fn a_unique_key_lets_one_in_while_it_is_live(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let once = || Options::new().unique("act/1");

        let first = jobs.enqueue(&Act::Succeed, once()).await.unwrap();
        assert_eq!(jobs.enqueue(&Act::Succeed, once()).await.unwrap(), first);
        assert_eq!(jobs.cancel(first, "test").await.unwrap(), Cancelled::Now);
        let second = jobs.enqueue(&Act::Succeed, once()).await.unwrap();

        assert_ne!(second, first);
        let found = jobs.enqueue_kind_or_find("act", "null", once()).await.unwrap();
        assert_eq!((found.id, found.is_new), (second, false));
        jobs.cancel(second, "test").await.unwrap();
        let third = jobs.enqueue_kind_or_find("act", "null", once()).await.unwrap();
        assert!(third.is_new && third.id > second);
        let plain = jobs.enqueue_kind_or_find("act", "null", Options::new()).await.unwrap();
        assert!(plain.is_new && plain.id > third.id);
    }

    async fn a_key_with_a_period_keeps_others_out_after_its_job_has_ended(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let once = |period| Options::new().unique_for("act/1", period);
        let hour = Duration::from_secs(3_600);

        let first = jobs.enqueue(&Act::Succeed, once(hour)).await.unwrap();
        jobs.cancel(first, "test").await.unwrap();
        assert_eq!(jobs.enqueue(&Act::Succeed, once(hour)).await.unwrap(), first);
        sql(&store, "UPDATE steadfast_job_key SET until_us = 1", "UPDATE steadfast.job_key SET until_us = 1", binds![]).await;
        let second = jobs.enqueue(&Act::Succeed, once(hour)).await.unwrap();

        assert_ne!(second, first);
        assert_eq!(look(&store, second).await.unwrap().state, "pending");
    }

    async fn keys_and_plain_jobs_of_one_batch_keep_their_places(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let taken = jobs.enqueue(&Act::Succeed, Options::new().unique("taken")).await.unwrap();
        let mut batch = Batch::new();
        for options in [
            Options::new(),
            Options::new().unique("b"),
            Options::new().unique("taken"),
            Options::new().unique("b"),
            Options::new().unique_for("a", Duration::from_secs(60)),
            Options::new(),
        ] {
            batch.push(&Act::Succeed, options).unwrap();
        }

        let ids = jobs.enqueue_batch(batch).await.unwrap();

        assert_eq!(ids[2], taken);
        assert_eq!(ids[1], ids[3]);
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        for id in ids {
            assert!(look(&store, id).await.is_some());
        }
    }

    async fn of_a_hundred_that_enqueue_a_key_at_once_one_gets_in(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();

        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let jobs = jobs.clone();
                steadfast_core::spawn("enqueue", async move {
                    jobs.enqueue(&Act::Succeed, Options::new().unique("act/1")).await.unwrap()
                })
            })
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }

        ids.dedup();
        assert_eq!(ids.len(), 1);
    }

    async fn a_key_is_free_again_when_its_transaction_is_rolled_back(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let once = || Options::new().unique("act/1");
        let mut tx = store.begin().await.unwrap();
        let lost = jobs.enqueue_in(&mut tx, &Act::Succeed, once()).await.unwrap().id();

        let other = jobs.clone();
        let waits = steadfast_core::spawn("enqueue", async move {
            other.enqueue(&Act::Answer(2), once()).await.unwrap()
        });
        // Whether the other one waits already or comes later, it gets in.
        clock::sleep(Duration::from_millis(20)).await;
        tx.roll_back().await.unwrap();
        let entered = waits.await.unwrap();

        assert_eq!(look(&store, entered).await.unwrap().state, "pending");
        let _ = lost;
    }

    async fn what_is_out_of_bounds_is_refused_before_the_store_is_asked(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let day = Duration::from_secs(86_400);

        for options in [
            Options::new().queue(""),
            Options::new().queue("x".repeat(101)),
            Options::new().queue("a\nb"),
            Options::new().queue("a\u{202e}b"),
            Options::new().priority(101),
            Options::new().max_attempts(0),
            Options::new().max_attempts(1_001),
            Options::new().unique(""),
            Options::new().unique("a\0b"),
            Options::new().limit_key("x".repeat(501)),
            Options::new().delay(day * 3_651),
            Options::new().expires_in(day * 3_651),
        ] {
            let refused = jobs.enqueue(&Act::Succeed, options.clone()).await;
            let error = refused.expect_err(&format!("{options:?}"));
            assert!(!error.is_retryable() && error.store().is_none(), "{error}");
            assert_eq!(error.code(), "SF-1201");
            assert!(error.to_string().ends_with(" (SF-1201)"), "{error}");
        }
        // PostgreSQL takes some thousands, SQLite any, and most parsers none of that.
        for (depth, is_taken) in [(128, true), (129, false), (30_000, false)] {
            let payload = format!("{}\"[[\\\"[\"{}", "[".repeat(depth), "]".repeat(depth));
            let asked = jobs.enqueue_kind("deep", payload, Options::new()).await;
            assert_eq!(asked.is_ok(), is_taken, "{depth}: {asked:?}");
        }
    }

    async fn a_job_that_does_not_run_is_cancelled_at_once_and_can_be_redriven(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();

        assert_eq!(jobs.cancel(id, "not wanted").await.unwrap(), Cancelled::Now);
        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.error.as_deref()), ("cancelled", Some("not wanted")));
        let again = jobs.cancel(id, "not wanted").await.unwrap();
        assert_eq!(again, Cancelled::Ended(State::Cancelled));

        assert_eq!(jobs.redrive(&[id]).await.unwrap().jobs, [id]);
        let again = look(&store, id).await.unwrap();
        assert_eq!((again.state.as_str(), again.attempt), ("pending", 0));
        assert!(again.term > seen.term, "the second life has terms of its own");
    }

    async fn many_are_cancelled_at_once_and_what_runs_is_asked_to_stop(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let incarnation = node(&store).await;
        let runs = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        assert_eq!(claim_up_to(&store, incarnation, 1).await.len(), 1);
        let pending = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let hour = Duration::from_secs(3_600);
        let waits = jobs.enqueue(&Act::Succeed, Options::new().delay(hour)).await.unwrap();
        let left = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let ended = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        jobs.cancel(ended, "before").await.unwrap();

        let all = [runs, pending, waits, ended];
        let mut cancelled = jobs.cancel_all(&all, "a freeze").await.unwrap();
        cancelled.now.sort();
        assert_eq!((cancelled.now, cancelled.asked), (vec![pending, waits], vec![runs]));
        for id in [pending, waits] {
            let seen = look(&store, id).await.unwrap();
            assert_eq!((seen.state.as_str(), seen.error.as_deref()), ("cancelled", Some("a freeze")));
        }
        assert_eq!(look(&store, ended).await.unwrap().error.as_deref(), Some("before"));
        assert_eq!(look(&store, runs).await.unwrap().state, "running");
        assert_eq!(look(&store, left).await.unwrap().state, "pending");

        // Once more, it is the same.
        let again = jobs.cancel_all(&all, "another").await.unwrap();
        assert_eq!((again.now, again.asked), (vec![], vec![runs]));
        let why = sql(
            &store,
            "SELECT cancel FROM steadfast_job WHERE state = 'running'",
            "SELECT cancel FROM steadfast.job WHERE state = 'running'",
            binds![],
        );
        assert_eq!(why.await.one().unwrap().get::<&str>(0).unwrap(), "a freeze");
        assert!(jobs.cancel_all(&all, "").await.is_err());
        assert!(jobs.cancel_all(&vec![left; 10_001], "too many").await.is_err());
    }

    async fn a_redriven_job_has_its_unique_key_again_unless_another_has_it(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let period = Duration::from_secs(3_600);
        for options in [Options::new().unique("live"), Options::new().unique_for("period", period)] {
            let first = jobs.enqueue(&Act::Succeed, options.clone()).await.unwrap();
            jobs.cancel(first, "not wanted").await.unwrap();

            let redriven = jobs.redrive(&[first]).await.unwrap();
            assert_eq!((redriven.jobs, redriven.refused), (vec![first], vec![]));
            let same = jobs.enqueue(&Act::Succeed, options.clone()).await.unwrap();
            assert_eq!(same, first, "it keeps others out again");

            jobs.cancel(first, "not wanted").await.unwrap();
            // The period is over, or the key was free: another one has it now.
            sql(&store, "UPDATE steadfast_job_key SET until_us = 0", "UPDATE steadfast.job_key SET until_us = 0", binds![]).await;
            let second = jobs.enqueue(&Act::Succeed, options.clone()).await.unwrap();
            assert_ne!(second, first);
            let redriven = jobs.redrive(&[first]).await.unwrap();
            assert_eq!((redriven.jobs, redriven.refused), (vec![], vec![(first, second)]));
            let seen = look(&store, first).await.unwrap();
            assert_eq!(seen.state, "cancelled", "it stays where it was");

            jobs.cancel(second, "not wanted").await.unwrap();
            sql(&store, "UPDATE steadfast_job_key SET until_us = 0", "UPDATE steadfast.job_key SET until_us = 0", binds![]).await;
            assert_eq!(jobs.redrive(&[first]).await.unwrap().jobs, [first]);
        }
    }

    async fn of_two_with_one_key_that_are_redriven_together_one_comes_back(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut ended = Vec::new();
        for _ in 0..2 {
            let id = jobs.enqueue(&Act::Succeed, Options::new().unique("one")).await.unwrap();
            jobs.cancel(id, "not wanted").await.unwrap();
            ended.push(id);
        }

        let redriven = jobs.redrive(&ended).await.unwrap();

        assert_eq!(redriven.jobs, [ended[0]]);
        assert_eq!(redriven.refused, [(ended[1], ended[0])]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_language_enqueues_by_the_sql_function() {
    let database =
        steadfast_store::testing::Database::make(steadfast_store::testing::Kind::Postgres).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    let enqueue = async |options: &'static str| -> Result<i64, Error> {
        let enqueued = store
            .write(async |mut tx| {
                let text = "SELECT steadfast.enqueue('act', '{\"n\": 1}', $1::text::jsonb)";
                tx.sql(text, binds![options]).await
            })
            .await;
        enqueued.and_then(|rows: steadfast_store::Rows| rows.one()?.get(0))
    };

    let plain = enqueue("{}").await.unwrap();
    let later = enqueue(r#"{"queue": "mail", "delay_seconds": 60, "priority": 5}"#)
        .await
        .unwrap();
    let once = enqueue(r#"{"unique_key": "a"}"#).await.unwrap();
    let for_long = enqueue(r#"{"unique_key": "b", "unique_seconds": 60}"#)
        .await
        .unwrap();

    assert_eq!(enqueue(r#"{"unique_key": "a"}"#).await.unwrap(), once);
    assert_eq!(
        enqueue(r#"{"unique_key": "b", "unique_seconds": 60}"#)
            .await
            .unwrap(),
        for_long
    );
    assert!(
        enqueue(r#"{"delay": 60}"#).await.is_err(),
        "a misspelt option is refused"
    );
    let state = |id: i64| {
        let id = steadfast_jobs::JobId::new(id as u64).unwrap();
        let store = store.clone();
        async move { look(&store, id).await.unwrap().state }
    };
    assert_eq!(state(plain).await, "pending");
    assert_eq!(state(later).await, "waiting");
}
