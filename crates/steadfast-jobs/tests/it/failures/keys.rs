//! Unique keys and limits, over processes that die.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{Jobs, Options, State};
use steadfast_store::{Config, Fault, Faults, Store};

use super::arena::seconds;
use super::audit;
use super::role::{Deed, Role};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    the_reply_to_an_enqueue_with_a_key_is_lost on BOTH;
    a_limit_holds_while_its_holders_are_killed on BOTH;
    a_serial_queue_runs_one_at_a_time on BOTH;
}

async fn the_reply_to_an_enqueue_with_a_key_is_lost(arena: Arena) -> String {
    let faults = Faults::new();
    let store = Store::open(Config {
        faults: faults.clone(),
        ..arena.config.clone()
    });
    let store = store.await.unwrap();
    let jobs = Jobs::open(&store).await.unwrap();
    let once = || Options::new().unique_for("deed/1", Duration::from_secs(3_600));
    let mut lost = 0;

    // Whichever operation it is whose answer is lost: asked again, the same job.
    let mut ids = Vec::new();
    for n in 1.. {
        faults.on(n, Fault::After);
        let asked = jobs.enqueue(&Deed::Quick, once()).await;
        let untouched = faults.hits() == 0;
        faults.clear();
        match asked {
            Ok(id) => ids.push(id),
            Err(error) => {
                assert!(
                    error.is_outcome_unknown() || error.is_retryable(),
                    "{error:?}"
                );
                lost += 1;
            }
        }
        if untouched {
            break;
        }
    }
    assert!(lost > 0 && !ids.is_empty());
    ids.dedup();
    assert_eq!(ids.len(), 1);
    arena.acknowledge(ids[0]);
    let jobs = arena.number(
        "SELECT count(*) FROM steadfast_job",
        "SELECT count(*) FROM steadfast.job",
    );
    assert_eq!(jobs.await, 1);
    let running = arena.work().await;
    arena.until(ids[0], State::Completed).await;
    running.stop(PATIENCE).await;
    arena.ends().await;
    format!("{lost} answers lost, one job")
}

async fn a_limit_holds_while_its_holders_are_killed(arena: Arena) -> String {
    let limit = 5;
    arena
        .jobs
        .limit("default", Some(limit), None)
        .await
        .unwrap();
    let file = arena.file();
    let role = Role {
        permits: 10,
        ..arena.role()
    };
    let mut holder = arena.start(&role);
    let held = arena
        .enqueue_many(&Deed::Wait(file.clone()), Options::new(), limit as usize)
        .await;
    holder.says("started", limit as usize).await;
    let count = arena.form.of(30, 500);
    let wait = Duration::from_millis(5);
    let ids = arena
        .enqueue_many(&Deed::Sleep(wait), Options::new(), count)
        .await;
    let other = arena.start(&role);

    arena.move_away(&holder).await;
    holder.kill();
    let killed = clock::now();
    super::arena::touch(&file);
    arena.until(ids[0], State::Completed).await;
    let took = seconds(killed);
    arena.until_all(&held, State::Completed).await;
    arena.until_all(&ids, State::Completed).await;

    let most = audit::running_at_most(&audit::changes(&arena).await);
    assert!(most <= limit as usize, "{most} ran at once");
    drop(other);
    arena.ends().await;
    format!("never more than {most}; capacity back {took} after the kill")
}

async fn a_serial_queue_runs_one_at_a_time(arena: Arena) -> String {
    arena.jobs.limit("default", Some(1), None).await.unwrap();
    let role = Role {
        permits: 10,
        tells: false,
        ..arena.role()
    };
    let processes = [arena.start(&role), arena.start(&role)];
    let count = arena.form.of(15, 200);
    let ids = arena
        .enqueue_many(
            &Deed::Sleep(Duration::from_millis(2)),
            Options::new(),
            count,
        )
        .await;

    arena.until_all(&ids, State::Completed).await;

    assert_eq!(audit::running_at_most(&audit::changes(&arena).await), 1);
    drop(processes);
    arena.ends().await;
    format!("{count} jobs over two processes, one at a time")
}
