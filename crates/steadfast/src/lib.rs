//! Keeps services up.
#![forbid(unsafe_code)]

#[doc(inline)]
pub use steadfast_core::*;

/// Layers that keep a tower service up.
#[cfg(feature = "tower")]
pub mod tower {
    #[doc(inline)]
    pub use steadfast_tower::*;
}
