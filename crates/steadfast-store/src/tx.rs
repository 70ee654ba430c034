//! Transactions.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use steadfast_core::clock;

use crate::error::Trouble;
use crate::store::Store;
use crate::{Binds, Error, Ident, Rows, Statement};

/// A transaction: several statements that take effect together or not at all.
///
/// Everything that is asked of a database goes through one of these, or is one by itself
/// ([`Store::run`]). With its first error a transaction is over, on both databases: nothing of it
/// stays, and every later call says so (SF-1121). Dropped without [`commit`](Self::commit) it is
/// rolled back; one that [`Store::write`] lends is committed by it.
///
/// On SQLite everybody else who writes waits until a writing transaction ends, and it is ended by
/// force after [`Config::transaction_timeout`](crate::Config::transaction_timeout): do nothing else
/// meanwhile. On PostgreSQL it holds what it has locked, and the dead rows of all tables, for as long:
/// after that time no further statement is run in it, and it is rolled back.
pub struct Tx<'c> {
    store: Store,
    way: Way<'c>,
    /// Whether a statement failed, or was dropped half-way.
    over: bool,
}

enum Way<'c> {
    /// `None` once it has ended, or gone home.
    Ours(Option<Ours>, Option<Arc<Home>>),
    /// Somebody else's connection; they end what they began.
    #[cfg(feature = "sqlx09")]
    Foreign(Foreign<'c>),
    #[allow(dead_code, reason = "keeps the lifetime where no feature uses it")]
    Never(std::convert::Infallible, std::marker::PhantomData<&'c ()>),
}

struct Ours {
    carrier: Carrier,
    after: Vec<Box<dyn FnOnce() + Send>>,
    /// Until when it may be open, and how long that is, where nobody else looks after it.
    limit: Option<(u64, Duration)>,
}

impl Ours {
    /// Refuses to go on after its time.
    fn check(&self) -> Result<(), Error> {
        match self.limit {
            Some((until, limit)) if clock::nanos() >= until => {
                let undone = true;
                Err(Trouble::TimeLimit { limit, undone }.into())
            }
            _ => Ok(()),
        }
    }
}

/// What carries a transaction of ours.
pub(crate) enum Carrier {
    #[cfg(feature = "sqlite")]
    SqliteWriting(crate::sqlite::Door),
    #[cfg(feature = "sqlite")]
    SqliteReading(crate::pool::Held<crate::sqlite::Readers>),
    #[cfg(feature = "postgres")]
    Postgres(crate::pool::Held<crate::postgres::Connections>),
    #[allow(dead_code, reason = "so that there is a type without any database")]
    Never(std::convert::Infallible),
}

#[cfg(feature = "sqlx09")]
pub enum Foreign<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut sqlx::SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut sqlx::PgConnection),
    #[allow(dead_code, reason = "keeps the lifetime where no feature uses it")]
    Never(std::convert::Infallible, std::marker::PhantomData<&'c ()>),
}

/// Where a transaction goes that was lent. A closure that is given `&mut Tx` would be simpler, but
/// its future could not be moved between threads.
#[derive(Default)]
pub(crate) struct Home(Mutex<Back>);

#[derive(Default)]
enum Back {
    /// It is still away.
    #[default]
    Away,
    /// With a statement that failed, or was dropped half-way.
    Over,
    Open(Ours),
    /// Whoever had it ended it.
    Ended,
}

impl Tx<'static> {
    pub(crate) fn new(store: Store, carrier: Carrier) -> Self {
        let ours = Ours {
            carrier,
            after: Vec::new(),
            limit: None,
        };
        Self {
            store,
            way: Way::Ours(Some(ours), None),
            over: false,
        }
    }

    /// Has it end after this time, from now on, however busy it is. For databases that do not look after
    /// that themselves.
    #[cfg(feature = "postgres")]
    pub(crate) fn limited(mut self, limit: Duration) -> Self {
        if let Way::Ours(Some(ours), _) = &mut self.way {
            let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            ours.limit = Some((clock::nanos().saturating_add(nanos), limit));
        }
        self
    }

    /// Lends it; it is [taken back](Self::back) once whoever has it drops it.
    pub(crate) fn lent(mut self) -> (Self, Arc<Home>) {
        let back = Arc::new(Home::default());
        if let Way::Ours(_, home) = &mut self.way {
            *home = Some(back.clone());
        }
        (self, back)
    }

    /// Takes it back; `None` if it was ended meanwhile.
    ///
    /// # Errors
    /// When it is still away, or over: nothing of it stays.
    pub(crate) fn back(store: &Store, home: &Home) -> Result<Option<Self>, Error> {
        let mut back = home.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *back, Back::Over) {
            Back::Open(ours) => Ok(Some(Self {
                store: store.clone(),
                way: Way::Ours(Some(ours), None),
                over: false,
            })),
            Back::Ended => Ok(None),
            Back::Away | Back::Over => Err(Trouble::Ended.into()),
        }
    }
}

