//! Supervise.

mod act;
mod builder;
mod child;
mod contained;
mod drive;
mod end;
mod error;
mod event;
mod group;
mod handle;
mod instance;
mod snapshot;
mod state;

pub use crate::decide::backoff::{Backoff, Jitter};
pub use crate::decide::restart::{
    AutoShutdown, ChildId, End, Intensity, InvalidRules, Restart, Rules, Strategy,
};
pub use builder::SupervisorBuilder;
pub use child::Child;
pub use end::{ChildEnd, GroupEnd};
pub use error::{GroupError, RequestError};
pub use event::{ChildRef, Event, EventKind};
pub use handle::Supervisor;
pub use instance::ChildContext;
pub use snapshot::{ChildSnapshot, ChildState, GroupState, Snapshot};
