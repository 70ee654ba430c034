//! Behavior of the kernel through its public API.

mod once;
mod scope_async;
mod wait_group;
#[cfg(feature = "test-util")]
mod watch_dog;
#[cfg(feature = "test-util")]
mod watch_locks;
#[cfg(feature = "test-util")]
mod watch_rig;
