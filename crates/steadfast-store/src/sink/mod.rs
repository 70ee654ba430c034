//! Where a [`BatchWriter`](steadfast_core::batch::BatchWriter) writes: tables of PostgreSQL and SQLite.
//!
//! # The problem
//! Rows that come one by one are written many at a time, and each way to do so has its trap. `VALUES` with a
//! placeholder a value ends at 65,535 of them, and is another statement for each number of rows. `unnest` takes
//! arrays of different lengths and fills up with nulls. `ON CONFLICT DO UPDATE` refuses a statement in which one key
//! comes twice. Two upserts that lock the same rows in another order deadlock. A commit whose answer is lost was
//! made or not, and whoever tries again writes twice. One NUL byte in a text fails 199 other rows.
//!
//! # The tool
//! A [`Table`] says where rows go; a [`TableSink`] takes them there, one transaction a batch:
//!
//! - **Form**: [`Form::Unnest`], a statement that stays prepared, whatever the number of rows, and one round trip;
//!   [`Form::Values`]; [`Form::Copy`], for loads without conflicts. All columns have one length by construction, and
//!   statements are split where a database has no more placeholders.
//! - **Keys**: rows of one key within a batch are folded, or applied one after the other, so that an upsert
//!   never sees one twice; rows are sorted by key, so that all writers lock in one order.
//! - **Once**: by a natural key ([`Table::insert_missing`]), or by the batch ([`Table::once`], the default of all others): its
//!   number is stored in the same transaction, and one whose commit was not answered is not written again.
//! - **Errors**: which row, and why, where that is known before anything is sent (a NUL byte, too many bytes, a value
//!   of another type); found by halving where only the database knows. Deadlocks, lost connections, servers that are
//!   read-only after a failover are tried again, and no row is blamed for them. [`Table::keep_dead`] stores what was
//!   given up, with the reason.
//! - **Looking**: [`DatabaseLook`] tells the writer who waits for locks, and how far replicas are behind.
//!
//! [`measure`](mod@measure) makes the table *rows a batch → time → lock waits → throughput → lag* of a database at hand.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "sqlite")] {
//! # use steadfast_core as steadfast;
//! # use steadfast_store as store;
//! use steadfast::batch::{BatchConfig, BatchWriter};
//! use store::sink::{Table, TableSink};
//! use store::{Config, Kind, Store, binds};
//!
//! struct View {
//!     path: String,
//!     count: i64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("sink-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
//! # store.write(async |mut tx| tx.sql("CREATE TABLE view (path TEXT PRIMARY KEY, count INTEGER NOT NULL)", binds![]).await).await?;
//!
//! let table = Table::new("view")
//!     .column("path", Kind::Text)
//!     .column("count", Kind::I64)
//!     .upsert_with(["path"], "count = view.count + excluded.count");
//! let sink = TableSink::new(&store, table, |view: &View| binds![view.path.clone(), view.count])?;
//! let writer = BatchWriter::builder(BatchConfig::new("views"), sink).start()?;
//!
//! let receipt = writer.send(View { path: "/".into(), count: 1 }).await?;
//! receipt.await?;
//! # store.close().await;
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(()) } main().unwrap(); }
//! ```

mod copy;
mod encode;
mod lag;
mod look;
pub mod measure;
mod outcome;
mod table;
mod text;
mod write;

pub(crate) use write::EVENTS;

pub use look::{DatabaseLook, Replicas};
pub use table::{Form, Table};
pub use write::TableSink;
