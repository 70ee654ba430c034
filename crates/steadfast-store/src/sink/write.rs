//! One transaction a batch.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use steadfast_core::batch::{Batch, BatchId, Sink, WriteError};
use steadfast_core::recover;
use steadfast_core::report::EventDoc;

use super::encode::{self, Parts};
use super::table::{Form, Table};
use super::{copy, outcome, text};
use crate::tx::Tx;
use crate::{Array, Binds, Dialect, Error, Store, Value, binds, schema};

/// Writes batches into a table. Cheap to clone; clones write the same.
pub struct TableSink<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    store: Store,
    table: Table,
    values: Box<dyn Fn(&T) -> Binds + Send + Sync>,
    texts: Texts,
    /// Whether writers that are long gone have been forgotten.
    tidy: AtomicBool,
}

/// Statements that are the same for each batch.
struct Texts {
    /// Takes any number of rows.
    unnest: Arc<str>,
    /// The same, with the mark of the batch in one statement.
    #[cfg(feature = "postgres")]
    marked: Arc<str>,
    copy: Arc<str>,
}

/// After so long a writer is not asked for any more: 7 days. A commit is in doubt for minutes, unless its process is cut off.
const WRITERS_KEPT_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// How much of a row that was given up is kept: 64 KiB of JSON, enough to see what it is.
const DEAD_BYTES_MAX: usize = 64 << 10;

/// How many placeholders the mark takes.
#[cfg(feature = "postgres")]
const MARK_PLACEHOLDERS: usize = 2;

impl<T> TableSink<T> {
    /// Makes a sink for a table; `values` gives those of a row, in the order of the columns. A panic in it fails its
    /// row, and no other.
    ///
    /// # Errors
    /// When the table cannot be as it is described (SF-1114). Whether it is there is found with the first batch:
    /// rows wait then.
    pub fn new(
        store: &Store,
        table: Table,
        values: impl Fn(&T) -> Binds + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let dialect = store.dialect();
        table.check(dialect)?;
        let texts = Texts {
            unnest: text::unnest(&table, dialect, 1, "").into(),
            #[cfg(feature = "postgres")]
            marked: marked(store, &table).into(),
            copy: text::copy(&table).into(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                store: store.clone(),
                table,
                values: Box::new(values),
                texts,
                tidy: AtomicBool::new(false),
            }),
        })
    }

    /// Gives the bytes of a row, for [`sized`](steadfast_core::batch::BatchBuilder::sized).
    pub fn bytes(&self, row: &T) -> usize {
        (self.inner.values)(row).iter().map(encode::size).sum()
    }
}

#[cfg(feature = "postgres")]
fn marked(store: &Store, table: &Table) -> String {
    let mark = schema::BATCH_MARK.for_postgres(&store.config().schema);
    let only_if = " WHERE EXISTS (SELECT FROM mark)";
    let insert = text::unnest(table, Dialect::Postgres, 1 + MARK_PLACEHOLDERS, only_if);
    format!("WITH mark AS ({mark}) {insert}")
}

impl<T: Send + Sync + 'static> Sink<T> for TableSink<T> {
    async fn write(&self, batch: Batch<'_, T>) -> Result<(), WriteError> {
        let inner = &self.inner;
        // One net for all of them, which is cheaper than one for each row.
        let at = Cell::new(0);
        let rows = recover(|| {
            let values = batch.rows().iter().enumerate().map(|(row, of)| {
                at.set(row);
                (inner.values)(of)
            });
            values.collect()
        });
        let rows = rows.map_err(|panic| WriteError::row_at(at.get(), panic))?;
        let parts = encode::parts(&inner.table, rows)?;
        inner.write(batch.id(), parts).await.map_err(outcome::of)
    }

    async fn settle(&self, id: BatchId) -> Result<bool, WriteError> {
        match self.inner.table.is_once() {
            true => self.inner.settle(id).await.map_err(outcome::of),
            false => Ok(false),
        }
    }

    fn is_same_key(&self, earlier: &T, later: &T) -> bool {
        let values = &self.inner.values;
        encode::is_twin(&self.inner.table, &values(earlier), &values(later))
    }

    async fn dead(&self, row: &T, error: &WriteError) {
        if self.inner.table.keep_dead {
            // Of a row whose values cannot be had at least the reason is kept.
            let row = recover(|| (self.inner.values)(row)).unwrap_or_default();
            self.inner.bury(row, error).await;
        }
    }
}

