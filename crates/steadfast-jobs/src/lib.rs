//! Jobs that survive a crash, and the schedules that make them.
#![forbid(unsafe_code)]

pub mod decide;
pub mod end;
pub mod schedule;
pub mod state;
pub mod worker;

mod client;
mod error;
mod event;
mod job;
mod sql;

pub use client::{BATCH_MAX, Batch, Cancelled, Jobs, Wake};
pub use error::Error;
pub use event::{EVENTS_BEHIND_MAX, JobEvent, What};
pub use job::{Job, JobId, KEY_BYTES_MAX, NAME_BYTES_MAX, Options, PAYLOAD_BYTES_MAX, WAIT_MAX};
pub use sql::PACKAGE;
pub use state::State;
pub use worker::{Kind, Retention, Run, Running, Worker, WorkerBuilder};

/// The documents of the project about schedules: what stands in them is compiled and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../docs/how-to/zones-and-dst.md")]
    mod zones_and_dst {}
}
