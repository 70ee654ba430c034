//! Behavior of the kernel through its public API.

mod blocking_pool;
mod pool;
mod scope_async;
