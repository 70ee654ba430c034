use std::fmt;

use crate::clock::{self, Instant};
use crate::context::{Captured, InContext, Name, SpanId, TraceId};
use crate::text::Text;

/// The block of facts about the work at hand; `Copy`, so that it can be set at every poll.
///
/// An absent fact is `None`; a fresh context has none and [`Tier::DEFAULT`].
#[derive(Clone, Copy)]
pub struct Context {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    deadline: Option<Instant>,
    job: Option<u64>,
    change: Option<u64>,
    route: Option<Name>,
    tenant: Tag,
    attempt: u32,
    tier: Tier,
}

impl Context {
    /// Makes a context that says nothing.
    pub const fn new() -> Self {
        Self {
            trace_id: None,
            span_id: None,
            deadline: None,
            job: None,
            change: None,
            route: None,
            tenant: Tag::EMPTY,
            attempt: 0,
            tier: Tier::DEFAULT,
        }
    }

    /// Gives the id that ties together all that happens for one request or job.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Sets the trace id.
    pub fn with_trace_id(mut self, id: TraceId) -> Self {
        self.trace_id = Some(id);
        self
    }

    /// Gives the id of the innermost timed part.
    pub fn span_id(&self) -> Option<SpanId> {
        self.span_id
    }

    /// Sets the span id.
    pub fn with_span_id(mut self, id: SpanId) -> Self {
        self.span_id = Some(id);
        self
    }

    /// Gives the importance of the work when there is not enough for all.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Sets the tier.
    pub fn with_tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// Gives the point in time after which nobody wants the answer.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Shortens the deadline: the earlier one of `deadline` and the present one holds.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |own| own.min(deadline)));
        self
    }

    /// Gives the time that is left to the deadline, zero when it has passed.
    pub fn time_left(&self) -> Option<std::time::Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(clock::now()))
    }

    /// Gives the customer for whom the work is done.
    pub fn tenant(&self) -> Option<&str> {
        Some(self.tenant.as_str()).filter(|tenant| !tenant.is_empty())
    }

    /// Sets the tenant; an empty [`Tag`] removes it.
    pub fn with_tenant(mut self, tenant: Tag) -> Self {
        self.tenant = tenant;
        self
    }

    /// Gives the template of the route, never a raw path.
    pub fn route(&self) -> Option<Name> {
        self.route
    }

    /// Sets the route.
    pub fn with_route(mut self, route: impl Into<Name>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Gives the number of the job.
    pub fn job(&self) -> Option<u64> {
        self.job
    }

    /// Gives the attempt of the job, counted from 1; 0 when there is no job.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Sets the job and its attempt, counted from 1.
    pub fn with_job(mut self, job: u64, attempt: u32) -> Self {
        self.job = Some(job);
        self.attempt = attempt;
        self
    }

    /// Gives the number of the configuration change under which the work is done.
    pub fn change(&self) -> Option<u64> {
        self.change
    }

    /// Sets the configuration change.
    pub fn with_change(mut self, change: u64) -> Self {
        self.change = Some(change);
        self
    }

    /// Calls `f` in this context; the scope path and the values of [`put`](super::put) stay.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        Captured::with_block(self).run(f)
    }

    /// Gives the context at hand with these facts, to be taken along.
    pub fn captured(self) -> Captured {
        Captured::with_block(self)
    }

    /// Makes every poll of `future`, and its drop, happen in this context; the scope path and the
    /// values of [`put`](super::put) are those of the caller.
    ///
    /// # Cancel safety
    /// As the future's own.
    pub fn wrap<F: Future>(self, future: F) -> InContext<F> {
        Captured::with_block(self).wrap(future)
    }

    /// Replaces the deadline.
    pub(super) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn of_body(mut self, deadline: Option<Instant>) -> Self {
        self.trace_id = self.trace_id.or_else(|| Some(TraceId::random()));
        self.span_id = Some(SpanId::random());
        match deadline {
            Some(deadline) => self.with_deadline(deadline),
            None => self,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Context");
        let mut known = |name, value: Option<&dyn fmt::Debug>| {
            if let Some(value) = value {
                fields.field(name, value);
            }
        };
        known("trace_id", self.trace_id.as_ref().map(|v| v as _));
        known("span_id", self.span_id.as_ref().map(|v| v as _));
        known("tier", Some(&self.tier));
        known("deadline", self.deadline.as_ref().map(|v| v as _));
        known("tenant", self.tenant().as_ref().map(|v| v as _));
        known("route", self.route.as_ref().map(|v| v as _));
        known("job", self.job.as_ref().map(|v| v as _));
        known("attempt", self.job.map(|_| &self.attempt as _));
        known("change", self.change.as_ref().map(|v| v as _));
        fields.finish()
    }
}

/// Who is served first when there is not enough for all: the lower number first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u8);

impl Tier {
    /// What the service exists for.
    pub const CORE: Tier = Tier(0);

    /// What nobody said anything about.
    pub const DEFAULT: Tier = Tier(1);

    /// How many tiers there are: 8, more than people can tell apart in an emergency.
    pub const COUNT: usize = 8;

    /// Makes a tier; `None` when `number` is not below [`Tier::COUNT`].
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Gives the number, 0 for the most important one.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Default for Tier {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("core"),
            number => write!(f, "tier {number}"),
        }
    }
}

/// A short text that is `Copy`: at most [`Tag::BYTES_MAX`] bytes, long enough for a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(Text<{ Tag::BYTES_MAX }>);

/// Says that a text is longer than [`Tag::BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are too long for a tag: at most {}", Tag::BYTES_MAX)]
pub struct TagTooLong {
    bytes: usize,
}

impl Tag {
    /// The longest tag, in bytes.
    pub const BYTES_MAX: usize = 39;

    const EMPTY: Tag = Tag(Text::EMPTY);

    /// Copies a text.
    ///
    /// # Errors
    /// [`TagTooLong`] for more than [`Tag::BYTES_MAX`] bytes: a tag that was cut could be taken
    /// for somebody else's.
    pub fn new(text: &str) -> Result<Self, TagTooLong> {
        let bytes = text.len();
        if bytes > Self::BYTES_MAX {
            return Err(TagTooLong { bytes });
        }
        Ok(Self(Text::head(text)))
    }

    /// Gives the text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_only_shortens() {
        let now = clock::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));

        let context = Context::new().with_deadline(soon).with_deadline(late);

        assert_eq!(context.deadline(), Some(soon));
    }

    #[test]
    fn a_tag_holds_a_uuid_and_refuses_what_it_would_have_to_cut() {
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";

        assert_eq!(Tag::new(uuid).unwrap().as_str(), uuid);
        assert!(Tag::new(&"x".repeat(40)).is_err());
    }

    #[test]
    fn the_block_stays_small_enough_to_be_set_at_every_poll() {
        assert!(size_of::<Context>() <= 160, "{}", size_of::<Context>());
    }
}
