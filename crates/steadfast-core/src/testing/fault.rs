//! Faults, at places that can be counted.
//!
//! Sampling finds the fault that one thought of. A *sweep* finds the others: it runs a case with
//! the fault at its first point, then at its second, and so on, until a run ends untouched. After
//! each run the test looks whether what must hold does.
//!
//! The points are where things go wrong in real services: each await of the case, of the scopes
//! and of the tasks in it, whenever it has to wait; the start of each cleanup, instead of which
//! the fault comes; and those that code names itself, by [`point`] and [`pause`]. They are counted
//! in the order in which the case reaches them, so a case that does the same in every run, as on
//! a runtime with one thread and paused time, meets each once.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use std::sync::atomic::{AtomicI32, Ordering};
//! use std::time::Duration;
//! use steadfast::testing::fault::{self, Fault};
//! use steadfast::{BoxError, clock, scope};
//!
//! static HOLDS: AtomicI32 = AtomicI32::new(0);
//!
//! let case = async || {
//!     scope("order")
//!         .run(async |s| {
//!             HOLDS.fetch_add(1, Ordering::Relaxed);
//!             s.defer("release", || {
//!                 HOLDS.fetch_sub(1, Ordering::Relaxed);
//!             });
//!             clock::sleep(Duration::from_secs(1)).await;
//!             Ok::<_, BoxError>(())
//!         })
//!         .await
//! };
//! let swept = fault::sweep(Fault::Drop, case, |run| {
//!     assert!(run.leaks.is_empty());
//!     assert_eq!(HOLDS.load(Ordering::Relaxed), 0, "released, whatever happens: {run:?}");
//! });
//! assert!(swept.await.points.len() >= 2, "at the await, and at the cleanup");
//! # }
//! ```

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::trace::Trace;
use super::{Leak, LeakCheck};
use crate::context::{self, Name, Node};
use crate::panic::Panic;
use crate::{clock, recover_async};

/// How many runs a sweep makes: 10,000. A case with more points than that is not the same in
/// every run, or too large to tell anything.
pub const RUNS_MAX: u64 = 10_000;

/// How long a run waits after the end of its case for what the case has started to end: 1 min,
/// enough for a dozen cleanups that each come to their limit. Pause tokio's time, so that nobody
/// waits for real.
pub const SETTLE: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The code panics, with a message that names the point. Meets every point.
    Panic,
    /// A cleanup fails, or a named point gives an error: [`Injected`]. An await cannot fail.
    Error,
    /// It takes this long. Meets what can wait: all but the cleanups of sync scopes.
    Delay(Duration),
    /// It never ends. Meets all but the cleanups of sync scopes, [`point`], and the awaits of the
    /// case itself: the case needs something around the wait that ends it.
    Hang,
    /// The future of the whole case is dropped, as by a client that leaves. Meets all but the
    /// cleanups of sync scopes and [`point`].
    Drop,
}

/// At which points a fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// At one point, counted from 1.
    Nth(u64),
    /// At one in so many, on average; which ones is fixed by the seed.
    Random {
        /// The same seed meets the same points.
        seed: u64,
        /// One means all; zero means none.
        one_in: u32,
    },
}

/// A place where a fault has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Point {
    /// Its number, counted from 1.
    pub number: u64,
    /// What sort of place it is.
    pub site: Site,
    /// The name of the scope or task that waits, of the cleanup, or of the point.
    pub name: Name,
}

/// What sort of place a [`Point`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Site {
    /// An await of the case itself that has to wait.
    Case,
    /// An await of a scope's body or of a task that has to wait.
    Await,
    /// The start of a cleanup.
    Cleanup,
    /// The start of a cleanup of a sync scope.
    SyncCleanup,
    /// A [`point`].
    Point,
    /// A [`pause`].
    Pause,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = match self.site {
            Site::Case | Site::Await => "await of",
            Site::Cleanup | Site::SyncCleanup => "cleanup",
            Site::Point | Site::Pause => "point",
        };
        write!(f, "{site} `{}`, number {}", self.name, self.number)
    }
}

/// The error of [`Fault::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("injected fault at {0}")]
pub struct Injected(Point);

impl Injected {
    /// Gives the point at which it was injected.
    pub fn point(&self) -> Point {
        self.0
    }
}

/// What has become of one run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run<R> {
    /// The first point at which the fault came; `None` if the run was untouched.
    pub point: Option<Point>,
    /// How the case ended.
    pub ended: Ended<R>,
    /// What the case has started and what still lived [`SETTLE`] after its end.
    pub leaks: Vec<Leak>,
}

