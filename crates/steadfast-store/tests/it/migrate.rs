//! Tables that change under those who work on them.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use steadfast_core::{clock, spawn};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Config, Error, Migration, Package, Store, on_every_store};

use crate::process;

const ITEM: Migration = Migration::new(
    "0001_item",
    "CREATE TABLE steadfast_item (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE {schema}.item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
     CREATE TABLE {schema}.pace (seconds float8 NOT NULL); INSERT INTO {schema}.pace VALUES (60)",
);

const BY_NAME: Migration = Migration::new(
    "0002_by_name",
    "CREATE INDEX steadfast_item_by_name ON steadfast_item (name)",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS item_by_name ON {schema}.item (name)",
)
.concurrent();

const ONE_NAME: Migration = Migration::new(
    "0002_one_name",
    "CREATE UNIQUE INDEX steadfast_item_name ON steadfast_item (name)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS item_name ON {schema}.item (name)",
)
.concurrent();

const COLUMN: Migration = Migration::new(
    "0002_column",
    "ALTER TABLE steadfast_item ADD COLUMN color TEXT",
    "ALTER TABLE {schema}.item ADD COLUMN color text",
);

const SLOW: Migration = Migration::new(
    "0002_slow",
    "ALTER TABLE steadfast_item ADD COLUMN color TEXT",
    "ALTER TABLE {schema}.item ADD COLUMN color text; SELECT pg_sleep(seconds) FROM {schema}.pace",
);

const RENAMED: Migration = Migration::new(
    "0003_renamed",
    "DROP INDEX steadfast_item_by_name; CREATE INDEX steadfast_item_name_id ON steadfast_item (name, id)",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS item_name_id ON {schema}.item (name, id);
     DROP INDEX CONCURRENTLY IF EXISTS {schema}.item_by_name",
)
.concurrent();

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn package(migrations: &'static [Migration]) -> Package {
    Package {
        name: "test",
        migrations,
        statements: &[],
    }
}

/// A session of somebody else, past any pooler.
struct Session(PgConnection);

impl Session {
    async fn open(database: &Database) -> Self {
        Self(PgConnection::connect(&database.direct_url()).await.unwrap())
    }

    async fn run(&mut self, text: &'static str) {
        sqlx::raw_sql(text).execute(&mut self.0).await.unwrap();
    }

    async fn number(&mut self, text: &'static str) -> i64 {
        sqlx::query_scalar(text)
            .fetch_one(&mut self.0)
            .await
            .unwrap()
    }

