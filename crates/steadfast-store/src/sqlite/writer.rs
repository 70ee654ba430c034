//! The one thread that writes.
//!
//! SQLite has one writer at a time. Left to itself it lets everybody try, and those who lose sleep
//! and try again, without an order and without a word about who was in the way. Here all who write
//! stand in one queue, a transaction begins with the lock it needs (`BEGIN IMMEDIATE`), nobody
//! keeps it for longer than the limit, whatever becomes of its task, and the beats of the node do
//! not depend on the runtime of the application. Intents that wait together are committed
//! together: a commit costs a flush, and one flush serves all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use steadfast_core::clock::{self, Instant};
use tokio::sync::oneshot;

use super::connect::{self, Stop};
use super::holder::{self, Identity};
use super::queue::{Door, Inlet, Intent, Queue, Step, Transaction, Work};
use super::run::{self, SqliteRun};
use super::trouble;
use crate::error::Trouble;
use crate::{Config, Error, Rows};

/// How many intents are committed together: 64. Each is a batch of its own, so this is thousands of
/// rows; more would keep those waiting that came first.
const GROUP_MAX: usize = 64;

/// How often it is looked whether another process has changed the file, while anybody waits for it:
/// every 50 ms. A look costs some microseconds.
const LOOK: Duration = Duration::from_millis(50);

/// How long to pause before the lock of the file is asked for again: 1 ms. SQLite has waited by
/// itself before, but not in every case.
const PAUSE: Duration = Duration::from_millis(1);