/// How a case ended.
#[derive(Debug)]
pub enum Ended<R> {
    /// It returned.
    Returned(R),
    /// It panicked, outside of any scope or task of its own.
    Panicked(Panic),
    /// It was dropped, by [`Fault::Drop`].
    Dropped,
}

/// What a sweep has met.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Swept {
    /// Each point at which the fault came, one a run, in order.
    pub points: Vec<Point>,
}

/// Names a point in synchronous code; an error, a panic or a delay comes here when one is
/// injected into the case at hand.
///
/// # Errors
/// [`Injected`], for [`Fault::Error`].
///
/// # Panics
/// For [`Fault::Panic`].
pub fn point(name: impl Into<Name>) -> Result<(), Injected> {
    let hit = plan().and_then(|plan| plan.meet(Site::Point, name.into()));
    match hit {
        Some((Fault::Panic, point)) => panic_at(point),
        Some((Fault::Error, point)) => Err(Injected(point)),
        Some((Fault::Delay(by), _)) => {
            clock::block(by);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Names a point in async code; any fault may come here when one is injected into the case at
/// hand.
///
/// # Errors
/// [`Injected`], for [`Fault::Error`].
///
/// # Panics
/// For [`Fault::Panic`].
///
/// # Cancel safety
/// Nothing is lost by dropping it.
pub async fn pause(name: impl Into<Name>) -> Result<(), Injected> {
    let Some(plan) = plan() else {
        return Ok(());
    };
    match plan.meet(Site::Pause, name.into()) {
        Some((Fault::Error, point)) => Err(Injected(point)),
        Some((fault, point)) => {
            plan.suffer(fault, point).await;
            Ok(())
        }
        None => Ok(()),
    }
}

/// Runs a case with a fault in it, and waits, for [`SETTLE`] at most, until nothing that it has
/// started lives any more.
///
/// # Panics
/// Outside of a tokio runtime with a timer.
///
/// # Cancel safety
/// When it is dropped the case is dropped with it, and nobody waits for what the case has started.
pub async fn inject<R>(fault: Fault, when: When, case: impl Future<Output = R>) -> Run<R> {
    let plan = Arc::new(Plan::new(fault, when));
    let leaks = LeakCheck::apart();
    let traced = context::traced(Trace::new(Some(leaks.check()), Some(plan.clone())));
    let case = AtAwaits::new(Some(plan.clone()), Site::Case, Name::new("case"), case);
    let case = traced.wrap(recover_async(case));
    let ended = until_dropped(&plan, case).await;
    let left = leaks.none_left(SETTLE).await;
    Run {
        point: plan.state().point,
        ended,
        leaks: left,
    }
}

async fn until_dropped<R>(plan: &Plan, case: impl Future<Output = Result<R, Panic>>) -> Ended<R> {
    let mut case = pin!(Some(case));
    let ended = std::future::poll_fn(|cx| {
        plan.state().case = Some(cx.waker().clone());
        let running = case.as_mut().as_pin_mut();
        let polled = running.expect("there until it ends").poll(cx);
        match polled {
            Poll::Ready(Ok(output)) => Poll::Ready(Ended::Returned(output)),
            Poll::Ready(Err(panic)) => Poll::Ready(Ended::Panicked(panic)),
            Poll::Pending if plan.state().drop == Dropping::Asked => Poll::Ready(Ended::Dropped),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    // A panic of its drop is contained in it.
    case.set(None);
    plan.dropped();
    ended
}

/// Runs a case with the fault at its first point, at its second, and so on, until a run ends
/// untouched; calls `check` after each run, the untouched one included.
///
/// # Panics
/// When `check` does; when [`RUNS_MAX`] runs were not enough; outside of a tokio runtime with a
/// timer.
///
/// # Cancel safety
/// When it is dropped the case at hand is dropped with it, unchecked; begin anew with the first.
pub async fn sweep<R>(
    fault: Fault,
    mut case: impl AsyncFnMut() -> R,
    mut check: impl FnMut(Run<R>),
) -> Swept {
    let mut points = Vec::new();
    for number in 1..=RUNS_MAX {
        let run = inject(fault, When::Nth(number), case()).await;
        let point = run.point;
        check(run);
        match point {
            Some(point) => points.push(point),
            None => return Swept { points },
        }
    }
    panic!("{RUNS_MAX} runs were not enough: the last one met a point, too")
}

/// Which fault comes where, for one run.
pub(crate) struct Plan {
    fault: Fault,
    when: When,
    points: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The first point that was met.
    point: Option<Point>,
    drop: Dropping,
    /// Wakes the case, so that it is dropped.
    case: Option<Waker>,
    /// Cleanups that go on once the case was dropped.
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Dropping {
    #[default]
    No,
    Asked,
    Done,
}

impl Plan {
    fn new(fault: Fault, when: When) -> Self {
        Self {
            fault,
            when,
            points: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which fault comes at this point, if one does. Points that the fault cannot meet are
    /// not counted.
    pub(crate) fn meet(&self, site: Site, name: Name) -> Option<(Fault, Point)> {
        if !self.fault.meets(site) {
            return None;
        }
        let number = self.points.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.when.meets(number) {
            return None;
        }
        let point = Point { number, site, name };
        self.state().point.get_or_insert(point);
        Some((self.fault, point))
    }

    /// Lets the fault come; returns when the code should go on.
    pub(crate) async fn suffer(self: Arc<Self>, fault: Fault, point: Point) {
        match fault {
            Fault::Panic => panic_at(point),
            Fault::Error => {}
            Fault::Delay(by) => clock::sleep(by).await,
            Fault::Hang => std::future::pending().await,
            Fault::Drop => std::future::poll_fn(|cx| self.poll_dropped(cx)).await,
        }
    }

    /// Asks for the drop of the case; ready once that was.
    fn poll_dropped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        match state.drop {
            Dropping::Done => return Poll::Ready(()),
            Dropping::Asked => state.waiting.push(cx.waker().clone()),
            Dropping::No => {
                state.drop = Dropping::Asked;
                state.waiting.push(cx.waker().clone());
                let case = state.case.clone();
                drop(state);
                if let Some(case) = case {
                    case.wake();
                }
            }
        }
        Poll::Pending
    }

    /// Says that the case has ended or was dropped.
    fn dropped(&self) {
        let mut state = self.state();
        state.drop = Dropping::Done;
        state.case = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Fault {
    fn meets(self, site: Site) -> bool {
        match self {
            Fault::Panic => true,
            Fault::Error => !matches!(site, Site::Case | Site::Await),
            Fault::Delay(_) => site != Site::SyncCleanup,
            // Nobody is around the case who could end its wait.
            Fault::Hang => !matches!(site, Site::Case | Site::SyncCleanup | Site::Point),
            Fault::Drop => !matches!(site, Site::SyncCleanup | Site::Point),
        }
    }
}

impl When {
    fn meets(self, number: u64) -> bool {
        match self {
            When::Nth(nth) => number == nth,
            When::Random { one_in: 0, .. } => false,
            When::Random { seed, one_in } => {
                crate::rng::mix(seed, number).is_multiple_of(u64::from(one_in))
            }
        }
    }
}

fn plan() -> Option<Arc<Plan>> {
    context::with(|frame| frame.node()?.trace.plan.clone())
}

/// The plan's answer at the start of a cleanup of `node`.
pub(crate) fn at_cleanup(node: &Node, site: Site, name: Name) -> Option<(Arc<Plan>, Fault, Point)> {
    let plan = node.trace.plan.as_ref()?;
    let (fault, point) = plan.meet(site, name)?;
    Some((plan.clone(), fault, point))
}

pub(crate) fn panic_at(point: Point) -> ! {
    panic!("injected fault at {point}")
}

pub(crate) fn error_at(point: Point) -> Injected {
    Injected(point)
}

type Suffering = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// A future with a point at each await that has to wait.
    pub(crate) struct AtAwaits<F> {
        #[pin]
        future: F,
        plan: Option<Arc<Plan>>,
        site: Site,
        name: Name,
        // The fault that has come, until the future may go on.
        suffering: Option<Suffering>,
    }
}

impl<F> AtAwaits<F> {
    pub(super) fn new(plan: Option<Arc<Plan>>, site: Site, name: Name, future: F) -> Self {
        Self {
            future,
            plan,
            site,
            name,
            suffering: None,
        }
    }
}

impl<F: Future> Future for AtAwaits<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if this.suffering.is_none() {
            let polled = this.future.as_mut().poll(cx);
            let (Poll::Pending, Some(plan)) = (&polled, &*this.plan) else {
                return polled;
            };
            let Some((fault, point)) = plan.meet(*this.site, *this.name) else {
                return polled;
            };
            *this.suffering = Some(Box::pin(plan.clone().suffer(fault, point)));
        }
        if let Some(suffering) = this.suffering {
            std::task::ready!(suffering.as_mut().poll(cx));
            *this.suffering = None;
        }
        // It may have been woken meanwhile. If it still waits, that is the same await.
        this.future.poll(cx)
    }
}
