//! Behavior of the kernel through its public API.

mod cancel;
mod context;
mod defer;
mod events;
mod model;
mod nested;
mod once;
mod outcome;
mod panic_hook;
mod panic_value;
mod process;
mod reaper;
mod recover;
mod report;
mod scope_async;
mod scope_dropped;
mod scope_sync;
mod shutdown;
mod soak;
mod support;
mod task;
mod wait_group;
