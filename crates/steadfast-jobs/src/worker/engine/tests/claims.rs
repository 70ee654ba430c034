//! What is claimed, and from where.

use super::*;

/// Jobs were claimed ahead by the pace of fast handlers, and then the one that runs takes its time.
#[tokio::test]
async fn what_waits_too_long_for_a_permit_goes_back_and_is_not_claimed_again_at_once() {
    let describe = |worker: WorkerBuilder| worker.kind(any()).queue("default", 1);
    let (_database, mut engine, _ended) = engine_of(On::Sqlite, describe).await;
    for turn in 0..20 {
        engine.pace.ended(turn * 2 * MILLI, 200, true);
    }
    engine.queues[0].running = 1;
    for id in 1..=50 {
        let job = claimed(&engine, id);
        engine.queues[0].ready.push_back(job);
    }
    let over = 1_000 * MILLI + nanos(READY_MAX);

    engine.look(over - 1);
    assert!(engine.back.is_empty());
    assert!(!engine.wants(over - 1).is_empty());

    engine.look(over);
    assert_eq!(engine.back.len(), 50);
    assert!(engine.queues[0].ready.is_empty());
    assert_eq!(engine.wants(over), [], "others are to have them");
}

/// A claim for kinds of which none is wanted would read through all that waits, at each poll and each wake-up.
#[tokio::test]
async fn an_engine_whose_kinds_are_all_held_asks_for_none() {
    let (is_down, kind) = held_kind("any");
    let describe =
        |worker: WorkerBuilder| worker.kind(kind).queue("limited", 1).queue("default", 1);
    let (_database, mut engine, _ended) = engine_of(On::Sqlite, describe).await;
    engine.queues[0].limited = true;

    assert_eq!(engine.wants(0), []);
    assert_eq!(engine.limited_due(0, false), None);
    assert!(engine.next_operation(0, false).is_none());
    assert!(engine.wake_at(0, false) > 0, "it would turn over and over");

    is_down.store(false, Ordering::Relaxed);
    assert_eq!(engine.wants(0).len(), 1);
    assert_eq!(engine.limited_due(0, false), Some(0));
}

/// What was held lies below what came in meanwhile, and claims have gone on from there.
#[tokio::test]
async fn what_was_held_is_looked_for_from_the_start() {
    let (is_down, held) = held_kind("held");
    let describe = |worker: WorkerBuilder| worker.kind(held).kind(any());
    let (_database, mut engine, _ended) = engine_of(On::Sqlite, describe).await;
    let mut claim = async |now: u64, found: usize| {
        let _ = engine.next_operation(now, false);
        let from = engine.wants(now)[0].1;
        let seen = Seen {
            from,
            began: now + 1,
            at_us: 1_000_000_000,
            wanted: 10,
            found,
            last_rank_us: Some(999_000_000),
        };
        engine.queues[0].floor.claimed(now + 1, seen);
        from
    };

    assert_eq!(claim(1, 0).await, i64::MIN);
    assert!(claim(10, 0).await > i64::MIN, "held still");
    is_down.store(false, Ordering::Relaxed);
    assert_eq!(claim(20, 0).await, i64::MIN);
    assert!(claim(30, 0).await > i64::MIN, "once is enough");
}

/// Claims have gone on among those that wait, whose ranks lie ahead of what comes in.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_claimed_before_the_lower_priorities_that_wait() {
    for on in [On::Sqlite, On::Postgres] {
        let describe = |worker: WorkerBuilder| worker.kind(any()).queue("default", 1);
        let (_database, mut engine, _ended) = engine_of(on, describe).await;
        let node = join(&mut engine).await;
        let jobs = engine.jobs.clone();
        let mut low = Batch::new();
        for _ in 0..5_000 {
            low.push(&Any, Options::new().priority(-10)).unwrap();
        }
        jobs.enqueue_batch(low).await.unwrap();
        // A claim of a millisecond each two, whatever they take here.
        let mut now = 0;
        let mut claim = async |engine: &mut Engine| {
            let mut outcome = engine.exchange(engine.wants(now)).await;
            if let Outcome::Exchanged { began, .. } = &mut outcome {
                *began = now;
            }
            engine.apply(now + MILLI, outcome);
            now += 2 * MILLI;
            let ready = engine.queues[0].ready.drain(..);
            ready.map(|job| job.id).collect::<Vec<i64>>()
        };
        for _ in 0..3 {
            assert_eq!(claim(&mut engine).await.len(), 1, "{on:?}");
        }

        for priority in [0, -5, 5, 0] {
            let heard = *jobs.woken().borrow();
            let options = Options::new().priority(priority);
            let id = jobs.enqueue(&Any, options).await.unwrap();
            let signal = *jobs.woken().borrow();
            engine.wake(signal.is_from_start(heard));

            assert_eq!(claim(&mut engine).await, [id.0], "{priority} on {on:?}");
        }
        node.leave().await;
    }
}

/// Whoever wakes it does not wait for that, so it has to come by itself.
#[tokio::test]
async fn a_look_that_is_due_needs_nobody_who_wakes() {
    let (_database, mut engine, _ended) = engine().await;
    engine.next_poll = u64::MAX;
    engine.queues[0].next_suspect = u64::MAX;
    let second = 1_000 * MILLI;
    for now in [0, MILLI] {
        engine.woken = true;
        let seen = Seen {
            from: engine.wants(now)[0].1,
            began: now,
            at_us: 1_000_000_000,
            wanted: 10,
            found: 1,
            last_rank_us: Some(999_000_000),
        };
        engine.queues[0].floor.claimed(now, seen);
    }

    assert!(
        engine.wants(second)[0].1 > i64::MIN,
        "somebody has woken it"
    );
    engine.woken = false;
    assert!(engine.next_operation(second - 1, false).is_none());
    assert!(engine.next_operation(second, false).is_some());
}

/// What it was woken for is there still.
#[tokio::test]
async fn a_claim_that_fails_is_made_again_and_waits_for_no_poll() {
    let (_database, mut engine, _ended) = engine().await;
    engine.next_poll = u64::MAX;
    engine.queues[0].next_suspect = u64::MAX;
    engine.woken = true;
    let faults = engine.jobs.store().config().faults.clone();
    faults.on_name("exchange", Fault::Before);

    let claim = engine.next_operation(0, false).unwrap();
    let outcome = claim.await;
    engine.apply(MILLI, outcome);
    // What the books say.
    engine.uncertain = false;

    assert!(engine.wake_at(MILLI, false) < nanos(FAILED_LONGEST));
    assert!(engine.next_operation(engine.not_before, false).is_some());
}

/// Fast handlers have hundreds claimed ahead.
#[tokio::test]
async fn what_is_claimed_later_with_a_higher_priority_is_started_first() {
    let (_database, mut engine, _ended) = engine().await;
    let job = |id| Claimed {
        rank_us: id,
        ..claimed(&engine, id)
    };
    static SEAT: Seat = Seat::new();
    // Others of its process wait for its end.
    let suspect = Claimed {
        place: SEAT.take(0),
        ..job(50)
    };
    let claims = [
        vec![suspect],
        vec![job(20), job(30)],
        vec![job(10), job(40)],
        vec![],
    ];
    let queue = &mut engine.queues[0];

    for jobs in claims {
        queue.hold(jobs);
    }

    let order: Vec<i64> = queue.ready.iter().map(|job| job.id).collect();
    assert_eq!(order, [50, 10, 20, 30, 40]);
}
