use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use crate::cancel::{Cancel, Cause};
use crate::context::{Name, SpanId};
use crate::scope::Pending;

/// The part of a scope that those inside it can see: its name, its place in the path, its token,
/// and how much it has to wait for before its cleanups run.
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) span: SpanId,
    parent: Option<Arc<dyn AsNode>>,
    depth: usize,
    kind: Kind,
    /// What must have ended before this scope's cleanups run.
    pub(crate) pending: Pending,
    /// Set once the work was told to stop, for tokens that are asked for later.
    stopped: OnceLock<Cause>,
    /// Made when somebody asks: most scopes are never cancelled by token, and a child token
    /// takes its parent's lock.
    token: OnceLock<Cancel>,
    /// Whoever runs the scope, to be told that there is a token now.
    runner: Mutex<Option<Waker>>,
}

/// What a [`Node`] stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has cleanups, and waits for what was started in it.
    Scope,
    /// A task: named, cancelled with its scope, with nothing to clean up itself.
    Task,
}

/// What holds a [`Node`]: lets a scope keep it in the same allocation as its stack.
pub(crate) trait AsNode: Send + Sync {
    fn node(&self) -> &Node;
}

impl AsNode for Node {
    fn node(&self) -> &Node {
        self
    }
}

impl Node {
    /// How many scopes a path holds: 64. A longer chain starts anew, so that tasks that start
    /// each other for ever do not keep all their ancestors.
    pub(crate) const DEPTH_MAX: usize = 64;

    pub(crate) fn new(kind: Kind, name: Name, parent: Option<Arc<dyn AsNode>>) -> Self {
        let depth = parent.as_ref().map_or(1, |parent| parent.node().depth + 1);
        let (parent, depth) = if depth > Self::DEPTH_MAX {
            (None, 1)
        } else {
            (parent, depth)
        };
        Self {
            name,
            span: SpanId::random(),
            parent,
            depth,
            kind,
            pending: Pending::new(),
            stopped: OnceLock::new(),
            token: OnceLock::new(),
            runner: Mutex::new(None),
        }
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
        let mut fresh = false;
        let token = self.token.get_or_init(|| {
            fresh = true;
            match &self.parent {
                Some(parent) => parent.node().token().child(),
                None => Cancel::new(),
            }
        });
        if fresh && let Some(waker) = self.runner().take() {
            waker.wake();
        }
        if let Some(cause) = self.stopped.get() {
            token.cancel(cause.clone());
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

    fn runner(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of the scopes around a piece of work, outermost first.
///
/// Holds the [`ScopePath::NAMES_MAX`] innermost names; `Display` puts ` > ` between them, and an
/// ellipsis in front when outer ones were left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ScopePath {
    names: [Name; ScopePath::NAMES_MAX],
    len: u8,
    cut: bool,
}

impl ScopePath {
    /// How many names a path shows: 8, the innermost ones; it has a fixed size, because the panic
    /// hook copies it.
    pub const NAMES_MAX: usize = 8;

    pub(crate) const EMPTY: ScopePath = ScopePath {
        names: [Name::new(""); ScopePath::NAMES_MAX],
        len: 0,
        cut: false,
    };

    pub(crate) fn of(innermost: Option<&dyn AsNode>) -> Self {
        let mut path = Self::EMPTY;
        let mut next = innermost.map(AsNode::node);
        while let Some(node) = next {
            if usize::from(path.len) == Self::NAMES_MAX {
                path.cut = true;
                break;
            }
            path.names[usize::from(path.len)] = node.name;
            path.len += 1;
            next = node.parent.as_deref().map(AsNode::node);
        }
        path.names[..usize::from(path.len)].reverse();
        path
    }

    /// Gives the names, outermost first.
    pub fn names(&self) -> &[Name] {
        &self.names[..usize::from(self.len)]
    }

    /// Tells whether the work is in no scope.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            f.write_str("… > ")?;
        }
        for (i, name) in self.names().iter().enumerate() {
            let gap = if i == 0 { "" } else { " > " };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
