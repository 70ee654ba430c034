//! What the writer has to do: beats first, then in the order in which it came.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteArguments;
use steadfast_core::clock::{self, Instant};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::holder::Identity;
use super::run::SqliteRun;
use crate::error::Trouble;
use crate::pool::at_work as holder;
use crate::{Error, Rows, Statement};

/// How much may wait for the writer: 10,000 pieces of work, some seconds of it at full speed. More
/// would only be late.
pub(super) const QUEUE_MAX: usize = 10_000;

/// How much longer than its own limits the answer of the writer is waited for: 5 s, for a commit
/// on a slow disk. It answers in every case but that of a hanging disk.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The beat of a node, without which it loses its work.
    Beat,
    /// Everything else.
    Usual,
}

/// What the writer does next.
pub(super) enum Work {
    Intent(Intent),
    Transaction(Transaction),
}

/// Statements that are one transaction.
pub(super) struct Intent {
    pub(super) statement: &'static Statement,
    pub(super) arguments: SqliteArguments,
    pub(super) until: Instant,
    pub(super) turn: Turn,
    pub(super) answer: oneshot::Sender<Result<Rows, Error>>,
}

/// A transaction whose statements come one after the other.
pub(super) struct Transaction {
    pub(super) who: String,
    /// How long it may be open.
    pub(super) limit: Duration,
    pub(super) until: Instant,
    pub(super) turn: Turn,
    pub(super) answer: oneshot::Sender<Result<Door, Error>>,
}

/// Taken by the writer that begins with a piece of work, or by who waits for it and gives up: so it
/// is certain that what was given up is never done.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Tells whether it was the first.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Gives up when a caller is gone before its turn.
struct Waiting(Turn);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.take();
    }
}

impl Intent {
    /// Gives its text and values.
    pub(super) fn run(&self) -> SqliteRun {
        SqliteRun::with(self.statement.sqlite, self.arguments.clone())
    }
}

pub(super) struct Queue {
    pub(super) path: PathBuf,
    acquire_timeout: Duration,
    limit: Duration,
    inside: Mutex<Inside>,
    more: Notify,
    ended: Notify,
    /// Counts the changes by other processes that were seen.
    changed: watch::Sender<u64>,
    identity: OnceLock<Identity>,
}

#[derive(Default)]
struct Inside {
    beats: VecDeque<Intent>,
    usual: VecDeque<Work>,
    /// Who has the writer, and since when.
    holder: Option<(String, Instant)>,
    closed: bool,
    ended: bool,
}

