use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::Sleep;

use super::block_on::Unpark;
use super::line::Next;
use super::shared::{Shared, Task};
use crate::cancel;
use crate::clock;
use crate::recover;
use crate::scope::Verdict;

/// One worker of a pool: takes a task, runs it to its end, takes the next.
///
/// A worker leaves when the line tells it to. When it is dropped before, its task ends as
/// cancelled, and the line learns that it is gone.
pub(super) struct Worker {
    shared: Arc<Shared>,
    id: usize,
    task: Option<Task>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Enrolled,
    Left,
}

impl Worker {
    /// Takes up an id that the line has given out.
    pub(super) fn new(shared: Arc<Shared>, id: usize) -> Self {
        Self {
            shared,
            id,
            task: None,
            stage: Stage::New,
        }
    }

    /// Works as a task of a runtime. If that is shutting down the worker is dropped.
    #[allow(
        clippy::disallowed_methods,
        reason = "a worker contains the panics of its tasks and reports its own end to the line"
    )]
    pub(super) fn run_on(mut self, runtime: &Handle) {
        runtime.spawn(async move {
            let mut timer = pin!(None);
            poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
        });
    }

    /// Works on a thread of its own.
    ///
    /// # Errors
    /// When the system starts no thread; the worker is dropped then.
    pub(super) fn run_on_thread(mut self) -> io::Result<()> {
        let name = format!("{}-{}", self.shared.name, self.id);
        // A thread's name holds no zero byte; the name of a pool may.
        let name = name.replace('\0', "");
        let thread = thread::Builder::new().name(name);
        thread.spawn(move || self.work())?;
        Ok(())
    }

    fn work(&mut self) {
        let waker = Unpark::waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.step(&mut cx) {
                Step::Again => {}
                Step::Wait => thread::park(),
                Step::Left => return,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Option<Sleep>>) -> Poll<()> {
        loop {
            // Tasks that never wait must not keep others of the runtime waiting.
            ready!(coop::poll_proceed(cx)).made_progress();
            match self.step(cx) {
                Step::Again => timer.set(None),
                Step::Wait if self.is_late(timer.as_mut(), cx) => {}
                Step::Wait => return Poll::Pending,
                Step::Left => return Poll::Ready(()),
            }
        }
    }

    /// Goes on with the task at hand, or takes one.
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(task) = &self.task else {
            if self.stage == Stage::New {
                self.shared.enroll(self.id, cx.waker().clone());
                self.stage = Stage::Enrolled;
            }
            let next = self.shared.next(self.id, None);
            return self.follow(next);
        };
        // The next task is taken in the same step in which the end of this one is recorded: one
        // lock instead of two.
        let mut next = None;
        let mut record = |verdict| next = Some(self.shared.next(self.id, Some(verdict)));
        let polled = match self.shared.stopped() {
            None => task.run(task.clone(), cx, &mut record),
            Some(cause) => {
                let mut record = || record(Verdict::Cancelled);
                task.cancel(task.clone(), cause.clone(), &mut record);
                Poll::Ready(())
            }
        };
        match polled {
            Poll::Pending => Step::Wait,
            Poll::Ready(()) => self.follow(next.expect("the end of a task is recorded")),
        }
    }

    fn follow(&mut self, next: Next<Task>) -> Step {
        self.task = None;
        match next {
            Next::Start(task) => {
                self.task = Some(task);
                Step::Again
            }
            Next::Rest => Step::Wait,
            Next::Leave => {
                self.stage = Stage::Left;
                Step::Left
            }
        }
    }

    /// Tells whether the deadline of the task at hand has come; if not, the worker is woken then.
    fn is_late(&self, mut timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.task.as_ref().and_then(|task| task.deadline()) else {
            return false;
        };
        // Without timers in the runtime, which makes this panic, a task runs on over its
        // deadline, as documented.
        let late = recover(|| {
            if timer.is_none() {
                timer.set(Some(clock::timer_until(deadline)));
            }
            let timer = timer.as_mut().as_pin_mut();
            timer.is_some_and(|timer| timer.poll(cx).is_ready())
        });
        late.unwrap_or(false)
    }
}

enum Step {
    Again,
    /// Nothing to do until woken.
    Wait,
    Left,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.stage == Stage::Left {
            return;
        }
        match self.task.take() {
            Some(task) => {
                let mut record = || self.shared.lost(self.id);
                task.cancel(task.clone(), cancel::drop_cause(), &mut record);
            }
            None => self.shared.lost(self.id),
        }
    }
}
