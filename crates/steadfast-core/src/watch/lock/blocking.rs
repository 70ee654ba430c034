use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::AtomicU64;
use std::sync::{self, Arc, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use super::LockError;
use super::core::{Core, Hold};
use super::waits;
use crate::clock;
use crate::context::Name;

/// A lock that blocks the thread, as [`std::sync::Mutex`] does, and knows who holds it.
///
/// For short work without an await. Waiters have no order. There is no poison: a panic of the
/// holder gives the lock back, and whoever takes it next finds the value as the panic left it; a
/// [`scope`](crate::scope()) around the change is the place to put that right. A guard that is
/// leaked locks for ever, and the events of those who wait say where it was taken.
///
/// Compared with [`Mutex`](super::Mutex): its guard stays on its thread and should not live across
/// an await; it costs less.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::watch;
///
/// static COUNT: watch::SyncMutex<u32> = watch::SyncMutex::new("count", 0);
///
/// *COUNT.lock() += 1;
/// let held = COUNT.lock();
/// let error = COUNT.try_lock().unwrap_err();
/// assert!(error.is_cycle(), "this thread holds it itself: {error}");
/// assert_eq!(error.holder().unwrap().place.file(), file!());
/// # drop(held);
/// ```
pub struct SyncMutex<T> {
    name: Name,
    refuses_cycles: bool,
    core: OnceLock<Arc<Core>>,
    /// Free whenever the core is.
    value: sync::Mutex<T>,
}

/// Holds a [`SyncMutex`] until it is dropped.
#[must_use = "the lock is given back when this is dropped, which is at once if it is not bound"]
pub struct SyncMutexGuard<'a, T> {
    /// There until the drop, and dropped before the core is given back.
    value: Option<sync::MutexGuard<'a, T>>,
    core: &'a Core,
}

impl<T> SyncMutex<T> {
    /// Makes a lock; the name is in its events and errors.
    pub const fn new(name: &'static str, value: T) -> Self {
        Self {
            name: Name::new(name),
            refuses_cycles: false,
            core: OnceLock::new(),
            value: sync::Mutex::new(value),
        }
    }

    /// Makes [`lock_within`](Self::lock_within) fail at once when the wait closes a circle,
    /// instead of after its limit.
    pub const fn refusing_cycles(mut self) -> Self {
        self.refuses_cycles = true;
        self
    }

    fn core(&self) -> &Arc<Core> {
        self.core
            .get_or_init(|| Core::new(self.name, true, self.refuses_cycles))
    }

    /// Blocks the thread until the lock is free, and takes it.
    ///
    /// A thread that holds it already waits for ever. That, and any other circle of waits, is
    /// told as an [event](super::super::Event::WaitCycle) when the wait starts.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SyncMutexGuard<'_, T> {
        let place = Location::caller();
        let core = self.core();
        if !core.try_take(place) {
            self.wait(place);
        }
        self.taken(core)
    }

    #[cold]
    fn wait(&self, place: &'static Location<'static>) {
        let core = self.core();
        let waiting = waits::start(core, Hold::here(place), Arc::default(), false);
        core.wait_and_take(place, || None);
        drop(waiting);
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError`], which names the holder; trying again may succeed, unless
    /// [`is_cycle`](LockError::is_cycle).
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Result<SyncMutexGuard<'_, T>, LockError> {
        let place = Location::caller();
        let core = self.core();
        if core.try_take(place) {
            Ok(self.taken(core))
        } else {
            Err(LockError::busy(core, &Hold::here(place)))
        }
    }

    /// Blocks the thread for at most `limit` of real time until the lock is free, and takes it.
    ///
    /// # Errors
    /// [`LockError`], which names the holder; trying again may succeed, unless
    /// [`is_cycle`](LockError::is_cycle), which only a lock that
    /// [refuses circles](Self::refusing_cycles) gives.
    #[track_caller]
    pub fn lock_within(&self, limit: Duration) -> Result<SyncMutexGuard<'_, T>, LockError> {
        let place = Location::caller();
        let core = self.core();
        if core.try_take(place) {
            return Ok(self.taken(core));
        }
        let start = clock::real();
        let hold = Hold::here(place);
        let Some(waiting) = waits::start(core, hold, Arc::new(AtomicU64::new(0)), true) else {
            return Err(LockError::circle(core));
        };
        let left = || limit.saturating_sub(clock::real().saturating_duration_since(start));
        let taken = core.wait_and_take(place, || Some(left()));
        drop(waiting);
        if taken {
            Ok(self.taken(core))
        } else {
            Err(LockError::timed_out(core, limit))
        }
    }

    #[inline]
    fn taken<'a>(&'a self, core: &'a Core) -> SyncMutexGuard<'a, T> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => unreachable!("held by the holder of the core alone"),
        };
        SyncMutexGuard {
            value: Some(value),
            core,
        }
    }

    /// Gives the value, without locking: the borrow shows that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for SyncMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.value = None;
        self.core.give_back();
    }
}

impl<T> Deref for SyncMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value.as_ref().expect("there until the drop")
    }
}

impl<T> DerefMut for SyncMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("there until the drop")
    }
}

impl<T: fmt::Debug> fmt::Debug for SyncMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T> fmt::Debug for SyncMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncMutex")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
