//! The one task that writes.

mod load;
mod transaction;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::arrange::Arrange;
use super::books::Books;
use super::permits::{Member, Permit};
use super::queue::{Entry, Item};
use super::{BatchConfig, BatchStats, Sink};
use crate::clock::{self, Instant};
use crate::decide::batch::{
    BatchSize, Circuit, CircuitState, Constraint, Pressure, Step, UnknownLag,
};
use crate::report::EventDoc;
use crate::{rng, voice};

pub(super) struct Worker<T, S> {
    config: BatchConfig,
    sink: S,
    arrange: Option<Arrange<T>>,
    books: Arc<Books>,
    inbox: mpsc::Receiver<Item<T>>,
    /// What comes before the inbox: rows that were put back, and what was taken too early.
    held: VecDeque<Item<T>>,
    /// Absent where it knows of no other writer.
    member: Option<Arc<Member>>,
    looked: Looked,
    size: BatchSize,
    circuit: Circuit,
    writer: u64,
    batches: u64,
}

/// What it tells.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::batch",
        &["error"],
        "batch writer ended before all rows were written",
        &["batch", "rows"],
    )
    .when("The deadline of a drain came, or its runtime ended, with rows still queued.")
    .action("The rows are lost unless their senders send them again: give the drain more time, or look why the database did not write."),
    EventDoc::new(
        "steadfast::batch",
        &["error"],
        "a row cannot be written and is given up",
        &["batch", "error", "rows", "trace_id"],
    )
    .when("A row failed in a transaction of its own.")
    .action("`error` says why, `trace_id` who sent it; the sink may have stored it where it stores such rows."),
    EventDoc::new(
        "steadfast::batch",
        &["error"],
        "nothing can be written; rows wait",
        &["batch", "error"],
    )
    .when("The sink said that nothing can be written, row after row failed and none succeeded, or one took too long four times.")
    .action("Mend what `error` says: a table, a column, a right. A few rows are tried now and then, up to sixteen, and the others follow once one of them is written; those that failed before it are tried once more. Where sixteen rows in a row cannot be written and the table is sound, they stand in the way of all others: let the table take them."),
    EventDoc::new(
        "steadfast::batch",
        &["error"],
        "nobody can say whether a batch is written; rows wait",
        &["batch", "error", "waited_ms"],
    )
    .when("An attempt of a batch was not answered, the batch failed then, and for ten seconds the sink has not been able to say whether that attempt has written it, or may do so yet.")
    .action("Its rows would be written twice if they went another way, so they wait, and all others behind them: `error` says what keeps the sink from knowing. A server that is away, or still at that attempt: end it there. `steadfast_batch_unsettled_seconds` says for how long."),
    EventDoc::new(
        "steadfast::batch",
        &["warn"],
        "a batch is tried again",
        &["attempt", "batch", "error"],
    )
    .when("A transaction failed for no fault of its rows: a deadlock, a lost connection, no answer in time, too much at once.")
    .action("None for a few. If it goes on, the database is away or others hold the locks."),
];

pub(super) type Looked = Option<watch::Receiver<Option<(Pressure, u64)>>>;

