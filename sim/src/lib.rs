//! Seeded simulations of the pure decisions, and the tests that keep the structure true.
#![forbid(unsafe_code)]

pub mod chart;
pub mod engine;
pub mod fronts;
pub mod load;
pub mod metrics;
pub mod page;
pub mod rng;
pub mod scenario;

pub mod s1_limit;
pub mod s2_tiers;
pub mod s3_core_burst;
pub mod s4_retry_storm;
pub mod s8_price;

/// The documents of the kernel: what they show is compiled and run. Those that show services are
/// with the facade.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../docs/coming-from-go.md")]
    mod coming_from_go {}
}
