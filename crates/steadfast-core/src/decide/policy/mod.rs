//! What the request guard is told to do, and whether that can work.
//!
//! # The problem
//!
//! Timeouts, breakers, retries and limits are each easy to write down, and wrong together. A
//! timeout of one second sounds strict; at 500 requests a second it lets a stalled dependency hold
//! 500 permits, and a service that has 200 is gone within half a second, healthy routes included.
//! Three attempts of 800 ms under a timeout of two seconds are two attempts. A breaker that waits
//! for 20 calls in ten seconds watches a route that gets one a second for ever. None of these is
//! visible in any single line, each passes review, and each shows on the worst day of the year.
//!
//! # Why the usual answers fail
//!
//! Libraries check each number by itself, if at all, and make up the ones that are missing: a
//! default timeout of 30 s is somebody else's guess about your service. A load test finds these
//! mistakes only if it makes the right thing stall. Experience finds them, in the head of one
//! person.
//!
//! # The tool
//!
//! A [`Policy`] is plain data. Named policies (`timeouts`, `breakers`, `retries`, …) stand apart
//! from the `routes` and `dependencies` that use them by name, so that a number is written once and
//! has one reason. What bounds memory or patience has a default with its reason beside it.
//! *Timeouts, rates and thresholds have none*: each is explicit, or a [`Setting::Learn`] between
//! explicit bounds. Values that make no sense by themselves cannot be made at all.
//!
//! [`lint`] then looks at the numbers together. Each [`Rule`] has an id (`P001` …), a reason that
//! can be read, and answers with [`Finding`]s: which field, the arithmetic with your numbers in it,
//! and the smallest change that mends it. The page `docs/reference/policy-rules.md` lists them
//! with a wrong and a right example each, and is generated from those that the tests run.
//!
//! A finding of [`Severity::Error`] refuses the start. That is the moment at which it is cheap.
//!
//! # Examples
//!
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::decide::policy::*;
//! use std::time::Duration;
//!
//! let mut policy = Policy::default();
//! let second = Timeout::new(Duration::from_secs(1))?;
//! policy.timeouts.insert("slow".into(), TimeoutPolicy::new(Setting::Fixed(second)));
//! policy.admissions.insert(
//!     "http".into(),
//!     AdmissionPolicy::new(
//!         Setting::Fixed(Count::new(200)?),
//!         Timeout::new(Duration::from_millis(50))?,
//!     ),
//! );
//! let mut report = Route::new(["GET"]);
//! report.rate = Some(Rate::per_second(500.0)?);
//! report.timeout = Some("slow".into());
//! report.admission = Some("http".into());
//! policy.routes.insert("/report".into(), report);
//!
//! let findings = lint(&policy);
//!
//! assert_eq!(findings[0].rule, "P001");
//! assert_eq!(findings[0].path.to_string(), "routes./report.timeout");
//! assert!(findings[0].message.starts_with("500/s × 1s = 500 permits"));
//! # Ok::<(), OutOfRange>(())
//! ```

mod fields;
mod keys;
mod lint;
mod nearest;
mod parts;
mod path;
mod reach;
mod rules;
mod service;
mod users;
mod values;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod reference;

pub use fields::FieldChange;
pub use keys::{Absent, Key, SECTIONS, Section};
pub use lint::{Finding, Rule, Severity, lint};
pub use nearest::nearest_name;
pub use parts::{
    AdmissionPolicy, BreakerPolicy, HedgePolicy, RatePolicy, RetryPolicy, SlowCalls, StreamPolicy,
    TimeoutPolicy,
};
pub use path::{FieldPath, InvalidPath};
pub use rules::RULES;
pub use service::{Clients, DrainPolicy, Network, TrustPolicy};
pub use users::{Dependency, Policy, Route, RouteKind};
pub use values::{Attempts, Count, OutOfRange, Rate, Setting, Share, Timeout};
