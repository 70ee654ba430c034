//! Behavior of the kernel through its public API.

mod nested;
mod once;
mod outcome;
mod panic_value;
mod process;
mod recover;
mod runtime_end;
mod scope_async;
mod scope_dropped;
mod scope_sync;
mod shutdown;
mod supervise;
mod support;
mod wait_group;
#[cfg(feature = "test-util")]
mod watch_dog;
#[cfg(feature = "test-util")]
mod watch_locks;
#[cfg(feature = "test-util")]
mod watch_rig;
