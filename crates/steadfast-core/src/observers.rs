//! Those who hear what a part of the process tells, and whose code must not harm it.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::panic::Contained;
use crate::recover;

/// How many observers there can be of one thing: 16. Each is called in turn, on a thread that has
/// more to do.
pub(crate) const OBSERVERS_MAX: usize = 16;

/// The observers of one thing.
///
/// 1. One that panics is removed. The number of one that was removed is not given again, so that
///    its handle removes no other.
/// 2. Nothing of an observer runs under the lock, its drop included.
/// 3. What an observer causes itself is not told, on its own thread: it would have no end.
pub(crate) struct Observers<E: 'static> {
    list: Mutex<List<E>>,
}

struct List<E: 'static> {
    next_id: u64,
    all: Vec<(u64, Arc<Observe<E>>)>,
}

/// Contained wherever it is dropped: by its handle, or by the call that was its last.
type Observe<E> = Contained<Box<dyn Fn(&E) + Send + Sync>>;

/// Keeps an observer on the list; removes it when it is dropped.
pub(crate) struct Registered<E: 'static> {
    observers: &'static Observers<E>,
    id: u64,
}

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

impl<E> Observers<E> {
    pub(crate) const fn new() -> Self {
        Self {
            list: Mutex::new(List {
                next_id: 0,
                all: Vec::new(),
            }),
        }
    }

    fn list(&self) -> MutexGuard<'_, List<E>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an observer, if there is room.
    pub(crate) fn add(
        &'static self,
        observe: impl Fn(&E) + Send + Sync + 'static,
    ) -> Option<Registered<E>> {
        let observe: Arc<Observe<E>> = Arc::new(Contained::new(Box::new(observe)));
        let mut list = self.list();
        if list.all.len() == OBSERVERS_MAX {
            // Or what it holds would be dropped under the lock.
            drop(list);
            return None;
        }
        let id = list.next_id;
        list.next_id += 1;
        list.all.push((id, observe));
        Some(Registered {
            observers: self,
            id,
        })
    }

    /// Calls each observer; gives how many have panicked and were removed.
    pub(crate) fn tell(&self, event: &E) -> usize {
        if TELLING.replace(true) {
            return 0;
        }
        let current = self.list().all.clone();
        let mut removed = 0;
        for (id, observe) in current {
            if recover(|| observe.get()(event)).is_err() {
                self.remove(id);
                removed += 1;
            }
        }
        TELLING.set(false);
        removed
    }

    fn remove(&self, id: u64) {
        let mut list = self.list();
        let place = list.all.iter().position(|(known, _)| *known == id);
        let removed = place.map(|place| list.all.remove(place));
        drop(list);
        drop(removed);
    }
}

impl<E> Drop for Registered<E> {
    fn drop(&mut self) {
        self.observers.remove(self.id);
    }
}

impl<E> fmt::Debug for Registered<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}
