//! Pools of connections of sqlx.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Executor};
use steadfast_core::{clock, report};

use crate::pool::{
    self, AcquireError, Advice, Held, Holder, Manage, NoConnection, PoolConfig, PoolStats,
    Reporter, Why,
};

/// A database of sqlx that there are pools for: [`sqlx::Postgres`] and [`sqlx::Sqlite`].
pub trait Database: sqlx::Database + sealed::Reach {}

mod sealed {
    use std::time::Duration;

    /// What is known about the other end.
    pub trait Reach: sqlx::Database {
        type Options: super::ConnectOptions<Connection = Self::Connection> + Send + Sync + 'static;

        /// Says where it is, without user or password.
        fn place(options: &Self::Options) -> String;

        /// Asks, after it did not become ready in time, whether anybody is there at all.
        fn answers(
            options: &Self::Options,
            limit: Duration,
        ) -> impl Future<Output = super::Reached> + Send;

        /// Begins and ends a transaction, in one go: whatever was open is over.
        fn settle(
            conn: &mut Self::Connection,
        ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    }
}

/// What became of a connection without a word said over it.
pub enum Reached {
    Taken,
    Refused(std::io::Error),
    Nobody,
}

/// How long it is waited whether anybody takes a connection, once the time to become ready is over: half a second.
const REACH_TIMEOUT: Duration = Duration::from_millis(500);

/// Of whatever was begun nothing stays; on a connection in order it does nothing. One message, one answer, so that
/// an answer to something else is noticed. A `ROLLBACK` alone would have the server warn in its log each time.
const SETTLE: &str = "BEGIN; ROLLBACK";

/// A pool of connections that explains itself; see the [module](crate::pool). Cheap to clone.
///
/// # Examples
/// ```no_run
/// # use steadfast_store as store;
/// use sqlx::Connection;
/// use store::pool::PoolConfig;
/// use store::sqlx09::Pool;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::postgres("postgres://app@db.internal/orders".parse()?, PoolConfig::new("orders"))?;
///
/// let mut conn = pool.acquire().await?;
/// let mut tx = conn.begin().await?;
/// let baskets: (i64,) = sqlx::query_as("SELECT count(*) FROM basket").fetch_one(&mut *tx).await?;
/// sqlx::query("DELETE FROM basket").execute(&mut *tx).await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
pub struct Pool<DB: Database> {
    inner: Arc<pool::Pool<Connector<DB>>>,
    leak_after: Duration,
    /// Tells the report while there is a pool.
    _reporter: Arc<Reporter<Connector<DB>>>,
}

struct Connector<DB: Database> {
    options: DB::Options,
    timeout: Duration,
}

#[cfg(feature = "postgres")]
impl Pool<sqlx::Postgres> {
    /// Makes a pool of PostgreSQL. Connections are made when they are needed.
    ///
    /// # Errors
    /// When the config is out of range (SF-1114).
    pub fn postgres(
        options: sqlx::postgres::PgConnectOptions,
        config: PoolConfig,
    ) -> Result<Self, crate::Error> {
        Self::new(options, config)
    }
}

#[cfg(feature = "sqlite")]
impl Pool<sqlx::Sqlite> {
    /// Makes a pool of a file of SQLite. Connections are made when they are needed.
    ///
    /// # Errors
    /// When the config is out of range (SF-1114).
    pub fn sqlite(
        options: sqlx::sqlite::SqliteConnectOptions,
        config: PoolConfig,
    ) -> Result<Self, crate::Error> {
        Self::new(options, config)
    }
}

impl<DB: Database> Pool<DB> {
    fn new(options: DB::Options, config: PoolConfig) -> Result<Self, crate::Error> {
        config.check()?;
        let connector = Connector {
            options,
            timeout: config.connect_timeout,
        };
        let inner = pool::Pool::with(
            config.name,
            connector,
            config.size,
            config.size_max,
            config.acquire_timeout,
            config.reserve,
        );
        let reporter = Arc::new(Reporter {
            pool: Arc::downgrade(&inner),
            leak_after: config.leak_after,
        });
        // One too many to be seen is no reason not to work.
        let _ = report::register("pool", &reporter);
        Ok(Self {
            inner,
            leak_after: config.leak_after,
            _reporter: reporter,
        })
    }

    /// Takes a connection. Dropped, it goes back once the server has answered that it is in order.
    ///
    /// # Errors
    /// [`AcquireError`]: at once if the server refuses; after the times of the config if all are taken, or nobody
    /// answers.
    ///
    /// # Cancel safety
    /// Nothing is lost; the place in line is.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<Conn<DB>, AcquireError>> + Send + use<'_, DB> {
        let place = Location::caller();
        async move { self.taken(place).await }
    }

    async fn taken(&self, place: &'static Location<'static>) -> Result<Conn<DB>, AcquireError> {
        self.watch();
        match self.inner.acquire(Some(place)).await {
            Ok(held) => Ok(Conn(held)),
            Err(NoConnection::Closed) => Err(Why::Closed.into()),
            Err(NoConnection::Exhausted(exhausted)) => Err(Why::Exhausted(exhausted).into()),
            Err(NoConnection::Connect(why)) => Err(why.into()),
        }
    }

