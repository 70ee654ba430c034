use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;

use super::event::{self, Event, KINDS};
use super::heart::{self, RuntimesFull};
use super::lock::waits;
use super::{progress, time};
use crate::clock;
use crate::context::Name;
use crate::report::{self, Collector, MetricDoc, Source};

/// What a watchdog looks for. The limits have no default: how long is too long is a question of
/// the service, and a wrong answer is noise or silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a task that is ready may wait for its poll before its runtime counts as stalled.
    /// Ten times the longest poll that is known to be well is a good start.
    pub stall_limit: Duration,
    /// How long a wait for a lock may last before it is told.
    pub wait_limit: Duration,
    /// How long the holder of a lock may go without a poll before it is told: longer than the
    /// slowest thing that is awaited under a lock on purpose.
    pub unpolled_limit: Duration,
    /// How often the watchdog looks, which is also how exact its times are: [`Config::TICK`] for
    /// most. From 1 ms to 10 s, and no longer than any of the limits.
    pub tick: Duration,
}

impl Config {
    /// The usual tick: 100 ms. People notice half a second, so the times are exact enough, and
    /// ten short looks a second cost a thousandth of a core.
    pub const TICK: Duration = Duration::from_millis(100);

    const TICK_MIN: Duration = Duration::from_millis(1);
    const TICK_MAX: Duration = Duration::from_secs(10);

    fn check(&self) -> Result<(), Refusal> {
        if self.tick < Self::TICK_MIN || self.tick > Self::TICK_MAX {
            return Err(Refusal::Tick(self.tick));
        }
        let limits = [
            ("stall_limit", self.stall_limit),
            ("wait_limit", self.wait_limit),
            ("unpolled_limit", self.unpolled_limit),
        ];
        match limits.into_iter().find(|(_, limit)| *limit < self.tick) {
            Some((name, limit)) => Err(Refusal::Limit(name, limit, self.tick)),
            None => Ok(()),
        }
    }
}

/// Refuses to start a watchdog.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Refusal);

impl StartError {
    /// Tells whether another watchdog of this process runs; once it has stopped, trying again may
    /// succeed.
    pub fn is_running(&self) -> bool {
        matches!(self.0, Refusal::Running)
    }
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a watchdog runs in this process already")]
    Running,
    #[error("tick of {0:?} is not between {min:?} and {max:?}", min = Config::TICK_MIN, max = Config::TICK_MAX)]
    Tick(Duration),
    #[error("{0} of {1:?} is shorter than the tick of {2:?}")]
    Limit(&'static str, Duration, Duration),
    #[error("no thread for the watchdog")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Report(#[from] report::FullError),
}

/// Starts the watchdog of this process, on a thread of its own: a runtime cannot watch itself.
///
/// The runtime at hand, if there is one, is watched under the name `main`; others are added by
/// [`Watchdog::watch_runtime`]. It stops when the handle is dropped.
///
/// # Errors
/// [`StartError`]: when a number of `config` is out of range, the thread cannot be started, or
/// [one runs already](StartError::is_running).
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use steadfast::watch;
///
/// let _watchdog = watch::start(watch::Config {
///     stall_limit: Duration::from_millis(500),
///     wait_limit: Duration::from_secs(1),
///     unpolled_limit: Duration::from_secs(5),
///     tick: watch::Config::TICK,
/// })
/// .unwrap();
/// let _observer = watch::observe(|event| eprintln!("{event}"));
/// # }
/// ```
pub fn start(config: Config) -> Result<Watchdog, StartError> {
    let dog = Arc::new(Dog::begin(config)?);
    // From the first moment on: waits that start before the first tick are timed as well.
    time::publish(Some(clock::real_nanos()));
    let running = dog.clone();
    let thread = std::thread::Builder::new().name("steadfast-watch".into());
    let thread = match thread.spawn(move || running.run()) {
        Ok(thread) => thread,
        Err(error) => {
            dog.end();
            return Err(StartError(Refusal::Thread(error)));
        }
    };
    let watchdog = Watchdog {
        dog,
        thread: Some(thread),
    };
    if let Ok(handle) = Handle::try_current() {
        // There is room: this watchdog has just started.
        let _ = watchdog.watch_runtime("main", &handle);
    }
    Ok(watchdog)
}

/// Keeps the watchdog running; made by [`start`]. Dropping it stops the watchdog, and waits for
/// the look at hand to end.
#[must_use = "the watchdog stops when this is dropped"]
pub struct Watchdog {
    dog: Arc<Dog>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches a runtime, until that ends: it must give one cheap beat a tick.
    ///
    /// # Errors
    /// [`RuntimesFull`]; retrying helps once another runtime has ended.
    pub fn watch_runtime(
        &self,
        name: impl Into<Name>,
        runtime: &Handle,
    ) -> Result<(), RuntimesFull> {
        heart::watch(name.into(), runtime)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.dog.ask_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It contains the panics of observers; there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog")
            .field("config", &self.dog.config)
            .finish_non_exhaustive()
    }
}

/// What tells the thread of the watchdog to look before its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    None,
    Look,
    Stop,
}

