//! The one task that writes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::arrange::{Arrange, Panicked};
use super::books::Books;
use super::permits::{Member, Permit};
use super::queue::{Answer, Entry, Item};
use super::sink::{BatchId, Kind};
use super::{Batch, BatchConfig, BatchStats, Sink, WriteError};
use crate::clock::{self, Instant};
use crate::decide::batch::{
    BatchSize, Circuit, CircuitState, Constraint, Pressure, Search, Step, Tried, UnknownLag, Wrote,
};
use crate::report::EventDoc;
use crate::{recover_async, rng, voice};

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
    .when("The sink said that nothing can be written, or row after row failed and none succeeded.")
    .action("Mend what `error` says: a table, a column, a right. A few rows are tried now and then, up to sixteen, and the others follow once one of them is written. Where sixteen rows in a row cannot be written and the table is sound, they stand in the way of all others: let the table take them."),
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

/// Rows on their way into one or several transactions.
struct Load<T> {
    rows: Vec<T>,
    bytes: Vec<usize>,
    /// Absent once it was given.
    answers: Vec<Option<Answer>>,
}

/// How one transaction ended that was tried for as long as that helps.
enum Ended {
    Written,
    Failed(WriteError),
}

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
        let looked = &mut self.looked;
        let changed = async {
            if let Some(seen) = looked
                && seen.changed().await.is_ok()
            {
                return;
            }
            // Nobody looks, or not any more.
            std::future::pending().await
        };
        tokio::select! {
            () = clock::sleep_until(clock::instant_at(until)) => {}
            () = changed => {}
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
                    self.held.push_front(item);
                    break;
                }
            }
        }
        entries
    }

    /// Writes rows, and finds those that cannot be written.
    async fn write(&mut self, entries: Vec<Entry<T>>, permit: Option<Permit<'_>>) {
        let (mut load, panicked) = self.arranged(entries);
        if load.rows.is_empty() {
            drop(permit);
        } else if self.circuit.state(clock::nanos()).is_closed() {
            self.write_all(&mut load, permit).await;
        } else {
            self.probe(&mut load, permit).await;
        }
        self.put_back(load);
        let is_closed = self.circuit.state(clock::nanos()).is_closed();
        self.books.broken(!is_closed);
        for (row, answer, error) in panicked {
            self.give_up(row.as_ref(), answer, &error).await;
        }
    }

    /// Writes what can be written at once. What is neither written nor given up then is undecided.
    async fn write_all(&mut self, load: &mut Load<T>, permit: Option<Permit<'_>>) {
        let all = 0..load.rows.len();
        match self.transaction(load, all.clone(), permit).await {
            Ended::Written => {}
            Ended::Failed(error) if error.at().is_some_and(|row| all.contains(&row)) => {
                // The sink is certain, so this says nothing about the other rows, or the table.
                let row = error.at().unwrap_or_default();
                self.give_up_at(load, row, &error).await;
            }
            Ended::Failed(error) if !error.is_row() => {}
            Ended::Failed(error) if all.len() == 1 => {
                self.bury(load, 0, &error).await;
            }
            Ended::Failed(_) => self.search(load).await,
        }
    }

    /// Tries one row after the other until one is written: then it was the rows before it that failed, and not the table.
    /// Where none is, nobody knows which of them it was, so all are undecided.
    async fn probe(&mut self, load: &mut Load<T>, mut permit: Option<Permit<'_>>) {
        let mut failed = Vec::new();
        for row in 0..load.rows.len() {
            match self.transaction(load, row..row + 1, permit.take()).await {
                Ended::Written => {
                    for (row, error) in failed {
                        self.give_up_at(load, row, &error).await;
                    }
                    return;
                }
                Ended::Failed(error) if error.at() == Some(0) => {
                    self.give_up_at(load, row, &error).await;
                }
                Ended::Failed(error) if error.is_row() => failed.push((row, error)),
                Ended::Failed(_) => return,
            }
        }
        if !failed.is_empty() {
            self.circuit.open(clock::nanos(), rng::bits());
        }
    }

    /// Halves until every row is written or given up, or nothing goes any more.
    async fn search(&mut self, load: &mut Load<T>) {
        let mut search = Search::new(load.rows.len());
        while let Some(rows) = search.next() {
            let ended = self.transaction(load, rows, None).await;
            let error = match ended {
                Ended::Written => {
                    search.ended(true);
                    continue;
                }
                Ended::Failed(error) if !error.is_row() => return,
                Ended::Failed(error) => error,
            };
            if let Tried::Bad(row) = search.ended(false) {
                let is_open = self.bury(load, row, &error).await;
                if is_open {
                    return;
                }
            }
        }
    }

    /// Runs one transaction, again and again while that may help; answers for what it has written.
    ///
    /// Once an attempt was not answered nobody knows whether it has written, and only this id can tell: then nothing but
    /// a row that fails ends it.
    async fn transaction(
        &mut self,
        load: &mut Load<T>,
        rows: Range<usize>,
        mut permit: Option<Permit<'_>>,
    ) -> Ended {
        self.batches += 1;
        let id = BatchId {
            writer: self.writer,
            number: self.batches,
        };
        let member = self.member.clone();
        let mut backoff = self.config.backoff.state();
        let timeout = self.config.write_timeout;
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let (mut attempt, mut in_doubt, mut is_late, mut is_told) = (0, false, false, false);
        loop {
            attempt += 1;
            // While it waits for its next attempt, or answers, others go on.
            let permit = match permit.take() {
                None => self.turn(member.as_ref()).await,
                permit => permit,
            };
            let batch = Batch {
                id,
                attempt,
                rows: &load.rows[rows.clone()],
            };
            let began = clock::nanos();
            let ended = attempted(&self.sink, batch, timeout).await;
            let took_ns = clock::nanos() - began;
            let Err(error) = ended else {
                if let Some(permit) = permit {
                    permit.wrote(Duration::from_nanos(took_ns));
                }
                self.written(load, rows, took_ns);
                return Ended::Written;
            };
            drop(permit);
            self.books.failed(error.kind());
            match error.kind() {
                Kind::Row => return Ended::Failed(error),
                Kind::Broken if in_doubt => {
                    if !is_told {
                        self.tell_broken(&error);
                        self.books.broken(true);
                        is_told = true;
                    }
                }
                Kind::Broken => {
                    self.circuit.open(clock::nanos(), rng::bits());
                    self.tell_broken(&error);
                    return Ended::Failed(error);
                }
                Kind::Conflict => self.size.conflict(clock::nanos()),
                Kind::TooMuch => {
                    self.size.too_much(rows.len() as u32, clock::nanos());
                    if rows.len() > 1 && !in_doubt {
                        self.tell_retry(&error, attempt);
                        return Ended::Failed(error);
                    }
                }
                Kind::Unavailable => {
                    // The next ones are smaller; this one keeps its rows.
                    if took_ns >= timeout_ns && !is_late {
                        self.size.too_much(rows.len() as u32, clock::nanos());
                        is_late = true;
                    }
                    in_doubt = true;
                }
            }
            self.tell_retry(&error, attempt);
            clock::sleep(backoff.next(rng::bits())).await;
        }
    }

    fn written(&mut self, load: &mut Load<T>, rows: Range<usize>, took_ns: u64) {
        self.circuit.written();
        let wrote = Wrote {
            rows: rows.len() as u32,
            took_ns,
        };
        self.size.wrote(wrote, clock::nanos());
        let answers: Vec<_> = load.answers[rows]
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        let senders: u64 = answers.iter().map(Answer::rows).sum();
        // Counted first: whoever gets the answer finds it in the stats.
        let folded = senders - answers.len() as u64;
        self.books
            .written(senders, folded, Duration::from_nanos(took_ns));
        for answer in answers {
            answer.give(&Ok(()));
        }
    }

    /// Gives up a row that failed alone. Returns whether it is taken for more than that.
    async fn bury(&mut self, load: &mut Load<T>, row: usize, error: &WriteError) -> bool {
        self.give_up_at(load, row, error).await;
        let was_closed = self.circuit.state(clock::nanos()).is_closed();
        let is_open = self.circuit.bad(clock::nanos(), rng::bits());
        if is_open && was_closed {
            self.tell_broken(error);
        }
        is_open
    }

    async fn give_up_at(&self, load: &mut Load<T>, row: usize, error: &WriteError) {
        if let Some(answer) = load.answers[row].take() {
            self.give_up(Some(&load.rows[row]), answer, error).await;
        }
    }

    async fn give_up(&self, row: Option<&T>, answer: Answer, error: &WriteError) {
        voice::tell(|| {
            tracing::error!(
                target: "steadfast::batch",
                batch = self.config.name.as_str(),
                rows = answer.rows(),
                trace_id = answer.trace_id.map(tracing::field::display),
                error = %error,
                "a row cannot be written and is given up"
            );
        });
        if let Some(row) = row {
            let dead = recover_async(async { self.sink.dead(row, error).await });
            // A panic is reported already.
            let _ = clock::timeout(self.config.write_timeout, dead).await;
        }
        self.books.dead(answer.rows());
        answer.give(&Err(error.clone()));
    }

    /// Brings rows into the order of their keys; gives those, too, whose key panicked.
    fn arranged(&self, entries: Vec<Entry<T>>) -> (Load<T>, Vec<Panicked<T>>) {
        match &self.arrange {
            None => (Load::of(entries), Vec::new()),
            Some(arrange) => {
                let (entries, panicked) = arrange(entries);
                (Load::of(entries), panicked)
            }
        }
    }

    /// Puts what is undecided back in front of all others.
    fn put_back(&mut self, load: Load<T>) {
        let rows = load.rows.into_iter().zip(load.bytes).zip(load.answers);
        for ((row, bytes), answer) in rows.rev() {
            if let Some(answer) = answer {
                self.held
                    .push_front(Item::Row(Entry { row, bytes, answer }));
            }
        }
    }

    fn tell_broken(&self, error: &WriteError) {
        voice::tell(|| {
            tracing::error!(
                target: "steadfast::batch",
                batch = self.config.name.as_str(),
                error = %error,
                "nothing can be written; rows wait"
            );
        });
    }

    fn tell_retry(&self, error: &WriteError, attempt: u32) {
        voice::tell(|| {
            tracing::warn!(
                target: "steadfast::batch",
                batch = self.config.name.as_str(),
                attempt,
                error = %error,
                "a batch is tried again"
            );
        });
    }
}

impl<T> Load<T> {
    fn of(entries: Vec<Entry<T>>) -> Self {
        let mut load = Self {
            rows: Vec::with_capacity(entries.len()),
            bytes: Vec::with_capacity(entries.len()),
            answers: Vec::with_capacity(entries.len()),
        };
        for Entry { row, bytes, answer } in entries {
            load.rows.push(row);
            load.bytes.push(bytes);
            load.answers.push(Some(answer));
        }
        load
    }
}

/// The runtime may end first.
impl<T, S> Drop for Worker<T, S> {
    fn drop(&mut self) {
        self.books.end();
    }
}

/// Tries once: within the timeout, with panics contained.
async fn attempted<T: Send + Sync, S: Sink<T>>(
    sink: &S,
    batch: Batch<'_, T>,
    timeout: Duration,
) -> Result<(), WriteError> {
    let write = recover_async(async { sink.write(batch).await });
    match clock::timeout(timeout, write).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => Err(WriteError::panicked(panic)),
        Err(elapsed) => Err(WriteError::unavailable(elapsed)),
    }
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