impl<T> Inner<T> {
    async fn write(&self, id: BatchId, mut parts: Parts) -> Result<(), Error> {
        if self.table.is_once() && !self.tidy.swap(true, Ordering::Relaxed) {
            let forget = binds![WRITERS_KEPT_US];
            self.store.run(&schema::BATCH_FORGET, forget).await?;
        }
        #[cfg(feature = "postgres")]
        if self.table.form == Form::Unnest
            && parts.len() == 1
            && self.store.dialect() == Dialect::Postgres
            && let Some(rows) = parts.pop()
        {
            let columns = encode::columns(&self.table, rows);
            return self.in_one_statement(id, columns).await;
        }
        let mut tx = self.store.begin().await?;
        if self.table.is_once() {
            let marked = tx.run(&schema::BATCH_MARK, mark(id)).await?;
            if marked.is_empty() {
                return tx.roll_back().await;
            }
        }
        for rows in parts.drain(..) {
            self.statement(&mut tx, rows).await?;
        }
        tx.commit().await
    }

    async fn settle(&self, id: BatchId) -> Result<bool, Error> {
        let rows = self.store.run(&schema::BATCH_SETTLE, mark(id)).await?;
        let noted: i64 = rows.one()?.get(0)?;
        Ok(noted == id.number() as i64)
    }

    /// Writes all rows, and the mark where there is one, in one round trip.
    #[cfg(feature = "postgres")]
    async fn in_one_statement(&self, id: BatchId, columns: Vec<Array>) -> Result<(), Error> {
        let (text, mut binds) = match self.table.is_once() {
            true => (&self.texts.marked, mark(id)),
            false => (&self.texts.unnest, Binds::new()),
        };
        binds.push(Value::Batch(columns));
        self.store.run_made(text.clone(), &binds).await.map(drop)
    }

    async fn statement(&self, tx: &mut Tx<'static>, rows: Vec<Binds>) -> Result<(), Error> {
        let dialect = self.store.dialect();
        match self.table.form {
            Form::Unnest => {
                let columns = encode::columns(&self.table, rows);
                let binds = vec![Value::Batch(columns)];
                tx.made(self.texts.unnest.clone(), true, binds).await?;
            }
            Form::Values => {
                let at_once = (text::placeholders_max(dialect) / self.table.columns.len()).max(1);
                for rows in rows.chunks(at_once) {
                    let text = text::values(&self.table, dialect, rows.len());
                    tx.made(text.into(), false, rows.concat()).await?;
                }
            }
            Form::Copy => {
                tx.copy_in(self.texts.copy.clone(), copy::lines(&rows))
                    .await?
            }
        }
        Ok(())
    }

    /// Keeps a row that cannot be written. If that fails too, the log has its error.
    async fn bury(&self, row: Binds, error: &WriteError) {
        let mut document = encode::document(&self.table, row);
        let mut end = document.len().min(DEAD_BYTES_MAX);
        while !document.is_char_boundary(end) {
            end -= 1;
        }
        document.truncate(end);
        let reason = error.to_string().replace('\0', "\u{fffd}");
        let binds = binds![self.table.name.clone(), reason, document];
        if let Err(error) = self.store.run(&schema::BATCH_DEAD_ADD, binds).await {
            tracing::error!(
                target: "steadfast::store",
                table = self.table.name.as_str(),
                error = %error,
                "a row that was given up is not kept"
            );
        }
    }
}

/// What it tells.
pub(crate) const EVENTS: &[EventDoc] = &[EventDoc::new(
    "steadfast::store",
    &["error"],
    "a row that was given up is not kept",
    &["error", "table"],
)
.when("A row could not be written, and neither could its entry in `batch_dead`.")
.action("The row is lost unless its sender has it still, who was told; the line before has why it was given up.")];

fn mark(id: BatchId) -> Binds {
    // Only equality counts, so the sign does not matter.
    binds![id.writer() as i64, id.number() as i64]
}

impl<T> Clone for TableSink<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> fmt::Debug for TableSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSink")
            .field("table", &self.inner.table)
            .finish_non_exhaustive()
    }
}
