use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_core::decide::policy::{
    AdmissionPolicy, Finding, RatePolicy, Setting, Share, Timeout,
};

use super::route::Routes;
use crate::drain::DrainLimits;
use crate::streams::Budget;
use crate::{Trust, admission, rate_limit, timeout};

/// What a guard does at the moment.
pub(super) struct State {
    pub(super) trust: Trust,
    pub(super) routes: Routes,
    pub(super) drain: DrainLimits,
    pub(super) warnings: Vec<Finding>,
    /// Policies that only look on, `admissions.http`, in order.
    pub(super) shadowed: Vec<String>,
    pub(super) parts: Parts,
}

/// What is known behind the numbers of a policy, by the names that they have there: it goes on when
/// the policy changes.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) admissions: BTreeMap<String, Kept<AdmissionPolicy, admission::Shared>>,
    pub(super) rates: BTreeMap<String, Kept<RatePolicy, rate_limit::Buckets>>,
    pub(super) streams: BTreeMap<String, Arc<Budget>>,
    /// By route, since each learns its own.
    pub(super) timeouts: BTreeMap<String, Kept<TimeoutOf, timeout::Shared>>,
}

/// A state, and the numbers it was made for.
pub(super) struct Kept<P, S> {
    pub(super) numbers: P,
    pub(super) state: Arc<S>,
}

/// What the timeout of a route is made of.
#[derive(Clone, PartialEq)]
pub(super) struct TimeoutOf {
    pub(super) timeout: Setting<Timeout>,
    pub(super) share: Share,
    pub(super) permits: Option<u32>,
}
