//! What is of sqlx 0.9: [pools](Pool) of its connections, and transactions that the caller brings along. With the
//! feature `sqlx09`.
//!
//! The one module with types of sqlx in its public names: a newer sqlx will have a module of its
//! own beside it.

mod pool;

pub use pool::{Conn, Database, Pool};

use crate::tx::{Foreign, Tx};
use crate::{Dialect, Store, config};

/// Runs statements of the store in a transaction that the caller began with sqlx, and ends.
///
/// `conn` is anything that leads to the connection of the transaction, such as `&mut *tx`. A
/// statement that fails leaves a transaction of PostgreSQL that can only be rolled back; on SQLite,
/// and with a bare connection, the caller must roll back by itself.
///
/// On SQLite prefer [`Store::write`]: a transaction of the caller's own on the same file competes
/// with the writer for its lock.
///
/// # Errors
/// When the store is of the other database (SF-1114).
///
/// # Examples
/// ```
/// # #[cfg(feature = "postgres")]
/// # async fn example(store: steadfast_store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// # use sqlx::Connection;
/// # use steadfast_store::{binds, sqlx09};
/// let mut conn = sqlx::PgConnection::connect("postgres://localhost/orders").await?;
/// let mut theirs = conn.begin().await?;
/// sqlx::query("INSERT INTO orders (item) VALUES ('lamp')").execute(&mut *theirs).await?;
///
/// let mut ours = sqlx09::within(&store, &mut *theirs)?;
/// ours.sql("SELECT 1", binds![]).await?;
/// drop(ours);
///
/// theirs.commit().await?;
/// # Ok(())
/// # }
/// ```
pub fn within<'c, C: Connection>(store: &Store, conn: &'c mut C) -> Result<Tx<'c>, crate::Error> {
    if store.dialect() != C::DIALECT {
        return Err(config::config(
            "connection",
            "is of the other database than the store",
        ));
    }
    Ok(Tx::foreign(store.clone(), conn.foreign()))
}

/// A connection of sqlx: [`sqlx::PgConnection`] or [`sqlx::SqliteConnection`].
pub trait Connection: sealed::Sealed {
    /// The database that it is of.
    const DIALECT: Dialect;
}

mod sealed {
    pub trait Sealed {
        fn foreign(&mut self) -> super::Foreign<'_>;
    }
}

#[cfg(feature = "postgres")]
impl sealed::Sealed for sqlx::PgConnection {
    fn foreign(&mut self) -> Foreign<'_> {
        Foreign::Postgres(self)
    }
}

#[cfg(feature = "postgres")]
impl Connection for sqlx::PgConnection {
    const DIALECT: Dialect = Dialect::Postgres;
}

#[cfg(feature = "sqlite")]
impl sealed::Sealed for sqlx::SqliteConnection {
    fn foreign(&mut self) -> Foreign<'_> {
        Foreign::Sqlite(self)
    }
}

#[cfg(feature = "sqlite")]
impl Connection for sqlx::SqliteConnection {
    const DIALECT: Dialect = Dialect::Sqlite;
}
