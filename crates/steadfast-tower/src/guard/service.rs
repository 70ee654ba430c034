use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::clock::{self, Instant};
use steadfast_core::context::Tier;
use steadfast_core::recover;
use tower_layer::Layer;
use tower_service::Service;

use super::armed::{Passed, Probe};
use super::clients::PeerOf;
use super::governed::{GovernedBody, GovernedFuture, Rules, Unlisted};
use super::route::Route;
use super::seen::Seen;
use super::{Inner, TemplateOf};
use crate::answer::Protocol;
use crate::placed::Placed;
use crate::recover::{Recover, RecoverBody, RecoverFuture, contained};
use crate::trace_id::{self, TraceIdFuture};
use crate::{PlacedBody, Trust, deadline, tier};

/// Puts a [`Guard`](super::Guard) around services; made by [`Guard::layer`](super::Guard::layer).
#[derive(Clone)]
pub struct GuardLayer {
    guard: Arc<Inner>,
    template_of: TemplateOf,
    peer_of: PeerOf,
}

impl GuardLayer {
    pub(super) fn new(guard: Arc<Inner>, template_of: TemplateOf, peer_of: PeerOf) -> Self {
        Self {
            guard,
            template_of,
            peer_of,
        }
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner: Recover::new(inner),
            layer: self.clone(),
        }
    }
}

/// The service of [`GuardLayer`].
#[derive(Clone)]
pub struct Guarded<S> {
    /// Its clones and its drop may panic, too, wherever they happen.
    inner: Recover<S>,
    layer: GuardLayer,
}

impl<S: Clone> Guarded<S> {
    /// What stands inside of the trace id, for one request that came at that time.
    fn serve<In, Out>(
        &self,
        request: Request<In>,
        route: Option<Arc<Route>>,
        came: Instant,
        is_again: bool,
        unlisted: Option<Box<Unlisted>>,
    ) -> Recovered<S, In, Out>
    where
        S: Service<Request<In>, Response = Response<Out>>,
        Out: Body<Data = Bytes>,
    {
        let protocol = Protocol::of(request.headers());
        let drain = &self.layer.guard.drain;
        contained(self.inner.cloned(), request, protocol, |inner, request| {
            let rules = Rules {
                route,
                protocol,
                is_again,
                unlisted,
            };
            rules.serve(inner, request, drain, came)
        })
    }

    /// Calls the handler, and nothing else of the guard.
    fn again<In, Out>(&self, request: Request<In>) -> GuardedFuture<S, In, Out>
    where
        S: Service<Request<In>, Response = Response<Out>>,
        Out: Body<Data = Bytes>,
    {
        let placed = Placed::within(None, request.extensions());
        let passed = request.extensions().get::<Passed>();
        let came = passed.map_or_else(clock::now, |passed| passed.at);
        TraceIdFuture::new(self.serve(request, None, came, true, None), placed, None)
    }
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

type Recovered<S, In, Out> = RecoverFuture<GovernedFuture<S, In, Out>>;
type GuardedFuture<S, In, Out> = TraceIdFuture<Recovered<S, In, Out>>;

impl<S, In, Out> Service<Request<In>> for Guarded<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    Out: Body<Data = Bytes>,
{
    type Response = Response<PlacedBody<RecoverBody<GovernedBody<Out>>>>;
    type Error = S::Error;
    type Future = GuardedFuture<S, In, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let guard = &*self.layer.guard;
        if request.extensions().get::<Passed>().is_some() {
            guard.watch.twice();
            return self.again(request);
        }
        let (mut parts, body) = request.into_parts();
        let now = clock::now();
        let state = guard.in_force(now);
        // Whoever names routes must not take the connection with it.
        let template = recover(|| (self.layer.template_of)(&parts)).ok().flatten();
        let route = state.routes.find(&parts.method, template);
        if let Some(probe) = parts.extensions.get::<Probe>() {
            guard.watch.asked(template);
            probe.reach(template, route.map(|route| route.key.as_str()));
            return self.again(Request::from_parts(parts, body));
        }
        guard.watch.request();
        let mut unlisted = None;
        if route.is_none() {
            let template = guard.watch.ungoverned(template, &parts.method);
            unlisted = template.map(|template| {
                Box::new(Unlisted {
                    guard: self.layer.guard.clone(),
                    template,
                    method: parts.method.clone(),
                })
            });
        }
        let route = route.cloned();
        let mut client = None;
        if let Some(route) = route.as_deref().filter(|route| route.is_per_client) {
            client = route.clients.key(&parts, self.layer.peer_of);
            if client.is_none() {
                guard.watch.unknown_client();
            }
        }
        parts.extensions.insert(Passed {
            at: now,
            client,
            peer_of: self.layer.peer_of,
        });
        let said = Said::of(&mut parts, state.trust, route.as_deref(), now);
        let own = route.as_deref().map_or(Tier::DEFAULT, |route| route.tier);
        let seen = parts.extensions.get::<Seen>();
        if let Some(seen) = seen {
            seen.pass(said.tier.unwrap_or(own));
        }
        let begun = seen.map(Seen::trace_id);
        let facts = |context: steadfast_core::Context| {
            let context = match &route {
                Some(route) => route.facts(context),
                None => context,
            };
            let tier = said.tier.unwrap_or(context.tier());
            let context = context.with_tier(tier);
            match said.deadline {
                Some(deadline) => context.with_deadline(deadline),
                None => context,
            }
        };
        let (mut placed, request_id) = trace_id::begin(&mut parts, state.trust, begun, facts);
        let request = Request::from_parts(parts, body);
        let future = placed.enter(|| self.serve(request, route, now, false, unlisted));
        TraceIdFuture::new(future, placed, Some(request_id))
    }
}

/// Marks what is served beside the guard on purpose; made by [`Guard::exempt`](super::Guard::exempt).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExemptLayer(());

impl<S> Layer<S> for ExemptLayer {
    type Service = Exempt<S>;

    fn layer(&self, inner: S) -> Exempt<S> {
        Exempt { inner }
    }
}

/// The service of [`ExemptLayer`].
#[derive(Debug, Clone)]
pub struct Exempt<S> {
    inner: S,
}

impl<S, In> Service<Request<In>> for Exempt<S>
where
    S: Service<Request<In>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> S::Future {
        if let Some(seen) = request.extensions().get::<Seen>() {
            seen.pass(Tier::DEFAULT);
        }
        self.inner.call(request)
    }
}

/// What a request says of itself, as far as it is believed.
struct Said {
    tier: Option<Tier>,
    deadline: Option<Instant>,
}

impl Said {
    fn of(request: &mut Parts, trust: Trust, route: Option<&Route>, now: Instant) -> Self {
        let given = route.and_then(|route| route.deadline);
        let said = deadline::said(&request.headers);
        let (tier, time) = match trust {
            Trust::Inside => (
                tier::received(&request.headers),
                said.map(|said| said.min(LONGEST)).or(given),
            ),
            Trust::Edge => {
                // So that nobody behind believes it.
                request.headers.remove(tier::TIER);
                (None, [said, given].into_iter().flatten().min())
            }
        };
        Self {
            tier,
            // Too far away to be added is as good as none.
            deadline: time.and_then(|time| now.checked_add(time)),
        }
    }
}

/// How much of what our own services say is believed: an hour, the longest that a policy can say.
const LONGEST: Duration = Duration::from_secs(60 * 60);
