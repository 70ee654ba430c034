//! What travels from senders to the worker.

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::WriteError;
use crate::context::TraceId;

/// What is in the queue, in order.
pub(super) enum Item<T> {
    Row(Entry<T>),
    /// All that came before is decided when this is answered.
    Flush(oneshot::Sender<()>),
}

/// A row on its way.
pub(super) struct Entry<T> {
    pub(super) row: T,
    pub(super) bytes: usize,
    pub(super) answer: Answer,
}

/// Those who want to know what becomes of a row: one, or several that were folded into it.
pub(super) struct Answer {
    senders: SmallVec<[oneshot::Sender<Result<(), WriteError>>; 1]>,
    /// Who sent it, for the line in the log.
    pub(super) trace_id: Option<TraceId>,
}

impl Answer {
    pub(super) fn new(
        sender: oneshot::Sender<Result<(), WriteError>>,
        trace_id: Option<TraceId>,
    ) -> Self {
        let mut senders = SmallVec::new();
        senders.push(sender);
        Self { senders, trace_id }
    }

    /// Lets another row's senders have the answer of this one, too.
    pub(super) fn fold(&mut self, other: Answer) {
        self.senders.extend(other.senders);
    }

    /// How many rows it answers for.
    pub(super) fn rows(&self) -> u64 {
        self.senders.len() as u64
    }

    pub(super) fn give(self, answer: &Result<(), WriteError>) {
        for sender in self.senders {
            // Whoever dropped the receipt does not want to know.
            let _ = sender.send(answer.clone());
        }
    }
}
