//! Requests about single children, also while something else is under way.

use std::error::Error;

use super::*;
use steadfast_core::supervise::{ChildContext, End};

use Restart::{Permanent, Temporary, Transient};
use Strategy::{OneForAll, OneForOne};

#[tokio::test(start_paused = true)]
async fn a_child_can_be_stopped_started_restarted_and_removed_by_hand() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 0), [Permanent; 3]).await;
    let b = child(&group, "b").id;

    let end = group.stop_child(b).await.unwrap().unwrap();
    assert_eq!((end.kind(), end.run()), (End::Stopped, 1));
    assert_eq!(state(&group, "b"), ChildState::AtRest);
    group.start_child(b).await.unwrap();
    assert_eq!(state(&group, "b"), ChildState::Running);
    group.restart_child(b).await.unwrap();
    assert_eq!(child(&group, "b").runs, 3);
    let end = group.remove_child(b).await.unwrap().unwrap();
    assert_eq!(end.run(), 3);
    settle().await;

    assert_eq!(
        puppets.log(),
        "stop b1, start b2, stop b2, start b3, stop b3"
    );
    assert!(group.snapshot().child("b").is_none());
    assert_eq!(group.snapshot().restarts, 0, "nothing of it counts");
}

#[tokio::test(start_paused = true)]
async fn requests_that_make_no_sense_are_rejected_with_a_reason() {
    let puppets = Puppets::default();
    let group = puppets
        .trio(group(OneForOne, 0), [Permanent, Temporary, Permanent])
        .await;
    let [a, b, c] = ["a", "b", "c"].map(|name| child(&group, name).id);

    assert!(group.start_child(a).await.unwrap_err().is_live());
    let never = group.restart_child(b).await.unwrap_err();
    assert_eq!(
        never.to_string(),
        "temporary child is removed when it ends, never restarted"
    );
    group.remove_child(c).await.unwrap();
    assert!(group.stop_child(c).await.unwrap_err().is_unknown_child());
    assert_eq!(state(&group, "b"), ChildState::Running);

    group.stop().await;
    assert!(group.start_child(a).await.unwrap_err().is_ended());
    let late = group.add_child(puppets.permanent("late")).await;
    assert!(late.unwrap_err().is_ended());
    let source = group.stop_child(a).await.unwrap_err();
    assert_eq!(
        source.source().unwrap().to_string(),
        "group is ending or has ended"
    );
}

#[tokio::test(start_paused = true)]
async fn adding_returns_once_the_child_is_ready() {
    let group = group(OneForOne, 0).start().await.unwrap();
    let begun = clock::now();

    let slow = Child::permanent("slow", async |context: ChildContext| {
        seconds(3).await;
        context.ready();
        context.stopping().await;
    });
    let id = group
        .add_child(slow.ready_within(Duration::from_secs(9)))
        .await
        .unwrap();

    assert_eq!((clock::now() - begun).as_secs(), 3);
    assert_eq!(child(&group, "slow").id, id);
}

#[tokio::test(start_paused = true)]
async fn an_added_child_that_does_not_get_ready_is_removed_and_harms_nobody() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForAll, 0), [Permanent; 3]).await;

    let broken = Child::permanent("broken", async |_| Err::<(), _>("port is taken"))
        .ready_within(Duration::from_secs(1));
    let error = group.add_child(broken).await.unwrap_err();
    let late = Child::permanent("late", async |_| std::future::pending::<()>().await)
        .ready_within(Duration::from_secs(1));
    let overdue = group.add_child(late).await.unwrap_err();

    assert!(error.is_start_failed());
    assert_eq!(error.child_end().unwrap().kind(), End::Failed);
    assert_eq!(overdue.child_end().unwrap().kind(), End::NotReady);
    assert_eq!(group.snapshot().children.len(), 3);
    assert_eq!(puppets.log(), "");
}