impl Queue {
    pub(super) fn new(path: PathBuf, acquire_timeout: Duration, limit: Duration) -> Self {
        Self {
            path,
            acquire_timeout,
            limit,
            inside: Mutex::default(),
            more: Notify::new(),
            ended: Notify::new(),
            changed: watch::Sender::new(0),
            identity: OnceLock::new(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn intent(
        &self,
        statement: &'static Statement,
        arguments: SqliteArguments,
        urgency: Urgency,
    ) -> Result<Rows, Error> {
        let (answer, answered) = oneshot::channel();
        let intent = Intent {
            statement,
            arguments,
            until: clock::now() + self.acquire_timeout,
            turn: Turn::default(),
            answer,
        };
        let turn = intent.turn.clone();
        match urgency {
            Urgency::Beat => self.push(|inside| inside.beats.push_back(intent))?,
            Urgency::Usual => self.push(|inside| inside.usual.push_back(Work::Intent(intent)))?,
        }
        self.wait(turn, answered).await
    }

    pub(super) async fn begin(&self, limit: Option<Duration>) -> Result<Door, Error> {
        let (answer, answered) = oneshot::channel();
        let transaction = Transaction {
            who: holder(),
            limit: limit.unwrap_or(self.limit),
            until: clock::now() + self.acquire_timeout,
            turn: Turn::default(),
            answer,
        };
        let turn = transaction.turn.clone();
        self.push(|inside| inside.usual.push_back(Work::Transaction(transaction)))?;
        self.wait(turn, answered).await
    }

    fn push(&self, push: impl FnOnce(&mut Inside)) -> Result<(), Error> {
        let mut inside = self.inside();
        if inside.closed {
            return Err(Trouble::Closed.into());
        }
        if inside.beats.len() + inside.usual.len() >= QUEUE_MAX {
            let holders = inside.holders();
            return Err(Trouble::Exhausted {
                what: "room in the queue of the writer",
                waited: Duration::ZERO,
                holders,
            }
            .into());
        }
        push(&mut inside);
        drop(inside);
        self.more.notify_one();
        Ok(())
    }

    /// Waits for its turn, and then for the answer.
    async fn wait<T>(
        &self,
        turn: Turn,
        mut answered: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        let waiting = Waiting(turn);
        let start = clock::now();
        let answer = match clock::timeout(self.acquire_timeout, &mut answered).await {
            Ok(answer) => answer,
            Err(_) if waiting.0.take() => {
                return Err(Trouble::Exhausted {
                    what: "the writer of the file",
                    waited: clock::now().duration_since(start),
                    holders: self.inside().holders(),
                }
                .into());
            }
            // It has begun, so it will be answered: within its limits, unless the disk hangs.
            Err(_) => {
                let patience = self.acquire_timeout + self.limit + ANSWER_GRACE;
                match clock::timeout(patience, answered).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        return Err(Trouble::TimeLimit {
                            limit: patience,
                            undone: false,
                        }
                        .into());
                    }
                }
            }
        };
        answer.unwrap_or_else(|_| Err(Trouble::Closed.into()))
    }

    /// Waits for work; `None` once the queue is closed and empty.
    pub(super) async fn pop(&self) -> Option<Work> {
        loop {
            let more = self.more.notified();
            {
                let mut inside = self.inside();
                if let Some(beat) = inside.beats.pop_front() {
                    return Some(Work::Intent(beat));
                }
                if let Some(work) = inside.usual.pop_front() {
                    return Some(work);
                }
                if inside.closed {
                    return None;
                }
            }
            more.await;
        }
    }

    /// Takes more intents, of those that are next, to be committed together.
    pub(super) fn pop_intents(&self, most: usize) -> Vec<Intent> {
        let mut inside = self.inside();
        let mut taken = Vec::new();
        while taken.len() < most {
            if let Some(beat) = inside.beats.pop_front() {
                taken.push(beat);
                continue;
            }
            match inside.usual.pop_front() {
                Some(Work::Intent(intent)) => taken.push(intent),
                Some(other) => {
                    inside.usual.push_front(other);
                    break;
                }
                None => break,
            }
        }
        taken
    }

    /// Gives what tells of changes by other processes. They are looked for while anybody has it.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.changed.receiver_count() > 0
    }

    pub(super) fn tell_changed(&self) {
        self.changed.send_modify(|seen| *seen += 1);
    }

    /// Notes which file was opened.
    pub(super) fn opened(&self, identity: Identity) {
        let _ = self.identity.set(identity);
    }

    /// Makes sure that it is the file that was opened.
    pub(super) fn identity(&self) -> Result<(), Error> {
        match self.identity.get() {
            Some(identity) => identity.check(&self.path),
            None => Ok(()),
        }
    }

    /// Tells what waits, and who has the writer.
    pub(super) fn usage(&self) -> (usize, Option<String>) {
        let inside = self.inside();
        let queued = inside.beats.len() + inside.usual.len();
        (queued, inside.holders().pop())
    }

    /// Notes who has the writer from now on.
    pub(super) fn held_by(&self, holder: Option<String>) {
        self.inside().holder = holder.map(|who| (who, clock::now()));
    }

    pub(super) async fn close(&self) {
        let ended = self.ended.notified();
        {
            let mut inside = self.inside();
            inside.closed = true;
            if inside.ended {
                return;
            }
        }
        self.more.notify_one();
        ended.await;
    }

    /// Says that nothing is done any more: what waits is answered so.
    pub(super) fn end(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.ended = true;
        inside.beats.clear();
        inside.usual.clear();
        drop(inside);
        self.ended.notify_waiters();
    }
}

impl Inside {
    fn holders(&self) -> Vec<String> {
        let now = clock::now();
        let held = |(who, since): &(String, Instant)| {
            format!("{who} for {:.1?}", now.saturating_duration_since(*since))
        };
        self.holder.iter().map(held).collect()
    }
}

