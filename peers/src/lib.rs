//! Steadfast's primitives and their peers, measured side by side.
//!
//! A figure from another machine, another day or another process says little about which of
//! two ways is faster: frequency, neighbors and memory layout move it by more than the
//! difference. So every primitive is a [`Group`] of [`Contender`]s that do the same work in
//! one process and take turns, batch by batch, for many rounds. A disturbance then hits all
//! of them alike, and the median of each is taken from the same stretch of time.
//!
//! The harness is our own because the usual ones measure one contender to its end before
//! they start the next, and none of them can take a batch from a program in another language
//! into the same rounds.
//!
//! - [`primitives`] holds one file per primitive: the peers, the unit that is counted, and
//!   the budget ours has to keep.
//! - [`layers`] holds one file per layer of a request's way, and the whole chain.
//! - [`harness`] calibrates, refuses loops that were optimized out, alternates, and sums up.
//! - [`footprint`] holds what is kept in memory for each of many.
//! - [`table`] prints; [`budget`] judges; [`golang`] brings in the Go program.
//!
//! Steadfast takes part through [`Group::ours`], one contender a primitive, made from the same
//! work in [`work`] as its peers.
//!
//! The binary `bench` prints the table. The binary `allocations` runs the same contenders
//! under a counting allocator, apart, so that counting never slows what is timed. The binary
//! `repeat` runs one of them, for a profiler.

pub mod budget;
pub mod contender;
pub mod footprint;
pub mod golang;
pub mod harness;
pub mod layers;
pub mod machine;
mod ours;
pub mod primitives;
pub mod table;
pub mod work;

pub use contender::{Batch, Contender, Group};

/// Returns all that is measured, in the order of the table; Go takes part where it is there.
pub fn groups(go: Option<&golang::Go>) -> Vec<Group> {
    // Layers first: those who tell their panics are to be heard while they are made.
    let layers = layers::all();
    let mut groups = primitives::all(go);
    groups.extend(layers);
    groups
}
