//! Enqueueing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use steadfast_core::{context, spawn};
use steadfast_store::{Array, Row, Store, Tx, Value, Wakes, binds};
use tokio::sync::watch;

use crate::error::{Refusal, Repr};
use crate::job::{Draft, micros};
use crate::wake::{CHANNEL, Call, Signal, Wake, pass_on};
use crate::{Error, Job, JobId, Options, sql};

/// How many jobs one call can enqueue: 10,000. They are one statement, whose memory and time have
/// to have a bound; more are several calls, or several in one transaction.
pub const BATCH_MAX: usize = 10_000;

/// How often a key that changes hands in this very moment is looked for again.
pub(crate) const KEY_TURNS: usize = 10;

/// The jobs of a store: enqueues them, and changes them from outside. Cheap to clone.
///
/// Workers that are made from one of the clones are woken at once by what the others enqueue; those
/// of other processes a little later, or at their next poll where the store cannot push.
#[derive(Clone)]
pub struct Jobs {
    store: Store,
    signal: Arc<watch::Sender<Signal>>,
}

impl Jobs {
    /// Brings the tables of jobs up to date.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    ///
    /// # Cancel safety
    /// Dropped half-way, it has applied some migrations, each in whole.
    pub async fn open(store: &Store) -> Result<Self, Error> {
        store.migrate(&sql::PACKAGE).await?;
        let signal = Arc::new(watch::Sender::new(Signal::default()));
        spawn("jobs wake-ups", pass_on(store.clone(), signal.subscribe()));
        Ok(Self {
            store: store.clone(),
            signal,
        })
    }

    /// Gives the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Enqueues a job, in a transaction of its own.
    ///
    /// Once this has returned `Ok`, the job ends in a terminal state, whatever dies, as long as
    /// there are workers for its kind.
    ///
    /// # Errors
    /// When it is out of bounds, or the store refuses. After an error whose
    /// [outcome is unknown](Error::is_outcome_unknown) it may be there; with
    /// [`Options::unique_for`] it can be enqueued again without being there twice.
    ///
    /// # Cancel safety
    /// Dropped half-way, the job may be there or not.
    ///
    /// # Examples
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use steadfast_jobs::{Error, Job, Jobs, Options};
    /// # use steadfast_store::{Config, Store};
    /// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
    /// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
    /// # let folder = std::env::temp_dir().join(format!("jobs-doc-enqueue-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    /// let jobs = Jobs::open(&store).await?;
    ///
    /// let receipt = SendReceipt { order: 4711 };
    /// let id = jobs.enqueue(&receipt, Options::new()).await?;
    ///
    /// let once = Options::new().unique(format!("send_receipt/{}", receipt.order));
    /// let first = jobs.enqueue(&receipt, once.clone()).await?;
    /// assert_eq!(jobs.enqueue(&receipt, once).await?, first);
    /// assert_ne!(id, first);
    /// # store.close().await; std::fs::remove_dir_all(folder).unwrap();
    /// # Ok(()) }
    /// ```
    pub async fn enqueue<J: Job>(&self, job: &J, options: Options) -> Result<JobId, Error> {
        let mut batch = Batch::new();
        batch.push(job, options)?;
        let ids = self.enqueue_batch(batch).await?;
        ids.first().copied().ok_or(Repr::Answer("no id").into())
    }

    /// Enqueues a job of a kind whose type is not known here, with a payload in JSON: into the queue
    /// `default` and with 20 attempts, unless the options say otherwise.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue), and when the payload is not JSON.
    ///
    /// # Cancel safety
    /// As [`enqueue`](Self::enqueue).
    pub async fn enqueue_kind(
        &self,
        kind: impl Into<String>,
        payload: impl Into<String>,
        options: Options,
    ) -> Result<JobId, Error> {
        let enqueued = self.enqueue_kind_or_find(kind, payload, options).await?;
        Ok(enqueued.id)
    }

