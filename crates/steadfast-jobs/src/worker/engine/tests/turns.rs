//! Whose turn it is, and when.

use super::*;

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
    let node = join(&mut engine).await;
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
    let (mut asked, mut claimed, mut exchanged) = (false, Vec::new(), false);

    for _ in 0..1_000 {
        engine.wake(false);
        // Handlers that snooze, say, end faster than an operation takes.
        engine.back.push(released(8, 1));
        engine.since = Some(0);
        let now = clock::nanos();
        let outcome = engine.next_operation(now, false).unwrap().await;
        if let Outcome::Limited { index, told } = &outcome
            && told.as_ref().is_ok_and(|told| !told.claimed.is_empty())
        {
            claimed.push(*index);
        }
        asked |= matches!(outcome, Outcome::Suspect(_));
        exchanged |= matches!(outcome, Outcome::Exchanged { .. });
        engine.apply(clock::nanos(), outcome);
        // Whatever it has found, there is room again.
        for queue in &mut engine.queues {
            queue.ready.clear();
        }
        claimed.sort_unstable();
        if asked && exchanged && claimed == limited && engine.legacy.rejected.is_empty() {
            break;
        }
    }

    assert!(asked, "nobody asks for a suspect");
    assert!(exchanged, "nobody claims");
    assert!(engine.legacy.rejected.is_empty(), "it is not noted");
    assert_eq!(claimed, limited);
    node.leave().await;
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

/// Ends that go back, or that handlers have told themselves, have no exchange that would ask for it.
#[tokio::test]
async fn a_free_permit_is_asked_for_although_others_were_free_before() {
    let describe = |worker: WorkerBuilder| worker.kind(any()).queue("busy", 1).queue("idle", 1);
    for under_way in [false, true] {
        let (_database, mut engine, mut ended) = engine_of(On::Sqlite, describe).await;
        for queue in &mut engine.queues {
            queue.next_suspect = u64::MAX / 2;
        }
        let now = clock::nanos();
        let later = now + nanos(LINGER);
        let job = claimed(&engine, 7);
        engine.start(job);
        let mut batch = vec![ended.recv().await.unwrap()];
        batch[0].follow = Follow::Snooze(Duration::ZERO);
        let told = |asked, began| Outcome::Exchanged {
            sent: Vec::new(),
            asked,
            began,
            told: Ok(Told {
                at_us: Some(0),
                ended: Vec::new(),
                locked: Vec::new(),
                settled: Books::new(),
                claimed: Vec::new(),
            }),
        };
        // A claim for the other one alone, which finds nothing: so often that the next is far.
        for _ in 0..10 {
            engine.next_poll = u64::MAX;
            engine.apply(now, told(engine.wants(now), now));
        }
        assert!(engine.next_poll > later + 1_000 * MILLI);

        let asked = engine.wants(now);
        let claim = under_way.then(|| engine.exchange(asked.clone()));
        engine.note_ended(now, &mut batch);
        if claim.is_some() {
            engine.apply(now, told(asked, now));
        }

        engine.back.clear();
        assert!(engine.wake_at(now, false) <= later, "{under_way}");
        assert!(engine.next_operation(later, false).is_some(), "{under_way}");
    }
}
