//! Statements on a connection.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use futures_core::Stream;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor};

use crate::error::Trouble;
use crate::row::{Raw, Row};
use crate::value::Kind;
use crate::{Array, Binds, Error, Pooler, Rows, Value};

/// A statement with its values.
pub(crate) struct PostgresRun {
    text: Arc<str>,
    /// Whether it stays prepared on the connection.
    persistent: bool,
    arguments: PgArguments,
}

impl PostgresRun {
    pub(crate) fn new(text: Arc<str>, pooler: Pooler, binds: &Binds) -> Result<Self, Error> {
        Ok(Self {
            text,
            persistent: pooler == Pooler::None,
            arguments: arguments(binds)?,
        })
    }

    /// Keeps it from staying prepared, because it will not come again.
    pub(crate) fn once(mut self) -> Self {
        self.persistent = false;
        self
    }
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Write,
    Read,
}

/// Turns values into what the driver sends.
fn arguments(binds: &Binds) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    arguments.reserve(binds.len(), 16 * binds.len());
    for value in binds {
        let added = match value {
            Value::Null(Kind::Bool) => arguments.add(None::<bool>),
            Value::Null(Kind::I64) => arguments.add(None::<i64>),
            Value::Null(Kind::F64) => arguments.add(None::<f64>),
            Value::Null(Kind::Text) => arguments.add(None::<&str>),
            Value::Null(Kind::Bytes) => arguments.add(None::<&[u8]>),
            Value::Bool(value) => arguments.add(*value),
            Value::I64(value) => arguments.add(*value),
            Value::F64(value) => arguments.add(*value),
            Value::Text(text) => arguments.add(text.as_str()),
            Value::Bytes(bytes) => arguments.add(bytes.as_slice()),
            Value::Array(array) => add_array(&mut arguments, array),
            Value::Batch(columns) => {
                if columns.windows(2).any(|two| two[0].len() != two[1].len()) {
                    return Err(Trouble::Uneven.into());
                }
                columns
                    .iter()
                    .try_for_each(|column| add_array(&mut arguments, column))
            }
        };
        added.map_err(|source| Trouble::Refused(sqlx::Error::Encode(source)))?;
    }
    Ok(arguments)
}

fn add_array(arguments: &mut PgArguments, array: &Array) -> Result<(), sqlx::error::BoxDynError> {
    match array {
        Array::Bool(values) => arguments.add(values.as_slice()),
        Array::I64(values) => arguments.add(values.as_slice()),
        Array::OptionI64(values) => arguments.add(values.as_slice()),
        Array::F64(values) => arguments.add(values.as_slice()),
        Array::OptionBool(values) => arguments.add(values.as_slice()),
        Array::OptionF64(values) => arguments.add(values.as_slice()),
        Array::Text(values) => arguments.add(values.as_slice()),
        Array::OptionText(values) => arguments.add(values.as_slice()),
        Array::Bytes(values) => arguments.add(values.as_slice()),
        Array::OptionBytes(values) => arguments.add(values.as_slice()),
    }
}

/// Runs a statement: one round trip, once it is prepared.
pub(super) async fn run(conn: &mut PgConnection, run: PostgresRun) -> Result<Rows, sqlx::Error> {
    let query = sqlx::query_with(AssertSqlSafe(run.text), run.arguments);
    let mut answers = pin!(conn.fetch_many(query.persistent(run.persistent)));
    let mut rows = Rows::default();
    while let Some(answer) = poll_fn(|cx| answers.as_mut().poll_next(cx)).await {
        match answer? {
            Either::Left(done) => rows.affected = done.rows_affected(),
            Either::Right(row) => rows.rows.push(Row(Raw::Postgres(row))),
        }
    }
    Ok(rows)
}

/// Runs statements without values, all in one round trip.
pub(super) async fn script(conn: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    conn.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
    Ok(())
}

/// Sends rows in the text form of COPY.
pub(super) async fn copy_in(
    conn: &mut PgConnection,
    text: &str,
    lines: &[u8],
) -> Result<(), sqlx::Error> {
    let mut copy = conn.copy_in_raw(text).await?;
    for lines in lines.chunks(COPY_BYTES) {
        copy.send(lines).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// How much of a COPY is sent at once: 64 KiB.
const COPY_BYTES: usize = 64 << 10;

/// Prepares a statement.
#[cfg(feature = "test-util")]
pub(super) async fn prepare(conn: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    use sqlx::SqlSafeStr;
    conn.prepare(AssertSqlSafe(text).into_sql_str()).await?;
    Ok(())
}
