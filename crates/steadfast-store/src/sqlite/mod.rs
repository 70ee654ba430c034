//! SQLite: one writer on a thread of its own, and a few readers.

mod connect;
pub mod copy;
mod holder;
mod queue;
mod reader;
mod run;
mod trouble;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::cancel::Cancel;
use steadfast_core::clock;

use crate::error::{Trouble, no_connection};
use crate::health::Usage;
use crate::pool::{Held, Pool};
use crate::wake::Hub;
use crate::{Binds, Config, Error, Rows, Statement};

pub(crate) use queue::Door;
pub(crate) use reader::Readers;
pub(crate) use run::SqliteRun;

use connect::Stop;
use queue::{Queue, Urgency};
use run::arguments;

/// A file of SQLite that is open.
pub(crate) struct Sqlite {
    queue: Arc<Queue>,
    readers: Arc<Pool<Readers>>,
}

impl Sqlite {
    pub(crate) async fn open(path: &Path, config: &Config) -> Result<Self, Error> {
        let queue = writer::start(path, config).await?;
        let readers = Readers::new(path, config);
        Ok(Self {
            queue,
            readers: Pool::new(readers, config.connections_max, config.acquire_timeout),
        })
    }

    /// Runs an intent in a transaction of its own, perhaps together with others.
    pub(crate) async fn run(
        &self,
        statement: &'static Statement,
        binds: &Binds,
        urgent: bool,
    ) -> Result<Rows, Error> {
        let arguments = arguments(binds)?;
        let urgency = if urgent {
            Urgency::Beat
        } else {
            Urgency::Usual
        };
        self.queue.intent(statement, arguments, urgency).await
    }

    /// Begins a transaction that writes, once it is its turn.
    pub(crate) async fn begin(&self) -> Result<Door, Error> {
        self.queue.begin(None).await
    }

    /// Begins one that may take longer than usual.
    pub(crate) async fn begin_long(&self, limit: Duration) -> Result<Door, Error> {
        self.queue.begin(Some(limit)).await
    }

    /// Takes a reader and begins a transaction that only reads.
    pub(crate) async fn begin_reading(&self) -> Result<Held<Readers>, Error> {
        self.queue.identity()?;
        let mut held = self.reader().await?;
        held.busy();
        run::script(&mut held, "BEGIN")
            .await
            .map_err(trouble::classify)?;
        held.idle(true);
        Ok(held)
    }

    async fn reader(&self) -> Result<Held<Readers>, Error> {
        let held = self.readers.acquire(None).await;
        held.map_err(|why| no_connection("one of the readers of the file", why))
    }

    /// Prepares all statements of a text.
    #[cfg(feature = "test-util")]
    pub(crate) async fn prepare(&self, text: &'static str) -> Result<(), Error> {
        let mut held = self.reader().await?;
        run::prepare(&mut held, text)
            .await
            .map_err(trouble::classify)
    }

    /// Tells everybody who listens when another process has changed the file.
    pub(crate) fn listen(
        &self,
        hub: Arc<Hub>,
        closing: Cancel,
    ) -> impl Future<Output = ()> + use<> {
        let mut changed = self.queue.changed();
        async move {
            loop {
                tokio::select! {
                    _ = closing.cancelled() => return,
                    seen = changed.changed() => match seen {
                        Ok(()) => hub.tell_everything(),
                        Err(_) => return,
                    },
                }
            }
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let (queued, writer) = self.queue.usage();
        Usage {
            queued,
            writer,
            ..Usage::of(&self.readers)
        }
    }

    pub(crate) async fn close(&self) {
        self.readers.close();
        self.queue.close().await;
    }
}

/// Runs a statement of a reader, within its time.
pub(crate) async fn read(held: &mut Held<Readers>, sql: &SqliteRun) -> Result<Rows, Error> {
    let limit = held.pool().manage().statement_timeout;
    held.busy();
    let stop = held.stop.clone();
    // Dropped half-way the connection is thrown away, but its thread would go on with the statement.
    let unfinished = Unfinished(Some(stop.clone()));
    let ended = {
        let mut work = std::pin::pin!(run::run(&mut held.conn, sql));
        match clock::timeout(limit, work.as_mut()).await {
            Ok(ended) => ended.map_err(trouble::classify),
            Err(_) => {
                // The statement ends at its next step; only then may others have the connection.
                stop.set();
                let _ = work.as_mut().await;
                stop.clear();
                Err(Trouble::TimeLimit {
                    limit,
                    undone: true,
                }
                .into())
            }
        }
    };
    unfinished.finish();
    held.idle(true);
    ended
}

/// Stops a statement that nobody waits for any more.
struct Unfinished(Option<Stop>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.set();
        }
    }
}

/// Ends a transaction that only reads.
pub(crate) async fn end_reading(held: &mut Held<Readers>) -> Result<(), Error> {
    held.busy();
    run::script(held, "ROLLBACK")
        .await
        .map_err(trouble::classify)?;
    held.idle(false);
    Ok(())
}

/// Runs a statement in somebody else's transaction.
#[cfg(feature = "sqlx09")]
pub(crate) async fn foreign(
    conn: &mut sqlx::SqliteConnection,
    sql: &SqliteRun,
) -> Result<Rows, Error> {
    run::run(conn, sql).await.map_err(trouble::classify)
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::*;
    use crate::testing::{Database, Kind};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_that_nobody_waits_for_is_stopped() {
        let database = Database::make(Kind::Sqlite).await;
        let config = Config {
            statement_timeout: Config::TIMEOUT_MAX,
            ..database.config()
        };
        let sqlite = Sqlite::open(&database.file(), &config).await.unwrap();
        let mut held = sqlite.begin_reading().await.unwrap();
        let stop = held.stop.clone();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";
        let run = SqliteRun::new(endless, &Vec::new()).unwrap();

        let waiting = clock::timeout(Duration::from_millis(50), read(&mut held, &run)).await;
        assert!(waiting.is_err(), "it has no end");

        assert!(stop.is_set());
        // Its thread is free: a connection is closed once that has done all it was asked.
        let closing = sqlx::Connection::ping(&mut held.conn);
        clock::timeout(Duration::from_secs(30), closing)
            .await
            .unwrap()
            .unwrap();
    }
}
