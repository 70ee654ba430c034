//! The atomics of this folder: loom's under its own cfg, so that a model tries their
//! interleavings, and those of the standard library everywhere else.

#[cfg(steadfast_loom)]
pub(crate) use loom::sync::atomic::*;
#[cfg(not(steadfast_loom))]
pub(crate) use std::sync::atomic::*;
