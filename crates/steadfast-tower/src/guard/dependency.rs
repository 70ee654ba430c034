//! From a policy to what governs the calls of its dependencies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Method;
use steadfast_core::clock;
use steadfast_core::context::Name;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::decide::breaker::BreakerConfig;
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::decide::hedge::Hedge;
use steadfast_core::decide::policy::{
    self, AdmissionPolicy, BreakerPolicy, HedgePolicy, Policy, RetryPolicy, Setting, TimeoutPolicy,
    nearest_name,
};
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};

use super::attempts::{self, Attempts};
use super::state::{Kept, TimeoutOf};
use super::{GuardError, compile};
use crate::breaker::{Breakers, EndpointStatus};
use crate::count::Count;
use crate::timeout::BodyTimes;
use crate::{CallEnd, admission, breaker, hedge, retry, timeout};

/// All that a policy says is called. Each goes on when the policy changes.
#[derive(Default)]
pub(super) struct Dependencies {
    all: Mutex<BTreeMap<String, Arc<Dependency>>>,
}

/// What governs the calls of one dependency, and what is known about it.
pub(super) struct Dependency {
    pub(super) name: Name,
    pub(super) retry: Arc<retry::Shared>,
    pub(super) hedge: Arc<hedge::Shared>,
    pub(super) breaker: Arc<breaker::Shared>,
    pub(super) attempts: Arc<Attempts>,
    parts: ArcSwap<Parts>,
    /// Whether a client was made for it.
    used: AtomicBool,
    tally: Tally,
}

/// What is replaced as a whole when its numbers change.
pub(super) struct Parts {
    admission: Option<Kept<AdmissionPolicy, admission::Shared>>,
    timeout: Option<Kept<TimeoutOf, timeout::Shared>>,
    pub(super) body: BodyTimes,
    methods: Vec<Method>,
}

/// The numbers that parts are made of.
struct MadeOf {
    admission: Option<AdmissionPolicy>,
    timeout: Option<TimeoutPolicy>,
}

/// What a policy amounts to for one dependency.
struct Numbers {
    plan: retry::Plan,
    budget: RetryBudget,
    hedge: Option<Hedge>,
    breaker: Option<breaker::Settings>,
    methods: Vec<Method>,
    made_of: MadeOf,
}

/// What became of the calls.
#[derive(Default)]
struct Tally {
    ended: [AtomicU64; ENDS.len()],
    nanos: AtomicU64,
    unlisted: Count,
}

/// How calls end, as the metric has it.
const ENDS: [&str; 4] = ["success", "failure", "rejected", "dropped"];

/// How one dependency stands: what [`Guard::dependencies`](super::Guard::dependencies) tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DependencyStatus {
    /// Its name in the policy.
    pub name: String,
    /// Whether a client was made for it; until then nothing of its policy is in force.
    pub is_used: bool,
    /// How many calls have succeeded, by all their attempts.
    pub succeeded: u64,
    /// How many have failed.
    pub failed: u64,
    /// How many the guard has rejected.
    pub rejected: u64,
    /// How many nobody waited for any more.
    pub dropped: u64,
    /// How long a usual attempt may take now.
    pub timeout: Option<Duration>,
    /// After which time an attempt is hedged now; `None` also while that is learned.
    pub hedge_delay: Option<Duration>,
    /// Its endpoints, as far as there is a breaker for them.
    pub endpoints: Vec<EndpointStatus>,
}

impl Dependencies {
    pub(super) fn new(policy: &Policy) -> Result<Self, GuardError> {
        let dependencies = Self::default();
        dependencies.follow(policy)?;
        Ok(dependencies)
    }

    /// Does what a policy says from now on; what is known goes on, and calls that have begun end as
    /// they began. One for which there is a client is [not taken out](Self::refuses).
    ///
    /// With an error nothing is changed.
    pub(super) fn follow(&self, policy: &Policy) -> Result<(), GuardError> {
        let numbers = numbers_of_all(policy)?;
        let mut all = self.all();
        all.retain(|name, known| policy.dependencies.contains_key(name) || known.is_used());
        for (name, numbers) in numbers {
            match all.get(name) {
                Some(known) => known.follow(numbers)?,
                None => {
                    let made = Arc::new(Dependency::new(name, numbers)?);
                    made.register();
                    all.insert(name.to_owned(), made);
                }
            }
        }
        Ok(())
    }

    /// Says which client would be without a policy, if one would.
    pub(super) fn refuses(&self, next: &Policy) -> Option<String> {
        let all = self.all();
        let mut gone = all.iter().filter(|(name, known)| {
            known.is_used() && !next.dependencies.contains_key(name.as_str())
        });
        let (name, _) = gone.next()?;
        Some(format!(
            "dependencies.{name} has a client, which would be without a policy; take it out with the \
             next start"
        ))
    }

