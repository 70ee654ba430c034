use std::time::Duration;

use steadfast_core::wait_group::PANICS_MAX;
use steadfast_core::{WaitGroup, clock};

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_last_member_has_left() {
    let group = WaitGroup::new();
    for i in 1..=3u64 {
        let member = group.member();
        steadfast_core::spawn("member", async move {
            clock::sleep(Duration::from_secs(i)).await;
            member.done();
        });
    }
    let start = clock::now();

    let finished = group.wait().await;

    assert_eq!((clock::now() - start).as_secs(), 3);
    assert!(finished.is_ok());
    assert_eq!(finished.done, 3);
}

#[tokio::test]
async fn a_group_without_members_does_not_wait() {
    assert_eq!(WaitGroup::new().wait().await.done, 0);
    assert_eq!(WaitGroup::new().wait_blocking().done, 0);
}

#[tokio::test(start_paused = true)]
async fn a_member_may_add_others_while_somebody_waits() {
    let group = WaitGroup::new();
    let first = group.member();
    steadfast_core::spawn("first", async move {
        clock::sleep(Duration::from_secs(1)).await;
        let second = first.clone();
        first.done();
        clock::sleep(Duration::from_secs(1)).await;
        second.done();
    });

    assert_eq!(group.wait().await.done, 2);
}

#[tokio::test]
async fn a_panicked_member_never_looks_like_a_finished_one() {
    let group = WaitGroup::new();
    group.spawn("task", async { panic!("in a task of the group") });
    let member = group.member();
    let foreign = steadfast_core::spawn("foreign", async move {
        let _member = member;
        panic!("in a task of somebody else");
    });

    let finished = group.wait().await;

    assert!(foreign.await.is_err());
    assert_eq!(
        (finished.done, finished.panicked, finished.dropped),
        (0, 2, 0)
    );
    assert_eq!(finished.panics.len(), 1);
    assert_eq!(finished.panics[0].message(), "in a task of the group");
}

#[tokio::test]
async fn an_aborted_task_is_told_apart_from_a_finished_one() {
    let group = WaitGroup::new();
    let task = group.spawn("task", std::future::pending::<()>());
    task.abort();

    let finished = group.wait().await;

    assert!(!finished.is_ok());
    assert_eq!((finished.done, finished.dropped), (0, 1));
}

#[tokio::test]
async fn the_panic_of_a_task_reaches_who_joins_it_and_the_group() {
    let group = WaitGroup::new();
    let task = group.spawn("task", async { panic!("once") });

    let joined = task.await.unwrap_err();
    let finished = group.wait().await;

    assert!(finished.panics[0].is_same(joined.panic().unwrap()));
}

#[test]
fn threads_can_wait_as_well() {
    let group = WaitGroup::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let member = group.member();
            std::thread::spawn(move || member.done())
        })
        .collect();

    let finished = group.wait_blocking();

    assert_eq!(finished.done, 4);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn all_panics_are_counted_and_the_first_ones_kept() {
    let group = WaitGroup::new();
    for _ in 0..PANICS_MAX + 6 {
        group.spawn("task", async { panic!("one of many") });
    }

    let finished = group.wait().await;

    assert_eq!(finished.panicked, PANICS_MAX + 6);
    assert_eq!(finished.panics.len(), PANICS_MAX);
}
