//! Tasks that keep their context, contain their panics, and do not die in silence.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tracing::Instrument;
use tracing::instrument::Instrumented;

use crate::cancel::{self, Cancel, Cause};
use crate::context::{AsNode, Captured, Frame, InContext, Name, Node};
use crate::panic::Panic;
use crate::report::EventDoc;
use crate::scope::{PendingGuard, What};
use crate::{RecoverAsync, recover_async, voice};

/// Starts a task in the context at hand.
///
/// Compared with `tokio::spawn`: trace id, tier, the rest of the context, and the span of `tracing`
/// go along; a panic is
/// contained, reported with place and ids when it happens whether or not anybody joins, and is
/// handed to the one who does; a task that is dropped before its end says so. Compared with
/// [`Scope::spawn`](crate::Scope::spawn): nobody waits for it and nobody cancels it but the end
/// of the runtime; prefer a child of a scope.
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use steadfast::{TaskError, spawn};
///
/// let task = spawn("refresh", async { [1, 2, 3].iter().sum::<i32>() });
/// assert_eq!(task.await.unwrap(), 6);
///
/// let lost = spawn("unlucky", async { panic!("no luck") });
/// assert!(matches!(lost.await, Err(TaskError::Panicked(_))));
/// # }
/// ```
#[track_caller]
pub fn spawn<R, F>(name: impl Into<Name>, future: F) -> Task<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let node = crate::context::with(|frame| Node::outside(name.into(), None, frame));
    start(node, None, future)
}

/// Starts a task in a scope, which waits for it and cancels it.
#[track_caller]
pub(crate) fn spawn_in<R, F>(scope: Arc<dyn AsNode>, name: Name, future: F) -> Task<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let owner = Owner {
        cancel: scope.node().token(),
        pending: PendingGuard::new(scope.clone(), What::Child),
    };
    let node = crate::context::with(|frame| Node::child(name, scope, frame));
    start(node, Some(owner), future)
}

/// Starts a future that brings its context along, contains its panics, and reports its own end.
pub(crate) fn spawn_contained<F>(future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    drop(spawn_on_runtime(future));
}

struct Owner {
    cancel: Cancel,
    pending: PendingGuard,
}

#[track_caller]
fn start<R, F>(node: Node, owner: Option<Owner>, future: F) -> Task<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let name = node.name;
    #[cfg(feature = "test-util")]
    let future = crate::testing::in_task(&node, std::panic::Location::caller(), future);
    let frame = Frame::body(Arc::new(node));
    let future = Captured::from(frame).wrap(recover_async(future.in_current_span()));
    let handle = match owner {
        None => spawn_on_runtime(Alone {
            future,
            unfinished: Unfinished(Some(name)),
        }),
        Some(Owner { cancel, pending }) => spawn_on_runtime(async move {
            let ended = until_cancelled(cancel, future).await;
            pending.finish();
            ended
        }),
    };
    Task { handle }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where tasks are started; all others come through it"
)]
fn spawn_on_runtime<R, F>(future: F) -> JoinHandle<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    tokio::spawn(future)
}

/// Starts a task of steadfast's own, which is in no scope, and whose end with its runtime is
/// nobody's loss.
pub(crate) fn spawn_service(future: impl Future<Output = ()> + Send + 'static) {
    drop(spawn_on_runtime(future));
}

type Ended<R> = Result<R, TaskError>;

async fn until_cancelled<R, F: Future<Output = R>>(
    cancel: Cancel,
    future: InContext<RecoverAsync<Instrumented<F>>>,
) -> Ended<R> {
    let mut future = std::pin::pin!(Some(future));
    let mut cancelled = std::pin::pin!(cancel.cancelled());
    let ended = std::future::poll_fn(|cx| {
        if let Poll::Ready(cause) = cancelled.as_mut().poll(cx) {
            return Poll::Ready(Err(cause));
        }
        let running = future.as_mut().as_pin_mut();
        running.expect("there until it ends").poll(cx).map(Ok)
    })
    .await;
    match ended {
        Ok(ended) => ended.map_err(TaskError::Panicked),
        Err(cause) => {
            cancel::dropping(cause.clone(), || future.set(None));
            Err(TaskError::Cancelled(cause))
        }
    }
}

pin_project! {
    /// A task on its own: written out, because it is on the path that is measured.
    struct Alone<F> {
        #[pin]
        future: InContext<RecoverAsync<Instrumented<F>>>,
        unfinished: Unfinished,
    }
}

impl<R, F: Future<Output = R>> Future for Alone<F> {
    type Output = Ended<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<R>> {
        let this = self.project();
        let ended = ready!(this.future.poll(cx));
        this.unfinished.0 = None;
        Poll::Ready(ended.map_err(TaskError::Panicked))
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::task",
    &["warn"],
    "task was dropped before its end",
    &["cause", "scope", "task", "trace_id"],
)
.when("A named task was dropped: aborted, or its runtime ended.")
.action("`cause` tells why. Where it must not happen, spawn it in a scope, or join it.")];

/// Says so when a task is dropped before its end.
struct Unfinished(Option<Name>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(name) = self.0 {
            let context = crate::context::current();
            voice::tell(|| {
                tracing::warn!(
                    target: "steadfast::task",
                    task = name.as_str(),
                    scope = %crate::context::scope_path(),
                    cause = %cancel::drop_cause(),
                    trace_id = context.trace_id().map(tracing::field::display),
                    "task was dropped before its end"
                );
            });
        }
    }
}

/// A started task; await it to join.
///
/// Dropping it lets the task go on alone; its panic is still reported.
///
/// # Panics
/// When polled again after its end.
///
/// # Cancel safety
/// Awaiting `&mut Task` may be dropped and taken up again.
#[derive(Debug)]
pub struct Task<R> {
    handle: JoinHandle<Ended<R>>,
}

impl<R> Task<R> {
    /// Drops the task's future at its next await; joining gives [`TaskError::Cancelled`] unless
    /// the task has ended before.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Tells whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<R> Future for Task<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let joined = ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(match joined {
            Ok(ended) => ended,
            Err(error) => Err(TaskError::of(error)),
        })
    }
}

/// Why a task gave no value.
#[derive(Debug, Clone)]
pub enum TaskError {
    /// It panicked.
    Panicked(Panic),
    /// It was dropped before its end: by its scope, by [`Task::abort`], or by the end of the
    /// runtime.
    Cancelled(Cause),
}

impl TaskError {
    fn of(error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            // The future contains its panics; this one came from the drop of the output.
            Ok(payload) => TaskError::Panicked(crate::panic::claim(payload)),
            Err(_) => TaskError::Cancelled(Cause::Dropped),
        }
    }

    /// Gives the panic, if it is one.
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            TaskError::Panicked(panic) => Some(panic),
            TaskError::Cancelled(_) => None,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Panicked(panic) => fmt::Display::fmt(panic, f),
            TaskError::Cancelled(cause) => write!(f, "cancelled: {cause}"),
        }
    }
}

impl Error for TaskError {}
