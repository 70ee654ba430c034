//! PostgreSQL: connections in a pool, and one door through which everything goes.

mod connect;
mod listen;
mod run;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::clock;

use crate::error::{Trouble, no_connection};
use crate::pool::{Held, Pool};
use crate::{Config, Error, Pooler, Rows};

pub(crate) use connect::Connections;
pub(crate) use listen::{channel, listen, message};
pub(crate) use run::PostgresRun;

use run::Mode;

/// The oldest server, as `server_version_num` has it, and in words.
const VERSION_LEAST: i64 = 130_000;
const VERSION_LEAST_TEXT: &str = "13";

/// A server of PostgreSQL, or a pooler in front of one.
pub(crate) struct Postgres {
    pool: Arc<Pool<Connections>>,
}

impl Postgres {
    pub(crate) async fn open(url: &str, config: &Config) -> Result<Self, Error> {
        let connections = Connections::new(url, config)?;
        let pool = Pool::new(connections, config.connections_max, config.acquire_timeout);
        let postgres = Self { pool };
        let text = "SELECT current_setting('server_version_num')::bigint";
        let run = PostgresRun::new(text.into(), config.pooler, &Vec::new())?;
        let mut held = postgres.acquire().await?;
        let rows = alone(&mut held, run).await?;
        let version: i64 = rows.one()?.get(0)?;
        if version < VERSION_LEAST {
            return Err(Trouble::WrongVersion {
                what: "PostgreSQL",
                found: format!("{}", version / 10_000),
                least: VERSION_LEAST_TEXT,
            }
            .into());
        }
        Ok(postgres)
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<Connections>> {
        &self.pool
    }

    pub(crate) async fn acquire(&self) -> Result<Held<Connections>, Error> {
        acquire(&self.pool).await
    }

    /// Gives a connection of its own to somebody, which nobody else can take.
    pub(crate) fn reserve(&self) -> Arc<Pool<Connections>> {
        let manage = self.pool.manage();
        Pool::new(manage.clone(), 1, manage.acquire_timeout())
    }

    /// Gives a connection for statements that take long.
    pub(crate) async fn patient(&self, limit: Duration) -> Result<Held<Connections>, Error> {
        let manage = self.pool.manage().patient(limit);
        let acquire_timeout = manage.acquire_timeout();
        acquire(&Pool::new(manage, 1, acquire_timeout)).await
    }

    /// Prepares a statement.
    #[cfg(feature = "test-util")]
    pub(crate) async fn prepare(&self, text: String) -> Result<(), Error> {
        let mut held = self.acquire().await?;
        step(&mut held, false, Ask::Prepare(text)).await.map(drop)
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// Takes a connection of a pool.
pub(crate) async fn acquire(pool: &Arc<Pool<Connections>>) -> Result<Held<Connections>, Error> {
    let what = "one of the connections to PostgreSQL";
    pool.acquire(None)
        .await
        .map_err(|why| no_connection(what, why))
}

/// Runs a statement that is a transaction by itself.
pub(crate) async fn alone(held: &mut Held<Connections>, run: PostgresRun) -> Result<Rows, Error> {
    match held.pool().manage().pooler {
        Pooler::None => step(held, false, Ask::Run(run)).await,
        // The server is ours from BEGIN to COMMIT only: what is prepared in one step and executed
        // in the next must stand between them.
        Pooler::Transaction => {
            begin(held, Mode::Write).await?;
            let rows = step(held, true, Ask::Run(run)).await?;
            commit(held).await?;
            Ok(rows)
        }
    }
}

/// Begins a transaction that writes.
pub(crate) async fn begin_writing(held: &mut Held<Connections>) -> Result<(), Error> {
    begin(held, Mode::Write).await
}

/// Begins a transaction that only reads, all of it from one snapshot.
pub(crate) async fn begin_reading(held: &mut Held<Connections>) -> Result<(), Error> {
    begin(held, Mode::Read).await
}

async fn begin(held: &mut Held<Connections>, mode: Mode) -> Result<(), Error> {
    let text = held.pool().manage().begin(mode).to_owned();
    step(held, true, Ask::Script(text)).await.map(drop)
}

/// Runs a statement inside of a transaction.
pub(crate) async fn inside(held: &mut Held<Connections>, run: PostgresRun) -> Result<Rows, Error> {
    step(held, true, Ask::Run(run)).await
}

/// Runs statements without values inside of a transaction.
pub(crate) async fn script(
    held: &mut Held<Connections>,
    text: String,
    limit: Duration,
) -> Result<(), Error> {
    within(limit, held, true, Ask::Script(text)).await.map(drop)
}

/// Runs statements without values, the last of which ends the transaction.
pub(crate) async fn last_script(
    held: &mut Held<Connections>,
    text: String,
    limit: Duration,
) -> Result<(), Error> {
    // One that fails leaves the transaction open, to be rolled back.
    script(held, text, limit).await?;
    held.idle(false);
    Ok(())
}

/// Runs a statement that is never part of a transaction, whatever stands in between.
pub(crate) async fn outside(held: &mut Held<Connections>, text: String) -> Result<(), Error> {
    step(held, false, Ask::Script(text)).await.map(drop)
}

/// Sends rows inside of a transaction.
pub(crate) async fn copy_in(
    held: &mut Held<Connections>,
    text: Arc<str>,
    lines: Vec<u8>,
) -> Result<(), Error> {
    step(held, true, Ask::Copy(text, lines)).await.map(drop)
}

/// Ends a transaction; its effects are there when this returns.
pub(crate) async fn commit(held: &mut Held<Connections>) -> Result<(), Error> {
    step(held, false, Ask::Script("COMMIT".into()))
        .await
        .map(drop)
}

/// Ends a transaction; it leaves nothing behind.
pub(crate) async fn roll_back(held: &mut Held<Connections>) -> Result<(), Error> {
    step(held, false, Ask::Script("ROLLBACK".into()))
        .await
        .map(drop)
}

/// What is asked of a server in one go.
enum Ask {
    Run(PostgresRun),
    Script(String),
    Copy(Arc<str>, Vec<u8>),
    #[cfg(feature = "test-util")]
    Prepare(String),
}

impl Ask {
    async fn of(self, conn: &mut sqlx::PgConnection) -> Result<Rows, sqlx::Error> {
        match self {
            Self::Run(run) => run::run(conn, run).await,
            Self::Script(text) => run::script(conn, text).await.map(|()| Rows::default()),
            Self::Copy(text, lines) => run::copy_in(conn, &text, &lines)
                .await
                .map(|()| Rows::default()),
            #[cfg(feature = "test-util")]
            Self::Prepare(text) => run::prepare(conn, text).await.map(|()| Rows::default()),
        }
    }
}

async fn step(held: &mut Held<Connections>, open: bool, ask: Ask) -> Result<Rows, Error> {
    let limit = held.pool().manage().answer_timeout();
    within(limit, held, open, ask).await
}

/// The one place where something is asked of a server: within a time, and with the connection
/// thrown away if its state is not known any more.
async fn within(
    limit: Duration,
    held: &mut Held<Connections>,
    open: bool,
    ask: Ask,
) -> Result<Rows, Error> {
    held.busy();
    match clock::timeout(limit, ask.of(held)).await {
        Ok(Ok(answer)) => {
            held.idle(open);
            Ok(answer)
        }
        Ok(Err(error)) => {
            if trouble::is_lost(&error) || trouble::is_read_only(&error) {
                // Read-only: after a failover the name leads to another server, and only a new connection
                // goes there.
                held.broken();
            } else {
                // The server rolls back what failed; one that was open stays so until it is ended.
                held.idle(open);
            }
            Err(trouble::classify(error))
        }
        Err(_) => {
            held.broken();
            Err(Trouble::TimeLimit {
                limit,
                undone: false,
            }
            .into())
        }
    }
}

/// Runs a statement in somebody else's transaction. Within its time: a transaction that nobody
/// answers keeps its locks.
#[cfg(feature = "sqlx09")]
pub(crate) async fn foreign(
    conn: &mut sqlx::PgConnection,
    run: PostgresRun,
) -> Result<Rows, Error> {
    run::run(conn, run).await.map_err(trouble::classify)
}
