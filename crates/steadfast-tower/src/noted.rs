use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::Extensions;
use pin_project_lite::pin_project;
use steadfast_core::context::{self, Captured, Name, Tier};

/// What layers inside have found out about a request, for the one outside that tells of it. That
/// one cannot read it in the context: there it holds for what is inside alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Mutex<Notes>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) route: Option<Name>,
    pub(crate) tier: Option<Tier>,
    /// The context as the innermost layer has left it, with what the handler has put into it.
    pub(crate) left: Option<Captured>,
}

impl Noted {
    /// Gives the notes of a request, and begins them if nobody outside has.
    pub(crate) fn begin(request: &mut Extensions) -> Self {
        request.get_or_insert_default::<Self>().clone()
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

    pub(crate) fn read(&self) -> Notes {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
