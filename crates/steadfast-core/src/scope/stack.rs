use std::panic::Location;

use smallvec::SmallVec;

use crate::context::Name;

/// The cleanups of a scope, run from the end; the first `N` without an allocation of their own.
pub(super) struct Stack<F, const N: usize> {
    entries: SmallVec<[Entry<F>; N]>,
    next_id: u64,
}

pub(super) struct Entry<F> {
    pub(super) meta: Meta,
    id: u64,
    /// Absent once disarmed or run early; the place stays, so that handles stay right.
    run: Option<F>,
}

/// What is known about a cleanup from its registration.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) name: Name,
    pub(super) place: &'static Location<'static>,
}

/// Finds an entry again.
#[derive(Clone, Copy)]
pub(super) struct Key {
    index: usize,
    id: u64,
}

impl<F, const N: usize> Stack<F, N> {
    pub(super) fn new() -> Self {
        Self {
            entries: SmallVec::new(),
            next_id: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, meta: Meta, run: F) -> Key {
        let key = Key {
            index: self.entries.len(),
            id: self.next_id,
        };
        self.next_id += 1;
        self.entries.push(Entry {
            meta,
            id: key.id,
            run: Some(run),
        });
        key
    }

    /// Takes the newest entry that is still armed.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Meta, F)> {
        loop {
            let entry = self.entries.pop()?;
            if let Some(run) = entry.run {
                return Some((entry.meta, run));
            }
        }
    }

    /// Takes an entry out of order.
    pub(super) fn take(&mut self, key: Key) -> Option<(Meta, F)> {
        let entry = self.entries.get_mut(key.index)?;
        if entry.id != key.id {
            return None;
        }
        let run = entry.run.take()?;
        let meta = entry.meta;
        // A loop that registers and disarms must not grow the stack for ever.
        while self.entries.last().is_some_and(|entry| entry.run.is_none()) {
            self.entries.pop();
        }
        Some((meta, run))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.run.is_none())
    }
}
