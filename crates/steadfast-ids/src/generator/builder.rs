//! Setting a generator up, with a worker id that is known.

use std::time::Duration;

use steadfast_core::clock;

use super::{Generator, Source};
use crate::snowflake::{Anchor, Layout, Snowflake, WorkerTooLarge};

/// Sets a [`Generator`] up whose worker id is known.
#[derive(Clone, Debug)]
#[must_use = "a generator is made by `build`"]
pub struct GeneratorBuilder {
    layout: Layout,
    worker: u64,
    lead: Duration,
}

/// Says why a generator cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] pub(crate) Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Worker(#[from] WorkerTooLarge),
    #[error(
        "the wall clock shows {now_ms} ms since 1970, before the epoch of the layout at {epoch_ms} ms: set the clock"
    )]
    Clock { now_ms: i64, epoch_ms: i64 },
    #[error("a lead of {0:?} is over {most:?}", most = GeneratorBuilder::LONGEST_LEAD)]
    Lead(Duration),
    #[error("the layout ended {0} days ago: ids need another one")]
    Ended(i64),
}

impl GeneratorBuilder {
    /// How far ids may run ahead of the time unless told otherwise: 10 ms.
    ///
    /// A burst of ten times what a tick has goes through without a wait, and order between workers is not
    /// worse than what the clocks of their machines make it.
    pub const DEFAULT_LEAD: Duration = Duration::from_millis(10);

    /// The longest lead: 10 s. A restart has to leave it out, and ids of the future confuse people.
    pub const LONGEST_LEAD: Duration = Duration::from_secs(10);

    pub(super) fn new(worker: u64) -> Self {
        Self {
            layout: Layout::DEFAULT,
            worker,
            lead: Self::DEFAULT_LEAD,
        }
    }

    /// Sets the layout; [`Layout::DEFAULT`] unless set.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets how far ids may run ahead of the time; [`DEFAULT_LEAD`](Self::DEFAULT_LEAD) unless set. Rounded up
    /// to ticks.
    pub fn lead(mut self, lead: Duration) -> Self {
        self.lead = lead;
        self
    }

    /// Makes the generator, and has it tell about itself in [`report`](mod@steadfast_core::report).
    ///
    /// # Errors
    /// [`StartError`]: the worker id has no room in the layout, the wall clock shows a time before the epoch
    /// or after the end of the layout, or the lead is too long.
    pub fn build(self) -> Result<Generator, StartError> {
        let (anchor, now_ns) = start(&self.layout, self.lead)?;
        let lead_ns = self.lead.as_nanos() as u64;
        let ids = Snowflake::new(self.layout, self.worker, lead_ns, now_ns);
        let ids = ids.map_err(Refusal::from)?;
        Ok(Generator::new(Source::Own { ids, anchor }))
    }
}

/// Makes sure that a layout has ids now, and gives its time.
pub(crate) fn start(layout: &Layout, lead: Duration) -> Result<(Anchor, u64), Refusal> {
    if lead > GeneratorBuilder::LONGEST_LEAD {
        return Err(Refusal::Lead(lead));
    }
    let (monotonic_ns, now_ms) = (clock::nanos(), clock::timestamp().unix_millis());
    let epoch_ms = layout.epoch().unix_millis();
    if now_ms < epoch_ms {
        return Err(Refusal::Clock { now_ms, epoch_ms });
    }
    let over_ms = now_ms.saturating_sub(layout.end().unix_millis());
    if over_ms >= 0 {
        return Err(Refusal::Ended(over_ms / 86_400_000));
    }
    let anchor = Anchor::new(epoch_ms, monotonic_ns, now_ms);
    let now_ns = anchor.since_epoch_ns(monotonic_ns);
    Ok((anchor, now_ns))
}
