//! Behavior of the kernel through its public API.

mod scope_async;
