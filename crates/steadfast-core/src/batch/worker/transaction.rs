//! One transaction, tried for as long as that helps.

use std::ops::Range;
use std::time::Duration;

use super::Worker;
use super::load::Load;
use crate::batch::permits::Permit;
use crate::batch::queue::Answer;
use crate::batch::sink::{BatchId, Kind};
use crate::batch::{Batch, Sink, WriteError};
use crate::decide::batch::Wrote;
use crate::{clock, recover_async, rng, voice};

/// How one transaction ended that was tried for as long as that helps.
pub(super) enum Ended {
    Written,
    Failed(WriteError),
}

impl<T: Send + Sync + 'static, S: Sink<T>> Worker<T, S> {
    /// Runs one transaction, again and again while that may help; answers for what it has written.
    ///
    /// Once an attempt was not answered nobody knows whether it has written, and only this id can tell: then nothing but
    /// a row that fails ends it.
    pub(super) async fn transaction(
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

    pub(super) fn tell_broken(&self, error: &WriteError) {
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