static CALL: Mutex<Call> = Mutex::new(Call::None);
static CALLED: Condvar = Condvar::new();
static RUNNING: Mutex<bool> = Mutex::new(false);
static ENDED: Condvar = Condvar::new();

fn running() -> MutexGuard<'static, bool> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn call() -> MutexGuard<'static, Call> {
    CALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the watchdog look now: there is something that should not wait for the tick.
pub(super) fn wake() {
    let mut call = call();
    if *call == Call::None {
        *call = Call::Look;
        CALLED.notify_one();
    }
}

/// The watchdog without its thread.
pub(super) struct Dog {
    config: Config,
    _source: Arc<WatchSource>,
}

impl Dog {
    /// Takes the place of the one watchdog there may be.
    pub(super) fn begin(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let running = running();
        if *running {
            return Err(StartError(Refusal::Running));
        }
        Self::begin_alone(config, running)
    }

    /// As [`begin`](Self::begin), once nobody else runs.
    #[cfg(feature = "test-util")]
    pub(super) fn begin_in_turn(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let running = ENDED.wait_while(running(), |running| *running);
        Self::begin_alone(config, running.unwrap_or_else(PoisonError::into_inner))
    }

    fn begin_alone(config: Config, mut running: MutexGuard<'_, bool>) -> Result<Self, StartError> {
        let source = Arc::new(WatchSource(()));
        report::register("watch", &source).map_err(Refusal::Report)?;
        *running = true;
        *call() = Call::None;
        waits::forget_told();
        progress::forget_seen();
        Ok(Self {
            config,
            _source: source,
        })
    }

    pub(super) fn end(&self) {
        heart::stop();
        time::publish(None);
        // What came after the last look has nobody else to tell it.
        event::handed_over().iter().for_each(event::emit);
        progress::forget_seen();
        *running() = false;
        ENDED.notify_one();
    }

    fn ask_to_stop(&self) {
        *call() = Call::Stop;
        CALLED.notify_one();
    }

    fn run(&self) {
        loop {
            let call = call();
            let waited =
                CALLED.wait_timeout_while(call, self.config.tick, |call| *call == Call::None);
            let mut call = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *call == Call::Stop {
                break;
            }
            *call = Call::None;
            drop(call);
            self.tick(clock::real_nanos());
        }
        self.end();
    }

    /// Looks at everything once.
    pub(super) fn tick(&self, now: u64) {
        time::publish(Some(now));
        let Config {
            stall_limit,
            wait_limit,
            unpolled_limit,
            ..
        } = self.config;
        let mut events: Vec<Event> = event::handed_over();
        events.extend(heart::look(now, stall_limit));
        events.extend(progress::look(now));
        events.extend(waits::look(now, wait_limit, unpolled_limit));
        events.extend(waits::look_at_holders(now, unpolled_limit));
        events.iter().for_each(event::emit);
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge("steadfast_watch_armed", &[], "1 while a watchdog runs."),
    MetricDoc::gauge(
        "steadfast_watch_runtimes",
        &[],
        "Runtimes whose responsiveness is watched.",
    ),
    MetricDoc::gauge(
        "steadfast_watch_progress",
        &[],
        "Pieces of work that have promised signs of progress.",
    ),
    MetricDoc::gauge(
        "steadfast_watch_stuck",
        &[],
        "Pieces of work without a sign of progress for three promised intervals.",
    ),
    MetricDoc::gauge(
        "steadfast_watch_lock_waits",
        &[],
        "Waits for watched locks, at this moment.",
    ),
    MetricDoc::counter(
        "steadfast_watch_lock_waits_unwatched_total",
        &[],
        "Waits for locks that were not watched, because too many waited already.",
    ),
    MetricDoc::counter(
        "steadfast_watch_events_total",
        &["kind"],
        "What the watchdog has found, by kind.",
    ),
    MetricDoc::counter(
        "steadfast_watch_events_left_out_total",
        &[],
        "Findings that were not told, because there were too many at once.",
    ),
];

/// What the watch tells about itself while a watchdog runs.
struct WatchSource(());

impl Source for WatchSource {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        to.armed("steadfast_watch_armed", true);
        to.gauge("steadfast_watch_runtimes", heart::count() as f64);
        let (watched, stuck) = progress::counts();
        to.gauge("steadfast_watch_progress", watched as f64);
        to.gauge("steadfast_watch_stuck", stuck as f64);
        let (waits, unwatched) = waits::counts();
        to.gauge("steadfast_watch_lock_waits", waits as f64);
        to.counter("steadfast_watch_lock_waits_unwatched_total", unwatched);
        for (kind, total) in KINDS.into_iter().zip(&event::TOTALS) {
            to.labels([("kind", kind.into())]).counter(
                "steadfast_watch_events_total",
                total.load(Ordering::Relaxed),
            );
        }
        let left_out = event::LEFT_OUT.load(Ordering::Relaxed);
        to.counter("steadfast_watch_events_left_out_total", left_out);
    }
}
