use std::future::poll_fn;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use steadfast_core::Cancel;
use steadfast_store::testing::{Database, Kind as On};
use steadfast_store::{Fault, NodeConfig};
use tokio::sync::{Notify, mpsc};

use super::held::Claimed;
use super::operation::{Back, Outcome, SIDE_BY_SIDE, Told};
use super::outcome::FAILED_LONGEST;
use super::*;
use crate::decide::floor::Seen;
use crate::worker::alone::{self, Seat};
use crate::{Batch, Job, Kind, Options, Worker, WorkerBuilder};

const MILLI: u64 = 1_000_000;

/// An engine of a worker on a database of its own, and where its runs tell their ends. It holds nothing by the books.
async fn engine_of(
    on: On,
    describe: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
) -> (Database, Engine, mpsc::UnboundedReceiver<Finished>) {
    let database = Database::make(on).await;
    let jobs = Jobs::open(&database.open().await).await.unwrap();
    let worker = describe(Worker::builder(&jobs)).build().unwrap();
    let (to, ended) = mpsc::unbounded_channel();
    let tokens = (Cancel::new(), Cancel::new());
    let legacy = (to, Legacy::default());
    let mut engine = Engine::new(worker.settings, jobs, worker.tally, 1, tokens, legacy);
    engine.uncertain = false;
    (database, engine, ended)
}

async fn engine() -> (Database, Engine, mpsc::UnboundedReceiver<Finished>) {
    engine_of(On::Sqlite, |worker| worker.kind(any())).await
}

#[derive(Serialize, Deserialize)]
struct Any;

impl Job for Any {
    const KIND: &'static str = "any";
}

fn any() -> Kind {
    Kind::of_name("any", async |_, _, _| Ok(None))
}

/// A kind that is held while somebody says so.
fn held_kind(name: &'static str) -> (Arc<AtomicBool>, Kind) {
    let is_down = Arc::new(AtomicBool::new(true));
    let looks = is_down.clone();
    let kind = Kind::of_name(name, async |_, _, _| Ok(None));
    (
        is_down,
        kind.hold_while(move || looks.load(Ordering::Relaxed)),
    )
}

/// Waits for what must come.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let patience = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = clock::timeout(Duration::from_secs(60), patience).await;
    assert!(in_time.is_ok(), "waited in vain until {what}");
}

/// A job that was claimed.
fn claimed(engine: &Engine, id: i64) -> Claimed {
    let kinds = &engine.settings.kinds;
    Claimed {
        id,
        term: 1,
        queue: 0,
        kind: kinds.values().next().unwrap().clone(),
        payload: "null".into(),
        spent: 0,
        max_attempts: 1,
        crashes: 0,
        rank_us: 0,
        trace_id: None,
        longest: None,
        since: 1_000 * MILLI,
        place: None,
    }
}

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

