//! The whole stack in the right order, from one policy.
//!
//! # The problem
//! Each protection is a layer, and an assembly of ten layers has many orders, of which most
//! compile, pass review, and do nothing: the limiter that is made anew for each connection, the
//! timeout outside of the queue, the trace inside of the panic layer, the route that somebody
//! added after the layers.
//!
//! # The tool
//! A [`Guard`] is made from a [`Policy`], which the linter has looked at as a whole: what cannot
//! work is refused at the start, with the arithmetic and the fix. It holds all state, so that
//! cloning a router, serving each connection with a clone, or guarding two routers by one guard
//! never makes a second limit.
//!
//! Around each handler stand, from outside to inside: trace id, recover, access log and metrics,
//! deadline and tier, drain, rate limit, streams, admission, timeout. Each part is a module of its
//! own, which says what it promises: [`trace_id`](crate::trace_id), [`recover`](crate::recover),
//! [`access_log`](crate::access_log), [`deadline`](crate::deadline), [`tier`](crate::tier),
//! [`drain`](crate::drain), [`rate_limit`](crate::rate_limit), [`streams`](crate::streams),
//! [`admission`](crate::admission), [`timeout`](crate::timeout). A route that names no part of a kind
//! has none of it; a request to a route that the policy does not name at all has its trace id, its
//! recovery, its line in the log and the deadline that it says, and is [told](Armed::ungoverned),
//! unless the policy has a route `unmatched`.
//!
//! Routes are the templates under which a router knows them: `/orders/{id}`, for all its methods,
//! or `GET /orders/{id}` for one, which goes first; that of `GET` governs `HEAD`, too, unless this has
//! its own. With the feature `axum`,
//! [`protect`](Guard::protect) takes a finished router; without it, [`layer`](Guard::layer) goes
//! around any service, and a closure names the route.
//!
//! # Armed, or not at all
//! Policies are of no use where they are not in force. With axum, [`check`](Guard::check) asks every
//! route of the policy in process, before the service listens, with each method that it says: a route
//! that does not exist, a misspelt template, a method that the route does not have, or a handler that
//! goes past the guard refuses the start. While running,
//! [`armed`](Guard::armed) tells routes that the policy does not name, and requests that passed two
//! guards.
//!
//! # Whom it believes
//! At the edge (`trust`, the default), a client may shorten its deadline and nothing else: the
//! headers of tier, baggage and attempt are taken out of the request, and ids are kept only if they
//! are well-formed. Inside, what our own services say holds: their tier before that of the route,
//! their deadline up to an hour. Clients are told apart by [`client_by`](GuardBuilder::client_by),
//! or else by their address: that of the peer, or of the hop before our own proxies.
//!
//! A request whose time is over, or too short for what the fastest answer of the last seconds has
//! taken, is rejected before anything runs for it.
//!
//! # Outgoing calls
//! [`client`](Guard::client) gives the stack of a dependency, from outside to inside: the deadline of
//! the caller, [`retry`](crate::retry) with its budget, [`hedge`](crate::hedge), a
//! [`breaker`](crate::breaker) for each endpoint, [`admission`](crate::admission) of as many calls at
//! once as the policy says or as turn out to be right, a [`timeout`](crate::timeout) for each attempt,
//! and the trace, the time that is left, the tier and the number of the attempt, told to whoever is
//! called. A rejection by any of these is [`CallError::Rejected`](crate::CallError), with the name of
//! the dependency as its policy; the error of the client inside stays what it is.
//!
//! The state of a dependency is one for all clients that are made for it. An idempotency key makes a
//! call repeatable only where the policy says that the target honors keys. A dependency for which no
//! client was made is told in [`armed`](Guard::armed): nothing of its policy is in force.
//!
//! # Streams
//! A route of the kind [`Stream`](steadfast_core::decide::policy::RouteKind::Stream) has no timeout
//! and holds a connection of the budget that it names until its body ends; its admission, if it has
//! one, is for the work until the head. An answer of another route that turns out to be a stream
//! (`text/event-stream`, or `101`) counts from its head on against one budget for all such, of
//! [`DETECTED_STREAMS`] connections, and is [told](Armed::streaming). From neither anything is
//! learned.
//!
//! # Shadow mode
//! A policy with `shadow = true` is evaluated in full and enforced nowhere: what it would have
//! rejected is [counted and told](crate::reject). A request that would have had to wait is served at
//! once, and a shadow of it waits in its place, so that the count is what it would be in force.
//!
//! # Changing the policy
//! [`apply`](Guard::apply) puts another document in force, [`hold`](Guard::hold) a single value for a
//! while; [`live`](Guard::live) has the revisions, the differences, and the way back. A change that
//! the guard cannot follow is refused, and all is as it was.

