//! `kill -9`, in every phase of a job.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::decide::poll::CEILING;
use steadfast_jobs::{JobId, State};
use steadfast_store::binds;

use super::arena::{seconds, touch};
use super::audit;
use super::process::Process;
use super::role::{Deed, Did, Part, Role};
use super::{Arena, BOTH, scenarios};

scenarios! {
    between_the_commit_of_an_enqueue_and_its_wake_up on BOTH;
    before_the_transaction_of_an_enqueue_commits on BOTH;
    after_the_claim_and_before_the_handler on BOTH;
    in_the_middle_of_a_handler on BOTH;
    after_the_success_and_before_its_commit on BOTH;
    in_the_commit_of_effect_and_end on BOTH;
    after_the_commit_of_effect_and_end on BOTH;
    while_completions_wait_for_their_flush on BOTH;
    at_random_over_a_ledger_that_balances on BOTH;
    over_a_ledger_that_does_not_balance on BOTH;
    by_three_deploys_over_a_long_job on BOTH;
    two_of_three_nodes on BOTH;
}

/// Reads the id that a process has told.
fn told(words: &[String]) -> JobId {
    let number = words
        .last()
        .and_then(|words| words.split(' ').next()?.parse().ok());
    number.and_then(JobId::new).expect("it tells an id")
}

async fn between_the_commit_of_an_enqueue_and_its_wake_up(arena: Arena) -> String {
    let running = arena.work().await;
    if arena.form.is_long {
        // It asks as seldom as it ever does.
        clock::sleep(CEILING * 4).await;
    }
    let role = Role {
        part: Part::Enqueue,
        never: vec!["wake".into()],
        ..arena.role()
    };
    let mut enqueuer = arena.start(&role);
    let id = told(&enqueuer.says("enqueued", 1).await);
    arena.acknowledge(id);
    enqueuer.kill();
    let killed = clock::now();

    arena.until(id, State::Completed).await;

    let took = seconds(killed);
    if arena.form.is_long {
        // And a second for the look itself on a machine that does much else.
        assert!(
            clock::now() - killed <= CEILING + Duration::from_secs(1),
            "{took}"
        );
    }
    running.stop(super::PATIENCE).await;
    arena.ends().await;
    format!("run {took} after the kill")
}

async fn before_the_transaction_of_an_enqueue_commits(arena: Arena) -> String {
    let role = Role {
        part: Part::Open,
        ..arena.role()
    };
    let mut enqueuer = arena.start(&role);
    let id = told(&enqueuer.says("open", 1).await);
    enqueuer.kill();

    let running = arena.work().await;
    let after = arena.enqueue(&Deed::Quick).await;
    arena.until(after, State::Completed).await;

    // The number may be that of the job that came after: SQLite gives it again.
    let jobs = arena.number(
        "SELECT count(*) FROM audit WHERE was = 'none'",
        "SELECT count(*) FROM audit WHERE was = 'none'",
    );
    assert_eq!(jobs.await, 1, "job {id} was never there");
    assert_eq!(entries(&arena).await, 0);
    running.stop(super::PATIENCE).await;
    arena.ends().await;
    "no job, no effect".into()
}

async fn entries(arena: &Arena) -> i64 {
    arena
        .number("SELECT count(*) FROM ledger", "SELECT count(*) FROM ledger")
        .await
}

/// Kills a process, as if on another host, and has another one bring the job to its end.
async fn kill_and_finish(arena: &Arena, mut process: Process, id: JobId) -> (Did, String) {
    arena.move_away(&process).await;
    process.kill();
    let killed = clock::now();
    let running = arena.work().await;
    let found = arena.until(id, State::Completed).await;
    let took = seconds(killed);
    running.stop(super::PATIENCE).await;
    (found.result().unwrap().unwrap(), took)
}

async fn after_the_claim_and_before_the_handler(arena: Arena) -> String {
    let mut process = arena.start(&arena.role());
    let id = arena.enqueue(&Deed::Unread(0)).await;
    process.says("claimed", 1).await;
    assert_eq!(arena.find(id).await.info.state, State::Running);

    let (did, took) = kill_and_finish(&arena, process, id).await;

    let found = arena.find(id).await;
    assert_eq!((found.info.crashes, found.info.attempt), (1, 1));
    assert!(did.term >= 3, "claim, rescue, claim");
    arena.ends().await;
    format!("run {took} after the kill")
}

async fn in_the_middle_of_a_handler(arena: Arena) -> String {
    let mut process = arena.start(&arena.role());
    let id = arena.enqueue(&Deed::Wait(arena.file())).await;
    process.says("started", 1).await;
    let limit = arena.form.lease + arena.form.rescue * 2;

    let killed = clock::now();
    let (_, took) = kill_and_finish(&arena, process, id).await;

    let took_ms = (clock::now() - killed).as_millis();
    if arena.form.is_long {
        // 30 s of lease, a scan each 5 s, and what a start and the looks of this scenario take.
        assert!(took_ms <= 40_000, "{took} is more than {limit:?}");
    }
    arena.ends().await;
    format!("rescued and run {took} after the kill")
}

async fn after_the_success_and_before_its_commit(arena: Arena) -> String {
    let mut process = arena.start(&arena.role());
    let id = arena.enqueue(&Deed::Unflushed).await;
    process.says("done", 1).await;
    let own = process.id();

    let (did, took) = kill_and_finish(&arena, process, id).await;

    assert_ne!(did.process, own, "it had not said so to the store");
    assert_eq!(arena.find(id).await.info.crashes, 1);
    arena.ends().await;
    format!("run again {took} after the kill")
}

