//! Behavior of the kernel through its public API.

mod once;
mod process;
mod scope_async;
mod supervise;
mod wait_group;
