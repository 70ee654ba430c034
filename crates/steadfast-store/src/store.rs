//! The one door to the database.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "postgres")]
use std::{collections::HashMap, sync::RwLock};

use crate::config::Place;
use steadfast_core::cancel::{Cancel, Cause};
use steadfast_core::report;

use crate::health::{Reporter, Usage};
use crate::lane::Lane;
use crate::tx::{Carrier, Tx};
use crate::wake::Hub;
use crate::{Binds, Config, Error, MigrationStatus, Package, Rows, Statement, binds, schema};

/// The one door to the database. Cheap to clone; the database is closed once the last is dropped,
/// or by [`close`](Self::close).
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # use steadfast_store::{Config, Error, Store, binds};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// # let folder = std::env::temp_dir().join(format!("store-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
///
/// store
///     .write(async |mut tx| {
///         tx.sql("CREATE TABLE hold (id INTEGER PRIMARY KEY, item TEXT NOT NULL)", binds![]).await?;
///         tx.sql("INSERT INTO hold (item) VALUES (?1)", binds!["lamp"]).await?;
///         Ok::<_, Error>(())
///     })
///     .await?;
///
/// let items = store
///     .read(async |mut tx| tx.sql("SELECT item FROM hold", binds![]).await)
///     .await?;
/// assert_eq!(items.one()?.get::<&str>(0)?, "lamp");
/// # store.close().await;
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok(()) } main().unwrap(); }
/// ```
#[derive(Clone)]
pub struct Store(Arc<Inner>);

pub(crate) struct Inner {
    config: Config,
    backend: Backend,
    hub: Arc<Hub>,
    /// Ends what runs on behalf of the store.
    closing: Cancel,
    reporter: Arc<Reporter>,
    /// Whose tables were brought up to date.
    packages: Mutex<Vec<Package>>,
    /// What statements are called in our schema, each made when it is first used.
    #[cfg(feature = "postgres")]
    texts: RwLock<HashMap<usize, Arc<str>>>,
}

/// The two databases; there will be no third.
pub(crate) enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Postgres),
    #[allow(
        dead_code,
        reason = "so that a store without any database still is a type"
    )]
    Never(std::convert::Infallible),
}

/// Which of the two databases it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// What leases of packages are judged by on SQLite, which has no clock of its own; made by
/// [`Store::host_clock`]. Two values are compared only within one start of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostClock {
    /// Which start of which host it is.
    pub boot: String,
    /// The time since then, in microseconds: `None` on PostgreSQL, whose statements ask the database.
    pub us: Option<i64>,
}