    /// Changes how many connections there may be. Those in use above that are closed when they come back.
    ///
    /// # Errors
    /// When it is zero, above `size_max`, or not above what is kept for tiers (SF-1114).
    pub fn resize(&self, size: usize) -> Result<(), crate::Error> {
        self.inner.resize(size)
    }

    /// Gives who has connections, the longest first.
    pub fn holders(&self) -> Vec<Holder> {
        self.inner.holders()
    }

    /// Gives what it does at this moment. The [report](mod@steadfast_core::report) has the same, by itself.
    pub fn stats(&self) -> PoolStats {
        self.inner.stats(self.leak_after)
    }

    /// Says how many connections are enough for what was seen in the last hour; `None` before anything was.
    pub fn advice(&self) -> Option<Advice> {
        self.inner.advice()
    }

    /// Ends the pool: idle connections are closed, those in use when they come back; whoever waits is told.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Watches for holders that hold for long, from the first use in a runtime on.
    fn watch(&self) {
        if !self.inner.begin_watch() {
            return;
        }
        let (pool, leak_after) = (Arc::downgrade(&self.inner), self.leak_after);
        let name = self.inner.name();
        drop(steadfast_core::spawn(name, async move {
            loop {
                // A quarter: told at five quarters at the latest.
                clock::sleep((leak_after / 4).max(Duration::from_millis(1))).await;
                match pool.upgrade() {
                    Some(pool) => pool.tell_leaks(leak_after),
                    None => return,
                }
            }
        }));
    }
}

impl<DB: Database> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            leak_after: self.leak_after,
            _reporter: self._reporter.clone(),
        }
    }
}

impl<DB: Database> fmt::Debug for Pool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

/// A connection of a pool; leads to the connection of sqlx.
pub struct Conn<DB: Database>(Held<Connector<DB>>);

impl<DB: Database> Deref for Conn<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: Database> DerefMut for Conn<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        // From now on nobody knows what is open on it.
        self.0.idle(true);
        &mut self.0
    }
}

impl<DB: Database> fmt::Debug for Conn<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Database> Manage for Connector<DB> {
    type Conn = DB::Connection;
    type Error = Why;

    async fn connect(&self) -> Result<DB::Connection, Why> {
        let began = clock::now();
        let place = || DB::place(&self.options);
        match clock::timeout(self.timeout, self.options.connect()).await {
            Ok(Ok(conn)) => return Ok(conn),
            Ok(Err(source)) => {
                return Err(Why::Refused {
                    place: place(),
                    source,
                });
            }
            Err(_) => {}
        }
        let waited = clock::now().duration_since(began);
        Err(match DB::answers(&self.options, REACH_TIMEOUT).await {
            Reached::Taken => Why::HandshakeSlow {
                place: place(),
                waited,
            },
            Reached::Refused(source) => Why::Refused {
                place: place(),
                source: source.into(),
            },
            Reached::Nobody => Why::Silent {
                place: place(),
                waited,
            },
        })
    }

    async fn is_alive(&self, conn: &mut DB::Connection) -> bool {
        conn.ping().await.is_ok()
    }

    async fn reset(&self, conn: &mut DB::Connection) -> bool {
        // A transaction of sqlx that was forgotten: sqlx would go on with a savepoint in it.
        if conn.is_in_transaction() {
            return false;
        }
        DB::settle(conn).await.is_ok()
    }
}

#[cfg(feature = "postgres")]
impl Database for sqlx::Postgres {}

#[cfg(feature = "postgres")]
impl sealed::Reach for sqlx::Postgres {
    type Options = sqlx::postgres::PgConnectOptions;

    fn place(options: &Self::Options) -> String {
        match options.get_socket() {
            Some(socket) => format!("{} (port {})", socket.display(), options.get_port()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        }
    }

    async fn answers(options: &Self::Options, limit: Duration) -> Reached {
        // A socket in the file system is there or not; whoever has it did not go on.
        let host = options.get_host();
        if options.get_socket().is_some() || host.starts_with('/') {
            return Reached::Taken;
        }
        let connecting = tokio::net::TcpStream::connect((host, options.get_port()));
        match clock::timeout(limit, connecting).await {
            Ok(Ok(_)) => Reached::Taken,
            Ok(Err(error)) => Reached::Refused(error),
            Err(_) => Reached::Nobody,
        }
    }

    async fn settle(conn: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
        conn.execute(sqlx::raw_sql(SETTLE)).await.map(drop)
    }
}

#[cfg(feature = "sqlite")]
impl Database for sqlx::Sqlite {}

#[cfg(feature = "sqlite")]
impl sealed::Reach for sqlx::Sqlite {
    type Options = sqlx::sqlite::SqliteConnectOptions;

    fn place(options: &Self::Options) -> String {
        options.get_filename().display().to_string()
    }

    async fn answers(_: &Self::Options, _: Duration) -> Reached {
        Reached::Taken
    }

    async fn settle(conn: &mut sqlx::SqliteConnection) -> Result<(), sqlx::Error> {
        conn.execute(sqlx::raw_sql(SETTLE)).await.map(drop)
    }
}