impl<T: Send + Sync + 'static, S: Sink<T>> Worker<T, S> {
    pub(super) fn new(
        config: BatchConfig,
        sink: S,
        arrange: Option<Arrange<T>>,
        books: Arc<Books>,
        inbox: mpsc::Receiver<Item<T>>,
        (member, looked): (Option<Member>, Looked),
        (size, circuit): (BatchSize, Circuit),
    ) -> Self {
        Self {
            config,
            sink,
            arrange,
            books,
            inbox,
            held: VecDeque::new(),
            member: member.map(Arc::new),
            looked,
            size,
            circuit,
            writer: rng::bits(),
            batches: 0,
        }
    }

    /// Writes until all is written after the end was asked for, or its deadline has come.
    pub(super) async fn run(
        mut self,
        mut drain: watch::Receiver<Option<Instant>>,
        ended: watch::Sender<Option<BatchStats>>,
    ) {
        let deadline = deadline(drain.clone(), self.config.drain_max);
        tokio::select! {
            biased;
            () = self.serve(&mut drain) => {}
            () = deadline => {}
        }
        let stats = self.books.end();
        if stats.left > 0 {
            voice::tell(|| {
                tracing::error!(
                    target: "steadfast::batch",
                    batch = stats.name.as_str(),
                    rows = stats.left,
                    "batch writer ended before all rows were written"
                );
            });
        }
        // Whoever waits sees the end, and those with receipts that theirs will not come.
        drop(self);
        let _ = ended.send(Some(stats));
    }

    async fn serve(&mut self, drain: &mut watch::Receiver<Option<Instant>>) {
        let member = self.member.clone();
        // For the books, which have it before the first row comes.
        self.step();
        loop {
            let Some(first) = self.first(drain).await else {
                return;
            };
            let first = match first {
                Item::Row(entry) => entry,
                Item::Flush(done) => {
                    let _ = done.send(());
                    continue;
                }
            };
            let Some(step) = self.may_write() else {
                self.held.push_front(Item::Row(first));
                self.wait().await;
                continue;
            };
            let mut entries = self.collect(first, step, drain).await;
            let permit = match &member {
                Some(member) => Some(member.permit().await),
                None => None,
            };
            // It may be some time since: what was seen meanwhile counts.
            let rows = self.may_write().map_or(0, |step| step.rows);
            for entry in entries.drain(entries.len().min(rows as usize)..).rev() {
                self.held.push_front(Item::Row(entry));
            }
            self.write(entries, permit).await;
        }
    }

    /// Takes what is next; `None` when there will be nothing any more.
    async fn first(&mut self, drain: &mut watch::Receiver<Option<Instant>>) -> Option<Item<T>> {
        if let Some(item) = self.held.pop_front() {
            return Some(item);
        }
        loop {
            if drain.borrow_and_update().is_some() {
                self.inbox.close();
            }
            if self.inbox.is_closed() {
                return self.inbox.recv().await;
            }
            tokio::select! {
                biased;
                item = self.inbox.recv() => return item,
                // An error is the drop of the last handle, after which the inbox is closed.
                changed = drain.changed() => if changed.is_err() {
                    return self.inbox.recv().await;
                },
                // For the books.
                () = next_look(&mut self.looked) => drop(self.step()),
            }
        }
    }

    /// Says how much may be written now, if anything may.
    fn may_write(&mut self) -> Option<Step> {
        let step = self.step();
        let now = clock::nanos();
        match self.circuit.state(now) {
            CircuitState::Open(_) => None,
            _ if step.not_before > now => None,
            // Each goes alone.
            CircuitState::HalfOpen(rows) => Some(Step {
                rows,
                bytes: usize::MAX,
                ..step
            }),
            CircuitState::Closed => Some(step),
        }
    }

    /// Says what may be written as far as the size goes, by the latest look.
    fn step(&mut self) -> Step {
        if let Some(member) = &self.member {
            self.size.takes_turns(member.turns());
        }
        let seen = self.looked.as_mut();
        if let Some((pressure, at)) = seen.and_then(|seen| *seen.borrow_and_update()) {
            self.size.looked(pressure, at);
        }
        let now = clock::nanos();
        let step = self.size.step(now);
        self.books.next(step.rows, step.constraint);
        let pauses = match step.constraint {
            Constraint::Lag => true,
            Constraint::UnknownLag => self.config.size.unknown_lag == UnknownLag::Pause,
            _ => false,
        };
        self.books.paused(pauses && step.not_before > now);
        step
    }

    /// Waits until something may be written, or a look has changed what may.
    async fn wait(&mut self) {
        let now = clock::nanos();
        let not_before = self.size.step(now).not_before;
        let until = match self.circuit.state(now) {
            CircuitState::Open(at) => at.max(not_before),
            _ => not_before,
        };
        self.sleep(until).await;
    }

    /// Waits for its turn, and for as long as replicas, or others, ask for: with what is begun, so that its rows stay the
    /// same.
    async fn turn<'a>(&mut self, member: Option<&'a Arc<Member>>) -> Option<Permit<'a>> {
        loop {
            let not_before = self.step().not_before;
            if not_before > clock::nanos() {
                self.sleep(not_before).await;
                continue;
            }
            let permit = member?.permit().await;
            // It may be some time since: what was seen meanwhile counts.
            if self.step().not_before <= clock::nanos() {
                return Some(permit);
            }
        }
    }

    /// Waits until so many nanoseconds, or for the next look.
    async fn sleep(&mut self, until: u64) {
        tokio::select! {
            () = clock::sleep_until(clock::instant_at(until)) => {}
            () = next_look(&mut self.looked) => {}
        }
    }

    /// Takes as many rows as may be written at once, or as come before the first has lingered.
    async fn collect(
        &mut self,
        first: Entry<T>,
        step: Step,
        drain: &mut watch::Receiver<Option<Instant>>,
    ) -> Vec<Entry<T>> {
        let lingers_until = clock::now() + self.config.linger;
        let mut bytes = first.bytes;
        let mut entries = vec![first];
        let mut is_full_of_bytes = false;
        while entries.len() < step.rows as usize {
            let item = match self.held.pop_front() {
                Some(item) => item,
                None => match self.inbox.try_recv() {
                    Ok(item) => item,
                    Err(_) if drain.borrow().is_some() || self.inbox.is_closed() => break,
                    Err(_) => tokio::select! {
                        biased;
                        item = self.inbox.recv() => match item {
                            Some(item) => item,
                            None => break,
                        },
                        _ = drain.changed() => break,
                        () = clock::sleep_until(lingers_until) => break,
                    },
                },
            };
            match item {
                Item::Row(entry) if bytes.saturating_add(entry.bytes) <= step.bytes => {
                    bytes += entry.bytes;
                    entries.push(entry);
                }
                // Too much for this one; or somebody waits for what is here already.
                item => {
                    is_full_of_bytes = matches!(item, Item::Row(_));
                    self.held.push_front(item);
                    break;
                }
            }
        }
        self.size.filled(is_full_of_bytes);
        entries
    }
}

/// The runtime may end first.
impl<T, S> Drop for Worker<T, S> {
    fn drop(&mut self) {
        self.books.end();
    }
}

async fn next_look(looked: &mut Looked) {
    if let Some(seen) = looked
        && seen.changed().await.is_ok()
    {
        return;
    }
    // Nobody looks, or not any more.
    std::future::pending().await
}

/// Is over when the writer must end: at the deadline of a drain, or, when the last handle has gone
/// without one, after so long.
async fn deadline(mut drain: watch::Receiver<Option<Instant>>, drain_max: Duration) {
    let mut at = None;
    loop {
        let sooner = *drain.borrow_and_update();
        at = sooner.or(at);
        let over = async {
            match at {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = drain.changed() => if changed.is_err() {
                let at = at.unwrap_or_else(|| clock::after(drain_max));
                return clock::sleep_until(at).await;
            },
        }
    }
}
