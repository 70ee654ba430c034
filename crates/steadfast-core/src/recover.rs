//! Turns a panic into a value, and covers the drop of what panicked as well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::panic::{self, Catching, Panic};

/// Calls `f`; a panic in it becomes an error.
///
/// Compared with [`std::panic::catch_unwind`]: the error knows place, message, backtrace, scopes
/// and trace id; the panic is reported though it is caught; a payload whose `Drop` panics does no
/// harm. `f` need not be `UnwindSafe`: state that `f` left half-changed is the caller's to judge.
///
/// Costs about two nanoseconds when nothing panics.
///
/// # Errors
/// The [`Panic`]. See [`panic`](mod@crate::panic) for what cannot be contained.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::{panic::{Check, Kind}, recover};
///
/// let numbers = [1, 2, 3];
/// let index = numbers.len();
/// let panic = recover(|| numbers[index]).unwrap_err();
/// assert_eq!(panic.kind(), Kind::RuntimeCheck(Check::Index));
/// ```
#[inline]
pub fn recover<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    let _catching = Catching::start();
    catch_unwind(AssertUnwindSafe(f)).map_err(panic::claim)
}

/// Wraps a future; a panic at any poll, or in the drop of the future after it, becomes an error.
///
/// When the wrapper itself is dropped before the end, a panic in the drop of the future is
/// contained and reported.
///
/// # Errors
/// The future's output is the [`Panic`] then.
///
/// # Panics
/// When polled again after its end.
///
/// # Cancel safety
/// As the future's own.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use steadfast::recover_async;
///
/// let outcome = recover_async(async { panic!("lost the thread") }).await;
/// assert_eq!(outcome.unwrap_err().message(), "lost the thread");
/// # }
/// ```
pub fn recover_async<F: Future>(future: F) -> RecoverAsync<F> {
    RecoverAsync {
        future: Some(future),
    }
}

pin_project! {
    /// The future of [`recover_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RecoverAsync<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for RecoverAsync<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            if future.is_some() {
                // The hook has counted and reported it; there is nobody to hand it to.
                let _ = recover(|| future.set(None));
            }
        }
    }
}

impl<F: Future> Future for RecoverAsync<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let running = future.as_mut().as_pin_mut();
        let running = running.expect("not polled after its end");
        let polled = recover(|| running.poll(cx));
        let mut outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        if let Err(mut panic) = recover(|| future.set(None)) {
            match outcome {
                Ok(output) => panic::drop_contained(output),
                Err(older) => panic.supersede(older),
            }
            outcome = Err(panic);
        }
        Poll::Ready(outcome)
    }
}
