use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::request::Parts;
use steadfast_core::clock;
use steadfast_core::context::Name;
use steadfast_core::decide::breaker::{
    Breaker, BreakerConfig, BreakerState, InvalidBreaker, Override,
};
use steadfast_core::report::{Collector, MetricDoc, Source};

use super::endpoint::Endpoint;
use super::pass::Pass;
use super::tally::Tally;
use crate::Rejection;
use crate::keys::OwnKeys;
use crate::policy::Signed;
use crate::target::{self, EndpointOf, Targets};

/// How many endpoints of a dependency have a breaker of their own at a time: 1,024, far more than
/// replicas stand behind one name, in about a megabyte. Those beyond share one.
pub const ENDPOINTS_MAX: usize = 1_024;

/// How often a full table looks for endpoints that nobody calls any more: once a second, so that a
/// flood of them does not pay for the look at each call.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// Stands for all endpoints for which there was no room.
const BEYOND: u64 = u64::MAX;

/// The numbers of a breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    config: BreakerConfig,
    /// Whether it only says what it would have rejected.
    shadow: bool,
}

/// The state of all breakers of one dependency.
pub(crate) struct Shared {
    pub(super) name: Name,
    /// Absent where nothing stops calls.
    settings: ArcSwapOption<Settings>,
    /// By a hash with a secret, so another hash of it need not be one.
    endpoints: RwLock<Endpoints>,
    targets: Targets,
    /// What an operator holds on all endpoints, also on those that are not there yet.
    forced: Mutex<Option<Forced>>,
    swept: AtomicU64,
    pub(super) tally: Tally,
}

type Endpoints = HashMap<u64, Arc<Endpoint>, OwnKeys>;

#[derive(Clone)]
struct Forced {
    over: Override,
    until: u64,
    by: Arc<Signed>,
}

/// What was decided about a call.
pub(crate) enum Asked {
    /// Absent where nothing is counted.
    Passed(Option<Pass>),
    Rejected(Rejection),
}

impl Settings {
    pub(crate) fn new(config: BreakerConfig, shadow: bool) -> Result<Self, InvalidBreaker> {
        // Refused here, so that an endpoint that comes later cannot be.
        Breaker::new(config, 0)?;
        Ok(Self { config, shadow })
    }
}

impl Shared {
    pub(crate) fn new(name: Name, settings: Option<Settings>) -> Self {
        Self {
            name,
            settings: ArcSwapOption::from_pointee(settings),
            endpoints: RwLock::default(),
            targets: Targets::new(),
            forced: Mutex::new(None),
            swept: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// Changes the numbers. Each endpoint goes on in the state that it is in; without a breaker, they
    /// are forgotten.
    pub(crate) fn reconfigure(&self, settings: Option<Settings>) {
        if self.settings.load().as_deref() == settings.as_ref() {
            return;
        }
        // Under the lock of the table, so that no endpoint is added by the numbers of before.
        let mut endpoints = self
            .endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match settings {
            Some(Settings { config, .. }) => {
                for endpoint in endpoints.values() {
                    endpoint.reconfigure(config);
                }
            }
            None => endpoints.clear(),
        }
        self.settings.store(settings.map(Arc::new));
    }

    pub(crate) fn is_there(&self) -> bool {
        self.settings.load().is_some()
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.settings.load().as_ref().is_some_and(|of| of.shadow)
    }

    /// Asks whether a call may be made `now`.
    pub(super) fn ask(
        self: &Arc<Self>,
        request: &Parts,
        endpoint_of: Option<&EndpointOf>,
        now: u64,
    ) -> Asked {
        let Some(shadow) = self.settings.load().as_ref().map(|of| of.shadow) else {
            return Asked::Passed(None);
        };
        let Some(endpoint) = self.endpoint(request, endpoint_of, now) else {
            return Asked::Passed(None);
        };
        endpoint.note_called(now);
        let answer = endpoint.with(|breaker| breaker.ask(now));
        if let Some(change) = answer.change {
            self.tally.changed(self.name, &endpoint, change);
        }
        match answer.verdict {
            Ok(permit) => Asked::Passed(Some(Pass::new(self.clone(), endpoint, permit, now))),
            Err(why) if shadow => {
                endpoint.rejection(self.name, why).count_shadow();
                Asked::Passed(None)
            }
            Err(why) => {
                self.tally.rejected();
                Asked::Rejected(endpoint.rejection(self.name, why))
            }
        }
    }

    /// Tells whether one more attempt of a call is welcome: the breaker is closed, is not there, or
    /// only says what it would do.
    pub(crate) fn welcomes(&self, request: &Parts, endpoint_of: Option<&EndpointOf>) -> bool {
        let settings = self.settings.load();
        if settings.as_ref().is_none_or(|of| of.shadow) {
            return true;
        }
        let key = self.targets.key(request, endpoint_of);
        let endpoint = self.known(key).or_else(|| self.known(BEYOND));
        endpoint.is_none_or(|endpoint| endpoint.with(|breaker| breaker.is_closed(clock::nanos())))
    }

    /// Gives all endpoints, by name.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let endpoints = self
            .endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = endpoints.values().cloned().collect();
        drop(endpoints);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Forces all endpoints, and those to come.
    pub(super) fn force_all(&self, over: Override, lasts: Duration, by: &Arc<Signed>) {
        let now = clock::nanos();
        let lasts_ns = u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX);
        let until = now.saturating_add(lasts_ns);
        let by = by.clone();
        // The table is locked meanwhile: an endpoint comes before this, or after it.
        let endpoints = self
            .endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for endpoint in endpoints.values() {
            endpoint.force(over, lasts, &by, now);
        }
        *self.forced.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Forced { over, until, by });
    }

