//! What can stand before a server: ours, and what is usually there.

mod guarded;
mod limited;
mod limiters;
mod priority_queue;
mod shares;

pub use guarded::Guarded;
pub use limited::{Limited, Limiter};
pub use limiters::{Aimd, Fixed, Unlimited, Vegas};
pub use priority_queue::PriorityQueue;
pub use shares::Shares;