mod armed;
mod attempts;
mod client;
mod clients;
mod compile;
mod counted;
mod dependency;
mod error;
mod governed;
mod live;
mod route;
mod seen;
mod sent;
#[cfg(feature = "serve")]
mod serve;
mod service;
mod state;
mod told;

pub use armed::Armed;
pub use client::{ClientBody, ClientFuture, ClientLayer, GuardedClient};
pub use clients::Peer;
pub use counted::CountedBody;
pub use dependency::DependencyStatus;
pub use error::GuardError;
pub use governed::{GovernedBody, GovernedFuture};
pub use route::RouteStatus;
pub use sent::{CallBody, Sends, SendsFuture};
#[cfg(feature = "serve")]
pub use serve::{Serve, Served};
pub use service::{Exempt, ExemptLayer, GuardLayer, Guarded};
pub use told::Told;

pub(crate) use armed::{EVENTS, METRICS, Probe};
#[cfg(feature = "axum")]
pub(crate) use armed::{Methods, Reached};
pub(crate) use attempts::{Attempt, AttemptEnd};
pub(crate) use dependency::{DEPENDENCY_EVENTS, DEPENDENCY_METRICS};
pub(crate) use live::LIVE_EVENTS;
#[cfg(feature = "axum")]
pub(crate) use route::Example;
#[cfg(feature = "serve")]
pub(crate) use serve::{SERVE_END_EVENTS, SERVE_EVENTS, SERVE_METRICS};

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use steadfast_core::clock;
use steadfast_core::decide::policy::{Finding, Policy};
use steadfast_core::shutdown::HookRefused;
use steadfast_core::{Shutdown, report};

use crate::breaker::Breakers;
use crate::policy::{LivePolicy, Revision, Signed};
use crate::streams::Budget;
use crate::{Drain, PolicyDocument};
use armed::Watch;
use clients::PeerOf;
use dependency::Dependencies;
use route::Routes;
use state::{Parts as Known, State};

/// How many streams there may be at once on routes whose kind is not stream: 1,000, each a
/// connection, a task and its buffers. Enough for one route that somebody forgot, and few enough to
/// see it.
pub const DETECTED_STREAMS: u32 = 1_000;

/// Guards the routes of one service; see the [module](self). Cheap to clone: clones are one guard.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    live: LivePolicy,
    /// What the policy in force amounts to.
    state: ArcSwap<State>,
    /// When the next override ends, by `clock::nanos`; [`live::NEVER`] for none.
    next_end: AtomicU64,
    /// By which overrides end.
    steady: Mutex<live::Steady>,
    client: Option<ClientOf>,
    secret: RandomState,
    drain: Drain,
    /// For streams of routes that are none.
    detected: Arc<Budget>,
    dependencies: Dependencies,
    watch: Watch,
    /// It was made without routes.
    for_calls_alone: bool,
}

/// What a guard is told: a [`PolicyDocument`], or a [`Policy`] that was made in code.
pub struct GuardPolicy(Given);

enum Given {
    Document(PolicyDocument),
    Policy(Box<Policy>),
}

impl From<PolicyDocument> for GuardPolicy {
    fn from(document: PolicyDocument) -> Self {
        Self(Given::Document(document))
    }
}

impl GuardPolicy {
    #[cfg(feature = "prometheus")]
    fn policy(&self) -> &Policy {
        match &self.0 {
            Given::Document(document) => document.policy(),
            Given::Policy(policy) => policy,
        }
    }
}

impl From<Policy> for GuardPolicy {
    fn from(policy: Policy) -> Self {
        Self(Given::Policy(Box::new(policy)))
    }
}

