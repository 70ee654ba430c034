//! A panic that is raised, contained, and over.
//!
//! The panic hook belongs to the process. A peer that needs one of its own therefore sets it
//! for the length of its batch and puts the previous one back, so that a contender whose hook
//! is installed for good finds it in place when its turn comes.

use std::cell::RefCell;
use std::hint::black_box;
use std::panic::{
    AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook,
};

use backtrace::Backtrace;

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::tally;
use crate::{Contender, Group, ours};

thread_local! {
    static CAPTURED: RefCell<Option<Backtrace>> = const { RefCell::new(None) };
    static ADDRESSES: RefCell<Vec<usize>> = RefCell::new(Vec::with_capacity(ADDRESSES_MAX));
}

pub(super) fn groups(go: Option<&Go>) -> Vec<Group> {
    vec![
        Group::new("contained panic", "panic")
            .ours(ours::contained_panic())
            .peer(Contender::new("std catch_unwind, silent hook", silent))
            .peer(Contender::new(
                "std catch_unwind, past the hook",
                past_the_hook,
            ))
            .peer_if(go.map(|go| go.contender("Go panic and recover", "panic")))
            .budget(Budget::AtMost { ns: 2_000.0 }),
        Group::new("contained panic, raw backtrace", "panic")
            .ours(ours::contained_panic_with_backtrace())
            .peer(Contender::new(
                "std catch_unwind, backtrace in the hook",
                with_backtrace,
            ))
            .peer(Contender::new(
                "std catch_unwind, addresses in the hook",
                with_addresses,
            ))
            .budget(Budget::AtMost { ns: 5_000.0 }),
    ]
}

fn silent(panics: u64) -> u64 {
    under_hook(
        |_| {},
        || {
            for panic in 0..panics {
                let caught = catch_unwind(AssertUnwindSafe(|| raise(panic)));
                count(caught.is_err());
            }
        },
    )
}

/// The floor: unwinding alone, with no hook to tell anybody.
fn past_the_hook(panics: u64) -> u64 {
    for panic in 0..panics {
        let caught = catch_unwind(AssertUnwindSafe(|| raise_quietly(panic)));
        count(caught.is_err());
    }
    tally().take()
}

fn with_backtrace(panics: u64) -> u64 {
    let capture = |_: &PanicHookInfo<'_>| {
        CAPTURED.set(Some(Backtrace::new_unresolved()));
    };
    under_hook(capture, || {
        for panic in 0..panics {
            let caught = catch_unwind(AssertUnwindSafe(|| raise(panic)));
            let backtrace = CAPTURED.take();
            count(caught.is_err() && backtrace.is_some_and(|trace| !trace.frames().is_empty()));
        }
    })
}

/// The floor: addresses into memory that is already there. What is kept of them is up to the
/// hook; 64 reach through most stacks.
fn with_addresses(panics: u64) -> u64 {
    let capture = |_: &PanicHookInfo<'_>| {
        ADDRESSES.with_borrow_mut(|addresses| {
            addresses.clear();
            backtrace::trace(|frame| {
                addresses.push(frame.ip() as usize);
                addresses.len() < ADDRESSES_MAX
            });
        });
    };
    under_hook(capture, || {
        for panic in 0..panics {
            let caught = catch_unwind(AssertUnwindSafe(|| raise(panic)));
            let captured = ADDRESSES.with_borrow(|addresses| !addresses.is_empty());
            count(caught.is_err() && captured);
        }
    })
}

const ADDRESSES_MAX: usize = 64;

fn under_hook(
    hook: impl Fn(&PanicHookInfo<'_>) + Send + Sync + 'static,
    batch: impl FnOnce(),
) -> u64 {
    let previous = take_hook();
    set_hook(Box::new(hook));
    batch();
    set_hook(previous);
    tally().take()
}

fn count(contained: bool) {
    if contained {
        tally().add();
    }
}

/// A message without arguments, as most panics of real programs have.
#[inline(never)]
pub(crate) fn raise(panic: u64) {
    black_box(panic);
    panic!("raised to be contained");
}

#[inline(never)]
fn raise_quietly(panic: u64) {
    resume_unwind(Box::new(black_box(panic)));
}
