//! Many at once: claims, rescues, deaths.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{JobId, Options, State};
use steadfast_store::{Dialect, NodeConfig, Value, batch, binds};

use super::arena::{seconds, statement};
use super::audit;
use super::role::{Death, Deed, Part, Role};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    processes_that_claim_at_once_share_the_jobs on BOTH;
    rescuers_and_completions_race on BOTH;
    a_late_beat_and_the_end_of_its_lease_race on BOTH;
    a_rescuer_is_killed_between_its_batches on BOTH;
    a_job_that_kills_its_process_is_quarantined_and_no_neighbor on BOTH;
    many_fall_due_at_once on BOTH;
}

async fn processes_that_claim_at_once_share_the_jobs(arena: Arena) -> String {
    let count = arena.form.of(1_000, 10_000);
    // Nobody may take over from anybody: who has a job has it for good.
    let role = Role {
        lease: Duration::from_secs(120),
        tells: false,
        ..arena.role()
    };
    let mut processes = [arena.start(&role), arena.start(&role)];
    for process in &mut processes {
        process.says("working", 1).await;
    }

    let began = clock::now();
    let ids = arena
        .enqueue_many(&Deed::Quick, Options::new(), count)
        .await;
    arena.until_all(&ids, State::Completed).await;
    let took = seconds(began);

    let claims = audit::claims(&audit::changes(&arena).await);
    assert_eq!(claims.len(), count);
    // One that handed a job back would have claimed it, and claimed it again: none does here.
    assert!(claims.values().all(|claims| *claims == 1));
    arena.ends().await;
    format!("{count} jobs, each claimed once, in {took}")
}

/// Adds a node by hand, and has it hold these jobs, as a claim does.
pub(super) async fn hold(arena: &Arena, ids: &[JobId]) -> i64 {
    let node = arena.sql(
        "INSERT INTO steadfast_node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_boot_us) VALUES ('by hand', '0', 'none', 1, 'none', '', 0, 0, 0) RETURNING id",
        "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us) VALUES ('by hand', '0', 'none', 1, 'none', '', 0, 0, 9000000000000000000) RETURNING id",
        binds![],
    );
    let node: i64 = node.await.one().unwrap().get(0).unwrap();
    let held: Vec<i64> = ids.iter().map(|id| id.get() as i64).collect();
    arena
        .sql(
            "UPDATE steadfast_job SET state = 'running', term = term + 1, incarnation = ?1, claimed_us = 1 WHERE id IN (SELECT value FROM json_each(?2))",
            "UPDATE steadfast.job SET state = 'running', term = term + 1, incarnation = $1, claimed_us = 1 WHERE id = ANY ($2::bigint[])",
            binds![node, held],
        )
        .await;
    node
}

pub(super) async fn dies(arena: &Arena, node: i64) {
    arena
        .sql(
            "UPDATE steadfast_node SET ended_us = 1 WHERE id = ?1",
            "UPDATE steadfast.node SET ended_us = 1 WHERE id = $1",
            binds![node],
        )
        .await;
}

