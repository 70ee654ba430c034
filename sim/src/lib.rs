//! Seeded simulations of the pure decisions, and the tests that keep the structure true.
#![forbid(unsafe_code)]

pub mod rng;
pub mod s4_retry_storm;

/// The documents of the project: what they show is compiled and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/coming-from-go.md")]
    mod coming_from_go {}
}
