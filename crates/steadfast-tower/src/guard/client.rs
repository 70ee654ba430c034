use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::{BoxError, clock, context};
use tower_layer::Layer;
use tower_service::Service;

use super::Inner;
use super::counted::{Counted, CountedBody};
use super::dependency::Dependency;
use super::sent::{CallBody, Rules, Sends};
use crate::breaker::Breakers;
use crate::classify::{self, Classify, Standard, StandardBoxed, Through};
use crate::deadline;
use crate::hedge::{self, HedgeBody, Hedged};
use crate::replay::Repeatable;
use crate::retry::{self, Retry, RetryBody, RetryFuture};
use crate::target::{self, EndpointOf};
use crate::{CallError, Rejection, Trust};

/// Puts what the policy says of a dependency around a client; made by
/// [`Guard::client`](super::Guard::client).
pub struct ClientLayer<C = Standard> {
    guard: Arc<Inner>,
    dependency: Arc<Dependency>,
    classifier: Arc<C>,
    endpoint_of: Option<EndpointOf>,
    repeatable: Option<Repeatable>,
    trust: Trust,
}

/// A client behind the guard: the service of [`ClientLayer`].
pub struct GuardedClient<S, C = Standard> {
    inner: S,
    guard: Arc<Inner>,
    dependency: Arc<Dependency>,
    retry: Arc<retry::Settings<OfCalls<C>>>,
    hedge: Arc<hedge::Settings<OfCalls<C>>>,
    attempts: Arc<Rules<OfCalls<C>>>,
    endpoint_of: Option<EndpointOf>,
}

/// The body of a request as the client inside of the guard is given it: it may be sent more than
/// once.
pub type ClientBody<B> = HedgeBody<RetryBody<B>>;

type Calls<S, C> = Retry<Hedged<Sends<S, OfCalls<C>>, OfCalls<C>>, OfCalls<C>>;

/// Judges what breaker, retries and hedges see: rejections of ours, too.
type OfCalls<C> = Through<C>;

// === impl ClientLayer ===

impl ClientLayer {
    pub(super) fn new(guard: Arc<Inner>, dependency: Arc<Dependency>) -> Self {
        dependency.note_used();
        Self {
            guard,
            dependency,
            classifier: Arc::new(Standard),
            endpoint_of: None,
            repeatable: None,
            trust: Trust::Edge,
        }
    }

    /// For clients whose errors are boxed.
    pub fn boxed_errors(self) -> ClientLayer<StandardBoxed> {
        self.classify_by(StandardBoxed)
    }
}

impl<C> ClientLayer<C> {
    /// Judges how an attempt has ended by another classifier; [`Standard`] unless set. If it panics,
    /// that is reported, and the attempt has failed.
    pub fn classify_by<D>(self, classifier: D) -> ClientLayer<D> {
        let Self {
            guard,
            dependency,
            endpoint_of,
            repeatable,
            trust,
            ..
        } = self;
        ClientLayer {
            guard,
            dependency,
            classifier: Arc::new(classifier),
            endpoint_of,
            repeatable,
            trust,
        }
    }

    /// Tells endpoints apart by what `endpoint` gives, for breakers and for the budget of retries; by
    /// host and port of the request unless set. Asked once a call, whatever its attempts. Calls for
    /// which it gives nothing, or panics, are to one endpoint.
    #[must_use]
    pub fn by_endpoint(
        mut self,
        endpoint: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.endpoint_of = Some(Arc::new(endpoint));
        self
    }

    /// Repeats, beside those that are safe by their method or their key, calls of which `repeatable`
    /// says that sending them twice has the effect of sending them once: some methods of a gRPC
    /// service, say. If it panics, that is reported and means no.
    #[must_use]
    pub fn repeatable_if(
        mut self,
        repeatable: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.repeatable = Some(Arc::new(repeatable));
        self
    }

    /// Says that whoever is called is a service of ours: it is told the tier and the baggage, too.
    #[must_use]
    pub fn inside(mut self) -> Self {
        self.trust = Trust::Inside;
        self
    }
}

impl<S, C> Layer<S> for ClientLayer<C> {
    type Service = GuardedClient<S, C>;

    fn layer(&self, inner: S) -> GuardedClient<S, C> {
        let dependency = self.dependency.clone();
        // Whoever names endpoints is asked once, before the stack: retries, hedges and breakers ask again
        // and again, and each would have its own answer.
        let noted = self.endpoint_of.as_ref().map(|_| target::noted());
        let breakers = Breakers::new(dependency.breaker.clone(), noted.clone());
        let of_calls = Arc::new(Through::of(self.classifier.clone()));
        let attempts = Rules {
            breakers: breakers.clone(),
            classifier: Through::of(self.classifier.clone()),
            attempts: dependency.attempts.clone(),
            trust: self.trust,
        };
        let retry = retry::Settings {
            shared: dependency.retry.clone(),
            hooks: retry::Hooks {
                repeatable: self.repeatable.clone(),
                target: noted.map(retry::Target::ByEndpoint),
                breakers: Some(breakers.clone()),
            },
            classifier: of_calls.clone(),
        };
        let hedge = hedge::Settings {
            shared: dependency.hedge.clone(),
            repeatable: self.repeatable.clone(),
            breakers: Some(breakers),
            classifier: of_calls,
        };
        GuardedClient {
            inner,
            guard: self.guard.clone(),
            dependency,
            retry: Arc::new(retry),
            hedge: Arc::new(hedge),
            attempts: Arc::new(attempts),
            endpoint_of: self.endpoint_of.clone(),
        }
    }
}

