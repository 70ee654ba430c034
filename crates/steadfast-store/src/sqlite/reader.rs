//! Connections that only read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::connect::{self, Stop};
use super::run;
use crate::pool::Manage;
use crate::{Config, Error};

/// Makes connections that only read.
pub(crate) struct Readers {
    path: PathBuf,
    config: Config,
    pub(super) statement_timeout: Duration,
}

/// A connection that only reads, and what stops its statement.
pub(crate) struct Reader {
    pub(super) conn: SqliteConnection,
    pub(super) stop: Stop,
}

impl std::ops::Deref for Reader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.conn
    }
}

impl std::ops::DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }
}

impl Readers {
    pub(super) fn new(path: &Path, config: &Config) -> Self {
        Self {
            path: path.to_owned(),
            config: config.clone(),
            statement_timeout: config.statement_timeout,
        }
    }
}

impl Manage for Readers {
    type Conn = Reader;
    type Error = Error;

    async fn connect(&self) -> Result<Reader, Error> {
        let (conn, stop) = connect::reader(&self.path, &self.config).await?;
        Ok(Reader { conn, stop })
    }

    async fn is_alive(&self, _: &mut Reader) -> bool {
        true
    }

    async fn reset(&self, reader: &mut Reader) -> bool {
        run::script(&mut reader.conn, "ROLLBACK").await.is_ok()
    }
}
