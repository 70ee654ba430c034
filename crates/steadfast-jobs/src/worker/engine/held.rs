//! What a node holds.

use std::collections::VecDeque;
use std::sync::Arc;

use steadfast_core::Cancel;

use super::Engine;
use crate::decide::pace::Floor;
use crate::decide::poll::Poll;
use crate::worker::{Kind, Run};

/// What a node holds of one queue.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) permits: usize,
    pub(super) running: usize,
    pub(super) ready: VecDeque<Claimed>,
    pub(super) floor: Floor,
    /// Whether it has limits, and is claimed from by `claim_limited`.
    pub(super) limited: bool,
    /// When that is next due, after how many answers without a job.
    pub(super) poll: Poll,
    pub(super) next_poll: u64,
    /// From which key on those held back are looked at.
    pub(super) from_key: String,
}

impl Queue {
    pub(super) fn has_room(&self) -> bool {
        self.running + self.ready.len() < self.permits
    }
}

/// A run under way.
pub(super) struct Flight {
    pub(super) queue: usize,
    pub(super) kind: Arc<Kind>,
    pub(super) run: Run,
    pub(super) cancel: Cancel,
    pub(super) suspect: bool,
    /// When it should have ended, whatever it does.
    pub(super) over: u64,
}

/// A job that is ours.
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) term: i64,
    pub(super) queue: usize,
    pub(super) kind: Arc<Kind>,
    pub(super) payload: String,
    pub(super) spent: u32,
    pub(super) max_attempts: u32,
    pub(super) crashes: u32,
    pub(super) rank_us: i64,
    pub(super) trace_id: Option<String>,
}

impl Engine {
    /// Reads a claimed job; `skip` columns come before it.
    pub(super) fn claimed(&self, row: &steadfast_store::Row, skip: usize) -> Option<Claimed> {
        let read = || -> Result<Option<Claimed>, steadfast_store::Error> {
            let (queue, kind): (&str, &str) = (row.get(skip + 2)?, row.get(skip + 3)?);
            let queue = self.queues.iter().position(|known| known.name == queue);
            let (Some(queue), Some(kind)) = (queue, self.settings.kinds.get(kind)) else {
                return Ok(None);
            };
            let count = |value: i64| u32::try_from(value).unwrap_or(0);
            Ok(Some(Claimed {
                id: row.get(skip)?,
                term: row.get(skip + 1)?,
                queue,
                kind: kind.clone(),
                payload: row.get(skip + 4)?,
                spent: count(row.get(skip + 5)?),
                max_attempts: count(row.get(skip + 6)?),
                crashes: count(row.get(skip + 7)?),
                rank_us: row.get(skip + 8)?,
                trace_id: row.get(skip + 9)?,
            }))
        };
        match read() {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(target: "steadfast::jobs", %error, "a claimed job cannot be read");
                None
            }
        }
    }
}
