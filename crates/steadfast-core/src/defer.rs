//! The block guard behind [`defer!`](crate::defer!).

use std::panic::Location;

use crate::{recover, voice};

/// Runs a block when the enclosing block is left, by any way out.
///
/// The cheapest form of cleanup: no allocation, no registration. It runs from `Drop`, so it
/// cannot await, and [`std::thread::panicking`] may be true in it. A panic in it is contained and
/// reported, never an abort; the guards around it still run.
///
/// Guards of one block run last in first out. The block captures by reference what it uses; say
/// `defer! { move => … }` to fix the values now, as Go does with arguments.
///
/// Compared with [`scope`](crate::scope()): this one runs when a future is dropped, too, but it
/// does not know how the block ended, cannot await, and is in no report.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::cell::Cell;
/// use steadfast::defer;
///
/// let open = Cell::new(0);
/// {
///     open.set(1);
///     defer! { open.set(0); }
///     assert_eq!(open.get(), 1);
/// }
/// assert_eq!(open.get(), 0);
/// ```
#[macro_export]
macro_rules! defer {
    (move => $($body:tt)*) => {
        let _defer = $crate::defer::guard(move || { $($body)* });
    };
    ($($body:tt)*) => {
        let _defer = $crate::defer::guard(|| { $($body)* });
    };
}

/// Makes the guard of [`defer!`](crate::defer!), for those who want to name it or
/// [disarm](DeferGuard::disarm) it.
#[inline]
#[track_caller]
pub fn guard<F: FnOnce()>(cleanup: F) -> DeferGuard<F> {
    DeferGuard {
        cleanup: Some(cleanup),
        place: Location::caller(),
    }
}

/// Runs a closure when it is dropped; made by [`guard`].
#[must_use = "the cleanup runs when this is dropped, which is at once if it is not bound"]
pub struct DeferGuard<F: FnOnce()> {
    cleanup: Option<F>,
    place: &'static Location<'static>,
}

impl<F: FnOnce()> DeferGuard<F> {
    /// Gives the cleanup back instead of running it.
    pub fn disarm(mut self) -> F {
        let cleanup = self.cleanup.take();
        cleanup.expect("the cleanup is there until the drop")
    }
}

impl<F: FnOnce()> Drop for DeferGuard<F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup.take()
            && recover(cleanup).is_err()
        {
            // The hook reports the panic itself; this says where the guard was.
            panicked(self.place);
        }
    }
}

#[cold]
fn panicked(place: &'static Location<'static>) {
    // The thread may be unwinding: a subscriber that panics must not end the process.
    voice::tell(|| {
        tracing::error!(
            target: "steadfast::scope",
            place = %format_args!("{}:{}", place.file(), place.line()),
            "a deferred block panicked"
        );
    });
}

impl<F: FnOnce()> std::fmt::Debug for DeferGuard<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeferGuard")
            .field(
                "place",
                &format_args!("{}:{}", self.place.file(), self.place.line()),
            )
            .finish_non_exhaustive()
    }
}
