use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::fault::{AtAwaits, Plan, Site};
use super::leak::{Check, Leak, LeakKind};
use crate::context::{Frame, Node, ScopePath};

/// What a node carries for tests, and hands down to the nodes inside of it.
#[derive(Default)]
pub(crate) struct Trace {
    pub(super) check: Option<Arc<Check>>,
    pub(super) plan: Option<Arc<Plan>>,
    /// Under which number it is registered as alive; zero if it is not.
    id: AtomicU64,
}

impl Trace {
    pub(super) fn new(check: Option<Arc<Check>>, plan: Option<Arc<Plan>>) -> Self {
        Self {
            check,
            plan,
            id: AtomicU64::new(0),
        }
    }

    /// That of the code at hand.
    pub(crate) fn of(frame: &Frame) -> Self {
        frame
            .node()
            .map(|node| node.trace.inherited())
            .unwrap_or_default()
    }

    /// That of a node inside.
    pub(crate) fn inherited(&self) -> Self {
        Self::new(self.check.clone(), self.plan.clone())
    }

    /// Says that the task or scope lives from now on.
    pub(crate) fn begin(&self, node: &Node, kind: LeakKind, place: &'static Location<'static>) {
        let Some(check) = &self.check else {
            return;
        };
        let id = check.begin(&Leak {
            kind,
            name: node.name,
            path: ScopePath::of(Some(node)),
            place,
            reaped: false,
        });
        self.id.store(id, Ordering::Relaxed);
    }

    /// Says that the future of the scope was dropped, and that its cleanups go on without it.
    pub(crate) fn reaped(&self) {
        if let Some(check) = &self.check {
            check.reaped(self.id.load(Ordering::Relaxed));
        }
    }

    /// Says that it lives no more.
    pub(crate) fn end(&self) {
        let id = self.id.swap(0, Ordering::Relaxed);
        if let (Some(check), true) = (&self.check, id != 0) {
            check.end(id);
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end();
    }
}

/// Puts faults at the awaits of a scope's body.
pub(crate) fn in_body<F: Future>(node: &Node, body: F) -> AtAwaits<F> {
    AtAwaits::new(node.trace.plan.clone(), Site::Await, node.name, body)
}

/// Puts faults at the awaits of a task, and keeps it registered until it has ended.
pub(crate) fn in_task<F: Future>(
    node: &Node,
    place: &'static Location<'static>,
    task: F,
) -> InTask<F> {
    // In a trace of its own: others may hold the node for longer than the task runs.
    let trace = node.trace.inherited();
    trace.begin(node, LeakKind::Task, place);
    InTask {
        task: AtAwaits::new(node.trace.plan.clone(), Site::Await, node.name, task),
        trace: Some(trace),
    }
}

pin_project! {
    /// The future of [`in_task`].
    pub(crate) struct InTask<F> {
        #[pin]
        task: AtAwaits<F>,
        // After the task, whose drop may take its time.
        trace: Option<Trace>,
    }
}

impl<F: Future> Future for InTask<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().task.poll(cx)
    }
}
