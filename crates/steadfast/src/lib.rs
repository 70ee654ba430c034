//! Keeps services up.
#![forbid(unsafe_code)]

#[doc(inline)]
pub use steadfast_core::*;
