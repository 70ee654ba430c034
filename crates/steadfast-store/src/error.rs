//! What can go wrong, what may be tried again, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::{HOLDERS_TOLD, NoConnection};

/// Says why the store did not do what it was asked.
///
/// | code | what |
/// |---|---|
/// | SF-1101 | the database cannot be reached |
/// | SF-1102 | the connection was lost; what was under way may have been done |
/// | SF-1103 | the database is too old |
/// | SF-1104 | a newer program has changed the tables in a way that this one would break |
/// | SF-1105 | a migration was edited after it had been applied |
/// | SF-1106 | the database takes no writes |
/// | SF-1107 | the disk is full |
/// | SF-1108 | another process holds the file of SQLite, and which |
/// | SF-1109 | connections, or the writer, are taken, and by whom |
/// | SF-1110 | the time of a statement or a transaction was up |
/// | SF-1111 | another transaction was in the way |
/// | SF-1112 | a statement and its caller do not fit |
/// | SF-1113 | a rule of the schema is broken |
/// | SF-1114 | a setting is out of range |
/// | SF-1115 | access is denied |
/// | SF-1116 | the database refuses a statement |
/// | SF-1117 | a migration is missing, and may not be applied here |
/// | SF-1118 | the file of SQLite was deleted or replaced |
/// | SF-1119 | the file of SQLite is damaged |
/// | SF-1120 | the server has no connection left |
/// | SF-1121 | the transaction is over already |
/// | SF-1122 | the store is closed |
/// | SF-1123 | the runtime that does the work does not answer, so beats are held back |
/// | SF-1124 | the file of SQLite is in use, and by whom |
/// | SF-1125 | a file is no copy of a store that could be put back |
/// | SF-1126 | a file cannot be read or written |
///
/// Every error has a stable [code](Self::code) and a [fix](Self::fix). The predicates answer what
/// callers ask: may I retry ([`is_retryable`](Self::is_retryable)), and might it have been done all
/// the same ([`is_outcome_unknown`](Self::is_outcome_unknown))?
///
/// Cheap to clone: work that failed together is told the same error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    trouble: Trouble,
    /// The statement that was under way.
    statement: Option<String>,
}

/// What happened; one code each.
#[derive(Debug)]
pub(crate) enum Trouble {
    Unreachable {
        place: String,
        is_file: bool,
        source: Option<Source>,
    },
    TooManyConnections(sqlx::Error),
    Lost(Source),
    WrongVersion {
        what: &'static str,
        found: String,
        least: &'static str,
    },
    NewerSchema {
        package: &'static str,
        number: i64,
        name: String,
    },
    EditedMigration {
        package: &'static str,
        name: String,
    },
    NotMigrated {
        package: &'static str,
        name: &'static str,
    },
    ReadOnly(Source),
    DiskFull(Source),
    ForeignLock {
        waited: Duration,
        holder: String,
    },
    Exhausted {
        what: &'static str,
        waited: Duration,
        holders: Vec<String>,
    },
    TimeLimit {
        limit: Duration,
        /// Whether it is certain that nothing was done.
        undone: bool,
    },
    Cancelled(sqlx::Error),
    Conflict(sqlx::Error),
    Column(usize, sqlx::Error),
    RowCount(usize),
    Uneven,
    Constraint {
        unique: bool,
        name: Option<String>,
        source: sqlx::Error,
    },
    Config {
        what: &'static str,
        problem: String,
    },
    Denied(sqlx::Error),
    Refused(sqlx::Error),
    FileGone {
        path: String,
        how: &'static str,
    },
    Damaged(sqlx::Error),
    Ended,
    Closed,
    Stalled(Duration),
    #[cfg(feature = "sqlite")]
    InUse {
        path: String,
        holders: Vec<String>,
    },
    #[cfg(feature = "sqlite")]
    Unfit {
        path: String,
        problem: String,
    },
    #[cfg(feature = "sqlite")]
    File {
        what: &'static str,
        path: String,
        source: std::io::Error,
    },
    #[cfg(feature = "test-util")]
    Injected {
        done: bool,
    },
}

/// A cause that is an error of the driver or of the system.
pub(crate) type Source = Box<dyn StdError + Send + Sync>;

