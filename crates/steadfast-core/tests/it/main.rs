//! Behavior of the kernel through its public API.

mod nested;
mod once;
mod outcome;
mod panic_value;
mod recover;
mod scope_async;
mod scope_dropped;
mod scope_sync;
mod support;
mod wait_group;
