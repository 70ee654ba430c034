#![allow(
    unsafe_code,
    reason = "polls a future in place behind a mutex; see `Job::future`"
)]

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tracing::Instrument;
use tracing::instrument::Instrumented;

use super::crew::Card;
use super::ticket::TicketError;
use crate::cancel::{self, Cause};
use crate::clock::{self, Instant};
use crate::context::{self, AsNode, Frame, Name, Node, Tier};
use crate::panic::{Panic, drop_contained};
use crate::scope::Verdict;
use crate::{RecoverAsync, recover, recover_async};

/// A task of a pool: context, future and outcome in one allocation, which worker and ticket share.
///
/// The right to call [`run`](Runnable::run) and [`cancel`](Runnable::cancel) goes with the
/// reference that is in the queue: whoever takes it out has the right, alone. A ticket uses
/// [`tell`](Runnable::tell) and [`Ending`].
// The end comes first, beside the counts of the `Arc`: it is what both sides write.
#[repr(C)]
pub(super) struct Job<F, T, E> {
    /// Locked by both sides, never while user code runs.
    end: Mutex<End<T, E>>,
    card: Card,
    deadline: Option<Instant>,
    tier: Tier,
    node: Node,
    /// Locked by whoever has the right to run it, while user code runs.
    body: Mutex<Body<F>>,
}

/// Invariant: `future` is pinned. It is only replaced in place, by [`Job::future`].
struct Body<F> {
    polled: bool,
    future: Option<RecoverAsync<Instrumented<F>>>,
    frame: Frame,
}

#[repr(C)]
struct End<T, E> {
    result: Option<Ended<T, E>>,
    /// Whoever awaits the ticket.
    ticket: Option<Waker>,
    /// The ticket is gone.
    detached: bool,
    /// Why it was told to stop.
    cause: Option<Cause>,
    /// The worker that waits for the future.
    worker: Option<Waker>,
}

type Ended<T, E> = Result<T, TicketError<E>>;

/// A job as queue and workers see it.
pub(super) trait Runnable: AsNode {
    fn card(&self) -> Card;

    /// Polls it. At its end calls `record` with the verdict, and only then releases the ticket.
    /// `me` is this job.
    fn run(
        &self,
        me: Arc<dyn AsNode>,
        cx: &mut Context<'_>,
        record: &mut dyn FnMut(Verdict),
    ) -> Poll<()>;

    /// Ends it unfinished; as [`run`](Self::run), calls `record` before it releases the ticket.
    fn cancel(&self, me: Arc<dyn AsNode>, cause: Cause, record: &mut dyn FnMut());

    /// Tells it to stop at its next await.
    fn tell(&self, cause: Cause);

    /// Gives the point in time at which it is cancelled.
    fn deadline(&self) -> Option<Instant>;
}

/// A job as its ticket sees it.
pub(super) trait Ending<T, E>: Runnable {
    fn name(&self) -> Name;

    fn has_ended(&self) -> bool;

    /// Takes the outcome, or has the task woken when it is there.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ended<T, E>>;

    /// Nobody will ask any more.
    fn detach(&self);
}

impl<F, T, E> Job<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    /// Makes a job in the context at hand.
    pub(super) fn new(pool: Arc<dyn AsNode>, name: Name, future: F) -> Arc<Self> {
        // A task of a pool outlives the scopes around its submitter, so it is not inside of them.
        let node = context::with(|frame| Node::outside(name, Some(pool), frame));
        Arc::new(Self {
            end: Mutex::new(End {
                result: None,
                ticket: None,
                detached: false,
                cause: None,
                worker: None,
            }),
            card: Card {
                name,
                trace_id: node.block.trace_id(),
            },
            deadline: node.block.deadline(),
            tier: node.block.tier(),
            node,
            body: Mutex::new(Body {
                polled: false,
                future: Some(recover_async(future.in_current_span())),
                frame: Frame::EMPTY,
            }),
        })
    }
}

impl<F, T, E> Job<F, T, E> {
    pub(super) fn tier(&self) -> Tier {
        self.tier
    }

    fn body(&self) -> MutexGuard<'_, Body<F>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> MutexGuard<'_, End<T, E>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the future, pinned.
    fn future(
        future: &mut Option<RecoverAsync<Instrumented<F>>>,
    ) -> Pin<&mut Option<RecoverAsync<Instrumented<F>>>> {
        // SAFETY: the only argument this is called with is `Body::future`. A body lives in a
        // mutex in a `Job`, `Job::new` puts every job into an `Arc`, and nothing takes a job out
        // of its `Arc` or a body out of its mutex; so the future stays where it is until it is
        // dropped, and no other code of this module touches the field.
        unsafe { Pin::new_unchecked(future) }
    }

    /// Drops what is left of the future, in its context.
    fn drop_future(body: &mut Body<F>, cause: Cause) {
        let _entered = body.frame.enter();
        // Contains the panics of the drop; the hook has reported them.
        cancel::dropping(cause, || Self::future(&mut body.future).set(None));
    }

    /// Gives the cause, if it was told to stop or its time is over.
    fn stopped(&self, polled: bool) -> Option<Cause> {
        // Before the first poll nobody can have told it but in this moment: too late is fine.
        if polled && let Some(cause) = self.end().cause.clone() {
            return Some(cause);
        }
        let late = self.deadline.is_some_and(|at| clock::now() >= at);
        late.then(|| {
            self.node.stop(Cause::Deadline);
            Cause::Deadline
        })
    }

