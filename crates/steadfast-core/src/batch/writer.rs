use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::{Permit, Sender, error::TrySendError};
use tokio::sync::{oneshot, watch};

use super::books::Books;
use super::queue::{Answer, Entry, Item};
use super::receipt::Reason;
use super::{BatchBuilder, BatchConfig, BatchStats, Receipt, Rejected, Sink};
use crate::clock::{self, Instant};
use crate::context::{self, Name};

/// Writes rows in batches; see the [module](super). A cheap clone.
///
/// When the last one is dropped, what is queued is written within
/// [`drain_max`](BatchConfig::drain_max), if the runtime lives so long; [`drain`](Self::drain) waits
/// for it.
pub struct BatchWriter<T> {
    pub(super) owner: Arc<Owner<T>>,
}

pub(super) type Bytes<T> = Option<Box<dyn Fn(&T) -> usize + Send + Sync>>;

pub(super) struct Owner<T> {
    pub(super) name: Name,
    pub(super) rows: Sender<Item<T>>,
    pub(super) bytes: Bytes<T>,
    pub(super) books: Arc<Books>,
    pub(super) drain: watch::Sender<Option<Instant>>,
    pub(super) end: watch::Receiver<Option<BatchStats>>,
}

impl<T: Send + Sync + 'static> BatchWriter<T> {
    /// Describes a writer.
    pub fn builder<S: Sink<T>>(config: BatchConfig, sink: S) -> BatchBuilder<T, S> {
        BatchBuilder::new(config, sink)
    }

    /// Sends a row; waits while the queue is full, in the order of those who wait.
    ///
    /// # Errors
    /// [`Rejected`] when it is closed, also while waiting.
    ///
    /// # Cancel safety
    /// When dropped before it is done, the row was not taken; the place in line is lost.
    pub async fn send(&self, row: T) -> Result<Receipt, Rejected<T>> {
        match self.room().await {
            Some(room) => self.put(room, row),
            None => Err(self.rejected(row, Reason::Closed)),
        }
    }

    /// Sends a row if there is room now.
    ///
    /// # Errors
    /// [`Rejected`] when the queue is full (it may be tried again later) or the writer is closed.
    pub fn try_send(&self, row: T) -> Result<Receipt, Rejected<T>> {
        match self.owner.rows.try_reserve() {
            Ok(room) => self.put(room, row),
            Err(TrySendError::Full(())) => Err(self.rejected(row, Reason::Full)),
            Err(TrySendError::Closed(())) => Err(self.rejected(row, Reason::Closed)),
        }
    }

    /// Sends a row as [`send`](Self::send) does, if there is room before `deadline`.
    ///
    /// # Errors
    /// [`Rejected`] when the deadline comes first (it may be tried again later) or the writer is
    /// closed.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_until(&self, deadline: Instant, row: T) -> Result<Receipt, Rejected<T>> {
        tokio::select! {
            biased;
            room = self.room() => match room {
                Some(room) => self.put(room, row),
                None => Err(self.rejected(row, Reason::Closed)),
            },
            () = clock::sleep_until(deadline) => Err(self.rejected(row, Reason::Late)),
        }
    }

    /// Writes at once what was sent before, without waiting for more; done when each of these rows
    /// is written or given up, or the writer has ended.
    ///
    /// # Cancel safety
    /// When dropped while it waits for room in the queue nothing happens; afterwards they are
    /// written all the same.
    pub async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.owner.rows.send(Item::Flush(done)).await.is_ok() {
            // An error is the end of the writer.
            let _ = is_done.await;
        }
    }

    /// Takes no more rows, from this call on; the future is done when all are decided or at the
    /// deadline, and gives the last stats. What is [`left`](BatchStats::left) then is told in the log
    /// as well.
    ///
    /// The earliest deadline of several calls holds.
    ///
    /// # Cancel safety
    /// The writer goes on draining when it is dropped.
    pub fn drain(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = BatchStats> + Send + 'static + use<T> {
        self.owner.books.closed();
        self.owner.drain.send_modify(|drain| {
            *drain = Some(drain.map_or(deadline, |earlier| earlier.min(deadline)));
        });
        let mut end = self.owner.end.clone();
        let books = self.owner.books.clone();
        async move {
            match end.wait_for(Option::is_some).await {
                Ok(stats) => stats.clone().unwrap_or_else(|| books.end()),
                // Its runtime has ended.
                Err(_) => books.end(),
            }
        }
    }

    /// Gives what it does at this moment. The [report](crate::report) has the same, by itself.
    pub fn stats(&self) -> BatchStats {
        self.owner.books.stats()
    }

    /// Waits for room in the queue; `None` once the writer is closed, however long it has still to write.
    async fn room(&self) -> Option<Permit<'_, Item<T>>> {
        if let Ok(room) = self.owner.rows.try_reserve() {
            return Some(room);
        }
        let mut drain = self.owner.drain.subscribe();
        tokio::select! {
            biased;
            _ = drain.wait_for(Option::is_some) => None,
            room = self.owner.rows.reserve() => room.ok(),
        }
    }

    fn put(&self, room: Permit<'_, Item<T>>, row: T) -> Result<Receipt, Rejected<T>> {
        if self.owner.drain.borrow().is_some() {
            return Err(self.rejected(row, Reason::Closed));
        }
        let bytes = self.owner.bytes.as_ref().map_or(0, |bytes| bytes(&row));
        let (answer, receipt) = Receipt::new();
        let answer = Answer::new(answer, context::current().trace_id());
        let entry = Entry { row, bytes, answer };
        let sent = self
            .owner
            .books
            .accept(entry, |entry| room.send(Item::Row(entry)));
        match sent {
            Ok(()) => Ok(receipt),
            Err(entry) => Err(self.rejected(entry.row, Reason::Closed)),
        }
    }

    fn rejected(&self, row: T, reason: Reason) -> Rejected<T> {
        self.owner.books.rejected(reason);
        Rejected {
            row,
            writer: self.owner.name,
            reason,
        }
    }
}

impl<T> Clone for BatchWriter<T> {
    fn clone(&self) -> Self {
        Self {
            owner: self.owner.clone(),
        }
    }
}

impl<T> fmt::Debug for BatchWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BatchWriter")
            .field(&self.owner.books.stats())
            .finish()
    }
}
