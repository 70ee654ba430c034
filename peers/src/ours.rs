//! Steadfast's contender of each primitive.

use std::hint::black_box;
use std::sync::Once;
use std::time::Duration;

use steadfast::context::TraceId;
use steadfast::ids::Generator;
use steadfast::ids::snowflake::{Layout, LayoutConfig};
use steadfast::pool::{BlockingPool, Pool, PoolConfig, block_on};
use steadfast::supervise::{Backoff, Child, Intensity, Rules, Strategy, Supervisor};
use steadfast::{
    BoxError, Context, OnceInit, SyncScope, WaitGroup, defer, recover, recover_async, scope,
};

use crate::Contender;
use crate::primitives::recover_async::{never_ready, polled};
use crate::primitives::restart::Failing;
use crate::primitives::{
    contained_panic, ids as generators, pool as pools, recover as calls, spawn as tasks,
    wait_group as waiting,
};
use crate::work::{WORKERS, on_one_thread, on_two_workers, tally};

pub(crate) fn block_guard() -> Contender {
    Contender::new("steadfast defer!", |blocks| {
        for block in 0..blocks {
            let tally = tally();
            defer! { tally.add() }
            black_box(block);
        }
        tally().take()
    })
}

pub(crate) fn scope_sync<const ENTRIES: u64>() -> Contender {
    Contender::new("steadfast scope, run_sync", |scopes| {
        for _ in 0..scopes {
            let ended = scope("measured").run_sync(|s: &SyncScope<'_, (), BoxError>| {
                for entry in 0..black_box(ENTRIES) {
                    let tally = tally();
                    s.defer("tally", move || {
                        black_box(entry);
                        tally.add();
                    });
                }
                Ok(())
            });
            assert!(ended.is_ok(), "the body returns");
        }
        tally().take()
    })
}

pub(crate) fn scope_async<const ENTRIES: u64>() -> Contender {
    on_one_thread("steadfast scope, run", |scopes| async move {
        for _ in 0..scopes {
            let ended = scope("measured")
                .run(async |s| {
                    for entry in 0..black_box(ENTRIES) {
                        let tally = tally();
                        s.defer("tally", move || {
                            black_box(entry);
                            tally.add();
                        });
                    }
                    black_box(());
                    Ok(())
                })
                .await;
            assert!(ended.is_ok(), "the body returns");
        }
        tally().take()
    })
}

pub(crate) fn recover_call() -> Contender {
    Contender::new("steadfast recover", |count| {
        for call in 0..count {
            let _ = black_box(recover(|| calls::work(call)));
        }
        tally().take()
    })
}

pub(crate) fn recover_poll() -> Contender {
    polled("steadfast recover_async", || recover_async(never_ready()))
}

pub(crate) fn recover_poll_in_context() -> Contender {
    polled("steadfast recover_async in Context::wrap", || {
        let context = Context::new().with_trace_id(TraceId::random());
        context.wrap(recover_async(never_ready()))
    })
}

/// As in a storm: past the first few of a second, panics of one place carry no backtrace.
pub(crate) fn contained_panic() -> Contender {
    contained("steadfast recover", 0)
}

pub(crate) fn contained_panic_with_backtrace() -> Contender {
    contained("steadfast recover, every one sampled", u32::MAX)
}

fn contained(name: &str, samples: u32) -> Contender {
    install_silently();
    Contender::new(name, move |panics| {
        steadfast::panic::sample(samples);
        steadfast::panic::trace(samples);
        for panic in 0..panics {
            if recover(|| contained_panic::raise(panic)).is_err() {
                tally().add();
            }
        }
        tally().take()
    })
}

/// Chains a hook that says nothing: the standard one would be measured instead of ours.
fn install_silently() {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        std::panic::set_hook(Box::new(|_| {}));
        steadfast::panic::install();
    });
}

pub(crate) fn spawn_on_one_thread() -> Contender {
    on_one_thread("steadfast spawn", spawned)
}

pub(crate) fn spawn_on_two_workers() -> Contender {
    on_two_workers("steadfast spawn", spawned)
}

