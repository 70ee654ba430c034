//! Migrations of PostgreSQL, beside nodes that work: nobody waits for them for long.

use std::pin::pin;
use std::time::Duration;

use steadfast_core::clock;

use super::indexes::{self, Change};
use crate::error::Trouble;
use crate::pool::Held;
use crate::postgres::{self, Connections, Postgres};
use crate::store::Store;
use crate::tx::{Carrier, Tx};
use crate::{Error, Migration, Package, binds};

/// What all nodes that migrate lock. Any number that is not used by others; it is of letters.
const LOCK_KEY: i64 = i64::from_be_bytes(*b"steadfst");

/// How long a migration waits for the lock of a table: 250 ms. Whoever comes after it waits behind it.
const TABLE_LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// How long indexes may take, and how long a node waits for one that builds some: an hour, for a table with
/// some hundred million rows. They are in nobody's way.
const INDEX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How much longer than the server an answer is waited for: 5 s.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How often is looked whether others are done: each 100 ms.
const LOOK_EACH: Duration = Duration::from_millis(100);

/// How often the lock is used while an index is built, as part of the time for which it may be idle: a third.
const KEEP_SHARE: u32 = 3;

/// Begins a transaction in which nobody else migrates.
///
/// The lock is that of the transaction, not of the session: it is gone whatever ends it, and poolers keep it
/// apart. Those who wait for it ask again and again, in transactions of their own: one that stood in line would
/// hold a snapshot, and no index is ready before all earlier ones are gone.
pub(super) async fn begin(store: &Store, of: &Postgres) -> Result<Tx<'static>, Error> {
    let until = clock::now() + INDEX_TIMEOUT;
    let mut is_told = false;
    loop {
        let mut held = of.acquire().await?;
        postgres::begin_writing(&mut held).await?;
        let mut tx = Tx::new(store.clone(), Carrier::Postgres(held));
        let lock = "SELECT pg_try_advisory_xact_lock($1)";
        let locked = tx.sql(lock, binds![LOCK_KEY]).await?;
        if locked.one()?.get(0)? {
            return Ok(tx);
        }
        tx.roll_back().await?;
        if clock::now() >= until {
            return Err(over());
        }
        if !is_told {
            tracing::info!(target: "steadfast::store", "another process migrates");
            is_told = true;
        }
        clock::sleep(LOOK_EACH).await;
    }
}

fn over() -> Error {
    let (limit, undone) = (INDEX_TIMEOUT, true);
    Trouble::TimeLimit { limit, undone }.into()
}

/// Runs statements without values and commits.
///
/// All of it is one statement to the server, which ends it after `limit`, and one message, which has the
/// commit in it: what is locked stays so for no longer, also if this process or the network dies.
pub(super) async fn finish(
    held: &mut Held<Connections>,
    text: &str,
    limit: Duration,
) -> Result<(), Error> {
    let limits = format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        limit.as_millis(),
        TABLE_LOCK_TIMEOUT.as_millis()
    );
    postgres::script(held, limits, limit + ANSWER_GRACE).await?;
    let text =
        format!("DO $migration$ BEGIN EXECUTE $text$\n{text}\n$text$; END $migration$; COMMIT");
    postgres::last_script(held, text, limit + ANSWER_GRACE).await
}

/// Builds and drops the indexes of a migration, whatever an earlier try has left of them. `tx` has the lock,
/// and no snapshot between its statements.
pub(super) async fn build(
    of: &Postgres,
    tx: &mut Tx<'_>,
    package: &Package,
    migration: &Migration,
) -> Result<(), Error> {
    let changes = indexes::read(migration.postgres);
    let changes = changes.unwrap_or_else(|statement| {
        panic!("{}: no statement of indexes: {statement}", migration.name())
    });
    let until = clock::now() + INDEX_TIMEOUT;
    for change in changes {
        match change {
            Change::Drop { text } => run(of, tx, text).await?,
            Change::Create { name, text } => loop {
                if clock::now() >= until {
                    return Err(over());
                }
                let next = match look(tx, &name).await? {
                    Found::Valid => break,
                    Found::Nothing => {
                        tracing::info!(
                            target: "steadfast::store",
                            package = package.name,
                            migration = migration.name(),
                            index = name,
                            "index is being built"
                        );
                        text.clone()
                    }
                    Found::Left => {
                        let schema = crate::statement::SCHEMA;
                        format!("DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
                    }
                    // By whoever had the lock before: their connection may outlive them.
                    Found::Growing => {
                        clock::sleep(LOOK_EACH).await;
                        continue;
                    }
                };
                run(of, tx, next).await?;
            },
        }
    }
    Ok(())
}

/// What there is of an index.
enum Found {
    Nothing,
    Valid,
    Growing,
    /// Somebody began it, and did not end it.
    Left,
}

async fn look(tx: &mut Tx<'_>, name: &str) -> Result<Found, Error> {
    let schema = tx.store().config().schema.clone();
    // What a transaction has seen of others it sees of them until its end: a build that has failed since would grow for ever.
    tx.sql("SELECT pg_stat_clear_snapshot()::text", binds![])
        .await?;
    // By the rows of the catalogue: `to_regclass` goes by what the transaction has seen of it before.
    let rows = tx.sql(
        "SELECT i.indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index AS p
             WHERE p.index_relid = i.indexrelid AND p.datname = current_database())
         FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2",
        binds![schema, name],
    );
    let rows = rows.await?;
    let Some(row) = rows.iter().next() else {
        return Ok(Found::Nothing);
    };
    Ok(match (row.get(0)?, row.get(1)?) {
        (true, _) => Found::Valid,
        (false, true) => Found::Growing,
        (false, false) => Found::Left,
    })
}

/// Runs a statement outside of a transaction, and keeps the lock meanwhile. Without the lock it ends, as far
/// as this process is concerned.
async fn run(of: &Postgres, tx: &mut Tx<'_>, text: String) -> Result<(), Error> {
    let config = tx.store().config();
    let text = text.replace(crate::statement::SCHEMA, &config.schema);
    let keep_each = config.transaction_timeout / KEEP_SHARE;
    let mut held = of.patient(INDEX_TIMEOUT).await?;
    let mut work = pin!(postgres::outside(&mut held, text));
    loop {
        match clock::timeout(keep_each, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => drop(tx.sql("SELECT 1", binds![]).await?),
        }
    }
}
