//! Behavior of the kernel through its public API.

mod batch;
mod batch_permits;
mod blocking_pool;
mod cancel;
mod context;
mod defer;
mod events;
#[cfg(feature = "log")]
mod log_lines;
mod model;
mod nested;
mod once;
mod outcome;
mod panic_hook;
mod panic_value;
mod pool;
mod process;
mod reaper;
mod recover;
mod report;
mod runtime_end;
mod scope_async;
mod scope_dropped;
mod scope_sync;
mod shutdown;
mod soak;
mod supervise;
mod support;
mod task;
#[cfg(feature = "test-util")]
mod test_kit;
mod test_kit_off;
mod wait_group;
#[cfg(feature = "test-util")]
mod watch_dog;
#[cfg(feature = "test-util")]
mod watch_locks;
#[cfg(feature = "test-util")]
mod watch_rig;