impl<'c> Tx<'c> {
    /// Runs statements in a transaction that somebody else began, and ends.
    #[cfg(feature = "sqlx09")]
    pub(crate) fn foreign(store: Store, foreign: Foreign<'c>) -> Self {
        Self {
            store,
            way: Way::Foreign(foreign),
            over: false,
        }
    }

    /// Gives the store that it belongs to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Runs a statement and gives its rows.
    ///
    /// # Errors
    /// When the statement fails, which ends the transaction: begin it anew if the error
    /// [may be retried](Error::is_retryable).
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends the transaction.
    pub async fn run(
        &mut self,
        statement: &'static Statement,
        binds: Binds,
    ) -> Result<Rows, Error> {
        self.step(Text::Of(statement), binds)
            .await
            .map_err(|error| error.at(statement))
    }

    /// Runs SQL of your own, in the words of the database at hand: tables that the store knows
    /// nothing of, in one transaction with what it does.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn sql(&mut self, text: &'static str, binds: Binds) -> Result<Rows, Error> {
        self.step(Text::Own(text), binds).await
    }

    /// Runs a statement that was put together from names and placeholders, and no values.
    pub(crate) async fn made(
        &mut self,
        text: Arc<str>,
        stays: bool,
        binds: Binds,
    ) -> Result<Rows, Error> {
        self.step(Text::Made(text, stays), binds).await
    }

    /// Sends rows by COPY, which PostgreSQL alone has.
    pub(crate) async fn copy_in(&mut self, text: Arc<str>, lines: Vec<u8>) -> Result<(), Error> {
        self.begin_step()?;
        let (store, way) = (&self.store, &mut self.way);
        let copied = store.through("copy", true, async {
            match way {
                #[cfg(feature = "postgres")]
                Way::Ours(Some(ours), _) => match &mut ours.carrier {
                    Carrier::Postgres(held) => crate::postgres::copy_in(held, text, lines).await,
                    #[allow(unreachable_patterns, reason = "reached with SQLite")]
                    _ => Err(Trouble::Ended.into()),
                },
                _ => Err(Trouble::Ended.into()),
            }
        });
        copied.await?;
        self.end_step();
        Ok(())
    }

    /// Runs SQL of your own on tables whose names are not known before: `{0}`, `{1}` and so on in the
    /// text stand for `names`, in quotes. Otherwise as [`sql`](Self::sql).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn sql_on(
        &mut self,
        text: &'static str,
        names: &[Ident],
        binds: Binds,
    ) -> Result<Rows, Error> {
        self.step(Text::Made(Ident::fill(text, names).into(), true), binds)
            .await
    }

    async fn step(&mut self, text: Text, binds: Binds) -> Result<Rows, Error> {
        self.begin_step()?;
        let (store, way) = (&self.store, &mut self.way);
        let ran = store.through(text.name(), true, async {
            match way {
                Way::Ours(Some(ours), _) => {
                    ours.check()?;
                    ours.carrier.run(store, text, &binds).await
                }
                Way::Ours(None, _) => Err(Trouble::Ended.into()),
                #[cfg(feature = "sqlx09")]
                Way::Foreign(foreign) => foreign.run(store, text, &binds).await,
                Way::Never(never, _) => match *never {},
            }
        });
        let rows = ran.await?;
        self.end_step();
        Ok(rows)
    }

    /// Until the answer is here: whoever drops the future of a step has no transaction any more.
    pub(crate) fn begin_step(&mut self) -> Result<(), Error> {
        if self.over {
            return Err(Trouble::Ended.into());
        }
        self.over = true;
        Ok(())
    }

    pub(crate) fn end_step(&mut self) {
        self.over = false;
    }

    /// Gives what carries it, if it is ours and has not ended.
    pub(crate) fn carrier(&mut self) -> Option<&mut Carrier> {
        match &mut self.way {
            Way::Ours(Some(ours), _) => Some(&mut ours.carrier),
            _ => None,
        }
    }

    /// Has something done once the transaction is committed, and not if it is not: a wake-up, a
    /// message. It must not wait. What is registered first runs first.
    ///
    /// # Errors
    /// Gives it back if somebody else ends this transaction, so that its end is not known here.
    pub fn after_commit<F: FnOnce() + Send + 'static>(&mut self, then: F) -> Result<(), F> {
        match &mut self.way {
            Way::Ours(Some(ours), _) => {
                ours.after.push(Box::new(then));
                Ok(())
            }
            _ => Err(then),
        }
    }

    /// Tells whether this is somebody else's transaction, which they end.
    pub fn is_foreign(&self) -> bool {
        !matches!(self.way, Way::Ours(..))
    }

    /// Makes everything that was done permanent.
    ///
    /// # Errors
    /// When it was over already (SF-1121), or the commit fails: then nothing stays, unless
    /// [the outcome is unknown](Error::is_outcome_unknown). Somebody else's transaction is not
    /// ended here; the call only tells whether it may be.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been committed or not.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.over {
            return Err(Trouble::Ended.into());
        }
        let Some(mut ours) = self.take() else {
            return Ok(());
        };
        ours.check()?;
        let commit = ours.carrier.commit();
        self.store.through("commit", true, commit).await?;
        for then in ours.after {
            then();
        }
        Ok(())
    }

    /// Undoes everything that was done. Dropping the transaction does as well, but does not wait
    /// for it. Somebody else's transaction is not ended here.
    ///
    /// # Errors
    /// When the database cannot be told; it rolls back by itself then.
    ///
    /// # Cancel safety
    /// Dropped half-way, it is rolled back all the same.
    pub async fn roll_back(mut self) -> Result<(), Error> {
        match self.take() {
            Some(mut ours) if !self.over => ours.carrier.roll_back().await,
            _ => Ok(()),
        }
    }

    /// Takes it out to end it; at home they are told.
    fn take(&mut self) -> Option<Ours> {
        let Way::Ours(ours, home) = &mut self.way else {
            return None;
        };
        if let Some(home) = home.take() {
            home.put(Back::Ended);
        }
        ours.take()
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        let Way::Ours(ours, home) = &mut self.way else {
            return;
        };
        if let (Some(ours), Some(home)) = (ours.take(), home.take()) {
            home.put(if self.over {
                Back::Over
            } else {
                Back::Open(ours)
            });
        }
    }
}