impl Store {
    /// Opens the database, makes sure that it can be used, and brings our own tables up to date.
    ///
    /// Packages that build on it bring theirs by [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// When the database cannot be reached (SF-1101; at once if the server refuses, else after
    /// [`Config::connect_timeout`]), is too old (SF-1103), newer than this program (SF-1104), takes
    /// no writes (SF-1106), is locked by another program (SF-1108), denies access (SF-1115), or the
    /// config is out of range (SF-1114).
    ///
    /// # Cancel safety
    /// Dropped half-way, it leaves at most a migration that was done.
    pub async fn open(config: Config) -> Result<Self, Error> {
        config.check()?;
        let backend = match &config.place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(path) => {
                Backend::Sqlite(crate::sqlite::Sqlite::open(path, &config).await?)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                Backend::Postgres(crate::postgres::Postgres::open(url, &config).await?)
            }
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            _ => {
                return Err(crate::config::config(
                    "place",
                    "this program was built without support for this database",
                ));
            }
        };
        let store = Self(Arc::new(Inner {
            config,
            backend,
            hub: Arc::default(),
            closing: Cancel::new(),
            reporter: Arc::default(),
            packages: Mutex::default(),
            #[cfg(feature = "postgres")]
            texts: RwLock::default(),
        }));
        store.0.reporter.of(&store.0);
        // One too many to be seen is no reason not to work.
        let _ = report::register("store", &store.0.reporter);
        schema::prepare(&store).await?;
        store.migrate(&schema::PACKAGE).await?;
        Ok(store)
    }

    /// Brings the tables of a package up to date, or only makes sure that they are, as
    /// [`Config::migrate`] says. Many nodes may do so at once.
    ///
    /// # Errors
    /// When the database is newer, in a way that this program would break (SF-1104); when a
    /// migration was edited after it had been applied (SF-1105); when one is missing and may not be
    /// applied (SF-1117); when one fails. Those that were applied before stay.
    ///
    /// # Cancel safety
    /// Dropped half-way, it has applied some of them, each in whole.
    pub async fn migrate(&self, package: &Package) -> Result<(), Error> {
        schema::migrate(self, package).await?;
        let mut packages = self.packages();
        if !packages.iter().any(|known| known.name == package.name) {
            packages.push(*package);
        }
        Ok(())
    }

    /// Tells which steps of the tables of a package there are, here and in the database; changes
    /// nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn migrations(&self, package: &Package) -> Result<Vec<MigrationStatus>, Error> {
        schema::status(self, package).await
    }

    /// Makes sure that the database, which was changed by a newer node, still fits all packages.
    pub(crate) async fn check_packages(&self, lane: &Lane) -> Result<(), Error> {
        let packages = self.packages().clone();
        for package in &packages {
            schema::check(self, lane, package).await?;
        }
        Ok(())
    }

    fn packages(&self) -> MutexGuard<'_, Vec<Package>> {
        self.0
            .packages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which database it is.
    pub fn dialect(&self) -> Dialect {
        match self.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Dialect::Postgres,
            Backend::Never(never) => match *never {},
        }
    }

    /// Gives the clock that leases are judged by, for statements of packages that keep some: the time since
    /// the host was started, which nobody can set, on SQLite; nothing on PostgreSQL, which has a clock.
    pub fn host_clock(&self) -> HostClock {
        HostClock {
            boot: crate::node::host::boot(),
            us: crate::node::host::clock_us(self.dialect()),
        }
    }

    /// Gives the config that it was opened with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Runs an intent that writes, in a transaction of its own.
    ///
    /// On PostgreSQL that is one round trip of a statement that stays prepared; on SQLite the
    /// writer runs it, and commits it together with others that wait.
    ///
    /// # Errors
    /// When it cannot be run, or fails. Nothing was done then, unless
    /// [the outcome is unknown](Error::is_outcome_unknown).
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn run(&self, statement: &'static Statement, binds: Binds) -> Result<Rows, Error> {
        let ran = self.through(statement.name, true, async {
            match self.backend() {
                #[cfg(feature = "sqlite")]
                Backend::Sqlite(sqlite) => sqlite.run(statement, &binds, false).await,
                #[cfg(feature = "postgres")]
                Backend::Postgres(postgres) => self.alone(postgres.pool(), statement, &binds).await,
                Backend::Never(never) => match *never {},
            }
        });
        ran.await.map_err(|error| error.at(statement))
    }

    /// The one seam that every operation passes, where tests have it fail.
    #[cfg(feature = "test-util")]
    pub(crate) async fn through<T>(
        &self,
        name: &str,
        counted: bool,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let faults = &self.config().faults;
        faults.through(name, counted, operation).await
    }

    /// The one seam that every operation passes, where tests have it fail.
    #[cfg(not(feature = "test-util"))]
    pub(crate) fn through<T, F: Future<Output = Result<T, Error>>>(
        &self,
        _: &str,
        _: bool,
        operation: F,
    ) -> F {
        operation
    }

    /// Runs an intent that only reads. On SQLite it does not wait for the writer.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ask(&self, statement: &'static Statement, binds: Binds) -> Result<Rows, Error> {
        match self.backend() {
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => self.run(statement, binds).await,
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => {
                self.read(async |mut tx| tx.run(statement, binds).await)
                    .await
            }
            Backend::Never(never) => match *never {},
        }
    }

    /// Runs `work` in a transaction that writes: committed if it gives `Ok`, rolled back if it gives
    /// an error, panics or is dropped. `work` must have let go of the transaction when it ends.
    ///
    /// # Errors
    /// That of `work`, or that of the begin or the commit. SF-1121 if `work` passed over an error of
    /// a statement, or still has the transaction.
    ///
    /// # Cancel safety
    /// Dropped half-way, nothing of it stays; dropped in the commit, it may.
    pub async fn write<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(Tx<'static>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let begun = self.begin().await?;
        self.lend(begun, work).await
    }

    /// Lends a transaction to `work`, and commits it.
    pub(crate) async fn lend<T, E, F, Fut>(&self, begun: Tx<'static>, work: F) -> Result<T, E>
    where
        F: FnOnce(Tx<'static>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let (tx, home) = begun.lent();
        let done = work(tx).await?;
        if let Some(tx) = Tx::back(self, &home)? {
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Runs `work` in a transaction that only reads, all of it from one snapshot.
    ///
    /// # Errors
    /// That of `work`, or that of the begin.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(Tx<'static>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let begun = self.through("begin", true, self.begin_reading()).await?;
        self.lend(begun, work).await
    }

    /// Begins a transaction that writes; [`write`](Self::write) is harder to get wrong.
    ///
    /// # Errors
    /// When no connection, or not the writer, could be had in time (SF-1109), or the database
    /// cannot be reached.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn begin(&self) -> Result<Tx<'static>, Error> {
        self.through("begin", true, self.begin_writing()).await
    }

    pub(crate) async fn begin_writing(&self) -> Result<Tx<'static>, Error> {
        let carrier = match self.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(sqlite) => Carrier::SqliteWriting(sqlite.begin().await?),
            #[cfg(feature = "postgres")]
            Backend::Postgres(postgres) => return self.begin_on(postgres.pool()).await,
            Backend::Never(never) => match *never {},
        };
        Ok(Tx::new(self.clone(), carrier))
    }

    async fn begin_reading(&self) -> Result<Tx<'static>, Error> {
        let carrier = match self.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(sqlite) => Carrier::SqliteReading(sqlite.begin_reading().await?),
            #[cfg(feature = "postgres")]
            Backend::Postgres(postgres) => {
                let mut held = postgres.acquire().await?;
                crate::postgres::begin_reading(&mut held).await?;
                Carrier::Postgres(held)
            }
            Backend::Never(never) => match *never {},
        };
        Ok(Tx::new(self.clone(), carrier))
    }

    /// Closes the database: what is under way is finished, everything later fails (SF-1122).
    ///
    /// A file of SQLite is whole then: where no other process reads it, a copy of the file alone has all
    /// that was written.
    ///
    /// # Cancel safety
    /// Dropped half-way, it is closed all the same, and not waited for.
    pub async fn close(&self) {
        self.0.closing.cancel(Cause::Shutdown);
        match self.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(sqlite) => sqlite.close().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(postgres) => postgres.close(),
            Backend::Never(never) => match *never {},
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Begins to listen to what others change.
    pub(crate) fn listen(&self) {
        match self.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(sqlite) => {
                let (hub, closing) = (self.hub().clone(), self.0.closing.clone());
                steadfast_core::spawn("wake-ups", sqlite.listen(hub, closing));
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(postgres) => {
                if self.config().pooler == crate::Pooler::None {
                    let listening = crate::postgres::listen(
                        postgres.pool().manage().options().clone(),
                        crate::postgres::channel(&self.config().schema),
                        Arc::downgrade(self.hub()),
                        self.0.closing.clone(),
                    );
                    steadfast_core::spawn("wake-ups", listening);
                }
            }
            Backend::Never(never) => match *never {},
        }
    }

    /// Sends a wake-up to other processes.
    pub(crate) async fn push(&self, channel: &str, payload: &str) -> Result<(), Error> {
        match self.backend() {
            // They notice by themselves that the file has changed.
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => {
                let schema = &self.config().schema;
                let (to, message) = (
                    crate::postgres::channel(schema),
                    crate::postgres::message(channel, payload),
                );
                self.run(&schema::WAKE, binds![to, message]).await.map(drop)
            }
            Backend::Never(never) => match *never {},
        }
    }
}

