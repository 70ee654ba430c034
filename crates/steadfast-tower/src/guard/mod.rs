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
//! # What it does not do yet
//! Shadow mode, stream budgets with a name, and outgoing calls: a policy that asks for them is
//! refused, since leaving them out in silence would be worse. The layers for outgoing calls
//! ([`retry`](crate::retry), [`timeout`](crate::timeout), [`admission`](crate::admission)) are there
//! to be put together by hand. Deadlines that clients send are read by
//! [`deadline`](crate::deadline), outside of the guard.
//!
//! # Streams
//! A route of the kind [`Stream`](steadfast_core::decide::policy::RouteKind::Stream) has no timeout, its admission is a budget of
//! connections, held until the body ends, and nothing is learned from it.

mod armed;
mod compile;
mod error;
mod governed;
mod route;
mod service;

pub use armed::Armed;
pub use error::GuardError;
pub use governed::{Governed, GovernedBody};
pub use service::{GuardLayer, Guarded};

pub(crate) use armed::{EVENTS, METRICS, Probe};

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::decide::policy::{Clients, Finding, Policy};

use crate::Trust;
use armed::Watch;
use route::Routes;

/// Guards the routes of one service; see the [module](self). Cheap to clone: clones are one guard.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    trust: Trust,
    routes: Routes,
    watch: Watch,
    warnings: Vec<Finding>,
}

/// Describes a [`Guard`]; made by [`Guard::builder`].
pub struct GuardBuilder {
    policy: Policy,
    client: Option<ClientOf>,
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

    /// Tells which routes are guarded, and what goes past the policy.
    pub fn armed(&self) -> Armed {
        self.inner.watch.armed(&self.inner.routes)
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
            watch: Watch::default(),
            warnings,
        };
        let inner = Arc::new(inner);
        // Without a place in the report it still guards.
        let _ = steadfast_core::report::register("guard", &inner);
        Ok(Guard { inner })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("trust", &self.inner.trust)
            .field("routes", &self.inner.routes)
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