impl Error {
    /// Gives the code, `SF-nnnn`. A code keeps its meaning for ever.
    pub fn code(&self) -> &'static str {
        self.0.trouble.code()
    }

    /// Says what to do about it, in a sentence.
    pub fn fix(&self) -> &'static str {
        self.0.trouble.fix()
    }

    /// Gives the statement that was under way, such as `steadfast-jobs.claim`.
    pub fn statement(&self) -> Option<&str> {
        self.0.statement.as_deref()
    }

    /// Tells whether trying again may succeed without anybody changing anything: the database was
    /// out of reach or busy, or two transactions were in each other's way.
    ///
    /// Nothing was done, unless [`is_outcome_unknown`](Self::is_outcome_unknown) says otherwise.
    pub fn is_retryable(&self) -> bool {
        #[cfg(feature = "test-util")]
        if let Trouble::Injected { .. } = self.0.trouble {
            return true;
        }
        matches!(
            self.0.trouble,
            Trouble::Unreachable { .. }
                | Trouble::TooManyConnections(_)
                | Trouble::Lost(_)
                | Trouble::DiskFull(_)
                | Trouble::ForeignLock { .. }
                | Trouble::Exhausted { .. }
                | Trouble::TimeLimit { .. }
                | Trouble::Cancelled(_)
                | Trouble::Conflict(_)
                | Trouble::Stalled(_)
        )
    }

    /// Tells whether it may have been done all the same: the connection was lost, or the time was
    /// up, between sending and the answer. Retry only what is idempotent.
    pub fn is_outcome_unknown(&self) -> bool {
        #[cfg(feature = "test-util")]
        if let Trouble::Injected { done } = self.0.trouble {
            return done;
        }
        matches!(
            self.0.trouble,
            Trouble::Lost(_) | Trouble::TimeLimit { undone: false, .. }
        )
    }

    /// Tells whether the database cannot be reached, or was lost.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.0.trouble,
            Trouble::Unreachable { .. } | Trouble::TooManyConnections(_) | Trouble::Lost(_)
        )
    }

    /// Tells whether connections or the writer are taken by others: load, not a fault.
    pub fn is_overload(&self) -> bool {
        matches!(
            self.0.trouble,
            Trouble::Exhausted { .. } | Trouble::TooManyConnections(_)
        )
    }

    /// Tells whether a statement or a transaction was over its time limit.
    pub fn is_time_limit(&self) -> bool {
        matches!(
            self.0.trouble,
            Trouble::TimeLimit { .. } | Trouble::Cancelled(_)
        )
    }

    /// Tells whether two transactions were in each other's way (deadlock, serialization, a lock that
    /// was not given in time), and this one was rolled back.
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.trouble, Trouble::Conflict(_))
    }

    /// Tells whether a row with this key is there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self.0.trouble, Trouble::Constraint { unique: true, .. })
    }

    /// Tells whether a rule of the schema was broken: a unique key, a check, a reference.
    pub fn is_constraint_violation(&self) -> bool {
        matches!(self.0.trouble, Trouble::Constraint { .. })
    }

    /// Gives the name of the rule that was broken; SQLite names columns instead.
    pub fn constraint(&self) -> Option<&str> {
        match &self.0.trouble {
            Trouble::Constraint { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    /// Tells whether the database has no space left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.0.trouble, Trouble::DiskFull(_))
    }

    /// Tells whether the database takes no writes: a standby, or a file without the right.
    pub fn is_read_only(&self) -> bool {
        matches!(self.0.trouble, Trouble::ReadOnly(_))
    }

    /// Tells whether another program holds the lock of the file; the message names it.
    pub fn is_foreign_lock(&self) -> bool {
        matches!(self.0.trouble, Trouble::ForeignLock { .. })
    }

    /// Tells whether this node must not run: the database is newer than it, or older than anything
    /// that works.
    pub fn is_version(&self) -> bool {
        matches!(
            self.0.trouble,
            Trouble::WrongVersion { .. }
                | Trouble::NewerSchema { .. }
                | Trouble::EditedMigration { .. }
                | Trouble::NotMigrated { .. }
        )
    }

    /// Tells whether the file of the database was deleted, replaced or damaged.
    pub fn is_file_lost(&self) -> bool {
        matches!(
            self.0.trouble,
            Trouble::FileGone { .. } | Trouble::Damaged(_)
        )
    }

    /// Tells whether a file cannot be put back because somebody has the present one open.
    #[cfg(feature = "sqlite")]
    pub fn is_in_use(&self) -> bool {
        matches!(self.0.trouble, Trouble::InUse { .. })
    }

    pub(crate) fn at(mut self, statement: &dyn fmt::Display) -> Self {
        // One that is shared already was told where it happened.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.statement.get_or_insert_with(|| statement.to_string());
        }
        self
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.0.trouble
    }
}