async fn rescuers_and_completions_race(arena: Arena) -> String {
    let rounds = arena.form.of(10, 200);
    let each = 40;
    let (mut completed, mut rescued) = (0, 0);
    for _ in 0..rounds {
        let ids = arena.enqueue_many(&Deed::Quick, Options::new(), each).await;
        let node = hold(&arena, &ids).await;
        dies(&arena, node).await;

        // Two rescuers, and the node itself, which does not know yet that it is dead, with half of its ends.
        let half: Vec<i64> = ids.iter().step_by(2).map(|id| id.get() as i64).collect();
        let rescue = || {
            let store = arena.store.clone();
            steadfast_core::spawn("rescue", async move {
                store
                    .run(statement("rescue"), binds![1_000_i64, false])
                    .await
                    .unwrap()
                    .len()
            })
        };
        let store = arena.store.clone();
        let complete = steadfast_core::spawn("complete", async move {
            let terms = vec![1_i64; half.len()];
            let states = vec!["completed".to_owned(); half.len()];
            let results =
                vec![Some("{\"process\":0,\"term\":1,\"panics\":false}".to_owned()); half.len()];
            let errors = vec![None::<String>; half.len()];
            let ends = batch![half, terms, states, errors, results];
            let no_claim = batch![Vec::<String>::new(), Vec::<i64>::new(), Vec::<i64>::new()];
            let kinds = Vec::<String>::new();
            let plain: Value = match store.dialect() {
                Dialect::Postgres => batch![Vec::<i64>::new(), Vec::<i64>::new()],
                Dialect::Sqlite => "{}".into(),
            };
            let binds = binds![node, plain, ends, no_claim, kinds, 0_i64];
            let rows = store.run(statement("exchange"), binds).await.unwrap();
            let told = rows.iter().find(|row| row.get::<i64>(0).unwrap() == 3);
            told.unwrap().get::<i64>(1).unwrap() as usize
        });
        let (one, other) = (rescue(), rescue());
        let by_rescue = one.await.unwrap() + other.await.unwrap();
        let by_itself = complete.await.unwrap();

        let mut live = 0;
        for id in &ids {
            let info = arena.find(*id).await.info;
            match info.state {
                State::Completed => assert_eq!((info.term, info.crashes), (1, 0)),
                State::Pending => {
                    live += 1;
                    assert_eq!((info.term, info.crashes), (2, 1), "one winner, one crash");
                }
                other => panic!("job {id} is {other}"),
            }
        }
        assert_eq!((by_rescue, by_itself), (live, each - live));
        completed += by_itself;
        rescued += by_rescue;
    }
    let running = arena.work().await;
    for id in arena.acknowledged() {
        arena.until(id, State::Completed).await;
    }
    running.stop(PATIENCE).await;
    arena.ends().await;
    format!("{rounds} rounds: {completed} completed, {rescued} rescued, none both")
}

async fn a_late_beat_and_the_end_of_its_lease_race(arena: Arena) -> String {
    let rounds = arena.form.of(5, 50);
    let (mut lived, mut died) = (0, 0);
    let watcher = arena
        .store
        .join(NodeConfig::new("watcher", "0"))
        .await
        .unwrap();
    for _ in 0..rounds {
        // A lease that is over about when it is renewed, with beats on the brink.
        let config = NodeConfig {
            beat: Duration::from_millis(90),
            stall: Duration::from_millis(200),
            ..NodeConfig::new("late", "0").with_lease(Duration::from_millis(200))
        };
        // On a busy machine such a lease is over before it is told; then it is tried again.
        let given_up = clock::now() + PATIENCE;
        let node = loop {
            match arena.store.join(config.clone()).await {
                Ok(node) => break node,
                Err(error) => assert!(clock::now() < given_up, "{error:?}"),
            }
        };
        let life = node.alive().await.unwrap();
        let until = clock::now() + Duration::from_millis(400);
        let mut ended = false;
        while clock::now() < until && !ended {
            ended = watcher.end_expired().await.unwrap().contains(&life.id());
        }
        if ended {
            died += 1;
            // Once it is ended no beat brings it back: it lives on under another id, or not at all.
            clock::timeout(PATIENCE, life.cancel().cancelled())
                .await
                .expect("it is told");
            let next = node.alive().await.unwrap();
            assert_ne!(next.id(), life.id());
        } else {
            lived += 1;
        }
        node.leave().await;
    }
    watcher.leave().await;
    arena.ends().await;
    format!("{lived} lived, {died} ended and began anew")
}

async fn a_rescuer_is_killed_between_its_batches(arena: Arena) -> String {
    // Of 1,000 each.
    let count = 2_500;
    let ids = arena
        .enqueue_many(&Deed::Quick, Options::new(), count)
        .await;
    let node = hold(&arena, &ids).await;
    let mut rescuer = arena.start(&Role {
        part: Part::Rescue,
        ..arena.role()
    });
    rescuer.says("working", 1).await;

    dies(&arena, node).await;
    rescuer.says("rescued", 1).await;
    rescuer.kill();
    let left = arena.number(
        "SELECT count(*) FROM steadfast_job WHERE state = 'running'",
        "SELECT count(*) FROM steadfast.job WHERE state = 'running'",
    );
    let left = left.await;
    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;

    running.stop(PATIENCE).await;
    let changes = audit::changes(&arena).await;
    let rescued = changes.iter().filter(|change| {
        change.was == "running" && change.became == "pending" && change.crashes == 1
    });
    assert_eq!(rescued.count(), count, "each was rescued once");
    arena.ends().await;
    format!("{left} of {count} were left to the next")
}

