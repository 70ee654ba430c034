//! Who gets in when there is not enough for all.
//!
//! # The problem
//! Ten times the load arrives. What is served late is served to nobody, and the orders are among
//! nine requests of ten that get nothing.
//!
//! # Why the usual answer fails
//! A concurrency limit per route, or per connection, is none. One that queues behind `poll_ready`
//! cannot tell an order from a recommendation, since readiness does not say what for. One that
//! sheds by arrival gives core traffic its share of the misery. And the number itself is a guess.
//!
//! # The tool
//! [`AdmissionLayer`] is the shell over [`decide::admission`](steadfast_core::decide::admission)
//! and [`decide::limit`](steadfast_core::decide::limit), whose pages argue the algorithms: tiers
//! with guaranteed shares and borrowing, a queue in which an arriving higher tier displaces who
//! would be served last, the newest first under a standing queue, turns between users, no work
//! that cannot be answered in time, and a limit that finds itself.
//!
//! The state belongs to the admission, not to the layer: clones of the layer, all routes and all
//! connections share it. While there is room and nobody waits, a request passes with one atomic
//! operation and no lock.
//!
//! - The tier and the deadline are those of the [context](steadfast_core::context), as the layers
//!   outside have set them.
//! - A permit is held until the response body has ended or is dropped: a client that reads slowly
//!   is work in flight, too. A future that is dropped, waiting or served, gives its place or
//!   permit back.
//! - The layer is always ready, decides in `call`, and then drives a clone of the inner service to
//!   ready. Nothing that reserves in `poll_ready` may stand outside of it: its waiters would be
//!   hidden from the queue, and tiers would never act.
//!
//! A rejection is [`Overloaded`](crate::Reason::Overloaded),
//! [`Displaced`](crate::Reason::Displaced), [`WaitedTooLong`](crate::Reason::WaitedTooLong) or
//! [`CannotFinish`](crate::Reason::CannotFinish), and says after which time to come back, spread
//! by chance so that not all do at once.
//!
//! # What it tells
//! To [`report`](mod@steadfast_core::report), each with the label `policy`:
//!
//! | metric | labels | |
//! |---|---|---|
//! | `steadfast_admission_limit` | | how many may be in flight |
//! | `steadfast_admission_in_flight` | | how many are |
//! | `steadfast_admission_waiting` | `tier` | how many wait |
//! | `steadfast_admission_admitted_total` | `tier` | how many got in |
//! | `steadfast_admission_queued_total` | `tier` | how many had to wait |
//! | `steadfast_admission_waited_seconds_total` | `tier` | how long those waited that got in, together |
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::decide::admission::AdmissionConfig;
//! use steadfast_tower::AdmissionLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = AdmissionConfig { waiting_max: 1, ..AdmissionConfig::default() };
//! let admission = AdmissionLayer::fixed("orders", 1, config)?;
//! let service = ServiceBuilder::new().layer(admission).service(service_fn(
//!     async |_: Request<Full<Bytes>>| {
//!         steadfast_core::clock::sleep(std::time::Duration::from_millis(10)).await;
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     },
//! ));
//!
//! // Dropping the answer gives the permit back.
//! let ask = async || service.clone().oneshot(Request::new(Full::default())).await.unwrap().status();
//! let answers = tokio::join!(ask(), ask(), ask());
//!
//! assert_eq!(answers.0, 200, "is served");
//! assert_eq!(answers.1, 200, "waits, and is served");
//! assert_eq!(answers.2, 503, "finds the queue full");
//! # Ok(()) }
//! ```

mod future;
mod ghost;
mod permit;
mod place;
mod service;
mod shared;

pub use future::AdmissionFuture;
pub(crate) use future::{Until, Waiting};
pub(crate) use permit::Held;
pub use service::Admission;
pub(crate) use service::{Asked, ask};
pub(crate) use shared::{METRICS, Shared};

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::admission::{AdmissionConfig, InvalidAdmission};
use steadfast_core::decide::limit::{InvalidLimit, LimitConfig};
use steadfast_core::{recover, report};
use tower_layer::Layer;

use crate::{Client, HeldBody, Server};

/// A response body that keeps the permit of its request until it has ended.
pub type AdmissionBody<B> = HeldBody<B, Held>;

/// Tells users apart; zero is for all who are unknown.
pub(crate) type UserOf = Arc<dyn Fn(&Parts) -> u64 + Send + Sync>;

/// Lets requests in by tier, as many as there may be; see the [module](self).
pub struct AdmissionLayer<F = Server> {
    shared: Arc<Shared>,
    user_of: Option<UserOf>,
    form: PhantomData<fn() -> F>,
}

/// Refuses an [`AdmissionLayer`] with a number out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidAdmissionLayer(#[from] Refused);

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a limit of 0 lets nobody in")]
    Zero,
    #[error(transparent)]
    Admission(#[from] InvalidAdmission),
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
}

/// How many may be in flight.
#[derive(Clone, Copy)]
pub(crate) enum Permits {
    Fixed(u32),
    Learned(LimitConfig),
}

impl AdmissionLayer {
    /// Lets at most `limit` in, by the name that rejections tell.
    ///
    /// # Errors
    /// [`InvalidAdmissionLayer`] if the limit is zero, or a number of `config` is out of range.
    pub fn fixed(
        name: impl Into<Name>,
        limit: u32,
        config: AdmissionConfig,
    ) -> Result<Self, InvalidAdmissionLayer> {
        let shared = Shared::new(name.into(), Permits::Fixed(limit), config)?;
        Ok(Self::of(shared))
    }

    /// Lets in as many as turn out to be right, by the name that rejections tell. Take
    /// [`LimitConfig::queued`], since here is a queue in front.
    ///
    /// # Errors
    /// [`InvalidAdmissionLayer`] if a number is out of range.
    pub fn adaptive(
        name: impl Into<Name>,
        limit: LimitConfig,
        config: AdmissionConfig,
    ) -> Result<Self, InvalidAdmissionLayer> {
        let shared = Shared::new(name.into(), Permits::Learned(limit), config)?;
        Ok(Self::of(shared))
    }

    /// The same admission around a client: a rejection is an error, and the limit is that of the
    /// dependency.
    #[must_use]
    pub fn for_client(self) -> AdmissionLayer<Client> {
        AdmissionLayer {
            shared: self.shared,
            user_of: self.user_of,
            form: PhantomData,
        }
    }

    /// Lets users take turns while they wait: who sends more waits behind his own requests.
    /// `user` gives what a user is known by; those of which it says nothing, or for
    /// which it panics, are one.
    #[must_use]
    pub fn by_user<K: Hash>(
        mut self,
        user: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        // With a secret: nobody can choose to be taken for another.
        let secret = RandomState::new();
        self.user_of = Some(Arc::new(move |request| {
            // The hook of panics has reported one that panicked.
            let user = recover(|| user(request)).ok().flatten();
            user.map_or(0, |user| secret.hash_one(user))
        }));
        self
    }

    fn of(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        // Without a place in the report it still admits.
        let _ = report::register("admission", &shared);
        Self {
            shared,
            user_of: None,
            form: PhantomData,
        }
    }
}

impl<S, F> Layer<S> for AdmissionLayer<F> {
    type Service = Admission<S, F>;

    fn layer(&self, inner: S) -> Admission<S, F> {
        Admission::new(inner, Some(self.shared.clone()), self.user_of.clone())
    }
}

impl<F> Clone for AdmissionLayer<F> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            user_of: self.user_of.clone(),
            form: PhantomData,
        }
    }
}

impl<F> fmt::Debug for AdmissionLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionLayer").field(&self.shared).finish()
    }
}
