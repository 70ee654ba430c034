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
//! | `serde` | [`Id`] in documents: as text, or as a number with [`id::as_number`] |
#![forbid(unsafe_code)]

mod atomic;
pub mod catalogue;
pub mod generator;
pub mod id;
pub mod segment;
pub mod snowflake;

#[doc(inline)]
pub use generator::Generator;
#[doc(inline)]
pub use id::Id;
#[doc(inline)]
pub use segment::Segments;
#[doc(inline)]
pub use snowflake::Layout;
