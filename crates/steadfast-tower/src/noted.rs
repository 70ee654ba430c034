use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;
use steadfast_core::context::{Name, Tier};

/// What layers inside have found out about a request, for the one outside that tells of it. That
/// one cannot read it in the context: there it holds for what is inside alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Mutex<Notes>>);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notes {
    pub(crate) route: Option<Name>,
    pub(crate) tier: Option<Tier>,
}

impl Noted {
    /// Gives the notes of a request, and begins them if nobody outside has.
    pub(crate) fn begin(request: &mut Extensions) -> Self {
        request.get_or_insert_default::<Self>().clone()
    }

    /// Notes something if anybody wants to know it.
    pub(crate) fn note(request: &Extensions, note: impl FnOnce(&mut Notes)) {
        if let Some(Self(notes)) = request.get() {
            note(&mut notes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn read(&self) -> Notes {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
