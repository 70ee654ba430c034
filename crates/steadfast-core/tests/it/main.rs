//! Behavior of the kernel through its public API.

mod nested;
mod once;
mod outcome;
mod process;
mod scope_async;
mod scope_dropped;
mod scope_sync;
mod shutdown;
mod support;
mod wait_group;
