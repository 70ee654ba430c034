//! Unique, ordered ids, with or without a database.
//!
//! An id that the database counts up needs that database: a sharded one makes two of the same, and a
//! service that wants to name a thing before it is stored has to ask first. Random ids need nobody, but
//! they are long, unordered, and scatter an index. In between are:
//!
//! - [`snowflake`]: time, worker and a sequence in 63 bits (or 53, for JavaScript). Made in the process,
//!   millions a second, ordered by time. [`Generator`] makes them.
//! - [`segment`]: dense numbers from ranges that a store hands out. [`Segments`] decides when to fetch the
//!   next range, so that nobody waits for it.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `sqlite`, `postgres` | worker ids ([`Ids::lease`]) and dense numbers ([`Ids::segments`]) out of a store, and an [`audit`] of tables |
//! | `http` | a service that hands ids out, and a client that has them before they are wanted: [`mod@http`] |
//! | `serde` | [`Id`] in documents: as text, or as a number with [`id::as_number`] |
#![forbid(unsafe_code)]

#[cfg(feature = "sql")]
pub mod worker_id;

mod atomic;
#[cfg(feature = "sql")]
pub mod audit;
pub mod catalogue;
#[cfg(feature = "sql")]
pub mod dense;
#[cfg(feature = "sql")]
mod error;
pub mod generator;
#[cfg(feature = "http")]
pub mod http;
pub mod id;
#[cfg(feature = "sql")]
mod ids;
#[cfg(feature = "sql")]
pub mod list;
pub mod prefetch;
pub mod segment;
pub mod snowflake;
#[cfg(feature = "sql")]
mod sql;

#[cfg(feature = "sql")]
#[doc(inline)]
pub use audit::Audit;
#[cfg(feature = "sql")]
#[doc(inline)]
pub use dense::{Dense, DenseConfig};
#[cfg(feature = "sql")]
pub use error::Error;
#[doc(inline)]
pub use generator::Generator;
#[doc(inline)]
pub use id::Id;
#[cfg(feature = "sql")]
pub use ids::Ids;
#[doc(inline)]
pub use segment::Segments;
#[doc(inline)]
pub use snowflake::Layout;
#[cfg(feature = "sql")]
pub use sql::PACKAGE;
#[cfg(feature = "sql")]
#[doc(inline)]
pub use worker_id::LeaseConfig;
