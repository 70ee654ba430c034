//! Processes that are told to end.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{Options, State};

use super::arena::touch;
use super::audit;
use super::role::{Deed, Did, Role};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    told_to_end_it_loses_no_completion on BOTH;
    told_to_end_it_waits_for_its_handlers_and_hands_the_rest_back on BOTH;
    told_twice_or_killed_while_it_drains_others_take_over on BOTH;
}

async fn told_to_end_it_loses_no_completion(arena: Arena) -> String {
    let count = arena.form.of(400, 5_000);
    let role = Role {
        lease: Duration::from_secs(120),
        tells: false,
        ..arena.role()
    };
    let mut process = arena.start(&role);
    process.says("working", 1).await;
    let ids = arena
        .enqueue_many(
            &Deed::Sleep(Duration::from_millis(1)),
            Options::new(),
            count,
        )
        .await;
    // In the middle of it.
    arena.until(ids[count / 10], State::Completed).await;

    process.signal("TERM");
    assert!(process.ends().await.success());

    let mut done = 0;
    for id in &ids {
        let info = arena.find(*id).await.info;
        match info.state {
            State::Completed => done += 1,
            State::Pending => assert_eq!((info.attempt, info.crashes), (0, 0), "handed back"),
            other => panic!("job {id} is {other}"),
        }
    }
    let running = arena.work().await;
    arena.until_all(&ids, State::Completed).await;
    running.stop(PATIENCE).await;
    // Whatever it had completed it had told: none of them ran again.
    let again = audit::changes(&arena).await;
    let again = again.iter().filter(|change| {
        change.was == "running" && change.became == "pending" && change.crashes > 0
    });
    assert_eq!(again.count(), 0);
    arena.ends().await;
    format!("{done} of {count} done, the others handed back")
}

async fn told_to_end_it_waits_for_its_handlers_and_hands_the_rest_back(arena: Arena) -> String {
    let lease = arena.form.lease.max(Duration::from_secs(3));
    let role = Role {
        lease,
        // Longer than the lease: it has to beat while it drains.
        drain: lease * 2 + Duration::from_secs(1),
        permits: 2,
        ..arena.role()
    };
    let mut process = arena.start(&role);
    let file = arena.file();
    let ends = arena.enqueue(&Deed::Wait(file.clone())).await;
    let never = arena.enqueue(&Deed::Wait(arena.file())).await;
    process.says("started", 2).await;
    let waits = arena.enqueue_many(&Deed::Quick, Options::new(), 10).await;

    process.signal("TERM");
    clock::sleep(lease + Duration::from_millis(500)).await;
    touch(&file);
    process.ends().await;

    // Unless this machine is so busy that its lease was lost, which it has told then.
    let lost = !process.said("lease_lost").is_empty();
    if !lost {
        let found = arena.find(ends).await;
        let did: Did = found
            .result()
            .unwrap()
            .expect("its handler came to its end");
        assert_eq!((did.process, found.info.term), (process.id(), 1));
        let back = arena.find(never).await.info;
        assert_eq!(
            (back.state, back.attempt, back.crashes),
            (State::Pending, 0, 0)
        );
    }
    assert!(process.said("started").len() <= 2, "it claims nothing more");
    let running = arena.work().await;
    for ids in [&waits[..], &[ends, never]] {
        arena.until_all(ids, State::Completed).await;
    }
    running.stop(PATIENCE).await;
    arena.ends().await;
    match lost {
        true => "it lost its lease meanwhile, and said so".into(),
        false => {
            "one ended in its time, the others were handed back without an attempt spent".into()
        }
    }
}

async fn told_twice_or_killed_while_it_drains_others_take_over(arena: Arena) -> String {
    let mut seen = Vec::new();
    for signal in ["TERM", "KILL"] {
        let mut process = arena.start(&arena.role());
        let id = arena.enqueue(&Deed::Wait(arena.file())).await;
        process.says("started", 1).await;

        process.signal("TERM");
        // It is told once it is known to be draining: a new job stays where it is.
        let waits = arena.enqueue(&Deed::Quick).await;
        clock::sleep(Duration::from_millis(100)).await;
        process.signal(signal);
        let status = process.ends().await;
        let running = arena.work().await;
        arena.until_all(&[id, waits], State::Completed).await;

        let info = arena.find(id).await.info;
        assert_eq!(info.attempt, 1, "no attempt was spent");
        running.stop(PATIENCE).await;
        seen.push(format!("{signal}: {status}, {} crash", info.crashes));
    }
    arena.ends().await;
    seen.join("; ")
}
