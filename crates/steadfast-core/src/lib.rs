//! What a robust process needs before it has a network or a database.

pub mod cancel;
pub mod clock;
pub mod context;
pub mod decide;
pub mod defer;
pub mod panic;
pub mod pool;
pub mod reaper;
pub mod report;
pub mod rng;
pub mod scope;

mod recover;
mod small_fn;
mod task;
mod text;

#[doc(inline)]
pub use cancel::{Cancel, Cause};
#[doc(inline)]
pub use context::Context;
#[doc(inline)]
pub use panic::Panic;
pub use recover::{RecoverAsync, recover, recover_async};
#[doc(inline)]
pub use scope::{
    BoxError, CleanupEntry, CleanupHandle, CleanupReport, CleanupResult, CleanupStatus, Outcome,
    Owned, Scope, ScopeBuilder, ScopeError, SyncScope, Verdict, scope,
};
pub use task::{Task, TaskError, spawn};
