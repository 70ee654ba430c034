use std::future::poll_fn;
use std::sync::atomic::AtomicBool;

use steadfast_core::Cancel;
use steadfast_store::Fault;
use steadfast_store::testing::{Database, Kind as On};
use tokio::sync::mpsc;

use super::held::Claimed;
use super::operation::{Back, Outcome, SIDE_BY_SIDE, Told};
use super::*;
use crate::decide::floor::Seen;
use crate::{Kind, Worker};

const MILLI: u64 = 1_000_000;

/// Jobs were claimed ahead by the pace of fast handlers, and then the one that runs takes its time.
#[tokio::test]
async fn what_waits_too_long_for_a_permit_goes_back_and_is_not_claimed_again_at_once() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let kind = Kind::of_name("fast", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).queue("default", 1);
    let worker = worker.build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let mut engine = Engine::new(settings, jobs, tally, 1, tokens, (to, Legacy::default()));
    for turn in 0..20 {
        engine.pace.ended(turn * 2 * MILLI, 200, true);
    }
    engine.queues[0].running = 1;
    for id in 1..=50 {
        engine.queues[0].ready.push_back(Claimed {
            id,
            term: 1,
            queue: 0,
            kind: worker.settings.kinds["fast"].clone(),
            payload: "null".into(),
            spent: 0,
            max_attempts: 1,
            crashes: 0,
            rank_us: 0,
            trace_id: None,
            longest: None,
            since: 1_000 * MILLI,
        });
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

/// Neither what is overdue meanwhile nor that nobody gives orders any more must have it turn over and over: that
/// takes a whole core from the store that it waits for.
#[tokio::test]
async fn an_engine_rests_while_an_operation_is_under_way() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let faults = jobs.store().config().faults.clone();
    faults.on_name("settled", Fault::Delay(Duration::from_secs(1)));
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let (to, mut ended) = mpsc::unbounded_channel();
    let (_, orders) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let engine = Engine::new(settings, jobs, tally, 1, tokens, (to, Legacy::default()));
    let drain = Cancel::new();
    drain.cancel(Cause::Shutdown);
    let mut run = Box::pin(engine.run(&mut ended, orders, drain, Cancel::new()));
    let mut polls = 0;

    let (exit, _) = poll_fn(|cx| {
        polls += 1;
        run.as_mut().poll(cx)
    })
    .await;

    assert_eq!(exit, Exit::Drained);
    assert!(faults.hits() > 0, "it waited for the store");
    assert!(
        polls < 100,
        "polled {polls} times while the store took a second"
    );
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn many_ends_go_to_postgres_beside_a_large_claim_and_few_along_with_it() {
    for (on, ends, statements) in [
        (On::Postgres, SIDE_BY_SIDE, 2),
        (On::Postgres, SIDE_BY_SIDE - 1, 1),
        (On::Sqlite, SIDE_BY_SIDE, 1),
    ] {
        let database = Database::make(on).await;
        let jobs = Jobs::open(&database.open().await).await.unwrap();
        let faults = jobs.store().config().faults.clone();
        let kind = Kind::of_name("any", async |_, _, _| Ok(None));
        let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
        let (to, _from) = mpsc::unbounded_channel();
        let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
        let tokens = (Cancel::new(), Cancel::new());
        let legacy = (to, Legacy::default());
        let mut engine = Engine::new(settings, jobs, tally, 1, tokens, legacy);
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

/// Its crash would be held against both.
#[tokio::test]
async fn a_suspect_that_goes_on_after_the_lease_is_lost_is_the_only_one_of_its_process() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let kind = Kind::of_name("goes-on", async |_, _, _| std::future::pending().await);
    let kind = kind.on_lease_lost(crate::OnLeaseLost::Continue);
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let engine = |incarnation, legacy| {
        let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
        let tokens = (Cancel::new(), Cancel::new());
        let to = to.clone();
        Engine::new(
            settings,
            jobs.clone(),
            tally,
            incarnation,
            tokens,
            (to, legacy),
        )
    };
    let mut first = engine(1, Legacy::default());
    let (id, term) = (7, 3);
    first.start(Claimed {
        id,
        term,
        queue: 0,
        kind: worker.settings.kinds["goes-on"].clone(),
        payload: "null".into(),
        spent: 0,
        max_attempts: 1,
        crashes: SUSPECT_FROM.into(),
        rank_us: 0,
        trace_id: None,
        longest: None,
        since: 0,
    });
    first.lose(None).await;

    let mut second = engine(2, first.legacy);
    assert!(!second.asks_for_suspect());

    let end = Finished {
        follow: Follow::Complete,
        ..released(id, term)
    };
    second.note_ended(clock::nanos(), &mut vec![end]);
    assert!(second.asks_for_suspect());
}

/// A claim for kinds of which none is wanted would read through all that waits, at each poll and each wake-up.
#[tokio::test]
async fn an_engine_whose_kinds_are_all_held_asks_for_none() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let looks = is_down.clone();
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let kind = kind.hold_while(move || looks.load(Ordering::Relaxed));
    let worker = Worker::builder(&jobs).kind(kind).queue("limited", 1);
    let worker = worker.queue("default", 1).build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let mut engine = Engine::new(settings, jobs, tally, 1, tokens, (to, Legacy::default()));
    engine.queues[0].limited = true;
    engine.uncertain = false;

    assert_eq!(engine.wants(0), []);
    assert_eq!(engine.limited_due(0), None);
    assert!(engine.next_operation(0, false).is_none());
    assert!(engine.wake_at(0, false) > 0, "it would turn over and over");

    is_down.store(false, Ordering::Relaxed);
    assert_eq!(engine.wants(0).len(), 1);
    assert_eq!(engine.limited_due(0), Some(0));
}

/// A server that nobody listens to any more may still be at work on what it was asked, and commit it later.
#[tokio::test]
async fn an_engine_looks_again_once_nothing_that_it_gave_up_can_be_under_way() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let limit = nanos(jobs.store().config().statement_timeout);
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let mut engine = Engine::new(settings, jobs, tally, 1, tokens, (to, Legacy::default()));
    let failed = 1_000 * MILLI;
    engine.failed(failed, &crate::error::Repr::Unanswered.into());
    // What the books say at once.
    engine.uncertain = false;

    engine.look(failed + limit);
    assert!(!engine.uncertain);
    engine.look(failed + limit + 2_000 * MILLI);
    assert!(engine.uncertain);

    engine.uncertain = false;
    engine.look(failed + 10 * limit);
    assert!(!engine.uncertain, "once is enough");
}

