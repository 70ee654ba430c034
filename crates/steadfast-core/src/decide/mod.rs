//! Pure decisions: what to do next, given what happened and what time it is.
//!
//! Nothing in this folder waits, locks, reads a clock, draws randomness, logs or touches the
//! environment. Time comes in as `u64` nanoseconds of one monotonic clock, random bits as an
//! argument; so every rule here runs the same in a test, in the simulator and in production.

pub mod admission;
pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod budget;
pub mod hedge;
pub mod lateness;
pub mod limit;
pub mod policy;
pub mod rate;
pub mod restart;
pub mod sketch;
pub mod timeout;
pub mod vigil;
pub mod wait_cycle;
pub mod window;

pub(crate) mod atomic;
