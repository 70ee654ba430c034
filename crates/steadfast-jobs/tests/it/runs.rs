//! Whole runs by a worker.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::clock;
use steadfast_core::context::{self, Context, TraceId};
use steadfast_core::scope::Outcome;
use steadfast_jobs::{Cancelled, Job, Jobs, Kind, Options, Run, State, What};
use steadfast_store::binds;

use super::fence::{claim_up_to, end};
use super::support::{Act, PATIENCE, act, look, node, sql, until, until_state, worker};

steadfast_store::on_every_store! {
    async fn a_job_is_run_and_its_result_is_kept(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();

        let id = jobs.enqueue(&Act::Answer(42), Options::new()).await.unwrap();

        let seen = until_state(&store, id, "completed").await;
        assert_eq!((seen.attempt, seen.term), (1, 1));
        assert_eq!(seen.result.as_deref(), Some("42"));
        running.stop(PATIENCE).await;
    }

    async fn a_job_that_fails_is_tried_again_and_discarded_in_the_end(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();

        let fails = jobs.enqueue(&Act::Fail, Options::new()).await.unwrap();
        let once = jobs.enqueue(&Act::FailOnce, Options::new()).await.unwrap();
        let panics = jobs.enqueue(&Act::Panic, Options::new()).await.unwrap();
        let never = jobs.enqueue(&Act::Discard, Options::new()).await.unwrap();

        let seen = until_state(&store, fails, "discarded").await;
        assert_eq!((seen.attempt, seen.error.as_deref()), (2, Some("no luck")));
        assert_eq!(until_state(&store, once, "completed").await.attempt, 2);
        let error = until_state(&store, panics, "discarded").await.error.unwrap();
        assert!(error.contains("no luck at all") && error.contains("support.rs"), "{error}");
        assert_eq!(until_state(&store, never, "discarded").await.attempt, 1);
        running.stop(PATIENCE).await;
    }

    async fn a_job_that_is_snoozed_spends_no_attempt(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();

        let id = jobs.enqueue(&Act::Snooze, Options::new()).await.unwrap();

        let seen = until_state(&store, id, "completed").await;
        assert_eq!((seen.attempt, seen.term), (1, 2));
        running.stop(PATIENCE).await;
    }

    async fn a_running_job_is_cancelled_by_its_token(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Act::Hang, Options::new()).await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        assert_eq!(jobs.cancel(id, "not wanted").await.unwrap(), Cancelled::Asked);

        let seen = until_state(&store, id, "cancelled").await;
        assert_eq!(seen.error.as_deref(), Some("not wanted"));
        running.stop(PATIENCE).await;
    }

    async fn a_job_that_is_cancelled_while_it_runs_is_not_run_again(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        for (how, attempt) in [("retried", 1), ("snoozed", 0), ("released", 0)] {
            let ours = node(&store).await;
            let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
            let [(raw, term)] = claim_up_to(&store, ours, 1).await[..] else { panic!("{how}: not claimed") };

            assert_eq!(jobs.cancel(id, "not wanted").await.unwrap(), Cancelled::Asked);
            assert!(end(&store, how, raw, term, ours).await, "{how}");

            let seen = look(&store, id).await.unwrap();
            assert_eq!((seen.state.as_str(), seen.attempt, seen.term), ("cancelled", attempt, term), "{how}");
            assert_eq!(seen.error.as_deref(), Some("not wanted"), "{how}");
        }
    }

    async fn a_kind_that_is_known_by_name_undoes_what_it_began_before_its_end_is_told(database) {
        let jobs = Jobs::open(&database.open().await).await.unwrap();
        let (begun, mut beginnings) = tokio::sync::mpsc::unbounded_channel();
        let kind = Kind::of_name(String::from("by-name"), move |_run, scope, payload| {
            let begun = begun.clone();
            async move {
                scope.defer_outcome_async("end it in order", async |edit| {
                    clock::sleep(Duration::from_millis(50)).await;
                    edit.change(|outcome| {
                        if matches!(outcome, Outcome::Cancelled(_)) {
                            *outcome = Outcome::Ok(Some("\"ended in order\"".into()));
                        }
                    });
                });
                begun.send(payload)?;
                std::future::pending().await
            }
        });
        let worker = worker(&jobs).kind(kind).build().unwrap().start();
        let mut events = worker.events();

        let id = jobs.enqueue_kind("by-name", "{\"n\":7}", Options::new()).await.unwrap();
        assert_eq!(beginnings.recv().await.unwrap(), "{\"n\":7}");
        jobs.cancel(id, "not wanted").await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Completed)).await;

        let ended = jobs.find(id).await.unwrap().unwrap();
        assert_eq!(ended.result::<String>().unwrap().unwrap(), "ended in order");
        let no_json = jobs.enqueue_kind("by-name", "{", Options::new()).await;
        assert!(no_json.unwrap_err().is_refused());
        worker.stop(PATIENCE).await;
    }

    async fn what_runs_when_the_worker_ends_is_handed_back_without_spending_an_attempt(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let running = worker(&jobs).queue("default", 1).build().unwrap().start();
        let mut events = running.events();
        let hangs = jobs.enqueue(&Act::Hang, Options::new()).await.unwrap();
        let waits = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        until(&mut events, hangs, |what| matches!(what, What::Started)).await;

        running.stop(Duration::from_millis(10)).await;

        for id in [hangs, waits] {
            let seen = look(&store, id).await.unwrap();
            assert_eq!((seen.state.as_str(), seen.attempt, seen.crashes), ("pending", 0, 0));
        }
    }

    async fn workers_that_share_a_node_leave_each_others_jobs_alone(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let config = steadfast_store::NodeConfig::new("test", "0").with_lease(Duration::from_secs(300));
        let shared = store.join(config).await.unwrap();
        let one = worker(&jobs).node(shared.clone()).queue("one", 2).build().unwrap().start();
        let hangs = jobs.enqueue(&Act::Hang, Options::new().queue("one")).await.unwrap();
        let before = until_state(&store, hangs, "running").await;

        let other = worker(&jobs).node(shared.clone()).queue("other", 2).build().unwrap().start();
        let done = jobs.enqueue(&Act::Succeed, Options::new().queue("other")).await.unwrap();
        until_state(&store, done, "completed").await;

        assert_eq!(look(&store, hangs).await.unwrap(), before);
        one.stop(Duration::ZERO).await;
        other.stop(PATIENCE).await;
        shared.leave().await;
    }

    async fn kinds_that_a_node_does_not_know_are_left_to_others(database) {
        #[derive(Serialize, Deserialize)]
        struct Newer;
        impl Job for Newer {
            const KIND: &'static str = "newer";
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let newer = jobs.enqueue(&Newer, Options::new()).await.unwrap();
        let version = jobs.enqueue(&Act::Succeed, Options::new().min_version(2)).await.unwrap();

        let old = worker(&jobs).version(1).build().unwrap().start();
        let known = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        until_state(&store, known, "completed").await;
        old.stop(PATIENCE).await;
        assert_eq!(look(&store, newer).await.unwrap().term, 0);
        assert_eq!(look(&store, version).await.unwrap().term, 0);

        let kind = Kind::new(async |_: Run, _: Newer| Ok(()));
        let new = worker(&jobs).kind(kind).version(2).build().unwrap().start();
        until_state(&store, newer, "completed").await;
        until_state(&store, version, "completed").await;
        new.stop(PATIENCE).await;
    }

    async fn what_cannot_be_read_is_left_for_newer_nodes(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        sql(
            &store,
            "UPDATE steadfast_job SET payload = '{\"Later\":1}' WHERE id = ?1",
            "UPDATE steadfast.job SET payload = '{\"Later\":1}' WHERE id = $1",
            binds![id.get() as i64],
        )
        .await;

        let running = worker(&jobs).build().unwrap().start();

        let seen = until_state(&store, id, "waiting").await;
        assert_eq!(seen.attempt, 0);
        assert!(seen.error.unwrap().contains("cannot be read"));
        running.stop(PATIENCE).await;
    }

    async fn bytes_that_are_no_text_keep_no_other_job_from_running(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        // With a limit, and as a suspect, a job is claimed by other statements.
        for (max_running, crashes) in [(None, 0), (Some(1), 0), (None, 2), (Some(1), 2)] {
            jobs.limit("default", max_running, None).await.unwrap();
            let mut ids = Vec::new();
            for _ in 0..3 {
                ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
            }
            let [small, large, fine] = ids[..] else { unreachable!() };
            // PostgreSQL takes only what is: there, it is another text.
            sql(
                &store,
                "UPDATE steadfast_job SET crashes = ?2, payload = CAST(x'22ff22' AS TEXT) WHERE id = ?1",
                "UPDATE steadfast.job SET crashes = $2, payload = '{\"Later\":1}' WHERE id = $1",
                binds![small.get() as i64, crashes],
            )
            .await;
            sql(
                &store,
                "UPDATE steadfast_job SET crashes = ?2, payload = CAST(x'22ff' AS TEXT) || printf('%3000s\"', '') WHERE id = ?1",
                "UPDATE steadfast.job SET crashes = $2, payload = json_build_object('Later', repeat(' ', 3000)) WHERE id = $1",
                binds![large.get() as i64, crashes],
            )
            .await;

            let running = worker(&jobs).build().unwrap().start();

            until_state(&store, fine, "completed").await;
            for id in [small, large] {
                let seen = until_state(&store, id, "waiting").await;
                assert_eq!(seen.attempt, 0);
                assert!(seen.error.unwrap().contains("cannot be read"));
            }
            running.stop(PATIENCE).await;
        }
    }

    async fn a_paused_queue_gives_nothing_until_it_goes_on(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        jobs.pause("default", "the bank is closed").await.unwrap();
        let running = worker(&jobs).queue("default", 5).queue("open", 5).build().unwrap().start();
        let waits = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let passes = jobs.enqueue(&Act::Succeed, Options::new().queue("open")).await.unwrap();

        until_state(&store, passes, "completed").await;
        assert_eq!(look(&store, waits).await.unwrap().state, "pending");
        jobs.resume("default").await.unwrap();

        until_state(&store, waits, "completed").await;
        running.stop(PATIENCE).await;
    }

    async fn higher_priorities_go_first_and_none_waits_for_ever(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut ids = Vec::new();
        for priority in [0, 5, -5, 5] {
            let options = Options::new().priority(priority);
            ids.push(jobs.enqueue(&Act::Succeed, options).await.unwrap());
        }
        // Due an hour ago: that outweighs five steps of a minute.
        let aged = jobs.enqueue(&Act::Succeed, Options::new().priority(-5)).await.unwrap();
        sql(
            &store,
            "UPDATE steadfast_job SET due_us = due_us - 3600000000 WHERE id = ?1",
            "UPDATE steadfast.job SET due_us = due_us - 3600000000 WHERE id = $1",
            binds![aged.get() as i64],
        )
        .await;

        let one = worker(&jobs).queue("default", 1).build().unwrap();
        let mut events = one.events();
        let running = one.start();
        let mut order = Vec::new();
        while order.len() < 5 {
            let event = events.recv().await.unwrap();
            if matches!(event.what, What::Started) {
                order.push(event.id);
            }
        }

        assert_eq!(order, [aged, ids[1], ids[3], ids[0], ids[2]]);
        running.stop(PATIENCE).await;
    }

    async fn a_handler_goes_on_with_the_trace_of_whoever_enqueued(database) {
        #[derive(Serialize, Deserialize)]
        struct Traced;
        impl Job for Traced {
            const KIND: &'static str = "traced";
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let kind = Kind::new(async |run: Run, _: Traced| {
            let block = context::current();
            let term = context::get("term").map(|term| term.to_string());
            Ok((block.trace_id().map(|id| id.to_string()), block.job() == Some(run.id().get()), block.attempt(), term))
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();
        let trace_id = TraceId::random();

        let enqueued = jobs.enqueue(&Traced, Options::new());
        let id = Context::new().with_trace_id(trace_id).wrap(enqueued).await.unwrap();

        let result = until_state(&store, id, "completed").await.result.unwrap();
        assert_eq!(result, format!("[\"{trace_id}\",true,1,\"1\"]"));
        running.stop(PATIENCE).await;
    }

    async fn an_effect_in_the_same_transaction_happens_once(database) {
        #[derive(Serialize, Deserialize)]
        struct Book;
        impl Job for Book {
            const KIND: &'static str = "book";
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        sql(&store, "CREATE TABLE ledger (job INTEGER, term INTEGER)", "CREATE TABLE ledger (job bigint, term bigint)", binds![]).await;
        let insert = match store.dialect() {
            steadfast_store::Dialect::Sqlite => "INSERT INTO ledger VALUES (?1, ?2)",
            steadfast_store::Dialect::Postgres => "INSERT INTO ledger VALUES ($1, $2)",
        };
        let ledger = store.clone();
        let kind = Kind::new(move |run: Run, _: Book| {
            let store = ledger.clone();
            async move {
                let mut tx = store.begin().await?;
                let binds = binds![run.id().get() as i64, run.term() as i64];
                tx.sql(insert, binds).await?;
                if run.term() == 1 {
                    run.complete_within(&mut tx, &()).await?;
                    // Rolled back: the handler says that it is done, and the store knows better.
                    tx.roll_back().await?;
                } else {
                    run.complete_in(tx, &()).await?;
                }
                Ok(())
            }
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        let id = jobs.enqueue(&Book, Options::new()).await.unwrap();

        assert_eq!(until_state(&store, id, "completed").await.term, 2);
        let rows = sql(&store, "SELECT term FROM ledger", "SELECT term FROM ledger", binds![]).await;
        assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), 2);
        running.stop(PATIENCE).await;
    }

    async fn a_handler_that_says_the_lease_is_lost_while_it_is_not_has_failed(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (first, store_of_handler) = (Arc::new(Mutex::new(None)), store.clone());
        let backoff = steadfast_core::decide::backoff::Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
        let kind = Kind::of_name("confused", move |run: Run, _, _| {
            let (first, store) = (first.clone(), store_of_handler.clone());
            async move {
                // By mistake it completes the run before, whose lease is over.
                let before: Option<Run> = first.lock().unwrap().replace(run.clone());
                match (run.attempt(), before) {
                    (2, Some(before)) => before.complete_in(store.begin().await?, &()).await?,
                    (1, _) => return Err("no luck at first".into()),
                    _ => {}
                }
                Ok(None)
            }
        });
        let kind = kind.backoff(backoff.unwrap());
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        let id = jobs.enqueue_kind("confused", "{}", Options::new()).await.unwrap();

        let seen = until_state(&store, id, "completed").await;
        assert_eq!(seen.attempt, 3);
        assert!(seen.error.unwrap().starts_with("the lease of job"));
        running.stop(PATIENCE).await;
    }

    async fn a_result_over_its_bounds_is_refused_within_a_transaction_and_nothing_of_it_stays(database) {
        #[derive(Serialize, Deserialize)]
        struct Large;
        impl Job for Large {
            const KIND: &'static str = "large";
            const MAX_ATTEMPTS: u32 = 1;
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let within = store.clone();
        let kind = Kind::new(move |run: Run, _: Large| {
            let store = within.clone();
            async move {
                let tx = store.begin().await?;
                run.complete_in(tx, &"x".repeat(64 * 1024)).await?;
                Ok(())
            }
        });
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        let id = jobs.enqueue(&Large, Options::new()).await.unwrap();

        let seen = until_state(&store, id, "discarded").await;
        let error = seen.error.unwrap();
        assert!(error.contains("65538 bytes is over the bound of 65536"), "{error}");
        assert_eq!(seen.result, None);
        running.stop(PATIENCE).await;
    }

    async fn payloads_of_every_size_arrive_as_they_were_sent(database) {
        #[derive(Serialize, Deserialize)]
        struct Text(String);
        impl Job for Text {
            const KIND: &'static str = "a \"text\" \u{e9}";
        }
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let kind = Kind::new(async |_: Run, text: Text| Ok(text.0.len()));
        let running = worker(&jobs).kind(kind).build().unwrap().start();

        // Around the size from which SQLite tells a payload by itself.
        let mut sent = Vec::new();
        let texts = ["", "\"\\\u{1}\u{e9}\u{1f600}", "{\"a\":[null]}"].map(str::to_owned);
        let sizes = [1_990, 1_998, 1_999, 2_010, 100_000];
        for text in texts.into_iter().chain(sizes.map(|size| "y".repeat(size))) {
            let length = text.len();
            sent.push((jobs.enqueue(&Text(text), Options::new()).await.unwrap(), length));
        }

        for (id, length) in sent {
            let seen = until_state(&store, id, "completed").await;
            assert_eq!(seen.result, Some(length.to_string()));
        }
        running.stop(PATIENCE).await;
    }

    async fn what_a_kind_needs_is_not_there_and_no_attempt_is_spent_on_finding_out(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let (is_down, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (looks, counts) = (is_down.clone(), calls.clone());
        let kind = Kind::of_name("charge", move |_, _, _| {
            counts.fetch_add(1, Ordering::Relaxed);
            async { Ok(None) }
        });
        let panics = Kind::of_name("careless", async |_, _, _| Ok(None)).hold_while(|| panic!("no luck"));
        let kind = kind.hold_while(move || looks.load(Ordering::Relaxed));
        let running = worker(&jobs).kind(kind).kind(panics).build().unwrap().start();
        let mut held = Vec::new();
        for kind in ["charge", "charge", "careless"] {
            held.push(jobs.enqueue_kind(kind, "{}", Options::new()).await.unwrap());
        }
        // Another kind of the same queue goes on, and after it the worker has been there.
        let other = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        until_state(&store, other, "completed").await;
        until_state(&store, held[2], "completed").await;
        for id in &held[..2] {
            let seen = look(&store, *id).await.unwrap();
            assert_eq!((seen.state.as_str(), seen.term, seen.attempt), ("pending", 0, 0));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);

        is_down.store(false, Ordering::Relaxed);

        for id in &held[..2] {
            assert_eq!(until_state(&store, *id, "completed").await.attempt, 1);
        }
        running.stop(PATIENCE).await;
    }

    async fn a_repair_runs_before_every_run_but_the_first(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let repaired = Arc::new(AtomicUsize::new(0));
        let count = repaired.clone();
        let kind = Kind::new(act)
            .backoff(steadfast_core::decide::backoff::Backoff::new(Duration::from_millis(1), Duration::from_millis(1)).unwrap())
            .repair(move |_: Run, _: Act| {
                count.fetch_add(1, Ordering::Relaxed);
                async { Ok(()) }
            });
        let running = steadfast_jobs::Worker::builder(&jobs).kind(kind).build().unwrap().start();

        let fine = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let again = jobs.enqueue(&Act::FailOnce, Options::new()).await.unwrap();
        until_state(&store, fine, "completed").await;
        until_state(&store, again, "completed").await;

        assert_eq!(repaired.load(Ordering::Relaxed), 1);
        running.stop(PATIENCE).await;
    }

    async fn a_run_that_is_over_its_time_or_stuck_has_failed(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let short = Kind::new(act).timeout(Duration::from_millis(20));
        let running = steadfast_jobs::Worker::builder(&jobs).kind(short).build().unwrap().start();
        let late = jobs.enqueue(&Act::Hang, Options::new().max_attempts(1)).await.unwrap();
        let error = until_state(&store, late, "discarded").await.error.unwrap();
        assert!(error.contains("timed out"), "{error}");
        running.stop(PATIENCE).await;

        let beats = Kind::new(act).beat_every(Duration::from_millis(10));
        let running = steadfast_jobs::Worker::builder(&jobs).kind(beats).build().unwrap().start();
        let stuck = jobs.enqueue(&Act::Hang, Options::new().max_attempts(1)).await.unwrap();
        let error = until_state(&store, stuck, "discarded").await.error.unwrap();
        assert!(error.contains("stuck"), "{error}");
        running.stop(PATIENCE).await;
    }

    async fn a_job_says_how_long_its_run_may_take_unless_its_kind_does(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let limited = async || {
            let options = Options::new().max_attempts(1).delay(Duration::from_secs(3_600));
            let id = jobs.enqueue(&Act::Hang, options).await.unwrap();
            sql(
                &store,
                "UPDATE steadfast_job SET run_us_max = 20000 WHERE id = ?1",
                "UPDATE steadfast.job SET run_us_max = 20000 WHERE id = $1",
                binds![id.get() as i64],
            )
            .await;
            jobs.run_now(id).await.unwrap();
            id
        };

        let running = worker(&jobs).build().unwrap().start();
        let id = limited().await;
        let error = until_state(&store, id, "discarded").await.error.unwrap();
        assert!(error.contains("timed out"), "{error}");
        running.stop(PATIENCE).await;

        let kind = Kind::new(async |run: Run, _: Act| Ok(run.longest().as_secs()));
        let kind = kind.timeout(Duration::from_secs(77));
        let running = steadfast_jobs::Worker::builder(&jobs).kind(kind).build().unwrap().start();
        let id = limited().await;
        let seen = until_state(&store, id, "completed").await;
        assert_eq!(seen.result.as_deref(), Some("77"));
        running.stop(PATIENCE).await;
    }

    async fn what_nobody_starts_in_time_is_cancelled(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let late = jobs.enqueue(&Act::Succeed, Options::new().expires_in(Duration::ZERO)).await.unwrap();

        let running = worker(&jobs).build().unwrap().start();

        let seen = until_state(&store, late, "cancelled").await;
        assert_eq!((seen.term, seen.attempt), (0, 0));
        running.stop(PATIENCE).await;
    }

    async fn a_worker_whose_store_is_gone_ends_all_the_same(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let lease = steadfast_store::NodeConfig::new("test", "0").with_lease(Duration::from_secs(2));
        let running = worker(&jobs).join(lease).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Act::Hang, Options::new()).await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        store.close().await;

        let stopped = steadfast_core::clock::timeout(PATIENCE, running.stop(Duration::ZERO)).await;
        assert!(stopped.is_ok());
    }

    async fn a_test_runs_everything_to_its_end_without_waiting_for_its_time(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let hour = Duration::from_secs(3_600);
        let later = Options::new().delay(hour);
        jobs.enqueue(&Act::Answer(1), later).await.unwrap();
        jobs.enqueue(&Act::FailOnce, Options::new()).await.unwrap();
        jobs.enqueue(&Act::Fail, Options::new()).await.unwrap();
        steadfast_jobs::testing::assert_enqueued(&jobs, |act: &Act| matches!(act, Act::Fail)).await;
        // More than a count for a dashboard tells.
        let mut batch = steadfast_jobs::Batch::new();
        for _ in 0..steadfast_jobs::COUNT_CAP {
            batch.push(&Act::Succeed, Options::new()).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();

        let slow = steadfast_core::decide::backoff::Backoff::new(hour, hour).unwrap();
        let worker = steadfast_jobs::Worker::builder(&jobs).kind(Kind::new(act).backoff(slow));
        let counts = steadfast_jobs::testing::run_until_empty(worker.build().unwrap()).await.unwrap();

        assert_eq!(counts.of(State::Completed), steadfast_jobs::COUNT_CAP + 2);
        assert_eq!(counts.of(State::Discarded), 1);
    }

    async fn a_thousand_jobs_end_and_each_once(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = steadfast_jobs::Batch::new();
        for number in 0..1_000 {
            let act = if number % 10 == 0 { Act::FailOnce } else { Act::Succeed };
            batch.push(&act, Options::new()).unwrap();
        }
        let ids = jobs.enqueue_batch(batch).await.unwrap();

        let workers: Vec<_> = (0..2)
            .map(|_| {
                // So long that a busy machine does not take it from them: that would be another test.
                let node = steadfast_store::NodeConfig::new("test", "0");
                worker(&jobs).join(node).build().unwrap().start()
            })
            .collect();

        for (number, id) in ids.iter().enumerate() {
            let seen = until_state(&store, *id, "completed").await;
            assert_eq!(seen.attempt, if number % 10 == 0 { 2 } else { 1 });
        }
        let total = || workers.iter().map(steadfast_jobs::Running::completed).sum::<u64>();
        // The tables know it a moment before the workers do.
        while total() < 1_000 {
            steadfast_core::clock::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(total(), 1_000);
        for running in workers {
            running.stop(PATIENCE).await;
        }
    }
}