/// What was held lies below what came in meanwhile, and claims have gone on from there.
#[tokio::test]
async fn what_was_held_is_looked_for_from_the_start() {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let looks = is_down.clone();
    let held = Kind::of_name("held", async |_, _, _| Ok(None));
    let held = held.hold_while(move || looks.load(Ordering::Relaxed));
    let free = Kind::of_name("free", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(held).kind(free);
    let worker = worker.build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let mut engine = Engine::new(settings, jobs, tally, 1, tokens, (to, Legacy::default()));
    engine.uncertain = false;
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

/// An engine with one kind, and what it needs to be there.
async fn engine() -> (Database, Jobs, Engine) {
    let database = Database::make(On::Sqlite).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let kind = Kind::of_name("any", async |_, _, _| Ok(None));
    let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
    let (to, _from) = mpsc::unbounded_channel();
    let (settings, tally) = (worker.settings.clone(), worker.tally.clone());
    let tokens = (Cancel::new(), Cancel::new());
    let legacy = (to, Legacy::default());
    let mut engine = Engine::new(settings, jobs.clone(), tally, 1, tokens, legacy);
    engine.uncertain = false;
    (database, jobs, engine)
}

/// It has the rank that it had, below which other nodes have gone on as well.
#[tokio::test]
async fn what_is_handed_back_is_told_to_others() {
    let (_database, jobs, mut engine) = engine().await;
    let put_back = |follow| {
        let back = Back {
            taken: vec![7],
            stopped: Vec::new(),
            locked: Vec::new(),
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
    for (follow, told) in [
        (Follow::Release, true),
        (Follow::Snooze(Duration::ZERO), true),
        (Follow::Retry(later), false),
    ] {
        let before = *jobs.woken().borrow();
        engine.apply(0, put_back(follow));
        let after = *jobs.woken().borrow();

        assert_eq!(after.is_from_start(before), told, "{follow:?}");
    }

    // Nor is it known whether it was told when the answer is lost.
    let before = *jobs.woken().borrow();
    engine.back.push(released(8, 1));
    engine.note_found(&[], Vec::new());
    assert!(jobs.woken().borrow().is_from_start(before));
}

#[tokio::test]
async fn ends_that_are_locked_later_keep_no_others_waiting() {
    let (_database, _jobs, mut engine) = engine().await;
    let again = nanos(Duration::from_millis(250));
    let locked = |id| vec![released(id, 1)];

    engine.keep_locked(MILLI, locked(1), &[1]);
    engine.keep_locked(again, locked(2), &[2]);

    assert_eq!(engine.locked_until, again + MILLI);
    assert_eq!((engine.locked.len(), engine.locked_tries), (2, 1));
    engine.try_locked(again + MILLI);
    let back = std::mem::take(&mut engine.back);
    engine.keep_locked(again + MILLI, back, &[1, 2]);
    assert_eq!(engine.locked_tries, 2);
    engine.try_locked(2 * again + MILLI);
    let back = std::mem::take(&mut engine.back);
    assert_eq!(engine.keep_locked(2 * again + MILLI, back, &[]).len(), 2);
    assert_eq!(engine.locked_tries, 0);
}

/// Whoever has its row locked may hang for ever.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_late_end_that_is_locked() {
    let (_database, _jobs, mut engine) = engine().await;
    let late = |told: &[i64]| Outcome::Late {
        incarnation: 3,
        sent: vec![released(7, 1)],
        told: Ok(Told {
            at_us: None,
            ended: Vec::new(),
            locked: told.to_vec(),
            claimed: Vec::new(),
        }),
    };

    engine.apply(0, late(&[7]));
    assert!(!engine.is_empty(), "it has its time");
    engine.stopping = true;
    assert!(engine.is_empty());

    engine.legacy.late.push((3, released(8, 1)));
    engine.apply(0, late(&[]));
    assert!(!engine.is_empty(), "it is not locked");
}
