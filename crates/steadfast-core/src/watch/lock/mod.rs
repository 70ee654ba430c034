//! The two locks, and what they have in common.

pub(super) mod waits;

mod blocking;
mod core;
mod error;
mod mutex;

pub use blocking::{SyncMutex, SyncMutexGuard};
pub use error::LockError;
pub use mutex::{Lock, Mutex, MutexGuard};
