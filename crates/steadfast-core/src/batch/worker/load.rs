//! Which rows of a batch are written, and which are given up.

use super::Worker;
use super::transaction::Ended;
use crate::batch::arrange::Panicked;
use crate::batch::permits::Permit;
use crate::batch::queue::{Answer, Entry, Item};
use crate::batch::sink::Kind;
use crate::batch::{Sink, WriteError};
use crate::decide::batch::{Search, Tried};
use crate::{clock, recover, recover_async, rng, voice};

/// Rows on their way into one or several transactions.
pub(super) struct Load<T> {
    pub(super) rows: Vec<T>,
    bytes: Vec<usize>,
    /// Absent once it was given.
    pub(super) answers: Vec<Option<Answer>>,
    /// Whether each has the key of the one before it.
    twins: Vec<bool>,
}

impl<T: Send + Sync + 'static, S: Sink<T>> Worker<T, S> {
    /// Writes rows, and finds those that cannot be written.
    pub(super) async fn write(&mut self, entries: Vec<Entry<T>>, permit: Option<Permit<'_>>) {
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
                let row = error.at().unwrap_or_default();
                match error.is_panic() {
                    true => drop(self.bury(load, row, &error).await),
                    // The sink is certain, so this says nothing about the other rows, or the table.
                    false => self.give_up_at(load, row, &error).await,
                }
            }
            Ended::Failed(error) if !error.is_row() => self.suspect(all.len(), &error),
            Ended::Failed(error) if all.len() == 1 => {
                self.bury(load, 0, &error).await;
            }
            Ended::Failed(_) => self.search(load).await,
        }
    }

    /// Tries one row after the other until one is written: then the table takes rows, and those before it are tried again.
    /// Where none is, nobody knows whether it was them or the table, so all are undecided.
    async fn probe(&mut self, load: &mut Load<T>, mut permit: Option<Permit<'_>>) {
        let mut failed = Vec::new();
        for row in 0..load.rows.len() {
            match self.transaction(load, row..row + 1, permit.take()).await {
                Ended::Written => return self.try_again(load, failed, row).await,
                Ended::Failed(error) if error.at() == Some(0) && !error.is_panic() => {
                    self.give_up_at(load, row, &error).await;
                }
                Ended::Failed(error) if error.kind() == Kind::Broken => return,
                Ended::Failed(error) => failed.push((row, error)),
            }
        }
        if !failed.is_empty() {
            self.circuit.open(clock::nanos(), rng::bits());
        }
    }

    /// Tries rows again that failed before one was written, and gives up those that fail again: somebody may have mended the
    /// table in between. Of the key of the written one none is tried, since it would come after its successor.
    async fn try_again(
        &mut self,
        load: &mut Load<T>,
        failed: Vec<(usize, WriteError)>,
        written: usize,
    ) {
        let is_first_of_key = |row: &usize| !load.twins[*row];
        let first = (0..=written).rev().find(is_first_of_key).unwrap_or(0);
        let is_twin = |row: usize| match &self.arrange {
            Some(_) => row >= first,
            None => recover(|| {
                let (earlier, later) = (&load.rows[row], &load.rows[written]);
                self.sink.is_same_key(earlier, later)
            })
            .unwrap_or(true),
        };
        let (twins, others): (Vec<_>, Vec<_>) =
            failed.into_iter().partition(|(row, _)| is_twin(*row));
        for (row, error) in twins {
            self.give_up_at(load, row, &error).await;
        }
        for (row, _) in others {
            match self.transaction(load, row..row + 1, None).await {
                Ended::Written => {}
                Ended::Failed(error) if error.kind() == Kind::Broken => return,
                Ended::Failed(error) => self.give_up_at(load, row, &error).await,
            }
        }
    }

    /// Halves until every row is written or given up, or nothing goes any more.
    async fn search(&mut self, load: &mut Load<T>) {
        let mut search = Search::new(load.rows.len());
        while let Some(rows) = search.next() {
            let ended = self.transaction(load, rows.clone(), None).await;
            let error = match ended {
                Ended::Written => {
                    search.ended(true);
                    continue;
                }
                Ended::Failed(error) if !error.is_row() => {
                    return self.suspect(rows.len(), &error);
                }
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

    /// One row alone that took too long again and again may be to blame, or the table: others are tried before it is given up.
    fn suspect(&mut self, rows: usize, error: &WriteError) {
        if rows == 1 && error.is_retryable() {
            self.break_off(error);
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
            None => {
                let twins = vec![false; entries.len()];
                (Load::of(entries, twins), Vec::new())
            }
            Some(arrange) => {
                let arranged = arrange(entries);
                let load = Load::of(arranged.entries, arranged.twins);
                (load, arranged.panicked)
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
}

impl<T> Load<T> {
    fn of(entries: Vec<Entry<T>>, twins: Vec<bool>) -> Self {
        let mut load = Self {
            rows: Vec::with_capacity(entries.len()),
            bytes: Vec::with_capacity(entries.len()),
            answers: Vec::with_capacity(entries.len()),
            twins,
        };
        for Entry { row, bytes, answer } in entries {
            load.rows.push(row);
            load.bytes.push(bytes);
            load.answers.push(Some(answer));
        }
        load
    }
}