    /// Has the worker woken when the job is told to stop; tells whether it was already.
    fn watch(&self, worker: &Waker) -> bool {
        let mut end = self.end();
        if end.cause.is_none() && !end.worker.as_ref().is_some_and(|w| w.will_wake(worker)) {
            end.worker = Some(worker.clone());
        }
        end.cause.is_some()
    }

    /// Releases the ticket.
    fn deliver(&self, frame: &mut Frame, ended: Ended<T, E>) {
        let mut end = self.end();
        if end.detached {
            drop(end);
            let _entered = frame.enter();
            drop_contained(ended);
            return;
        }
        end.result = Some(ended);
        let ticket = end.ticket.take();
        drop(end);
        if let Some(ticket) = ticket {
            wake(ticket);
        }
    }
}

impl<F, T, E> AsNode for Job<F, T, E>
where
    F: Send,
    T: Send,
    E: Send,
{
    fn node(&self) -> &Node {
        &self.node
    }
}

impl<F, T, E> Runnable for Job<F, T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: Send,
{
    fn card(&self) -> Card {
        self.card
    }

    fn run(
        &self,
        me: Arc<dyn AsNode>,
        cx: &mut Context<'_>,
        record: &mut dyn FnMut(Verdict),
    ) -> Poll<()> {
        let mut body = self.body();
        body.enter(me);
        let ended = loop {
            if let Some(cause) = self.stopped(body.polled) {
                Self::drop_future(&mut body, cause.clone());
                break Err(TicketError::Cancelled(cause));
            }
            body.polled = true;
            match body.poll(cx) {
                Poll::Ready(Ok(Ok(value))) => break Ok(value),
                Poll::Ready(Ok(Err(error))) => break Err(TicketError::Failed(error)),
                Poll::Ready(Err(panic)) => break Err(TicketError::Panicked(panic)),
                Poll::Pending if self.watch(cx.waker()) => {}
                Poll::Pending => return Poll::Pending,
            }
        };
        record(verdict(&ended));
        self.deliver(&mut body.frame, ended);
        body.frame = Frame::EMPTY;
        Poll::Ready(())
    }

    fn cancel(&self, me: Arc<dyn AsNode>, cause: Cause, record: &mut dyn FnMut()) {
        let mut body = self.body();
        // Whoever told it to stop before was first.
        let cause = self.end().cause.get_or_insert(cause).clone();
        self.node.stop(cause.clone());
        body.enter(me);
        Self::drop_future(&mut body, cause.clone());
        record();
        self.deliver(&mut body.frame, Err(TicketError::Cancelled(cause)));
        body.frame = Frame::EMPTY;
    }

    fn tell(&self, cause: Cause) {
        let mut end = self.end();
        if end.result.is_some() || end.cause.is_some() {
            return;
        }
        end.cause = Some(cause.clone());
        let worker = end.worker.take();
        drop(end);
        self.node.stop(cause);
        if let Some(worker) = worker {
            wake(worker);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<F> Body<F> {
    /// Gives a job, which is `me`, its context. From here on the job holds itself, until it ends;
    /// and every job does.
    fn enter(&mut self, me: Arc<dyn AsNode>) {
        if self.frame.node.is_none() {
            self.frame = Frame::body(me);
        }
    }
}

impl<F: Future> Body<F> {
    /// Polls the future in its context; it is dropped when it is ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, Panic>> {
        let _entered = self.frame.enter();
        let future = Job::<F, (), ()>::future(&mut self.future).as_pin_mut();
        future.expect("polled until it ends").poll(cx)
    }
}

impl<F, T, E> Ending<T, E> for Job<F, T, E>
where
    F: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: Send,
{
    fn name(&self) -> Name {
        self.card.name
    }

    fn has_ended(&self) -> bool {
        self.end().result.is_some()
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ended<T, E>> {
        let mut end = self.end();
        if let Some(ended) = end.result.take() {
            return Poll::Ready(ended);
        }
        let known = end.ticket.as_ref();
        if known.is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        drop(end);
        // The waker is code of others, and not called under the lock.
        let waker = cx.waker().clone();
        let mut end = self.end();
        match end.result.take() {
            Some(ended) => Poll::Ready(ended),
            None => {
                let old = end.ticket.replace(waker);
                drop(end);
                drop(old);
                Poll::Pending
            }
        }
    }

    fn detach(&self) {
        let mut end = self.end();
        end.detached = true;
        let (ended, waker) = (end.result.take(), end.ticket.take());
        drop(end);
        drop_contained((ended, waker));
    }
}

/// Wakes whoever it is; a panic of a foreign waker must not end a worker.
pub(super) fn wake(waker: Waker) {
    let _ = recover(|| waker.wake());
}

fn verdict<T, E>(ended: &Ended<T, E>) -> Verdict {
    match ended {
        Ok(_) => Verdict::Ok,
        Err(TicketError::Failed(_)) => Verdict::Err,
        Err(TicketError::Panicked(_)) => Verdict::Panicked,
        Err(TicketError::Cancelled(_) | TicketError::Rejected(_)) => Verdict::Cancelled,
    }
}
