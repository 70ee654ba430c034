use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use steadfast_core::context::Name;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::scope::CLEANUP_LIMIT;
use steadfast_core::{BoxError, Scope, recover};

use super::Run;
use crate::decide::{length, retry};
use crate::error::Refusal;
use crate::{Job, Retention};

/// How long a run may take unless [`Kind::timeout`] says otherwise: 15 minutes, or less for the job of a
/// schedule that is due more often ([`length`]). A handler that hangs holds its permit for that long.
pub const TIMEOUT: Duration = length::MOST;

/// The longest time that a run may be given: seven days.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest time that each cleanup of a run may be given: five minutes.
pub const CLEANUP_LIMIT_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a job whose payload cannot be read waits before the next node tries: one minute. It
/// spends no attempt: a newer node may know what this one does not.
pub(crate) const UNREADABLE_WAIT: Duration = Duration::from_secs(60);

/// What becomes of a run whose lease is lost: another node may have its job from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLeaseLost {
    /// It is cancelled, so that two do not work on one job. The default.
    #[default]
    Cancel,
    /// It goes on to its end. Only for handlers whose effects all carry the fence
    /// ([`Run::term`], [`Run::complete_in`]), so that what comes late is refused where it arrives: then
    /// work that is nearly done is not thrown away when the store is out of reach for a while. Its end
    /// counts if nobody has taken the job meanwhile, and is rejected otherwise. It keeps its permit.
    Continue,
}

type Handled = Pin<Box<dyn Future<Output = Result<Option<String>, BoxError>> + Send>>;
type Handler = dyn Fn(Run, Body, &str) -> Result<Handled, serde_json::Error> + Send + Sync;

/// The scope of a run: what it defers is undone before the end of the run is told to the store. Its
/// value is the result, as JSON.
pub type Body = Scope<Option<String>, BoxError>;

/// A kind of job and what handles it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use serde::{Deserialize, Serialize};
/// use steadfast_jobs::{Job, Kind, Run};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order: u64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
/// }
///
/// let kind = Kind::new(async |run: Run, receipt: SendReceipt| {
///     println!("order {}, attempt {}", receipt.order, run.attempt());
///     Ok(())
/// })
/// .timeout(Duration::from_secs(30));
/// ```
#[derive(Clone)]
pub struct Kind {
    pub(crate) name: &'static str,
    /// What was said; see `longest`.
    timeout: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) beat_every: Option<Duration>,
    pub(crate) on_lease_lost: OnLeaseLost,
    pub(crate) retention: Option<Retention>,
    pub(crate) cleanup_limit: Duration,
    handler: Arc<Handler>,
    repair: Option<Arc<Handler>>,
    hold: Option<Arc<Hold>>,
}

/// Asked before each claim.
type Hold = dyn Fn() -> bool + Send + Sync;

