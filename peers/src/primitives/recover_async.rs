//! Recover around a future that does not panic: the price at each poll.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use crate::budget::Budget;
use crate::work::tally;
use crate::{Contender, Group, ours};

tokio::task_local! {
    /// As large as a trace id and a span id.
    static CONTEXT: [u64; 3];
}

pub(super) fn groups() -> Vec<Group> {
    vec![
        Group::new("recover_async, no panic", "poll")
            .ours(ours::recover_poll())
            .peer(polled("bare poll, nothing caught", never_ready))
            .peer(polled("futures catch_unwind", || {
                AssertUnwindSafe(never_ready()).catch_unwind()
            }))
            .budget(Budget::AtMost { ns: 3.0 }),
        Group::new("recover_async with context, no panic", "poll")
            .ours(ours::recover_poll_in_context())
            .peer(polled("futures catch_unwind in task_local scope", || {
                CONTEXT.scope([1, 2, 3], AssertUnwindSafe(never_ready()).catch_unwind())
            }))
            .budget(Budget::AtMost { ns: 8.0 }),
    ]
}

/// Measures the polls of one future, made anew for each batch.
pub(crate) fn polled<F: Future>(name: &str, wrap: impl Fn() -> F + 'static) -> Contender {
    Contender::new(name, move |polls| {
        let mut future = pin!(wrap());
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            let poll = black_box(future.as_mut()).poll(&mut context);
            black_box(poll.is_pending());
        }
        tally().take()
    })
}

/// A future that counts its polls and always wants another one.
pub(crate) fn never_ready() -> impl Future<Output = ()> + Send {
    poll_fn(|_| poll_once())
}

/// Not inlined: a body whose insides the compiler sees needs no catch at all.
#[inline(never)]
fn poll_once() -> Poll<()> {
    tally().add();
    black_box(Poll::Pending)
}