/// Neither what is overdue meanwhile nor that nobody gives orders any more must have it turn over and over: that
/// takes a whole core from the store that it waits for.
#[tokio::test]
async fn an_engine_rests_while_an_operation_is_under_way() {
    let (_database, mut engine, mut ended) = engine().await;
    // It asks what the books say.
    engine.uncertain = true;
    let faults = engine.jobs.store().config().faults.clone();
    faults.on_name("settled", Fault::Delay(Duration::from_secs(1)));
    let (_, orders) = mpsc::unbounded_channel();
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

/// There is always something to claim, or somebody who says so.
#[tokio::test]
async fn a_busy_queue_keeps_nothing_else_waiting() {
    let describe = |worker: WorkerBuilder| {
        worker
            .kind(any())
            .queue("default", 1)
            .queue("first", 1)
            .queue("second", 1)
    };
    let (_database, mut engine, _ended) = engine_of(On::Sqlite, describe).await;
    let node = NodeConfig::new("test", "0");
    let node = engine.jobs.store().join(node).await.unwrap();
    engine.incarnation = node.alive().await.unwrap().id();
    let limited: Vec<usize> = (0..3)
        .filter(|index| engine.queues[*index].name != "default")
        .collect();
    for index in &limited {
        engine.queues[*index].limited = true;
        let name = engine.queues[*index].name.clone();
        engine.jobs.limit(&name, Some(1), None).await.unwrap();
        let options = Options::new().queue(&name);
        engine.jobs.enqueue(&Any, options).await.unwrap();
    }
    engine.legacy.rejected.push_back((1, released(7, 1)));
    let (mut asked, mut claimed) = (false, Vec::new());

    for _ in 0..1_000 {
        engine.wake(false);
        let now = clock::nanos();
        let outcome = engine.next_operation(now, false).unwrap().await;
        if let Outcome::Limited { index, told } = &outcome
            && told.as_ref().is_ok_and(|told| !told.claimed.is_empty())
        {
            claimed.push(*index);
        }
        asked |= matches!(outcome, Outcome::Suspect(_));
        engine.apply(clock::nanos(), outcome);
        // Whatever it has found, there is room again.
        for queue in &mut engine.queues {
            queue.ready.clear();
        }
        claimed.sort_unstable();
        if asked && claimed == limited && engine.legacy.rejected.is_empty() {
            break;
        }
    }

    assert!(asked, "nobody asks for a suspect");
    assert!(engine.legacy.rejected.is_empty(), "it is not noted");
    assert_eq!(claimed, limited);
    node.leave().await;
}

/// It is free once the store knows of the end, which a claim before that would find taken: the next would be in two seconds.
#[tokio::test]
async fn a_place_in_a_queue_with_a_limit_is_taken_again_as_soon_as_it_is_free() {
    let describe = |worker: WorkerBuilder| worker.kind(any()).queue("first", 2);
    let (_database, mut engine, mut ended) = engine_of(On::Sqlite, describe).await;
    let node = NodeConfig::new("test", "0");
    let node = engine.jobs.store().join(node).await.unwrap();
    engine.incarnation = node.alive().await.unwrap().id();
    let first = engine.queues.iter().position(|queue| queue.name == "first");
    let first = first.unwrap();
    engine.queues[first].limited = true;
    engine.jobs.limit("first", Some(1), None).await.unwrap();
    for _ in 0..2 {
        let options = Options::new().queue("first");
        engine.jobs.enqueue(&Any, options).await.unwrap();
    }
    async fn turn(engine: &mut Engine, now: u64) {
        if let Some(operation) = engine.next_operation(now, false) {
            let outcome = operation.await;
            engine.apply(now, outcome);
        }
    }
    let mut now = clock::nanos();
    while engine.queues[first].ready.is_empty() {
        turn(&mut engine, now).await;
    }
    let job = engine.queues[first].ready.pop_front().unwrap();
    engine.start(job);
    let mut batch = vec![ended.recv().await.unwrap()];
    // Nothing more is found, so it is asked for ever more seldom.
    let second = nanos(Duration::from_secs(1));
    for _ in 0..1_000 {
        if engine.queues[first].next_poll > now + second {
            break;
        }
        now += second / 20;
        turn(&mut engine, now).await;
    }
    assert!(engine.queues[first].next_poll > now + second);

    engine.exchanged = true;
    engine.note_ended(now, &mut batch);
    for _ in 0..10 {
        turn(&mut engine, now).await;
    }

    assert_eq!(engine.queues[first].ready.len(), 1);
    node.leave().await;
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
    let (_database, mut engine, _ended) = engine().await;
    let limit = nanos(engine.jobs.store().config().statement_timeout);
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

/// It has the rank that it had, below which other nodes have gone on as well.
#[tokio::test]
async fn what_is_handed_back_is_told_to_others() {
    let (_database, mut engine, _ended) = engine().await;
    let jobs = engine.jobs.clone();
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
    engine.note_found(0, &[], Vec::new());
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
    let (_database, mut engine, _ended) = engine().await;
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

/// Claims have gone on among those that wait, whose ranks lie ahead of what comes in.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_claimed_before_the_lower_priorities_that_wait() {
    for on in [On::Sqlite, On::Postgres] {
        let describe = |worker: WorkerBuilder| worker.kind(any()).queue("default", 1);
        let (_database, mut engine, _ended) = engine_of(on, describe).await;
        let node = NodeConfig::new("test", "0");
        let node = engine.jobs.store().join(node).await.unwrap();
        engine.incarnation = node.alive().await.unwrap().id();
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
    (engine.next_poll, engine.next_suspect) = (u64::MAX, u64::MAX);
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
    (engine.next_poll, engine.next_suspect) = (u64::MAX, u64::MAX);
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
