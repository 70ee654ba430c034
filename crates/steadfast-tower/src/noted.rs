use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::Extensions;
use pin_project_lite::pin_project;
use steadfast_core::context::{self, Captured, Name, Tier};

/// What layers inside have found out about a request, for the one outside that tells of it. That
/// one cannot read it in the context: there it holds for what is inside alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Somebody wants to know how the context is left: whoever writes a line.
    wants_left: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) route: Option<Name>,
    pub(crate) tier: Option<Tier>,
    /// The context as the innermost layer has left it, with what the handler has put into it.
    left: Option<Captured>,
}

impl Noted {
    /// Gives the notes of a request, and begins them if nobody outside has.
    pub(crate) fn begin(request: &mut Extensions, wants_left: bool) -> Self {
        let noted = request.get_or_insert_default::<Self>();
        if wants_left {
            noted.0.wants_left.store(true, Ordering::Relaxed);
        }
        noted.clone()
    }

    /// Gives the notes of a request if somebody wants to know how a layer leaves its context.
    pub(crate) fn wanting_left(request: &Extensions) -> Option<Self> {
        let noted = request.get::<Self>();
        noted.filter(|noted| noted.wants_left()).cloned()
    }

    /// Notes something if anybody wants to know it.
    pub(crate) fn note(request: &Extensions, note: impl FnOnce(&mut Notes)) {
        if let Some(noted) = request.get::<Self>() {
            note(&mut noted.notes());
        }
    }

    /// Notes how a layer leaves its context. Those further in leave theirs first, and know more.
    pub(crate) fn leave(&self, context: &Captured) {
        self.notes().left.get_or_insert_with(|| context.clone());
    }

    /// Gives route and tier, where layers inside have found them out.
    pub(crate) fn found(&self) -> (Option<Name>, Option<Tier>) {
        let notes = self.notes();
        (notes.route, notes.tier)
    }

    /// Gives the context as it was left, if somebody wanted to know that.
    pub(crate) fn left(&self) -> Option<Captured> {
        self.notes().left.clone()
    }

    fn wants_left(&self) -> bool {
        self.0.wants_left.load(Ordering::Relaxed)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// A future inside of a context that a layer has made, which notes how it leaves that.
    #[derive(Debug)]
    pub struct Leaving<F> {
        #[pin]
        inner: Option<F>,
        noted: Option<Noted>,
    }

    impl<F> PinnedDrop for Leaving<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.inner.set(None);
            if let Some(noted) = this.noted.take() {
                noted.leave(&context::capture());
            }
        }
    }
}

impl<F> Leaving<F> {
    pub(crate) fn new(inner: F, noted: Option<Noted>) -> Self {
        Self {
            inner: Some(inner),
            noted,
        }
    }
}

impl<F: Future> Future for Leaving<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let inner = this.inner.as_pin_mut();
        let ended = ready!(inner.expect("there until the drop").poll(cx));
        if let Some(noted) = this.noted.take() {
            noted.leave(&context::capture());
        }
        Poll::Ready(ended)
    }
}
