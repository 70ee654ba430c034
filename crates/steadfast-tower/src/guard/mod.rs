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
//! Around each handler stand, from outside to inside: trace id, recover, deadline and tier, rate
//! limit, admission, timeout. Each part is a module of its own, which says what it promises:
//! [`trace_id`](crate::trace_id), [`recover`](crate::recover), [`rate_limit`](crate::rate_limit),
//! [`admission`](crate::admission), [`timeout`](crate::timeout). A route that names no part of a
//! kind has none of it; a request to a route that the policy does not name at all has its trace id
//! and its recovery, and is [told](Armed::ungoverned).
//!
//! Routes are the templates under which a router knows them: `/orders/{id}`, for all its methods,
//! or `GET /orders/{id}` for one, which goes first. With the feature `axum`,
//! [`protect`](Guard::protect) takes a finished router; without it, [`layer`](Guard::layer) goes
//! around any service, and a closure names the route.
//!
//! # Armed, or not at all
//! Policies are of no use where they are not in force. With axum, [`check`](Guard::check) asks every
//! route of the policy in process, before the service listens: a route that does not exist, a
//! misspelt template, or one that goes past the guard refuses the start. While running,
//! [`armed`](Guard::armed) tells routes that the policy does not name, and requests that passed two
//! guards.
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
//! # What it does not do yet
//! Shadow mode of anything but breakers, and stream budgets with a name: a policy that asks for them
//! is refused, since leaving them out in silence would be worse. Deadlines that clients send are read
//! by [`deadline`](crate::deadline), outside of the guard.
//!
//! # Streams
//! A route of the kind [`Stream`](steadfast_core::decide::policy::RouteKind::Stream) has no timeout, its admission is a budget of
//! connections, held until the body ends, and nothing is learned from it.

mod armed;
mod client;
mod compile;
mod dependency;
mod error;
mod governed;
mod route;
mod service;
mod told;

pub use armed::Armed;
pub use client::{CallBody, ClientBody, ClientFuture, ClientLayer, GuardedClient};
pub use dependency::DependencyStatus;
pub use error::GuardError;
pub use governed::{Governed, GovernedBody};
pub use service::{GuardLayer, Guarded};
pub use told::Told;

pub(crate) use armed::{EVENTS, METRICS, Probe};
pub(crate) use dependency::{DEPENDENCY_EVENTS, DEPENDENCY_METRICS};

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use steadfast_core::decide::policy::{Clients, Finding, Policy};

use crate::Trust;
use crate::breaker::Breakers;
use armed::Watch;
use dependency::Dependencies;
use route::Routes;

/// Guards the routes of one service; see the [module](self). Cheap to clone: clones are one guard.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    trust: Trust,
    routes: Routes,
    dependencies: Dependencies,
    watch: Watch,
    warnings: Vec<Finding>,
}

/// Describes a [`Guard`]; made by [`Guard::builder`].
pub struct GuardBuilder {
    policy: Policy,
    client: Option<ClientOf>,
    /// What learned timeouts start from, by route; absent if nobody was asked.
    starts: Option<BTreeMap<String, Duration>>,
}

/// Gives the template of a request's route, as the router knows it.
pub(crate) type TemplateOf = Arc<dyn for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync>;

/// Tells clients apart: gives a hash of what one is known by.
type ClientOf = Arc<dyn Fn(&Parts) -> Option<u64> + Send + Sync>;

impl Guard {
    /// Makes a guard for a service that anybody can reach, and which does not tell its clients
    /// apart.
    ///
    /// # Errors
    /// [`GuardError`], as [`GuardBuilder::build`].
    pub fn new(policy: Policy) -> Result<Self, GuardError> {
        Self::builder(policy).build()
    }

