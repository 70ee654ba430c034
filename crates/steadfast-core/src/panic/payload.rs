#![allow(unsafe_code, reason = "shares a payload by reference; see `Slot`")]

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, TryLockError};

type Payload = Box<dyn Any + Send>;

/// The payload of a panic, shared by the clones of a [`Panic`](super::Panic): looked at by many,
/// taken by one.
pub(super) struct Slot(RwLock<Option<SharedPayload>>);

struct SharedPayload(Payload);

// SAFETY: a payload is `Send` but perhaps not `Sync`. A reference to it crosses threads only
// through `Slot::get::<T>`, which demands `T: Sync` of the very type inside; `type_id` reads the
// vtable alone. All else (take, drop) has exclusive access.
unsafe impl Sync for SharedPayload {}

impl Slot {
    pub(super) fn new(payload: Payload) -> Self {
        Self(RwLock::new(Some(SharedPayload(payload))))
    }

    pub(super) fn get<T: Any + Sync>(&self) -> Option<PayloadRef<'_, T>> {
        let guard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref()?.0.downcast_ref::<T>()?;
        Some(PayloadRef {
            guard,
            kind: PhantomData,
        })
    }

    pub(super) fn take<T: Any>(&self) -> Option<T> {
        // Never waits: whoever looks may be the caller himself.
        let mut guard = match self.0.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        match guard.take()?.0.downcast::<T>() {
            Ok(payload) => Some(*payload),
            Err(other) => {
                *guard = Some(SharedPayload(other));
                None
            }
        }
    }

    pub(super) fn take_any(&self) -> Option<Payload> {
        let mut guard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        guard.take().map(|payload| payload.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(payload) = self.take_any() {
            drop_contained(payload);
        }
    }
}

/// A look at a panic's payload; made by [`Panic::payload`](super::Panic::payload).
///
/// While it lives, [`take_payload`](super::Panic::take_payload) gives `None`.
pub struct PayloadRef<'a, T> {
    guard: RwLockReadGuard<'a, Option<SharedPayload>>,
    kind: PhantomData<&'a T>,
}

impl<T: Any> Deref for PayloadRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let payload = self.guard.as_ref().expect("taking needs the write lock");
        payload.0.downcast_ref().expect("checked when it was made")
    }
}

/// Drops something whose `Drop` may panic, with a payload whose `Drop` may panic, and so on.
///
/// Each level is counted by the hook like any panic. After a few levels the rest is leaked: a
/// leak is better than a process that dies of cleaning up after a panic.
pub(crate) fn drop_contained<T>(value: T) {
    const LEVELS_MAX: usize = 8;

    let _catching = super::Catching::start();
    let Err(mut payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else {
        return;
    };
    for _ in 0..LEVELS_MAX {
        super::hook::claim(&*payload);
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    super::hook::claim(&*payload);
    std::mem::forget(payload);
}

/// A value whose `Drop` may panic, wherever it is dropped.
#[derive(Clone)]
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(&self) -> &T {
        self.0.as_ref().expect("there until the drop")
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("there until the drop")
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        drop_contained(self.0.take());
    }
}
