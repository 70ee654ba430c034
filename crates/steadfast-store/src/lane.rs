//! Connections that one part has for itself.

use std::fmt;
#[cfg(feature = "postgres")]
use std::sync::Arc;

use crate::store::Backend;
use crate::tx::Tx;
use crate::{Binds, Error, Rows, Statement, Store};

impl Store {
    /// Gives a connection of its own to a part that must go on when others have taken all
    /// connections: claims and completions, say. On SQLite all share the writer, whose queue is
    /// fair.
    ///
    /// It is made when it is first used, and anew when it was lost. What goes through it waits for
    /// what went before.
    pub fn lane(&self) -> Lane {
        self.lane_of(false)
    }

    /// Gives one whose intents go before all others.
    pub(crate) fn urgent_lane(&self) -> Lane {
        self.lane_of(true)
    }

    fn lane_of(&self, urgent: bool) -> Lane {
        Lane {
            store: self.clone(),
            urgent,
            #[cfg(feature = "postgres")]
            pool: match self.backend() {
                Backend::Postgres(postgres) => Some(postgres.reserve()),
                #[allow(unreachable_patterns, reason = "reached with SQLite")]
                _ => None,
            },
        }
    }
}

/// A connection that one part has for itself; made by [`Store::lane`].
#[derive(Clone)]
pub struct Lane {
    store: Store,
    urgent: bool,
    #[cfg(feature = "postgres")]
    pool: Option<Arc<crate::pool::Pool<crate::postgres::Connections>>>,
}

impl Lane {
    /// Runs an intent that writes, as [`Store::run`] does.
    ///
    /// # Errors
    /// As [`Store::run`].
    ///
    /// # Cancel safety
    /// As [`Store::run`].
    pub async fn run(&self, statement: &'static Statement, binds: Binds) -> Result<Rows, Error> {
        let ran = self.store.through(statement.name, !self.urgent, async {
            match self.store.backend() {
                #[cfg(feature = "sqlite")]
                Backend::Sqlite(sqlite) => sqlite.run(statement, &binds, self.urgent).await,
                #[cfg(feature = "postgres")]
                Backend::Postgres(postgres) => {
                    let pool = self.pool.as_ref().unwrap_or(postgres.pool());
                    self.store.alone(pool, statement, &binds).await
                }
                Backend::Never(never) => match *never {},
            }
        });
        ran.await.map_err(|error| error.at(statement))
    }

    /// Runs an intent that only reads, as [`Store::ask`] does: on SQLite it does not wait for the writer.
    ///
    /// # Errors
    /// As [`Store::run`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ask(&self, statement: &'static Statement, binds: Binds) -> Result<Rows, Error> {
        match self.store.backend() {
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => self.run(statement, binds).await,
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => self.store.ask(statement, binds).await,
            Backend::Never(never) => match *never {},
        }
    }

    /// Runs `work` in a transaction that writes, as [`Store::write`] does.
    ///
    /// # Errors
    /// As [`Store::write`].
    ///
    /// # Cancel safety
    /// As [`Store::write`].
    pub async fn write<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(Tx<'static>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let store = &self.store;
        let begun = store.through("begin", !self.urgent, async {
            #[cfg(feature = "postgres")]
            if let Some(pool) = &self.pool {
                return store.begin_on(pool).await;
            }
            store.begin_writing().await
        });
        store.lend(begun.await?, work).await
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}