impl Trouble {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "SF-1101",
            Self::Lost(_) => "SF-1102",
            Self::WrongVersion { .. } => "SF-1103",
            Self::NewerSchema { .. } => "SF-1104",
            Self::EditedMigration { .. } => "SF-1105",
            Self::ReadOnly(_) => "SF-1106",
            Self::DiskFull(_) => "SF-1107",
            Self::ForeignLock { .. } => "SF-1108",
            Self::Exhausted { .. } => "SF-1109",
            Self::TimeLimit { .. } | Self::Cancelled(_) => "SF-1110",
            Self::Conflict(_) => "SF-1111",
            Self::Column(..) | Self::RowCount(_) | Self::Uneven => "SF-1112",
            Self::Constraint { .. } => "SF-1113",
            Self::Config { .. } => "SF-1114",
            Self::Denied(_) => "SF-1115",
            Self::Refused(_) => "SF-1116",
            Self::NotMigrated { .. } => "SF-1117",
            Self::FileGone { .. } => "SF-1118",
            Self::Damaged(_) => "SF-1119",
            Self::TooManyConnections(_) => "SF-1120",
            Self::Ended => "SF-1121",
            Self::Closed => "SF-1122",
            Self::Stalled(_) => "SF-1123",
            #[cfg(feature = "sqlite")]
            Self::InUse { .. } => "SF-1124",
            #[cfg(feature = "sqlite")]
            Self::Unfit { .. } => "SF-1125",
            #[cfg(feature = "sqlite")]
            Self::File { .. } => "SF-1126",
            #[cfg(feature = "test-util")]
            Self::Injected { .. } => "SF-1199",
        }
    }

    fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable { is_file: true, .. } => {
                "make the folder of the file, or mount its disk, and give this user the right to write there"
            }
            Self::Unreachable { .. } => {
                "check that the server runs, and host, port and firewall in the URL"
            }
            Self::Lost(_) => "retry what is idempotent; look into the log of the server for why",
            Self::WrongVersion { .. } => "upgrade the database to the version named, or newer",
            Self::NewerSchema { .. } => "upgrade this program: newer nodes have changed the schema",
            Self::EditedMigration { .. } => {
                "run the release that made the tables; an edited migration is a bug of its package"
            }
            Self::ReadOnly(_) => {
                "connect to the primary, or give this user the right to write the file and its folder"
            }
            Self::DiskFull(_) => "free space on the volume of the database; nothing was done",
            Self::ForeignLock { .. } => {
                "end the transaction of the process named, and have it keep transactions short"
            }
            Self::Exhausted { .. } => {
                "see who holds what; hold transactions for less long, or raise the limit"
            }
            Self::TimeLimit { .. } | Self::Cancelled(_) => {
                "make the statement or the transaction shorter, or raise its limit in the config"
            }
            Self::Conflict(_) => "run the transaction again",
            Self::Column(..) | Self::RowCount(_) | Self::Uneven => {
                "the statement and its caller do not fit; correct the one or the other"
            }
            Self::Constraint { .. } => "give values that keep the rule named",
            Self::Config { .. } => "correct the setting named",
            Self::Denied(_) => "check user, password and rights in the database",
            Self::Refused(_) => "correct the statement; the cause is in the source of this error",
            Self::NotMigrated { .. } => {
                "run the migrations, or open the store with `migrate(true)`"
            }
            Self::FileGone { .. } => {
                "put the file back and start this program anew; never replace the file of a running one"
            }
            Self::Damaged(_) => {
                "restore the file from a backup; `PRAGMA integrity_check` says more"
            }
            Self::TooManyConnections(_) => {
                "raise max_connections of the server, lower the size of pools, or put PgBouncer between"
            }
            Self::Ended => "begin a new transaction; this one was ended by an earlier error",
            Self::Closed => "open the store again",
            #[cfg(feature = "test-util")]
            Self::Injected { .. } => "nothing: a test asked for it",
            #[cfg(feature = "sqlite")]
            Self::InUse { .. } => "stop the processes named, and try again; nothing was changed",
            #[cfg(feature = "sqlite")]
            Self::Unfit { .. } => "take another copy; nothing was changed",
            #[cfg(feature = "sqlite")]
            Self::File { .. } => "name another file, or give this user the right",
            Self::Stalled(_) => "find what blocks the runtime: `steadfast_core::watch` names it",
        }
    }

    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unreachable { source, .. } => source.as_deref().map(|s| s as _),
            Self::Lost(source) | Self::ReadOnly(source) | Self::DiskFull(source) => {
                Some(source.as_ref())
            }
            Self::TooManyConnections(source)
            | Self::Conflict(source)
            | Self::Cancelled(source)
            | Self::Column(_, source)
            | Self::Constraint { source, .. }
            | Self::Denied(source)
            | Self::Refused(source)
            | Self::Damaged(source) => Some(source),
            #[cfg(feature = "sqlite")]
            Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { place, .. } => write!(f, "cannot reach the database at {place}"),
            Self::TooManyConnections(_) => f.write_str("the server has no connection left"),
            Self::Lost(_) => f.write_str("lost the connection to the database"),
            Self::WrongVersion { what, found, least } => {
                write!(
                    f,
                    "{what} is version {found}, but at least {least} is needed"
                )
            }
            Self::NewerSchema {
                package,
                number,
                name,
            } => write!(
                f,
                "the tables of {package} have migration {number} ({name}), which this program does not \
                 know and which older ones must not run past"
            ),
            Self::EditedMigration { package, name } => write!(
                f,
                "migration {name} of {package} was applied with another text than this program has"
            ),
            Self::NotMigrated { package, name } => {
                write!(f, "migration {name} of {package} has not been applied")
            }
            Self::ReadOnly(_) => f.write_str("the database takes no writes"),
            Self::DiskFull(_) => f.write_str("the database has no space left"),
            Self::ForeignLock { waited, holder } => write!(
                f,
                "waited {waited:.1?} for the lock of the file, which is held by {holder}"
            ),
            Self::Exhausted {
                what,
                waited,
                holders,
            } => {
                write!(f, "waited {waited:.1?} for {what}")?;
                match &holders[..] {
                    [] => Ok(()),
                    holders => write!(f, "; held by {}", holders.join(", ")),
                }
            }
            Self::TimeLimit { limit, .. } => write!(f, "not done within {limit:?}"),
            Self::Cancelled(_) => f.write_str("cancelled by the database, as its time was up"),
            Self::Conflict(_) => {
                f.write_str("rolled back, because another transaction was in the way")
            }
            Self::Column(index, _) => write!(f, "column {index} cannot be read as asked"),
            Self::RowCount(rows) => write!(f, "expected one row, got {rows}"),
            Self::Uneven => f.write_str("the columns of a batch differ in length"),
            Self::Constraint { name, .. } => match name {
                Some(name) => write!(f, "the rule {name} of the schema is broken"),
                None => f.write_str("a rule of the schema is broken"),
            },
            Self::Config { what, problem } => write!(f, "{what}: {problem}"),
            Self::Denied(_) => f.write_str("the database denies access"),
            Self::Refused(_) => f.write_str("the database refuses the statement"),
            Self::FileGone { path, how } => write!(f, "the file {path} {how} while it was open"),
            Self::Damaged(_) => f.write_str("the file is damaged, or no database of SQLite"),
            Self::Ended => f.write_str("the transaction has ended already"),
            Self::Closed => f.write_str("the store is closed"),
            #[cfg(feature = "test-util")]
            Self::Injected { done: false } => f.write_str("a test had it fail before it was done"),
            #[cfg(feature = "test-util")]
            Self::Injected { done: true } => {
                f.write_str("a test lost the answer after it was done")
            }
            #[cfg(feature = "sqlite")]
            Self::InUse { path, holders } => {
                write!(f, "the file {path} is in use")?;
                match &holders[..] {
                    [] => Ok(()),
                    holders => write!(f, " by {}", holders.join(", ")),
                }
            }
            #[cfg(feature = "sqlite")]
            Self::Unfit { path, problem } => write!(f, "{path} cannot be put back: {problem}"),
            #[cfg(feature = "sqlite")]
            Self::File { what, path, .. } => write!(f, "cannot {what} {path}"),
            Self::Stalled(limit) => {
                write!(
                    f,
                    "the runtime that does the work has not answered within {limit:?}"
                )
            }
        }
    }
}

/// Turns what the pool of the store says into its words.
pub(crate) fn no_connection(what: &'static str, why: NoConnection<Error>) -> Error {
    match why {
        NoConnection::Connect(error) => error,
        NoConnection::Closed => Trouble::Closed.into(),
        NoConnection::Exhausted(exhausted) => Trouble::Exhausted {
            what,
            waited: exhausted.waited,
            holders: exhausted
                .holders
                .iter()
                .take(HOLDERS_TOLD)
                .map(ToString::to_string)
                .collect(),
        }
        .into(),
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self(Arc::new(Inner {
            trouble,
            statement: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(statement) = &self.0.statement {
            write!(f, "{statement}: ")?;
        }
        write!(f, "{} ({})", self.0.trouble, self.code())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("statement", &self.0.statement)
            .field("trouble", &self.0.trouble)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.trouble.source()
    }
}