/// Describes a [`Guard`]; made by [`Guard::builder`].
pub struct GuardBuilder {
    policy: GuardPolicy,
    client: Option<ClientOf>,
    /// What learned timeouts start from; absent if nobody was asked.
    starts: Option<Measured>,
}

/// Gives the template of a request's route, as the router knows it.
pub(crate) type TemplateOf = Arc<dyn for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync>;

/// Tells clients apart: gives a hash of what one is known by.
type ClientOf = Arc<dyn Fn(&Parts) -> Option<u64> + Send + Sync>;

impl Guard {
    /// Makes a guard that tells its clients apart by their addresses.
    ///
    /// # Errors
    /// [`GuardError`], as [`GuardBuilder::build`].
    pub fn new(policy: impl Into<GuardPolicy>) -> Result<Self, GuardError> {
        Self::builder(policy).build()
    }

    /// Describes a guard.
    pub fn builder(policy: impl Into<GuardPolicy>) -> GuardBuilder {
        GuardBuilder {
            policy: policy.into(),
            client: None,
            starts: None,
        }
    }

    /// Makes the layer that goes around a service; `template` names the route of a request as the
    /// policy does. All services that it is put around share the state of this guard.
    ///
    /// A request that comes to the layer a second time, because it was put around the service and
    /// around its router, passes: it is told in [`armed`](Self::armed), and governed once.
    pub fn layer(
        &self,
        template: impl for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync + 'static,
    ) -> GuardLayer {
        self.made(template, compile::NO_PEER)
    }

    /// As [`layer`](Self::layer), where the framework knows the peer.
    #[cfg(feature = "axum")]
    pub(crate) fn layer_of(
        &self,
        template: impl for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync + 'static,
        peer_of: PeerOf,
    ) -> GuardLayer {
        self.made(template, peer_of)
    }

    fn made(
        &self,
        template: impl for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync + 'static,
        peer_of: PeerOf,
    ) -> GuardLayer {
        self.inner.watch.layered();
        GuardLayer::new(self.inner.clone(), Arc::new(template), peer_of)
    }

    /// Makes the layer for what is served beside the guard on purpose, such as metrics, which are asked
    /// when nothing else answers: [`serve`](Self::serve) then does not tell it as served past the
    /// guard. It governs nothing.
    pub fn exempt(&self) -> ExemptLayer {
        ExemptLayer::default()
    }

    /// Gives the drain of this guard, whose limits are those of the policy.
    pub fn drain(&self) -> &Drain {
        &self.inner.drain
    }

    /// Drains when `shutdown` begins; see [`Drain::follow`].
    ///
    /// # Errors
    /// [`HookRefused`] if `shutdown` has no room for one more hook; retrying is of no use.
    pub fn follow(&self, shutdown: &Shutdown) -> Result<(), HookRefused> {
        self.inner.drain.follow(shutdown)
    }

