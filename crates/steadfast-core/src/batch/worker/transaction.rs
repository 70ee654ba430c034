//! One transaction, tried for as long as that helps.

use std::ops::Range;
use std::time::Duration;

use super::Worker;
use super::load::Load;
use crate::batch::permits::Permit;
use crate::batch::queue::Answer;
use crate::batch::sink::{BatchId, Kind};
use crate::batch::{Batch, Sink, WriteError};
use crate::decide::backoff::BackoffState;
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
    /// Once an attempt was not answered nobody knows whether it has written, and only its id can tell: then nothing ends it
    /// before the sink has [settled](Sink::settle) that.
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
        let (mut attempt, mut in_doubt, mut is_late) = (0, false, false);
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
            let ended = contained(|| self.sink.write(batch), timeout).await;
            let took = Duration::from_nanos(clock::nanos() - began);
            let Err(error) = ended else {
                if let Some(permit) = permit {
                    permit.wrote(took);
                }
                let wrote = Wrote {
                    rows: rows.len() as u32,
                    took_ns: took.as_nanos() as u64,
                };
                self.size.wrote(wrote, clock::nanos());
                self.written(load, rows, took);
                return Ended::Written;
            };
            drop(permit);
            self.books.failed(error.kind());
            in_doubt |= error.leaves_doubt();
            let ends = match error.kind() {
                Kind::Row | Kind::Broken => true,
                Kind::Conflict => {
                    self.size.conflict(clock::nanos());
                    false
                }
                Kind::TooMuch => {
                    self.size.too_much(rows.len() as u32, clock::nanos());
                    rows.len() > 1
                }
                Kind::Unavailable => {
                    // The next ones are smaller; this one keeps its rows.
                    if took >= timeout && !is_late {
                        self.size.too_much(rows.len() as u32, clock::nanos());
                        is_late = true;
                    }
                    false
                }
            };
            if ends && in_doubt && self.settle(id, backoff).await {
                self.written(load, rows, took);
                return Ended::Written;
            }
            match error.kind() {
                Kind::Row => {}
                Kind::Broken => {
                    self.circuit.open(clock::nanos(), rng::bits());
                    self.tell_broken(&error);
                }
                _ => self.tell_retry(&error, attempt),
            }
            if ends {
                return Ended::Failed(error);
            }
            clock::sleep(backoff.next(rng::bits())).await;
        }
    }

    /// Asks the sink whether a batch in doubt is written, until it knows.
    async fn settle(&self, id: BatchId, mut backoff: BackoffState) -> bool {
        let timeout = self.config.write_timeout;
        let (mut attempt, mut is_told) = (0, false);
        loop {
            attempt += 1;
            let settled = contained(|| self.sink.settle(id), timeout).await;
            let error = match settled {
                Ok(is_written) => return is_written,
                Err(error) => error,
            };
            self.books.failed(error.kind());
            if error.kind() == Kind::Broken && !is_told {
                self.books.broken(true);
                self.tell_broken(&error);
                is_told = true;
            }
            self.tell_retry(&error, attempt);
            clock::sleep(backoff.next(rng::bits())).await;
        }
    }

    fn written(&mut self, load: &mut Load<T>, rows: Range<usize>, took: Duration) {
        self.circuit.written();
        let answers: Vec<_> = load.answers[rows]
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        let senders: u64 = answers.iter().map(Answer::rows).sum();
        // Counted first: whoever gets the answer finds it in the stats.
        let folded = senders - answers.len() as u64;
        self.books.written(senders, folded, took);
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

/// Has the sink do something: within the timeout, with panics contained.
async fn contained<R, D: Future<Output = Result<R, WriteError>>>(
    does: impl FnOnce() -> D,
    timeout: Duration,
) -> Result<R, WriteError> {
    // On the heap: what a sink does may be large, and each future around it would have it twice.
    let done = Box::pin(async { does().await });
    match clock::timeout(timeout, recover_async(done)).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => Err(WriteError::panicked(panic)),
        Err(elapsed) => Err(WriteError::unavailable(elapsed)),
    }
}
