//! How connections to the server are made.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use steadfast_core::clock;

use super::run::{self, Mode};
use super::trouble;
use crate::error::Trouble;
use crate::pool::Manage;
use crate::{Config, Error, Pooler};

/// How many statements stay prepared on a connection: 512, more than all our packages have.
const STATEMENTS_MAX: usize = 512;

/// How much longer than the server an answer is waited for: 1 s. The server ends a statement that
/// is over its time by itself; if not even that is heard of, the connection is dead.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// How long a statement waits for a lock that another one has, as part of its own time: a third.
const LOCK_SHARE: u32 = 3;

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Connections {
    options: PgConnectOptions,
    pub(crate) pooler: Pooler,
    acquire_timeout: Duration,
    connect_timeout: Duration,
    statement_timeout: Duration,
    begin: [String; 2],
}

impl Connections {
    pub(super) fn new(url: &str, config: &Config) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| crate::config::config("url", error.to_string()))?
            .application_name(&config.application_name)
            // A pooler refuses what it cannot keep apart; no float of ours goes out as text.
            .extra_float_digits(None)
            .disable_statement_logging();
        let limits = limits(config);
        let mut connections = Self {
            options,
            pooler: config.pooler,
            acquire_timeout: config.acquire_timeout,
            connect_timeout: config.connect_timeout,
            statement_timeout: config.statement_timeout,
            begin: [
                "BEGIN".into(),
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".into(),
            ],
        };
        match config.pooler {
            Pooler::None => {
                connections.options = connections
                    .options
                    .statement_cache_capacity(STATEMENTS_MAX)
                    .options(limits);
            }
            // Nothing that is set for a session stays with us.
            Pooler::Transaction => {
                connections.options = connections.options.statement_cache_capacity(0);
                for begin in &mut connections.begin {
                    for (name, value) in &limits {
                        begin.push_str(&format!("; SET LOCAL {name} = '{value}'"));
                    }
                }
            }
        }
        Ok(connections)
    }

    /// The same for a statement that takes long, is in nobody's way and stands in no transaction.
    pub(super) fn patient(&self, limit: Duration) -> Self {
        let mut connections = self.clone();
        connections.statement_timeout = limit;
        if self.pooler == Pooler::None {
            let limit = limit.as_millis().to_string();
            let limits = [("statement_timeout", limit.as_str()), ("lock_timeout", "0")];
            connections.options = connections.options.options(limits);
        }
        connections
    }

    pub(super) fn begin(&self, mode: Mode) -> &str {
        match mode {
            Mode::Write => &self.begin[0],
            Mode::Read => &self.begin[1],
        }
    }

    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    pub(super) fn answer_timeout(&self) -> Duration {
        self.statement_timeout + ANSWER_GRACE
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Says where the server is, without user or password.
    pub(crate) fn place(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => format!("{} (port {})", socket.display(), self.options.get_port()),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }
}

fn limits(config: &Config) -> Vec<(&'static str, String)> {
    let statement = config.statement_timeout;
    let lock = (statement / LOCK_SHARE).max(Duration::from_millis(1));
    vec![
        ("statement_timeout", statement.as_millis().to_string()),
        ("lock_timeout", lock.as_millis().to_string()),
        (
            "idle_in_transaction_session_timeout",
            config.transaction_timeout.as_millis().to_string(),
        ),
    ]
}

impl Manage for Connections {
    type Conn = PgConnection;
    type Error = Error;

    async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = PgConnection::connect_with(&self.options);
        match clock::timeout(self.connect_timeout, connecting).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(trouble::classify_connect(error, || self.place())),
            Err(_) => Err(Trouble::Unreachable {
                is_file: false,
                place: self.place(),
                source: Some(format!("no answer within {:?}", self.connect_timeout).into()),
            }
            .into()),
        }
    }

    async fn is_alive(&self, conn: &mut PgConnection) -> bool {
        conn.ping().await.is_ok()
    }

    async fn reset(&self, conn: &mut PgConnection) -> bool {
        run::script(conn, "ROLLBACK".into()).await.is_ok()
    }
}
