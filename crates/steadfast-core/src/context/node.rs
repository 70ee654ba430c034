use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::cancel::{Cancel, Cause};
use crate::clock::Instant;
use crate::context::frame::Phase;
use crate::context::{Context, Frame, Keys, Name};
use crate::scope::Pending;
#[cfg(feature = "test-util")]
use crate::testing::Trace;
use crate::watch::Polled;

/// A place in the tree of work: a scope, a task, or other facts within one. What those inside can
/// see of it: its name, its facts, its token, and how much it has to wait for.
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) block: Context,
    pub(crate) keys: Option<Keys>,
    parent: Option<Arc<dyn AsNode>>,
    depth: usize,
    /// Whether it is not cancelled with what is around: work of a cleanup, which must go on.
    apart: bool,
    /// What must have ended before this scope's cleanups run.
    pub(crate) pending: Pending,
    /// Set once the work was told to stop, for tokens that are asked for later.
    stopped: OnceLock<Cause>,
    /// Set at the end of every scope, so it must cost nothing.
    over: AtomicBool,
    /// Made when somebody asks: most scopes are never cancelled by token, and a child token
    /// takes its parent's lock.
    token: OnceLock<Cancel>,
    /// Whoever runs the scope, to be told that there is a token now.
    runner: Mutex<Option<Waker>>,
    /// When it was polled, for the watchdog.
    pub(crate) polled: Polled,
    /// Handed down to all that is started inside.
    #[cfg(feature = "test-util")]
    pub(crate) trace: Trace,
}

/// What a [`Node`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has cleanups, and waits for what was started in it.
    Scope,
    /// Has cleanups, and cannot wait: what it would wait for, the scope around it waits for.
    SyncScope,
    /// A task: named, cancelled with its scope, with nothing to clean up itself.
    Task,
    /// Other facts in the scope or task around it, which it stands for in everything else.
    Overlay,
}

/// What holds a [`Node`]: lets a scope keep it in the same allocation as its stack.
pub(crate) trait AsNode: Send + Sync {
    fn node(&self) -> &Node;
}

impl AsNode for Node {
    #[inline]
    fn node(&self) -> &Node {
        self
    }
}

impl Node {
    /// How many scopes a path holds: 64. A longer chain starts anew, so that tasks that start
    /// each other for ever do not keep all their ancestors.
    const DEPTH_MAX: usize = 64;

    /// A scope or task inside of what is at hand.
    pub(crate) fn inside(
        kind: Kind,
        name: Name,
        surroundings: Frame,
        deadline: Option<Instant>,
    ) -> Self {
        let block = surroundings.block().of_body(deadline);
        let keys = surroundings.keys().cloned();
        let apart = matches!(surroundings.phase, Phase::Cleanup(_));
        let node = Self::new(kind, name, surroundings.node, block, keys);
        Self { apart, ..node }
    }

    /// A task of `scope`. Facts that were changed where it is started go along if that is inside
    /// of the scope; but not the deadline of an inner scope, which the task may outlive.
    pub(crate) fn child(name: Name, scope: Arc<dyn AsNode>, surroundings: &Frame) -> Self {
        let own = scope.node();
        let started_in = surroundings.node().filter(|node| node.is_within(own));
        let (block, keys) = match started_in {
            Some(node) if std::ptr::eq(node.named(), own) => {
                (surroundings.block(), surroundings.keys())
            }
            Some(_) => {
                let block = surroundings.block().until(own.block.deadline());
                (block, surroundings.keys())
            }
            None => (own.block, own.keys.as_ref()),
        };
        let (block, keys) = (block.of_body(None), keys.cloned());
        Self::new(Kind::Task, name, Some(scope), block, keys)
    }

    /// A task that outlives the scopes around: it has their facts, but its place is `owner`.
    pub(crate) fn outside(name: Name, owner: Option<Arc<dyn AsNode>>, facts: &Frame) -> Self {
        let block = facts.block().of_body(None);
        let node = Self::new(Kind::Task, name, owner, block, facts.keys().cloned());
        #[cfg(feature = "test-util")]
        let node = node.traced(Trace::of(facts));
        node
    }

    /// What owns tasks without being at work itself: it gives them a place, and no facts.
    pub(crate) fn owner(name: Name) -> Self {
        Self::new(Kind::Task, name, None, Context::new(), None)
    }

    /// Other facts at the same place. One overlay never stands on another, so changing facts in a
    /// loop keeps no history.
    pub(super) fn overlay(
        place: Option<&Arc<dyn AsNode>>,
        block: Context,
        keys: Option<Keys>,
    ) -> Self {
        let parent = match place {
            Some(node) if node.node().kind == Kind::Overlay => node.node().parent.clone(),
            place => place.cloned(),
        };
        let node = Self::new(Kind::Overlay, Name::new(""), parent, block, keys);
        #[cfg(feature = "test-util")]
        let node = match place {
            Some(place) => node.traced(place.node().trace.inherited()),
            None => node,
        };
        node
    }

