//! Cancellation as a tree of tokens that carry a *cause*.
//!
//! A cancelled piece of work should be able to say why: the client left, the time was up, the
//! lease was lost, the process is going down. A bare flag cannot; so every [`Cancel`] keeps the
//! first [`Cause`] it was given, hands it to all its descendants, and never changes it again.
//!
//! Compared with `tokio_util`'s `CancellationToken`, on which it stands: a cause, a deadline, and
//! [`Cancel::detached`] for the work that must go on after the rest was told to stop.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Instant};
use crate::context::Name;

/// Says why work was told to stop.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Cause {
    /// The work had this long and was not done.
    Timeout(Duration),
    /// A point in time, set by somebody further out, was reached.
    Deadline,
    /// Nobody waits for the answer any more.
    ClientGone,
    /// Rejected on purpose, to keep more important work going.
    Shed,
    /// The process is going down.
    Shutdown,
    /// Another node owns this work now.
    LeaseLost,
    /// The scope that owned the work has ended.
    ScopeEnded,
    /// The future was dropped at an await, by somebody who did not say why.
    Dropped,
    /// Code asked for it, under this name.
    Requested(Name),
    /// Any other reason, with its error.
    Other(Arc<dyn Error + Send + Sync>),
}

impl Cause {
    /// Tells whether the time was up, by a timeout or a deadline.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Cause::Timeout(_) | Cause::Deadline)
    }

    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Cause::Timeout(_) => "timeout",
            Cause::Deadline => "deadline",
            Cause::ClientGone => "client_gone",
            Cause::Shed => "shed",
            Cause::Shutdown => "shutdown",
            Cause::LeaseLost => "lease_lost",
            Cause::ScopeEnded => "scope_ended",
            Cause::Dropped => "dropped",
            Cause::Requested(_) => "requested",
            Cause::Other(_) => "other",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Timeout(after) => write!(f, "timed out after {after:?}"),
            Cause::Deadline => f.write_str("deadline reached"),
            Cause::ClientGone => f.write_str("client gone"),
            Cause::Shed => f.write_str("shed under load"),
            Cause::Shutdown => f.write_str("shutting down"),
            Cause::LeaseLost => f.write_str("lease lost to another node"),
            Cause::ScopeEnded => f.write_str("the owning scope has ended"),
            Cause::Dropped => f.write_str("future dropped"),
            Cause::Requested(by) => write!(f, "requested: {by}"),
            Cause::Other(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Cause::Other(error) => error.source(),
            _ => None,
        }
    }
}

/// A token that work watches to learn that it should stop, and why.
///
/// Clones are the same token. [`child`](Self::child) makes one that is cancelled with this one,
/// but not the other way round. The first cause wins and never changes.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::{Cancel, Cause};
///
/// let all = Cancel::new();
/// let one = all.child();
/// assert!(all.cancel(Cause::Shutdown));
///
/// assert!(one.is_cancelled());
/// assert_eq!(one.cause().unwrap().as_str(), "shutdown");
/// assert!(!one.cancel(Cause::ClientGone), "the first cause wins");
/// ```
#[derive(Clone)]
pub struct Cancel {
    node: Arc<Node>,
}

/// Invariants:
/// 1. `cause` is written before `token` is cancelled, so whoever sees a cancelled token finds a
///    cause on the way to the root.
/// 2. `cause` is written once; a reader that finds the cause in an ancestor writes it here first,
///    so that two reads can never differ.
struct Node {
    token: CancellationToken,
    cause: OnceLock<Cause>,
    deadline: Option<Instant>,
    parent: Option<Arc<Node>>,
}

impl Cancel {
    /// Makes a root token: only its own [`cancel`](Self::cancel) cancels it.
    pub fn new() -> Self {
        Self::from_node(CancellationToken::new(), None, None)
    }

    /// Makes a token that is cancelled with this one, or by its own.
    pub fn child(&self) -> Self {
        Self::from_node(
            self.node.token.child_token(),
            self.node.deadline,
            Some(self.node.clone()),
        )
    }

    /// Makes a child that is also cancelled, with [`Cause::Deadline`], when `deadline` comes.
    /// A deadline can only shorten: the earlier one of parent and child holds.
    pub fn child_until(&self, deadline: Instant) -> Self {
        let earliest = self.node.deadline.map_or(deadline, |own| own.min(deadline));
        Self::from_node(
            self.node.token.child_token(),
            Some(earliest),
            Some(self.node.clone()),
        )
    }

    /// Makes a token of its own for work that must go on although this one is cancelled, such as
    /// undoing what was done.
    pub fn detached(&self) -> Self {
        Self::new()
    }

    fn from_node(
        token: CancellationToken,
        deadline: Option<Instant>,
        parent: Option<Arc<Node>>,
    ) -> Self {
        let cause = OnceLock::new();
        Self {
            node: Arc::new(Node {
                token,
                cause,
                deadline,
                parent,
            }),
        }
    }

    /// Cancels this token and its descendants; tells whether `cause` was the first one.
    pub fn cancel(&self, cause: Cause) -> bool {
        if self.is_cancelled() {
            return false;
        }
        let first = self.node.cause.set(cause).is_ok();
        self.node.token.cancel();
        first
    }

    /// Tells whether this token was cancelled or its deadline has come.
    pub fn is_cancelled(&self) -> bool {
        if self.node.token.is_cancelled() {
            return true;
        }
        let late = self.node.deadline.is_some_and(|at| clock::now() >= at);
        if late {
            self.expire();
        }
        late
    }

