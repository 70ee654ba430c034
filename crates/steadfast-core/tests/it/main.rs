//! Behavior of the kernel through its public API.

mod once;
mod scope_async;
mod wait_group;
