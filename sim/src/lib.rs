//! Seeded simulations of the pure decisions, and the tests that keep the structure true.
#![forbid(unsafe_code)]
