use std::borrow::BorrowMut;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task;

use pin_project_lite::pin_project;

use crate::clock::Instant;
use crate::context::keys::{self, Keys};
use crate::context::{AsNode, Context, Kind, Node, Propagated, ScopePath};
#[cfg(feature = "test-util")]
use crate::testing::Trace;
use crate::watch;

thread_local! {
    static FRAME: RefCell<Frame> = const { RefCell::new(Frame::EMPTY) };
}

/// What is in force at one moment: small, because it is exchanged twice at every poll. The facts
/// themselves stand in the node.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) node: Option<Arc<dyn AsNode>>,
    pub(crate) phase: Phase,
}

/// Which part of the node's life the work belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Body,
    /// Undoes what the body did: without the body's deadline and cancellation. An async cleanup
    /// has the deadline of its own limit.
    Cleanup(Option<Instant>),
}

impl Frame {
    pub(crate) const EMPTY: Frame = Frame {
        node: None,
        phase: Phase::Body,
    };

    pub(crate) fn current() -> Self {
        with(Frame::clone)
    }

    pub(crate) fn body(node: Arc<dyn AsNode>) -> Self {
        Self {
            node: Some(node),
            phase: Phase::Body,
        }
    }

    pub(crate) fn cleanup(node: Arc<dyn AsNode>) -> Self {
        Self {
            node: Some(node),
            phase: Phase::Cleanup(None),
        }
    }

    pub(crate) fn block(&self) -> Context {
        let block = self.node().map(|node| node.block).unwrap_or_default();
        match self.phase {
            Phase::Body => block,
            Phase::Cleanup(deadline) => block.until(deadline),
        }
    }

    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.node()?.keys.as_ref()
    }

    pub(crate) fn scope_path(&self) -> ScopePath {
        ScopePath::of(self.node())
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_deref().map(AsNode::node)
    }

    /// Gives the scope or task, of which the node at hand may be an overlay.
    pub(crate) fn named(&self) -> Option<&Arc<dyn AsNode>> {
        let node = self.node.as_ref()?;
        if node.node().kind == Kind::Overlay {
            node.node().around()
        } else {
            Some(node)
        }
    }

    /// The same place with other facts.
    fn overlaid(&self, block: Context, keys: Option<Keys>) -> Self {
        Self {
            node: Some(Arc::new(Node::overlay(self.node.as_ref(), block, keys))),
            phase: self.phase,
        }
    }

    /// The same place and facts with other hooks of tests.
    #[cfg(feature = "test-util")]
    fn traced(&self, trace: Trace) -> Self {
        let block = self.node().map(|node| node.block).unwrap_or_default();
        let node = Node::overlay(self.node.as_ref(), block, self.keys().cloned());
        Self {
            node: Some(Arc::new(node.traced(trace))),
            phase: self.phase,
        }
    }

    /// Makes every poll of `future`, and its drop, happen in this frame, which shows then what
    /// has become of it.
    pub(crate) fn wrap<F: Future>(&mut self, future: F) -> Within<F, &mut Frame> {
        Within {
            future: Some(future),
            frame: self,
        }
    }

    /// The same facts, for the cleanups.
    pub(crate) fn to_cleanup(&self) -> Self {
        Self {
            node: self.node.clone(),
            phase: Phase::Cleanup(None),
        }
    }

    /// Makes this the frame in force until the guard is dropped; the guard then leaves in `self`
    /// what it has become, so that changes made at one poll are there at the next.
    #[inline]
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let watched = watch::entering(self);
        swap(self);
        Entered {
            frame: self,
            watched,
        }
    }
}

pub(crate) struct Entered<'a> {
    frame: &'a mut Frame,
    /// There was a watchdog when it came into force.
    watched: bool,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.frame);
        if self.watched {
            watch::leaving(self.frame);
        }
    }
}

#[inline]
fn swap(frame: &mut Frame) {
    // Fails while the thread is torn down: then nothing is in force any more, which is true.
    let _ = FRAME.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), frame));
}

/// Reads the frame in force. Never panics: the panic hook reads it, at any moment.
pub(crate) fn with<R>(read: impl FnOnce(&Frame) -> R) -> R {
    let mut read = Some(read);
    let found = FRAME.try_with(|current| {
        let frame = current.try_borrow().ok()?;
        read.take().map(|read| read(&frame))
    });
    match found {
        Ok(Some(value)) => value,
        _ => {
            let read = read
                .take()
                .expect("not called when the frame was not there");
            read(&Frame::EMPTY)
        }
    }
}

pub(super) fn overlay(block: Context, keys: Option<Keys>) {
    let mut overlaid = with(|frame| frame.overlaid(block, keys));
    swap(&mut overlaid);
}