    /// Does as [`enqueue_kind`](Self::enqueue_kind), and tells whether the job is new, or another one has its unique key.
    ///
    /// # Errors
    /// As [`enqueue_kind`](Self::enqueue_kind).
    ///
    /// # Cancel safety
    /// As [`enqueue`](Self::enqueue).
    pub async fn enqueue_kind_or_find(
        &self,
        kind: impl Into<String>,
        payload: impl Into<String>,
        options: Options,
    ) -> Result<Enqueued, Error> {
        let draft = Draft::of_kind(kind.into(), payload.into(), options)?;
        let Some((key, _)) = draft.options.unique.clone() else {
            let mut batch = Batch::new();
            batch.push_draft(draft);
            let ids = self.enqueue_batch(batch).await?;
            let id = ids.first().copied().ok_or(Repr::Answer("no id"))?;
            return Ok(Enqueued { id, is_new: true });
        };
        let draft = [draft];
        let call = Call::new(&self.signal, &draft);
        for _ in 0..KEY_TURNS {
            if let Some(enqueued) = self.enqueue_alone(&draft).await? {
                call.send();
                return Ok(enqueued);
            }
        }
        Err(Repr::Contended(key).into())
    }

    /// Enqueues many jobs, in one transaction; gives their ids, in order.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); none is enqueued then.
    ///
    /// # Cancel safety
    /// Dropped half-way, all of them may be there or none.
    pub async fn enqueue_batch(&self, batch: Batch) -> Result<Vec<JobId>, Error> {
        let call = Call::new(&self.signal, &batch.drafts);
        let alone = batch.len() == 1 && !batch.is_plain();
        let known = if alone {
            self.enqueue_alone(&batch.drafts).await?
        } else {
            None
        };
        let ids = if let Some(known) = known {
            vec![known.id]
        } else if batch.is_plain() {
            let rows = self
                .store
                .run(&sql::ENQUEUE, binds![columns(&batch.drafts)]);
            ids_in_order(rows.await?, batch.len())?
        } else {
            let mut tx = self.store.begin().await?;
            let ids = insert(&mut tx, batch).await?;
            tx.commit().await?;
            ids
        };
        call.send();
        Ok(ids)
    }

    /// Enqueues one job with a key, without a transaction that others would have to wait for; `None`
    /// when the key changes hands in this very moment.
    async fn enqueue_alone(&self, draft: &[Draft]) -> Result<Option<Enqueued>, Error> {
        let as_told = |row: &Row, is_new| {
            let id = JobId(row.get(1)?);
            Ok::<_, Error>(Enqueued { id, is_new })
        };
        let binds = binds![keyed_columns(draft)];
        let rows = self.store.run(&sql::ENQUEUE_UNIQUE, binds).await?;
        if let Some(row) = rows.first() {
            return as_told(row, true).map(Some);
        }
        let unique = draft[0].options.unique.as_ref();
        let key: Vec<String> = unique.map(|(key, _)| key.clone()).into_iter().collect();
        let rows = self.store.ask(&sql::FIND_UNIQUE, binds![key]).await?;
        let known = rows.first().map(|row| as_told(row, false));
        known.transpose()
    }

    /// Enqueues a job in the transaction of the caller: it is there if that commits, and was never
    /// there if it does not.
    ///
    /// A commit of a transaction of ours wakes the workers. One that somebody else ends cannot:
    /// then [`Wake::send`] does, once it has committed. A wake-up that is forgotten costs the time
    /// to the next poll, and nothing else.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue). If the store refused, the transaction is over.
    ///
    /// # Cancel safety
    /// Dropped half-way, the transaction is over.
    pub async fn enqueue_in<J: Job>(
        &self,
        tx: &mut Tx<'_>,
        job: &J,
        options: Options,
    ) -> Result<Wake, Error> {
        let mut batch = Batch::new();
        batch.push(job, options)?;
        let (ids, call) = self.insert_and_wake(tx, batch).await?;
        let id = ids.first().copied().ok_or(Repr::Answer("no id"))?;
        Ok(Wake { id, call })
    }