    /// Waits until the drain has begun and its notice is over, so that no new connection is to be
    /// taken: for `axum::serve(..).with_graceful_shutdown(guard.drained())`, which then closes idle
    /// connections and waits for the others. It makes no promise about connections that do not
    /// read; [`Guard::serve`] does.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.drain.stop_accepting()
    }

    /// Gives what reaches the routes of the policy.
    #[cfg(feature = "axum")]
    pub(crate) fn examples(&self) -> Vec<Example> {
        self.inner.state.load().routes.examples()
    }

    #[cfg(feature = "axum")]
    pub(crate) fn note_probed(&self, methods: BTreeMap<String, Methods>) {
        for (template, methods) in methods {
            self.inner.watch.learned(&template, methods);
        }
        self.inner.watch.probed();
    }

    /// Gives what the linter has found in the policy in force that does not refuse it.
    pub fn warnings(&self) -> Vec<Finding> {
        self.inner.state.load().warnings.clone()
    }

    /// Makes the layer that goes around a client of a dependency, with all that the policy says of it.
    ///
    /// Clients of one dependency share its state: budgets, breakers, limits, and what was learned.
    /// Any service will do that takes and gives the types of [`http`]: see [`ClientLayer`], and
    /// [`ClientBody`] for the body that it is given.
    ///
    /// # Errors
    /// [`GuardError`] if the policy has no such dependency; the nearest name is told.
    ///
    /// # Examples
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use steadfast_tower::guard::ClientBody;
    /// use steadfast_tower::{Guard, PolicyDocument};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let policy = PolicyDocument::new("policy.toml", r#"
    ///     [timeouts.quick]
    ///     timeout = "500ms"
    ///
    ///     [breakers.careful]
    ///     consecutive = 5
    ///
    ///     [dependencies.payments]
    ///     methods = ["GET", "PUT"]
    ///     timeout = "quick"
    ///     breaker = "careful"
    /// "#)?;
    /// let guard = Guard::new(policy)?;
    ///
    /// // In place of a real client.
    /// let http = service_fn(async |_: Request<ClientBody<Full<Bytes>>>| {
    ///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    /// });
    /// let payments = ServiceBuilder::new().layer(guard.client("payments")?).service(http);
    ///
    /// let hold = Request::get("http://pay.example/holds/7").body(Full::default())?;
    /// assert_eq!(payments.oneshot(hold).await?.status(), 200);
    ///
    /// let misspelt = guard.client("paymnets").unwrap_err().to_string();
    /// assert!(misspelt.contains("did you mean \"payments\"?"), "{misspelt}");
    /// # Ok(()) }
    /// ```
    pub fn client(&self, dependency: &str) -> Result<ClientLayer, GuardError> {
        let found = self.inner.dependencies.get(dependency)?;
        Ok(ClientLayer::new(self.inner.clone(), found))
    }

    /// Gives the view of the breakers of a dependency, and the hand on them.
    ///
    /// # Errors
    /// [`GuardError`] if the policy has no such dependency; the nearest name is told.
    pub fn breakers(&self, dependency: &str) -> Result<Breakers, GuardError> {
        Ok(self.inner.dependencies.get(dependency)?.breakers())
    }

    /// Tells how each route of the policy stands, by name.
    pub fn routes(&self) -> Vec<RouteStatus> {
        self.inner.end_overrides(clock::nanos());
        let state = self.inner.state.load();
        let mut routes: Vec<_> = state.routes.all().map(|route| route.status()).collect();
        routes.sort_by(|a, b| a.name.cmp(&b.name));
        routes
    }

    /// Tells how each dependency stands, by name.
    pub fn dependencies(&self) -> Vec<DependencyStatus> {
        self.inner.dependencies.status()
    }

    /// Tells which routes are guarded, and what goes past the policy.
    pub fn armed(&self) -> Armed {
        self.inner.armed()
    }

    /// Waits until the guard is [checked](Armed::checked): [`protect`](Self::protect) has put it around its routes. At
    /// once where it is, or has no routes.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub fn checked(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = self.inner.clone();
        async move { inner.watch.until(|| inner.armed().checked).await }
    }
}

impl GuardBuilder {
    /// Says what a client is known by instead of its address: an API key, a tenant. Rates per client
    /// count by it; and of those who wait in one tier, clients take turns. Those of which it says
    /// nothing, or panics, are one.
    #[must_use]
    pub fn client_by<K: Hash>(
        mut self,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        // With a secret: nobody can choose to be taken for another.
        let secret = RandomState::new();
        self.client = Some(Arc::new(move |request| {
            client(request).map(|client| secret.hash_one(client))
        }));
        self
    }

