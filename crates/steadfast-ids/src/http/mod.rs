//! Ids over HTTP: a service that hands them out, and a client that has them before they are wanted.
//!
//! For programs in other languages, and for many small processes that should not lease a worker id each.
//!
//! | request | answer |
//! |---|---|
//! | `POST /order` | `{"id":"121413632000073735"}` |
//! | `POST /order?count=100` | `{"ids":["121413632000073735", …]}`: up to so many, at least one |
//!
//! Ids are text, which JavaScript reads exactly. What goes wrong is a document of `application/problem+json` with a
//! `type` to match on:
//!
//! | status | type `urn:steadfast:problem:` | meaning |
//! |---|---|---|
//! | 400 | `ids-count` | the count is not from 1 to 10,000 |
//! | 404 | `ids-name` | there are no ids of this name |
//! | 405 | `ids-method` | making an id is a `POST`: a `GET` may be answered by a cache |
//! | 410 | `ids-end-of-life` | the layout, or the tag, has no more ids, ever |
//! | 503 | `ids-fenced` | the lease of the worker id is over; `Retry-After` says when to come back |
//! | 503 | `ids-used-up` | the numbers are used up and the store gives no others; with `Retry-After` |
//!
//! It is a tower service over the types of `http`, and no router of a framework: whatever serves tower services
//! mounts it, such as `Router::nest_service("/ids", service)` of axum, and nothing of it is drawn in.

mod answer;
mod client;
mod service;

pub use client::{Client, ClientConfig, FetchError};
pub use service::{IdService, IdServiceBuilder, InvalidName};

pub(crate) use service::METRICS;

/// How many ids a request may ask for: 10,000, a quarter of a megabyte of text.
pub const COUNT_MAX: u32 = crate::prefetch::Prefetch::COUNT_MAX;