async fn spawned(count: u64) -> u64 {
    let mut joined = 0;
    for task in 0..count {
        let task = steadfast::spawn("measured", async move { tasks::work(task) });
        joined += u64::from(task.await.is_ok());
    }
    joined
}

pub(crate) fn pool() -> Contender {
    on_two_workers("steadfast Pool, 64 in flight", async |iterations| {
        let config = PoolConfig::new("measured", pools::IN_FLIGHT_MAX);
        let pool = Pool::new(config).expect("the size is in range");
        let mut completed = 0;
        for _ in 0..iterations {
            let mut tickets = Vec::with_capacity(pools::TASKS as usize);
            for task in 0..pools::TASKS {
                let ticket = pool.submit("task", async move { pools::work(task) }).await;
                tickets.push(ticket.expect("the pool is not stopped"));
            }
            for ticket in tickets {
                completed += u64::from(ticket.await.is_ok());
            }
        }
        completed
    })
}

pub(crate) fn blocking_pool() -> Contender {
    let config = PoolConfig::new("measured", WORKERS);
    let pool = BlockingPool::new(config).expect("the size is in range");
    Contender::new("steadfast BlockingPool", move |iterations| {
        block_on(async {
            let mut completed = 0;
            for _ in 0..iterations {
                let mut tickets = Vec::with_capacity(pools::TASKS as usize);
                for task in 0..pools::TASKS {
                    let ticket = pool.submit("task", move || pools::work(task)).await;
                    tickets.push(ticket.expect("the pool is not stopped"));
                }
                for ticket in tickets {
                    completed += u64::from(ticket.await.is_ok());
                }
            }
            completed
        })
    })
}

pub(crate) fn once_get() -> Contender {
    static CELL: OnceInit<u64> = OnceInit::new("measured");

    block_on(CELL.get_or_init(async |_| Ok::<_, BoxError>(1))).expect("it gives a value");
    Contender::new("steadfast OnceInit::get", |reads| {
        let mut sum = 0;
        for _ in 0..reads {
            sum += black_box(&CELL).get().copied().unwrap_or(0);
        }
        sum
    })
}

pub(crate) fn wait_group() -> Contender {
    on_one_thread("steadfast WaitGroup", |iterations| async move {
        let mut done = 0;
        for _ in 0..iterations {
            let group = WaitGroup::new();
            for task in 0..waiting::TASKS {
                group.spawn("task", async move { black_box(task) });
            }
            done += group.wait().await.done as u64;
        }
        done
    })
}

pub(crate) fn supervisor() -> Contender {
    on_one_thread("steadfast Supervisor, backoff 1 ns", async |restarts| {
        // As good as unlimited, and without backoff: neither can be had outright.
        let shortest = Duration::from_nanos(1);
        let intensity = Intensity::new(1, shortest).expect("the period is in range");
        let backoff = Backoff::new(shortest, shortest).expect("the waits are in range");
        let rules = Rules::new(Strategy::OneForOne, intensity).with_backoff(backoff);

        let task = Failing::new(restarts);
        let child = task.clone();
        let child = Child::transient("failing", move |_| child.clone().attempt());
        let group = Supervisor::builder("measured", rules).child(child);
        let group = group.start().await.expect("the child starts");
        task.settled.notified().await;
        assert!(group.stop().await.into_result().is_ok(), "it stops");
        task.seen()
    })
}

/// One generator for all threads; with a layout that has room for all they make, or the usual one.
pub(crate) fn id(threads: usize, wide: bool) -> Contender {
    let layout = match wide {
        false => Ok(Layout::DEFAULT),
        true => Layout::new(LayoutConfig {
            worker_bits: 0,
            sequence_bits: 22,
            ..LayoutConfig::default()
        }),
    };
    let layout = layout.expect("the bits add up");
    let ids = Generator::builder(0).layout(layout).build();
    let ids = ids.expect("the clock shows a time of the layout");
    // The first one is there a lead after the start, which is no part of what one costs.
    while ids.try_next().is_err() {
        std::thread::yield_now();
    }
    generators::on_threads("steadfast Generator", threads, ids, |ids| {
        loop {
            match ids.try_next() {
                Ok(id) => return id.get(),
                // As its peers do where a tick is used up.
                Err(_) => std::thread::yield_now(),
            }
        }
    })
}