    pub(super) fn get(&self, name: &str) -> Result<Arc<Dependency>, GuardError> {
        let all = self.all();
        all.get(name).cloned().ok_or_else(|| {
            let near = nearest_name(name, all.keys().map(String::as_str));
            let near = match near {
                Some(near) => format!("; did you mean {near:?}?"),
                None => format!("; write `[dependencies.{name}]`"),
            };
            GuardError::other(format_args!("the policy has no dependency {name:?}{near}"))
        })
    }

    /// Names those for which no client was made.
    pub(super) fn unused(&self) -> Vec<String> {
        let all = self.all();
        let unused = all.iter().filter(|(_, known)| !known.is_used());
        unused.map(|(name, _)| name.clone()).collect()
    }

    /// Has learned timeouts start from what was measured.
    pub(super) fn start_at(&self, starts: &BTreeMap<String, Duration>) {
        for (name, known) in self.all().iter() {
            if let (Some(timeout), Some(start)) = (known.parts().timeout(), starts.get(name)) {
                timeout.start_at(*start);
            }
        }
    }

    pub(super) fn status(&self) -> Vec<DependencyStatus> {
        let all: Vec<_> = self.all().values().cloned().collect();
        all.iter().map(|known| known.status()).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Dependency>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Dependency ===

impl Dependency {
    fn new(name: &str, numbers: Numbers) -> Result<Self, GuardError> {
        let named = Name::from(name.to_owned());
        let Numbers {
            plan,
            budget,
            hedge,
            breaker,
            methods,
            made_of,
        } = numbers;
        let honors_keys = plan.honors_keys;
        Ok(Self {
            name: named,
            retry: Arc::new(retry::Shared::new(named, plan, budget)),
            hedge: Arc::new(hedge::Shared::new(named, hedge, honors_keys)),
            breaker: Arc::new(breaker::Shared::new(named, breaker)),
            attempts: Arc::new(Attempts::new()),
            parts: ArcSwap::from_pointee(Parts::new(name, methods, made_of, None)?),
            used: AtomicBool::new(false),
            tally: Tally::default(),
        })
    }

    fn follow(&self, numbers: Numbers) -> Result<(), GuardError> {
        let before = self.parts();
        let Numbers {
            plan,
            budget,
            hedge,
            breaker,
            methods,
            made_of,
        } = numbers;
        let parts = Parts::new(self.name.as_str(), methods, made_of, Some(&before))?;
        self.parts.store(Arc::new(parts));
        let honors_keys = plan.honors_keys;
        self.retry.reconfigure(plan, &budget);
        self.hedge.reconfigure(hedge, honors_keys);
        self.breaker.reconfigure(breaker);
        Ok(())
    }

    /// Without a place in the report it still governs.
    fn register(self: &Arc<Self>) {
        let _ = report::register("dependency", self);
        let _ = report::register("retry", &self.retry);
        let _ = report::register("hedge", &self.hedge);
        let _ = report::register("breaker", &self.breaker);
    }

    pub(super) fn parts(&self) -> Arc<Parts> {
        self.parts.load_full()
    }

    pub(super) fn note_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn breakers(&self) -> Breakers {
        Breakers::new(self.breaker.clone(), None)
    }

    /// Tells a call by a method that the policy does not list: its numbers were judged without it.
    pub(super) fn note_method(&self, method: &Method) {
        let parts = self.parts.load();
        if parts.methods.is_empty() || parts.methods.contains(method) {
            return;
        }
        if let Some(since) = self.tally.unlisted.add(clock::nanos()) {
            tracing::warn!(
                target: "steadfast::guard",
                dependency = %self.name,
                method = method.as_str(),
                count = since,
                "a call by a method that the policy does not list: its rules were checked without it"
            );
        }
    }

    /// Counts a call that took so long; `None` for one that nobody waited for.
    pub(super) fn ended(&self, end: Option<&CallEnd>, took: Duration) {
        let index = match end {
            Some(end) if end.is_success() => 0,
            Some(end) if end.rejection().is_some() => 2,
            Some(_) => 1,
            None => 3,
        };
        self.tally.ended[index].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.tally.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn status(&self) -> DependencyStatus {
        let parts = self.parts();
        let [succeeded, failed, rejected, dropped] = self.counts();
        DependencyStatus {
            name: self.name.to_string(),
            is_used: self.is_used(),
            succeeded,
            failed,
            rejected,
            dropped,
            timeout: parts.timeout().map(|timeout| timeout.usual()),
            hedge_delay: self.hedge.delay(),
            endpoints: self.breakers().endpoints(),
        }
    }

    fn counts(&self) -> [u64; ENDS.len()] {
        std::array::from_fn(|at| self.tally.ended[at].load(Ordering::Relaxed))
    }
}

/// What it tells.
pub(crate) const DEPENDENCY_METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_dependency_armed",
        &["dependency"],
        "1 if a client of the guard was made for it; until then nothing of its policy is in force.",
    ),
    MetricDoc::counter(
        "steadfast_dependency_calls_total",
        &["dependency", "ended"],
        "Calls, each with all its attempts, by how they ended: success, failure, rejected, or dropped. One of gRPC ends with its status, in trailers too.",
    ),
    MetricDoc::counter(
        "steadfast_dependency_seconds_total",
        &["dependency"],
        "How long calls took, with all their attempts and the waits between them.",
    ),
    MetricDoc::counter(
        "steadfast_dependency_unlisted_total",
        &["dependency"],
        "Calls by a method that the policy does not list.",
    ),
    attempts::DURATION,
];

/// What it tells to the log.
pub(crate) const DEPENDENCY_EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::guard",
    &["warn"],
    "a call by a method that the policy does not list: its rules were checked without it",
    &["count", "dependency", "method"],
)
.when("A call to a dependency by a method that is not among its `methods`; the first at once, then one a second.")
.action("Add the method to the dependency: whether retries and hedges are safe is judged by it.")];

