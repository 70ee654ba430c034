//! How the ends of runs are told.

use super::*;
use crate::event::What;

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn many_ends_go_to_postgres_beside_a_large_claim_and_few_along_with_it() {
    for (on, ends, statements) in [
        (On::Postgres, SIDE_BY_SIDE, 2),
        (On::Postgres, SIDE_BY_SIDE - 1, 1),
        (On::Sqlite, SIDE_BY_SIDE, 1),
    ] {
        let (_database, mut engine, _ended) = engine_of(on, |worker| worker.kind(any())).await;
        let faults = engine.jobs.store().config().faults.clone();
        engine.done = (1..=ends as i64).map(|id| released(id, 1)).collect();
        faults.on_name("exchange", Fault::Delay(Duration::ZERO));

        let outcome = engine.exchange(vec![(0, i64::MIN, SIDE_BY_SIDE)]).await;

        assert_eq!(faults.hits(), statements, "{ends} ends on {on:?}");
        let Outcome::Exchanged { sent, told, .. } = outcome else {
            panic!("it was an exchange");
        };
        assert_eq!(sent.len(), ends);
        // There is neither such a node nor such a job.
        let told = told.unwrap();
        assert!(told.at_us.is_none() && told.ended.is_empty());

        // Whichever reply is lost, the outcome of the whole is unknown.
        for nth in 1..=statements {
            engine.done = (1..=ends as i64).map(|id| released(id, 1)).collect();
            faults.on(nth, Fault::After);
            let outcome = engine.exchange(vec![(0, i64::MIN, SIDE_BY_SIDE)]).await;
            let failed = matches!(outcome, Outcome::Exchanged { told: Err(_), .. });
            assert!(failed, "{ends} ends on {on:?}, statement {nth}");
        }
    }
}

/// It has the rank that it had, below which other nodes have gone on as well.
#[tokio::test]
async fn what_is_handed_back_is_told_to_others() {
    let (_database, mut engine, _ended) = engine().await;
    let jobs = engine.jobs.clone();
    let put_back = |follow, locked: &[i64]| {
        let back = Back {
            taken: vec![7],
            stopped: Vec::new(),
            locked: locked.to_vec(),
            settled: Books::new(),
        };
        Outcome::PutBack {
            sent: vec![Finished {
                follow,
                ..released(7, 1)
            }],
            told: Ok(back),
        }
    };
    let later = Duration::from_secs(1);
    for (follow, locked, told) in [
        (Follow::Release, &[][..], true),
        (Follow::Snooze(Duration::ZERO), &[], true),
        (Follow::Retry(later), &[], false),
        // It is not put back, and tried every 250 ms.
        (Follow::Release, &[7], false),
    ] {
        let before = *jobs.woken().borrow();
        engine.apply(0, put_back(follow, locked));
        let after = *jobs.woken().borrow();

        assert_eq!(after.is_from_start(before), told, "{follow:?}");
    }

    // Nor is it known whether it was told when the answer is lost.
    let before = *jobs.woken().borrow();
    engine.back.push(released(8, 1));
    engine.note_found(0, &Books::new(), Vec::new());
    assert!(jobs.woken().borrow().is_from_start(before));
}

#[tokio::test]
async fn ends_that_are_locked_later_keep_no_others_waiting() {
    let (_database, mut engine, _ended) = engine().await;
    let again = nanos(Duration::from_millis(250));
    let locked = |id| vec![released(id, 1)];

    engine.keep_locked(MILLI, locked(1), &[1]);
    engine.keep_locked(again, locked(2), &[2]);

    assert_eq!(engine.locked_until, again + MILLI);
    let tries =
        |engine: &Engine| -> Vec<u32> { engine.locked.iter().map(|end| end.locked).collect() };
    assert_eq!(tries(&engine), [1, 1]);
    engine.try_locked(again + MILLI);
    let back = std::mem::take(&mut engine.back);
    engine.keep_locked(again + MILLI, back, &[1, 2]);
    assert_eq!(tries(&engine), [2, 2]);
    engine.try_locked(2 * again + MILLI);
    let back = std::mem::take(&mut engine.back);
    assert_eq!(engine.keep_locked(2 * again + MILLI, back, &[]).len(), 2);
    assert!(engine.locked.is_empty());
}

/// Offers the late ends of an engine, whose rows are locked.
fn offer_locked(engine: &mut Engine, now: u64) {
    let late = engine.legacy.late.drain(..);
    let sent: Vec<Finished> = late.map(|(_, end)| end).collect();
    let told = Told {
        at_us: None,
        ended: Vec::new(),
        locked: sent.iter().map(|end| end.id).collect(),
        settled: Books::new(),
        claimed: Vec::new(),
    };
    let outcome = Outcome::Late {
        incarnation: 3,
        sent,
        told: Ok(told),
    };
    engine.apply(now, outcome);
}

/// Whoever has its row locked may hang for ever.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_late_end_that_is_locked() {
    let (_database, mut engine, _ended) = engine().await;
    engine.legacy.late.push((3, released(7, 1)));

    offer_locked(&mut engine, 0);
    assert!(!engine.is_empty(), "it has its time");
    engine.stopping = true;
    assert!(!engine.is_empty(), "it may be for a moment");
    offer_locked(&mut engine, 0);
    offer_locked(&mut engine, 0);
    assert!(engine.is_empty());

    engine.legacy.late.push((3, released(8, 1)));
    assert!(!engine.is_empty(), "it is not locked");
}

