//! Behavior of the kernel through its public API.

mod once;
mod outcome;
mod scope_async;
mod scope_sync;
mod support;
mod wait_group;
