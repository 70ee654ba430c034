use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use steadfast_core::context::{self, Context, Tier, TraceId};
use steadfast_core::pool::{Pool, PoolConfig, Rejected, Ticket, TicketError};
use steadfast_core::{Cause, clock, recover, report, scope, spawn};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::yield_now;

fn pool(workers: usize) -> Pool {
    Pool::new(PoolConfig::new("pool", workers)).unwrap()
}

fn pool_with_queue(workers: usize, queue_max: usize) -> Pool {
    Pool::new(PoolConfig {
        queue_max,
        ..PoolConfig::new("pool", workers)
    })
    .unwrap()
}

/// Occupies one worker until the returned sender is used or dropped.
async fn occupy(pool: &Pool) -> (oneshot::Sender<()>, Ticket<()>) {
    let (release, released) = oneshot::channel();
    let (started, start) = oneshot::channel();
    let ticket = pool.submit("occupy", async move {
        started.send(()).unwrap();
        let _ = released.await;
    });
    let ticket = ticket.await.unwrap();
    start.await.unwrap();
    (release, ticket)
}

/// Lets everything else run until it can go no further.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn every_end_is_told_apart_by_the_ticket_and_by_the_counts() {
    let pool = pool_with_queue(1, 1);
    let (release, occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async {}).unwrap();

    let rejected = pool.try_submit("rejected", async {}).unwrap_err();
    assert!(rejected.is_full() && rejected.is_overload() && !rejected.is_closed());
    assert_eq!(
        rejected.to_string(),
        "pool pool has 1 tasks of tier 1 queued, which is its bound"
    );
    queued.cancel(Cause::Requested("test".into()));
    let cancelled = queued.await.unwrap_err();
    assert_eq!(cancelled.cause().unwrap().as_str(), "requested");
    drop(release);
    occupied.await.unwrap();
    assert_eq!(pool.run("completed", async { 5 }).await.unwrap(), 5);
    let failed = pool.fallible().run("failed", async { Err::<(), _>("no") });
    assert_eq!(failed.await.unwrap_err().failed(), Some(&"no"));
    let panicked: Result<(), _> = pool.run("panicked", async { panic!("ouch") }).await;
    assert_eq!(panicked.unwrap_err().panic().unwrap().message(), "ouch");

    let stats = pool.stats();
    assert_eq!((stats.completed, stats.failed), (2, 1));
    assert_eq!((stats.panicked, stats.cancelled), (1, 1));
    assert_eq!((stats.rejected_full, stats.rejected()), (1, 1));
    assert_eq!((stats.ended(), stats.in_flight), (5, 0));
}

#[tokio::test]
async fn configs_and_sizes_out_of_range_are_refused_with_the_range() {
    let cases = [
        (0, 1, "workers is 0, but must be from 1 to 65536"),
        (65_537, 1, "workers is 65537, but must be from 1 to 65536"),
        (1, 0, "queue_max is 0, but must be from 1 to 1048576"),
        (
            1,
            1_048_577,
            "queue_max is 1048577, but must be from 1 to 1048576",
        ),
    ];
    for (workers, queue_max, message) in cases {
        let config = PoolConfig {
            queue_max,
            ..PoolConfig::new("pool", workers)
        };
        let error = Pool::new(config).unwrap_err();
        assert!(error.is_out_of_range());
        assert_eq!(error.to_string(), message);
    }

    let pool = pool(2);
    assert!(pool.resize(0).unwrap_err().is_out_of_range());
    assert_eq!(pool.stats().workers_target, 2);
}

#[test]
fn outside_a_runtime_a_pool_of_async_tasks_is_refused() {
    let error = Pool::new(PoolConfig::new("pool", 1)).unwrap_err();

    assert!(error.is_no_runtime());
}

