use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use steadfast_core::context::{self, Context, Tier, TraceId};
use steadfast_core::pool::{BlockingPool, PoolConfig, Ticket, TicketError, block_on};
use steadfast_core::{Cause, clock, report};

fn pool(threads: usize) -> BlockingPool {
    BlockingPool::new(PoolConfig::new("cpu", threads)).unwrap()
}

fn pool_with_queue(threads: usize, queue_max: usize) -> BlockingPool {
    BlockingPool::new(PoolConfig {
        queue_max,
        ..PoolConfig::new("cpu", threads)
    })
    .unwrap()
}

/// Occupies one thread until the returned sender is used or dropped.
fn occupy(pool: &BlockingPool) -> (mpsc::Sender<()>, Ticket<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    let task = move || {
        started.send(()).unwrap();
        let _ = released.recv();
    };
    let ticket = pool.try_submit("occupy", task).unwrap();
    start.recv().unwrap();
    (release, ticket)
}

#[test]
fn every_end_is_told_apart_without_any_runtime() {
    let pool = pool_with_queue(1, 1);
    let (release, occupied) = occupy(&pool);
    let queued = pool.try_submit("queued", || ()).unwrap();

    assert!(pool.try_submit("rejected", || ()).unwrap_err().is_full());
    queued.cancel(Cause::ClientGone);
    let cancelled = block_on(queued).unwrap_err();
    assert_eq!(cancelled.cause().unwrap().as_str(), "client_gone");
    drop(release);
    block_on(occupied).unwrap();
    assert_eq!(block_on(pool.run("completed", || 5)).unwrap(), 5);
    let failed = block_on(pool.fallible().run("failed", || "x".parse::<u8>()));
    assert!(failed.unwrap_err().failed().is_some());
    let panicked = block_on(pool.run("panicked", || [1, 2, 3][context::entries().len() + 3]));
    assert_eq!(
        panicked.unwrap_err().panic().unwrap().kind().as_str(),
        "index"
    );
    block_on(pool.drain());
    assert!(
        block_on(pool.run("late", || ()))
            .unwrap_err()
            .rejected()
            .unwrap()
            .is_closed()
    );

    let stats = pool.stats();
    assert_eq!((stats.completed, stats.failed), (2, 1));
    assert_eq!((stats.panicked, stats.cancelled), (1, 1));
    assert_eq!((stats.rejected_full, stats.rejected_closed), (1, 1));
    assert_eq!((stats.workers, stats.in_flight), (0, 0));
}

#[test]
fn sizes_out_of_range_are_refused() {
    for threads in [0, PoolConfig::THREADS_MAX + 1] {
        let error = BlockingPool::new(PoolConfig::new("cpu", threads)).unwrap_err();
        assert!(error.is_out_of_range());
    }
    assert!(BlockingPool::new(PoolConfig::per_core("cpu")).is_ok());
}

#[test]
fn tasks_run_on_threads_of_the_pool_in_the_context_of_their_submitter() {
    let pool = pool(1);
    let trace_id = TraceId::random();

    let ticket = Context::new().with_trace_id(trace_id).run(|| {
        context::put("order", "4711").unwrap();
        pool.try_submit("task", || {
            let name = thread::current().name().map(String::from);
            let order = context::get("order");
            (
                name,
                context::current().trace_id(),
                order,
                context::scope_path().to_string(),
            )
        })
    });

    let (name, trace, order, path) = block_on(ticket.unwrap()).unwrap();
    assert_eq!(name.as_deref(), Some("cpu-0"));
    assert_eq!(trace, Some(trace_id));
    assert_eq!(order.as_deref(), Some("4711"));
    assert_eq!(path, "cpu > task");
    let clean = block_on(pool.run("next", || context::get("order"))).unwrap();
    assert_eq!(clean, None, "nothing of one task is left for the next");
}

#[test]
fn all_threads_work_at_the_same_time_and_no_more_than_those() {
    let pool = pool(4);
    let meet = Arc::new(Barrier::new(4));
    let running = Arc::new(AtomicUsize::new(0));

    let tickets: Vec<_> = (0..40)
        .map(|_| {
            let (meet, running) = (meet.clone(), running.clone());
            let task = move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                meet.wait();
                running.fetch_sub(1, Ordering::SeqCst);
                now
            };
            pool.try_submit("task", task).unwrap()
        })
        .collect();

    for ticket in tickets {
        assert!(block_on(ticket).unwrap() <= 4);
    }
}