    /// Enqueues many jobs in the transaction of the caller, as [`enqueue_in`](Self::enqueue_in)
    /// does; gives their ids, in order. Workers are woken by the commit of a transaction of ours.
    ///
    /// # Errors
    /// As [`enqueue_in`](Self::enqueue_in).
    ///
    /// # Cancel safety
    /// As [`enqueue_in`](Self::enqueue_in).
    pub async fn enqueue_batch_in(
        &self,
        tx: &mut Tx<'_>,
        batch: Batch,
    ) -> Result<Vec<JobId>, Error> {
        Ok(self.insert_and_wake(tx, batch).await?.0)
    }

    async fn insert_and_wake(
        &self,
        tx: &mut Tx<'_>,
        batch: Batch,
    ) -> Result<(Vec<JobId>, Option<Call>), Error> {
        let call = Call::new(&self.signal, &batch.drafts);
        let ids = insert(tx, batch).await?;
        let ours = call.clone();
        let foreign = tx.after_commit(move || ours.send()).is_err();
        Ok((ids, foreign.then_some(call)))
    }

    /// Wakes the workers of this process, as if a job had been enqueued: after a job came in by
    /// another way, such as the SQL function.
    pub fn wake(&self) {
        self.signal.send_modify(|signal| signal.note(true));
    }

    /// Wakes them for jobs that can be seen by the time which their rank says.
    pub(crate) fn wake_as_usual(&self) {
        self.signal.send_modify(|signal| signal.note(false));
    }

    /// Gives the wake-ups of other processes.
    pub(crate) fn wakes(&self) -> Wakes {
        self.store.wakes(CHANNEL)
    }

    pub(crate) fn woken(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

/// What has come of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job, or the one that has its unique key.
    pub id: JobId,
    /// Whether it is the job itself.
    pub is_new: bool,
}

/// Jobs to be enqueued together, of any kinds; at most [`BATCH_MAX`].
#[derive(Debug, Default)]
pub struct Batch {
    drafts: Vec<Draft>,
}

impl Batch {
    /// Begins without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job.
    ///
    /// # Errors
    /// When it is out of bounds, or the batch is full. It is not added then, and the others stay.
    pub fn push<J: Job>(&mut self, job: &J, options: Options) -> Result<(), Error> {
        if self.drafts.len() == BATCH_MAX {
            return Err(Refusal::Batch(BATCH_MAX + 1).into());
        }
        self.drafts.push(Draft::of(job, options)?);
        Ok(())
    }

