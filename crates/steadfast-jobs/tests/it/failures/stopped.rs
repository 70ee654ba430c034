//! Processes that stand still, or seem to: what they say afterwards does not count.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{JobId, State};
use steadfast_store::testing::{SleepyHost, SteppedHost};

use super::arena::touch;
use super::process::Process;
use super::role::{Deed, Did, Role};
use super::way::{Passes, Way};
use super::{Arena, BOTH, POSTGRES, scenarios};

scenarios! {
    for_longer_than_its_lease on BOTH;
    by_its_own_handlers_on_all_threads on BOTH;
    with_a_clock_that_jumps_by_an_hour on BOTH;
    by_a_host_that_sleeps on BOTH;
    by_a_cut_between_it_and_the_database on POSTGRES;
}

/// Gives the rows of jobs as they are now.
async fn rows(arena: &Arena, ids: &[JobId]) -> Vec<String> {
    let mut rows = Vec::new();
    for id in ids {
        let found = arena.find(*id).await;
        rows.push(format!("{:?} {:?}", found.info, found.result));
    }
    rows
}

async fn for_longer_than_its_lease(arena: Arena) -> String {
    let file = arena.file();
    let mut process = arena.start(&arena.role());
    let mut ids = Vec::new();
    for deed in [
        Deed::Wait(file.clone()),
        Deed::WaitThenSnooze(file.clone()),
        Deed::WaitThenFail(file.clone()),
    ] {
        ids.push(arena.enqueue(&deed).await);
    }
    process.says("started", 3).await;

    arena.stop(&mut process).await;
    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;
    let before = rows(&arena, &ids).await;
    // Now its handlers would complete, snooze and fail.
    touch(&file);
    process.signal("CONT");
    process.says("lease_lost", 3).await;

    assert_eq!(rows(&arena, &ids).await, before);
    // It is a node again, of a new life.
    running.stop(super::PATIENCE).await;
    let after = arena.enqueue(&Deed::Quick).await;
    let found = arena.until(after, State::Completed).await;
    let did: Did = found.result().unwrap().unwrap();
    assert_eq!(did.process, process.id());
    arena.ends().await;
    "completion, snooze and failure of the old life rejected".into()
}

async fn by_its_own_handlers_on_all_threads(arena: Arena) -> String {
    let file = arena.file();
    let mut process = arena.start(&arena.role());
    process.says("working", 1).await;
    // More than it has threads: none is left for anything else.
    let ids = arena
        .enqueue_many(&Deed::Block(file.clone()), Default::default(), 8)
        .await;
    process.says("blocking", 2).await;

    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;

    let before = rows(&arena, &ids).await;
    touch(&file);
    process.says("lease_lost", 2).await;
    assert_eq!(rows(&arena, &ids).await, before);
    running.stop(super::PATIENCE).await;
    arena.ends().await;
    "its beats were held back, others had the jobs".into()
}

const HOUR_MS: i64 = 3_600_000;

async fn with_a_clock_that_jumps_by_an_hour(arena: Arena) -> String {
    let host = SteppedHost::new();
    // Nobody is to lose a lease by the load of this machine.
    let role = Role {
        lease: Duration::from_secs(60),
        ..arena.role()
    };
    let environment = host.environment();
    let environment = environment.map(|(name, value)| (name, value.to_owned()));
    let mut process = arena.start_with(&role, &environment);
    process.says("working", 1).await;
    let file = arena.file();
    let long = arena.enqueue(&Deed::Wait(file.clone())).await;
    process.says("started", 1).await;

    let mut ids = Vec::new();
    for ahead_ms in [HOUR_MS, -HOUR_MS, 0] {
        host.put_ahead(ahead_ms);
        let quick = arena.enqueue(&Deed::Quick).await;
        arena.until(quick, State::Completed).await;
        ids.push(quick);
    }
    touch(&file);
    ids.push(long);
    arena.until_all(&ids, State::Completed).await;

    for id in ids {
        let info = arena.find(id).await.info;
        assert_eq!(
            (info.term, info.attempt, info.crashes),
            (1, 1, 0),
            "job {id}"
        );
    }
    assert!(process.said("lease_lost").is_empty());
    arena.ends().await;
    "an hour ahead, two back, one ahead: nothing changed".into()
}

async fn by_a_host_that_sleeps(arena: Arena) -> String {
    let host = SleepyHost::new();
    // Nothing but the sleep is to end it.
    let role = Role {
        lease: Duration::from_secs(600),
        ..arena.role()
    };
    let mut process = arena.start_with(&role, &host.environment());
    process.says("working", 1).await;
    let file = arena.file();
    let held = arena.enqueue(&Deed::Wait(file.clone())).await;
    process.says("started", 1).await;

    // To its monotonic clock nothing has happened.
    host.sleep(role.lease * 2);
    process.says("lease_lost", 1).await;

    // It is a node again, of a new life, and has the job under a new term.
    process.says("started", 2).await;
    touch(&file);
    arena.until(held, State::Completed).await;
    let term = arena.find(held).await.info.term;
    assert!(term > 1, "completed under the lease that was over");
    arena.ends().await;
    format!("told of its lost lease, and completed under term {term}")
}

async fn by_a_cut_between_it_and_the_database(arena: Arena) -> String {
    let way = Way::to(&arena).await;
    let role = Role {
        place: way.url(),
        ..arena.role()
    };
    let mut process: Process = arena.start(&role);
    process.says("working", 1).await;
    let held = arena.enqueue(&Deed::Wait(arena.file())).await;
    process.says("started", 1).await;

    way.lets(Passes::Nothing);
    process.says("lease_lost", 1).await;
    let started = process.said("started").len();
    let running = arena.work().await;
    let others = arena
        .enqueue_many(&Deed::Quick, Default::default(), 20)
        .await;
    arena.until(held, State::Completed).await;
    arena.until_all(&others, State::Completed).await;
    assert_eq!(
        process.said("started").len(),
        started,
        "it starts nothing new"
    );
    running.stop(super::PATIENCE).await;

    way.lets(Passes::All);
    let healed = clock::now();
    let after = arena.enqueue(&Deed::Quick).await;
    arena.until(after, State::Completed).await;
    arena.ends().await;
    format!(
        "told of its lost lease, and at work {} after it was healed",
        super::arena::seconds(healed)
    )
}
