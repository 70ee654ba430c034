//! Handlers that go wrong in a process that is well.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::{Jobs, Kind, Options, Run, State, What, Worker};
use tokio::sync::broadcast::error::RecvError;

use super::arena::touch;
use super::role::{Deed, Did, Role, builder};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    one_that_blocks_for_ever_is_written_off on BOTH;
    panics_cost_attempts_and_no_permits on BOTH;
    retries_of_many_are_spread on BOTH;
}

async fn one_that_blocks_for_ever_is_written_off(arena: Arena) -> String {
    let file = arena.file();
    // No lease is lost here, and nobody else is there: the process itself has to see to it.
    let role = Role {
        lease: Duration::from_secs(120),
        timeout: Duration::from_millis(500),
        ..arena.role()
    };
    let mut process = arena.start(&role);
    process.says("working", 1).await;
    let blocks = arena.enqueue(&Deed::Block(file.clone())).await;
    process.says("blocking", 1).await;
    let others = arena.enqueue_many(&Deed::Quick, Options::new(), 50).await;

    arena.until_all(&others, State::Completed).await;
    process.says("written_off", 1).await;
    let found = arena.until(blocks, State::Completed).await;
    assert_eq!((found.info.attempt, found.info.crashes), (2, 0));
    touch(&file);
    let after = arena.enqueue(&Deed::Quick).await;
    arena.until(after, State::Completed).await;

    let late = arena.find(blocks).await;
    assert_eq!(
        (late.info.term, late.result),
        (found.info.term, found.result)
    );
    arena.ends().await;
    "its permit written off, the job done by its second attempt, 50 others unaffected".into()
}

async fn panics_cost_attempts_and_no_permits(arena: Arena) -> String {
    let running = {
        let jobs = Jobs::open(&arena.store).await.unwrap();
        let role = Role {
            permits: 2,
            ..arena.role()
        };
        builder(&jobs, &role).build().unwrap().start()
    };
    let once = || Options::new().max_attempts(1);
    let mut ids = Vec::new();
    for deed in [Deed::Panic, Deed::PanicInResult, Deed::PanicInPayload(1)] {
        // More than there are permits.
        ids.extend(arena.enqueue_many(&deed, once(), 5).await);
    }

    arena.until_all(&ids, State::Discarded).await;
    let fine = arena.enqueue_many(&Deed::Quick, once(), 5).await;
    arena.until_all(&fine, State::Completed).await;
    for id in ids {
        let error = arena.find(id).await.info.error.unwrap();
        assert!(error.starts_with("panicked at "), "{error}");
    }
    running.stop(PATIENCE).await;

    // And a repair that panics.
    let kind = Kind::new(async |run: Run, _: Deed| match run.attempt() {
        1 => Err("once".into()),
        _ => Ok(()),
    });
    let kind = kind
        .backoff(
            steadfast_core::decide::backoff::Backoff::new(
                Duration::from_millis(1),
                Duration::from_millis(1),
            )
            .unwrap(),
        )
        .repair(
            async |_: Run, _: Deed| -> Result<(), steadfast_core::BoxError> {
                panic!("beyond repair")
            },
        );
    let running = Worker::builder(&arena.jobs)
        .queue("default", 1)
        .kind(kind)
        .build()
        .unwrap()
        .start();
    let twice = Options::new().max_attempts(2);
    let ids = arena.enqueue_many(&Deed::Quick, twice, 3).await;
    arena.until_all(&ids, State::Discarded).await;
    running.stop(PATIENCE).await;
    arena.ends().await;
    "15 panics and 3 in repairs on few permits: discarded, the permits are all there".into()
}

async fn retries_of_many_are_spread(arena: Arena) -> String {
    let count = arena.form.of(300, 100_000);
    let kind = Kind::new(async |run: Run, _: Deed| match run.attempt() {
        1 => Err("the dependency is down".into()),
        _ => Ok(Did::in_run(&run)),
    });
    // The usual backoff: the first wait is up to a second.
    let worker = Worker::builder(&arena.jobs).kind(kind).build().unwrap();
    let mut events = worker.events();
    let ids = arena.enqueue_many(&Deed::Fail, Options::new(), count).await;
    let running = worker.start();

    let (mut waits, mut missed) = (Vec::new(), 0);
    let until = clock::now() + PATIENCE;
    while waits.len() + missed < count / 2 {
        assert!(clock::now() < until, "{} retries", waits.len());
        match clock::timeout(PATIENCE, events.recv()).await.unwrap() {
            Ok(event) => {
                if let What::Retried { after, .. } = event.what {
                    waits.push(after);
                }
            }
            Err(RecvError::Lagged(count)) => missed += count as usize,
            Err(RecvError::Closed) => panic!("the worker ended"),
        }
    }

    let longest = waits.iter().max().unwrap().as_nanos().max(1);
    let mut parts = [0; 5];
    for wait in &waits {
        parts[(wait.as_nanos() * 5 / (longest + 1)) as usize] += 1;
    }
    // A fifth each on average; a half of all in one of them would be a herd.
    let most = *parts.iter().max().unwrap();
    assert!(waits.len() < 50 || most * 2 < waits.len(), "{parts:?}");
    arena.until_all(&ids, State::Completed).await;
    running.stop(PATIENCE).await;
    arena.ends().await;
    format!("{} retries over the window: {parts:?}", waits.len())
}
