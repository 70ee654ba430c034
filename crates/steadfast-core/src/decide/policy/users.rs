//! The whole policy, and the routes and dependencies that use its parts.

use std::collections::BTreeMap;

use super::parts::{
    AdmissionPolicy, BreakerPolicy, HedgePolicy, RatePolicy, RetryPolicy, StreamPolicy,
    TimeoutPolicy,
};
use super::service::{DrainPolicy, TrustPolicy};
use super::values::{Attempts, Rate, Timeout};
use crate::context::Tier;

/// Everything that the request guard of one service is told.
///
/// Plain data: make it, change it, [`lint`](super::lint) it. Two policies are compared by their
/// [`fields`](Self::fields).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// How many requests run at once, by name.
    pub admissions: BTreeMap<String, AdmissionPolicy>,
    /// How long something may take, by name.
    pub timeouts: BTreeMap<String, TimeoutPolicy>,
    /// How much may come over time, by name.
    pub rates: BTreeMap<String, RatePolicy>,
    /// When to stop calling, by name.
    pub breakers: BTreeMap<String, BreakerPolicy>,
    /// How often to try again, by name.
    pub retries: BTreeMap<String, RetryPolicy>,
    /// When to send a second attempt, by name.
    pub hedges: BTreeMap<String, HedgePolicy>,
    /// How many streams there may be, by name.
    pub streams: BTreeMap<String, StreamPolicy>,
    /// What is served, by route template, or by method and template: `GET /orders`. The methods
    /// count, see [`Route::methods`]; the key is what it is called.
    pub routes: BTreeMap<String, Route>,
    /// What is called, by name.
    pub dependencies: BTreeMap<String, Dependency>,
    /// Whom the service believes.
    pub trust: TrustPolicy,
    /// How the service stops.
    pub drain: DrainPolicy,
}

/// What is served under one route template, and which policies govern it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The methods it serves, as in a request: `GET`. None stands for all that no other route of the
    /// same template has.
    pub methods: Vec<String>,
    /// Whether the answer ends by itself.
    pub kind: RouteKind,
    /// Who goes first when there is not enough.
    pub tier: Tier,
    /// How many requests come, as observed or expected at the peak. Rules that need it are silent
    /// without it.
    pub rate: Option<Rate>,
    /// How long nobody waits longer than, for callers that do not say so themselves.
    pub deadline: Option<Timeout>,
    /// Names one of `timeouts`.
    pub timeout: Option<String>,
    /// Names one of `admissions`.
    pub admission: Option<String>,
    /// Names one of `rates`.
    pub quota: Option<String>,
    /// Names one of `streams`.
    pub stream: Option<String>,
    /// Names the `dependencies` that a request calls, one after the other.
    pub calls: Vec<String>,
}

/// Says whether an answer ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// It does, soon.
    #[default]
    Response,
    /// It goes on until somebody leaves: server-sent events, upgrades, long downloads.
    Stream,
}

/// What is called, and which policies govern the calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// The methods of the calls, as in a request: `POST`.
    pub methods: Vec<String>,
    /// Whether each call carries an `Idempotency-Key` that the target honors. Default no.
    pub idempotency_key: bool,
    /// How many calls are made, as observed or expected at the peak. Rules that need it are silent
    /// without it.
    pub rate: Option<Rate>,
    /// How many attempts somebody further inside makes for each of ours: a client library, a mesh,
    /// the target's own retries. Default 1, which is none but ours.
    pub attempts_inside: Attempts,
    /// Names one of `timeouts`, for each attempt.
    pub timeout: Option<String>,
    /// Names one of `admissions`, the limit of calls at once.
    pub admission: Option<String>,
    /// Names one of `breakers`.
    pub breaker: Option<String>,
    /// Names one of `retries`.
    pub retry: Option<String>,
    /// Names one of `hedges`.
    pub hedge: Option<String>,
}

// === impl Policy ===

impl Policy {
    /// Finds the route of a request, by its method and the template that it matched, with the name
    /// that the route has here. One with this method comes before one for all methods. A `HEAD` that is
    /// not named is a `GET`, whose handler does its work.
    #[must_use]
    pub fn route(&self, method: &str, template: &str) -> Option<(&str, &Route)> {
        let named = |method| self.routes.get_key_value(&format!("{method} {template}"));
        let get = (method == "HEAD").then_some("GET");
        let with_method = named(method).or_else(|| named(get?));
        let found = with_method.or_else(|| self.routes.get_key_value(template));
        let (name, route) = found?;
        let is_this = |one: &String| one == method || Some(one.as_str()) == get;
        let serves = route.methods.is_empty() || route.methods.iter().any(is_this);
        serves.then_some((name.as_str(), route))
    }
}

// === impl RouteKind ===

impl RouteKind {
    /// Gives the word of a document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Stream => "stream",
        }
    }
}

// === impl Route ===

impl Route {
    /// Takes the name of a route apart into its method, if it has one, and its template.
    #[must_use]
    pub fn split_name(name: &str) -> (Option<&str>, &str) {
        match name.split_once(' ') {
            Some((method, template)) if is_method(method) => (Some(method), template),
            _ => (None, name),
        }
    }

    /// Makes a route of the default tier that no policy governs yet.
    pub fn new<S: Into<String>>(methods: impl IntoIterator<Item = S>) -> Self {
        Self {
            methods: methods.into_iter().map(Into::into).collect(),
            kind: RouteKind::default(),
            tier: Tier::DEFAULT,
            rate: None,
            deadline: None,
            timeout: None,
            admission: None,
            quota: None,
            stream: None,
            calls: Vec::new(),
        }
    }
}

// === impl Dependency ===

impl Dependency {
    /// Makes a dependency that no policy governs yet.
    pub fn new<S: Into<String>>(methods: impl IntoIterator<Item = S>) -> Self {
        Self {
            methods: methods.into_iter().map(Into::into).collect(),
            idempotency_key: false,
            rate: None,
            attempts_inside: Attempts::ONE,
            timeout: None,
            admission: None,
            breaker: None,
            retry: None,
            hedge: None,
        }
    }
}

fn is_method(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_with_the_method_comes_before_one_for_all() {
        let mut policy = Policy::default();
        for (name, methods) in [
            ("/orders", vec![]),
            ("POST /orders", vec!["POST"]),
            ("/carts", vec!["GET", "PUT"]),
            ("/pages", vec![]),
            ("GET /pages", vec!["GET"]),
            ("GET /files", vec!["GET"]),
            ("HEAD /files", vec!["HEAD"]),
        ] {
            policy.routes.insert(name.into(), Route::new(methods));
        }
        let check = |method, template, expect| {
            let found = policy.route(method, template).map(|(name, _)| name);
            assert_eq!(found, expect, "{method} {template}");
        };

        check("POST", "/orders", Some("POST /orders"));
        check("GET", "/orders", Some("/orders"));
        check("PUT", "/carts", Some("/carts"));
        check("POST", "/carts", None);
        // Its handler is that of GET.
        check("HEAD", "/carts", Some("/carts"));
        check("HEAD", "/pages", Some("GET /pages"));
        check("HEAD", "/files", Some("HEAD /files"));
        check("GET", "/nothing", None);
    }

    #[test]
    fn a_name_has_a_method_or_none() {
        let check = |name, expect| assert_eq!(Route::split_name(name), expect);

        check("GET /orders", (Some("GET"), "/orders"));
        check("/orders", (None, "/orders"));
        check("unmatched", (None, "unmatched"));
        check("my fallback", (None, "my fallback"));
        check("GET", (None, "GET"));
    }
}
