use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use super::LockError;
use super::core::{Core, Hold};
use super::waits::{self, Waiting};
use crate::clock;
use crate::context::Name;
use crate::watch::time;

/// A lock for async code, as `tokio::sync::Mutex` is, and knows who holds it.
///
/// Its guard may live across awaits and move between threads. Waiters are served first come,
/// first served. There is no poison: a holder that panics or is dropped gives the lock back, and
/// whoever takes it next finds the value as that left it; a [`scope`](crate::scope()) around the
/// change is the place to put that right.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use steadfast::{BoxError, scope, watch};
///
/// static STOCK: watch::Mutex<u32> = watch::Mutex::new("stock", 3);
///
/// let ended = scope("checkout")
///     .run(async |_| {
///         let mut stock = STOCK.lock().await;
///         *stock -= 1;
///         let error = STOCK.lock_within(Duration::from_millis(5)).await.unwrap_err();
///         assert_eq!(error.holder().unwrap().who.scope_path.to_string(), "checkout");
///         Ok::<_, BoxError>(*stock)
///     })
///     .await;
/// assert_eq!(ended.unwrap(), 2);
/// # }
/// ```
pub struct Mutex<T> {
    name: Name,
    refuses_cycles: bool,
    core: OnceLock<Arc<Core>>,
    inner: tokio::sync::Mutex<T>,
}

/// Holds a [`Mutex`] until it is dropped.
#[must_use = "the lock is given back when this is dropped, which is at once if it is not bound"]
pub struct MutexGuard<'a, T> {
    core: &'a Core,
    /// Dropped after the body of `drop`, which says that nobody holds the lock.
    inner: tokio::sync::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    /// Makes a lock; the name is in its events and errors.
    pub const fn new(name: &'static str, value: T) -> Self {
        Self {
            name: Name::new(name),
            refuses_cycles: false,
            core: OnceLock::new(),
            inner: tokio::sync::Mutex::const_new(value),
        }
    }

    /// Makes [`lock_within`](Self::lock_within) fail at once when the wait closes a circle,
    /// instead of after its limit.
    ///
    /// The lock whose wait closes the circle decides: mark every lock that may be in one.
    ///
    /// For code that does one thing after the other in each scope: futures that one scope joins
    /// are taken for one, and a circle through them may be no real one. A task that waits for
    /// what it holds itself is never refused for that reason.
    pub const fn refusing_cycles(mut self) -> Self {
        self.refuses_cycles = true;
        self
    }

    fn core(&self) -> &Arc<Core> {
        self.core
            .get_or_init(|| Core::new(self.name, false, self.refuses_cycles))
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Errors
    /// [`LockError`], which names the holder; trying again may succeed, unless
    /// [`is_cycle`](LockError::is_cycle).
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        let place = Location::caller();
        let busy = |_| LockError::busy(self.core(), &Hold::here(place));
        self.take(place).ok_or(()).map_err(busy)
    }

    #[inline]
    fn take(&self, place: &'static Location<'static>) -> Option<MutexGuard<'_, T>> {
        let inner = self.inner.try_lock().ok()?;
        Some(self.taken(inner, place))
    }

    #[inline]
    fn taken<'a>(
        &'a self,
        inner: tokio::sync::MutexGuard<'a, T>,
        place: &'static Location<'static>,
    ) -> MutexGuard<'a, T> {
        let core = self.core();
        core.hold(place);
        MutexGuard { core, inner }
    }

    /// Gives the value, without locking: the borrow shows that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: Send> Mutex<T> {
    /// Waits until the lock is free, and takes it.
    ///
    /// A task that holds it already waits for ever. Circles of waits are told as an
    /// [event](super::super::Event::WaitCycle) when the wait starts that closes them.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Lock<'_, T> {
        Lock(Acquire::new(self, Location::caller(), false))
    }

    /// Waits for at most `limit` until the lock is free, and takes it.
    ///
    /// # Errors
    /// [`LockError`], which names the holder; trying again may succeed, unless
    /// [`is_cycle`](LockError::is_cycle), which only a lock that
    /// [refuses circles](Self::refusing_cycles) gives.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    #[track_caller]
    pub fn lock_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<MutexGuard<'_, T>, LockError>> + Send {
        let acquire = Acquire::new(self, Location::caller(), true);
        async move {
            if let Some(guard) = self.take(acquire.place) {
                return Ok(guard);
            }
            let waited = clock::timeout(limit, acquire).await;
            waited.unwrap_or_else(|_| Err(LockError::timed_out(self.core(), limit)))
        }
    }
}

/// The future of [`Mutex::lock`].
#[must_use = "futures do nothing unless polled"]
pub struct Lock<'a, T>(Acquire<'a, T>);

impl<'a, T: Send> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(taken.unwrap_or_else(|_| unreachable!("this caller is not refused")))
    }
}

