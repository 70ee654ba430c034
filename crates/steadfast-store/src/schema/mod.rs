//! Our own tables, and how those of all packages are brought up to date.

pub(crate) mod indexes;
#[cfg(feature = "postgres")]
mod postgres;

use std::time::Duration;

use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::report::EventDoc;
use steadfast_core::{clock, rng};

use crate::error::Trouble;
use crate::lane::Lane;
use crate::migrate::{Applied, Step, next};
use crate::store::{Backend, Store};
use crate::tx::{Carrier, Tx};
use crate::{Dialect, Error, Migration, Package, Rows, binds};

crate::statements! {
    pub(crate) MIGRATIONS_APPLIED = "migrations_applied";
    pub(crate) MIGRATION_NOTE = "migration_note";
    pub(crate) NODE_JOIN = "node_join";
    pub(crate) NODE_BEAT = "node_beat";
    pub(crate) NODE_END = "node_end";
    pub(crate) NODE_END_EXPIRED = "node_end_expired";
    pub(crate) NODE_PEERS = "node_peers";
    pub(crate) NODE_LIST = "node_list";
    pub(crate) WAKE = "wake";
    pub(crate) LEASE_TAKE = "lease_take";
    pub(crate) LEASE_RENEW = "lease_renew";
    pub(crate) LEASE_RELEASE = "lease_release";
    pub(crate) BATCH_MARK = "batch_mark";
    pub(crate) BATCH_SETTLE = "batch_settle";
    pub(crate) BATCH_FORGET = "batch_forget";
    pub(crate) BATCH_DEAD_ADD = "batch_dead_add";
    pub(crate) BATCH_LOOK = "batch_look";
}

/// What the store itself has in the database: nodes, leases, and what is known of batches. Public for tests of packages that
/// look at their rows.
pub static PACKAGE: Package = Package {
    name: "store",
    migrations: crate::migrations!["0001_nodes", "0002_batches"],
    statements: STATEMENTS,
};

pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::store",
        &["info"],
        "migration applied",
        &["migration", "package"],
    )
    .when("This process brought the tables of a package one step further.")
    .action("Nothing."),
    EventDoc::new(
        "steadfast::store",
        &["info"],
        "index is being built",
        &["index", "migration", "package"],
    )
    .when("A migration builds an index of PostgreSQL; rows are written meanwhile, and this process begins its work afterwards.")
    .action("Nothing. If it goes on: old transactions hold it up; end those that nobody needs."),
    EventDoc::new(
        "steadfast::store",
        &["info"],
        "another process migrates",
        &[],
    )
    .when("This process waits for its turn to bring the tables up to date.")
    .action("Nothing."),
    EventDoc::new(
        "steadfast::store",
        &["warn"],
        "migration not done yet",
        &["attempt", "error"],
    )
    .when("A migration was in somebody's way, or the database was out of reach; it is tried again.")
    .action("If it goes on: find who holds the table for long, and have migrations run when it is quiet."),
];

/// How long the first migrations of a package may take, and those of SQLite: 10 min, for the index of a table with
/// some ten million rows.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a migration may take whose tables are in use, from the first lock that it asks for: 750 ms. With the
/// commit, nobody who works on them waits for a second.
const HOLD_TIMEOUT: Duration = Duration::from_millis(750);

/// How often a migration that was in somebody's way, or found the database gone, is tried: 20 times,
/// a minute or so.
const ATTEMPTS_MAX: u32 = 20;

/// Makes the table in which migrations are noted.
pub(crate) async fn prepare(store: &Store) -> Result<(), Error> {
    if is_prepared(store).await? {
        return Ok(());
    }
    let missing = || Trouble::NotMigrated {
        package: PACKAGE.name,
        name: PACKAGE.migrations[0].name(),
    };
    if !store.config().migrate {
        return Err(missing().into());
    }
    again(|| async {
        let text = match store.dialect() {
            Dialect::Sqlite => include_str!("../migrations/sqlite/0000_migrations.sql"),
            Dialect::Postgres => include_str!("../migrations/postgres/0000_migrations.sql"),
        };
        begin(store).await?.finish(text, MIGRATION_TIMEOUT).await
    })
    .await
}

