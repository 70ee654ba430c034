//! Another attempt, where it repairs something and harms nobody.
//!
//! # The problem
//! One call in a thousand meets an instance that is just stopping, or a connection that just
//! breaks. The same call a moment later succeeds.
//!
//! # Why the usual answer fails
//! A retry of every failure charges the card twice, when it was the answer that was lost. Without
//! a budget, three attempts are three times the load on a dependency that fails because of its
//! load. Three services one behind the other make 27 attempts of one call. A retry that does not
//! know the deadline works for nobody. And one whose body is a stream has, at the second attempt,
//! nothing left to send.
//!
//! # The tool
//! [`RetryLayer`] stands around a client, and asks
//! [`decide::budget`](steadfast_core::decide::budget), whose page argues the rules. It tries again
//!
//! - what is [a failure, or a rejection](crate::classify), and would not fail again;
//! - what may be repeated: a GET, HEAD, OPTIONS, TRACE, PUT or DELETE, a request with
//!   `Idempotency-Key`, one of which [you say so](RetryLayer::repeatable_if), and any request
//!   that is [proven unsent](crate::Reason::is_unsent) — rejected on the way, refused by the
//!   target's socket, or never called because the inner service did not become ready;
//! - as long as there are attempts, and budget, both of the route at hand and of the target: host
//!   and port of the request, unless [you say otherwise](RetryLayer::by_target);
//! - after a wait with full jitter, and not earlier than `Retry-After` says;
//! - if the wait ends before the [deadline](steadfast_core::Context::deadline) of the context;
//! - if the breaker of the target, where one is [consulted](RetryLayer::consulting), is closed.
//!
//! Otherwise the last response, or the last error, is the caller's, unchanged; but an error that is proven unsent, such as
//! that of a breaker which has opened meanwhile, says nothing of the attempts before: if one of those failed with an error
//! and may have done something, that error is the caller's.
//!
//! The body of the request is kept as it streams, up to 64 KiB. A longer one is sent once; if
//! that fails, the log and `steadfast_retry_stops_total{reason="body-too-long"}` say why there was
//! no other attempt. One of which nothing was taken can always be sent again. To the attempt that
//! was given up its body ends with an [error](RetryBodyError::is_superseded), so that a connection
//! that still sends it stops. An answer that is given up is read for as long as the wait lasts, up
//! to 64 KiB, so that its connection can be used again; then it is dropped, before the next
//! attempt begins. A retry judges the head of an answer: what breaks afterwards is the caller's to
//! see.
//!
//! Every attempt says in `x-steadfast-attempt` which one it is. A layer inside, and a service
//! behind [`TraceIdLayer`](crate::TraceIdLayer) that [trusts](crate::Trust::Inside) us, does not
//! retry for it once more.
//!
//! The budgets belong to the layer: all clones of it and of its services share them. It is always
//! ready; every attempt drives a clone of the inner service to ready and calls that. It stands
//! inside of the deadline and outside of the breaker and of the timeout per attempt.
//!
//! # What it tells
//! In the log, under the target `steadfast::retry`, each retry and each failure that was not
//! tried again although it might have been; of the same kind the first at once and then one a
//! second, with the number of those since. In the [report], by policy:
//!
//! | metric | counts |
//! |---|---|
//! | `steadfast_retry_calls_total` | calls, whatever their number of attempts |
//! | `steadfast_retries_total` | attempts after the first |
//! | `steadfast_retry_repaired_total` | calls that failed at first and then succeeded |
//! | `steadfast_retry_stops_total` | failures that were given to the caller, by `reason` |
//! | `steadfast_retry_budgets` | budgets in use, `by` route and by target |
//!
//! # Examples
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::decide::{backoff::Backoff, budget::{RetryBudget, RetryRule}};
//! use steadfast_tower::RetryLayer;
//! use steadfast_tower::retry::RetryBody;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Up to three attempts; at most one retry for every ten calls that succeed.
//! let retry = RetryLayer::new(
//!     "payments",
//!     RetryRule::new(3)?,
//!     Backoff::new(Duration::from_millis(10), Duration::from_millis(200))?,
//!     RetryBudget::new(0.1)?,
//! );
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let client = ServiceBuilder::new().layer(retry).service(service_fn(
//!     async |_: Request<RetryBody<Full<Bytes>>>| {
//!         let stopping = CALLS.fetch_add(1, Ordering::Relaxed) == 0;
//!         let status = if stopping { 503 } else { 200 };
//!         Ok::<_, std::io::Error>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
//!     },
//! ));
//!
//! let request = Request::get("http://pay.example/holds/7").body(Full::default())?;
//! let response = client.oneshot(request).await?;
//!
//! assert_eq!(response.status(), 200);
//! assert_eq!(CALLS.load(Ordering::Relaxed), 2);
//! # Ok(()) }
//! ```

mod body;
mod budgets;
mod call;
mod future;
mod original;
mod recording;
mod rest;
mod service;
mod settings;
mod tally;

pub use body::{RetryBody, RetryBodyError};
pub use future::RetryFuture;
pub use service::Retry;
pub(crate) use tally::{EVENTS, METRICS};

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::report;
use tower_layer::Layer;

use crate::breaker::Breakers;
use crate::classify::Standard;
use crate::target::Targets;
pub(crate) use settings::{Hooks, Plan, Settings, Shared, Target};

/// Tries calls again; see the [module](self).
pub struct RetryLayer<C = Standard> {
    settings: Settings<C>,
}

impl RetryLayer {
    /// Makes a layer, by the name that the log and the metrics tell.
    ///
    /// `rule` says how many attempts there are and how long a `Retry-After` is waited for,
    /// `backoff` how long to wait otherwise, and every route and every target gets a `budget`
    /// like that, up to 1,024 of each at a time; those beyond share one. None of the three has a
    /// default: how often a call is worth repeating is known to whoever makes it.
    ///
    /// [`RetryRule::with_unsafe_methods`] opts all calls in, also those that may then take effect
    /// twice.
    pub fn new(
        name: impl Into<Name>,
        rule: RetryRule,
        backoff: Backoff,
        budget: RetryBudget,
    ) -> Self {
        let plan = Plan {
            rule,
            backoff,
            honors_keys: true,
        };
        let shared = Arc::new(Shared::new(name.into(), plan, budget));
        // Without a place in the report it still retries.
        let _ = report::register("retry", &shared);
        Self {
            settings: Settings {
                shared,
                hooks: Hooks::default(),
                classifier: Arc::new(Standard),
            },
        }
    }
}

impl<C> RetryLayer<C> {
    /// Judges how an attempt has ended by another classifier; [`Standard`] unless set.
    ///
    /// Errors that are boxed need [`StandardBoxed`](crate::classify::StandardBoxed).
    pub fn classify_by<D>(self, classifier: D) -> RetryLayer<D> {
        RetryLayer {
            settings: Settings {
                shared: self.settings.shared,
                hooks: self.settings.hooks,
                classifier: Arc::new(classifier),
            },
        }
    }

    /// Repeats, beside those that are safe by their method or their key, calls of which
    /// `repeatable` says that sending them twice has the effect of sending them once: some methods
    /// of a gRPC service, say. If it panics, that is reported and means no.
    pub fn repeatable_if(
        mut self,
        repeatable: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.hooks.repeatable = Some(Arc::new(repeatable));
        self
    }

    /// Tells targets apart by what `target` gives; by host and port of the request unless set.
    /// Calls for which it gives nothing, or panics, have one budget together.
    pub fn by_target<K: Hash>(
        mut self,
        target: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        let target = move |request: &Parts, targets: &Targets| {
            target(request).map(|target| targets.hash(target))
        };
        self.settings.hooks.target = Some(Target::ByHash(Arc::new(target)));
        self
    }

    /// Makes no other attempt of a call whose breaker is not closed: it would be rejected, take the
    /// place of a probe, or burden what is just coming back.
    ///
    /// For the breakers of a [`BreakerLayer`](crate::BreakerLayer) further in.
    #[must_use]
    pub fn consulting(mut self, breakers: &Breakers) -> Self {
        self.settings.hooks.breakers = Some(breakers.clone());
        self
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = Retry<S, C>;

    fn layer(&self, inner: S) -> Retry<S, C> {
        Retry::new(inner, Arc::new(self.settings.clone()))
    }
}

impl<C> Clone for RetryLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
        }
    }
}

impl<C> fmt::Debug for RetryLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.settings.shared;
        f.debug_struct("RetryLayer")
            .field("name", &shared.name)
            .field("plan", &shared.plan())
            .finish_non_exhaustive()
    }
}
