use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Extensions;
use steadfast_core::context::{Captured, Name, Tier};

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
