use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::arrange::{self, Arrange};
use super::books::Books;
use super::config::Refusal;
use super::look::keep_looking;
use super::worker::Worker;
use super::writer::{Bytes, Owner};
use super::{BatchConfig, BatchError, BatchWriter, Look, Permits, Sink};
use crate::decide::batch::{BatchSize, Circuit, Pressure};
use crate::{report, spawn};

/// Describes a [`BatchWriter`]; made by [`BatchWriter::builder`].
pub struct BatchBuilder<T, S> {
    config: BatchConfig,
    sink: S,
    bytes: Bytes<T>,
    arrange: Option<Arrange<T>>,
    looks: Option<StartLooking>,
    permits: Option<Permits>,
}

type Seen = watch::Sender<Option<(Pressure, u64)>>;
type StartLooking = Box<dyn FnOnce(Seen, Arc<Books>) + Send>;

impl<T: Send + Sync + 'static, S: Sink<T>> BatchBuilder<T, S> {
    pub(super) fn new(config: BatchConfig, sink: S) -> Self {
        Self {
            config,
            sink,
            bytes: None,
            arrange: None,
            looks: None,
            permits: None,
        }
    }

    /// Says how many bytes a row is; without it only rows are counted. A panic is the sender's.
    #[must_use]
    pub fn sized(mut self, bytes: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.bytes = Some(Box::new(bytes));
        self
    }

    /// Sorts the rows of a batch by a key, those of one key in the order in which they came. Two
    /// writers that lock rows in this order do not deadlock.
    ///
    /// If `key` panics, its row is given up with the panic as the reason.
    #[must_use]
    pub fn keyed<K: Ord>(mut self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        self.arrange = Some(arrange::by_key(key));
        self
    }

    /// Sorts as [`keyed`](Self::keyed), and folds the later rows of a key within a batch into the
    /// first: `|kept, newer| *kept = newer` keeps the newest. All of them are written when it is.
    ///
    /// If `fold` panics, the newer row is gone and its sender told so; what it made of the other is
    /// written.
    #[must_use]
    pub fn folding<K: Ord>(
        mut self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        fold: impl Fn(&mut T, T) + Send + Sync + 'static,
    ) -> Self {
        self.arrange = Some(arrange::folding(key, fold));
        self
    }

    /// Looks at the database while it is written to, and takes turns with other writers if the look has
    /// [permits](Look::permits) for them.
    #[must_use]
    pub fn looking(mut self, look: impl Look) -> Self {
        let permits = look.permits();
        self.permits = permits.clone();
        self.looks = Some(Box::new(move |seen, books| {
            drop(spawn("look", keep_looking(look, permits, books, seen)));
        }));
        self
    }

    /// Makes the writer and starts it.
    ///
    /// # Errors
    /// [`BatchError`] when a value of the config is out of its range, when replicas are limited and
    /// nobody looks at them, or when there is no tokio runtime around.
    pub fn start(self) -> Result<BatchWriter<T>, BatchError> {
        self.config.check()?;
        if self.config.size.lag_max.is_some() && self.looks.is_none() {
            return Err(Refusal::Unwatched.into());
        }
        let size = BatchSize::new(self.config.size).map_err(Refusal::Size)?;
        let size = size.with_timeout(self.config.write_timeout);
        Handle::try_current().map_err(|_| Refusal::NoRuntime)?;

        let name = self.config.name;
        let books = Arc::new(Books::new(name));
        // Without a place in the report it still writes.
        let _ = report::register("batch", &books);
        let looked = self.looks.map(|start| {
            let (seen, looked) = watch::channel(None);
            start(seen, books.clone());
            looked
        });
        let (rows, inbox) = mpsc::channel(self.config.queue_max);
        let (drain, drained_by) = watch::channel(None);
        let (ended, end) = watch::channel(None);
        let circuit = Circuit::new(self.config.bad_max, self.config.backoff);
        let member = self.permits.map(|permits| permits.join(&self.config.size));
        let worker = Worker::new(
            self.config,
            self.sink,
            self.arrange,
            books.clone(),
            inbox,
            (member, looked),
            (size, circuit),
        );
        drop(spawn(name, worker.run(drained_by, ended)));
        Ok(BatchWriter {
            owner: Arc::new(Owner {
                name,
                rows,
                bytes: self.bytes,
                books,
                drain,
                end,
            }),
        })
    }
}

impl<T, S> std::fmt::Debug for BatchBuilder<T, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