#[tokio::test]
async fn a_submitter_waits_for_room_in_the_order_in_which_it_came() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let log = |n: u32| {
        let order = order.clone();
        async move { order.lock().unwrap().push(n) }
    };
    let first = pool.try_submit("first", log(1)).unwrap();

    let waiting: Vec<_> = (2..5)
        .map(|n| {
            let (pool, task) = (pool.clone(), log(n));
            spawn("submitter", async move {
                pool.submit("next", task).await.unwrap().await.unwrap();
            })
        })
        .collect();
    settle().await;
    assert_eq!(pool.stats().tiers[1].submitters, 3);
    assert!(pool.try_submit("pushy", log(9)).unwrap_err().is_full());
    drop(release);
    first.await.unwrap();
    for submitter in waiting {
        submitter.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_submitter_that_gives_up_leaves_its_place_to_the_next() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async {}).unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();

    let mut gives_up = Box::pin(pool.submit("gives up", async move {
        flag.store(true, Ordering::Relaxed);
    }));
    assert!(futures_poll(gives_up.as_mut()).is_none());
    let mut stays = Box::pin(pool.submit("stays", async { 7 }));
    assert!(futures_poll(stays.as_mut()).is_none());
    drop(release);
    queued.await.unwrap();
    // The first one has been let in by now, and never looks.
    assert!(futures_poll(stays.as_mut()).is_none());
    drop(gives_up);

    assert_eq!(stays.await.unwrap().await.unwrap(), 7);
    assert!(!ran.load(Ordering::Relaxed));
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_submitter_waits_until_its_deadline_and_not_longer() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let _queued = pool.try_submit("queued", async {}).unwrap();
    let start = clock::now();

    let at = start + Duration::from_secs(3);
    let late = pool.submit_until(at, "late", async {}).await.unwrap_err();
    assert!(late.is_late() && late.is_overload());
    assert_eq!(clock::now() - start, Duration::from_secs(3));
    spawn("release", async move {
        clock::sleep(Duration::from_secs(1)).await;
        drop(release);
    });
    let at = clock::now() + Duration::from_secs(3);
    let in_time = pool.submit_until(at, "in time", async {}).await.unwrap();
    in_time.await.unwrap();

    let stats = pool.stats();
    assert_eq!(clock::now() - start, Duration::from_secs(4));
    assert_eq!((stats.rejected_late, stats.rejected()), (1, 1));
}

#[tokio::test]
async fn more_important_tiers_start_first_and_have_a_queue_of_their_own() {
    let pool = pool_with_queue(1, 2);
    let (release, _occupied) = occupy(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));

    let mut tickets = Vec::new();
    for tier in [5, 5, 0, 1, 0, 1] {
        let order = order.clone();
        let task = async move { order.lock().unwrap().push(tier) };
        let context = Context::new().with_tier(Tier::new(tier).unwrap());
        let ticket = context.run(|| pool.try_submit("task", task));
        tickets.push(ticket.expect("the flood of others takes no room"));
    }
    let core = Context::new().with_tier(Tier::CORE);
    let full = core.run(|| pool.try_submit("one more", async {}));
    assert_eq!(
        full.unwrap_err().to_string(),
        "pool pool has 2 tasks of core queued, which is its bound"
    );
    drop(release);
    for ticket in tickets {
        ticket.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [0, 0, 1, 1, 5, 5]);
}

#[tokio::test]
async fn a_task_has_the_context_of_its_submitter_and_a_path_of_its_own() {
    let pool = pool(1);
    let trace_id = TraceId::random();
    let context = Context::new().with_trace_id(trace_id).with_tier(Tier::CORE);

    let ended = context
        .wrap(async {
            context::put("order", "4711").unwrap();
            let body = scope("request").run(async |_| {
                let ticket = pool.submit("resize", async {
                    yield_now().await;
                    let context = context::current();
                    assert_eq!(context.tier(), Tier::CORE);
                    assert_eq!(context::get("order").as_deref(), Some("4711"));
                    context::put("order", "mine").unwrap();
                    panic!("with a context");
                });
                let ended: Result<(), _> = ticket.await?.await;
                assert_eq!(context::get("order").as_deref(), Some("4711"));
                Ok(ended.unwrap_err())
            });
            body.await.unwrap()
        })
        .await;

    let panic = ended.panic().unwrap();
    assert_eq!(panic.trace_id(), Some(trace_id));
    assert_eq!(panic.scope_path().to_string(), "pool > resize");
    assert_eq!(&*panic.entries()[0].1, "mine");
}