    /// Describes a guard.
    pub fn builder(policy: Policy) -> GuardBuilder {
        GuardBuilder {
            policy,
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
        GuardLayer::new(self.inner.clone(), Arc::new(template))
    }

    /// Gives the routes of the policy, each with a path and a method that reach it.
    #[cfg(feature = "axum")]
    pub(crate) fn examples(&self) -> Vec<(String, http::Method, String)> {
        let routes = self.inner.routes.all();
        routes.map(|route| route.example()).collect()
    }

    #[cfg(feature = "axum")]
    pub(crate) fn note_probed(&self) {
        self.inner.watch.probed();
    }

    /// Gives what the linter has found that does not prevent the start.
    pub fn warnings(&self) -> &[Finding] {
        &self.inner.warnings
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
    /// let guard = Guard::new(policy.policy().clone())?;
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
        Ok(ClientLayer::new(self.inner.dependencies.get(dependency)?))
    }

    /// Gives the view of the breakers of a dependency, and the hand on them.
    ///
    /// # Errors
    /// [`GuardError`] if the policy has no such dependency; the nearest name is told.
    pub fn breakers(&self, dependency: &str) -> Result<Breakers, GuardError> {
        Ok(self.inner.dependencies.get(dependency)?.breakers())
    }

    /// Tells how each dependency stands, by name.
    pub fn dependencies(&self) -> Vec<DependencyStatus> {
        self.inner.dependencies.status()
    }

    /// Tells which routes are guarded, and what goes past the policy.
    pub fn armed(&self) -> Armed {
        let Inner {
            watch,
            routes,
            dependencies,
            ..
        } = &*self.inner;
        watch.armed(routes, dependencies)
    }
}

impl GuardBuilder {
    /// Says what a client is known by: an API key, a tenant, an address. Rates that are counted per
    /// client need it; and of those who wait in one tier, clients take turns.
    #[must_use]
    pub fn client_by<K: Hash>(
        mut self,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        // With a secret: nobody can choose to be taken for another.
        let secret = std::collections::hash_map::RandomState::new();
        self.client = Some(Arc::new(move |request| {
            use std::hash::BuildHasher;
            client(request).map(|client| secret.hash_one(client))
        }));
        self
    }

    /// Has learned timeouts start from what a Prometheus knew, instead of what the policy says.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn starting_at(mut self, starts: &crate::prometheus::Starts) -> Self {
        let starts = self.policy.routes.keys().filter_map(|key| {
            let start = starts.route(key)?;
            let measured = start.is_measured().then_some(start.timeout())?;
            Some((key.clone(), measured))
        });
        self.starts = Some(starts.collect());
        self
    }

    /// Checks the policy and makes the guard.
    ///
    /// # Errors
    /// [`GuardError`] with all that is wrong at once: what the linter finds, rates per client
    /// without [`client_by`](Self::client_by). Trying again with the same policy fails again.
    pub fn build(self) -> Result<Guard, GuardError> {
        let warnings = compile::check(&self.policy, self.client.is_some())?;
        for finding in &warnings {
            tracing::warn!(target: "steadfast::guard", rule = finding.rule, "{finding}");
        }
        let inner = Inner {
            trust: match self.policy.trust.clients {
                Clients::Edge => Trust::Edge,
                Clients::Inside => Trust::Inside,
            },
            routes: compile::routes(&self.policy, self.client.as_ref())?,
            dependencies: Dependencies::new(&self.policy)?,
            watch: Watch::default(),
            warnings,
        };
        let asks = start(
            &inner.routes,
            &self.policy,
            self.starts.as_ref().unwrap_or(&BTreeMap::new()),
        );
        if asks && self.starts.is_none() {
            tracing::warn!(
                target: "steadfast::guard",
                "the policy has a timeout_start_query, and nobody was asked"
            );
        }
        let inner = Arc::new(inner);
        // Without a place in the report it still guards.
        let _ = steadfast_core::report::register("guard", &inner);
        Ok(Guard { inner })
    }
}

/// Has learned timeouts start from what was measured; without that they start from what the policy
/// says. Gives whether the policy has something to ask.
fn start(routes: &Routes, policy: &Policy, starts: &BTreeMap<String, Duration>) -> bool {
    let mut asks = false;
    for route in routes.all() {
        if let (Some(timeout), Some(start)) = (&route.timeout, starts.get(&route.key)) {
            timeout.start_at(*start);
        }
        let of = policy.routes.get(&route.key);
        let of = of.and_then(|of| policy.timeouts.get(of.timeout.as_ref()?));
        asks |= of.is_some_and(|of| of.start_query.is_some());
    }
    asks
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("trust", &self.inner.trust)
            .field("routes", &self.inner.routes)
            .field("dependencies", &self.inner.dependencies)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardBuilder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