async fn a_job_that_kills_its_process_is_quarantined_and_no_neighbor(arena: Arena) -> String {
    let neighbors = arena.form.of(20, 100);
    let mut options = Options::new();
    if arena.form.is_long {
        options = options.delay(Duration::from_millis(arena.random(500)));
    }
    let mut innocent = Vec::new();
    // Suspects run one by one in each process, and half of the neighbors become some: with long runs it takes long
    // until it is known who it is.
    let (least_ms, more_ms) = (arena.form.of(200, 27_000), arena.form.of(800, 63_000));
    for _ in 0..neighbors {
        let time = Duration::from_millis(least_ms as u64 + arena.random(more_ms as u64));
        innocent.push(
            arena
                .enqueue_with(&Deed::Sleep(time), options.clone())
                .await,
        );
    }
    let deaths = [Death::Abort, Death::Overflow, Death::Kill];
    let death = deaths[arena.random(3) as usize];
    let poison = arena.enqueue(&Deed::Die(death)).await;
    let role = Role {
        permits: 50,
        tells: false,
        ..arena.role()
    };
    let mut processes = [arena.start(&role), arena.start(&role)];

    // Started again as often as they die, as whoever runs services does.
    let (mut starts, began) = (0, clock::now());
    let until = clock::now() + PATIENCE + arena.form.lease * 120;
    loop {
        let counts = arena.jobs.counts().await.unwrap();
        let quarantined = counts.of(State::Quarantined);
        if (quarantined, counts.of(State::Completed)) == (1, neighbors as u64) {
            break;
        }
        assert!(clock::now() < until, "they do not end: {counts:?}");
        for process in &mut processes {
            if process.is_over() {
                *process = arena.start(&role);
                starts += 1;
            }
        }
        clock::sleep(Duration::from_millis(20)).await;
    }

    let took = seconds(began);
    arena.until(poison, State::Quarantined).await;
    for id in &innocent {
        let info = arena.find(*id).await.info;
        assert_eq!(info.attempt, 1, "they keep their attempts");
    }
    assert_eq!(arena.find(poison).await.info.crashes, 4);
    arena.ends().await;
    format!(
        "{death:?}: quarantined, {starts} processes started again; {neighbors} neighbors of {} to {} s each completed at their first attempt, all within {took}",
        least_ms as f64 / 1e3,
        (least_ms + more_ms) as f64 / 1e3
    )
}

async fn many_fall_due_at_once(arena: Arena) -> String {
    let count = arena.form.of(1_000, 50_000);
    let permits = 20;
    let later = Options::new().delay(Duration::from_secs(1));
    let ids = arena
        .enqueue_many(&Deed::Sleep(Duration::from_millis(1)), later, count)
        .await;
    // They are all due when the first worker comes up.
    clock::sleep(Duration::from_secs(1)).await;
    let role = Role {
        permits,
        tells: false,
        lease: Duration::from_secs(120),
        ..arena.role()
    };
    let process = arena.start(&role);
    let (mut waits, mut held) = (Vec::new(), 0);
    while arena.find(*ids.last().unwrap()).await.info.state != State::Completed {
        let began = clock::now();
        arena
            .enqueue_with(&Deed::Quick, Options::new().queue("other"))
            .await;
        waits.push(clock::now() - began);
        let running = arena.number(
            "SELECT count(*) FROM steadfast_job WHERE state = 'running'",
            "SELECT count(*) FROM steadfast.job WHERE state = 'running'",
        );
        held = held.max(running.await);
        clock::sleep(Duration::from_millis(20)).await;
    }
    let other = arena.acknowledged().len() - count;
    arena.until_all(&ids, State::Completed).await;

    // What it runs, and what it holds ahead so that no handler waits for the store; and as many that have ended, and of
    // which the store is being told while others are claimed beside it.
    let most = 2 * (permits + steadfast_jobs::decide::pace::AHEAD_MAX) as i64;
    assert!(held <= most, "{held} are claimed by {permits} permits");
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    drop(process);
    let last = arena.start(&arena.role());
    let gone = arena.try_sql(
        "UPDATE steadfast_job SET queue = 'default' WHERE queue = 'other'",
        "UPDATE steadfast.job SET queue = 'default' WHERE queue = 'other'",
        binds![],
    );
    gone.await.unwrap();
    arena.ends().await;
    drop(last);
    format!(
        "{count} due at once, at most {held} claimed; {other} enqueues elsewhere, p99 {p99:.1?}"
    )
}
