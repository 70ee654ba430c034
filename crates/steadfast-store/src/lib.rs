//! The one door to SQLite and PostgreSQL: transactions, migrations, and statements in files.
//!
//! # The problem
//! A service that keeps its work in a database depends on what happens between the two: a
//! connection that died in mid statement and keeps its place in the pool, a pooler that answers
//! with what somebody else asked for, a writer of SQLite that gives up at once because it began
//! as a reader, a transaction that nobody ends and everybody waits for.
//!
//! # Why the usual answer fails
//! A driver gives connections away and hopes. Which connection a statement ran on, whether it may be
//! prepared there, who holds the others and how long a lock was waited for is left to each caller,
//! and each gets another part of it wrong.
//!
//! # The tool
//! A [`Store`] gives no connection away. What is asked of it is either an *intent*, one
//! [`Statement`] that is a transaction by itself ([`Store::run`], [`Store::ask`]), or goes through
//! a [`Tx`] ([`Store::write`], [`Store::read`], [`Store::begin`]).
//!
//! - **PostgreSQL** 13 or newer. An intent is one round trip of a statement that stays prepared, and
//!   commits by itself. Behind a pooler that gives out transactions ([`Pooler::Transaction`]) each
//!   stands between BEGIN and COMMIT, and nothing stays prepared. A connection whose statement was
//!   dropped half-way is thrown away. A [`Lane`] is a connection that nobody else can take.
//! - **SQLite**, compiled in. One thread writes, everybody who writes stands in its queue, and what
//!   waits there together is committed together; a few connections read beside it. Transactions
//!   begin with the lock that they need, and are ended by force when their time is up.
//! - **Nodes** are the lives of processes, with a lease that is renewed by a thread of its own:
//!   [`Store::join`]. **Locks** are leases with a term for your own exclusive work: [`Store::lock`].
//! - **Wake-ups** tell at once that something has changed, where they can: [`Store::wakes`]; what the
//!   database at hand can do is in [`Store::capabilities`], how it is in [`Store::health`].
//! - **Batches** go into tables by [`sink`]; a **pool** for queries of your own is in [`pool`].
//! - **Errors** say whether a retry may help, whether it may have been done all the same, and what
//!   to do: [`Error`].
//!
//! # For packages that keep tables here
//! A package has its SQL in files, the same names for both databases, and one [`Package`]:
//!
//! ```text
//! src/migrations/{sqlite,postgres}/0001_tables.sql     see Migration
//! src/sql/{sqlite,postgres}/claim.sql                  see Statement
//! ```
//! ```text
//! steadfast_store::statements! {
//!     /// Takes what is due.
//!     pub(crate) CLAIM = "claim";
//! }
//! pub static PACKAGE: Package = Package {
//!     name: "jobs",
//!     migrations: steadfast_store::migrations!["0001_tables"],
//!     statements: STATEMENTS,
//! };
//!
//! store.migrate(&PACKAGE).await?;
//! let rows = store.run(&CLAIM, binds![node, 50, vec!["mail".to_owned()]]).await?;
//! for row in &rows {
//!     let (id, payload): (i64, &[u8]) = (row.get(0)?, row.get(1)?);
//! }
//! ```
//!
//! - **Tables** of PostgreSQL are `{schema}.job` in files, those of SQLite `steadfast_job`.
//! - **Placeholders** are `$1` and `?1`. PostgreSQL takes the type of a placeholder from the value:
//!   `bigint`, `double precision`, `boolean`, `text`, `bytea` and arrays of them; the statement
//!   casts where a column is of another type (`$1::int4`, `$2::jsonb`), and casts what it returns
//!   (`payload::text`).
//! - **Many rows** in one statement: [`batch!`] of columns. PostgreSQL has them as arrays
//!   (`unnest($1::bigint[], $2::text[])`), SQLite as one JSON of rows (`SELECT value->>0,
//!   value->>1 FROM json_each(?1)`; bytes are hexadecimal digits there, so `unhex(value->>2)`).
//!   A single `Vec` is an array (`= ANY($1)`, `IN (SELECT value FROM json_each(?1))`).
//! - **One intent a file.** For PostgreSQL exactly one statement: what belongs together are common
//!   table expressions of it. For SQLite, which has no such for writes, one or several; all of them
//!   see the same values, and the answer has the rows of all, in order. So several `RETURNING` tell
//!   themselves apart by a first column.
//! - **Times** are microseconds since 1970, by the clock of the database: `{schema}.now_us()`, and
//!   `CAST(unixepoch('subsec') * 1000000 AS INTEGER)` in SQLite, which knows milliseconds.
//! - **Who is dead** has an `ended_us` in `node`: [`Node::end_expired`] sets it for those whose lease is
//!   over, the nodes themselves for processes on their host that died. Look at `ended_us` alone, and
//!   take a row that is not there for one that ended: whether a lease is over is judged by the store
//!   (on SQLite by the clock of the host since its start, which nobody can set). What an
//!   incarnation does is under [`Incarnation::cancel`], and asks [`Incarnation::is_held`] first.
//! - **Tests** take a database each from `testing` (feature `test-util`): `on_every_store!` runs a
//!   test on all of them, `assert_prepares` tries every statement.
//!
//! # Features
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite` | a file of SQLite, which is compiled in |
//! | `postgres` | PostgreSQL, with rustls and ring for TLS |
//! | `sqlx09` | pools of sqlx 0.9, and transactions of it that the caller brings along: `sqlx09` |
//! | `test-util` | databases for tests: `testing`; faults at every operation: `Faults` |
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(
        unused,
        reason = "each database has parts that the other one does not need"
    )
)]

pub mod catalogue;
mod config;
mod error;
#[cfg(feature = "test-util")]
mod fault;
mod health;
mod ident;
mod json;
mod lane;
mod lease;
mod migrate;
mod node;
#[cfg_attr(
    not(feature = "sqlx09"),
    allow(
        dead_code,
        unused_imports,
        reason = "much of it is for pools of the caller's own"
    )
)]
pub mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod schema;
pub mod sink;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlx09")]
pub mod sqlx09;
mod statement;
mod store;
#[cfg(feature = "test-util")]
pub mod testing;
mod tx;
mod value;
mod wake;

pub use config::{Config, Place, Pooler};
pub use error::Error;
#[cfg(feature = "test-util")]
pub use fault::{Fault, Faults};
pub use health::{Capabilities, Health};
pub use ident::Ident;
pub use lane::Lane;
pub use lease::{Lock, LockConfig};
pub use migrate::{Migration, Package};
pub use node::{Incarnation, NODES_MAX, Node, NodeConfig, NodeHealth, NodeInfo};
pub use row::{Column, Row, Rows};
pub use schema::{MigrationStatus, PACKAGE};
#[cfg(feature = "sqlite")]
pub use sqlite::copy;
pub use statement::Statement;
pub use store::{Dialect, HostClock, Store};
pub use tx::Tx;
pub use value::{Array, Binds, HasKind, Kind, Text, Value};
pub use wake::{Wake, Wakes};
