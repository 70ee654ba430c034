//! What a child is: its name, its code, its terms.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::builder::SupervisorBuilder;
use super::drive;
use super::instance::ChildContext;
use crate::context::Name;
use crate::decide::restart::{ChildSpec, InvalidRules, Restart, StopLimit};
use crate::panic::{Contained, Panic};
use crate::recover;
use crate::scope::{BoxError, CleanupResult};

/// Describes a child of a group: a name, a factory that makes its future anew for each life, and
/// its terms.
///
/// The factory may be any function from a [`ChildContext`] to a future that gives nothing or a
/// `Result`. It runs as part of the child, so a panic in it is a failure of the child. What it
/// captures stays with the group until the child is removed or the group has ended.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::supervise::{Child, ChildContext};
///
/// async fn listen(child: ChildContext) -> Result<(), std::io::Error> {
///     // bind, then:
///     child.ready();
///     child.stopping().await;
///     Ok(())
/// }
///
/// let listener = Child::permanent("listener", listen)
///     .ready_within(Duration::from_secs(10))
///     .stop_within(Duration::from_secs(20));
/// ```
#[must_use = "a child does nothing until it is part of a group"]
pub struct Child {
    pub(super) described: Described,
    spec: ChildSpec,
    /// The first limit that was out of range; told when the child joins a group.
    invalid: Option<InvalidRules>,
}

/// What a group keeps of a child's description.
pub(super) struct Described {
    pub(super) name: Name,
    pub(super) place: &'static Location<'static>,
    pub(super) restart: Restart,
    /// It says itself when it is ready.
    pub(super) says_ready: bool,
    /// How long it gets to stop or to get ready, for the cause of its abort.
    pub(super) stop_limit: StopLimit,
    pub(super) ready_within: Duration,
    /// Gone once the group has ended. Only one instance lives at a time, so it is never waited
    /// for.
    make: Mutex<Option<Contained<MakeFuture>>>,
    is_normal: Option<Contained<IsNormal>>,
}