    /// Has learned timeouts start from what a Prometheus knew, instead of what the policy says.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn starting_at(mut self, starts: &crate::prometheus::Starts) -> Self {
        let measured = |name: &String, start: Option<&crate::prometheus::Start>| {
            let start = start.filter(|start| start.is_measured())?;
            Some((name.clone(), start.timeout()))
        };
        let policy = self.policy.policy();
        let routes = policy.routes.keys();
        let dependencies = policy.dependencies.keys();
        self.starts = Some(Measured {
            routes: routes
                .filter_map(|key| measured(key, starts.route(key)))
                .collect(),
            dependencies: dependencies
                .filter_map(|name| measured(name, starts.dependency(name)))
                .collect(),
        });
        self
    }

    /// Checks the policy and makes the guard.
    ///
    /// # Errors
    /// [`GuardError`] with all that is wrong at once. Trying again with the same policy fails again.
    pub fn build(self) -> Result<Guard, GuardError> {
        let document = match self.policy.0 {
            Given::Document(document) => document,
            Given::Policy(policy) => {
                // First, so that what is wrong is told by its path and not by a line of nobody's.
                compile::check(&policy)?;
                let text = Policy::toml_of(&policy.fields());
                PolicyDocument::new("a policy made in code", text).map_err(GuardError::other)?
            }
        };
        let warnings = compile::check(document.policy())?;
        for finding in &warnings {
            tracing::warn!(target: "steadfast::guard", rule = finding.rule, "{finding}");
        }
        let secret = RandomState::new();
        let detected = Arc::new(Budget::new("streams".into(), DETECTED_STREAMS));
        // Without a place in the report it still counts, and guards.
        let _ = report::register("streams", &detected);
        let client = self.client.as_ref();
        let policy = document.policy();
        let state = compile::build(
            policy,
            warnings,
            &Known::default(),
            client,
            &secret,
            &detected,
        )?;
        if self.starts.is_none() && asks(policy) {
            tracing::warn!(
                target: "steadfast::guard",
                "the policy has a timeout_start_query, and nobody was asked"
            );
        }
        let dependencies = Dependencies::new(policy)?;
        let for_calls_alone = policy.routes.is_empty();
        if let Some(starts) = &self.starts {
            start(&state.routes, &starts.routes);
            dependencies.start_at(&starts.dependencies);
        }
        let signed = Signed::new("start", "in force since the process has started");
        let signed = signed.expect("both are said");
        let first = Revision::new("guard", 1, document, signed, clock::timestamp());
        let inner = Arc::new(Inner {
            live: LivePolicy::new(first),
            drain: Drain::new(state.drain),
            state: ArcSwap::from_pointee(state),
            next_end: AtomicU64::new(live::NEVER),
            steady: Mutex::new(live::Steady::new()),
            client: self.client,
            dependencies,
            secret,
            detected,
            watch: Watch::default(),
            for_calls_alone,
        });
        inner.live.observe(&inner);
        let _ = report::register("guard", &inner);
        Ok(Guard { inner })
    }
}

/// What learned timeouts start from, by the names that the policy has.
struct Measured {
    routes: BTreeMap<String, Duration>,
    dependencies: BTreeMap<String, Duration>,
}

/// Has learned timeouts of routes start from what was measured.
fn start(routes: &Routes, starts: &BTreeMap<String, Duration>) {
    for route in routes.all() {
        if let (Some(timeout), Some(start)) = (&route.timeout, starts.get(&route.key)) {
            timeout.start_at(*start);
        }
    }
}

/// Tells whether the policy has something to ask.
fn asks(policy: &Policy) -> bool {
    let routes = policy.routes.values().map(|of| &of.timeout);
    let dependencies = policy.dependencies.values().map(|of| &of.timeout);
    let mut timeouts = routes.chain(dependencies).flatten();
    timeouts.any(|name| {
        let of = policy.timeouts.get(name);
        of.is_some_and(|of| of.start_query.is_some())
    })
}

impl Inner {
    /// Puts a policy in force that was checked.
    fn follow(&self, policy: &Policy) -> Result<(), GuardError> {
        let warnings = compile::check(policy)?;
        let before = self.state.load_full();
        let (client, secret) = (self.client.as_ref(), &self.secret);
        let known = &before.parts;
        let state = compile::build(policy, warnings, known, client, secret, &self.detected)?;
        self.dependencies.follow(policy)?;
        self.drain.set_limits(state.drain);
        self.state.store(Arc::new(state));
        Ok(())
    }

    fn armed(&self) -> Armed {
        let revision = self.live.in_force().revision().n();
        let streaming = self.detected.routes();
        let (state, dependencies) = (self.state.load(), &self.dependencies);
        self.watch.armed(&state, dependencies, streaming, revision)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load();
        f.debug_struct("Guard")
            .field("trust", &state.trust)
            .field("routes", &state.routes)
            .field("dependencies", &self.dependencies)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardBuilder").finish_non_exhaustive()
    }
}
