use std::sync::Arc;
use std::task::{Context, Poll};

use super::inbox::Posted;
use super::job::Job;
use super::line::Refused;
use super::shared::{Shared, Task};
use super::ticket::{Reason, Rejected, Ticket};
use crate::clock::{self, Instant};
use crate::context::{Name, Tier};

/// A task that is about to be submitted.
pub(super) struct Submission<F, T, E> {
    shared: Arc<Shared>,
    job: Arc<Job<F, T, E>>,
}

impl<F, T, E> Submission<F, T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    /// Makes a job of a future, in the context at hand.
    pub(super) fn new(shared: &Arc<Shared>, name: Name, future: F) -> Self {
        Self {
            shared: shared.clone(),
            job: Job::new(shared.clone(), name, future),
        }
    }

    /// Queues it, or rejects it.
    pub(super) fn now(self) -> Result<Ticket<T, E>, Rejected> {
        let tier = self.job.tier();
        match enter(&self.shared, tier, self.job.clone()) {
            Ok(number) => Ok(self.ticket(number)),
            Err(Refused::Full(_)) => {
                let queue_max = self.shared.queue_max;
                Err(self.rejected(Reason::Full { tier, queue_max }))
            }
            Err(Refused::Closed(_)) => Err(self.rejected(Reason::Closed)),
        }
    }

    /// Queues it as soon as there is room, if that is before the deadline.
    pub(super) async fn wait(self, deadline: Option<Instant>) -> Result<Ticket<T, E>, Rejected> {
        let tier = self.job.tier();
        // Most find room, and need none of what waiting takes.
        let task = match enter(&self.shared, tier, self.job.clone()) {
            Ok(number) => return Ok(self.ticket(number)),
            Err(Refused::Closed(_)) => return Err(self.rejected(Reason::Closed)),
            Err(Refused::Full(task)) => task,
        };
        let mut waiting = Waiting {
            shared: &self.shared,
            tier,
            task: Some(task),
            place: None,
        };
        let entered = std::future::poll_fn(|cx| waiting.poll(cx));
        let entered = match deadline {
            None => entered.await,
            Some(deadline) => {
                tokio::select! {
                    biased;
                    entered = entered => entered,
                    () = clock::sleep_until(deadline) => Err(Reason::Late { tier }),
                }
            }
        };
        drop(waiting);
        match entered {
            Ok(number) => Ok(self.ticket(number)),
            Err(reason) => Err(self.rejected(reason)),
        }
    }

    fn ticket(self, number: u64) -> Ticket<T, E> {
        let tier = self.job.tier();
        Ticket::new(self.job, self.shared, tier, number)
    }

    fn rejected(self, reason: Reason) -> Rejected {
        self.shared.line().rejected(reason);
        Rejected::new(self.shared.name, reason)
    }
}

/// Puts a task into the queue if there is room.
fn enter(shared: &Shared, tier: Tier, task: Task) -> Entered {
    let now = clock::nanos();
    match shared.post(tier, now, task) {
        Posted::Accepted(number) => Ok(number),
        Posted::Closed(task) => Err(Refused::Closed(task)),
        Posted::Ask(task) => {
            shared.change(|line, inbox, wakes| line.enter(inbox, tier, now, task, wakes))
        }
    }
}

type Entered = Result<u64, Refused<Task>>;

/// A submitter that waits for room; its drop gives up the place.
struct Waiting<'a> {
    shared: &'a Shared,
    tier: Tier,
    /// There until it entered.
    task: Option<Task>,
    /// Its number at the door.
    place: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, Reason>> {
        let entered = match self.place {
            None => self.queue_up(cx),
            Some(place) => self.come_back(place, cx),
        };
        entered.map_err(|_| Reason::Closed)
    }

    /// Enters, or gets a place at the door.
    fn queue_up(&mut self, cx: &mut Context<'_>) -> Poll<Entered> {
        let now = clock::nanos();
        // Code of others: cloned before the lock, and dropped after it if it is not needed.
        let mut waker = Some(cx.waker().clone());
        self.shared.change(|line, inbox, wakes| {
            // Again, for room that came between the two looks.
            match line.enter(inbox, self.tier, now, self.take(), wakes) {
                Err(Refused::Full(task)) => {
                    self.place = waker.take().map(|w| line.wait(inbox, self.tier, w));
                    self.task = Some(task);
                    Poll::Pending
                }
                entered => Poll::Ready(entered),
            }
        })
    }

    /// Enters if it was let in, or the pool was closed.
    fn come_back(&mut self, place: u64, cx: &mut Context<'_>) -> Poll<Entered> {
        let now = clock::nanos();
        let mut waker = cx.waker().clone();
        self.shared.change(|line, inbox, wakes| {
            if let Some(known) = line.waiting(self.tier, place) {
                // The old one is dropped after the lock.
                std::mem::swap(known, &mut waker);
                line.settle(inbox, wakes);
                return Poll::Pending;
            }
            self.place = None;
            Poll::Ready(line.enter_kept(inbox, self.tier, now, self.take(), wakes))
        })
    }

    fn take(&mut self) -> Task {
        self.task.take().expect("not polled after it entered")
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let struck = self.shared.change(|line, inbox, wakes| {
                let struck = line.give_up(self.tier, place, wakes);
                line.settle(inbox, wakes);
                struck
            });
            drop(struck);
        }
    }
}