impl Source for Dependency {
    fn describe(&self) -> &'static [MetricDoc] {
        DEPENDENCY_METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let name = self.name;
        to.labels([("dependency", name)])
            .armed("steadfast_dependency_armed", self.is_used())
            .sum(
                "steadfast_dependency_seconds_total",
                Duration::from_nanos(self.tally.nanos.load(Ordering::Relaxed)).as_secs_f64(),
            )
            .counter(
                "steadfast_dependency_unlisted_total",
                self.tally.unlisted.total(),
            );
        for (end, count) in ENDS.into_iter().zip(self.counts()) {
            to.labels([("dependency", name), ("ended", end.into())])
                .counter("steadfast_dependency_calls_total", count);
        }
        self.attempts.tell(name, to);
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dependency").field(&self.name).finish()
    }
}

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().keys()).finish()
    }
}

// === impl Parts ===

impl Parts {
    /// Makes them, from what is there already as far as its numbers are the same.
    fn new(
        name: &str,
        methods: Vec<Method>,
        made_of: MadeOf,
        before: Option<&Self>,
    ) -> Result<Self, GuardError> {
        let kept = before.and_then(|before| before.admission.as_ref());
        let admission = made_of.admission.as_ref();
        let admission = admission.map(|of| compile::admission_part(name, of, kept));
        let permits = made_of.admission.as_ref().map(|of| of.permits.most().get());
        let kept = before.and_then(|before| before.timeout.as_ref());
        let timeout = made_of.timeout.as_ref();
        let timeout = timeout.map(|of| compile::timeout_part(name, of, permits, kept));
        let body = made_of.timeout.as_ref();
        let body = body.map(|of| compile::body_times(name, of));
        let refused = |error: &dyn fmt::Display| {
            GuardError::other(format_args!("dependencies.{name}: {error}"))
        };
        Ok(Self {
            admission: admission.transpose().map_err(|error| refused(&error))?,
            timeout: timeout.transpose().map_err(|error| refused(&error))?,
            body: body.unwrap_or_default(),
            methods,
        })
    }

    pub(super) fn admission(&self) -> Option<&Arc<admission::Shared>> {
        Some(&self.admission.as_ref()?.state)
    }

    pub(super) fn timeout(&self) -> Option<&Arc<timeout::Shared>> {
        Some(&self.timeout.as_ref()?.state)
    }
}

// === Numbers ===

/// Names what cannot be done of what a policy says.
pub(super) fn wrong(policy: &Policy) -> Vec<String> {
    let numbers = numbers_of_all(policy);
    numbers
        .err()
        .map_or_else(Vec::new, |wrong| wrong.others().to_vec())
}

