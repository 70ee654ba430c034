//! Steadfast's contender of each primitive.

use std::hint::black_box;
use std::sync::Once;

use steadfast::context::TraceId;
use steadfast::{BoxError, Context, SyncScope, defer, recover, recover_async, scope};

use crate::Contender;
use crate::primitives::recover_async::{never_ready, polled};
use crate::primitives::{contained_panic, recover as calls, spawn as tasks};
use crate::work::{on_one_thread, on_two_workers, tally};

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

pub(crate) fn contained_panic() -> Contender {
    install_silently();
    Contender::new("steadfast recover", |panics| {
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