    /// Adds one that was checked; the caller keeps the bound.
    pub(crate) fn push_draft(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    /// Tells how many there are.
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    fn is_plain(&self) -> bool {
        self.drafts
            .iter()
            .all(|draft| draft.options.unique.is_none())
    }
}

/// Inserts a batch in a transaction; those with keys one statement, those without another.
async fn insert(tx: &mut Tx<'_>, batch: Batch) -> Result<Vec<JobId>, Error> {
    let count = batch.len();
    let (keyed, plain): (Vec<_>, Vec<_>) = batch
        .drafts
        .into_iter()
        .enumerate()
        .partition(|(_, draft)| draft.options.unique.is_some());
    let mut ids = vec![JobId(0); count];
    if !plain.is_empty() {
        let (places, drafts): (Vec<usize>, Vec<Draft>) = plain.into_iter().unzip();
        let rows = tx.run(&sql::ENQUEUE, binds![columns(&drafts)]).await?;
        for (place, id) in places.into_iter().zip(ids_in_order(rows, drafts.len())?) {
            ids[place] = id;
        }
    }
    insert_keyed(tx, keyed, &mut ids).await?;
    Ok(ids)
}

async fn insert_keyed(
    tx: &mut Tx<'_>,
    keyed: Vec<(usize, Draft)>,
    ids: &mut [JobId],
) -> Result<(), Error> {
    // The first of a batch has the key, as if they had come one after the other.
    let mut open: HashMap<String, (Draft, Vec<usize>)> = HashMap::new();
    for (place, draft) in keyed {
        let key = draft.options.unique.as_ref().map(|(key, _)| key.clone());
        let (_, places) = open
            .entry(key.unwrap_or_default())
            .or_insert_with(|| (draft, Vec::new()));
        places.push(place);
    }
    for _ in 0..KEY_TURNS {
        if open.is_empty() {
            return Ok(());
        }
        let mut drafts: Vec<Draft> = open.values().map(|(draft, _)| draft.clone()).collect();
        // Two transactions that wait for each other's keys in turn do so in one order.
        drafts.sort_by(|one, other| one.options.unique.cmp(&other.options.unique));
        let rows = tx.run(&sql::ENQUEUE_UNIQUE, binds![keyed_columns(&drafts)]);
        settle(rows.await?, &mut open, ids)?;
        if !open.is_empty() {
            let keys: Vec<String> = open.keys().cloned().collect();
            let rows = tx.run(&sql::FIND_UNIQUE, binds![keys]).await?;
            settle(rows, &mut open, ids)?;
        }
    }
    match open.into_keys().next() {
        None => Ok(()),
        Some(key) => Err(Repr::Contended(key).into()),
    }
}

/// Notes the ids of keys that came back as (key, id).
fn settle(
    rows: steadfast_store::Rows,
    open: &mut HashMap<String, (Draft, Vec<usize>)>,
    ids: &mut [JobId],
) -> Result<(), Error> {
    for row in &rows {
        let (key, id): (&str, i64) = (row.get(0)?, row.get(1)?);
        if let Some((_, places)) = open.remove(key) {
            for place in places {
                ids[place] = JobId(id);
            }
        }
    }
    Ok(())
}

fn ids_in_order(rows: steadfast_store::Rows, expected: usize) -> Result<Vec<JobId>, Error> {
    let ids: Result<Vec<i64>, steadfast_store::Error> = rows.iter().map(|row| row.get(0)).collect();
    let mut ids = ids?;
    if ids.len() != expected {
        return Err(Repr::Answer("not one id for each job").into());
    }
    // They grow along the order of the batch, whatever the order in which they come back.
    ids.sort_unstable();
    Ok(ids.into_iter().map(JobId).collect())
}

fn columns(drafts: &[Draft]) -> Value {
    Value::Batch(plain_columns(drafts))
}

fn keyed_columns(drafts: &[Draft]) -> Value {
    let mut columns = plain_columns(drafts);
    let keys = drafts.iter().map(|draft| draft.options.unique.as_ref());
    let (keys, periods): (Vec<String>, Vec<Option<i64>>) = keys
        .flatten()
        .map(|(key, period)| (key.clone(), period.map(micros)))
        .unzip();
    columns.push(Array::from(keys));
    columns.push(Array::from(periods));
    Value::Batch(columns)
}

fn plain_columns(drafts: &[Draft]) -> Vec<Array> {
    let trace_id = context::current().trace_id().map(|id| id.to_string());
    let integers = |value: &dyn Fn(&Draft) -> i64| -> Array {
        let values: Vec<i64> = drafts.iter().map(value).collect();
        values.into()
    };
    let perhaps = |value: &dyn Fn(&Draft) -> Option<i64>| -> Array {
        let values: Vec<Option<i64>> = drafts.iter().map(value).collect();
        values.into()
    };
    let texts = |value: &dyn Fn(&Draft) -> String| -> Array {
        let values: Vec<String> = drafts.iter().map(value).collect();
        values.into()
    };
    let limit_keys: Vec<Option<String>> = drafts
        .iter()
        .map(|draft| draft.options.limit_key.clone())
        .collect();
    vec![
        texts(&|draft| draft.queue.clone()),
        texts(&|draft| draft.kind.to_string()),
        texts(&|draft| draft.payload.clone()),
        integers(&|draft| draft.options.priority.into()),
        integers(&|draft| micros(draft.options.delay)),
        perhaps(&|draft| draft.options.due_us),
        integers(&|draft| draft.max_attempts.into()),
        perhaps(&|draft| draft.options.expires_in.map(micros)),
        limit_keys.into(),
        integers(&|draft| draft.options.min_version.into()),
        vec![trace_id; drafts.len()].into(),
    ]
}