async fn in_the_commit_of_effect_and_end(arena: Arena) -> String {
    let role = Role {
        never: vec!["commit".into()],
        ..arena.role()
    };
    let mut process = arena.start(&role);
    let id = arena.enqueue(&Deed::Book).await;
    process.says("booking", 1).await;
    let own = process.id();

    let (did, took) = kill_and_finish(&arena, process, id).await;

    assert_ne!(did.process, own);
    assert_eq!(
        entries(&arena).await,
        1,
        "the entry of the first run went with it"
    );
    arena.ends().await;
    format!("one entry, {took} after the kill")
}

async fn after_the_commit_of_effect_and_end(arena: Arena) -> String {
    let role = Role {
        unanswered: vec!["commit".into()],
        ..arena.role()
    };
    let mut process = arena.start(&role);
    let id = arena.enqueue(&Deed::Book).await;
    process.says("booked", 1).await;
    let own = process.id();

    let (did, _) = kill_and_finish(&arena, process, id).await;

    let found = arena.find(id).await;
    assert_eq!(
        (did.process, found.info.term, found.info.crashes),
        (own, 1, 0)
    );
    assert_eq!(entries(&arena).await, 1);
    arena.ends().await;
    "one entry, not run again".into()
}

async fn while_completions_wait_for_their_flush(arena: Arena) -> String {
    let count = arena.form.of(60, 2_000);
    let ids = arena
        .enqueue_many(&Deed::Buffered(count / 3), Default::default(), count)
        .await;
    let mut process = arena.start(&Role {
        tells: false,
        ..arena.role()
    });
    process.says("done", 1).await;
    let before = arena.jobs.counts().await.unwrap().of(State::Completed);
    arena.move_away(&process).await;
    process.kill();

    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;

    running.stop(super::PATIENCE).await;
    let claims = audit::claims(&audit::changes(&arena).await);
    let again = claims.values().filter(|claims| **claims > 1).count();
    // What was in flight or not claimed yet may be among the rest.
    assert!(
        again + before as usize <= count,
        "{again} again, {before} flushed, of {count}"
    );
    assert!(again > 0, "the one whose end was cut off ran again");
    arena.ends().await;
    format!("{before} of {count} flushed, {again} of the others run again")
}

async fn at_random_over_a_ledger_that_balances(arena: Arena) -> String {
    let count = arena.form.of(200, 5_000);
    let ids = arena
        .enqueue_many(&Deed::Book, Default::default(), count)
        .await;
    let role = Role {
        permits: 20,
        tells: false,
        ..arena.role()
    };
    let kills = arena.form.of(4, 40);
    for _ in 0..kills {
        let mut process = arena.start(&role);
        process.says("booking", 1).await;
        clock::sleep(Duration::from_millis(arena.random(100))).await;
        process.kill();
    }
    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;

    running.stop(super::PATIENCE).await;
    assert_eq!(entries(&arena).await, count as i64);
    let jobs = arena.number(
        "SELECT count(DISTINCT job) FROM ledger",
        "SELECT count(DISTINCT job) FROM ledger",
    );
    assert_eq!(jobs.await, count as i64);
    arena.ends().await;
    format!("{kills} kills, {count} jobs, {count} entries")
}

/// What it looks like without `complete_in`: effect and end are two transactions.
async fn over_a_ledger_that_does_not_balance(arena: Arena) -> String {
    let mut process = arena.start(&arena.role());
    let id = arena.enqueue(&Deed::BookApart).await;
    process.says("done", 1).await;

    let (_, took) = kill_and_finish(&arena, process, id).await;

    assert_eq!(entries(&arena).await, 2, "one job, booked twice");
    arena.ends().await;
    format!("one job, two entries: run again {took} after the kill")
}

async fn by_three_deploys_over_a_long_job(arena: Arena) -> String {
    let file = arena.file();
    let id = arena.enqueue(&Deed::Wait(file.clone())).await;
    for _ in 0..3 {
        let mut process = arena.start(&arena.role());
        process.says("started", 1).await;
        process.kill();
    }

    touch(&file);
    let last = arena.start(&arena.role());
    let found = arena.until(id, State::Completed).await;

    assert_eq!(found.info.crashes, 3);
    drop(last);
    arena.ends().await;
    "completed, not quarantined, after three kills".into()
}

async fn two_of_three_nodes(arena: Arena) -> String {
    let each = 4;
    let role = Role {
        permits: each,
        ..arena.role()
    };
    let mut nodes = [arena.start(&role), arena.start(&role), arena.start(&role)];
    for node in &mut nodes {
        node.says("working", 1).await;
    }
    let file = arena.file();
    let ids = arena
        .enqueue_many(&Deed::Wait(file.clone()), Default::default(), 3 * each)
        .await;
    for node in &mut nodes {
        node.says("started", each).await;
    }
    for node in &nodes {
        arena.move_away(node).await;
    }

    let [killed, frozen, left] = &mut nodes;
    arena.stop(frozen).await;
    killed.kill();
    let gone = clock::now();
    // From here on a handler that is run ends at once.
    touch(&file);
    arena.until_all(&ids, State::Completed).await;
    let took = seconds(gone);
    if arena.form.is_long {
        assert!((clock::now() - gone).as_millis() <= 40_000, "{took}");
    }

    let survivor = i64::from(left.id());
    let by_it = arena.sql(
        "SELECT count(*) FROM steadfast_job_history WHERE json_extract(result, '$.process') = ?1",
        "SELECT count(*) FROM steadfast.job_history WHERE (result->>'process')::bigint = $1",
        binds![survivor],
    );
    let by_it: i64 = by_it.await.one().unwrap().get(0).unwrap();
    assert_eq!(by_it, 3 * each as i64, "the third node has done it all");
    frozen.signal("CONT");
    frozen.says("lease_lost", each).await;
    arena.ends().await;
    format!("the third had all of it done {took} later")
}