    fn expire(&self) {
        // Whoever set another cause meanwhile was first.
        let _ = self.node.cause.set(Cause::Deadline);
        self.node.token.cancel();
    }

    /// Gives the cause, once cancelled.
    pub fn cause(&self) -> Option<Cause> {
        self.is_cancelled().then(|| self.node.cause().clone())
    }

    /// Gives the point in time at which this token cancels itself.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline
    }

    /// Waits until this token is cancelled, and gives the cause.
    ///
    /// # Panics
    /// With a deadline, when polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn cancelled(&self) -> Cause {
        match self.node.deadline {
            None => self.node.token.cancelled().await,
            Some(deadline) => {
                tokio::select! {
                    // A cause that was given goes before the clock when both come at once.
                    biased;
                    () = self.node.token.cancelled() => {}
                    () = clock::sleep_until(deadline) => self.expire(),
                }
            }
        }
        self.node.cause().clone()
    }

    /// Runs a future until it is done or this token is cancelled, whichever is first.
    ///
    /// # Errors
    /// The cause; the future is dropped then, and scopes inside it see that cause.
    ///
    /// # Panics
    /// With a deadline, when polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// As the future's own.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use steadfast::{Cancel, Cause};
    ///
    /// let cancel = Cancel::new();
    /// cancel.cancel(Cause::ClientGone);
    /// let outcome = cancel.run(std::future::pending::<()>()).await;
    /// assert!(matches!(outcome, Err(Cause::ClientGone)));
    /// # }
    /// ```
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Cause> {
        // In a box of its own, so that it is dropped at a place of our choosing.
        let mut future = Box::pin(future);
        let cause = tokio::select! {
            biased;
            output = &mut future => return Ok(output),
            cause = self.cancelled() => cause,
        };
        dropping(cause.clone(), || drop(future));
        Err(cause)
    }
}

impl Node {
    fn cause(&self) -> &Cause {
        // Up, then down again: a chain may be longer than the stack is deep.
        let mut below = Vec::new();
        let mut node = self;
        let cause = loop {
            if let Some(cause) = node.cause.get() {
                break cause;
            }
            below.push(node);
            let parent = node.parent.as_deref();
            node = parent.expect("a cancelled root has a cause: invariant 1");
        };
        below.into_iter().rev().fold(cause, |cause, node| {
            node.cause.get_or_init(|| cause.clone())
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("cause", &self.cause())
            .field("deadline", &self.node.deadline)
            .finish_non_exhaustive()
    }
}

/// Wraps a future so that scopes inside of it report `cause` if it is dropped before its end.
///
/// For the outermost layer of a server: it does not drop the request's future itself, but knows
/// that whoever does means that the client has left.
///
/// # Cancel safety
/// As the future's own.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use steadfast::{Cause, cancel};
///
/// let request = cancel::if_dropped(Cause::ClientGone, async { "answer" });
/// assert_eq!(request.await, "answer");
/// # }
/// ```
pub fn if_dropped<F: Future>(cause: Cause, future: F) -> IfDropped<F> {
    IfDropped {
        future: Some(future),
        cause,
    }
}

pin_project! {
    /// The future of [`if_dropped`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct IfDropped<F> {
        #[pin]
        future: Option<F>,
        cause: Cause,
    }

    impl<F> PinnedDrop for IfDropped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                dropping(this.cause.clone(), || this.future.set(None));
            }
        }
    }
}

impl<F: Future> Future for IfDropped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.project().future;
        let running = future.as_mut().as_pin_mut();
        let output = ready!(running.expect("not polled after its end").poll(cx));
        future.set(None);
        Poll::Ready(output)
    }
}

thread_local! {
    static DROP_CAUSE: RefCell<Option<Cause>> = const { RefCell::new(None) };
}

/// Tells scopes why they are being dropped: for layers that drop a future on purpose.
///
/// A future cannot see why it is dropped. Whoever drops it, because the client left or the time
/// was up, wraps the drop in this call; scopes that end by it report `cause` instead of
/// [`Cause::Dropped`].
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::{Cause, cancel};
///
/// let request = async { /* … */ };
/// cancel::dropping(Cause::ClientGone, || drop(request));
/// ```
pub fn dropping<R>(cause: Cause, drop_it: impl FnOnce() -> R) -> R {
    /// Puts the outer cause back, also when the drop panics.
    struct Restore(Option<Cause>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let outer = self.0.take();
            let _ = DROP_CAUSE.try_with(|cell| *cell.borrow_mut() = outer);
        }
    }

    // Fails while the thread is torn down: then the cause is lost, and the drop happens all the
    // same.
    let outer = DROP_CAUSE.try_with(|cell| cell.borrow_mut().replace(cause));
    let _restore = Restore(outer.ok().flatten());
    drop_it()
}

/// Gives the cause that [`dropping`] tells for the drop that is going on in this thread, for
/// destructors that say why they run; `None` when nobody has told one.
///
/// # Examples
/// ```
/// use steadfast_core::{Cause, cancel};
///
/// struct Request;
/// impl Drop for Request {
///     fn drop(&mut self) {
///         let cause = cancel::told_cause().unwrap_or(Cause::ClientGone);
///         assert_eq!(cause.as_str(), "shutdown");
///     }
/// }
///
/// cancel::dropping(Cause::Shutdown, || drop(Request));
/// ```
pub fn told_cause() -> Option<Cause> {
    let told = DROP_CAUSE.try_with(|cell| cell.borrow().clone());
    told.ok().flatten()
}

/// Gives the cause of the drop that is going on in this thread.
pub(crate) fn drop_cause() -> Cause {
    told_cause().unwrap_or(Cause::Dropped)
}