    /// Ends what is held on all endpoints, or on each of them; tells whether there was anything.
    pub(super) fn release_all(&self) -> bool {
        let now = clock::nanos();
        let endpoints = self
            .endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = forced.take().is_some_and(|forced| now < forced.until);
        for endpoint in endpoints.values() {
            held |= endpoint.release(now);
        }
        held
    }

    /// Does `f` to the endpoint of a name while the table stands still: nobody changes its numbers
    /// meanwhile, or forgets it. Without one, gives the names that there are.
    pub(super) fn with_named<R>(
        &self,
        name: &str,
        f: impl FnOnce(&Endpoint) -> R,
    ) -> Result<R, Vec<String>> {
        let endpoints = self
            .endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match endpoints.values().find(|of| of.name == name) {
            Some(found) => Ok(f(found)),
            None => Err(endpoints.values().map(|of| of.name.clone()).collect()),
        }
    }

    fn known(&self, key: u64) -> Option<Arc<Endpoint>> {
        let endpoints = self
            .endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        endpoints.get(&key).cloned()
    }

    /// Gives the endpoint that a call has, as far as that changes nothing: its own, or the one that
    /// those share for whom there is no room, which a flood of them must not lock the table for.
    fn seated(&self, key: u64, now: u64) -> Option<Arc<Endpoint>> {
        let endpoints = self
            .endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let beyond = || {
            let is_full = endpoints.len() >= ENDPOINTS_MAX && !self.may_sweep(now);
            is_full.then(|| endpoints.get(&BEYOND)).flatten()
        };
        endpoints.get(&key).or_else(beyond).cloned()
    }

    /// Gives the endpoint of a call; none if there is no breaker any more.
    fn endpoint(
        &self,
        request: &Parts,
        endpoint_of: Option<&EndpointOf>,
        now: u64,
    ) -> Option<Arc<Endpoint>> {
        let key = self.targets.key(request, endpoint_of);
        if let Some(known) = self.seated(key, now) {
            return Some(known);
        }
        // Before the lock: whoever names endpoints may ask for all of them.
        let name = target::name(request, endpoint_of);
        let mut endpoints = self
            .endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = endpoints.get(&key) {
            return Some(known.clone());
        }
        if endpoints.len() >= ENDPOINTS_MAX {
            self.sweep(&mut endpoints, now);
        }
        let has_room = endpoints.len() < ENDPOINTS_MAX;
        let key = if has_room { key } else { BEYOND };
        if let Some(shared) = endpoints.get(&key) {
            return Some(shared.clone());
        }
        let config = self.settings.load().as_ref()?.config;
        let name = match has_room {
            true => name,
            false => "(all others)".to_owned(),
        };
        let seed = self.targets.hash(key);
        let endpoint = Arc::new(Endpoint::new(name, config, seed, now).ok()?);
        let forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Forced { over, until, by }) = &*forced
            && *until > now
        {
            endpoint.force(*over, Duration::from_nanos(until - now), by, now);
        }
        endpoints.insert(key, endpoint.clone());
        Some(endpoint)
    }

    fn sweep(&self, endpoints: &mut Endpoints, now: u64) {
        if self.may_sweep(now) {
            self.swept.store(now, Ordering::Relaxed);
            endpoints.retain(|_, endpoint| !endpoint.is_forgettable(now));
        }
    }

    fn may_sweep(&self, now: u64) -> bool {
        let swept = self.swept.load(Ordering::Relaxed);
        now >= swept.saturating_add(SWEEP_EVERY)
    }
}

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        super::METRICS
    }

    fn collect(&self, to: &mut Collector) {
        if !self.is_there() {
            return;
        }
        let now = clock::nanos();
        let mut states = [
            ("closed", 0_u32),
            ("open", 0),
            ("half-open", 0),
            ("ramp", 0),
        ];
        let mut forced = 0_u32;
        for endpoint in self.endpoints() {
            let status = endpoint.with(|breaker| breaker.status(now));
            let state = match status.state {
                BreakerState::Closed => 0,
                BreakerState::Open { .. } => 1,
                BreakerState::HalfOpen { .. } => 2,
                BreakerState::Ramp { .. } => 3,
            };
            states[state].1 += 1;
            forced += u32::from(status.forced.is_some());
        }
        for (state, count) in states {
            to.labels([("policy", self.name), ("state", state.into())])
                .gauge("steadfast_breaker_endpoints", f64::from(count));
        }
        to.labels([("policy", self.name)])
            .gauge("steadfast_breaker_forced", f64::from(forced));
        self.tally.collect(self.name, to);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("settings", &self.settings.load())
            .finish_non_exhaustive()
    }
}