    /// Waits until a question is answered with this number.
    async fn until(&mut self, text: &'static str, number: i64) {
        let until = clock::now() + PATIENCE;
        loop {
            let found = self.number(text).await;
            if found == number {
                return;
            }
            assert!(clock::now() < until, "{text}: {found}");
            clock::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends another's connection.
    async fn end(&mut self, backend: i64) {
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(i32::try_from(backend).unwrap())
            .execute(&mut self.0)
            .await
            .unwrap();
    }

    /// Writes into the table; the server says if it had to wait for a second.
    async fn write(&mut self) {
        self.run("SET lock_timeout = '1s'; INSERT INTO steadfast.item (name) VALUES (gen_random_uuid()::text)")
            .await;
    }
}

/// 1 while somebody waits for the table as a whole, 2 once somebody has it.
const TAKEN: &str = "SELECT coalesce(max(1 + granted::int), 0)::bigint FROM pg_locks \
    WHERE relation = 'steadfast.item'::regclass AND mode = 'AccessExclusiveLock'";

/// 0 without the index, 1 while it is not valid, 2 afterwards.
const BY_NAME_IS: &str = "SELECT coalesce(max(1 + indisvalid::int), 0)::bigint FROM pg_index \
    WHERE indexrelid = to_regclass('steadfast.item_by_name')";

const BY_NAME_OID: &str = "SELECT 'steadfast.item_by_name'::regclass::oid::bigint";

const APPLIED: &str =
    "SELECT count(*) FROM steadfast.migration WHERE package = 'test' AND number = 2";

async fn migrating(store: &Store, package: Package) -> steadfast_core::Task<Result<(), Error>> {
    let store = store.clone();
    spawn("migrate", async move { store.migrate(&package).await })
}

on_every_store! {
    async fn steps_of_every_kind_are_applied_in_order_and_once(database) {
        let store = database.open().await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let all = package(&[ITEM, BY_NAME, RENAMED]);

        let others = [database.open().await, database.open().await];
        let tasks = others.each_ref().map(|other| {
            let other = other.clone();
            spawn("migrate", async move { other.migrate(&all).await })
        });
        for task in tasks {
            task.await.unwrap().unwrap();
        }

        let status = store.migrations(&all).await.unwrap();
        assert!(status.iter().all(|step| step.is_applied) && status.len() == 3, "{status:?}");
        store.migrate(&all).await.unwrap();
    }
}

/// On PostgreSQL, directly and through a pooler.
const SERVERS: [Kind; 2] = [Kind::Postgres, Kind::Pgbouncer];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_while_rows_are_written() {
    for kind in SERVERS {
        let database = Database::make(kind).await;
        // For less than the index takes may a transaction stand still.
        let config = Config {
            transaction_timeout: Duration::from_millis(300),
            ..database.config()
        };
        let store = database.open_with(config).await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let (mut old, mut writer) = (
            Session::open(&database).await,
            Session::open(&database).await,
        );
        // No index is ready before all older snapshots are gone.
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM steadfast.pace")
            .await;

        let migrating = migrating(&store, package(&[ITEM, BY_NAME])).await;
        writer.until(BY_NAME_IS, 1).await;
        for _ in 0..50 {
            writer.write().await;
            clock::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(writer.number(BY_NAME_IS).await, 1);
        assert_eq!(writer.number(APPLIED).await, 0);
        // Still by the same process: the lock is kept for as long as it takes.
        writer.until(LOCKS, 1).await;
        old.run("COMMIT").await;

        migrating.await.unwrap().unwrap();
        assert_eq!(writer.number(BY_NAME_IS).await, 2);
        assert_eq!(writer.number(APPLIED).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_another_to_build_an_index_does_not_hold_it_up() {
    let database = Database::make(Kind::Postgres).await;
    let (one, two) = (database.open().await, database.open().await);
    one.migrate(&package(&[ITEM])).await.unwrap();
    let (mut old, mut writer) = (
        Session::open(&database).await,
        Session::open(&database).await,
    );
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM steadfast.pace")
        .await;
    let builds = migrating(&one, package(&[ITEM, BY_NAME])).await;
    writer.until(BY_NAME_IS, 1).await;

    let asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND query LIKE '%pg_try_advisory%' AND pid <> pg_backend_pid()";
    let before = writer.number(asked).await;
    let waits = migrating(&two, package(&[ITEM, BY_NAME])).await;
    while writer.number(asked).await <= before && !waits.is_finished() {
        clock::sleep(Duration::from_millis(5)).await;
    }
    assert!(!waits.is_finished());
    old.run("COMMIT").await;

    for task in [builds, waits] {
        let done = clock::timeout(PATIENCE, task).await;
        done.expect("neither waits for the other").unwrap().unwrap();
    }
    assert_eq!(writer.number(BY_NAME_IS).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_failed_is_built_anew() {
    for kind in SERVERS {
        let database = Database::make(kind).await;
        let store = database.open().await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let mut writer = Session::open(&database).await;
        writer
            .run("INSERT INTO steadfast.item (name) VALUES ('a'), ('a'), ('b')")
            .await;
        let all = package(&[ITEM, ONE_NAME]);

        let refused = store.migrate(&all).await.unwrap_err();
        assert!(refused.is_unique_violation(), "{refused}");
        assert!(refused.to_string().contains("0002_one_name"), "{refused}");
        let left = "SELECT count(*) FROM pg_index WHERE indexrelid = 'steadfast.item_name'::regclass AND NOT indisvalid";
        assert_eq!(writer.number(left).await, 1, "it is left behind");
        writer
            .run("DELETE FROM steadfast.item WHERE name = 'a'")
            .await;

        store.migrate(&all).await.unwrap();
        assert_eq!(writer.number(left).await, 0);
        assert_eq!(writer.number(APPLIED).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waits_for_a_table_has_nobody_wait_behind_it_for_long() {
    for kind in SERVERS {
        let database = Database::make(kind).await;
        let store = database.open().await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let (mut reader, mut writer, mut look) = (
            Session::open(&database).await,
            Session::open(&database).await,
            Session::open(&database).await,
        );
        reader
            .run("BEGIN; SELECT count(*) FROM steadfast.item")
            .await;

        let migrating = migrating(&store, package(&[ITEM, COLUMN])).await;
        for _ in 0..3 {
            look.until(TAKEN, 1).await;
            writer.write().await;
            // By then it has given way.
            look.until(TAKEN, 0).await;
            writer.write().await;
        }
        assert_eq!(look.number(APPLIED).await, 0);
        reader.run("COMMIT").await;

        migrating.await.unwrap().unwrap();
        assert_eq!(look.number(APPLIED).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_takes_long_is_ended_before_others_have_waited_for_long() {
    for kind in SERVERS {
        let database = Database::make(kind).await;
        let store = database.open().await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let (mut writer, mut look) = (
            Session::open(&database).await,
            Session::open(&database).await,
        );

        let migrating = migrating(&store, package(&[ITEM, SLOW])).await;
        for _ in 0..3 {
            look.until(TAKEN, 2).await;
            writer.write().await;
        }
        assert_eq!(look.number(APPLIED).await, 0);
        writer.run("UPDATE steadfast.pace SET seconds = 0").await;

        migrating.await.unwrap().unwrap();
        assert_eq!(look.number(APPLIED).await, 1);
    }
}

/// Brings the tables up to date, unless it is killed.
pub(crate) async fn migrate_until_killed() {
    let store = Store::open(Config::parse(&std::env::var("URL").unwrap()).unwrap()).await;
    let done = store.unwrap().migrate(&package(&[ITEM, BY_NAME])).await;
    process::say(&format!("migrated {done:?}"));
}

/// How many have the lock under which tables are changed.
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// How many statements about indexes are under way.
const AT_INDEXES: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
    AND query LIKE '%INDEX CONCURRENTLY%' AND state = 'active' AND pid <> pg_backend_pid()";

/// Who builds the index.
const BUILDER: &str =
    "SELECT pid::bigint FROM pg_stat_progress_create_index WHERE datname = current_database()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_after_one_that_was_killed_brings_its_index_to_an_end() {
    // When its connection dies: never, before the next one comes, and while that waits for it.
    for (dies_before, dies_meanwhile) in [(false, false), (true, false), (false, true)] {
        let database = Database::make(Kind::Postgres).await;
        let store = database.open().await;
        store.migrate(&package(&[ITEM])).await.unwrap();
        let (mut old, mut look) = (
            Session::open(&database).await,
            Session::open(&database).await,
        );
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM steadfast.pace")
            .await;
        let url = database.direct_url();
        let killed = process::start("migrate_until_killed", &[("URL", &url)]);
        look.until(BY_NAME_IS, 1).await;
        let (builder, index) = (look.number(BUILDER).await, look.number(BY_NAME_OID).await);

        killed.signal("KILL");
        if dies_before {
            look.end(builder).await;
            look.until(AT_INDEXES, 0).await;
        }
        assert_eq!(look.number(BY_NAME_IS).await, 1, "it is half done");
        let mut next = process::start("migrate_until_killed", &[("URL", &url)]);
        if dies_before {
            // It begins anew, and waits for the old transaction itself.
            look.until(AT_INDEXES, 1).await;
        } else {
            look.until(LOCKS, 1).await;
            for _ in 0..50 {
                assert_eq!(look.number(AT_INDEXES).await, 1, "it is left alone");
                clock::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(look.number(BUILDER).await, builder, "the server goes on");
            if dies_meanwhile {
                look.end(builder).await;
            }
        }
        old.run("COMMIT").await;

        assert_eq!(next.says("migrated "), "Ok(())");
        assert_eq!(look.number(BY_NAME_IS).await, 2);
        assert_eq!(look.number(APPLIED).await, 1);
        let rebuilt = look.number(BY_NAME_OID).await != index;
        assert_eq!(rebuilt, dies_before || dies_meanwhile);
    }
}