impl Kind {
    /// Has jobs of the type `J` handled by `handle`, each in a scope of its own.
    ///
    /// The handler's result is kept in the history. It may run more than once for one job: after a
    /// crash, and after a loss of the lease. What it does elsewhere should be guarded by
    /// [`Run::term`], or be part of [`Run::complete_in`].
    pub fn new<J, R, F, Fut>(handle: F) -> Self
    where
        J: Job,
        R: Serialize,
        F: Fn(Run, J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
    {
        Self::of(
            J::KIND,
            Arc::new(move |run, _, payload| {
                let handled = handle(run, serde_json::from_str(payload)?);
                Ok(Box::pin(async move { written(&handled.await?) }))
            }),
        )
    }

    fn of(name: &'static str, handler: Arc<Handler>) -> Self {
        Self {
            name,
            timeout: None,
            backoff: retry::usual(),
            beat_every: None,
            on_lease_lost: OnLeaseLost::default(),
            retention: None,
            cleanup_limit: CLEANUP_LIMIT,
            handler,
            repair: None,
            hold: None,
        }
    }

    /// Has jobs of a kind whose type is not known here handled by `handle`: it is given the payload
    /// as JSON and returns the result as JSON, and it has the scope of its run. A result that is not JSON is
    /// left out, with a note; the job is completed all the same.
    ///
    /// For programs that learn of their kinds when they start. A name that is not a literal is kept
    /// for the life of the process, see [`Name`].
    ///
    /// # Examples
    /// ```
    /// use steadfast_jobs::Kind;
    ///
    /// let name = String::from("backup");
    /// let kind = Kind::of_name(name, async |run, scope, payload| {
    ///     scope.defer("note the end", || println!("over"));
    ///     println!("attempt {} with {payload}", run.attempt());
    ///     Ok(None)
    /// });
    /// # let _ = kind;
    /// ```
    pub fn of_name<F, Fut>(name: impl Into<Name>, handle: F) -> Self
    where
        F: Fn(Run, Body, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<String>, BoxError>> + Send + 'static,
    {
        Self::of(
            name.into().as_str(),
            Arc::new(move |run, body, payload| Ok(Box::pin(handle(run, body, payload.to_owned())))),
        )
    }

    /// Runs `repair` before every run but the first, to put right what a run that died half-way
    /// has left. If it fails, the attempt has failed.
    #[must_use]
    pub fn repair<J, F, Fut>(mut self, repair: F) -> Self
    where
        J: Job,
        F: Fn(Run, J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.repair = Some(Arc::new(move |run, _, payload| {
            let repaired = repair(run, serde_json::from_str(payload)?);
            Ok(Box::pin(async move {
                repaired.await?;
                Ok(None)
            }))
        }));
        self
    }

    /// Has this node claim no jobs of this kind and start none as long as `hold` says so: what they need is not
    /// there, such as a service whose breaker is open. No attempt is spent, and what was claimed and not started is
    /// handed back for other nodes, for which the service may be there.
    ///
    /// `hold` is asked often, so it should only look at something. When it no longer says so, jobs are claimed within
    /// two seconds. What runs goes on. Compared with [`Jobs::pause`](crate::Jobs::pause), which stops a queue on all
    /// nodes until somebody lets it go on: this one is for a kind on a node, and ends by itself.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use steadfast_jobs::Kind;
    ///
    /// let is_down = Arc::new(AtomicBool::new(false));
    /// let looks = is_down.clone();
    /// let kind = Kind::of_name("charge", async |_run, _scope, _payload| Ok(None))
    ///     .hold_while(move || looks.load(Ordering::Relaxed));
    /// # let _ = kind;
    /// ```
    #[must_use]
    pub fn hold_while(mut self, hold: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.hold = Some(Arc::new(hold));
        self
    }

    /// Gives each run this long; then it is cancelled, and the attempt has failed. From a millisecond to
    /// [`TIMEOUT_MAX`]. Unless set it is [`TIMEOUT`], and for the job of a schedule three of its periods
    /// if they are shorter, but a minute at least.
    ///
    /// A job that a node holds for twice that long and two minutes, by its own word, is taken from it, alive or not.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says what becomes of a run whose lease is lost: it is cancelled, unless set.
    #[must_use]
    pub fn on_lease_lost(mut self, policy: OnLeaseLost) -> Self {
        self.on_lease_lost = policy;
        self
    }

    /// Keeps jobs of this kind for another time after their end than
    /// [`WorkerBuilder::retention`](super::WorkerBuilder::retention) says. The store keeps it, so that
    /// nodes that do not know the kind go by it, too.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Says how long to wait between attempts: from a second doubling to an hour, with full
    /// jitter, unless set.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Promises that each run calls [`Run::beat`] at least this often. One that has not for three
    /// times as long is stuck: it is cancelled, and the attempt has failed.
    #[must_use]
    pub fn beat_every(mut self, every: Duration) -> Self {
        self.beat_every = Some(every);
        self
    }

    /// Gives each cleanup of a run this long, [`CLEANUP_LIMIT`] unless set; up to
    /// [`CLEANUP_LIMIT_MAX`]. A run that has not ended after twice this, counted from the moment it
    /// was told to, is written off.
    #[must_use]
    pub fn cleanup_limit(mut self, limit: Duration) -> Self {
        self.cleanup_limit = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Refusal> {
        crate::job::check_name("kind", self.name)?;
        let range = |what, is: Duration, most: Duration| {
            let least = Duration::from_millis(1);
            if (least..=most).contains(&is) {
                return Ok(());
            }
            Err(Refusal::Range {
                what,
                is: format!("{is:?}"),
                least: format!("{least:?}"),
                most: format!("{most:?}"),
            })
        };
        range("the timeout of a kind", self.longest(None), TIMEOUT_MAX)?;
        let limit = self.cleanup_limit;
        range("the time of a cleanup", limit, CLEANUP_LIMIT_MAX)?;
        self.beat_every.map_or(Ok(()), |every| {
            range("the interval of beats", every, TIMEOUT_MAX)
        })
    }

    /// Tells whether nothing of it is to be started here and now.
    pub(crate) fn is_held(&self) -> bool {
        let Some(hold) = &self.hold else {
            return false;
        };
        recover(|| hold()).unwrap_or_else(|_| {
            tracing::error!(target: "steadfast::jobs", kind = self.name, "whether a kind is held could not be asked");
            false
        })
    }

    /// Tells how long a run may take: as the kind says, else as the job says.
    pub(crate) fn longest(&self, of_job: Option<Duration>) -> Duration {
        self.timeout.or(of_job).unwrap_or(TIMEOUT)
    }

    /// Tells whether what the job says of that does not count.
    pub(crate) fn says_longest(&self) -> bool {
        self.timeout.is_some()
    }

    /// Starts a run: the repair if one is due, then the handler.
    pub(crate) async fn handle(
        &self,
        run: Run,
        body: Body,
        payload: &str,
    ) -> Result<Option<String>, BoxError> {
        if let Some(repair) = self.repair.as_ref().filter(|_| run.is_again()) {
            repair(run.clone(), body.clone(), payload)
                .map_err(Unreadable)?
                .await?;
        }
        (self.handler)(run, body, payload)
            .map_err(Unreadable)?
            .await
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Says that a payload is not what the kind expects.
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be read by this node")]
pub(crate) struct Unreadable(#[source] serde_json::Error);

/// Writes a result as JSON; one without a value is not kept.
pub(crate) fn written<R: Serialize>(result: &R) -> Result<Option<String>, BoxError> {
    let json = serde_json::to_string(result)?;
    Ok(Some(json).filter(|json| json != "null"))
}
