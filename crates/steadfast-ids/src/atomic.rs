//! The atomics of this package: loom's under its own cfg, so that a model tries their interleavings.

#[cfg(steadfast_loom)]
pub(crate) use loom::sync::atomic::*;
#[cfg(not(steadfast_loom))]
pub(crate) use std::sync::atomic::*;