/// The way into a transaction of the writer.
pub(crate) struct Door {
    steps: mpsc::Sender<Step>,
    expired: Arc<AtomicBool>,
    limit: Duration,
}

/// The other side of a [`Door`].
pub(super) struct Inlet {
    pub(super) steps: mpsc::Receiver<Step>,
    pub(super) expired: Arc<AtomicBool>,
}

/// What the owner of a transaction wants next.
pub(super) enum Step {
    Run(SqliteRun, oneshot::Sender<Result<Rows, Error>>),
    Script(&'static str, oneshot::Sender<Result<Rows, Error>>),
    Commit(oneshot::Sender<Result<Rows, Error>>),
    RollBack(oneshot::Sender<Result<Rows, Error>>),
}

impl Door {
    pub(super) fn new(limit: Duration) -> (Self, Inlet) {
        // One step at a time: the owner waits for each answer.
        let (sender, steps) = mpsc::channel(1);
        let expired = Arc::new(AtomicBool::new(false));
        let door = Self {
            steps: sender,
            expired: expired.clone(),
            limit,
        };
        (door, Inlet { steps, expired })
    }

    pub(crate) async fn run(&self, run: SqliteRun) -> Result<Rows, Error> {
        self.step(|answer| Step::Run(run, answer)).await
    }

    /// Runs statements without values.
    pub(crate) async fn script(&self, text: &'static str) -> Result<Rows, Error> {
        self.step(|answer| Step::Script(text, answer)).await
    }

    pub(crate) async fn roll_back(&self) -> Result<(), Error> {
        self.step(Step::RollBack).await.map(drop)
    }

    pub(crate) async fn commit(&self) -> Result<(), Error> {
        self.step(Step::Commit).await.map(drop)
    }

    async fn step(
        &self,
        step: impl FnOnce(oneshot::Sender<Result<Rows, Error>>) -> Step,
    ) -> Result<Rows, Error> {
        let (answer, answered) = oneshot::channel();
        if self.steps.send(step(answer)).await.is_err() {
            return Err(self.over());
        }
        answered.await.unwrap_or_else(|_| Err(self.over()))
    }

    fn over(&self) -> Error {
        if self.expired.load(Ordering::Acquire) {
            Trouble::TimeLimit {
                limit: self.limit,
                undone: true,
            }
            .into()
        } else {
            Trouble::Ended.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BEAT: Statement = Statement::new("test", "beat", "", "");
    static OTHER: Statement = Statement::new("test", "other", "", "");

    fn queue() -> Queue {
        let second = Duration::from_secs(1);
        Queue::new(PathBuf::new(), second, second)
    }

    #[tokio::test]
    async fn beats_go_first_and_everything_else_in_order() {
        let queue = queue();
        let waiting = async |statement, urgency| {
            let intent = queue.intent(statement, SqliteArguments::default(), urgency);
            // Once polled it stands in the queue.
            let _ = clock::timeout(Duration::ZERO, intent).await;
        };
        waiting(&OTHER, Urgency::Usual).await;
        let _ = clock::timeout(Duration::ZERO, queue.begin(None)).await;
        waiting(&OTHER, Urgency::Usual).await;
        waiting(&BEAT, Urgency::Beat).await;

        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(match queue.pop().await {
                Some(Work::Intent(intent)) => intent.statement.name(),
                Some(Work::Transaction(_)) => "transaction",
                None => "end",
            });
        }

        assert_eq!(order, ["beat", "other", "transaction", "other"]);
    }

    #[tokio::test]
    async fn what_was_given_up_is_never_begun() {
        let queue = queue();
        let intent = queue.intent(&OTHER, SqliteArguments::default(), Urgency::Usual);
        let _ = clock::timeout(Duration::ZERO, intent).await;

        let Some(Work::Intent(intent)) = queue.pop().await else {
            panic!("it is in the queue")
        };

        assert!(!intent.turn.take());
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let queue = queue();
        for _ in 0..QUEUE_MAX {
            let begin = queue.begin(None);
            let _ = clock::timeout(Duration::ZERO, begin).await;
        }

        let refused = queue.begin(None).await.err().expect("it is full");

        assert_eq!(refused.code(), "SF-1109");
    }
}
