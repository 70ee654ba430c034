use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handle::{Scope, Shared, Step, status};
use super::stack::{Key, Meta};
use super::stray::Stray;
use super::{CleanupResult, CleanupStatus};
use crate::context::Name;
use crate::small_fn::SmallFn;

/// A value in the care of a [`Scope`]: usable here, cleaned up there.
///
/// Dropping the guard hands the value back to the scope, which cleans it up at its end.
#[must_use = "dropping the guard leaves the value unusable until the scope cleans it up"]
pub struct Owned<V: Send + 'static> {
    /// There until the guard is consumed.
    value: Option<V>,
    slot: Arc<Slot<V>>,
    registered: Box<dyn Disarm>,
}

/// The place where guard and scope meet; whichever comes second starts the cleanup.
struct Slot<V>(Mutex<Meeting<V>>);

enum Meeting<V> {
    /// Neither has come.
    Open,
    /// The guard was dropped first, and left the value.
    Returned(V),
    /// The scope has ended first, and left the cleanup.
    Ended(LateCleanup<V>),
}

type LateCleanup<V> = Box<dyn FnOnce(V) -> Step + Send>;

impl<V> Slot<V> {
    fn lock(&self) -> MutexGuard<'_, Meeting<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scope comes, with its cleanup.
    fn end(&self, cleanup: impl FnOnce(V) -> Step + Send + 'static) -> Step {
        let mut meeting = self.lock();
        match std::mem::replace(&mut *meeting, Meeting::Open) {
            Meeting::Returned(value) => {
                drop(meeting);
                cleanup(value)
            }
            Meeting::Open | Meeting::Ended(_) => {
                *meeting = Meeting::Ended(Box::new(cleanup));
                Step::Done(CleanupStatus::Missing)
            }
        }
    }

    /// The guard comes, with the value; gives the value back with the cleanup that waits for it.
    fn hand_back(&self, value: V) -> Option<(V, LateCleanup<V>)> {
        let mut meeting = self.lock();
        match std::mem::replace(&mut *meeting, Meeting::Open) {
            Meeting::Ended(cleanup) => Some((value, cleanup)),
            Meeting::Open | Meeting::Returned(_) => {
                *meeting = Meeting::Returned(value);
                None
            }
        }
    }
}

/// Hides the types of the scope from those of the value.
trait Disarm: Send + Sync {
    fn disarm(&self);

    /// Gives what runs the cleanup after the end of the scope.
    fn stray(&self) -> Stray;
}

struct Registered<T, E> {
    scope: Arc<Shared<T, E>>,
    meta: Meta,
    /// Absent when it ran at once.
    key: Option<Key>,
}

impl<T: Send + 'static, E: Send + 'static> Disarm for Registered<T, E> {
    fn disarm(&self) {
        drop(self.key.and_then(|key| self.scope.take(key)));
    }

    fn stray(&self) -> Stray {
        Stray {
            scope: self.scope.clone(),
            meta: self.meta,
            limit: self.scope.limit,
        }
    }
}

impl<V: Send + 'static> Owned<V> {
    pub(super) fn register<T, E, R, F>(
        scope: &Scope<T, E>,
        name: Name,
        place: &'static Location<'static>,
        value: V,
        cleanup: impl FnOnce(V) -> F + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        E: Send + 'static,
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        let slot = Arc::new(Slot(Mutex::new(Meeting::Open)));
        let meeting = slot.clone();
        let cleanup = SmallFn::new(move |_: &mut Arc<Shared<T, E>>| {
            meeting.end(move |value| {
                Step::Await(Box::pin(async move { status(cleanup(value).await) }))
            })
        });
        let meta = Meta { name, place };
        let registered = Registered {
            scope: scope.shared.clone(),
            meta,
            key: scope.push(meta, cleanup),
        };
        Self {
            value: Some(value),
            slot,
            registered: Box::new(registered),
        }
    }

    /// Takes the value back; its cleanup will not run.
    pub fn disarm(mut self) -> V {
        let value = self.value.take();
        self.registered.disarm();
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V: Send + 'static> Drop for Owned<V> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else {
            return;
        };
        let Some((value, cleanup)) = self.slot.hand_back(value) else {
            return;
        };
        // The scope's report has said `Missing`.
        self.registered.stray().run_late(|| cleanup(value));
    }
}

impl<V: Send + 'static> Deref for Owned<V> {
    type Target = V;

    fn deref(&self) -> &V {
        let value = self.value.as_ref();
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V: Send + 'static> DerefMut for Owned<V> {
    fn deref_mut(&mut self) -> &mut V {
        let value = self.value.as_mut();
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V: fmt::Debug + Send + 'static> fmt::Debug for Owned<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&self.value).finish()
    }
}