/// Opens the file and starts the thread.
pub(super) async fn start(path: &Path, config: &Config) -> Result<Arc<Queue>, Error> {
    let queue = Arc::new(Queue::new(
        path.to_owned(),
        config.acquire_timeout,
        config.transaction_timeout,
    ));
    let (opened, answer) = oneshot::channel();
    let (path, config, theirs) = (path.to_owned(), config.clone(), queue.clone());
    let thread = std::thread::Builder::new().name("steadfast-sqlite".into());
    let started = thread.spawn(move || {
        // Whatever ends the thread: nobody waits for it any more.
        let _end = End(&theirs);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = opened.send(Err(Trouble::Lost(error.into()).into()));
                return;
            }
        };
        runtime.block_on(async {
            match Writer::open(&path, &config, &theirs).await {
                Ok(writer) => {
                    if opened.send(Ok(())).is_ok() {
                        writer.serve().await;
                    }
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
    });
    started.map_err(|error| Trouble::Lost(error.into()))?;
    answer.await.unwrap_or(Err(Trouble::Closed.into()))?;
    Ok(queue)
}

struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Writer<'a> {
    conn: SqliteConnection,
    stop: Stop,
    queue: &'a Queue,
    /// What SQLite calls the state of the file; it differs once others have changed it.
    version: Option<i64>,
    looked: Instant,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    transaction_timeout: Duration,
}

impl<'a> Writer<'a> {
    async fn open(path: &Path, config: &Config, queue: &'a Queue) -> Result<Self, Error> {
        let until = clock::now() + config.acquire_timeout;
        let (conn, stop) = loop {
            match connect::writer(path, config).await {
                // The change to WAL needs the whole file, once in its life.
                Err(error) if error.is_conflict() && clock::now() < until => {
                    clock::sleep(PAUSE).await;
                }
                Err(error) if error.is_conflict() => {
                    return Err(holder::foreign(path, config.acquire_timeout));
                }
                opened => break opened?,
            }
        };
        queue.opened(Identity::of(path)?);
        Ok(Self {
            conn,
            stop,
            queue,
            version: None,
            looked: clock::now(),
            acquire_timeout: config.acquire_timeout,
            statement_timeout: config.statement_timeout,
            transaction_timeout: config.transaction_timeout,
        })
    }

    async fn serve(mut self) {
        loop {
            let work = match clock::timeout(LOOK, self.queue.pop()).await {
                Ok(Some(work)) => work,
                Ok(None) => break,
                Err(_) => {
                    self.look().await;
                    continue;
                }
            };
            match work {
                Work::Intent(intent) => {
                    let mut group = vec![intent];
                    group.extend(self.queue.pop_intents(GROUP_MAX - 1));
                    self.group(group).await;
                }
                Work::Transaction(transaction) => self.transaction(transaction).await,
            }
            self.queue.held_by(None);
            if clock::now().duration_since(self.looked) >= LOOK {
                self.look().await;
            }
        }
        // Readers may still be open for a moment, and only the last to close would do it: who closes a
        // database and copies its file has all of it.
        let _ = run::script(&mut self.conn, "PRAGMA wal_checkpoint(PASSIVE)").await;
        let _ = sqlx::Connection::close(self.conn).await;
    }

    /// Looks whether another process has changed the file, if anybody wants to know.
    async fn look(&mut self) {
        self.looked = clock::now();
        if !self.queue.is_watched() {
            self.version = None;
            return;
        }
        let ask = SqliteRun::bare("PRAGMA data_version");
        let Ok(rows) = run::run(&mut self.conn, &ask).await else {
            return;
        };
        let version = rows.first().and_then(|row| row.get(0).ok());
        // This connection's own changes do not count. At the first look it is not known what there
        // was before.
        if self.version != version {
            self.queue.tell_changed();
        }
        self.version = version;
    }

    /// Commits intents together. If one of them fails, all are done again, each alone: what it did
    /// wrong is its own trouble.
    async fn group(&mut self, mut group: Vec<Intent>) {
        let mut waiting = Vec::with_capacity(group.len());
        for intent in group.drain(..) {
            if intent.turn.take() {
                waiting.push(intent);
            }
        }
        if waiting.len() > 1
            && let Ok(answers) = self.together(&waiting).await
        {
            for (intent, rows) in waiting.into_iter().zip(answers) {
                let _ = intent.answer.send(Ok(rows));
            }
            return;
        }
        for intent in waiting {
            let answer = self.together(std::slice::from_ref(&intent)).await;
            let answer = answer.map(|mut rows| rows.pop().unwrap_or_default());
            let _ = intent
                .answer
                .send(answer.map_err(|error| error.at(intent.statement)));
        }
    }

    async fn together(&mut self, intents: &[Intent]) -> Result<Vec<Rows>, Error> {
        let until = intents.iter().map(|intent| intent.until).min();
        self.begin(until.unwrap_or_else(clock::now)).await?;
        self.queue
            .held_by(intents.first().map(|intent| intent.statement.to_string()));
        let limit = Limit::new(self.transaction_timeout, self.statement_timeout);
        let mut answers = Vec::with_capacity(intents.len());
        for intent in intents {
            match self.statement(&intent.run(), limit).await {
                Ok(rows) => answers.push(rows),
                Err(error) => {
                    self.roll_back().await;
                    return Err(error);
                }
            }
        }
        self.commit().await?;
        Ok(answers)
    }

    async fn transaction(&mut self, transaction: Transaction) {
        let Transaction {
            who,
            limit,
            until,
            turn,
            answer,
        } = transaction;
        if !turn.take() {
            return;
        }
        if let Err(error) = self.begin(until).await {
            let _ = answer.send(Err(error));
            return;
        }
        self.queue.held_by(Some(who));
        let (door, mut inlet) = Door::new(limit);
        // One that was given longer than usual has long statements.
        let statement = if limit > self.transaction_timeout {
            limit
        } else {
            self.statement_timeout
        };
        let limit = Limit::new(limit, statement);
        let ended = answer.send(Ok(door)).is_ok() && self.steps(&mut inlet, limit).await;
        if !ended {
            self.roll_back().await;
        }
    }

    /// Does what the owner of the transaction wants; tells whether it was ended.
    async fn steps(&mut self, inlet: &mut Inlet, limit: Limit) -> bool {
        loop {
            let left = limit.until.saturating_duration_since(clock::now());
            let step = match clock::timeout(left, inlet.steps.recv()).await {
                Ok(Some(step)) => step,
                // The owner has let go of it.
                Ok(None) => return false,
                Err(_) => {
                    inlet.expired.store(true, Ordering::Release);
                    return false;
                }
            };
            let (done, answer) = match step {
                Step::Run(run, answer) => (self.statement(&run, limit).await, answer),
                Step::Script(text, answer) => {
                    let script = SqliteRun::bare(text);
                    (self.statement(&script, limit).await, answer)
                }
                Step::Commit(answer) => {
                    let committed = self.commit().await;
                    // A commit that failed has been rolled back.
                    let _ = answer.send(committed.map(|()| Rows::default()));
                    return true;
                }
                Step::RollBack(answer) => {
                    self.roll_back().await;
                    let _ = answer.send(Ok(Rows::default()));
                    return true;
                }
            };
            let failed = done.is_err();
            let _ = answer.send(done);
            // As in PostgreSQL, a transaction is over with its first error. Here others wait.
            if failed {
                return false;
            }
        }
    }

    /// Takes the lock of the file, for which other processes may stand in line too.
    async fn begin(&mut self, until: Instant) -> Result<(), Error> {
        self.queue.identity()?;
        loop {
            match run::script(&mut self.conn, "BEGIN IMMEDIATE").await {
                Ok(()) => return Ok(()),
                Err(error) if trouble::is_busy(&error) => {
                    if clock::now() >= until {
                        return Err(holder::foreign(&self.queue.path, self.acquire_timeout));
                    }
                    clock::sleep(PAUSE).await;
                }
                Err(error) => return Err(trouble::classify(error)),
            }
        }
    }

    async fn commit(&mut self) -> Result<(), Error> {
        if let Err(error) = run::script(&mut self.conn, "COMMIT").await {
            self.roll_back().await;
            return Err(trouble::classify(error));
        }
        Ok(())
    }

    async fn roll_back(&mut self) {
        // Some errors have rolled back already; then this one says so, and nothing is open.
        let _ = run::script(&mut self.conn, "ROLLBACK").await;
    }

    /// Runs a text within its time, and that of its transaction.
    async fn statement(&mut self, sql: &SqliteRun, limit: Limit) -> Result<Rows, Error> {
        let left = limit.until.saturating_duration_since(clock::now());
        let left = left.min(limit.statement);
        let mut work = std::pin::pin!(run::run(&mut self.conn, sql));
        match clock::timeout(left, work.as_mut()).await {
            Ok(done) => done.map_err(trouble::classify),
            Err(_) => {
                self.stop.set();
                let _ = work.as_mut().await;
                self.stop.clear();
                Err(Trouble::TimeLimit {
                    limit: left,
                    undone: true,
                }
                .into())
            }
        }
    }
}

/// How long a transaction may take, and each of its statements.
#[derive(Clone, Copy)]
struct Limit {
    until: Instant,
    statement: Duration,
}

impl Limit {
    fn new(transaction: Duration, statement: Duration) -> Self {
        Self {
            until: clock::now() + transaction,
            statement,
        }
    }
}
