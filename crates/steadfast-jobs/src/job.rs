//! What a job is: its kind, its payload, and how it is to be treated.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::Refusal;

/// The largest payload, as JSON: 1 MiB. Jobs are copied with each change of their state; what is
/// larger belongs into a table or a store of its own, with its key in the payload.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The longest name of a queue or a kind: 100 bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// The longest unique key, limit key or reason: 500 bytes, which an index of PostgreSQL takes.
pub const KEY_BYTES_MAX: usize = 500;

/// The longest wait before a job is due, the longest period of a key, the longest time before it
/// expires: ten years.
pub const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Work that is to be done once, whatever dies on the way: a value that is written into the store
/// and read back by whoever runs it.
///
/// The payload outlives the program that wrote it. Add fields with `#[serde(default)]`; for a
/// change that old nodes must not run, set [`Options::min_version`] or choose another kind.
///
/// # Examples
/// ```
/// use serde::{Deserialize, Serialize};
/// use steadfast_jobs::Job;
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order: u64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The name under which handlers are found: unique in the store, and never changed again.
    const KIND: &'static str;

    /// The queue it goes to, unless [`Options::queue`] says otherwise.
    const QUEUE: &'static str = "default";

    /// How many attempts it gets, the first one included, unless [`Options::max_attempts`] says
    /// otherwise: 20, which with the usual backoff is about a day.
    const MAX_ATTEMPTS: u32 = 20;
}

/// The number of a job: unique in its store, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) i64);

impl JobId {
    /// Gives the number.
    pub fn get(self) -> u64 {
        // Sequences of both databases begin at 1.
        self.0.unsigned_abs()
    }

    /// Gives the id with a number; `None` for one that no job can have.
    pub fn new(number: u64) -> Option<Self> {
        i64::try_from(number).ok().filter(|id| *id > 0).map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.0)
    }
}

/// How one job is to be treated; what is not said is as its [`Job`] says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    pub(crate) queue: Option<String>,
    pub(crate) priority: i16,
    pub(crate) delay: Duration,
    pub(crate) due_us: Option<i64>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) unique: Option<(String, Option<Duration>)>,
    pub(crate) limit_key: Option<String>,
    pub(crate) min_version: u32,
}

impl Options {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts it into this queue: 1 to [`NAME_BYTES_MAX`] bytes.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Has it claimed sooner (above 0) or later: -100 to 100, 0 unless set.
    ///
    /// One step is worth a minute of waiting: a job is passed by those of priority 1 that were due
    /// within a minute after it, and by no others. So none waits for ever.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Has it wait this long, by the clock of the database, before it is due; [`WAIT_MAX`] at most.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Has it wait until this point in time, by the clock of the database; [`delay`](Self::delay)
    /// does not count then.
    #[must_use]
    pub fn due_at(mut self, at: steadfast_core::clock::Timestamp) -> Self {
        self.due_us = Some(at.unix_millis().saturating_mul(1_000));
        self
    }

    /// Gives it this many attempts, the first one included: 1 to 1,000.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Has it cancelled if nobody has started it this long after it was enqueued.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Keeps others with this key out while the job is live. Who enqueues one gets the id of the
    /// job that has the key. The key counts in the whole store: begin it with the kind.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique = Some((key.into(), None));
        self
    }

    /// Keeps others with this key out for `period`, whether or not the job has ended: an
    /// idempotency key. Who repeats an enqueue whose answer was lost gets the same id.
    #[must_use]
    pub fn unique_for(mut self, key: impl Into<String>, period: Duration) -> Self {
        self.unique = Some((key.into(), Some(period)));
        self
    }

    /// Counts it against the limit of its queue for jobs with this key: a customer, a target.
    #[must_use]
    pub fn limit_key(mut self, key: impl Into<String>) -> Self {
        self.limit_key = Some(key.into());
        self
    }

    /// Leaves it to nodes of this version or a later one, as
    /// [`WorkerBuilder::version`](crate::worker::WorkerBuilder::version) says.
    #[must_use]
    pub fn min_version(mut self, version: u32) -> Self {
        self.min_version = version;
        self
    }
}

/// A job as it goes into the store: checked, with everything said.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) queue: String,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) payload: String,
    pub(crate) max_attempts: u32,
    pub(crate) options: Options,
}

impl Draft {
    pub(crate) fn of<J: Job>(job: &J, options: Options) -> Result<Self, Error> {
        let payload = serde_json::to_string(job).map_err(Error::payload)?;
        let queue = options.queue.clone();
        let draft = Self {
            queue: queue.unwrap_or_else(|| J::QUEUE.to_owned()),
            kind: Cow::Borrowed(J::KIND),
            payload,
            max_attempts: options.max_attempts.unwrap_or(J::MAX_ATTEMPTS),
            options,
        };
        draft.check()?;
        Ok(draft)
    }

    /// As [`of`](Self::of), for a type that is not known here.
    pub(crate) fn of_kind(kind: String, payload: String, options: Options) -> Result<Self, Error> {
        const ATTEMPTS: u32 = 20;
        if serde_json::from_str::<serde::de::IgnoredAny>(&payload).is_err() {
            return Err(Refusal::NotJson.into());
        }
        let queue = options.queue.clone();
        let draft = Self {
            queue: queue.unwrap_or_else(|| "default".into()),
            kind: Cow::Owned(kind),
            payload,
            max_attempts: options.max_attempts.unwrap_or(ATTEMPTS),
            options,
        };
        draft.check()?;
        Ok(draft)
    }

    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let options = &self.options;
        check_name("queue", &self.queue)?;
        check_name("kind", &self.kind)?;
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::Payload(self.payload.len()));
        }
        let depth = depth(&self.payload);
        if depth > DEPTH_MAX {
            return Err(Refusal::Depth(depth));
        }
        if !(1..=1_000).contains(&self.max_attempts) {
            return Err(Refusal::Attempts(self.max_attempts));
        }
        if !(-100..=100).contains(&options.priority) {
            return Err(Refusal::Priority(options.priority));
        }
        let unique = options.unique.as_ref();
        for (what, key) in [
            ("unique key", unique.map(|(key, _)| key)),
            ("limit key", options.limit_key.as_ref()),
        ] {
            if let Some(key) = key {
                check_key(what, key)?;
            }
        }
        for (what, length) in [
            ("delay", Some(options.delay)),
            ("time to expire", options.expires_in),
            (
                "period of the unique key",
                unique.and_then(|(_, period)| *period),
            ),
        ] {
            if length.is_some_and(|length| length > WAIT_MAX) {
                return Err(Refusal::Wait(what));
            }
        }
        Ok(())
    }
}

/// How deep the arrays and objects of a payload or a result may be: 128, where parsers of JSON give up by
/// default. PostgreSQL takes some thousands, and refuses more together with all that is told along with it.
pub(crate) const DEPTH_MAX: usize = 128;

/// Tells how deep arrays and objects are in JSON.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether a character is none that is seen in a name: it breaks the line, or joins, hides or turns what stands beside it.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_unseen) {
        return Err(Refusal::Name(what));
    }
    Ok(())
}

pub(crate) fn check_key(what: &'static str, key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        return Err(Refusal::Key(what));
    }
    Ok(())
}

/// Gives a length of time in microseconds; all that come here are bounded far below the end.
pub(crate) fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4)
}