impl Home {
    fn put(&self, back: Back) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = back;
    }
}

impl Carrier {
    async fn run(&mut self, store: &Store, text: Text, binds: &Binds) -> Result<Rows, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::SqliteWriting(door) => door.run(text.for_sqlite(binds)?).await,
            #[cfg(feature = "sqlite")]
            Self::SqliteReading(held) => crate::sqlite::read(held, &text.for_sqlite(binds)?).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => {
                crate::postgres::inside(held, text.for_postgres(store, binds)?).await
            }
            Self::Never(never) => match *never {},
        }
    }

    async fn commit(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::SqliteWriting(door) => door.commit().await,
            #[cfg(feature = "sqlite")]
            Self::SqliteReading(held) => crate::sqlite::end_reading(held).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => crate::postgres::commit(held).await,
            Self::Never(never) => match *never {},
        }
    }

    async fn roll_back(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::SqliteWriting(door) => door.roll_back().await,
            #[cfg(feature = "sqlite")]
            Self::SqliteReading(held) => crate::sqlite::end_reading(held).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => crate::postgres::roll_back(held).await,
            Self::Never(never) => match *never {},
        }
    }
}

#[cfg(feature = "sqlx09")]
impl Foreign<'_> {
    async fn run(&mut self, store: &Store, text: Text, binds: &Binds) -> Result<Rows, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(conn) => crate::sqlite::foreign(conn, &text.for_sqlite(binds)?).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => {
                crate::postgres::foreign(conn, text.for_postgres(store, binds)?).await
            }
            Self::Never(never, _) => match *never {},
        }
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("over", &self.over)
            .field("foreign", &self.is_foreign())
            .finish_non_exhaustive()
    }
}

/// What is run: a statement of a package, or one of somebody's own.
#[derive(Clone)]
enum Text {
    Of(&'static Statement),
    Own(&'static str),
    /// Put together; and whether it comes again.
    Made(Arc<str>, bool),
}

impl Text {
    fn name(&self) -> &'static str {
        match self {
            Self::Of(statement) => statement.name,
            Self::Own(_) => "sql",
            Self::Made(..) => "batch",
        }
    }

    #[cfg(feature = "sqlite")]
    fn for_sqlite(self, binds: &Binds) -> Result<crate::sqlite::SqliteRun, Error> {
        match self {
            Self::Of(statement) => crate::sqlite::SqliteRun::new(statement.sqlite, binds),
            Self::Own(text) => crate::sqlite::SqliteRun::new(text, binds),
            Self::Made(text, _) => crate::sqlite::SqliteRun::new(sqlx::AssertSqlSafe(text), binds),
        }
    }

    #[cfg(feature = "postgres")]
    fn for_postgres(
        self,
        store: &Store,
        binds: &Binds,
    ) -> Result<crate::postgres::PostgresRun, Error> {
        match self {
            Self::Of(statement) => store.prepared(statement, binds),
            Self::Own(text) => store.own(text.into(), binds),
            Self::Made(text, true) => store.own(text, binds),
            Self::Made(text, false) => Ok(store.own(text, binds)?.once()),
        }
    }
}
