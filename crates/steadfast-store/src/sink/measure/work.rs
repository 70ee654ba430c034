//! The rows that are written to measure.

use std::sync::Arc;

use steadfast_core::batch::{Batch, Sink, WriteError};
use steadfast_core::{rng, spawn};

use super::super::table::Table;
use super::super::{outcome, text};
use crate::ident::{quoted, quoted_path};
use crate::{Array, Binds, Dialect, Error, Kind, Store, Value, binds, config};

/// Rows of one table that are written again and again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Work(Arc<Inner>);

struct Inner {
    store: Store,
    text: Arc<str>,
    keys: Keys,
}

enum Keys {
    /// So many rows of our own.
    Own(u32),
    /// Keys of somebody's table, as text.
    Theirs(Vec<String>),
}

/// Finds the primary key of a table, its type, and of how many columns it is.
const FIND_KEY: &str =
    "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), i.indnkeyatts::bigint
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = to_regclass($1) AND i.indisprimary";

impl Work {
    /// Takes the first rows of a table of somebody's own.
    pub(super) async fn of_table(store: &Store, name: &str, rows: u32) -> Result<Self, Error> {
        let wrong = |problem: String| config::config("table", problem);
        if store.dialect() == Dialect::Sqlite {
            return Err(wrong("only tables of PostgreSQL can be measured".into()));
        }
        let path = quoted_path(name);
        let asked = binds![path.clone()];
        let found = store
            .read(async |mut tx| tx.sql(FIND_KEY, asked).await)
            .await?;
        let (key, kind) = match found.first() {
            Some(row) if row.get::<i64>(2)? == 1 => {
                (quoted(row.get::<&str>(0)?), row.get::<String>(1)?)
            }
            _ => {
                let problem = format!("{name:?} is not there, or has no primary key of one column");
                return Err(wrong(problem));
            }
        };
        let list = format!("SELECT {key}::text FROM {path} ORDER BY {key} LIMIT {rows}");
        let mut tx = store.begin().await?;
        let listed = tx.made(list.into(), false, binds![]).await?;
        tx.commit().await?;
        let keys = listed
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<Vec<String>, _>>()?;
        if keys.is_empty() {
            return Err(wrong(format!("{name:?} has no rows")));
        }
        // Locked in order first: an update alone locks as it finds, and two of them deadlock.
        let text = format!(
            "UPDATE {path} AS target SET {key} = target.{key} FROM (SELECT {key} FROM {path} \
             WHERE {key} = ANY ($1::text[]::{kind}[]) ORDER BY {key} FOR NO KEY UPDATE) AS locked \
             WHERE target.{key} = locked.{key}"
        );
        Ok(Self::new(store, text, Keys::Theirs(keys)))
    }

    fn new(store: &Store, text: String, keys: Keys) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            text: text.into(),
            keys,
        }))
    }

    /// How many rows there are.
    pub(super) fn keys(&self) -> usize {
        match &self.0.keys {
            Keys::Own(rows) => *rows as usize,
            Keys::Theirs(keys) => keys.len(),
        }
    }

    /// Writes those rows in one transaction; they are in order, and each comes once.
    pub(super) async fn write(&self, picks: &[u32]) -> Result<(), Error> {
        let Inner { store, text, keys } = &*self.0;
        let value = match keys {
            Keys::Own(_) => {
                let ids: Vec<_> = picks.iter().map(|pick| i64::from(*pick)).collect();
                let numbers: Vec<_> = picks.iter().map(|_| (rng::bits() >> 1) as i64).collect();
                Value::Batch(vec![Array::I64(ids), Array::I64(numbers)])
            }
            Keys::Theirs(keys) => {
                let picked = picks.iter().map(|pick| keys[*pick as usize].clone());
                Value::from(picked.collect::<Vec<_>>())
            }
        };
        let binds: Binds = vec![value];
        #[cfg(feature = "postgres")]
        if store.dialect() == Dialect::Postgres {
            return store.run_made(text.clone(), &binds).await.map(drop);
        }
        let mut tx = store.begin().await?;
        tx.made(text.clone(), true, binds).await?;
        tx.commit().await
    }
}

/// The same for a batch writer.
pub(super) struct WorkSink(pub(super) Work);

impl Sink<u32> for WorkSink {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        self.0.write(batch.rows()).await.map_err(outcome::of)
    }
}

/// A table of our own, dropped at the end.
pub(super) struct Scratch {
    store: Store,
    name: String,
    rows: u32,
    is_there: bool,
}

/// What its name begins with; the time follows at which it was made, in microseconds since 1970.
const PREFIX: &str = "batch_scratch_";

/// After so long nobody measures with it any more: an hour. Twenty sizes of a minute, and as long for replicas to catch
/// up, are less.
const OLD_US: i64 = 3_600_000_000;