/// Gives the context at hand with other hooks of tests.
#[cfg(feature = "test-util")]
pub(crate) fn traced(trace: Trace) -> Captured {
    Captured::from(with(|frame| frame.traced(trace)))
}

/// Changes the hooks of tests for the rest of the scope or task at hand.
#[cfg(feature = "test-util")]
pub(crate) fn retrace(change: impl FnOnce(&Trace) -> Trace) {
    let mut traced = with(|frame| frame.traced(change(&Trace::of(frame))));
    swap(&mut traced);
}

/// Gives an async cleanup the deadline of its limit, and takes it away from the next one.
pub(crate) fn set_cleanup_deadline(deadline: Option<Instant>) {
    let _ = FRAME.try_with(|current| {
        current.borrow_mut().phase = Phase::Cleanup(deadline);
    });
}

/// Takes the whole context at hand along: the block, the keys and the scope path.
///
/// For work that steadfast does not start itself: a thread, a callback, a task of another
/// library. [`spawn`](crate::spawn) and scopes do it by themselves.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::context::{self, Context, TraceId};
///
/// let id = TraceId::random();
/// let captured = Context::new().with_trace_id(id).run(context::capture);
/// let there = std::thread::spawn(move || captured.run(|| context::current().trace_id()));
/// assert_eq!(there.join().unwrap(), Some(id));
/// ```
pub fn capture() -> Captured {
    Captured::from(Frame::current())
}

/// A context on its way to another thread or task; made by [`capture`].
#[derive(Clone)]
pub struct Captured {
    frame: Frame,
}

impl Captured {
    /// A context in which nothing is known yet: for work that has nothing to do with whoever starts
    /// it, such as the requests that come to a server.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// use steadfast::context::{self, Captured, Context, TraceId};
    ///
    /// let started = Context::new().with_trace_id(TraceId::random());
    /// let known = started.run(|| Captured::empty().run(|| context::current().trace_id()));
    /// assert_eq!(known, None);
    /// ```
    pub fn empty() -> Self {
        Self::from(Frame::EMPTY)
    }

    /// The context at hand, with other facts.
    pub(super) fn with_block(block: Context) -> Self {
        let overlaid = with(|frame| frame.overlaid(block, frame.keys().cloned()));
        Self::from(overlaid)
    }

    /// The same context with what is to be passed on to all that is called in it.
    pub fn propagating(self, propagated: Propagated) -> Self {
        let keys = keys::with_propagated(self.frame.keys(), propagated);
        let block = self.frame.node().map(|node| node.block).unwrap_or_default();
        Self::from(self.frame.overlaid(block, Some(keys)))
    }

    /// Calls `f` in this context.
    pub fn run<R>(mut self, f: impl FnOnce() -> R) -> R {
        self.enter(f)
    }

    /// Calls `f` in this context, and keeps what `f` changes in it for the next call: for what is
    /// polled again and again without being a future, such as a body.
    #[inline]
    pub fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _entered = self.frame.enter();
        f()
    }

    /// Makes every poll of `future`, and its drop, happen in this context.
    ///
    /// # Cancel safety
    /// As the future's own.
    pub fn wrap<F: Future>(self, future: F) -> InContext<F> {
        InContext {
            within: Within {
                future: Some(future),
                frame: self.frame,
            },
        }
    }
}

impl From<Frame> for Captured {
    fn from(frame: Frame) -> Self {
        Self { frame }
    }
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Captured")
            .field(&self.frame.block())
            .finish()
    }
}

pin_project! {
    /// A future that is polled and dropped in a context; made by [`Context::wrap`] and
    /// [`Captured::wrap`].
    pub struct InContext<F> {
        #[pin]
        within: Within<F, Frame>,
    }
}

pin_project! {
    /// A future that is polled and dropped in a frame, which may be somebody else's who wants to
    /// know what has become of it.
    pub(crate) struct Within<F, B: BorrowMut<Frame>> {
        #[pin]
        future: Option<F>,
        frame: B,
    }

    impl<F, B: BorrowMut<Frame>> PinnedDrop for Within<F, B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _entered = this.frame.borrow_mut().enter();
                this.future.set(None);
            }
        }
    }
}

impl<F> std::fmt::Debug for InContext<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InContext").finish_non_exhaustive()
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<F::Output> {
        self.project().within.poll(cx)
    }
}

impl<F: Future, B: BorrowMut<Frame>> Future for Within<F, B> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<F::Output> {
        let this = self.project();
        let _entered = this.frame.borrow_mut().enter();
        this.future
            .as_pin_mut()
            .expect("the future is there until the drop")
            .poll(cx)
    }
}
