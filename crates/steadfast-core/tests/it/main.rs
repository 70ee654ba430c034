//! Behavior of the kernel through its public API.

mod once;
mod process;
mod scope_async;
mod shutdown;
mod wait_group;
