use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::armed::{Passed, Probe};
use super::governed::{Governed, GovernedBody};
use super::route::Route;
use super::{Inner, TemplateOf};
use crate::PlacedBody;
use crate::access_log::{AccessLog, AccessLogBody};
use crate::recover::{Recover, RecoverBody};
use crate::trace_id::{self, TraceIdFuture};

/// Puts a [`Guard`](super::Guard) around services; made by [`Guard::layer`](super::Guard::layer).
#[derive(Clone)]
pub struct GuardLayer {
    guard: Arc<Inner>,
    template_of: TemplateOf,
}

impl GuardLayer {
    pub(super) fn new(guard: Arc<Inner>, template_of: TemplateOf) -> Self {
        Self { guard, template_of }
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer")
            .field("routes", &self.guard.routes)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of [`GuardLayer`].
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S: Clone> Guarded<S> {
    /// What stands inside of the trace id, for one request.
    fn stack(&self, route: Option<Arc<Route>>) -> Stack<S> {
        Recover::new(AccessLog::new(Governed::new(self.inner.clone(), route)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

type Stack<S> = Recover<AccessLog<Governed<S>>>;

impl<S, In, Out> Service<Request<In>> for Guarded<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    Out: Body<Data = Bytes>,
{
    type Response = Response<PlacedBody<RecoverBody<AccessLogBody<GovernedBody<Out>>>>>;
    type Error = S::Error;
    type Future = TraceIdFuture<<Stack<S> as Service<Request<In>>>::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let guard = &*self.layer.guard;
        if request.extensions().get::<Passed>().is_some() {
            guard.watch.twice();
            return trace_id::again(&mut self.stack(None), request);
        }
        let (mut parts, body) = request.into_parts();
        let template = (self.layer.template_of)(&parts);
        let route = template.and_then(|template| guard.routes.find(&parts.method, template));
        if let Some(probe) = parts.extensions.get::<Probe>() {
            probe.reach(template, route.map(|route| route.key.as_str()));
            return trace_id::again(&mut self.stack(None), Request::from_parts(parts, body));
        }
        guard.watch.request();
        if route.is_none() {
            guard.watch.ungoverned(template);
        }
        let route = route.cloned();
        parts.extensions.insert(Passed);
        let request = Request::from_parts(parts, body);
        let mut stack = self.stack(route.clone());
        trace_id::begin(&mut stack, guard.trust, request, |context| match route {
            Some(route) => route.facts(context),
            None => context,
        })
    }
}
