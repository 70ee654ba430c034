//! What is known about the work at hand: one trace id, tier, deadline and a few more, at every
//! await and in every panic.
//!
//! Go hands a `context` from call to call by hand, and whoever forgets it loses the trace. Task
//! locals do it by a lookup through an allocation, and are gone where one needs them most: in the
//! panic hook. Here the context is one small [`Context`] block that is `Copy`, in a thread-local
//! that every scope, task, guard and runner sets around each poll. Reading it takes no lock, so
//! panics, pool holders, log lines, outgoing calls and jobs all can.
//!
//! - [`current`] and [`update`] read and change the block; a change lasts to the end of the scope
//!   or task in which it is made, and its children see it.
//! - [`put`] and [`get`] hold a few text values of the application's own, for log lines.
//! - `lines` (feature `log`) completes every line of the log by all of these.
//! - [`cancel`] is the token of the innermost scope.
//! - [`capture`] takes everything along to where steadfast does not spawn: another runtime, a
//!   thread, a callback.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::context::{self, Context, Tier, TraceId};
//!
//! let request = Context::new().with_trace_id(TraceId::random()).with_tier(Tier::CORE);
//! request.run(|| {
//!     context::put("order", "4711");
//!     assert_eq!(context::current().tier(), Tier::CORE);
//!     assert_eq!(context::get("order").as_deref(), Some("4711"));
//! });
//! assert_eq!(context::current().trace_id(), None);
//! ```

mod block;
mod frame;
mod ids;
mod keys;
#[cfg(feature = "log")]
mod lines;
mod name;
mod node;
mod path;
mod propagated;

pub use block::{Context, Tag, TagTooLong, Tier};
pub use frame::{Captured, InContext, capture};
pub use ids::{InvalidId, SpanId, TraceId};
pub use keys::{FullError, KEYS_MAX, VALUE_BYTES_MAX};
#[cfg(feature = "log")]
pub use lines::{LineWriter, Lines, lines};
pub use name::Name;
pub use path::ScopePath;
pub use propagated::Propagated;

pub(crate) use frame::{Frame, set_cleanup_deadline, with};
#[cfg(feature = "test-util")]
pub(crate) use frame::{retrace, traced};
pub(crate) use keys::Keys;
pub(crate) use node::{AsNode, Kind, Node};

use std::sync::Arc;

use crate::cancel::Cancel;
use frame::Phase;

/// Gives the context of the work at hand; an empty one outside of any.
pub fn current() -> Context {
    frame::with(Frame::block)
}

/// Changes the context for the rest of the scope or task at hand, and for what it starts later.
///
/// Outside of any it changes that of the thread.
pub fn update(change: impl FnOnce(Context) -> Context) {
    let changed = change(current());
    let keys = frame::with(|frame| frame.keys().cloned());
    frame::overlay(changed, keys);
}

/// Keeps a text value under `key` for the rest of the scope or task at hand, and for what it
/// starts later: it is in every log line and in the report of a panic. A key that exists is
/// overwritten. A value longer than [`VALUE_BYTES_MAX`] is cut at a character's end.
///
/// # Errors
/// [`FullError`] when [`KEYS_MAX`] other keys are in use; retrying is of no use.
pub fn put(key: impl Into<Name>, value: &str) -> Result<(), FullError> {
    let keys = frame::with(|frame| keys::with(frame.keys(), key.into(), value))?;
    frame::overlay(current(), Some(keys));
    Ok(())
}

/// Gives the value that [`put`] keeps under `key`.
pub fn get(key: &str) -> Option<Arc<str>> {
    frame::with(|frame| keys::get(frame.keys(), key))
}

/// Gives all that [`put`] keeps, in the order in which it came.
pub fn entries() -> Vec<(Name, Arc<str>)> {
    frame::with(|frame| keys::entries(frame.keys()))
}

/// Gives what came from outside with the request at hand, to be passed on with what it calls.
pub fn propagated() -> Option<Arc<Propagated>> {
    frame::with(|frame| frame.keys()?.propagated.clone())
}

/// Gives the token of the innermost scope: cancelled, with a cause, when the scope is.
///
/// Outside of a scope, and inside of cleanups (which must go on), it is a token that nobody
/// cancels.
pub fn cancel() -> Cancel {
    frame::with(|frame| match (frame.node(), frame.phase) {
        (Some(node), Phase::Body) => node.token(),
        _ => Cancel::new(),
    })
}

/// Gives the names of the scopes around the work at hand, outermost first.
pub fn scope_path() -> ScopePath {
    frame::with(Frame::scope_path)
}