async fn is_prepared(store: &Store) -> Result<bool, Error> {
    let schema = store.config().schema.clone();
    let rows = store
        .read(async |mut tx| match store.dialect() {
            Dialect::Sqlite => {
                let ask = "SELECT count(*) FROM sqlite_schema WHERE name = 'steadfast_migration'";
                tx.sql(ask, binds![]).await
            }
            Dialect::Postgres => {
                let ask = "SELECT count(*) FROM information_schema.tables \
                           WHERE table_schema = $1 AND table_name = 'migration'";
                tx.sql(ask, binds![schema]).await
            }
        })
        .await?;
    Ok(rows.one()?.get::<i64>(0)? > 0)
}

/// Makes sure that a database which was changed meanwhile still fits a package. It is asked through a lane: the
/// thread that asks has a runtime of its own, and a connection for all would end with that.
pub(crate) async fn check(store: &Store, lane: &Lane, package: &Package) -> Result<(), Error> {
    let hashes = hashes(&texts(store, package));
    let rows = lane.run(&MIGRATIONS_APPLIED, binds![package.name]).await?;
    missing(package, &hashes, &applied_of(&rows)?).map(drop)
}

fn texts(store: &Store, package: &Package) -> Vec<&'static str> {
    let text = |migration: &Migration| match store.dialect() {
        Dialect::Sqlite => migration.sqlite,
        Dialect::Postgres => migration.postgres,
    };
    package.migrations.iter().map(text).collect()
}

fn hashes(texts: &[&'static str]) -> Vec<String> {
    texts.iter().map(|text| Migration::hash(text)).collect()
}

/// Applies what is missing of a package, one after the other.
pub(crate) async fn migrate(store: &Store, package: &Package) -> Result<(), Error> {
    let texts = texts(store, package);
    let hashes = hashes(&texts);
    let mut limit = None;
    loop {
        let applied = store
            .read(async |mut tx| applied(&mut tx, package).await)
            .await?;
        let Some(missing) = missing(package, &hashes, &applied)? else {
            return Ok(());
        };
        if !store.config().migrate {
            return Err(Trouble::NotMigrated {
                package: package.name,
                name: package.migrations[missing].name(),
            }
            .into());
        }
        // Tables that are made here and now are in nobody's use, until all of them are there.
        let limit = *limit.get_or_insert(match applied.is_empty() {
            true => MIGRATION_TIMEOUT,
            false => HOLD_TIMEOUT,
        });
        again(|| apply(store, package, &texts, &hashes, limit)).await?;
    }
}

/// A step of the tables of a package, and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// Its name: `0001_tables`.
    pub name: String,
    /// Whether the database has it.
    pub is_applied: bool,
    /// Whether this program has it; the database may have been changed by a newer one.
    pub is_known: bool,
}

/// Tells which steps of a package there are, here and in the database.
pub(crate) async fn status(
    store: &Store,
    package: &Package,
) -> Result<Vec<MigrationStatus>, Error> {
    let found = store
        .read(async |mut tx| applied(&mut tx, package).await)
        .await?;
    let ours = package.migrations.iter().map(|ours| MigrationStatus {
        name: ours.name().to_owned(),
        is_applied: found.iter().any(|known| known.number == ours.number()),
        is_known: true,
    });
    let known = |number| package.migrations.iter().any(|of| of.number() == number);
    let newer = found.iter().filter(|found| !known(found.number));
    let newer = newer.map(|found| MigrationStatus {
        name: found.name.clone(),
        is_applied: true,
        is_known: false,
    });
    Ok(ours.chain(newer).collect())
}

