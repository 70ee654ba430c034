//! Rows from many, written by one, so many at once that it is quick and hurts nobody.
//!
//! # The problem
//! Every request writes a row. One transaction for each spends its time on commits; the usual
//! buffer in front of the database has other faults, which show when they hurt: it grows without
//! bound while the database is away, it acknowledges before it has written, it gives up 1,000 rows
//! for one that is too long, it takes a deadlock for a bad row, it loses what it holds at each
//! deploy, and its size was tuned when nobody else was writing.
//!
//! # The tool
//! A [`BatchWriter`] takes rows into a bounded queue and writes them by a [`Sink`], which runs one
//! transaction:
//!
//! - **When** there are enough rows or bytes, or the oldest row has lingered long enough, whichever
//!   comes first. How many are enough is found while it runs, below a hard cap of 200, from the time
//!   that batches take, who waits for locks meanwhile, and how far replicas are behind
//!   ([`decide::batch`](crate::decide::batch)); [`stats`](BatchWriter::stats) names what bounds it.
//! - **Acknowledged after the commit**: sending gives a [`Receipt`], to be awaited by whoever wants
//!   to know. Dropping it loses the answer and not the row.
//! - **Rows that cannot be written** are found by halving, told with their reason, handed to
//!   [`Sink::dead`], and do not take others with them. When nothing can be written any more the
//!   writer stops giving up rows, and they wait. Now and then a few are tried, up to sixteen, and once one of them is
//!   written, those that failed before it are tried once more, and given up if they fail again. So sixteen rows in a row that cannot be written wait, all others
//!   behind them, and that is told. A row alone that takes too long four times is treated as they are.
//! - **Failures that are not the rows'** ([`WriteError::conflict`], [`WriteError::unavailable`]) are
//!   tried again, with jitter, under the same [`BatchId`]: a sink that stores the id in the same
//!   transaction writes each batch once, also when the answer to a commit was lost. When something else fails then, the sink
//!   is asked whether the batch is written ([`Sink::settle`]) before its rows go another way.
//!   Between attempts, and while rows are looked for that cannot be written, it waits out what replicas ask for.
//! - **A full queue** makes the sender wait, wait until a deadline, or be rejected: its choice.
//! - **The end** drains, within a limit, and counts what is left.
//!
//! At every moment, rows offered are those written, dead, rejected, queued and, after the end, left.
//!
//! # Order and keys
//! Rows are written in the order in which they came. With [`keyed`](BatchBuilder::keyed) those of a
//! batch are sorted by their key, of one key in the order in which they came: two writers whose
//! batches have keys in common then lock them in one order, and do not deadlock.
//!
//! Where rows failed since the table was broken, and it is mended while a few are tried, one may be written before those that
//! came earlier; of one key none is, the earlier ones are given up then. That is the key of `keyed`, and without it what the
//! sink takes for one ([`Sink::is_same_key`]), such as that of an upsert. So say the key where the order matters.
//! [`folding`](BatchBuilder::folding) merges rows of one key within a batch, which an upsert of many
//! rows needs.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use std::sync::{Arc, Mutex};
//! use steadfast::batch::{Batch, BatchConfig, BatchWriter, Sink, WriteError};
//!
//! /// A table. A real sink runs one transaction.
//! #[derive(Clone, Default)]
//! struct Table(Arc<Mutex<Vec<i32>>>);
//!
//! impl Sink<i32> for Table {
//!     async fn write(&self, batch: Batch<'_, i32>) -> Result<(), WriteError> {
//!         if batch.rows().contains(&13) {
//!             return Err(WriteError::row("13 is not allowed here"));
//!         }
//!         self.0.lock().unwrap().extend(batch.rows());
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let table = Table::default();
//! let writer = BatchWriter::builder(BatchConfig::new("numbers"), table.clone()).start()?;
//!
//! let mut receipts = Vec::new();
//! for number in 10..20 {
//!     receipts.push(writer.send(number).await?);
//! }
//! for (number, receipt) in (10..20).zip(receipts) {
//!     match receipt.await {
//!         Ok(()) => assert_ne!(number, 13),
//!         Err(error) => assert_eq!(error.to_string(), "row cannot be written: 13 is not allowed here"),
//!     }
//! }
//!
//! let drained = writer.drain(steadfast::clock::now() + std::time::Duration::from_secs(5)).await;
//! assert_eq!((drained.written, drained.dead, drained.left), (9, 1, 0));
//! assert_eq!(*table.0.lock().unwrap(), [10, 11, 12, 14, 15, 16, 17, 18, 19]);
//! # Ok(()) }
//! ```

mod arrange;
mod books;
mod build;
mod config;
mod look;
mod permits;
mod queue;
mod receipt;
mod sink;
mod worker;
mod writer;

pub(crate) use books::METRICS;
pub(crate) use worker::EVENTS;

pub use books::{BatchStats, SizeStats};
pub use build::BatchBuilder;
pub use config::{BatchConfig, BatchError};
pub use look::Look;
pub use permits::Permits;
pub use receipt::{NotWritten, Receipt, Rejected};
pub use sink::{Batch, BatchId, Sink, WriteError};
pub use writer::BatchWriter;