    #[cfg(feature = "test-util")]
    pub(super) fn traced(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    fn new(
        kind: Kind,
        name: Name,
        parent: Option<Arc<dyn AsNode>>,
        block: Context,
        keys: Option<Keys>,
    ) -> Self {
        // Other facts are no deeper than the place at which they hold.
        let deeper = usize::from(kind != Kind::Overlay);
        let depth = parent
            .as_ref()
            .map_or(1, |parent| parent.node().depth + deeper);
        #[cfg(feature = "test-util")]
        let trace = match &parent {
            Some(parent) => parent.node().trace.inherited(),
            None => Trace::default(),
        };
        let (parent, depth) = if depth > Self::DEPTH_MAX {
            (None, 1)
        } else {
            (parent, depth)
        };
        Self {
            kind,
            name,
            block,
            keys,
            parent,
            depth,
            apart: false,
            pending: Pending::new(),
            stopped: OnceLock::new(),
            over: AtomicBool::new(false),
            token: OnceLock::new(),
            runner: Mutex::new(None),
            polled: Polled::new(),
            #[cfg(feature = "test-util")]
            trace,
        }
    }

    /// Gives the node around this one.
    pub(super) fn parent(&self) -> Option<&Node> {
        self.parent.as_deref().map(AsNode::node)
    }

    pub(super) fn around(&self) -> Option<&Arc<dyn AsNode>> {
        self.parent.as_ref()
    }

    /// Gives the scope or task that this node is or stands in.
    pub(super) fn named(&self) -> &Node {
        match (self.kind, self.parent()) {
            (Kind::Overlay, Some(parent)) => parent,
            _ => self,
        }
    }

    /// Tells whether this node is `outer` or inside of it.
    pub(crate) fn is_within(&self, outer: &Node) -> bool {
        let mut next = Some(self);
        while let Some(node) = next {
            if std::ptr::eq(node, outer) {
                return true;
            }
            next = node.parent();
        }
        false
    }

    /// Gives the innermost node of that kind, this one included.
    pub(crate) fn nearest(&self, kind: Kind) -> Option<&Node> {
        let mut next = Some(self);
        while let Some(node) = next.filter(|node| node.kind != kind) {
            next = node.parent();
        }
        next
    }

    /// Tells whether this is a scope that has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Gives the innermost scope around this one: whose cleanups must wait for ours.
    pub(crate) fn enclosing_scope(&self) -> Option<Arc<dyn AsNode>> {
        let mut next = self.parent.as_ref();
        while let Some(parent) = next {
            if parent.node().kind == Kind::Scope {
                return Some(parent.clone());
            }
            next = parent.node().parent.as_ref();
        }
        None
    }

    /// Gives the token, and makes it when it is the first time.
    pub(crate) fn token(&self) -> Cancel {
        let node = self.named();
        let mut fresh = false;
        let token = node.token.get_or_init(|| {
            fresh = true;
            match node.parent() {
                Some(parent) if !node.apart => parent.token().child(),
                _ => Cancel::new(),
            }
        });
        if fresh && let Some(waker) = node.runner().take() {
            waker.wake();
        }
        if let Some(cause) = node.stopped.get() {
            token.cancel(cause.clone());
        } else if node.over.load(Ordering::Acquire) {
            token.cancel(Cause::ScopeEnded);
        }
        token.clone()
    }

    /// Gives the token if there is one; if not, `waker` is woken once there is.
    pub(crate) fn token_or_wake(&self, waker: &Waker) -> Option<Cancel> {
        if let Some(token) = self.token.get() {
            return Some(token.clone());
        }
        let mut runner = self.runner();
        match &mut *runner {
            Some(known) => known.clone_from(waker),
            None => *runner = Some(waker.clone()),
        }
        drop(runner);
        // Again, for one that came between the first look and the waker.
        self.token.get().cloned()
    }

    /// Tells all that was started here to stop, also what only starts to watch later.
    pub(crate) fn stop(&self, cause: Cause) {
        let _ = self.stopped.set(cause.clone());
        if let Some(token) = self.token.get() {
            token.cancel(cause);
        }
    }

    /// Says that the scope has ended, after [`stop`](Self::stop) or without it.
    pub(crate) fn over(&self) {
        self.over.store(true, Ordering::Release);
        #[cfg(feature = "test-util")]
        self.trace.end();
        if let Some(token) = self.token.get() {
            token.cancel(Cause::ScopeEnded);
        }
    }

    fn runner(&self) -> MutexGuard<'_, Option<Waker>> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