impl Inner {
    pub(crate) fn usage(&self) -> Usage {
        match &self.backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(sqlite) => sqlite.usage(),
            #[cfg(feature = "postgres")]
            Backend::Postgres(postgres) => Usage::of(postgres.pool()),
            Backend::Never(never) => match *never {},
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel(Cause::Shutdown);
    }
}

#[cfg(feature = "postgres")]
impl Store {
    pub(crate) async fn alone(
        &self,
        pool: &Arc<crate::pool::Pool<crate::postgres::Connections>>,
        statement: &'static Statement,
        binds: &Binds,
    ) -> Result<Rows, Error> {
        let run = self.prepared(statement, binds)?;
        let mut held = crate::postgres::acquire(pool).await?;
        crate::postgres::alone(&mut held, run).await
    }

    pub(crate) async fn begin_on(
        &self,
        pool: &Arc<crate::pool::Pool<crate::postgres::Connections>>,
    ) -> Result<Tx<'static>, Error> {
        let mut held = crate::postgres::acquire(pool).await?;
        crate::postgres::begin_writing(&mut held).await?;
        let limit = self.config().transaction_timeout;
        Ok(Tx::new(self.clone(), Carrier::Postgres(held)).limited(limit))
    }

    /// Runs a statement that was put together, as a transaction by itself.
    pub(crate) async fn run_made(&self, text: Arc<str>, binds: &Binds) -> Result<Rows, Error> {
        let ran = self.through("batch", true, async {
            let Backend::Postgres(postgres) = self.backend() else {
                unreachable!(
                    "whoever puts a statement of PostgreSQL together has asked which it is"
                );
            };
            let run = self.own(text, binds)?;
            let mut held = postgres.acquire().await?;
            crate::postgres::alone(&mut held, run).await
        });
        ran.await
    }

    /// Gives a statement of a package with its values.
    pub(crate) fn prepared(
        &self,
        statement: &'static Statement,
        binds: &Binds,
    ) -> Result<crate::postgres::PostgresRun, Error> {
        let text = self.text(statement);
        crate::postgres::PostgresRun::new(text, self.config().pooler, binds)
    }

    /// Gives somebody's own SQL with its values.
    pub(crate) fn own(
        &self,
        text: Arc<str>,
        binds: &Binds,
    ) -> Result<crate::postgres::PostgresRun, Error> {
        crate::postgres::PostgresRun::new(text, self.config().pooler, binds)
    }

    fn text(&self, statement: &'static Statement) -> Arc<str> {
        let key = std::ptr::from_ref(statement) as usize;
        let texts = self.0.texts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(&key) {
            return text.clone();
        }
        drop(texts);
        let text: Arc<str> = statement.for_postgres(&self.config().schema).into();
        let mut texts = self.0.texts.write().unwrap_or_else(PoisonError::into_inner);
        texts.entry(key).or_insert(text).clone()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
