//! Ends of runs that a store would choke on, or whose outcome is not known: none of them stands in the way of
//! others.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{Cause, clock};
use steadfast_jobs::{Job, Jobs, Kind, Options, Run, end};
use steadfast_store::{Config, Fault, Faults, binds};

use super::support::{Act, PATIENCE, sql, until_state, worker};

#[derive(Serialize, Deserialize)]
struct Half {
    cancels: bool,
}

impl Job for Half {
    const KIND: &'static str = "half";
}

steadfast_store::on_every_store! {
    async fn a_result_that_no_store_could_keep_is_left_out_and_harms_nobody(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let kind = Kind::of_name("raw", async |_, _, payload| Ok(Some(serde_json::from_str(&payload)?)));
        let running = worker(&jobs).kind(kind).build().unwrap().start();
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!("\"{}\"", "[\\\"".repeat(1_000));

        for (result, kept) in [
            ("{", false),
            ("a \0 b", false),
            ("", false),
            ("1 2", false),
            (deep(30_000).as_str(), false),
            (deep(129).as_str(), false),
            (deep(128).as_str(), true),
            (text.as_str(), true),
        ] {
            let payload = serde_json::to_string(result).unwrap();
            let id = jobs.enqueue_kind("raw", payload, Options::new()).await.unwrap();
            let neighbor = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();

            let seen = until_state(&store, id, "completed").await;
            assert_eq!(seen.result.as_deref(), kept.then_some(result), "{:?}", seen.error);
            assert_eq!(seen.error.is_none(), kept, "{:?}", seen.error);
            assert_eq!(seen.attempt, 1);
            until_state(&store, neighbor, "completed").await;
        }
        running.stop(PATIENCE).await;
    }

    async fn a_cause_that_no_store_could_keep_or_that_moves_a_cursor_is_cut_and_harms_nobody(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let kind = Kind::of_name("cuts", async |run, _, _| {
            let text = format!("a \0 b \x1b[2J\u{9b}2J\r\n\t{}", "c".repeat(100_000));
            let cause = Box::<dyn std::error::Error + Send + Sync>::from(text);
            run.cancel().cancel(Cause::Other(Arc::from(cause)));
            std::future::pending().await
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        let options = Options::new().max_attempts(1);
        let id = jobs.enqueue_kind("cuts", "{}", options).await.unwrap();

        let seen = until_state(&store, id, "discarded").await;
        let error = seen.error.unwrap();
        assert!(error.len() <= 4_096, "{} bytes", error.len());
        let expect = "a \u{fffd} b \u{fffd}[2J\u{fffd}2J\u{fffd}\n\tccc";
        assert!(error.starts_with(expect), "{error:?}");
        running.stop(PATIENCE).await;
    }

    async fn a_job_that_is_snoozed_for_a_reason_has_it_while_it_waits_and_spends_no_attempt(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let kind = Kind::of_name("waits", async |_, _, _| {
            Err(end::snooze_because(Duration::from_secs(3_600), "its disk is away"))
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        let options = Options::new().max_attempts(1);
        let id = jobs.enqueue_kind("waits", "{}", options).await.unwrap();

        let seen = until_state(&store, id, "waiting").await;
        assert_eq!(seen.error.as_deref(), Some("its disk is away"));
        assert_eq!(seen.attempt, 0);
        running.stop(PATIENCE).await;
    }

    async fn a_run_that_was_completed_in_a_transaction_without_commit_ends_once_although_the_store_fails(database) {
        let store = database.open().await;
        let faults = Faults::new();
        let config = Config { faults: faults.clone(), ..database.config() };
        let jobs = Jobs::open(&database.open_with(config).await).await.unwrap();
        let given = (jobs.clone(), faults.clone());
        let kind = Kind::new(move |run: Run, half: Half| {
            let (jobs, faults) = given.clone();
            async move {
                if run.attempt() > 1 {
                    return Ok(());
                }
                let mut tx = jobs.store().begin().await?;
                run.complete_within(&mut tx, &()).await?;
                tx.roll_back().await?;
                if half.cancels {
                    jobs.cancel(run.id(), "not wanted").await?;
                }
                // The worker cannot ask whether it was committed, at first.
                faults.on_name("settled", Fault::Before);
                Ok(())
            }
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        for (cancels, state, attempt) in [(false, "completed", 2), (true, "cancelled", 1)] {
            let id = jobs.enqueue(&Half { cancels }, Options::new()).await.unwrap();
            let hit = async {
                while faults.hits() == 0 {
                    clock::sleep(Duration::from_millis(5)).await;
                }
            };
            clock::timeout(PATIENCE, hit).await.unwrap();
            faults.clear();

            let seen = until_state(&store, id, state).await;
            assert_eq!((seen.attempt, seen.crashes), (attempt, 0));
            let rows = sql(
                &store,
                "SELECT count(*) FROM steadfast_job WHERE id = ?1",
                "SELECT count(*) FROM steadfast.job WHERE id = $1",
                binds![i64::try_from(id.get()).unwrap()],
            );
            assert_eq!(rows.await.one().unwrap().get::<i64>(0).unwrap(), 0);
        }
        running.stop(PATIENCE).await;
    }
}
