use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use steadfast_core::clock::Instant;
use steadfast_core::report::{Collector, EventDoc, MetricDoc, Source};
use tokio::sync::Notify;

use super::Inner;
use super::clients::PeerOf;
use super::dependency::Dependencies;
use super::state::State;

/// How many templates without a policy are kept: 64, enough to see what was forgotten. Templates
/// come from the router, so a client cannot make any.
const UNGOVERNED_MAX: usize = 64;

/// A question to the guard, in process: which route does this request have? No client can ask it,
/// since it is no header.
#[derive(Clone, Default)]
pub(crate) struct Probe(Arc<Mutex<Option<Reached>>>);

/// What a probe has reached.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "it is the router of axum that is asked")
)]
pub(crate) struct Reached {
    /// The template of the router, if one has matched.
    pub(crate) template: Option<String>,
    /// The key of the policy that governs it.
    pub(crate) key: Option<String>,
}

/// Marks a request that has passed a guard.
#[derive(Clone, Copy)]
pub(super) struct Passed {
    /// When it came.
    pub(super) at: Instant,
    /// What its client is known by, where somebody has to know.
    pub(super) client: Option<u64>,
    /// Finds out where it has come from, where that turns out to matter.
    pub(super) peer_of: PeerOf,
}

/// What is seen while running.
#[derive(Default)]
pub(super) struct Watch {
    probed: AtomicBool,
    /// Somebody waits until it is.
    waiting: Notify,
    /// A layer of the guard was made.
    layered: AtomicBool,
    requests: AtomicU64,
    ungoverned_requests: AtomicU64,
    twice: AtomicU64,
    past: AtomicU64,
    unknown_clients: AtomicU64,
    /// The templates that had no policy, each with the method that was requested last.
    ungoverned: Mutex<BTreeMap<String, Method>>,
    /// The templates that were asked at the start.
    asked: Mutex<BTreeMap<String, Methods>>,
}

/// The methods that the router has for a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Methods {
    /// Whichever is asked for, as far as anybody knows.
    #[default]
    Any,
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "it is the router of axum that tells")
    )]
    These(Vec<Method>),
}

/// Whether a guard is in force: what [`Guard::armed`](super::Guard::armed) tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Armed {
    /// Whether every route of the policy was asked, and has answered by the guard; true of one without
    /// routes.
    pub checked: bool,
    /// Whether a layer of the guard was made, to be put around something: by [`Guard::protect`](super::Guard::protect) or
    /// [`Guard::layer`](super::Guard::layer).
    pub layered: bool,
    /// The routes of the policy, in order.
    pub routes: Vec<String>,
    /// Templates of routes that were requested and that the policy in force does not name.
    pub ungoverned: Vec<String>,
    /// How many requests came.
    pub requests: u64,
    /// How many of these were to routes that the policy does not name.
    pub ungoverned_requests: u64,
    /// How many came through two layers of a guard; governed once.
    pub twice: u64,
    /// Dependencies of the policy for which no client was made, so that nothing of what it says of
    /// them is in force.
    pub unused: Vec<String>,
    /// How many were answered past the guard, where [`Guard::serve`](super::Guard::serve) sees it.
    pub past: u64,
    /// How many had no client that could be told from others, on routes with a rate per client: they
    /// share the quota of one.
    pub unknown_clients: u64,
    /// Routes whose answers turned out to be streams, and whose kind is not.
    pub streaming: Vec<String>,
    /// Policies that only look on, such as `admissions.http`.
    pub shadowed: Vec<String>,
    /// The revision of the policy that is in force, from 1.
    pub revision: u64,
}

impl Probe {
    pub(super) fn reach(&self, template: Option<&str>, key: Option<&str>) {
        let reached = Reached {
            template: template.map(ToOwned::to_owned),
            key: key.map(ToOwned::to_owned),
        };
        *self.lock() = Some(reached);
    }

