use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::payload::{PayloadRef, Slot};
use super::record::{Record, text_of};
use super::{Kind, hook, symbols};
use crate::clock::{self, Timestamp};
use crate::context::{Context, Name, ScopePath, SpanId, TraceId};

/// A panic that was caught: an error value that knows where it came from.
///
/// Clones are the same panic and share the payload. `Display` is for clients: it names the scope
/// and the trace id and never shows the message, which may hold anything. For people on call
/// there is [`describe`](Self::describe).
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::recover;
///
/// let panic = recover(|| panic!("card 4929 declined")).unwrap_err();
/// assert_eq!(panic.message(), "card 4929 declined");
/// assert!(panic.location().is_some());
/// assert!(!panic.to_string().contains("4929"));
/// ```
#[derive(Clone)]
pub struct Panic {
    inner: Arc<Inner>,
    /// What this one replaced, oldest first.
    superseded: Vec<Panic>,
    /// Whether it was raised more than once, so that it may meet itself.
    resumed: bool,
}

struct Inner {
    /// Absent for a payload that was raised past the hook.
    record: Option<Arc<Record>>,
    message: Option<Box<str>>,
    payload: Slot,
}

/// Turns the payload of a catch into a [`Panic`], and tells the reporter that it was caught.
pub(crate) fn claim(payload: Box<dyn Any + Send>) -> Panic {
    let record = hook::claim(&*payload);
    let payload = match payload.downcast::<Panic>() {
        // Raised again: it is the same panic, not another one.
        Ok(same) => {
            if let Some(record) = same.record() {
                hook::contained(record);
            }
            return *same;
        }
        Err(other) => other,
    };
    // The record holds the message if it fits; a longer one is copied here, since the payload can
    // be taken away.
    let message = match (text_of(&*payload), &record) {
        (Some(""), _) => Some("".into()),
        (Some(text), Some(record)) if record.message.as_str() == text => None,
        (text, _) => text.map(Box::from),
    };
    Panic {
        inner: Arc::new(Inner {
            record,
            message,
            payload: Slot::new(payload),
        }),
        superseded: Vec::new(),
        resumed: false,
    }
}

impl Panic {
    /// Gives the message of `panic!`; a fixed text for a payload that is none.
    pub fn message(&self) -> &str {
        if let Some(message) = &self.inner.message {
            return message;
        }
        match self.record().map(|record| record.message.as_str()) {
            Some(message) if !message.is_empty() => message,
            _ => "(payload that is not a text)",
        }
    }

    /// Gives the place in the source; `None` when the payload was raised past the hook.
    pub fn location(&self) -> Option<Location> {
        self.record()?.location()
    }

    /// Gives the name of the thread, empty when it has none.
    pub fn thread(&self) -> &str {
        self.record().map_or("", |record| record.thread.as_str())
    }

    /// Gives the scopes around the place that panicked.
    pub fn scope_path(&self) -> ScopePath {
        self.record().map_or(ScopePath::EMPTY, |record| record.path)
    }

    /// Gives the context in which it panicked.
    pub fn context(&self) -> Context {
        self.record()
            .map(|record| record.context)
            .unwrap_or_default()
    }

    /// Gives the values that [`context::put`](crate::context::put) held.
    pub fn entries(&self) -> Vec<(Name, Arc<str>)> {
        let keys = self.record().and_then(|record| record.keys.as_ref());
        keys.map(|keys| keys.own().to_vec()).unwrap_or_default()
    }

