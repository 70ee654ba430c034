//! The decisions of a worker, apart from everything that waits, reads a clock or draws randomness.

pub mod abandoned;
pub mod brake;
pub mod crash;
pub mod floor;
pub mod length;
pub mod pace;
pub mod poll;
pub mod retry;
pub mod spread;
pub mod turn;
