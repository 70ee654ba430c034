//! Jobs that survive a crash, and the schedules that make them.
//!
//! # The problem
//! Work that must be done, and not now: a receipt to send, a settlement at night, a hold to release
//! when nobody pays. A task in the process is lost with it. A row in a table with a flag is taken by
//! two, or by one that died. And whoever notices half an hour later cannot tell what was done.
//!
//! # Why the usual answers fail
//! A queue that gives a job back after a time gives back that of a worker that is only slow, and then
//! two do it. The late one finishes, and overwrites what the other did, because the finish looks at
//! the id and not at who holds it. A time-out long enough to be safe is half an hour in which nobody
//! works. And a job that kills its process takes one process after the other.
//!
//! # The tool
//! - [`Jobs::enqueue`] writes a [`Job`] into the store, or [`Jobs::enqueue_in`] into the transaction
//!   of whatever it belongs to. On PostgreSQL the function `steadfast.enqueue(kind, payload,
//!   options)` does so from any language and any trigger.
//! - A [`Worker`] claims jobs and gives each to the handler of its [`Kind`], in a scope of its own.
//!   It is a node in the store, with a lease that it renews.
//! - Every claim and every rescue raises the *term* of a job, and every write of a node carries it:
//!   what a late node says changes nothing ([`state`], [`Run::term`]).
//! - What a dead node held is back in work within 40 seconds by default (its lease of 30, a scan
//!   every 5), on one host at once.
//! - [`schedule`] is when jobs are due.
//!
//! # What is promised, and what is not
//! A job whose enqueue was acknowledged ends in a terminal state, whatever dies on the way, as long
//! as there are nodes with a handler for it and the store keeps what it has acknowledged.
//!
//! **A handler may run more than once for one job**: when its process died, when its lease was lost,
//! when it was handed back. At most one of these runs is accepted as the end of the job. To make the
//! *effect* happen once, too:
//! - in the same database, by [`Run::complete_in`]: effect and end are one transaction;
//! - elsewhere, by giving [`Run::term`] along to a resource that refuses lower ones, or a key that
//!   the resource knows from the first time.
//!
//! A handler that blocks its thread cannot be stopped: its job is given to others after its time, its
//! permit is written off, and what it still does is beyond the fence unless the resource checks the
//! term. Order is by priority and time, as well as possible: jobs that run at once end in any order,
//! and one that is tried again comes later.
//!
//! # Examples
//! ```
//! use serde::{Deserialize, Serialize};
//! use steadfast_core::clock;
//! use steadfast_jobs::{Job, Jobs, Kind, Options, Run, Worker};
//! use steadfast_store::{Config, Store};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendReceipt {
//!     order: u64,
//! }
//!
//! impl Job for SendReceipt {
//!     const KIND: &'static str = "send_receipt";
//! }
//!
//! # #[tokio::main] async fn main() -> Result<(), steadfast_core::BoxError> {
//! # let folder = std::env::temp_dir().join(format!("jobs-doc-lib-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
//! let jobs = Jobs::open(&store).await?;
//! jobs.enqueue(&SendReceipt { order: 4711 }, Options::new()).await?;
//!
//! let worker = Worker::builder(&jobs)
//!     .kind(Kind::new(async |run: Run, receipt: SendReceipt| {
//!         println!("order {}, attempt {}", receipt.order, run.attempt());
//!         Ok(())
//!     }))
//!     .build()?
//!     .start();
//! while worker.completed() == 0 {
//!     clock::sleep(Duration::from_millis(5)).await;
//! }
//! worker.stop(Duration::from_secs(5)).await;
//! # store.close().await;
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod decide;
pub mod end;
pub mod schedule;
pub mod state;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod worker;

mod client;
mod control;
mod error;
mod event;
mod job;
mod list;
mod queues;
mod rejected;
mod retention;
mod snapshots;
mod sql;
mod unhandled;
mod wake;

pub use client::{BATCH_MAX, Batch, Enqueued, Jobs};
pub use control::{Cancelled, CancelledAll, Redriven};
pub use error::Error;
pub use event::{EVENTS_BEHIND_MAX, JobEvent, What};
pub use job::{Job, JobId, KEY_BYTES_MAX, NAME_BYTES_MAX, Options, PAYLOAD_BYTES_MAX, WAIT_MAX};
pub use list::{
    COUNT_CAP, Counts, Cursor, Filter, JobDetail, JobInfo, NoCursor, PAGE_MAX, Page, WINDOW,
};
pub use queues::QueueInfo;
pub use rejected::{Rejected, RejectedCursor, RejectedEnd};
pub use retention::Retention;
pub use snapshots::{HeldSnapshot, SNAPSHOT_OLD, SNAPSHOTS_MAX};
pub use sql::PACKAGE;
pub use state::State;
pub use unhandled::Unhandled;
pub use wake::Wake;
pub use worker::{Body, Kind, OnLeaseLost, Run, Running, Worker, WorkerBuilder};

/// The documents of the project about schedules: what stands in them is compiled and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../docs/how-to/zones-and-dst.md")]
    mod zones_and_dst {}
}
