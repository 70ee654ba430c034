//! Queues with limits.

use super::*;
use crate::worker::run::settled;

/// Has a queue of it have a limit, as the node has learned; gives its place.
async fn limit(engine: &mut Engine, name: &str, running: u32) -> usize {
    let queues = &mut engine.queues;
    let index = queues.iter().position(|queue| queue.name == name).unwrap();
    queues[index].limited = true;
    let limit = engine.jobs.limit(name, Some(running), None);
    limit.await.unwrap();
    index
}

/// How a place comes to be free.
#[derive(Debug, Clone, Copy)]
enum Freed {
    End,
    /// The handler has completed its job, in a transaction whose end is not known.
    Handler,
    /// It was cancelled before it was started.
    Cancel,
}

/// It is free once the store knows of the end, which a claim before that would find taken: the next would be in two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_a_queue_with_a_limit_is_taken_again_as_soon_as_it_is_free() {
    let ways = [Freed::End, Freed::Handler, Freed::Cancel];
    for (how, on) in ways
        .map(|how| [(how, On::Sqlite), (how, On::Postgres)])
        .concat()
    {
        let describe = |worker: WorkerBuilder| worker.kind(any()).queue("first", 2);
        let (_database, mut engine, mut ended) = engine_of(on, describe).await;
        let node = join(&mut engine).await;
        let first = limit(&mut engine, "first", 1).await;
        for _ in 0..2 {
            let options = Options::new().queue("first");
            engine.jobs.enqueue(&Any, options).await.unwrap();
        }
        let mut now = clock::nanos();
        while engine.queues[first].ready.is_empty() {
            turn(&mut engine, now).await;
        }
        let job = engine.queues[first].ready.pop_front().unwrap();
        let (id, term) = (job.id, job.term);
        let mut batch = Vec::new();
        match how {
            Freed::Cancel => engine.queues[first].ready.push_back(job),
            Freed::End | Freed::Handler => {
                engine.start(job);
                batch.push(ended.recv().await.unwrap());
            }
        }
        // Nothing more is found, so it is asked for ever more seldom.
        let second = nanos(Duration::from_secs(1));
        for _ in 0..1_000 {
            if engine.queues[first].next_poll > now + second {
                break;
            }
            now += second / 20;
            turn(&mut engine, now).await;
        }
        assert!(engine.queues[first].next_poll > now + second, "{how:?}");

        engine.turn = Turn::Exchange;
        match how {
            Freed::End => {}
            Freed::Cancel => engine.obey(Order::Cancel {
                id,
                term,
                reason: "not any more".into(),
            }),
            Freed::Handler => {
                let binds = binds![id, term, engine.incarnation, None::<String>];
                let completed = engine.jobs.store().run(&crate::sql::COMPLETE_IN, binds);
                completed.await.unwrap();
                batch[0].settled = settled::PERHAPS;
            }
        }
        engine.note_ended(now, &mut batch);
        // The time of a cancel is that of the clock.
        let now = now.max(clock::nanos() + second);
        for _ in 0..10 {
            turn(&mut engine, now).await;
        }

        let next: Vec<i64> = engine.queues[first]
            .ready
            .iter()
            .map(|job| job.id)
            .collect();
        assert_eq!(next.len(), 1, "{how:?} on {on:?}");
        assert_ne!(next[0], id, "{how:?} on {on:?}");
        assert!(engine.frees.is_empty(), "{how:?} on {on:?}");
        node.leave().await;
    }
}

/// It claims nothing that would have it ask: a full node, one that drains, or one whose kinds are all held.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_while_a_limit_was_set_counts_although_its_node_is_full() {
    for (on, draining) in [
        (On::Sqlite, false),
        (On::Postgres, false),
        (On::Sqlite, true),
    ] {
        let describe = |worker: WorkerBuilder| worker.kind(any()).queue("first", 1);
        let (_database, mut engine, mut ended) = engine_of(on, describe).await;
        let node = join(&mut engine).await;
        let options = Options::new().queue("first");
        engine.jobs.enqueue(&Any, options).await.unwrap();
        let now = clock::nanos();
        while engine.queues[0].ready.is_empty() {
            turn(&mut engine, now).await;
        }
        let job = engine.queues[0].ready.pop_front().unwrap();
        engine.start(job);
        ended.recv().await.unwrap();
        limit(&mut engine, "first", 2).await;
        engine.queues[0].limited = false;
        sql(
            &engine,
            "UPDATE steadfast_job SET limit_key = NULL",
            binds![],
        )
        .await;

        engine.obey(Order::Limited(vec!["first".into()]));
        assert!(engine.wake_at(now, draining) <= now, "on {on:?}");
        for _ in 0..3 {
            if let Some(operation) = engine.next_operation(now, draining) {
                let outcome = operation.await;
                engine.apply(now, outcome);
            }
        }

        let text = "SELECT count(*) FROM steadfast_job WHERE limit_key IS NOT NULL";
        let rows = sql(&engine, text, binds![]).await;
        let counts: i64 = rows.one().unwrap().get(0).unwrap();
        assert_eq!(counts, 1, "on {on:?}, draining: {draining}");
        assert!(engine.wake_at(now, draining) > now, "once is enough");
        node.leave().await;
    }
}

/// Handlers may have them all, and everything else of the engine would wait for this claim.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_a_limit_needs_none_of_the_connections_that_are_shared() {
    let describe = |worker: WorkerBuilder| worker.kind(any()).queue("first", 1);
    let (_database, mut engine, _ended) = engine_of(On::Postgres, describe).await;
    let node = join(&mut engine).await;
    let first = limit(&mut engine, "first", 1).await;
    let store = engine.jobs.store().clone();
    let mut held = Vec::new();
    for _ in 0..store.config().connections_max {
        held.push(store.begin().await.unwrap());
    }

    let outcome = engine.claim_limited(clock::nanos(), first, false).await;

    assert!(matches!(outcome, Outcome::Limited { told: Ok(told), .. } if told.ours));
    drop(held);
    node.leave().await;
}

/// Where two nodes claim all the time, one of them would come every two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_of_somebody_else_is_no_reason_to_come_seldom() {
    for (on, paused) in [
        (On::Postgres, false),
        (On::Postgres, true),
        (On::Sqlite, true),
    ] {
        let describe = |worker: WorkerBuilder| worker.kind(any()).queue("first", 1);
        let (_database, mut engine, _ended) = engine_of(on, describe).await;
        let node = join(&mut engine).await;
        let first = limit(&mut engine, "first", 1).await;
        let store = engine.jobs.store().clone();
        let mut theirs = None;
        if paused {
            engine.jobs.pause("first", "for now").await.unwrap();
        } else {
            let mut tx = store.begin().await.unwrap();
            let locked = tx.run(&crate::sql::LOCK_LIMITED, binds!["first"]);
            assert_eq!(
                locked.await.unwrap().one().unwrap().get::<i64>(0).unwrap(),
                1
            );
            theirs = Some(tx);
        }

        for _ in 0..10 {
            let outcome = engine.claim_limited(0, first, false).await;
            engine.apply(0, outcome);
        }

        let often = engine.queues[first].next_poll <= nanos(crate::decide::poll::FLOOR);
        assert_eq!(often, !paused, "on {on:?}");
        let due = engine.queues[first].next_suspect == 0;
        assert!(due, "there was no look for a suspect, on {on:?}");
        drop(theirs);
        node.leave().await;
    }
}
