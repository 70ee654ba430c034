//! The whole policy, and the routes and dependencies that use its parts.

use std::collections::BTreeMap;

use super::parts::{
    AdmissionPolicy, BreakerPolicy, HedgePolicy, RatePolicy, RetryPolicy, TimeoutPolicy,
};
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
    /// What is served, by route template.
    pub routes: BTreeMap<String, Route>,
    /// What is called, by name.
    pub dependencies: BTreeMap<String, Dependency>,
}

/// What is served under one route template, and which policies govern it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The methods it serves, as in a request: `GET`.
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

// === impl Route ===

impl Route {
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