#[tokio::test(start_paused = true)]
async fn an_added_child_with_nothing_to_do_is_no_error() {
    let group = group(OneForOne, 0).start().await.unwrap();

    let id = group
        .add_child(Child::transient("migrate", async |_| {}).ready_within(Duration::from_secs(1)))
        .await
        .unwrap();

    assert_eq!(child(&group, "migrate").id, id);
    assert_eq!(state(&group, "migrate"), ChildState::AtRest);
}

#[tokio::test(start_paused = true)]
async fn a_child_can_be_stopped_started_or_removed_while_it_waits_for_its_restart() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 9), [Permanent; 3]).await;
    let b = child(&group, "b").id;

    puppets.pull("b", Pull::Fail).await;
    let end = group.stop_child(b).await.unwrap().unwrap();
    assert_eq!(end.kind(), End::Failed);
    seconds(5).await;
    assert_eq!(
        state(&group, "b"),
        ChildState::AtRest,
        "the restart was called off"
    );

    group.start_child(b).await.unwrap();
    puppets.pull("b", Pull::Fail).await;
    assert!(group.start_child(b).await.unwrap_err().is_live());
    let restarted = clock::now();
    group.restart_child(b).await.unwrap();
    assert!(
        clock::now() - restarted < Duration::from_secs(1),
        "by hand there is no wait"
    );

    puppets.pull("b", Pull::Fail).await;
    group.remove_child(b).await.unwrap();
    seconds(5).await;
    assert_eq!(puppets.log(), "start b2, start b3");
}

#[tokio::test(start_paused = true)]
async fn children_can_be_added_and_removed_while_the_group_restarts() {
    let puppets = Puppets::default();
    let slow = puppets.clone();
    let slow = Child::permanent("slow", move |context: ChildContext| {
        let puppets = slow.clone();
        async move {
            context.stopping().await;
            seconds(2).await;
            puppets.write("slow is down");
        }
    });
    let group = group(OneForAll, 9)
        .child(puppets.permanent("a"))
        .child(puppets.permanent("b"))
        .child(slow)
        .start()
        .await
        .unwrap();
    let b = child(&group, "b").id;
    settle().await;
    puppets.log();
    puppets.pull("a", Pull::Fail).await;

    let (added, removed) = tokio::join!(
        group.add_child(puppets.permanent("new")),
        group.remove_child(b)
    );

    added.unwrap();
    assert_eq!(removed.unwrap().unwrap().kind(), End::Stopped);
    settle().await;
    assert_eq!(puppets.log(), "stop b1, slow is down, start a2, start new1");
    assert_eq!(state(&group, "slow"), ChildState::Running);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_child_is_told_when_the_group_ends_first() {
    let group = group(OneForOne, 0).start().await.unwrap();
    let never = Child::permanent("never", async |context: ChildContext| {
        context.stopping().await;
    });
    let adding = group.add_child(never.ready_within(Duration::from_secs(60)));

    let (added, end) = tokio::join!(adding, async {
        seconds(1).await;
        group.stop().await
    });

    assert!(added.unwrap_err().is_ended());
    assert!(!end.is_failure());
}

#[tokio::test(start_paused = true)]
async fn errors_that_are_taken_for_a_normal_end_do_not_restart_a_transient_child() {
    let puppets = Puppets::default();
    let builder = group(OneForOne, 9)
        .child(
            Child::transient("import", async |_| {
                seconds(1).await;
                Err::<(), _>("end of input")
            })
            .normal_if(|error| error.to_string() == "end of input"),
        )
        .child(puppets.child("other", Transient));
    let group = builder.start().await.unwrap();

    seconds(5).await;

    let import = child(&group, "import");
    assert_eq!((import.state, import.runs), (ChildState::AtRest, 1));
    let end = import.last_end.unwrap();
    assert_eq!(end.kind(), End::Normal);
    assert_eq!(end.error().unwrap().to_string(), "end of input");
}
