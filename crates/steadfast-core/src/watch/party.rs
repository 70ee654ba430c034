use std::fmt;
use std::sync::{Arc, Weak};

use super::polls::{self, Polling};
use crate::context::{self, AsNode, Kind, Name, ScopePath, TraceId};

/// Who holds, waits or makes progress: a task, or a thread outside of tasks, and where in it.
#[derive(Clone)]
pub(super) struct Party {
    pub(super) key: Key,
    pub(super) thread: u64,
    trace_id: Option<TraceId>,
    node: Option<Weak<dyn AsNode>>,
}

/// Tells parties apart: what runs one after the other is one party.
///
/// The node alone would not do: a captured context may be in several tasks. Nor would the task:
/// scopes that a task joins run beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The address of the node. No other node gets it while a [`Party`] refers to this one.
    node: usize,
    run: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Run {
    Task(tokio::task::Id),
    Thread(u64),
}

impl Party {
    /// Gives the party that runs this code.
    pub(super) fn here() -> Self {
        let thread = polls::thread_id();
        let run = match tokio::task::try_id() {
            Some(task) => Run::Task(task),
            None => Run::Thread(thread),
        };
        context::with(|frame| {
            let named = frame.named();
            Self {
                key: Key {
                    node: named.map_or(0, |node| std::ptr::from_ref(node.node()) as usize),
                    run,
                },
                thread,
                trace_id: frame.node().and_then(|node| node.block.trace_id()),
                node: named.map(Arc::downgrade),
            }
        })
    }

    /// Makes this the party that runs this code: cheaper than a new one when it is so already.
    pub(super) fn become_here(&mut self) {
        let thread = polls::thread_id();
        let run = match tokio::task::try_id() {
            Some(task) => Run::Task(task),
            None => Run::Thread(thread),
        };
        context::with(|frame| {
            let named = frame.named();
            let node = named.map_or(0, |node| std::ptr::from_ref(node.node()) as usize);
            if node != self.key.node {
                self.node = named.map(Arc::downgrade);
            }
            self.key = Key { node, run };
            self.trace_id = frame.node().and_then(|node| node.block.trace_id());
        });
        self.thread = thread;
    }

    /// Tells when it was polled. Nothing is known once its scope has ended: what that has
    /// returned may be anywhere.
    pub(super) fn polling(&self) -> Polling {
        let node = self.node.as_ref().and_then(Weak::upgrade);
        match node.as_deref().map(AsNode::node) {
            Some(node) if !node.is_over() => node.polled.get(),
            _ => Polling::Unknown,
        }
    }

    /// Describes it for people.
    pub(super) fn describe(&self) -> Who {
        let node = self.node.as_ref().and_then(Weak::upgrade);
        let node = node.as_deref().map(AsNode::node);
        Who {
            scope_path: ScopePath::of(node),
            task: node
                .and_then(|node| node.nearest(Kind::Task))
                .map(|task| task.name),
            trace_id: self.trace_id,
            thread: polls::thread_name(self.thread),
        }
    }
}

/// Who did something, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Who {
    /// The scopes and tasks around the code; empty outside of any, and once the innermost one has
    /// ended.
    pub scope_path: ScopePath,
    /// The task, if it is one of [`spawn`](crate::spawn()) or of a scope.
    pub task: Option<Name>,
    /// The trace id that was in force.
    pub trace_id: Option<TraceId>,
    /// The thread on which it was done, while that lives; tasks move on.
    pub thread: Option<Name>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scope_path.is_empty(), self.thread) {
            (false, _) => write!(f, "`{}`", self.scope_path)?,
            (true, Some(thread)) => write!(f, "thread {thread}")?,
            (true, None) => f.write_str("somebody who has ended")?,
        }
        if let Some(trace_id) = self.trace_id {
            write!(f, " (trace {trace_id})")?;
        }
        Ok(())
    }
}