    /// Gives the trace id in which it panicked.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.context().trace_id()
    }

    /// Gives the span id in which it panicked.
    pub fn span_id(&self) -> Option<SpanId> {
        self.context().span_id()
    }

    /// Tells a failed check of the runtime from a `panic!` of the code.
    pub fn kind(&self) -> Kind {
        self.record().map_or(Kind::Unknown, |record| record.kind())
    }

    /// Gives the time at which it was raised.
    pub fn at(&self) -> Option<Timestamp> {
        self.record()
            .map(|record| clock::timestamp_of(record.since))
    }

    /// Names the group of panics of this place, see [`groups`](super::groups()).
    pub fn fingerprint(&self) -> Option<u64> {
        self.record().map(|record| record.fingerprint)
    }

    /// Gives the backtrace, symbolized by a thread that does nothing else: it takes milliseconds,
    /// the first time perhaps a second, none of it on the calling thread.
    ///
    /// `None` when there is none: of the panics of a place only the first
    /// [`BACKTRACES_PER_SECOND`](super::BACKTRACES_PER_SECOND) of a second carry one.
    ///
    /// # Cancel safety
    /// Nothing is lost; what was symbolized is kept.
    pub async fn backtrace(&self) -> Option<Arc<str>> {
        let record = self.record().filter(|record| record.sampled)?;
        symbols::symbolized(record.clone()).await
    }

    /// Gives the panics that this one replaced while it was on its way, oldest first: a cleanup
    /// that panicked after its body had.
    pub fn superseded(&self) -> &[Panic] {
        &self.superseded
    }

    /// Looks at the payload, if it is a `T` and nobody took it.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core::recover;
    /// let panic = recover(|| std::panic::panic_any(42)).unwrap_err();
    /// assert_eq!(panic.payload::<i32>().as_deref(), Some(&42));
    /// ```
    pub fn payload<T: Any + Sync>(&self) -> Option<PayloadRef<'_, T>> {
        self.inner.payload.get()
    }

    /// Takes the payload, if it is a `T`; the first taker among all clones gets it.
    ///
    /// `None` as well while somebody looks at it by [`payload`](Self::payload).
    pub fn take_payload<T: Any>(&self) -> Option<T> {
        self.inner.payload.take()
    }

    /// Raises this panic again. A catch of ours gets this very value back, with all it knows;
    /// the hook is not called a second time, so it is not counted twice. If nobody catches it, it
    /// is reported a second time, as uncaught.
    pub fn resume(mut self) -> ! {
        self.resumed = true;
        if let Some(record) = self.record() {
            hook::resumed(record);
        }
        std::panic::resume_unwind(Box::new(self))
    }

    /// Tells whether both are the same panic, perhaps raised again.
    pub fn is_same(&self, other: &Panic) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Gives all that is known except the backtrace, in one line for logs and people on call.
    /// Shows the message: not for clients.
    pub fn describe(&self) -> impl fmt::Display {
        Describe(self)
    }

    /// Puts `older` behind this one.
    pub(crate) fn supersede(&mut self, mut older: Panic) {
        // Flat, and moved rather than copied: a long chain costs no more than its length.
        let mut chain = std::mem::take(&mut older.superseded);
        if self.is_same(&older) {
            // Raised again, perhaps from a copy that has not seen all that came behind it.
            if chain.len() > self.superseded.len() {
                self.superseded = chain;
            }
            return;
        }
        chain.push(older);
        if self.resumed {
            // It may stand in the chain itself, and so may what stands behind it.
            chain.retain(|known| !known.is_same(self));
            self.superseded
                .retain(|own| !chain.iter().any(|known| known.is_same(own)));
        }
        chain.append(&mut self.superseded);
        self.superseded = chain;
    }

    fn record(&self) -> Option<&Arc<Record>> {
        self.inner.record.as_ref()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicked")?;
        let path = self.scope_path();
        if !path.is_empty() {
            write!(f, " in {path}")?;
        }
        if let Some(trace_id) = self.trace_id() {
            write!(f, " (trace {trace_id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panic({})", self.describe())
    }
}

impl Error for Panic {}

struct Describe<'a>(&'a Panic);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panic = self.0;
        write!(f, "{panic}: {:?}", panic.message())?;
        if let Some(location) = panic.location() {
            write!(f, " at {location}")?;
        }
        write!(f, ", kind {}", panic.kind())?;
        for older in panic.superseded() {
            write!(f, ", after {:?}", older.message())?;
            if let Some(location) = older.location() {
                write!(f, " at {location}")?;
            }
        }
        Ok(())
    }
}

/// A place in the source.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Location {
    file: Box<str>,
    line: u32,
    column: u32,
}

impl Location {
    /// Gives the file as the compiler was told it; the end of it, when it is longer than 120
    /// bytes.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Gives the line, counted from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Gives the column, counted from 1.
    pub fn column(&self) -> u32 {
        self.column
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
impl Location {
    pub(super) fn at(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 1,
            column: 1,
        }
    }
}

impl Record {
    pub(super) fn location(&self) -> Option<Location> {
        (self.line > 0).then(|| Location {
            file: self.file.as_str().into(),
            line: self.line,
            column: self.column,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of_message(self.message.as_str(), self.in_std())
    }
}