impl<C> Clone for ClientLayer<C> {
    fn clone(&self) -> Self {
        Self {
            guard: self.guard.clone(),
            dependency: self.dependency.clone(),
            classifier: self.classifier.clone(),
            endpoint_of: self.endpoint_of.clone(),
            repeatable: self.repeatable.clone(),
            trust: self.trust,
        }
    }
}

impl<C> fmt::Debug for ClientLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer")
            .field("dependency", &self.dependency)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

// === impl GuardedClient ===

impl<S: Clone, C> GuardedClient<S, C> {
    /// What stands around the transport, for one call: by the policy of this moment.
    fn calls(&self) -> Calls<S, C> {
        let parts = self.dependency.parts();
        let sends = Sends::new(self.inner.clone(), self.attempts.clone(), parts);
        Retry::new(Hedged::new(sends, self.hedge.clone()), self.retry.clone())
    }
}

impl<S, C, In, Out> Service<Request<In>> for GuardedClient<S, C>
where
    S: Service<Request<ClientBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
    In::Error: Into<BoxError>,
    Out: Body,
{
    type Response = Response<CountedBody<CallBody<Out>>>;
    type Error = CallError<S::Error>;
    type Future = ClientFuture<
        RetryFuture<Hedged<Sends<S, OfCalls<C>>, OfCalls<C>>, OfCalls<C>, In, CallBody<Out>>,
        OfCalls<C>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Every attempt decides by the request, and drives a clone to ready then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let now = clock::now();
        let since = clock::nanos_at(now);
        // What an operator holds ends also where no request comes in.
        self.guard.end_overrides(since);
        self.dependency.note_method(request.method());
        if let Some(endpoint_of) = &self.endpoint_of {
            request = target::note(request, endpoint_of);
        }
        let counted = Counted::begin(self.dependency.clone(), since);
        let classifier = self.retry.classifier.clone();
        let late = deadline::passed(&context::current(), now);
        let kind = match late {
            None => Kind::Called {
                future: self.calls().call(request),
            },
            Some(rejection) => {
                rejection.count();
                Kind::Rejected {
                    rejection: Some(rejection),
                }
            }
        };
        ClientFuture {
            kind,
            counted: Some(counted),
            classifier,
        }
    }
}

impl<S: Clone, C> Clone for GuardedClient<S, C> {
    fn clone(&self) -> Self {
        Self {
            guard: self.guard.clone(),
            inner: self.inner.clone(),
            dependency: self.dependency.clone(),
            retry: self.retry.clone(),
            hedge: self.hedge.clone(),
            attempts: self.attempts.clone(),
            endpoint_of: self.endpoint_of.clone(),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for GuardedClient<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClient")
            .field("inner", &self.inner)
            .field("dependency", &self.dependency)
            .finish_non_exhaustive()
    }
}

// === ClientFuture ===

pin_project! {
    /// The future of [`GuardedClient`].
    pub struct ClientFuture<F, C> {
        #[pin]
        kind: Kind<F>,
        // Until the call has ended, or its body has it.
        counted: Option<Counted>,
        classifier: Arc<C>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<F> {
        Called { #[pin] future: F },
        // Until it is given.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<F, C, Out, E> Future for ClientFuture<F, C>
where
    F: Future<Output = Result<Response<Out>, CallError<E>>>,
    C: Classify<CallError<E>>,
{
    type Output = Result<Response<CountedBody<Out>>, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.kind.project() {
            Projected::Called { future } => ready!(future.poll(cx)),
            Projected::Rejected { rejection } => {
                let rejection = rejection.take().expect("not polled after its end");
                Err(CallError::Rejected(rejection))
            }
        };
        let counted = this.counted.take().expect("not polled after its end");
        let classifier = &**this.classifier;
        Poll::Ready(match answer {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let end = classify::contained(classifier, Ok(&head));
                let body = if end.is_success() && classify::is_told_by_trailers(&head) {
                    CountedBody::telling(body, counted)
                } else {
                    counted.ended(&end);
                    CountedBody::plain(body)
                };
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                counted.ended(&classify::contained(classifier, Err(&error)));
                Err(error)
            }
        })
    }
}

impl<F, C> fmt::Debug for ClientFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture")
            .field("is_over", &self.counted.is_none())
            .finish_non_exhaustive()
    }
}
