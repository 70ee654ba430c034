//! Deadlines and cancellation.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use steadfast_core::context::{self, Context};
use steadfast_core::pool::TicketError;
use steadfast_core::{Cause, clock, scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::{futures_poll, occupy, pool, pool_with_queue, settle, tokio_spawn};

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_context_cancels_the_task_queued_or_running() {
    let pool = pool(1);
    let start = clock::now();
    let deadline = start + Duration::from_secs(5);
    let context = Context::new().with_deadline(deadline);
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();

    let running = context.run(|| pool.try_submit("running", pending::<()>()));
    let queued = context.run(|| {
        pool.try_submit("queued", async move {
            flag.store(true, Ordering::Relaxed);
        })
    });
    let free = pool
        .try_submit("no deadline", async { clock::now() })
        .unwrap();

    assert!(matches!(
        running.unwrap().await,
        Err(TicketError::Cancelled(Cause::Deadline))
    ));
    assert!(matches!(
        queued.unwrap().await,
        Err(TicketError::Cancelled(Cause::Deadline))
    ));
    let took = free.await.unwrap() - start;
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_millis(5_010),
        "{took:?}"
    );
    assert!(!ran.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_deadline_that_passes_during_the_first_poll_is_not_missed() {
    let pool = pool(1);
    let context = Context::new().with_deadline(clock::now() + Duration::from_millis(2));

    let ticket = context.run(|| {
        pool.try_submit("slow to start", async {
            while context::current().time_left() > Some(Duration::ZERO) {
                std::thread::yield_now();
            }
            pending::<()>().await;
        })
    });

    assert!(matches!(
        ticket.unwrap().await,
        Err(TicketError::Cancelled(Cause::Deadline))
    ));
}

#[tokio::test]
async fn a_cancelled_task_that_runs_is_dropped_at_its_next_await_and_its_scopes_know_why() {
    let pool = pool(1);
    let (sender, outcome) = oneshot::channel();
    let ticket = pool.submit("work", async move {
        let body = scope("inner").run::<(), _, _>(async |s| {
            s.defer_outcome("tell", move |outcome| {
                sender.send(format!("{outcome:?}")).unwrap();
            });
            pending().await
        });
        body.await.unwrap();
    });
    let ticket = ticket.await.unwrap();
    settle().await;

    ticket.cancel(Cause::ClientGone);
    ticket.cancel(Cause::Shed);

    let cause = ticket.await.unwrap_err().cause().unwrap().as_str();
    assert_eq!(cause, "client_gone", "the first cause wins");
    assert_eq!(outcome.await.unwrap(), "Cancelled(ClientGone)");
    assert_eq!(pool.run("next", async { 1 }).await.unwrap(), 1);
}

#[tokio::test]
async fn a_task_that_has_ended_holds_nothing_of_its_context() {
    let pool = pool(1);
    let context = Context::new();

    let value = context.wrap(async {
        context::put("order", "4711").unwrap();
        let value = context::get("order").unwrap();
        let task = async {
            yield_now().await;
            drop(tokio_spawn(context::capture().wrap(async {})));
        };
        pool.run("waits", task).await.unwrap();
        let cancelled = pool.submit("cancelled", pending::<()>()).await.unwrap();
        settle().await;
        cancelled.cancel(Cause::Shed);
        cancelled.await.unwrap_err();
        drop(pool.submit("detached", yield_now()).await.unwrap());
        value
    });
    let value = value.await;
    settle().await;

    assert_eq!(Arc::strong_count(&value), 1);
}

#[tokio::test]
async fn a_task_learns_by_its_token_that_it_is_to_stop() {
    let pool = pool(1);
    let (sender, seen) = oneshot::channel();
    let ticket = pool.submit("work", async move {
        let cancel = context::cancel();
        let watcher = async move { sender.send(cancel.cancelled().await).unwrap() };
        drop(tokio_spawn(watcher));
        pending::<()>().await;
    });
    let ticket = ticket.await.unwrap();
    settle().await;

    pool.stop(Cause::Shutdown).await;

    assert_eq!(seen.await.unwrap().as_str(), "shutdown");
    assert!(matches!(
        ticket.await,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
}

#[tokio::test]
async fn cancelling_a_queued_task_makes_room_at_once() {
    let pool = pool_with_queue(1, 2);
    let (_release, _occupied) = occupy(&pool).await;
    let held = Arc::new(());

    for _ in 0..1_000 {
        let held = held.clone();
        let ticket = pool.try_submit("task", async move { drop(held) }).unwrap();
        ticket.cancel(Cause::ClientGone);
        assert!(ticket.is_finished());
    }

    assert_eq!(Arc::strong_count(&held), 1, "what they held is released");
    assert_eq!(pool.stats().depth(), 0);
}

#[tokio::test]
async fn dropping_a_ticket_detaches_the_task_unless_told_to_cancel_it() {
    let pool = pool(1);
    let (release, _occupied) = occupy(&pool).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = ran.clone();
        async move { ran.fetch_add(1, Ordering::Relaxed) }
    };

    drop(pool.try_submit("detached", count()).unwrap());
    drop(
        pool.try_submit("cancelled", count())
            .unwrap()
            .cancel_on_drop(),
    );
    let mut run = Box::pin(pool.run("cancelled, too", count()));
    assert!(futures_poll(run.as_mut()).is_none());
    drop(run);
    drop(release);
    pool.drain().await;

    assert_eq!(ran.load(Ordering::Relaxed), 1);
    let stats = pool.stats();
    assert_eq!((stats.completed, stats.cancelled), (2, 2));
}