/// Finds numbers that the parts refuse, in all dependencies at once.
fn numbers_of_all(policy: &Policy) -> Result<Vec<(&str, Numbers)>, GuardError> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for (name, of) in &policy.dependencies {
        match numbers(policy, of) {
            Ok(numbers) => all.push((name.as_str(), numbers)),
            Err(why) => wrong.push(format!("dependencies.{name}: {why}")),
        }
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(GuardError::new(Vec::new(), wrong))
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

fn numbers(policy: &Policy, of: &policy::Dependency) -> Result<Numbers, Wrong> {
    let timeout = named(&policy.timeouts, of.timeout.as_ref())?;
    let (plan, budget) = match named(&policy.retries, of.retry.as_ref())? {
        Some(retry) => retries(retry, of.idempotency_key)?,
        None => once(of.idempotency_key),
    };
    let methods = of.methods.iter().map(|method| method.parse());
    Ok(Numbers {
        plan,
        budget,
        hedge: match named(&policy.hedges, of.hedge.as_ref())? {
            Some(hedge) => Some(hedges(hedge)?),
            None => None,
        },
        breaker: match named(&policy.breakers, of.breaker.as_ref())? {
            Some(breaker) => Some(breaks(breaker, timeout)?),
            None => None,
        },
        methods: methods.collect::<Result<_, _>>()?,
        made_of: MadeOf {
            admission: named(&policy.admissions, of.admission.as_ref())?.cloned(),
            timeout: timeout.cloned(),
        },
    })
}

fn named<'a, T>(
    parts: &'a BTreeMap<String, T>,
    name: Option<&String>,
) -> Result<Option<&'a T>, Wrong> {
    let Some(name) = name else { return Ok(None) };
    let found = parts.get(name).ok_or("it names what is not there")?;
    Ok(Some(found))
}

fn retries(of: &RetryPolicy, honors_keys: bool) -> Result<(retry::Plan, RetryBudget), Wrong> {
    let rule = RetryRule::new(of.attempts.get())?;
    let plan = retry::Plan {
        rule: match of.unsafe_methods {
            true => rule.with_unsafe_methods(),
            false => rule,
        },
        backoff: Backoff::new(of.first_wait.get(), of.longest_wait.get())?,
        honors_keys,
    };
    let share = of.budget.map_or(0.0, |budget| budget.get());
    let budget = RetryBudget::new(share)?.with_reserve(RetryPolicy::RESERVE)?;
    Ok((plan, budget))
}

/// One attempt.
fn once(honors_keys: bool) -> (retry::Plan, RetryBudget) {
    let (first, longest) = (
        RetryPolicy::DEFAULT_FIRST_WAIT.get(),
        RetryPolicy::DEFAULT_LONGEST_WAIT.get(),
    );
    let plan = retry::Plan {
        rule: RetryRule::new(1).expect("one attempt is in range"),
        backoff: Backoff::new(first, longest).expect("the defaults are in range"),
        honors_keys,
    };
    (plan, RetryBudget::new(0.0).expect("none is in range"))
}

fn hedges(of: &HedgePolicy) -> Result<Hedge, Wrong> {
    let share = of.budget.ok_or("a hedge needs a budget")?.get();
    Ok(match of.delay {
        Setting::Fixed(delay) => Hedge::fixed(share, delay.get())?,
        Setting::Learn { floor, ceiling } => Hedge::learned(share, floor.get(), ceiling.get())?,
    })
}

fn breaks(of: &BreakerPolicy, timeout: Option<&TimeoutPolicy>) -> Result<breaker::Settings, Wrong> {
    // A round waits for its probes longer than one of them may take.
    let longest = timeout.map_or(Duration::ZERO, |of| of.timeout.most().get());
    let patience = BreakerConfig::DEFAULT_PATIENCE.max(longest.saturating_mul(2));
    let mut config = BreakerConfig::new()
        .with_min_calls(of.min_calls.get())?
        .with_window(of.window.get())?
        .with_probes(
            of.half_open.get(),
            patience.min(BreakerConfig::LONGEST_OPEN),
        )?
        .with_open_time(of.open.get(), of.open_longest.get())?
        .with_ramp(of.ramp.get())?;
    if let Some(share) = of.failure_share {
        config = config.with_failure_share(share.get())?;
    }
    if let Some(slow) = of.slow {
        config = config.with_slow(slow.over.get(), slow.share.get())?;
    }
    if let Some(failures) = of.consecutive {
        config = config.with_consecutive(failures.get())?;
    }
    Ok(breaker::Settings::new(config, of.shadow)?)
}

/// A few lines for people.
impl fmt::Display for DependencyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            succeeded,
            failed,
            rejected,
            dropped,
            ..
        } = self;
        if !self.is_used {
            return write!(f, "{name}: no client was made for it");
        }
        write!(
            f,
            "{name}: {succeeded} calls succeeded, {failed} failed, {rejected} were rejected, \
             {dropped} dropped"
        )?;
        if let Some(timeout) = self.timeout {
            write!(f, "; an attempt may take {timeout:.1?}")?;
        }
        if let Some(delay) = self.hedge_delay {
            write!(f, "; hedged after {delay:.1?}")?;
        }
        for endpoint in &self.endpoints {
            write!(f, "\n  {endpoint}")?;
        }
        Ok(())
    }
}