    #[cfg(feature = "axum")]
    pub(crate) fn reached(&self) -> Option<Reached> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    #[cfg(feature = "axum")]
    pub(super) fn probed(&self) {
        self.probed.store(true, Ordering::Relaxed);
        self.waiting.notify_waiters();
    }

    /// Waits until something is so, looking whenever the routes were asked.
    pub(super) async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let mut asked = pin!(self.waiting.notified());
            // Before the look: what comes after that is heard.
            asked.as_mut().enable();
            if is_so() {
                return;
            }
            asked.await;
        }
    }

    /// Notes that a layer of the guard was made.
    pub(super) fn layered(&self) {
        self.layered.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_layered(&self) -> bool {
        self.layered.load(Ordering::Relaxed)
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes notice of a request without a policy. Gives its template if the answer has to show whether
    /// that is a route which the policy forgot: then [`answered`](Self::answered) is to be told.
    pub(super) fn ungoverned(&self, template: Option<&str>, method: &Method) -> Option<Box<str>> {
        self.ungoverned_requests.fetch_add(1, Ordering::Relaxed);
        // What no route matched needs no policy.
        let template = template?;
        let of_the_router = self.of_the_router();
        let unlisted = match of_the_router.get(template) {
            Some(Methods::These(these)) => !these.contains(method),
            Some(Methods::Any) | None => false,
        };
        drop(of_the_router);
        if unlisted {
            return Some(template.into());
        }
        self.forgotten(template, method);
        None
    }

    /// Takes notice of the answer to a method that the router does not list: its own 405, or that of a
    /// fallback, which serves whatever it likes.
    pub(super) fn answered(&self, template: &str, method: &Method, status: StatusCode) {
        if status != StatusCode::METHOD_NOT_ALLOWED {
            self.forgotten(template, method);
        }
    }

    /// Tells a template without a policy once.
    fn forgotten(&self, template: &str, method: &Method) {
        let mut known = self.known();
        if let Some(last) = known.get_mut(template) {
            last.clone_from(method);
            return;
        }
        if known.len() >= UNGOVERNED_MAX {
            return;
        }
        known.insert(template.to_owned(), method.clone());
        drop(known);
        tracing::warn!(
            target: "steadfast::guard",
            route = template,
            "a route is served that the policy does not name"
        );
    }

    pub(super) fn twice(&self) {
        if self.twice.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                target: "steadfast::guard",
                "a request passed two layers of a guard; it is governed once, by the outer one"
            );
        }
    }

    /// Notes a template that a probe has reached.
    pub(super) fn asked(&self, template: Option<&str>) {
        let Some(template) = template else { return };
        // As many as the policy has routes.
        self.of_the_router().entry(template.to_owned()).or_default();
    }

    /// Notes which methods the router has for a template.
    #[cfg(feature = "axum")]
    pub(super) fn learned(&self, template: &str, methods: Methods) {
        self.of_the_router().insert(template.to_owned(), methods);
    }

    /// Says why nobody knows whether there is a route under this template.
    pub(super) fn does_not_know(&self, template: &str) -> Option<&'static str> {
        let is_known = !self.probed.load(Ordering::Relaxed)
            || self.of_the_router().contains_key(template)
            || self.known().contains_key(template);
        (!is_known).then_some(
            "was not asked at the start, so nobody knows whether there is such a route; add it with the next start",
        )
    }

    /// Says which of these methods a route of the router does not have, as far as that is known.
    pub(super) fn misses(&self, template: &str, methods: &[String]) -> Option<String> {
        let asked = self.of_the_router();
        let known = asked.get(template)?;
        methods.iter().find_map(|method| known.misses(method))
    }

    pub(super) fn unknown_client(&self) {
        if self.unknown_clients.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                target: "steadfast::guard",
                "clients cannot be told apart, and share the rate of one; serve with `Guard::serve`, or say `client_by`"
            );
        }
    }

    /// Counts an answer that went past the guard, and tells the first.
    #[cfg(feature = "serve")]
    pub(super) fn past(&self, method: &http::Method, path: &str) {
        if self.past.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                target: "steadfast::guard",
                %method,
                path = crate::access_log::head(path),
                "a request was served past the guard; call `Guard::protect` last, around all routes"
            );
        }
    }

    pub(super) fn armed(
        &self,
        state: &State,
        dependencies: &Dependencies,
        streaming: Vec<String>,
        revision: u64,
    ) -> Armed {
        let routes = state.routes.all();
        let mut names: Vec<_> = routes.map(|route| route.key.clone()).collect();
        names.sort();
        // A policy since may name them.
        let known = self.known();
        let ungoverned = known
            .iter()
            .filter(|(template, method)| state.routes.find(method, Some(template)).is_none())
            .map(|(template, _)| template.clone())
            .collect();
        drop(known);
        Armed {
            // One for calls alone has nothing to be asked.
            checked: names.is_empty() || self.probed.load(Ordering::Relaxed),
            layered: self.is_layered(),
            routes: names,
            ungoverned,
            requests: self.requests.load(Ordering::Relaxed),
            ungoverned_requests: self.ungoverned_requests.load(Ordering::Relaxed),
            twice: self.twice.load(Ordering::Relaxed),
            unused: dependencies.unused(),
            past: self.past.load(Ordering::Relaxed),
            unknown_clients: self.unknown_clients.load(Ordering::Relaxed),
            streaming,
            shadowed: state.shadowed.clone(),
            revision,
        }
    }

    fn of_the_router(&self) -> MutexGuard<'_, BTreeMap<String, Methods>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Method>> {
        self.ungoverned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Methods {
    /// Says what is wrong with a policy that says this method of the route.
    pub(crate) fn misses(&self, method: &str) -> Option<String> {
        let Self::These(these) = self else {
            return None;
        };
        // `OPTIONS` is also answered by layers that stand around all handlers.
        if method == Method::OPTIONS || these.iter().any(|one| one == method) {
            return None;
        }
        let has: Vec<_> = these.iter().map(Method::as_str).collect();
        let has = has.join(",");
        Some(format!(
            "says {method}, and the route of the router has {has:?}; write one of these, or no method"
        ))
    }
}