impl Scratch {
    pub(super) async fn make(store: &Store, rows: u32) -> Result<Self, Error> {
        refuse_publications(store).await?;
        let now = now_us(store).await?;
        remove_old(store, now).await?;
        let mut scratch = Self {
            store: store.clone(),
            name: format!(
                "{}{PREFIX}{now}_{:x}",
                schema_prefix(store),
                rng::bits() as u32
            ),
            rows,
            is_there: false,
        };
        let path = quoted_path(&scratch.name);
        let columns = match store.dialect() {
            Dialect::Postgres => "(id bigint PRIMARY KEY, n bigint NOT NULL)",
            Dialect::Sqlite => "(id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT",
        };
        scratch.is_there = true;
        run(store, format!("CREATE TABLE {path} {columns}")).await?;
        let work = scratch.work();
        for first in (0..rows).step_by(1_000) {
            let some: Vec<u32> = (first..rows.min(first + 1_000)).collect();
            work.write(&some).await?;
        }
        Ok(scratch)
    }

    pub(super) fn work(&self) -> Work {
        let table = Table::new(&self.name)
            .column("id", Kind::I64)
            .column("n", Kind::I64)
            .upsert(["id"]);
        let text = text::unnest(&table, self.store.dialect(), 1, "");
        Work::new(&self.store, text, Keys::Own(self.rows))
    }

    pub(super) async fn remove(mut self) -> Result<(), Error> {
        drop_table(&self.store, &self.name).await?;
        self.is_there = false;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_there || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (store, name) = (self.store.clone(), std::mem::take(&mut self.name));
        drop(spawn("drop scratch table", async move {
            // If that fails, too, a later run does it.
            let _ = drop_table(&store, &name).await;
        }));
    }
}

/// What stands before a name of our own.
fn schema_prefix(store: &Store) -> String {
    match store.dialect() {
        Dialect::Postgres => format!("{}.", store.config().schema),
        Dialect::Sqlite => "steadfast_".into(),
    }
}

async fn run(store: &Store, text: String) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    tx.made(text.into(), false, binds![]).await?;
    tx.commit().await
}

async fn drop_table(store: &Store, name: &str) -> Result<(), Error> {
    let path = quoted_path(name);
    run(store, format!("DROP TABLE IF EXISTS {path}")).await
}

async fn now_us(store: &Store) -> Result<i64, Error> {
    let text = match store.dialect() {
        Dialect::Postgres => "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        Dialect::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    };
    let rows = store
        .read(async |mut tx| tx.sql(text, binds![]).await)
        .await?;
    rows.one()?.get(0)
}

/// Removes what was left by processes that were killed.
async fn remove_old(store: &Store, now_us: i64) -> Result<(), Error> {
    let text = match store.dialect() {
        Dialect::Postgres => {
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE starts_with(schemaname || '.' || tablename, $1)"
        }
        Dialect::Sqlite => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?1 || '*'"
        }
    };
    let start = format!("{}{PREFIX}", schema_prefix(store));
    let asked = binds![start.clone()];
    let rows = store.read(async |mut tx| tx.sql(text, asked).await).await?;
    for row in &rows {
        let name: &str = row.get(0)?;
        let made = name
            .strip_prefix(&start)
            .and_then(|rest| rest.split('_').next()?.parse::<i64>().ok());
        if made.is_none_or(|made| now_us - made > OLD_US) {
            drop_table(store, name).await?;
        }
    }
    Ok(())
}

/// Whether there are publications of schemas: since PostgreSQL 15.
const HAS_SCHEMAS: &str = "SELECT to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL";

const OF_ALL: &str = "SELECT pubname::text FROM pg_publication WHERE puballtables";

const OF_SCHEMA: &str = "SELECT p.pubname::text FROM pg_publication p
    JOIN pg_publication_namespace n ON n.pnpubid = p.oid JOIN pg_namespace s ON s.oid = n.pnnspid
    WHERE s.nspname = $1";

/// A subscriber to all tables stops at the first row of one that it does not have, and with it all that follows.
async fn refuse_publications(store: &Store) -> Result<(), Error> {
    if store.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let schema = binds![store.config().schema.clone()];
    let asked = store.read(async |mut tx| {
        let mut found = tx.sql(OF_ALL, binds![]).await?;
        if found.is_empty() && tx.sql(HAS_SCHEMAS, binds![]).await?.one()?.get(0)? {
            found = tx.sql(OF_SCHEMA, schema).await?;
        }
        Ok::<_, Error>(found)
    });
    let Some(publication) = asked
        .await?
        .first()
        .map(|row| row.get::<String>(0))
        .transpose()?
    else {
        return Ok(());
    };
    Err(config::config(
        "target",
        format!(
            "the publication {publication:?} would publish a table of our own, at which its subscribers would stop, since \
             they have none: name a table that both have"
        ),
    ))
}
