//! Databases for tests: a fresh one for each, gone with it.
//!
//! With the feature `test-util`. Servers are real: PostgreSQL of `STEADFAST_TEST_DATABASE_URL` (a
//! user who may create databases), else a throw-away cluster for this process, made with the
//! `initdb` that is installed; PgBouncer, with fewer connections to the server than it has clients.
//! What is missing fails the test that needs it, with a word on what to install.
//!
//! # Examples
//! ```text
//! steadfast_store::on_every_store! {
//!     /// Runs three times: on SQLite, PostgreSQL, and PostgreSQL behind PgBouncer.
//!     async fn what_is_written_is_read(database) {
//!         let store = database.open().await;
//!         store.migrate(&PACKAGE).await.unwrap();
//!     }
//! }
//! ```

#[cfg(feature = "postgres")]
mod bouncer;
#[cfg(feature = "postgres")]
mod cluster;
mod prepare;
mod sleep;
mod stepped;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Config, Store};

#[cfg(feature = "postgres")]
pub use cluster::{Cluster, Stop, Tablespace};
pub use prepare::assert_prepares;
pub use sleep::SleepyHost;
pub use stepped::{FAKETIME, SteppedHost};

/// On what a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of SQLite.
    Sqlite,
    /// PostgreSQL, spoken to directly.
    Postgres,
    /// PostgreSQL behind PgBouncer that gives out transactions.
    Pgbouncer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Pgbouncer];
}

/// For how long tests wait for a connection, the file, or an answer, and may stand still in a transaction.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of one test; dropped with this value.
pub struct Database {
    kind: Kind,
    config: Config,
    /// Gone after everything else.
    place: Place,
}

enum Place {
    #[cfg(feature = "sqlite")]
    Folder(Folder),
    #[cfg(feature = "postgres")]
    Created(cluster::Created),
    #[allow(dead_code, reason = "so that there is a type without any database")]
    Never(std::convert::Infallible),
}

impl Database {
    /// Makes an empty one.
    ///
    /// # Panics
    /// When it cannot be made: a server that is needed is not installed, or does not answer.
    pub async fn make(kind: Kind) -> Self {
        match kind {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => {
                let folder = Folder::make();
                Self {
                    kind,
                    config: Config::sqlite(folder.file()),
                    place: Place::Folder(folder),
                }
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let created = cluster::shared().await.create().await;
                Self {
                    kind,
                    config: Config::postgres(created.url()),
                    place: Place::Created(created),
                }
            }
            #[cfg(feature = "postgres")]
            Kind::Pgbouncer => {
                let bouncer = bouncer::shared().await;
                let created = cluster::shared().await.create().await;
                let config = Config {
                    pooler: crate::Pooler::Transaction,
                    ..Config::postgres(bouncer.url(created.name()))
                };
                Self {
                    kind,
                    config,
                    place: Place::Created(created),
                }
            }
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            kind => panic!("a test on {kind:?} needs the feature of that database"),
        }
    }

    /// Tells on what the test runs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Gives the config that leads to it, to be changed at will. It waits longer than others do, so
    /// that what a test finds out is not how busy the machine is.
    pub fn config(&self) -> Config {
        Config {
            connect_timeout: PATIENCE,
            acquire_timeout: PATIENCE,
            transaction_timeout: PATIENCE,
            statement_timeout: PATIENCE,
            ..self.config.clone()
        }
    }

    /// Opens it. Each call is a store of its own, like one of another process.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open(&self) -> Store {
        self.open_with(self.config()).await
    }

    /// Opens it with another config.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open_with(&self, config: Config) -> Store {
        match Store::open(config).await {
            Ok(store) => store,
            Err(error) => panic!("{:?} does not open: {error:?}", self.kind),
        }
    }

    /// Gives the file of SQLite.
    ///
    /// # Panics
    /// On PostgreSQL.
    pub fn file(&self) -> PathBuf {
        match &self.place {
            #[cfg(feature = "sqlite")]
            Place::Folder(folder) => folder.file(),
            _ => panic!("PostgreSQL has no file to show"),
        }
    }

    /// Gives the URL of PostgreSQL itself, past PgBouncer.
    ///
    /// # Panics
    /// On SQLite.
    pub fn direct_url(&self) -> String {
        match &self.place {
            #[cfg(feature = "postgres")]
            Place::Created(created) => created.url(),
            _ => panic!("SQLite has no URL"),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A folder of one test.
#[cfg(feature = "sqlite")]
struct Folder {
    path: PathBuf,
}

#[cfg(feature = "sqlite")]
impl Folder {
    fn make() -> Self {
        let path = std::env::temp_dir().join(unique("steadfast"));
        std::fs::create_dir_all(&path).expect("the folder for temporary files takes another one");
        Self { path }
    }

    fn file(&self) -> PathBuf {
        self.path.join("store.db")
    }
}

#[cfg(feature = "sqlite")]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Gives a name that nobody else has.
fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = steadfast_core::rng::bits();
    format!("{what}_{}_{number}_{random:x}", std::process::id())
}

/// Declares tests that run on every store: `async fn name(database) { … }` becomes the tests
/// `name::sqlite`, `name::postgres` and `name::pgbouncer`, each with an empty
/// [`Database`](crate::testing::Database).
#[macro_export]
macro_rules! on_every_store {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "what the body needs is not known here")]
            use super::*;

            $(#[$attribute])*
            async fn check($database: &$crate::testing::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                check(&$crate::testing::Database::make($crate::testing::Kind::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                check(&$crate::testing::Database::make($crate::testing::Kind::Postgres).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn pgbouncer() {
                check(&$crate::testing::Database::make($crate::testing::Kind::Pgbouncer).await).await;
            }
        }
    )*};
}
