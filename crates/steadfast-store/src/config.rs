//! Where the database is, and within which bounds it is used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::error::Trouble;

/// Where the database is, and within which bounds it is used.
///
/// # Examples
/// ```
/// use steadfast_store::{Config, Pooler};
///
/// let config = Config {
///     pooler: Pooler::Transaction,
///     ..Config::parse("postgres://app@db.internal/orders").unwrap()
/// };
/// assert_eq!(config.connections_max, 10);
/// assert!(Config::parse("mysql://db").unwrap_err().to_string().contains("sqlite: or postgres:"));
/// ```
#[derive(Clone)]
pub struct Config {
    /// Which database, and where.
    pub place: Place,
    /// What stands between this process and PostgreSQL: nothing by default.
    pub pooler: Pooler,
    /// The schema of PostgreSQL that our tables live in: `steadfast`. Letters, digits and
    /// underscores, at most 63.
    pub schema: String,
    /// What PostgreSQL is told about who connects: `steadfast` by default. Give the name of your
    /// service.
    pub application_name: String,
    /// Whether missing migrations are applied, or only looked for: `true`. Where nodes have no right
    /// to change tables, somebody else migrates, and this is `false`.
    pub migrate: bool,
    /// How many transactions may be under way at once: 10 for PostgreSQL, whose default of 100
    /// connections is then shared by up to ten processes; for SQLite how many may read, 4, since
    /// more readers than cores only wait for each other. Connections that beats, claims and wake-ups
    /// have for themselves come on top, at most [`Config::RESERVED_MAX`].
    pub connections_max: usize,
    /// How long a connection, or the writer, is waited for: 5 s. A caller that waited for longer has
    /// usually been given up by its own caller.
    pub acquire_timeout: Duration,
    /// How long it may take to connect: 5 s, which covers two lost packets of the handshake.
    pub connect_timeout: Duration,
    /// How long a statement may take: 10 s, a third of the lease of a node. PostgreSQL is told, and
    /// a second later the connection is given up.
    pub statement_timeout: Duration,
    /// How long a transaction that writes may be open, from its begin to its end: 10 s. On SQLite everybody
    /// else who writes waits for it, the beats of this node included, and it is ended by force. On
    /// PostgreSQL it keeps what it has locked: no statement is run in it after that time, and the server
    /// ends one that is idle for as long, also one that only reads.
    pub transaction_timeout: Duration,
    /// Whether SQLite waits until a commit is on the disk: `true`. With `false` the last commits may
    /// be lost in a power failure, not in a crash of the process.
    pub synchronous_full: bool,
    /// For tests: how many pages the file of SQLite may have.
    #[cfg(feature = "test-util")]
    pub page_count_max: Option<u32>,
    /// For tests: what fails.
    #[cfg(feature = "test-util")]
    pub faults: crate::Faults,
}

/// Which database, and where.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file of SQLite, which is created if it is not there. Its folder must be on a local disk:
    /// the locks of SQLite do not work on network file systems.
    Sqlite(PathBuf),
    /// The URL of PostgreSQL, such as `postgres://user:password@host:5432/database?sslmode=require`.
    Postgres(String),
}

/// What stands between this process and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// Nothing, or a pooler that gives out whole sessions: statements stay prepared, an intent is
    /// one round trip, wake-ups are pushed.
    #[default]
    None,
    /// A pooler that gives a server to a transaction (PgBouncer with `pool_mode = transaction`):
    /// every statement stands inside of BEGIN and COMMIT and nothing stays prepared, since
    /// otherwise answers of other clients are taken for one's own. No wake-ups are pushed.
    Transaction,
}

impl Config {
    /// The most connections beside those counted by [`connections_max`](Self::connections_max): 8.
    pub const RESERVED_MAX: usize = 8;

    /// The most connections of one process: 1,000.
    pub const CONNECTIONS_MAX: usize = 1_000;

    /// The longest of the times here: an hour.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

    /// Describes a file of SQLite.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self {
            connections_max: 4,
            ..Self::at(Place::Sqlite(path.into()))
        }
    }

    /// Describes PostgreSQL behind a URL.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::at(Place::Postgres(url.into()))
    }

    /// Reads where the database is: `sqlite:PATH`, `postgres://…` or `postgresql://…`.
    ///
    /// # Errors
    /// When it is none of these (SF-1114).
    pub fn parse(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            // `sqlite:///var/x` and `sqlite://x` are usual too.
            return Ok(Self::sqlite(path.strip_prefix("//").unwrap_or(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::postgres(url));
        }
        // The URL is not repeated: it may have a password in it.
        Err(config("url", "must begin with sqlite: or postgres:"))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            pooler: Pooler::None,
            schema: "steadfast".into(),
            application_name: "steadfast".into(),
            migrate: true,
            connections_max: 10,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(10),
            synchronous_full: true,
            #[cfg(feature = "test-util")]
            page_count_max: None,
            #[cfg(feature = "test-util")]
            faults: crate::Faults::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let name = self.schema.as_bytes();
        if !(1..=63).contains(&name.len())
            || name[0].is_ascii_digit()
            || !name
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        {
            return Err(config(
                "schema",
                "must be of lower-case letters, digits and underscores, at most 63, and not begin with a digit",
            ));
        }
        if !(1..=Self::CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(config("connections_max", "must be from 1 to 1000"));
        }
        for (what, value) in [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("transaction_timeout", self.transaction_timeout),
        ] {
            if value < Duration::from_millis(1) || value > Self::TIMEOUT_MAX {
                return Err(config(what, "must be from 1 ms to 1 h"));
            }
        }
        Ok(())
    }
}

pub(crate) fn config(what: &'static str, problem: impl Into<String>) -> Error {
    Trouble::Config {
        what,
        problem: problem.into(),
    }
    .into()
}

/// Without the password that may be in the URL.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("place", &self.place)
            .field("pooler", &self.pooler)
            .field("schema", &self.schema)
            .field("application_name", &self.application_name)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}