/// Applies the next one, unless another node was faster.
async fn apply(
    store: &Store,
    package: &Package,
    texts: &[&'static str],
    hashes: &[String],
    limit: Duration,
) -> Result<(), Error> {
    let mut tx = begin(store).await?;
    let applied = applied(&mut tx, package).await?;
    let Some(missing) = missing(package, hashes, &applied)? else {
        return Ok(());
    };
    let migration = &package.migrations[missing];
    let note = binds![
        package.name,
        migration.number(),
        migration.name(),
        hashes[missing].as_str(),
        migration.is_breaking()
    ];
    let at = |error: Error| {
        let place = format!("{} of {}", migration.name(), package.name);
        error.at(&place)
    };
    match store.backend() {
        #[cfg(feature = "postgres")]
        Backend::Postgres(of) if migration.is_concurrent() => {
            let built = postgres::build(of, &mut tx, package, migration).await;
            built.map_err(at)?;
            tx.run(&MIGRATION_NOTE, note).await?;
            tx.commit().await?;
        }
        _ => {
            // Noted first, so that with its last statement all is let go of that it locks.
            tx.run(&MIGRATION_NOTE, note).await?;
            tx.finish(texts[missing], limit).await.map_err(at)?;
        }
    }
    tracing::info!(
        target: "steadfast::store",
        package = package.name,
        migration = migration.name(),
        "migration applied"
    );
    Ok(())
}

async fn applied(tx: &mut Tx<'_>, package: &Package) -> Result<Vec<Applied>, Error> {
    applied_of(&tx.run(&MIGRATIONS_APPLIED, binds![package.name]).await?)
}

fn applied_of(rows: &Rows) -> Result<Vec<Applied>, Error> {
    rows.iter()
        .map(|row| {
            Ok(Applied {
                number: row.get(0)?,
                name: row.get(1)?,
                hash: row.get(2)?,
                breaking: row.get(3)?,
            })
        })
        .collect()
}

fn missing(
    package: &Package,
    hashes: &[String],
    applied: &[Applied],
) -> Result<Option<usize>, Error> {
    let trouble = match next(package.migrations, hashes, applied) {
        Step::Done => return Ok(None),
        Step::Apply(index) => return Ok(Some(index)),
        Step::Edited { name } => Trouble::EditedMigration {
            package: package.name,
            name,
        },
        Step::Newer { number, name } => Trouble::NewerSchema {
            package: package.name,
            number,
            name,
        },
    };
    Err(trouble.into())
}

/// Begins a transaction in which nobody else migrates.
async fn begin(store: &Store) -> Result<Tx<'static>, Error> {
    match store.backend() {
        #[cfg(feature = "sqlite")]
        Backend::Sqlite(sqlite) => {
            let door = sqlite.begin_long(MIGRATION_TIMEOUT).await?;
            Ok(Tx::new(store.clone(), Carrier::SqliteWriting(door)))
        }
        #[cfg(feature = "postgres")]
        Backend::Postgres(of) => postgres::begin(store, of).await,
        Backend::Never(never) => match *never {},
    }
}

impl Tx<'_> {
    /// Runs statements without values, however many, and commits.
    async fn finish(mut self, text: &'static str, limit: Duration) -> Result<(), Error> {
        self.begin_step()?;
        let store = self.store().clone();
        let carrier = self.carrier();
        let finish = async {
            match carrier {
                #[cfg(feature = "sqlite")]
                Some(Carrier::SqliteWriting(door)) => {
                    door.script(text).await?;
                    door.commit().await
                }
                #[cfg(feature = "postgres")]
                Some(Carrier::Postgres(held)) => {
                    let text = text.replace(crate::statement::SCHEMA, &store.config().schema);
                    postgres::finish(held, &text, limit).await
                }
                _ => unreachable!("migrations run in transactions that were begun for them"),
            }
        };
        store.through("migrate", true, finish).await
    }
}

/// Tries again what was in somebody's way.
async fn again<F: Future<Output = Result<(), Error>>>(
    mut work: impl FnMut() -> F,
) -> Result<(), Error> {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
        .expect("within the range of backoffs")
        .with_jitter(Jitter::Full);
    let mut attempt = 1;
    loop {
        match work().await {
            Err(error) if error.is_retryable() && attempt < ATTEMPTS_MAX => {
                tracing::warn!(target: "steadfast::store", %error, attempt, "migration not done yet");
                clock::sleep(backoff.delay(attempt, rng::bits())).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}