/// Panics when it is dropped, but not while another panic unwinds.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[tokio::test]
async fn no_panic_in_any_drop_costs_a_worker() {
    let pool = pool(2);

    let in_future = pool.run("future", async {
        let _bomb = Bomb;
        yield_now().await;
    });
    assert_eq!(
        in_future.await.unwrap_err().panic().unwrap().message(),
        "bomb"
    );
    let payload = pool.run("payload", async { std::panic::panic_any(Bomb) });
    let payload: Result<(), _> = payload.await;
    drop(payload.unwrap_err());
    drop(
        pool.submit("output nobody takes", async { Bomb })
            .await
            .unwrap(),
    );
    let taken = pool.run("output that is taken", async { Bomb }).await;
    assert!(recover(|| drop(taken)).is_err());
    let (release, _occupied) = occupy(&pool).await;
    let (release_2, _occupied) = occupy(&pool).await;
    let bomb = Bomb;
    let queued = pool.submit("never run", async move { drop(bomb) });
    let queued = queued.await.unwrap();
    queued.cancel(Cause::ClientGone);
    assert!(queued.await.unwrap_err().cause().is_some());
    let bomb = Bomb;
    let rejected = {
        let queue = pool_with_queue(1, 1);
        queue.drain().await;
        queue.try_submit("rejected", async move { drop(bomb) })
    };
    assert!(rejected.unwrap_err().is_closed());

    drop((release, release_2));
    settle().await;
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.in_flight), (2, 0));
    assert_eq!(pool.run("still works", async { 1 }).await.unwrap(), 1);
}

#[tokio::test]
async fn a_waker_that_panics_costs_no_worker() {
    struct Broken;
    impl std::task::Wake for Broken {
        fn wake(self: Arc<Self>) {
            panic!("broken waker");
        }
    }
    let pool = pool(1);
    let (release, _occupied) = occupy(&pool).await;
    let mut ticket = Box::pin(pool.try_submit("task", async {}).unwrap());

    let waker = Arc::new(Broken).into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(ticket.as_mut().poll(&mut cx).is_pending());
    drop(release);
    settle().await;

    assert!(ticket.is_finished());
    ticket.await.unwrap();
    assert_eq!(pool.run("still works", async { 1 }).await.unwrap(), 1);
}

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

/// Outside of ours, to keep hold of what a task leaves behind.
#[allow(
    clippy::disallowed_methods,
    reason = "must not be in the task's context"
)]
fn tokio_spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
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

#[tokio::test]
async fn the_pool_grows_and_shrinks_while_it_works() {
    let pool = pool(2);
    let gate = Arc::new(Semaphore::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let mut tickets = Vec::new();
    for _ in 0..20 {
        let (gate, running) = (gate.clone(), running.clone());
        let task = async move {
            running.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::Relaxed);
        };
        tickets.push(pool.submit("task", task).await.unwrap());
    }

    for (workers, release, expected) in [(2, 0, 2), (6, 0, 6), (3, 0, 6), (3, 4, 3), (5, 1, 5)] {
        pool.resize(workers).unwrap();
        gate.add_permits(release);
        settle().await;
        assert_eq!(running.load(Ordering::Relaxed), expected, "of {workers}");
        assert_eq!(pool.stats().in_flight, expected);
        assert_eq!(pool.stats().workers, expected);
    }
    gate.add_permits(100);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    pool.resize(1).unwrap();
    settle().await;
    assert_eq!(pool.stats().workers, 1, "those at rest leave, too");
}

