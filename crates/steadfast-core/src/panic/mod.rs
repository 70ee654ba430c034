//! Panics as values: caught, described, counted, and never lost.
//!
//! A bare `catch_unwind` hands over a payload without a place, a backtrace or a trace id; a
//! panic in a spawned task sits in a join handle that nobody reads; the standard hook prints to
//! a stream that nobody collects, and one that asks the tracing registry can deadlock. Here a
//! panic is *reported when it happens* and *carried to whoever joins*, never only one of the two:
//!
//! - A [hook](install), installed once, chains the one before it. It reads only the thread-local
//!   context, formats nothing, never touches tracing, and pushes a record of fixed size into a
//!   bounded ring.
//! - A reporter thread emits the event `panic` and [groups]; another one symbolizes.
//! - A catch ([`recover`](crate::recover()), scopes, tasks, pools, supervisors) joins its [`Panic`]
//!   to that record. A record that no catch claims within [`CLAIM_LIMIT`] is reported as
//!   uncaught.
//!
//! Panics of one place are counted exactly; only the first [`SAMPLES_PER_SECOND`] of a second have
//! an event of their own, and the first [`BACKTRACES_PER_SECOND`] of those a backtrace. The others
//! are added up in one or two events a second. So a storm costs little.
//!
//! # What cannot be contained
//! `abort`, a stack overflow, out of memory, unwinding out of foreign code, a panic in a `Drop`
//! during unwinding that leaves it, and a `Display` that panics while `panic!` formats its
//! message end the process, as does every panic when it is built with `panic = "abort"`
//! ([`can_unwind`] tells). A supervising process is the answer to those.

mod group;
mod hook;
mod kind;
mod payload;
mod record;
mod reporter;
mod rounds;
mod symbols;
mod value;

pub use group::{BACKTRACES_PER_SECOND, GROUPS_MAX, Group, SAMPLES_PER_SECOND, sample, trace};
pub use hook::{install, install_quiet};
pub use kind::{Check, Kind};
pub use payload::PayloadRef;
pub use record::MESSAGE_BYTES_MAX;
pub use reporter::{CLAIM_LIMIT, Observer, Report, flush, groups, observe};
pub use value::{Location, Panic};

pub(crate) use hook::Catching;
pub(crate) use payload::{Contained, drop_contained};
pub(crate) use reporter::EVENTS;
pub(crate) use value::claim;

/// Tells whether panics unwind in this build; with `panic = "abort"` nothing can be contained.
///
/// The profile of the final program decides for all crates, so this is true to what runs. Tests
/// always unwind, whatever the profile of the program says: check in the program itself, as
/// [`run`](crate::run()) does.
pub const fn can_unwind() -> bool {
    cfg!(panic = "unwind")
}

/// What a scope does when its body panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Turn the panic into a value, run the cleanups, go on.
    #[default]
    Contain,
    /// Write the report to standard error, then abort the process: for code after whose panic no
    /// shared state can be trusted. Cleanups do not run.
    Abort,
}

pub(crate) fn abort_with_report(panic: &Panic) -> ! {
    use std::io::Write;

    reporter::flush(std::time::Duration::from_millis(500));
    // Nothing can be done about a closed standard error; the abort must come all the same.
    let _ = writeln!(
        std::io::stderr(),
        "aborting by the panic policy of the scope: {}",
        panic.describe()
    );
    std::process::abort()
}