#[test]
fn a_task_that_never_returns_shows_in_the_statistics_and_others_go_on() {
    let pool = pool(2);
    let (_release, _stuck) = occupy(&pool);

    assert_eq!(block_on(pool.run("other", || 1)).unwrap(), 1);

    let stats = pool.stats();
    assert_eq!(stats.in_flight, 1);
    assert_eq!(stats.longest.unwrap().name.as_str(), "occupy");
    let age = stats.longest.unwrap().age;
    while pool.stats().longest.unwrap().age <= age {
        thread::yield_now();
    }
    pool.resize(3).unwrap();
    assert_eq!(pool.stats().workers, 3);
}

#[test]
fn a_queued_task_is_cancelled_for_good_and_a_running_one_is_asked_to_stop() {
    let pool = pool(1);
    let (started, start) = mpsc::channel();
    let running = pool.try_submit("running", move || {
        let cancel = context::cancel();
        started.send(()).unwrap();
        while !cancel.is_cancelled() {
            thread::yield_now();
        }
        cancel.cause().unwrap().as_str()
    });
    let running = running.unwrap();
    start.recv().unwrap();
    let queued = pool
        .try_submit("queued", || panic!("must not run"))
        .unwrap();

    let stopped = pool.stop(Cause::Shutdown);
    block_on(stopped);

    let ended: Result<(), _> = block_on(queued);
    assert!(matches!(
        ended,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
    assert_eq!(
        block_on(running).unwrap(),
        "shutdown",
        "what it returns is told"
    );
    assert_eq!((pool.stats().completed, pool.stats().cancelled), (1, 1));
}

#[test]
fn one_ticket_stops_its_own_task_alone() {
    let pool = pool(2);
    let (_release, other) = occupy(&pool);
    let (started, start) = mpsc::channel();
    let ticket = pool.try_submit("loop", move || {
        started.send(()).unwrap();
        while !context::cancel().is_cancelled() {
            thread::yield_now();
        }
    });
    let ticket = ticket.unwrap();
    start.recv().unwrap();

    ticket.cancel(Cause::ClientGone);

    block_on(ticket).unwrap();
    assert!(!other.is_finished());
}

#[test]
fn a_task_whose_deadline_has_passed_never_starts() {
    let pool = pool(1);
    let (release, _occupied) = occupy(&pool);
    let past = Context::new().with_deadline(clock::now());

    let ticket = past.run(|| pool.try_submit("late", || panic!("must not run")));
    drop(release);

    let ended: Result<(), _> = block_on(ticket.unwrap());
    assert!(matches!(
        ended,
        Err(TicketError::Cancelled(Cause::Deadline))
    ));
}

#[test]
fn threads_leave_and_come_as_the_pool_is_resized() {
    let pool = pool(3);
    let (release, occupied) = occupy(&pool);
    let (release_2, occupied_2) = occupy(&pool);

    pool.resize(1).unwrap();
    let waits = pool.try_submit("waits", || 1).unwrap();
    drop(release);
    block_on(occupied).unwrap();
    assert!(
        !waits.is_finished(),
        "one is still running, and only one may"
    );
    drop(release_2);
    block_on(occupied_2).unwrap();
    assert_eq!(block_on(waits).unwrap(), 1);
    assert_eq!(pool.stats().workers, 1);
    pool.resize(4).unwrap();
    assert_eq!(pool.stats().workers, 4);

    let meet = Arc::new(Barrier::new(4));
    let tickets: Vec<_> = (0..4)
        .map(|_| {
            let meet = meet.clone();
            pool.try_submit("meet", move || meet.wait().is_leader())
                .unwrap()
        })
        .collect();
    let leaders = tickets.into_iter().filter_map(|t| block_on(t).ok());
    assert_eq!(leaders.filter(|leader| *leader).count(), 1);
}

#[test]
fn dropping_the_last_handle_lets_the_rest_run_and_the_threads_leave() {
    let pool = BlockingPool::new(PoolConfig::new("dropped cpu", 2)).unwrap();
    let (release, occupied) = occupy(&pool);
    let queued = pool.try_submit("queued", || 5).unwrap();
    let is_reported = || {
        let mut sources = report::snapshot().sources.into_iter();
        sources.any(|source| source.name.as_str() == "dropped cpu")
    };
    assert!(is_reported());

    drop(pool);
    drop(release);

    block_on(occupied).unwrap();
    assert_eq!(block_on(queued).unwrap(), 5);
    let start = clock::now();
    while is_reported() {
        assert!(
            clock::now() - start < Duration::from_secs(20),
            "threads stay"
        );
        thread::yield_now();
    }
}

/// Counts up, and lets a thread wait for a number.
#[derive(Default)]
struct Started(Mutex<u32>, Condvar);

impl Started {
    fn one_more(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    fn wait_for(&self, count: u32) {
        let guard = self.0.lock().unwrap();
        drop(self.1.wait_while(guard, |n| *n < count).unwrap());
    }
}

fn race(seed: u64) {
    let pool = pool_with_queue(1 + (seed % 3) as usize, 1 + (seed % 5) as usize);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::new(Started::default());

    let submitters: Vec<_> = (0..3u64)
        .map(|submitter| {
            let (pool, ran, progress) = (pool.clone(), ran.clone(), progress.clone());
            thread::spawn(move || {
                let mut accepted = Vec::new();
                let mut rejected = 0;
                for n in 0..40 {
                    let id = submitter * 100 + n;
                    let ran = ran.clone();
                    let task = move || {
                        ran.lock().unwrap().push(id);
                        assert!(id % 7 != 0, "one of many");
                        id
                    };
                    let tier = Tier::new((id % 3) as u8).unwrap();
                    let submitted = Context::new().with_tier(tier).run(|| match n % 3 {
                        0 => pool.try_submit("task", task),
                        _ => block_on(pool.submit("task", task)),
                    });
                    match submitted {
                        Ok(ticket) => accepted.push((id, ticket)),
                        Err(_) => rejected += 1,
                    }
                    progress.one_more();
                }
                (accepted, rejected)
            })
        })
        .collect();
    progress.wait_for((seed % 90) as u32);
    pool.resize(1 + (seed % 4) as usize).unwrap();
    if seed.is_multiple_of(2) {
        block_on(pool.drain());
    } else {
        block_on(pool.stop(Cause::Shutdown));
    }

    let (mut accepted, mut rejected, mut never_ran) = (0, 0, 0);
    for submitter in submitters {
        let (tickets, no) = submitter.join().unwrap();
        rejected += no;
        for (id, ticket) in tickets {
            accepted += 1;
            match block_on(ticket) {
                Ok(value) => assert_eq!(value, id),
                Err(TicketError::Panicked(_)) => assert_eq!(id % 7, 0),
                Err(TicketError::Cancelled(_)) => never_ran += 1,
                Err(TicketError::Rejected(_)) => panic!("rejected after it was accepted"),
            }
        }
    }
    let stats = pool.stats();
    assert_eq!(accepted + rejected, 120);
    assert_eq!(stats.ended(), accepted, "seed {seed}: {stats:?}");
    assert_eq!(stats.rejected(), rejected, "seed {seed}: {stats:?}");
    let mut ran = ran.lock().unwrap().clone();
    assert_eq!(ran.len() as u64, accepted - never_ran);
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len() as u64, accepted - never_ran, "one ran twice");
    assert_eq!((stats.workers, stats.in_flight, stats.depth()), (0, 0, 0));
}

#[test]
fn submissions_that_race_with_resize_drain_and_stop_end_exactly_once() {
    steadfast_core::panic::install_quiet();
    for seed in 0..150 {
        race(seed);
    }
}

#[tokio::test(start_paused = true)]
async fn async_code_waits_for_room_without_blocking() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool);
    let _queued = pool.try_submit("queued", || ()).unwrap();

    let soon = clock::now() + Duration::from_secs(1);
    let late = pool.submit_until(soon, "late", || ()).await;
    assert!(late.unwrap_err().is_late());
    let waiting = pool.submit("waits", || 3);
    drop(release);

    assert_eq!(waiting.await.unwrap().await.unwrap(), 3);
}
