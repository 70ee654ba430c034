use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use steadfast_core::decide::admission::Rejection as Why;
use steadfast_core::{clock, context, rng};
use tower_service::Service;

use super::future::Waiting;
use super::ghost::Ghost;
use super::permit::Held;
use super::shared::{Entered, Refusal, Shared};
use super::{AdmissionBody, AdmissionFuture, UserOf};
use crate::answer::Protocol;
use crate::ready::WhenReady;
use crate::{Form, Reason, Rejection, Server};

/// The service of [`AdmissionLayer`](super::AdmissionLayer).
pub struct Admission<S, F = Server> {
    inner: S,
    /// Absent where everybody gets in.
    shared: Option<Arc<Shared>>,
    user_of: Option<UserOf>,
    form: PhantomData<fn() -> F>,
}

impl<S, F> Admission<S, F> {
    pub(crate) fn new(inner: S, shared: Option<Arc<Shared>>, user_of: Option<UserOf>) -> Self {
        Self {
            inner,
            shared,
            user_of,
            form: PhantomData,
        }
    }
}

/// What becomes of a request at the door.
pub(crate) enum Asked {
    /// With what it holds of the admission.
    In(Option<Held>),
    Waiting(Waiting),
    Out(Rejection),
}

/// Asks for a place for a request that comes `now`, in this context.
pub(crate) fn ask(
    shared: &Arc<Shared>,
    user_of: Option<&UserOf>,
    request: &Parts,
    context: &steadfast_core::Context,
    now: u64,
) -> Asked {
    let deadline = context.deadline().map(clock::nanos_at);
    let user = || user_of.map_or(0, |user_of| user_of(request));
    let entered = shared.enter(context.tier(), deadline, user, now);
    let entered = match shared.is_shadow() {
        true => look_on(shared, entered),
        false => entered,
    };
    match entered {
        Entered::In(permit) => Asked::In(Some(Held::Permit(permit))),
        Entered::Past(ghost) => Asked::In(ghost.map(Held::Ghost)),
        Entered::Waiting(place) => Asked::Waiting(Waiting::new(place, shared.clone())),
        Entered::Out(refusal) => Asked::Out(refusal.tell(shared)),
    }
}

/// Lets everybody pass, and notes what would have become of them.
fn look_on(shared: &Arc<Shared>, entered: Entered) -> Entered {
    match entered {
        Entered::Waiting(place) => Entered::Past(Some(Ghost::begin(shared.clone(), place))),
        Entered::Out(refusal) => {
            refusal.tell(shared).count_shadow();
            Entered::Past(None)
        }
        passes => passes,
    }
}

impl<S, F, In, Out> Service<Request<In>> for Admission<S, F>
where
    F: Form,
    S: Service<Request<In>, Response = Response<Out>> + Clone,
{
    type Response = Response<AdmissionBody<F::Body<Out>>>;
    type Error = F::Error<S::Error>;
    type Future = AdmissionFuture<F, S, Request<In>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let inner = self.inner.clone();
        let Some(shared) = &self.shared else {
            return AdmissionFuture::admitted(WhenReady::now(inner, request), None);
        };
        let protocol = Protocol::of(request.headers());
        let (parts, body) = request.into_parts();
        let (context, now) = (context::current(), clock::nanos());
        let asked = ask(shared, self.user_of.as_ref(), &parts, &context, now);
        let request = Request::from_parts(parts, body);
        match asked {
            Asked::In(held) => AdmissionFuture::admitted(WhenReady::now(inner, request), held),
            Asked::Waiting(waiting) => {
                AdmissionFuture::waiting(WhenReady::new(inner, request), waiting, protocol)
            }
            Asked::Out(rejection) => AdmissionFuture::rejected(rejection, protocol),
        }
    }
}

impl<S: Clone, F> Clone for Admission<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            user_of: self.user_of.clone(),
            form: PhantomData,
        }
    }
}

impl Refusal {
    /// Makes the rejection of the request at hand.
    pub(super) fn tell(self, shared: &Shared) -> Rejection {
        let left = |deadline: clock::Instant| deadline.saturating_duration_since(clock::now());
        let left = context::current().deadline().map(left);
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        let waiting_max = f64::from(self.config.waiting_max);
        let wait_max = self.config.wait_max;
        let waited = self.waited_ns.map(Duration::from_nanos);
        let of = |reason| Rejection::new(reason, shared.name);
        let rejection = match (self.why, left, waited) {
            (Why::Full, ..) => {
                of(Reason::Overloaded).with_bound(waiting_max, self.waiting as f64, "waiting")
            }
            (Why::Displaced, ..) => {
                of(Reason::Displaced).with_bound(waiting_max, self.waiting as f64, "waiting")
            }
            // What it came with was enough to wait for as long as anybody may.
            (Why::TooLate, Some(left), waited) if waited.is_none_or(|waited| waited < wait_max) => {
                let (needs, unit) = match waited {
                    None => (self.expected_wait_ns, "seconds of waiting and work"),
                    Some(_) => (0, "seconds of work"),
                };
                let needs = seconds(needs.saturating_add(self.service_ns));
                of(Reason::CannotFinish).with_bound(left.as_secs_f64(), needs, unit)
            }
            (Why::TooLate, _, waited) => {
                let waited = waited.unwrap_or(wait_max).as_secs_f64();
                of(Reason::WaitedTooLong).with_bound(
                    wait_max.as_secs_f64(),
                    waited,
                    "seconds of waiting",
                )
            }
        };
        rejection.with_retry_after(come_back(self.expected_wait_ns))
    }
}

/// After the wait that is to be expected, and up to a second more by chance, so that not all come
/// back at once.
fn come_back(expected_wait_ns: u64) -> Duration {
    let chance = Duration::from_nanos(rng::bits() % 1_000_000_000);
    Duration::from_nanos(expected_wait_ns) + chance
}

impl<S: fmt::Debug, F> fmt::Debug for Admission<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("inner", &self.inner)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
