//! The database: gone, back again, full, taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use steadfast_core::{BoxError, clock};
use steadfast_jobs::{Jobs, Kind, Options, Run, State, Worker};
use steadfast_store::testing::Stop;
use steadfast_store::{Config, NodeConfig, Place, Store, binds};

use super::arena::{seconds, touch};
use super::role::{Deed, Did, Role, builder};
use super::{Arena, BOTH, PATIENCE, POSTGRES, scenarios};

scenarios! {
    restarts_with_jobs_in_every_phase on POSTGRES;
    is_away_for_longer_than_the_lease on POSTGRES;
    ends_every_connection on POSTGRES;
    its_disk_is_full on BOTH;
    its_connections_are_all_taken on POSTGRES;
}

async fn restarts_with_jobs_in_every_phase(arena: Arena) -> String {
    let arena = Arc::new(arena.on_own_server().await);
    let role = Role {
        permits: 20,
        tells: false,
        ..arena.role()
    };
    let mut workers = [arena.start(&role), arena.start(&role)];
    for worker in &mut workers {
        worker.says("working", 1).await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let (enqueuer, is_over) = (arena.clone(), over.clone());
    let enqueuing = steadfast_core::spawn("enqueue", async move {
        let (mut taken, mut refused) = (0, 0);
        while !is_over.load(Ordering::Relaxed) {
            let later = Options::new().delay(Duration::from_millis(taken % 3 * 200));
            let deed = match taken % 4 {
                0 => Deed::Book,
                1 => Deed::Sleep(Duration::from_millis(300)),
                _ => Deed::Quick,
            };
            match enqueuer.jobs.enqueue(&deed, later).await {
                Ok(id) => {
                    enqueuer.acknowledge(id);
                    taken += 1;
                }
                Err(error) => {
                    assert!(
                        error.is_retryable() || error.is_outcome_unknown(),
                        "{error:?}"
                    );
                    refused += 1;
                }
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
        (taken, refused)
    });

    let restarts = arena.form.of(2, 10);
    for restart in 0..restarts {
        let more = arena.acknowledged().len() + 20;
        let until = clock::now() + PATIENCE;
        while arena.acknowledged().len() < more {
            assert!(clock::now() < until, "nothing is enqueued any more");
            clock::sleep(Duration::from_millis(20)).await;
        }
        let how = if restart % 2 == 0 {
            Stop::Fast
        } else {
            Stop::Immediate
        };
        tokio::task::block_in_place(|| {
            arena.server().stop(how);
            arena.server().start_again();
        });
    }
    let more = arena.acknowledged().len() + 20;
    while arena.acknowledged().len() < more {
        clock::sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    let (taken, refused) = enqueuing.await.unwrap();

    for id in arena.acknowledged() {
        arena.until(id, State::Completed).await;
    }
    // Those whose answer was lost are there as well: one entry each, and no entry without its job.
    until_quiet(&arena).await;
    let odd = arena.number(
        "SELECT 0",
        "SELECT count(*) FROM (SELECT h.id FROM steadfast.job_history AS h LEFT JOIN ledger AS l ON l.job = h.id
            WHERE h.payload::text = '\"Book\"' GROUP BY h.id HAVING count(l.job) <> 1) AS s",
    );
    assert_eq!(odd.await, 0, "an entry is missing, or there twice");
    arena.ends().await;
    format!("{restarts} restarts: {taken} enqueued, {refused} refused, all of them ended")
}

/// Waits until no job is live, also none that nobody was told of.
async fn until_quiet(arena: &Arena) {
    let until = clock::now() + PATIENCE + arena.form.lease * 3;
    loop {
        let live = arena
            .number(
                "SELECT count(*) FROM steadfast_job",
                "SELECT count(*) FROM steadfast.job",
            )
            .await;
        if live == 0 {
            return;
        }
        assert!(clock::now() < until, "{live} jobs are live");
        clock::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_away_for_longer_than_the_lease(arena: Arena) -> String {
    let arena = arena.on_own_server().await;
    let mut workers = [arena.start(&arena.role()), arena.start(&arena.role())];
    for worker in &mut workers {
        worker.says("working", 1).await;
    }
    let file = arena.file();
    let held = arena
        .enqueue_many(&Deed::Wait(file.clone()), Options::new(), 6)
        .await;
    arena.until_all(&held, State::Running).await;
    let started = |workers: &[super::process::Process; 2]| -> usize {
        workers
            .iter()
            .map(|worker| worker.said("started").len())
            .sum()
    };
    while started(&workers) < 6 {
        clock::sleep(Duration::from_millis(10)).await;
    }

    tokio::task::block_in_place(|| arena.server().stop(Stop::Fast));
    let gone = clock::now();
    // Their handlers are told although nobody can tell them.
    while workers
        .iter()
        .map(|worker| worker.said("lease_lost").len())
        .sum::<usize>()
        < 6
    {
        clock::sleep(Duration::from_millis(20)).await;
    }
    let told = seconds(gone);
    if arena.form.is_long {
        assert!(clock::now() - gone < arena.form.lease, "told after {told}");
        clock::sleep(Duration::from_secs(600)).await;
    }
    assert_eq!(started(&workers), 6, "nothing was claimed meanwhile");
    touch(&file);
    tokio::task::block_in_place(|| arena.server().start_again());
    let back = clock::now();

    let after = arena.enqueue(&Deed::Quick).await;
    arena.until(after, State::Completed).await;
    arena.until_all(&held, State::Completed).await;
    let took = seconds(back);
    arena.ends().await;
    format!("handlers told after {told}, nothing claimed; all done {took} after it was back")
}

async fn ends_every_connection(arena: Arena) -> String {
    // Leases outlast it, so nobody takes over from anybody.
    let role = Role {
        lease: Duration::from_secs(120),
        ..arena.role()
    };
    let mut process = arena.start(&role);
    process.says("working", 1).await;
    let file = arena.file();
    let held = arena.enqueue(&Deed::Wait(file.clone())).await;
    process.says("started", 1).await;

    let rounds = arena.form.of(3, 20);
    let mut ended = 0;
    for _ in 0..rounds {
        // Not its own, which would be in the middle of its answer.
        ended += arena
            .number(
                "SELECT 0",
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        let id = arena.enqueue(&Deed::Quick).await;
        arena.until(id, State::Completed).await;
    }
    touch(&file);
    let found = arena.until(held, State::Completed).await;

    assert_eq!(
        (found.info.term, found.info.crashes),
        (1, 0),
        "its lease was never lost"
    );
    assert!(process.said("lease_lost").is_empty());
    arena.ends().await;
    format!("{ended} connections ended in {rounds} rounds, each recovered by itself")
}

async fn its_disk_is_full(arena: Arena) -> String {
    // What is full is the place of the jobs; their history, and all else, has room.
    let space = match &arena.config.place {
        Place::Sqlite(_) => None,
        _ => Some(()),
    };
    let arena = match space {
        Some(()) => arena.on_own_server().await,
        None => arena,
    };
    let space =
        space.map(|()| tokio::task::block_in_place(|| arena.server().tablespace("small", 8)));
    if space.is_some() {
        let moved = "ALTER TABLE steadfast.job SET TABLESPACE small";
        arena.sql("SELECT 1", moved, binds![]).await;
    }
    let pages = match &arena.config.place {
        Place::Sqlite(_) => Some(
            arena
                .number("SELECT page_count FROM pragma_page_count", "SELECT 0")
                .await as u32
                + 400,
        ),
        _ => None,
    };
    let config = Config {
        page_count_max: pages,
        ..arena.config.clone()
    };
    let full = Store::open(config).await.unwrap();
    let jobs = Jobs::open(&full).await.unwrap();
    let (mut refused, mut taken) = (0, 0);
    while refused < 3 {
        // Random text, which nothing makes smaller.
        let deed = Deed::Wait(
            (0..20_000)
                .map(|_| format!("{:016x}", steadfast_core::rng::bits()))
                .collect::<String>()
                .into(),
        );
        match jobs.enqueue(&deed, Options::new()).await {
            Ok(id) => {
                arena.acknowledge(id);
                taken += 1;
            }
            Err(error) => {
                let store = error.store().unwrap_or_else(|| panic!("{error:?}"));
                assert!(
                    store.is_disk_full() && !store.is_outcome_unknown(),
                    "{error:?}"
                );
                refused += 1;
            }
        }
        assert!(taken < 5_000, "it does not fill up");
    }

    // A worker that has no more room either: what it cannot write down is not done.
    let running = builder(&jobs, &arena.role()).build().unwrap().start();
    let before = arena.jobs.counts().await.unwrap();
    clock::sleep(Duration::from_millis(300)).await;
    running.stop(PATIENCE).await;
    full.close().await;
    let live = before.of(State::Pending) + before.of(State::Running) + before.of(State::Waiting);
    assert!(
        live + before.of(State::Completed) == taken,
        "{before:?} of {taken}"
    );

    // Somebody makes room.
    if space.is_some() {
        arena
            .sql(
                "SELECT 1",
                "ALTER TABLE steadfast.job SET TABLESPACE pg_default",
                binds![],
            )
            .await;
    }
    let running = arena.work().await;
    for id in arena.acknowledged() {
        arena.until(id, State::Completed).await;
    }
    running.stop(PATIENCE).await;
    arena.ends().await;
    drop(space);
    format!("{taken} taken, 3 refused as full; all of the taken done once there was room")
}

async fn its_connections_are_all_taken(arena: Arena) -> String {
    // Nobody loses a lease by the load of this machine.
    let lease = arena.form.lease.max(Duration::from_secs(12));
    // It has no place for anything else, and dies later.
    let role = Role {
        lease,
        permits: 1,
        ..arena.role()
    };
    let mut process = arena.start(&role);
    let long = arena.enqueue(&Deed::Sleep(Duration::from_secs(600))).await;
    process.says("started", 1).await;

    let config = Config {
        connections_max: 2,
        ..arena.config.clone()
    };
    let store = Store::open(config).await.unwrap();
    let jobs = Jobs::open(&store).await.unwrap();
    let file = arena.file();
    let holding = Arc::new(AtomicUsize::new(0));
    let (taken, until, holds) = (store.clone(), file.clone(), holding.clone());
    let kind = Kind::new(move |run: Run, deed: Deed| {
        let (store, until, holds) = (taken.clone(), until.clone(), holds.clone());
        async move {
            match deed {
                Deed::Wait(_) => {
                    let _held = store.begin().await?;
                    holds.fetch_add(1, Ordering::Relaxed);
                    while !until.exists() {
                        clock::sleep(Duration::from_millis(10)).await;
                    }
                }
                Deed::Sleep(time) => clock::sleep(time).await,
                _ => {}
            }
            Ok::<_, BoxError>(Did::in_run(&run))
        }
    });
    // Beats every few seconds.
    let node = NodeConfig::new("failures", "0").with_lease(Duration::from_secs(12));
    let running = Worker::builder(&jobs).kind(kind).join(node);
    let running = running.build().unwrap().start();
    let hogs = arena
        .enqueue_many(&Deed::Wait(file.clone()), Options::new(), 2)
        .await;
    let until = clock::now() + PATIENCE;
    while holding.load(Ordering::Relaxed) < 2 {
        assert!(clock::now() < until, "they do not have them");
        clock::sleep(Duration::from_millis(10)).await;
    }

    let others = arena.enqueue_many(&Deed::Quick, Options::new(), 20).await;
    arena.until_all(&others, State::Completed).await;

    let dead = clock::now();
    process.kill();
    let until = clock::now() + PATIENCE;
    while arena.find(long).await.info.term < 2 {
        assert!(clock::now() < until, "it is not rescued");
        clock::sleep(Duration::from_millis(10)).await;
    }
    let rescued = seconds(dead);
    let soon = Options::new().delay(Duration::from_millis(300));
    let delayed = arena.enqueue_many(&Deed::Quick, soon, 20).await;
    arena.until_all(&delayed, State::Completed).await;
    arena.jobs.cancel(long, "enough").await.unwrap();
    arena.until(long, State::Cancelled).await;

    let last = "SELECT max(beat_us) FROM steadfast.node";
    for _ in 0..2 {
        let (before, until) = (arena.number("", last).await, clock::now() + PATIENCE);
        while arena.number("", last).await <= before {
            assert!(clock::now() < until, "it does not beat");
            clock::sleep(Duration::from_millis(50)).await;
        }
    }
    // They have them to the end.
    arena.until_all(&hogs, State::Running).await;
    touch(&file);
    arena.until_all(&hogs, State::Completed).await;
    running.stop(PATIENCE).await;
    arena.ends().await;
    format!(
        "40 others claimed and completed beside it, one rescued after {rescued} and cancelled; beats went on"
    )
}
