use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task;

use pin_project_lite::pin_project;

use crate::context::keys::Keys;
use crate::context::{AsNode, Context};

thread_local! {
    static FRAME: RefCell<Frame> = const { RefCell::new(Frame::empty()) };
}

/// All that is in force at one moment: the block, the application's keys, the scopes around.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) block: Context,
    pub(crate) keys: Option<Keys>,
    pub(crate) path: Option<Arc<dyn AsNode>>,
}

impl Frame {
    const fn empty() -> Self {
        Self {
            block: Context::new(),
            keys: None,
            path: None,
        }
    }

    pub(crate) fn current() -> Self {
        with(Frame::clone)
    }

    /// Makes this the frame in force until the guard is dropped; the guard then leaves in `self`
    /// what it has become, so that changes made at one poll are there at the next.
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        swap(self);
        Entered { frame: self }
    }
}

pub(crate) struct Entered<'a> {
    frame: &'a mut Frame,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.frame);
    }
}

fn swap(frame: &mut Frame) {
    // Fails while the thread is torn down: then nothing is in force any more, which is true.
    let _ = FRAME.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), frame));
}

/// Reads the frame in force. Never panics: the panic hook reads it, at any moment.
pub(crate) fn with<R>(read: impl FnOnce(&Frame) -> R) -> R {
    let mut read = Some(read);
    let found = FRAME.try_with(|current| {
        let frame = current.try_borrow().ok()?;
        let read = read.take()?;
        Some(read(&frame))
    });
    match found {
        Ok(Some(value)) => value,
        _ => {
            let read = read
                .take()
                .expect("not called when the frame was not there");
            read(&Frame::empty())
        }
    }
}

pub(super) fn set_block(block: Context) {
    let _ = FRAME.try_with(|current| current.borrow_mut().block = block);
}

pub(super) fn set_keys(keys: Keys) {
    let _ = FRAME.try_with(|current| {
        let old = current.borrow_mut().keys.replace(keys);
        drop(old);
    });
}

/// Takes the whole context at hand along: the block, the keys and the scope path.
///
/// For work that steadfast does not start itself: a thread, a callback, a task of another
/// library. [`spawn`](crate::spawn) and scopes do it by themselves.
///
/// # Examples
/// ```
/// use steadfast_core::context::{self, Context, TraceId};
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
    /// Calls `f` in this context.
    pub fn run<R>(mut self, f: impl FnOnce() -> R) -> R {
        let _entered = self.frame.enter();
        f()
    }

    /// Makes every poll of `future`, and its drop, happen in this context.
    ///
    /// # Cancel safety
    /// As the future's own.
    pub fn wrap<F: Future>(self, future: F) -> InContext<F> {
        InContext {
            future: Some(future),
            frame: self.frame,
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
        f.debug_tuple("Captured").field(&self.frame.block).finish()
    }
}

pin_project! {
    /// A future that is polled and dropped in a context; made by [`Context::wrap`] and
    /// [`Captured::wrap`].
    pub struct InContext<F> {
        #[pin]
        future: Option<F>,
        frame: Frame,
    }

    impl<F> PinnedDrop for InContext<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.frame.enter();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<F::Output> {
        let this = self.project();
        let _entered = this.frame.enter();
        this.future
            .as_pin_mut()
            .expect("the future is there until the drop")
            .poll(cx)
    }
}