impl Armed {
    /// Tells whether nothing goes past the policy: all routes were asked, no other one was
    /// requested, none is guarded twice or served past the guard, every dependency is called by a
    /// client of the guard, every client that has to be known is, and no answer is a stream whose route is none. What is in shadow mode is meant to be.
    pub fn is_clean(&self) -> bool {
        self.checked
            && self.ungoverned.is_empty()
            && self.streaming.is_empty()
            && self.unused.is_empty()
            && self.twice + self.past + self.unknown_clients == 0
    }
}

/// A few lines for people.
impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.routes.len(), self.checked) {
            (0, _) => write!(f, "no routes to guard")?,
            (1, true) => write!(f, "1 route armed, asked at the start")?,
            (1, false) => write!(f, "1 route not asked at the start")?,
            (routes, true) => write!(f, "{routes} routes armed, asked at the start")?,
            (routes, false) => write!(f, "{routes} routes not asked at the start")?,
        }
        write!(f, "; {} requests", self.requests)?;
        if !self.ungoverned.is_empty() {
            let names = self.ungoverned.join(", ");
            write!(
                f,
                "\n  without a policy: {names} ({} requests)",
                self.ungoverned_requests
            )?;
        }
        if self.twice > 0 {
            write!(f, "\n  guarded twice: {} requests", self.twice)?;
        }
        if self.past > 0 {
            write!(f, "\n  served past the guard: {} requests", self.past)?;
        }
        if self.unknown_clients > 0 {
            let count = self.unknown_clients;
            write!(
                f,
                "\n  of clients that nobody can tell apart: {count} requests"
            )?;
        }
        for (what, names) in [
            ("streams, and their kind is response", &self.streaming),
            ("in shadow mode, and reject nothing", &self.shadowed),
        ] {
            if !names.is_empty() {
                write!(f, "\n  {what}: {}", names.join(", "))?;
            }
        }
        if !self.unused.is_empty() {
            let names = self.unused.join(", ");
            write!(f, "\n  not called by a client of the guard: {names}")?;
        }
        Ok(())
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_guard_armed",
        &[],
        "1 while every route is guarded, by exactly one guard, under a policy of its own.",
    ),
    MetricDoc::counter(
        "steadfast_guard_requests_total",
        &[],
        "Requests that came to the guard.",
    ),
    MetricDoc::counter(
        "steadfast_guard_ungoverned_requests_total",
        &[],
        "Requests to routes that the policy does not name.",
    ),
    MetricDoc::counter(
        "steadfast_guard_twice_total",
        &[],
        "Requests that passed two layers of a guard.",
    ),
    MetricDoc::counter(
        "steadfast_guard_past_total",
        &[],
        "Requests that were answered past the guard, as its server has seen.",
    ),
    MetricDoc::counter(
        "steadfast_guard_unknown_clients_total",
        &[],
        "Requests whose client could not be told from others, on routes with a rate per client.",
    ),
    MetricDoc::gauge(
        "steadfast_guard_shadowed",
        &[],
        "Policies in shadow mode, which say what they would have rejected, and reject nothing.",
    ),
    MetricDoc::gauge(
        "steadfast_guard_policy_revision",
        &[],
        "The revision of the policy that is in force.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::guard",
        &["warn"],
        "a route is served that the policy does not name",
        &["route"],
    )
    .when("The first request to such a route.")
    .action("Name it in the policy, or take it out of the router."),
    EventDoc::new(
        "steadfast::guard",
        &["warn"],
        "a request passed two layers of a guard; it is governed once, by the outer one",
        &[],
    )
    .when("The first request of that kind.")
    .action("Put one guard around, once."),
    EventDoc::new(
        "steadfast::guard",
        &["error"],
        "a request was served past the guard; call `Guard::protect` last, around all routes",
        &["method", "path"],
    )
    .when("The first answer that `Guard::serve` sees of a route that the guard does not stand in front of.")
    .action("Call `protect` last: routes that are added to what it gives back are not guarded."),
    EventDoc::new(
        "steadfast::guard",
        &["warn"],
        "clients cannot be told apart, and share the rate of one; serve with `Guard::serve`, or say `client_by`",
        &[],
    )
    .when("The first request of that kind, to a route with a rate per client.")
    .action("Serve with `Guard::serve`, or with the connect info of axum, or say `client_by`."),
    EventDoc::new(
        "steadfast::guard",
        &["warn"],
        "the policy has a timeout_start_query, and nobody was asked",
        &[],
    )
    .when("At the start, if the guard was built without `GuardBuilder::starting_at`.")
    .action("Ask with `prometheus::Starts::ask`, or take the query out; the timeouts start from `timeout_start`."),
    EventDoc::new("steadfast::guard", &["warn"], "{finding}", &["rule"])
        .when("At the start, for each finding of the linter that may be doubted.")
        .action("The message has the arithmetic and the fix; the rules are in the reference."),
];

impl Source for Inner {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let armed = self.armed();
        to.armed("steadfast_guard_armed", armed.is_clean())
            .counter("steadfast_guard_requests_total", armed.requests)
            .counter(
                "steadfast_guard_ungoverned_requests_total",
                armed.ungoverned_requests,
            )
            .counter("steadfast_guard_twice_total", armed.twice)
            .counter("steadfast_guard_past_total", armed.past)
            .counter(
                "steadfast_guard_unknown_clients_total",
                armed.unknown_clients,
            )
            .gauge("steadfast_guard_shadowed", armed.shadowed.len() as f64)
            .gauge("steadfast_guard_policy_revision", armed.revision as f64);
    }
}
