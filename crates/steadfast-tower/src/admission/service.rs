use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use steadfast_core::decide::admission::Rejection as Why;
use steadfast_core::{clock, context, rng};
use tower_service::Service;

use super::future::Until;
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
    until: Until,
    form: PhantomData<fn() -> F>,
}

impl<S, F> Admission<S, F> {
    pub(crate) fn new(inner: S, shared: Option<Arc<Shared>>, user_of: Option<UserOf>) -> Self {
        Self {
            inner,
            shared,
            user_of,
            until: Until::default(),
            form: PhantomData,
        }
    }

    /// Takes permits back earlier, and does not learn from those requests.
    pub(crate) fn held_until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Serves one request, and is used up by it.
    pub(crate) fn serve<In>(self, request: Request<In>) -> AdmissionFuture<F, S, Request<In>>
    where
        S: Service<Request<In>>,
    {
        let Some(shared) = self.shared else {
            return AdmissionFuture::admitted(
                WhenReady::now(self.inner, request),
                None,
                self.until,
            );
        };
        let protocol = Protocol::of(request.headers());
        let (entered, request) = enter(&shared, self.user_of.as_ref(), request);
        let until = self.until;
        let entered = match shared.is_shadow() {
            true => look_on(&shared, entered),
            false => entered,
        };
        match entered {
            Entered::In(permit) => {
                let served = WhenReady::now(self.inner, request);
                AdmissionFuture::admitted(served, Some(Held::Permit(permit)), until)
            }
            Entered::Past(ghost) => {
                let served = WhenReady::now(self.inner, request);
                AdmissionFuture::admitted(served, ghost.map(Held::Ghost), until)
            }
            Entered::Waiting(place) => {
                let served = WhenReady::new(self.inner, request);
                AdmissionFuture::waiting(served, place, shared, protocol, until)
            }
            Entered::Out(refusal) => AdmissionFuture::rejected(refusal.tell(&shared), protocol),
        }
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

/// Asks for a place for a request, and gives it back.
fn enter<In>(
    shared: &Arc<Shared>,
    user_of: Option<&UserOf>,
    request: Request<In>,
) -> (Entered, Request<In>) {
    let context = context::current();
    let (tier, deadline) = (context.tier(), context.deadline().map(clock::nanos_at));
    let Some(user_of) = user_of else {
        return (shared.enter(tier, deadline, || 0), request);
    };
    let (parts, body) = request.into_parts();
    let entered = shared.enter(tier, deadline, || user_of(&parts));
    (entered, Request::from_parts(parts, body))
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
        self.clone().serve(request)
    }
}

impl<S: Clone, F> Clone for Admission<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            user_of: self.user_of.clone(),
            until: self.until,
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
