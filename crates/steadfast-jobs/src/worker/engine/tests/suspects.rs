//! Jobs that are suspected of killing their processes.

use super::*;

/// An engine of one worker whose suspect goes on after its lease is lost, what lets that end, and where it tells so.
async fn suspect_that_goes_on() -> (
    Database,
    Engine,
    Arc<Notify>,
    mpsc::UnboundedReceiver<Finished>,
) {
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let kind = Kind::of_name("goes-on", move |_, _, _| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok(None)
        }
    });
    let kind = kind.on_lease_lost(crate::OnLeaseLost::Continue);
    let (database, mut engine, ended) = engine_of(On::Sqlite, |worker| worker.kind(kind)).await;
    let mut place = None;
    // Another test of this process may have it.
    until("it is the only suspect", || {
        place = place.take().or_else(|| alone::take(clock::nanos()));
        place.is_some()
    })
    .await;
    let suspect = Claimed {
        place,
        ..claimed(&engine, 7)
    };
    engine.start(suspect);
    engine.lose(None).await;
    (database, engine, go, ended)
}

/// Its crash would be held against both.
#[tokio::test]
async fn a_suspect_that_goes_on_after_the_lease_is_lost_is_the_only_one_of_its_process() {
    let (_database, first, go, mut ended) = suspect_that_goes_on().await;
    let next = |legacy| {
        let (settings, jobs) = (first.settings.clone(), first.jobs.clone());
        let tokens = (Cancel::new(), Cancel::new());
        let tally = first.tally.clone();
        Engine::new(settings, jobs, tally, 2, tokens, (first.to.clone(), legacy))
    };
    let (mine, of_another_worker) = (next(first.legacy), next(Legacy::default()));

    let now = clock::nanos();
    assert!(!mine.asks_for_suspect(now));
    assert!(!of_another_worker.asks_for_suspect(now));

    // Also when nobody looks after it any more, until it would have been written off.
    drop(mine);
    assert!(!of_another_worker.asks_for_suspect(now));
    assert!(of_another_worker.asks_for_suspect(u64::MAX / 2));

    go.notify_one();
    assert_eq!(ended.recv().await.unwrap().id, 7);
    until("others may have the place", || {
        of_another_worker.asks_for_suspect(now)
    })
    .await;
}

/// It may never end, and others would wait for it as long.
#[tokio::test]
async fn a_suspect_that_is_written_off_keeps_no_other_waiting() {
    let (_database, mut engine, _go, _ended) = suspect_that_goes_on().await;

    engine.look(u64::MAX / 2);

    let now = clock::nanos();
    until("others may have the place", || engine.asks_for_suspect(now)).await;
}

#[tokio::test]
async fn a_suspect_whose_permit_is_written_off_keeps_no_other_waiting() {
    static SEAT: Seat = Seat::new();
    let hangs = Kind::of_name("hangs", async |_, _, _| std::future::pending().await);
    let (_database, mut engine, _ended) = engine_of(On::Sqlite, |worker| worker.kind(hangs)).await;
    let suspect = Claimed {
        place: SEAT.take(0),
        ..claimed(&engine, 7)
    };
    engine.start(suspect);
    let now = clock::nanos();
    assert!(SEAT.is_taken(now));

    engine.look(u64::MAX / 2);

    assert!(!SEAT.is_taken(now));
}

/// Whatever its priority: that of a suspect is of no use in a queue that is never empty. Another queue has room all the
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_has_its_turn_while_others_wait_all_the_time() {
    for (on, limited) in [
        (On::Sqlite, false),
        (On::Sqlite, true),
        (On::Postgres, false),
        (On::Postgres, true),
    ] {
        let describe =
            |worker: WorkerBuilder| worker.kind(any()).queue("idle", 1).queue("first", 1);
        let (_database, mut engine, mut ended) = engine_of(on, describe).await;
        let node = join(&mut engine).await;
        if limited {
            let mut queues = engine.queues.iter_mut();
            queues.find(|queue| queue.name == "first").unwrap().limited = true;
            engine.jobs.limit("first", Some(1), None).await.unwrap();
        }
        let mut others = Batch::new();
        for _ in 0..200 {
            others.push(&Any, Options::new().queue("first")).unwrap();
        }
        engine.jobs.enqueue_batch(others).await.unwrap();
        let options = Options::new().queue("first").priority(-10);
        let suspect = engine.jobs.enqueue(&Any, options).await.unwrap().0;
        let text = "UPDATE steadfast_job SET crashes = 2 WHERE id = ?1";
        sql(&engine, text, binds![suspect]).await;

        let mut now = clock::nanos();
        // At first nothing runs, which is no art.
        for queue in &mut engine.queues {
            queue.next_suspect = now + 1_000 * MILLI;
        }
        let (mut ran, mut turns) = (0, 0);
        loop {
            engine.start_ready(now);
            if engine.flights.contains_key(&suspect) {
                break;
            }
            assert!(
                ran < 150 && turns < 5_000,
                "it waits, on {on:?}, limited: {limited}"
            );
            turns += 1;
            // Another test of this process may have the place.
            until("nobody has it", || !alone::is_taken(clock::nanos())).await;
            if engine.flights.is_empty() {
                if !turn(&mut engine, now).await {
                    now += 10 * MILLI;
                }
                continue;
            }
            // Time passes while its permit is taken, so this is when a suspect comes to be due, and is asked for of others.
            now += 100 * MILLI;
            for _ in 0..10 {
                turn(&mut engine, now).await;
            }
            let mut batch = vec![ended.recv().await.unwrap()];
            ran += batch.len();
            engine.note_ended(now, &mut batch);
        }
        node.leave().await;
    }
}
