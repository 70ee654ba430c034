#![allow(
    unsafe_code,
    reason = "keeps small closures in place; invariants at `SmallFn`"
)]
//! A `FnOnce` without a type, kept in place when it is small.
//!
//! A boxed closure costs an allocation for each cleanup; a cleanup captures a handle or two. So up
//! to [`WORDS`] words are kept in the entry itself, and only larger closures are boxed.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// How much is kept in place: 4 words, a string and a handle.
const WORDS: usize = 4;

type Space = [MaybeUninit<usize>; WORDS];

/// A `FnOnce(&mut A) -> R` of any type that lives for `'f`; `Send` when the `S` marker is.
///
/// Invariants:
/// 1. `space` holds one live value of the type that both functions were made for: the closure, or
///    a `Box` of it. Each of the two ends its life, and is the last use of the wrapper.
/// 2. `space` is aligned to a word and [`fits`] refuses what needs more.
pub(crate) struct SmallFn<'f, A, R, S = Sendable> {
    space: Space,
    call: unsafe fn(*mut Space, &mut A) -> R,
    drop: unsafe fn(*mut Space),
    live: PhantomData<(&'f (), S)>,
}

/// Marks closures that may cross threads.
pub(crate) struct Sendable;

/// Marks closures that stay in their thread.
pub(crate) struct Local(PhantomData<*mut ()>);

impl<'f, A, R> SmallFn<'f, A, R, Sendable> {
    #[inline]
    pub(crate) fn new<F: FnOnce(&mut A) -> R + Send + 'f>(f: F) -> Self {
        Self::erase(f)
    }
}

impl<'f, A, R> SmallFn<'f, A, R, Local> {
    #[inline]
    pub(crate) fn local<F: FnOnce(&mut A) -> R + 'f>(f: F) -> Self {
        Self::erase(f)
    }
}

impl<'f, A, R, S> SmallFn<'f, A, R, S> {
    #[inline]
    fn erase<F: FnOnce(&mut A) -> R + 'f>(f: F) -> Self {
        if fits::<F>() {
            // SAFETY: both functions are called at most once, on a space that holds an `F`.
            Self::place(
                f,
                |space, argument| unsafe { space.cast::<F>().read()(argument) },
                |space| unsafe { space.cast::<F>().drop_in_place() },
            )
        } else {
            // SAFETY: both functions are called at most once, on a space that holds a `Box<F>`.
            Self::place(
                Box::new(f),
                |space, argument| unsafe { space.cast::<Box<F>>().read()(argument) },
                |space| unsafe { space.cast::<Box<F>>().drop_in_place() },
            )
        }
    }

    #[inline]
    fn place<V>(
        value: V,
        call: unsafe fn(*mut Space, &mut A) -> R,
        drop: unsafe fn(*mut Space),
    ) -> Self {
        assert!(fits::<V>(), "checked by the caller; a box is one word");
        let mut space: Space = [MaybeUninit::uninit(); WORDS];
        // SAFETY: the value fits in size and alignment (invariant 2), and the space holds nothing.
        unsafe { space.as_mut_ptr().cast::<V>().write(value) };
        Self {
            space,
            call,
            drop,
            live: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn call(self, argument: &mut A) -> R {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the function was made for what is in the space (invariant 1), and the wrapper is
        // never dropped, so this is the last use.
        unsafe { (this.call)(&raw mut this.space, argument) }
    }
}

impl<A, R, S> Drop for SmallFn<'_, A, R, S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: invariant 1; this is the last use.
        unsafe { (self.drop)(&raw mut self.space) }
    }
}

// SAFETY: `Sendable` wrappers are made by `new` alone, which demands `Send` of the closure; the
// space holds nothing else, and `A` and `R` are only passed through.
unsafe impl<A, R> Send for SmallFn<'_, A, R, Sendable> {}

const fn fits<V>() -> bool {
    size_of::<V>() <= size_of::<Space>() && align_of::<V>() <= align_of::<Space>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn closures_of_every_size_are_called_with_what_they_captured() {
        fn check<const N: usize>() {
            let captured = [7u8; N];
            let f = SmallFn::new(move |sum: &mut usize| {
                *sum += captured.iter().map(|b| usize::from(*b)).sum::<usize>();
                captured.len()
            });
            let mut sum = 0;

            assert_eq!(f.call(&mut sum), N);
            assert_eq!(sum, 7 * N);
        }
        check::<0>();
        check::<1>();
        check::<31>();
        check::<32>();
        check::<33>();
        check::<4096>();
    }

    #[test]
    fn what_a_closure_holds_is_released_once_called_or_not() {
        for padding in [0, 64] {
            let held = Arc::new(());
            let (a, b) = (held.clone(), held.clone());
            let pad = vec![0u8; padding];
            let large = [pad.len(); 8];
            let called = SmallFn::new(move |_: &mut ()| drop(a));
            let dropped = SmallFn::new(move |_: &mut ()| {
                let _ = large;
                drop(b)
            });

            called.call(&mut ());
            drop(dropped);

            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[test]
    fn a_closure_that_needs_more_alignment_is_boxed() {
        #[repr(align(64))]
        struct Aligned(u8);
        let value = Aligned(5);

        let f = SmallFn::new(move |_: &mut ()| (&raw const value as usize, value.0));
        let (address, byte) = f.call(&mut ());

        assert_eq!((address % 64, byte), (0, 5));
    }
}
