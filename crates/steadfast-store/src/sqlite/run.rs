//! Statements on a connection.

use std::future::poll_fn;
use std::pin::pin;

use futures_core::Stream;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, Either, Executor, SqlSafeStr, SqlStr};

use crate::error::Trouble;
use crate::row::{Raw, Row};
use crate::value::Kind;
use crate::{Binds, Error, Rows, Value, json};

/// A text of SQL, one statement or several, with its values.
#[derive(Clone)]
pub(crate) struct SqliteRun {
    pub(crate) text: SqlStr,
    pub(crate) arguments: SqliteArguments,
}

impl SqliteRun {
    /// A text without values.
    pub(crate) fn bare(text: &'static str) -> Self {
        Self::with(text, SqliteArguments::default())
    }

    pub(crate) fn with(text: &'static str, arguments: SqliteArguments) -> Self {
        Self {
            text: text.into_sql_str(),
            arguments,
        }
    }

    pub(crate) fn new(text: impl SqlSafeStr, binds: &Binds) -> Result<Self, Error> {
        Ok(Self {
            text: text.into_sql_str(),
            arguments: arguments(binds)?,
        })
    }
}

/// Turns values into what the driver takes. They are shared from then on, not copied.
pub(super) fn arguments(binds: &Binds) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(binds.len(), 0);
    for value in binds {
        let added = match value {
            Value::Null(Kind::Bool | Kind::I64) => arguments.add(None::<i64>),
            Value::Null(Kind::F64) => arguments.add(None::<f64>),
            Value::Null(Kind::Text) => arguments.add(None::<String>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Bool(value) => arguments.add(*value),
            Value::I64(value) => arguments.add(*value),
            Value::F64(value) => arguments.add(*value),
            Value::Text(text) => arguments.add(text.as_str()),
            Value::Bytes(bytes) => arguments.add(bytes.as_slice()),
            Value::Array(array) => arguments.add(json::array(array)),
            Value::Batch(columns) => {
                if columns.windows(2).any(|two| two[0].len() != two[1].len()) {
                    return Err(Trouble::Uneven.into());
                }
                arguments.add(json::rows(columns))
            }
        };
        added.map_err(|source| Trouble::Refused(sqlx::Error::Encode(source)))?;
    }
    Ok(arguments)
}

/// Runs all statements of a text and gives the rows of all of them.
pub(super) async fn run(conn: &mut SqliteConnection, run: &SqliteRun) -> Result<Rows, sqlx::Error> {
    let query = sqlx::query_with(run.text.clone(), run.arguments.clone());
    let mut answers = pin!(conn.fetch_many(query));
    let mut rows = Rows::default();
    while let Some(answer) = poll_fn(|cx| answers.as_mut().poll_next(cx)).await {
        match answer? {
            Either::Left(done) => rows.affected = done.rows_affected(),
            Either::Right(row) => rows.rows.push(Row(Raw::Sqlite(row))),
        }
    }
    Ok(rows)
}

/// Runs statements without values.
pub(super) async fn script(
    conn: &mut SqliteConnection,
    text: &'static str,
) -> Result<(), sqlx::Error> {
    conn.execute(text).await?;
    Ok(())
}

/// Prepares all statements of a text.
#[cfg(feature = "test-util")]
pub(super) async fn prepare(
    conn: &mut SqliteConnection,
    text: &'static str,
) -> Result<(), sqlx::Error> {
    conn.prepare(text.into_sql_str()).await?;
    Ok(())
}
