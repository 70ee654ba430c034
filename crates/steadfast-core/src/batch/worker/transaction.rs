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

/// After so many attempts that took too long a batch goes another way: 4, two minutes by default. That is longer than a failover
/// or a lock takes that somebody holds by mistake, and as long as those behind it should wait.
const SLOW_MAX: u32 = 4;

/// For how long the sink may not know whether a batch in doubt is written before that is told: 10 s, which a failover may take.
const UNSETTLED_MAX: Duration = Duration::from_secs(10);

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
    ///
    /// Where attempt after attempt takes too long it ends, since fewer rows may not.
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
        let (mut attempt, mut in_doubt, mut slow) = (0, false, 0);
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
                    slow += 1;
                    rows.len() > 1 || slow == SLOW_MAX
                }
                Kind::Unavailable => {
                    if took >= timeout {
                        slow += 1;
                        // The next ones are smaller; this one keeps its rows for as long as that may help.
                        if slow == 1 || slow == SLOW_MAX {
                            self.size.too_much(rows.len() as u32, clock::nanos());
                        }
                    }
                    slow == SLOW_MAX
                }
            };
            if ends && in_doubt && self.settle(id, backoff).await {
                self.written(load, rows, took);
                return Ended::Written;
            }
            match error.kind() {
                Kind::Row => {}
                Kind::Broken => self.break_off(&error),
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
        let since = clock::now();
        let (mut attempt, mut is_told) = (0, false);
        let is_written = loop {
            attempt += 1;
            let settled = contained(|| self.sink.settle(id), timeout).await;
            let error = match settled {
                Ok(is_written) => break is_written,
                Err(error) => error,
            };
            self.books.failed(error.kind());
            self.books.unsettled(Some(since));
            let waited = clock::now() - since;
            let is_broken = error.kind() == Kind::Broken;
            if (is_broken || waited >= UNSETTLED_MAX) && !is_told {
                self.books.broken(true);
                match is_broken {
                    true => self.tell_broken(&error),
                    false => self.tell_unsettled(&error, waited),
                }
                is_told = true;
            }
            self.tell_retry(&error, attempt);
            clock::sleep(backoff.next(rng::bits())).await;
        };
        self.books.unsettled(None);
        is_written
    }

    /// Has rows wait, and says why.
    pub(super) fn break_off(&mut self, error: &WriteError) {
        self.circuit.open(clock::nanos(), rng::bits());
        self.tell_broken(error);
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

    fn tell_unsettled(&self, error: &WriteError, waited: Duration) {
        voice::tell(|| {
            tracing::error!(
                target: "steadfast::batch",
                batch = self.config.name.as_str(),
                waited_ms = waited.as_millis() as u64,
                error = %error,
                "nobody can say whether a batch is written; rows wait"
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
