//! An open-loop load generator for HTTP/1.1 over loopback.
//!
//! A generator that sends its next request when the last one was answered slows down with the service that it
//! measures: it cannot offer ten times what the service can do, and the requests that it did not send while it
//! waited are missing from its figures. This one sends by a schedule that is made before anything is answered.
//! Whatever the service does, each request is sent when it is due, and its latency counts from there.
//!
//! - A [`Plan`] holds the target, the seed, the bounds and the [`Class`]es of requests.
//! - A [`Class`] has its own request, its arrivals in [`Step`]s over time, and the patience of its clients.
//! - [`Plan::run`] sends, and gives a [`Report`]: what was offered, sent, answered in time, late, rejected and why,
//!   broken, given up; percentiles; and what was answered in time of each second.
//!
//! Clients of a class give up at their timeout, by closing the connection, as real ones do. Nothing is sent twice.
//!
//! What is bounded: connections, and with them the requests in flight, since each carries one at a time; the
//! duration; the head of an answer. An arrival that finds all connections busy is not queued, it is *unsent*, which
//! the report tells: raise `connections_max` then. How late requests went out, because this program got no processor,
//! is told as *lag*.
//!
//! Only loopback addresses are accepted: a generator that does not wait is no tool for somebody else's service.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//! use load::{Class, Plan, Step};
//!
//! let minute = Duration::from_secs(60);
//! let steps = vec![Step { lasts: minute, rate: 700.0 }, Step { lasts: minute, rate: 10_000.0 }];
//! let mut orders = Class::new("orders", "POST", "/orders", steps, Duration::from_millis(500));
//! orders.headers.push(("x-user".into(), "user-{n%100}".into()));
//!
//! let plan = Plan::new("127.0.0.1:8080".parse()?, vec![orders]);
//! let report = plan.run()?;
//! assert!(report.class("orders").in_time_share() > 0.995, "{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod answer;
mod connection;
mod histogram;
mod plan;
mod report;
mod request;
mod run;
mod schedule;
mod spec;
mod ticks;

pub use histogram::Histogram;
pub use plan::{Arrivals, Class, Plan, Refused, Reuse, Step};
pub use report::{ClassReport, Latency, Report};