#[tokio::test]
async fn a_drain_lets_all_that_was_accepted_end_and_accepts_nothing_more() {
    let pool = pool_with_queue(1, 2);
    let (release, occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async { 1 }).unwrap();
    let full = pool.try_submit("queued", async { 2 }).unwrap();
    let waiting = {
        let pool = pool.clone();
        spawn("submitter", async move {
            pool.submit("waits", async {}).await.map(drop)
        })
    };
    settle().await;

    let (one, two) = (pool.drain(), pool.drain());
    assert!(pool.try_submit("after", async {}).unwrap_err().is_closed());
    assert!(waiting.await.unwrap().unwrap_err().is_closed());
    let mut one = Box::pin(one);
    assert!(
        futures_poll(one.as_mut()).is_none(),
        "a task is still running"
    );
    drop(release);
    one.await;
    two.await;

    assert!(occupied.is_finished() && queued.is_finished());
    assert_eq!(queued.await.unwrap() + full.await.unwrap(), 3);
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.depth(), stats.is_open), (0, 0, false));
    assert_eq!(stats.rejected_closed, 2);
    pool.drain().await;
    pool.stop(Cause::Shutdown).await;
    pool.resize(5).unwrap();
    assert_eq!(pool.stats().workers, 0, "nothing is left to do for them");
}

