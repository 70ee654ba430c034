//! What can stand around an outgoing call: ours, and what is usually there.

mod hedges;
mod plain;
mod timeouts;
mod trips;

pub use hedges::{Hedged, Hedging, Never, Unbudgeted};
pub use plain::OneProbe;
pub use timeouts::{FixedTimeout, Given, Learned, Percentile, Timeouts};
pub use trips::{Guarding, InARow, NeverSlides, OurBreaker, Passed, ShareOfLast};