pub(super) type ChildFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type MakeFuture = Box<dyn FnMut(ChildContext) -> ChildFuture + Send>;
type IsNormal = Box<dyn Fn(&(dyn Error + 'static)) -> bool + Send + Sync>;

// === impl Child ===

impl Child {
    /// Describes a child with the default limits. It counts as ready as soon as its factory has
    /// made the future.
    #[track_caller]
    pub fn new<F, Fut>(name: impl Into<Name>, restart: Restart, mut factory: F) -> Self
    where
        F: FnMut(ChildContext) -> Fut + Send + 'static,
        Fut: Future<Output: CleanupResult> + Send + 'static,
    {
        let make: MakeFuture = Box::new(move |context| {
            Box::pin(Body {
                future: factory(context),
            })
        });
        let described = Described {
            name: name.into(),
            place: Location::caller(),
            restart,
            says_ready: false,
            stop_limit: ChildSpec::DEFAULT_STOP_LIMIT,
            ready_within: ChildSpec::DEFAULT_READY_WITHIN,
            make: Mutex::new(Some(Contained::new(make))),
            is_normal: None,
        };
        Self {
            described,
            spec: ChildSpec::new(restart),
            invalid: None,
        }
    }

    /// Describes a child that is always restarted: what must run as long as the group does.
    #[track_caller]
    pub fn permanent<F, Fut>(name: impl Into<Name>, factory: F) -> Self
    where
        F: FnMut(ChildContext) -> Fut + Send + 'static,
        Fut: Future<Output: CleanupResult> + Send + 'static,
    {
        Self::new(name, Restart::Permanent, factory)
    }

    /// Describes a child that is restarted only when it failed: work that has an end.
    #[track_caller]
    pub fn transient<F, Fut>(name: impl Into<Name>, factory: F) -> Self
    where
        F: FnMut(ChildContext) -> Fut + Send + 'static,
        Fut: Future<Output: CleanupResult> + Send + 'static,
    {
        Self::new(name, Restart::Transient, factory)
    }

    /// Describes a child that is never restarted, and removed once it has ended: work that
    /// somebody else will ask for again.
    #[track_caller]
    pub fn temporary<F, Fut>(name: impl Into<Name>, factory: F) -> Self
    where
        F: FnMut(ChildContext) -> Fut + Send + 'static,
        Fut: Future<Output: CleanupResult> + Send + 'static,
    {
        Self::new(name, Restart::Temporary, factory)
    }

    /// Describes a child that is a group itself.
    ///
    /// The factory describes the group anew for each life. The child is ready when the group is;
    /// it fails when the group does, with the [`GroupError`](super::GroupError) as its error.
    /// Unless told otherwise it gets unlimited time to stop, because its own children have
    /// limits, and a day to get ready, for the same reason. When it is aborted nevertheless, all
    /// children inside are, at once.
    #[track_caller]
    pub fn group<F>(name: impl Into<Name>, restart: Restart, mut describe: F) -> Self
    where
        F: FnMut() -> SupervisorBuilder + Send + 'static,
    {
        Self::new(name, restart, move |context| {
            drive::inside(describe(), context)
        })
        .with_stop_limit(StopLimit::Unbounded)
        .ready_within(ChildSpec::LONGEST)
    }

    /// Makes the child ready only when it says so by [`ChildContext::ready`], for which it gets
    /// this long from its start: up to a day. Then it is aborted, which counts as a failure.
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.described.says_ready = true;
        self.described.ready_within = limit;
        let spec = self.spec.with_ready_within(limit);
        self.set(spec)
    }

    /// Gives the child this long to stop after it was asked to: up to a day,
    /// [5 s](ChildSpec::DEFAULT_STOP_LIMIT) by default. Then it is aborted.
    pub fn stop_within(self, limit: Duration) -> Self {
        self.with_stop_limit(StopLimit::Within(limit))
    }

    /// Aborts the child without asking it to stop first: it is dropped at its next await, and its
    /// cleanups run.
    pub fn stop_at_once(self) -> Self {
        self.with_stop_limit(StopLimit::Immediate)
    }

    /// Makes the child one whose end may stop the whole group, see
    /// [`AutoShutdown`](super::AutoShutdown).
    pub fn significant(mut self) -> Self {
        self.spec = self.spec.significant();
        self
    }

    /// Takes an error for a normal end if `is_normal` says so: a transient child is not restarted
    /// after it. A panic in `is_normal` is a failure of the child.
    pub fn normal_if(
        mut self,
        is_normal: impl Fn(&(dyn Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.described.is_normal = Some(Contained::new(Box::new(is_normal)));
        self
    }

    /// Takes the description apart.
    ///
    /// # Errors
    /// The first limit that was out of range.
    pub(super) fn into_parts(self) -> Result<(ChildSpec, Described), InvalidRules> {
        match self.invalid {
            Some(invalid) => Err(invalid),
            None => Ok((self.spec, self.described)),
        }
    }

    fn with_stop_limit(mut self, limit: StopLimit) -> Self {
        self.described.stop_limit = limit;
        let spec = self.spec.with_stop_limit(limit);
        self.set(spec)
    }

    fn set(mut self, spec: Result<ChildSpec, InvalidRules>) -> Self {
        match spec {
            Ok(spec) => self.spec = spec,
            Err(invalid) => {
                self.invalid.get_or_insert(invalid);
            }
        }
        self
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.described.name)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

// === impl Described ===

impl Described {
    /// Calls the factory. A factory that panicked before is called again all the same: what state
    /// it left is its own concern, as with any child that is restarted.
    pub(super) fn make(&self, context: ChildContext) -> Option<ChildFuture> {
        let mut make = self.make.lock().unwrap_or_else(PoisonError::into_inner);
        make.as_mut().map(|make| make.get_mut()(context))
    }

    /// Asks the user's judgment of an error.
    pub(super) fn is_normal(&self, error: &(dyn Error + 'static)) -> Result<bool, Panic> {
        match &self.is_normal {
            Some(is_normal) => recover(|| is_normal.get()(error)),
            None => Ok(false),
        }
    }

    /// Gives what the factory captured away; one that is being called by a child that was written
    /// off has to stay.
    pub(super) fn release(&self) -> Option<impl Send + use<>> {
        let mut make = match self.make.try_lock() {
            Ok(make) => make,
            Err(std::sync::TryLockError::Poisoned(make)) => make.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        make.take()
    }
}

pin_project! {
    /// Flattens what the future of a child gives. Written out, because an async block would hold
    /// the output while it drops the future: if both drops panicked, the process would abort.
    struct Body<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future<Output: CleanupResult>> Future for Body<F> {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(self.project().future.poll(cx));
        Poll::Ready(output.into_result())
    }
}

/// A description that every life of the child shares.
pub(super) type SharedChild = Arc<Described>;