#[tokio::test]
async fn a_stop_cancels_queued_and_running_tasks_also_during_a_drain() {
    let pool = pool(1);
    let running = pool.submit("running", pending::<()>()).await.unwrap();
    let queued = pool.try_submit("queued", async {}).unwrap();
    settle().await;

    let drained = pool.drain();
    let stopped = pool.stop(Cause::Shutdown);
    let again = pool.stop(Cause::Shed);
    stopped.await;
    again.await;
    drained.await;

    assert!(matches!(
        running.await,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
    assert!(matches!(
        queued.await,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
    assert_eq!(pool.stats().cancelled, 2);
    assert_eq!(pool.stats().workers, 0);
}

#[tokio::test]
async fn nothing_starts_after_a_stop() {
    let pool = pool_with_queue(1, 10_000);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let done = done.clone();
        drop(pool.try_submit("quick", async move { done.fetch_add(1, Ordering::Relaxed) }));
    }
    // The worker has taken its next task, and gives others their turn before it starts it.
    while pool.stats().completed == 0 {
        yield_now().await;
    }
    assert_eq!(pool.stats().in_flight, 1);
    let before = done.load(Ordering::Relaxed);

    pool.stop(Cause::Shutdown).await;

    assert_eq!(done.load(Ordering::Relaxed), before);
    let stats = pool.stats();
    assert_eq!(stats.completed, before as u64);
    assert_eq!(stats.cancelled, 10_000 - before as u64);
}

#[tokio::test]
async fn dropping_the_last_handle_is_a_drain() {
    let pool = Pool::new(PoolConfig::new("dropped", 2)).unwrap();
    let (release, occupied) = occupy(&pool).await;
    let clone = pool.clone();
    let queued = pool.submit("queued", async move {
        drop(clone);
        5
    });
    let queued = queued.await.unwrap();
    let is_reported = || {
        let mut sources = report::snapshot().sources.into_iter();
        sources.any(|source| source.name.as_str() == "dropped")
    };
    assert!(is_reported());

    drop(pool);
    drop(release);

    occupied.await.unwrap();
    assert_eq!(queued.await.unwrap(), 5);
    settle().await;
    assert!(
        !is_reported(),
        "all workers have left, and the pool is gone"
    );
}

#[test]
fn when_the_runtime_ends_every_ticket_says_so_and_nothing_more_is_accepted() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let held = Arc::new(());
    let (pool, tickets) = runtime.block_on(async {
        let pool = pool(2);
        let mut tickets = Vec::new();
        for _ in 0..5 {
            let held = held.clone();
            let task = async move {
                let _held = held;
                pending::<()>().await;
            };
            tickets.push(pool.submit("for ever", task).await.unwrap());
        }
        (pool, tickets)
    });

    drop(runtime);

    for ticket in tickets {
        let ended = steadfast_core::pool::block_on(ticket);
        assert!(matches!(ended, Err(TicketError::Cancelled(Cause::Dropped))));
    }
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(pool.try_submit("late", async {}).unwrap_err().is_closed());
    steadfast_core::pool::block_on(pool.drain());
    assert_eq!((pool.stats().workers, pool.stats().cancelled), (0, 5));
}

#[test]
fn when_the_runtime_ends_a_pool_with_idle_workers_accepts_nothing_more() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pool = runtime.block_on(async {
        let pool = pool(2);
        settle().await;
        pool
    });

    drop(runtime);

    assert!(pool.try_submit("late", async {}).unwrap_err().is_closed());
    steadfast_core::pool::block_on(pool.drain());
    assert_eq!(pool.stats().workers, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_never_returns_shows_in_the_statistics() {
    let pool = Pool::new(PoolConfig::new("seen", 2)).unwrap();
    let trace_id = TraceId::random();
    let stuck = Context::new().with_trace_id(trace_id);
    let _stuck = stuck
        .run(|| pool.try_submit("stuck", pending::<()>()))
        .unwrap();
    settle().await;
    clock::sleep(Duration::from_secs(60)).await;
    let (_release, _occupied) = occupy(&pool).await;
    let low = Context::new().with_tier(Tier::new(3).unwrap());
    let waits = low.run(|| pool.try_submit("waits", async {})).unwrap();
    clock::sleep(Duration::from_secs(2)).await;

    let stats = pool.stats();
    let longest = stats.longest.unwrap();
    assert_eq!(
        (longest.name.as_str(), longest.trace_id),
        ("stuck", Some(trace_id))
    );
    assert_eq!(longest.age.as_secs(), 62);
    let names: Vec<_> = pool
        .running()
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["stuck", "occupy"]);
    assert_eq!(stats.tiers[3].depth, 1);
    assert_eq!(stats.tiers[3].oldest_wait.as_secs(), 2);
    let value = |name: &str, label: &str| {
        let snapshot = report::snapshot();
        let source = snapshot.sources.iter().find(|s| s.name.as_str() == "seen");
        let metrics = &source.unwrap().metrics;
        let found = metrics.iter().find(|metric| {
            metric.name == name && metric.labels.iter().any(|(_, l)| l.as_str() == label)
        });
        found.unwrap().value.clone()
    };
    use report::Value::{Armed, Counter, Gauge, Sum};
    assert_eq!(value("steadfast_pool_in_flight", "seen"), Gauge(2.0));
    assert_eq!(value("steadfast_pool_depth", "3"), Gauge(1.0));
    assert_eq!(value("steadfast_pool_oldest_wait_seconds", "3"), Gauge(2.0));
    assert_eq!(value("steadfast_pool_started_total", "1"), Counter(2));
    assert_eq!(value("steadfast_pool_open", "seen"), Armed(true));
    pool.resize(3).unwrap();
    waits.await.unwrap();
    assert_eq!(pool.stats().tiers[3].waited.as_secs(), 2);
    assert_eq!(value("steadfast_pool_waited_seconds_total", "3"), Sum(2.0));
    assert_eq!(value("steadfast_pool_tasks_total", "completed"), Counter(1));
}

#[tokio::test]
async fn tasks_that_never_wait_leave_others_their_turn() {
    let pool = pool_with_queue(1, 10_000);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let done = done.clone();
        drop(pool.try_submit("quick", async move { done.fetch_add(1, Ordering::Relaxed) }));
    }

    yield_now().await;
    yield_now().await;

    assert!(done.load(Ordering::Relaxed) < 1_000);
    pool.drain().await;
    assert_eq!(done.load(Ordering::Relaxed), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_that_never_awaits_does_not_keep_its_tasks_from_starting() {
    for _ in 0..20 {
        let pool = pool(4);
        settle().await;
        let (sender, receiver) = mpsc::channel();
        let submitter = tokio_spawn(async move {
            for _ in 0..2 {
                let sender = sender.clone();
                drop(pool.try_submit("task", async move { sender.send(()).unwrap() }));
            }
            // Blocks this thread of the runtime, as a careless computation would.
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        submitter.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_outcome_finds_it_counted() {
    let pool = pool(2);
    for n in 1..=2_000 {
        pool.run("task", async {}).await.unwrap();
        assert_eq!(pool.stats().completed, n);
    }
}

/// A generator of our own for each seed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Counts what runs at this moment, and the most that ever did.
#[derive(Default)]
struct Meter {
    running: AtomicUsize,
    most: AtomicUsize,
    ran: Mutex<Vec<u64>>,
}

impl Meter {
    async fn task(self: Arc<Self>, id: u64, kind: u64) -> Result<u64, &'static str> {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let _leave = Leave(&self.running);
        self.ran.lock().unwrap().push(id);
        match kind {
            0 => panic!("one of many"),
            1 => return Err("failed"),
            2 => yield_now().await,
            3 => {
                yield_now().await;
                yield_now().await;
            }
            _ => {}
        }
        Ok(id)
    }
}

async fn race(seed: u64) {
    const WORKERS_MAX: u64 = 4;
    let mut dice = Dice(seed);
    let pool = pool_with_queue(
        1 + dice.roll(WORKERS_MAX) as usize,
        1 + dice.roll(8) as usize,
    );
    let meter = Arc::new(Meter::default());
    let go = Arc::new(Notify::new());
    let submitters: Vec<_> = (0..3)
        .map(|submitter| {
            let (pool, meter, go) = (pool.clone(), meter.clone(), go.clone());
            let mut dice = Dice(seed ^ (submitter + 1) << 32);
            let future = async move {
                let mut tickets = Vec::new();
                let mut rejected = 0u64;
                for n in 0..60 {
                    let id = submitter * 1_000 + n;
                    let task = meter.clone().task(id, dice.roll(12));
                    let tier = Tier::new(dice.roll(3) as u8).unwrap();
                    let context = Context::new().with_tier(tier);
                    let fallible = pool.fallible();
                    let submitted: Result<Ticket<_, _>, Rejected> = match dice.roll(3) {
                        0 => context.run(|| fallible.try_submit("task", task)),
                        _ => context.wrap(fallible.submit("task", task)).await,
                    };
                    match submitted {
                        Ok(ticket) => {
                            if dice.roll(8) == 0 {
                                ticket.cancel(Cause::ClientGone);
                            }
                            tickets.push((id, ticket));
                        }
                        Err(_) => rejected += 1,
                    }
                    if n == 20 {
                        go.notify_one();
                    }
                }
                (tickets, rejected)
            };
            tokio_spawn(future)
        })
        .collect();
    go.notified().await;
    for _ in 0..dice.roll(6) {
        pool.resize(1 + dice.roll(WORKERS_MAX) as usize).unwrap();
        yield_now().await;
    }
    let ending = if dice.roll(2) == 0 {
        tokio_spawn(pool.drain())
    } else {
        tokio_spawn(pool.stop(Cause::Shutdown))
    };

    let (mut accepted, mut rejected, mut never_ran) = (0u64, 0, 0);
    for submitter in submitters {
        let (tickets, no) = submitter.await.unwrap();
        rejected += no;
        for (id, ticket) in tickets {
            accepted += 1;
            let ran = |meter: &Meter| meter.ran.lock().unwrap().contains(&id);
            match ticket.await {
                Ok(value) => assert_eq!(value, id),
                Err(TicketError::Cancelled(_)) if !ran(&meter) => never_ran += 1,
                Err(TicketError::Rejected(_)) => panic!("rejected after it was accepted"),
                Err(_) => assert!(ran(&meter)),
            }
        }
    }
    ending.await.unwrap();

    let stats = pool.stats();
    assert_eq!(stats.ended(), accepted, "seed {seed}: {stats:?}");
    assert_eq!(stats.rejected(), rejected, "seed {seed}: {stats:?}");
    assert_eq!(accepted + rejected, 180);
    let mut ran = meter.ran.lock().unwrap().clone();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), meter.ran.lock().unwrap().len(), "one ran twice");
    assert_eq!(ran.len() as u64, accepted - never_ran);
    assert!(meter.most.load(Ordering::SeqCst) <= WORKERS_MAX as usize);
    assert_eq!((stats.workers, stats.in_flight, stats.depth()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn submissions_that_race_with_resize_drain_and_stop_end_exactly_once() {
    steadfast_core::panic::install_quiet();
    for seed in 0..300 {
        let raced = clock::timeout(Duration::from_secs(60), race(seed)).await;
        raced.unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
}
