//! Seeded simulations of the pure decisions, and the tests that keep the structure true.
#![forbid(unsafe_code)]

pub mod calls;
pub mod chart;
pub mod engine;
pub mod events;
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
pub mod s5_stall;
pub mod s6_learn;
pub mod s7_trip;
pub mod s8_price;
pub mod s9_hedge;

pub mod s11_half_open;
pub mod s12_live_change;
pub mod s13_override;
pub mod s14_shadow;

/// The documents of the kernel: what they show is compiled and run. Those that show services are
/// with the facade.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../docs/coming-from-go.md")]
    mod coming_from_go {}
}