impl<T> fmt::Debug for Lock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("lock", &self.0.mutex.name)
            .finish_non_exhaustive()
    }
}

/// Takes the lock, at once or in its turn.
struct Acquire<'a, T> {
    mutex: &'a Mutex<T>,
    place: &'static Location<'static>,
    can_refuse: bool,
    queued: Option<Queued<'a, T>>,
}

impl<'a, T> Acquire<'a, T> {
    #[inline]
    fn new(mutex: &'a Mutex<T>, place: &'static Location<'static>, can_refuse: bool) -> Self {
        Self {
            mutex,
            place,
            can_refuse,
            queued: None,
        }
    }
}

/// A place in the queue.
struct Queued<'a, T> {
    /// Boxed: waiting is rare, and tokio's future has no name.
    turn: Pin<Box<dyn Future<Output = tokio::sync::MutexGuard<'a, T>> + Send + 'a>>,
    relay: Arc<Relay>,
    /// The relay, as the queue knows it.
    waker: Waker,
    _waiting: Waiting,
}

/// Notes when the queue hands the lock to a waiter, and wakes its task.
///
/// A queue that hands over makes a trap: the lock is taken then, but not by anybody who runs. If
/// the waiter's future is kept and not polled (the losing branch of a `select!` by reference, a
/// stream of futures that nobody drives), all others wait for one that has never begun.
struct Relay {
    core: Arc<Core>,
    /// The id of the wait and one; zero if it is not watched.
    id: AtomicU64,
    handed_at: Arc<AtomicU64>,
    task: sync::Mutex<Waker>,
}

impl Relay {
    fn task(&self) -> sync::MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waiter is being polled: nothing is on its way to it.
    fn polled(&self, cx: &Context<'_>) {
        self.handed_at.store(0, Ordering::Release);
        self.forget();
        self.task().clone_from(cx.waker());
    }

    fn forget(&self) {
        let id = self.id.load(Ordering::Relaxed);
        // Another waiter's turn stays noted.
        let handed = &self.core.handed;
        let _ = handed.compare_exchange(id, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.handed_at.store(time::now(), Ordering::Release);
        self.core
            .handed
            .store(self.id.load(Ordering::Relaxed), Ordering::Release);
        let task = self.task().clone();
        task.wake();
    }
}

impl<T> Drop for Queued<'_, T> {
    fn drop(&mut self) {
        self.relay.forget();
    }
}

impl<'a, T: Send> Future for Acquire<'a, T> {
    type Output = Result<MutexGuard<'a, T>, LockError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.queued.is_none() {
            // A task that only takes free locks must let others run, too.
            let coop = ready!(tokio::task::coop::poll_proceed(cx));
            if let Some(guard) = self.mutex.take(self.place) {
                coop.made_progress();
                return Poll::Ready(Ok(guard));
            }
        }
        self.poll_queued(cx)
    }
}

impl<'a, T: Send> Acquire<'a, T> {
    #[cold]
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<MutexGuard<'a, T>, LockError>> {
        let (mutex, place) = (self.mutex, self.place);
        if self.queued.is_none() {
            let Some(queued) = Queued::start(mutex, place, self.can_refuse, cx) else {
                return Poll::Ready(Err(LockError::circle(mutex.core())));
            };
            self.queued = Some(queued);
        }
        let Some(queued) = &mut self.queued else {
            unreachable!("set above");
        };
        queued.relay.polled(cx);
        let inner = ready!(
            queued
                .turn
                .as_mut()
                .poll(&mut Context::from_waker(&queued.waker))
        );
        // Says who holds it before the wait is over, so that nobody finds neither.
        let guard = mutex.taken(inner, place);
        self.queued = None;
        Poll::Ready(Ok(guard))
    }
}

impl<'a, T: Send> Queued<'a, T> {
    fn start(
        mutex: &'a Mutex<T>,
        place: &'static Location<'static>,
        can_refuse: bool,
        cx: &Context<'_>,
    ) -> Option<Self> {
        let core = mutex.core();
        let handed_at = Arc::new(AtomicU64::new(0));
        let waiting = waits::start(core, Hold::here(place), handed_at.clone(), can_refuse)?;
        let relay = Arc::new(Relay {
            core: core.clone(),
            id: AtomicU64::new(waiting.id.map_or(0, |id| id + 1)),
            handed_at,
            task: sync::Mutex::new(cx.waker().clone()),
        });
        Some(Self {
            turn: Box::pin(mutex.inner.lock()),
            waker: Waker::from(relay.clone()),
            relay,
            _waiting: waiting,
        })
    }
}

impl<T> MutexGuard<'_, T> {
    /// Says that the code at hand holds the lock from now on: for a guard that was taken in one
    /// task and moved into another.
    #[track_caller]
    pub fn adopt(&self) {
        self.core.hold(Location::caller());
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.core.release();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