/// They are tried in turn, each while the other one waits.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_late_end_and_one_of_this_life_that_are_locked() {
    let (_database, mut engine, _ended) = engine().await;
    engine.stopping = true;
    engine.legacy.late.push((3, released(7, 1)));
    engine.back.push(released(8, 1));
    let mut now = MILLI;

    for _ in 0..GIVE_UP_AFTER {
        assert!(!engine.is_empty(), "they have their time");
        engine.try_locked(now);
        offer_locked(&mut engine, now);
        let back = std::mem::take(&mut engine.back);
        let told = Back {
            taken: Vec::new(),
            stopped: Vec::new(),
            locked: vec![8],
            settled: Books::new(),
        };
        engine.apply(
            now,
            Outcome::PutBack {
                sent: back,
                told: Ok(told),
            },
        );
        now += nanos(Duration::from_millis(250));
    }

    assert!(engine.is_empty());
}

/// What sets a limit has the rows of all that runs locked for a moment; those who stop have milliseconds more.
#[tokio::test]
async fn a_stop_waits_for_ends_that_are_locked_for_a_moment() {
    let (_database, mut engine, _ended) = engine().await;
    engine.stopping = true;
    let again = nanos(Duration::from_millis(250));
    let mut now = MILLI;
    engine.back.push(released(1, 1));

    for _ in 0..GIVE_UP_AFTER {
        engine.try_locked(now);
        let sent = std::mem::take(&mut engine.back);
        assert_eq!(sent.len(), 1);
        engine.keep_locked(now, sent, &[1]);
        let tries = engine.locked[0].locked;
        assert_eq!(engine.is_empty(), tries == GIVE_UP_AFTER, "{tries}");
        now += again;
    }
}

/// The first time was under way still when it was asked whether the store had it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_there_already_is_told_as_it_is_there() {
    for on in [On::Sqlite, On::Postgres] {
        let (_database, mut engine, mut ended) = engine_of(on, |worker| worker.kind(any())).await;
        let node = join(&mut engine).await;
        let incarnation = engine.incarnation;
        // Its handler may have failed after that, or have been cancelled.
        let retry = Follow::Retry(Duration::from_secs(60));
        for (late, follow) in [
            (false, Follow::Complete),
            (true, Follow::Complete),
            (false, Follow::Discard),
            (true, Follow::Discard),
            (false, retry),
        ] {
            engine.jobs.enqueue(&Any, Options::new()).await.unwrap();
            let now = clock::nanos();
            engine.woken = true;
            while engine.queues[0].ready.is_empty() {
                turn(&mut engine, now).await;
            }
            let job = engine.queues[0].ready.pop_front().unwrap();
            let (id, term) = (job.id, job.term);
            engine.start(job);
            let mut end = ended.recv().await.unwrap();
            end.follow = follow;
            engine.flights.clear();
            let binds = binds![id, term, incarnation, None::<String>];
            let first = engine.jobs.store().run(&crate::sql::COMPLETE_IN, binds);
            first.await.unwrap();
            let completed = engine.tally.count(What::Completed.index());

            let outcome = if late {
                engine.legacy.late.push((incarnation, end));
                engine.offer_late().await
            } else if follow == retry {
                engine.back.push(end);
                engine.put_back().await
            } else {
                engine.done.push(end);
                engine.exchange(Vec::new()).await
            };
            engine.apply(now, outcome);

            let which = format!("on {on:?}, late: {late}, {follow:?}");
            assert!(engine.legacy.rejected.is_empty(), "{which}");
            let told = engine.tally.count(What::Completed.index());
            assert_eq!(told, completed + 1, "{which}");
            engine.queues[0].running = 0;
        }
        node.leave().await;
    }
}

/// A job of which its node thinks so stays with it, and is run by nobody.
#[tokio::test]
async fn a_handler_that_says_so_has_not_lost_its_lease() {
    let says_so = async |run: crate::Run, _, _| {
        run.lease_lost().cancel(Cause::LeaseLost);
        run.cancel().cancel(Cause::LeaseLost);
        std::future::pending().await
    };
    let kind = Kind::of_name("says-so", says_so);
    let describe = |worker: WorkerBuilder| worker.kind(kind);
    let (_database, mut engine, mut ended) = engine_of(On::Sqlite, describe).await;

    let job = claimed(&engine, 7);
    engine.start(job);

    assert_eq!(ended.recv().await.unwrap().follow, Follow::Discard);
}

#[tokio::test]
async fn a_run_whose_job_came_again_has_lost_its_lease() {
    let kind = Kind::of_name("waits", async |_, _, _| std::future::pending().await);
    let describe = |worker: WorkerBuilder| worker.kind(kind);
    let (_database, mut engine, mut ended) = engine_of(On::Sqlite, describe).await;
    let job = claimed(&engine, 7);
    engine.start(job);

    let again = Claimed {
        term: 3,
        ..claimed(&engine, 7)
    };
    engine.start(again);

    let first = ended.recv().await.unwrap();
    assert_eq!((first.term, first.follow), (1, Follow::Nothing));
}
