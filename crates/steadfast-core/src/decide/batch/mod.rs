//! How many rows to write in one transaction, and which of them cannot be written.
//!
//! # The problem
//!
//! One transaction for each row spends its time on commits. One transaction for all of them holds
//! its locks for all of its time: whoever wants one of the rows waits, replicas apply it in one
//! piece and fall behind by as long, and one bad row takes the others with it. Where the two meet
//! is different for every table, machine and hour.
//!
//! # Why the usual answers fail
//!
//! *A fixed size* is tuned on an idle database. Under eight writers on hot rows the same size costs
//! a multiple: throughput does not fall off slowly, it falls off a cliff, somewhere between a
//! hundred and two hundred rows. *A time limit alone* does not see who waits meanwhile, nor the
//! replica. *Writing a failed batch again row by row* turns one bad row among 200 into 200
//! transactions; *giving up the batch* loses 199 good rows.
//!
//! # The tool
//!
//! [`BatchSize`] is one controller over everything that bounds a batch: time, rows, bytes, those who
//! wait for locks, and the lag of replicas. It is told what was seen and answers with a [`Step`]:
//! how much to write next, from when on, and the [`Constraint`] that says so.
//!
//! - **Time** aims at [`target`](SizeConfig::target). A batch that took longer shrinks the next in
//!   proportion; a quicker one lets it grow, but only if it was full, since a batch that had no more
//!   rows says nothing about larger ones.
//! - **What does not depend on the rows**, such as a commit to another region or a slow disk, no size makes shorter. It is
//!   learned from what batches of different sizes took lately: where the line through them begins. A size that is alone
//!   tells nothing, so now and then one batch has a quarter of the rows (one row cannot have fewer: there it has two). Where
//!   more than about half of the target is of that kind, a batch may take twice as long as that instead: then it writes at
//!   half of the rate that no size exceeds, while at half of its rows it would still take three quarters of the time, and
//!   write a third less. A fall for a time that batches may take, as it turns out, is taken back. What others make a
//!   batch wait for is taken off, by how many are seen to wait; a writer that sees none takes it for a slow commit.
//! - **Throughput** of the sizes seen lately is compared: where a larger batch writes fewer rows a
//!   second than a smaller one, the smaller one it is, even if both are quick enough.
//! - After a fall it remembers where it fell from and comes near to that only slowly, so that it
//!   stays on this side of a cliff instead of going over it again and again.
//! - **Waiters**: whoever waits for locks while we write waits for us, as far as anybody can tell. With
//!   more than are tolerated, a third is taken off at each look: of the rows, where batches take long
//!   and smaller ones write as much; else of the share of the time that it writes at all. Writers on
//!   the same rows wait for each other whatever their sizes are, and the smaller the batches, the more
//!   of them come: there, fewer at once is what helps.
//! - **Replicas**: over the limit nothing is written until a look finds them below it, or until
//!   [`pause_max`](SizeConfig::pause_max), when one smallest batch passes. When nothing is known
//!   about them, [`UnknownLag`] says what to do.
//! - **Bytes** end a batch before its rows do where those are large, and are named then.
//! - **The cap**, 200 rows by default, is never exceeded, whatever the rest says.
//!
//! [`InFlight`] is for several writers to one database that know of each other: with more waiting than are tolerated,
//! fewer of them have a batch in flight at once, and the others their next one ready. That costs nothing where they
//! would have waited for each other anyway, so it comes before rests and smaller batches. That batches take longer than
//! their target is a reason for it only while half of those in flight wait: a slow commit is as slow alone.
//!
//! [`Search`] finds the rows that cannot be written by halving, with at most 2·⌈log₂(n)⌉ more
//! transactions for one among n. [`Circuit`] notices that it is not the rows: when one after the
//! other fails and nothing succeeds, it stops before all of them are given up.

mod circuit;
mod config;
#[cfg(test)]
mod contention;
#[cfg(test)]
mod fixed_time;
mod in_flight;
mod rates;
mod search;
mod size;
mod step;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use circuit::{Circuit, CircuitState};
pub use config::{InvalidSize, SizeConfig, UnknownLag};
pub use in_flight::{InFlight, Turns};
pub use search::{Search, Tried};
pub use size::BatchSize;
pub use step::{Constraint, Lag, Pressure, Step, Wrote};

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
