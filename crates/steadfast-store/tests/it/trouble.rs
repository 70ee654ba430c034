//! What goes wrong, and what is said about it.

use std::net::TcpListener;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_core::{scope, spawn};
use steadfast_store::testing::{Cluster, Database, Kind, Stop};
use steadfast_store::{
    Config, Dialect, Error, Fault, Faults, Migration, Package, Place, Pooler, Store, Wake, binds,
    migrations, on_every_store,
};

use crate::process;

async fn table(store: &Store) {
    let text = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT)";
    store
        .write(async |mut tx| tx.sql(text, binds![]).await)
        .await
        .unwrap();
}

async fn insert(store: &Store, id: i64) -> Result<(), Error> {
    let text = match store.dialect() {
        Dialect::Sqlite => "INSERT INTO item (id, name) VALUES (?1, 'a')",
        Dialect::Postgres => "INSERT INTO item (id, name) VALUES ($1, 'a')",
    };
    store
        .write(async |mut tx| tx.sql(text, binds![id]).await)
        .await
        .map(drop)
}

async fn count(store: &Store) -> i64 {
    let rows = store
        .read(async |mut tx| tx.sql("SELECT count(*) FROM item", binds![]).await)
        .await
        .unwrap();
    rows.one().unwrap().get(0).unwrap()
}

const LARGE: [Migration; 1] = [Migration::new("0009_later", "SELECT 1", "SELECT 1").breaking()];
const SMALL: [Migration; 1] = [Migration::new("0009_later", "SELECT 1", "SELECT 1")];
const EDITED: [Migration; 1] = [Migration::new("0009_later", "SELECT 2", "SELECT 2")];

fn package(migrations: &'static [Migration]) -> Package {
    Package {
        name: "test",
        migrations,
        statements: &[],
    }
}

on_every_store! {
    async fn a_breaking_migration_keeps_older_programs_out(database) {
        let newer = database.open().await;
        newer.migrate(&package(&LARGE)).await.unwrap();

        let older = database.open().await;
        let refused = older.migrate(&package(&[])).await.unwrap_err();

        assert_eq!(refused.code(), "SF-1104", "{refused}");
        assert!(refused.is_version() && !refused.is_retryable());
    }

    async fn a_migration_that_expands_lets_older_programs_go_on(database) {
        let newer = database.open().await;
        newer.migrate(&package(&SMALL)).await.unwrap();

        let older = database.open().await;
        older.migrate(&package(&[])).await.unwrap();
        let edited = older.migrate(&package(&EDITED)).await.unwrap_err();

        assert_eq!(edited.code(), "SF-1105", "{edited}");
    }

    async fn a_node_that_must_not_run_past_a_migration_stops(database) {
        let older = database.open().await;
        older.migrate(&package(&[])).await.unwrap();
        let config = steadfast_store::NodeConfig::new("older", "1")
            .with_lease(Duration::from_millis(1_500));
        let node = older.join(config).await.unwrap();
        let life = node.incarnation().unwrap();

        // The first beat learns what there is, the next one that it has changed.
        let beats = node.health().beats;
        while node.health().beats < beats + 2 {
            clock::sleep(Duration::from_millis(20)).await;
        }
        let newer = database.open().await;
        newer.migrate(&package(&LARGE)).await.unwrap();
        life.cancel().cancelled().await;

        while node.health().refused.is_none() {
            clock::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(node.health().refused.unwrap().code(), "SF-1104");
        assert!(node.incarnation().is_none());
    }

    async fn a_node_that_cannot_look_at_a_migration_at_once_looks_again(database) {
        let faults = Faults::new();
        let config = Config { faults: faults.clone(), ..database.config() };
        let older = Store::open(config).await.unwrap();
        older.migrate(&package(&[])).await.unwrap();
        let config = steadfast_store::NodeConfig::new("older", "1").with_lease(Duration::from_secs(6));
        let node = older.join(config).await.unwrap();
        let life = node.incarnation().unwrap();
        // Before the first beat has told what there is.
        faults.on_name("migrations_applied", Fault::Before);
        let newer = database.open().await;
        newer.migrate(&package(&LARGE)).await.unwrap();
        let failed = async {
            while node.health().failures == 0 {
                clock::sleep(Duration::from_millis(20)).await;
            }
        };
        clock::timeout(Duration::from_secs(60), failed).await.unwrap();
        assert!(node.health().refused.is_none());

        faults.clear();
        let over = clock::timeout(Duration::from_secs(60), life.cancel().cancelled());

        over.await.unwrap();
        let refused = async {
            while node.health().refused.is_none() {
                clock::sleep(Duration::from_millis(20)).await;
            }
        };
        clock::timeout(Duration::from_secs(60), refused).await.unwrap();
        assert_eq!(node.health().refused.unwrap().code(), "SF-1104");
    }

    async fn a_program_that_may_not_migrate_says_what_is_missing(database) {
        let config = Config { migrate: false, ..database.config() };

        let missing = Store::open(config.clone()).await.unwrap_err();
        assert_eq!(missing.code(), "SF-1117", "{missing}");

        database.open().await.close().await;
        Store::open(config).await.unwrap();
    }

    async fn a_transaction_that_reads_writes_nothing(database) {
        let store = database.open().await;
        table(&store).await;

        let refused = store
            .read(async |mut tx| tx.sql("INSERT INTO item (id) VALUES (1)", binds![]).await)
            .await
            .unwrap_err();

        assert_eq!(refused.code(), "SF-1106", "{refused}");
        assert!(refused.is_read_only());
        assert_eq!(count(&store).await, 0);
    }

    async fn a_statement_over_its_time_is_ended_and_nothing_of_it_stays(database) {
        let config = Config { statement_timeout: Duration::from_millis(300), ..database.config() };
        let store = database.open_with(config).await;
        table(&store).await;

        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n WHERE i < 0";
        // Each has a row of its own: that of the one before may still be on its way back.
        for insert in [
            "INSERT INTO item (id) VALUES (1)",
            "INSERT INTO item (id) VALUES (2)",
            "INSERT INTO item (id) VALUES (3)",
        ] {
            let over = store
                .write(async |mut tx| {
                    tx.sql(insert, binds![]).await?;
                    tx.sql(endless, binds![]).await
                })
                .await
                .unwrap_err();
            assert_eq!(over.code(), "SF-1110", "{over}");
            assert!(over.is_time_limit() && !over.is_outcome_unknown());
        }
        let over = store
            .read(async |mut tx| tx.sql(endless, binds![]).await)
            .await
            .unwrap_err();

        assert!(over.is_time_limit(), "{over}");
        assert_eq!(count(&store).await, 0);
    }

    async fn whoever_waits_in_vain_is_told_who_has_what(database) {
        let config = Config {
            connections_max: 1,
            acquire_timeout: Duration::from_millis(200),
            ..database.config()
        };
        let store = database.open_with(config).await;
        let (begun, begin) = tokio::sync::oneshot::channel();
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        let holding = store.clone();
        let holder = spawn("holder", async move {
            let held = scope("settlement").run(async |_| {
                let tx = holding.begin().await.unwrap();
                begun.send(()).unwrap();
                let _ = wait.await;
                drop(tx);
                Ok(())
            });
            held.await.unwrap();
        });
        begin.await.unwrap();

        let refused = store.begin().await.unwrap_err();

        assert_eq!(refused.code(), "SF-1109", "{refused}");
        assert!(refused.is_overload() && refused.is_retryable());
        assert!(refused.to_string().contains("settlement"), "{refused}");
        done.send(()).unwrap();
        holder.await.unwrap();
        store.begin().await.unwrap().commit().await.unwrap();
    }

    async fn a_store_that_is_closed_says_so(database) {
        let store = database.open().await;

        store.close().await;

        let closed = store.begin().await.unwrap_err();
        assert_eq!(closed.code(), "SF-1122", "{closed}");
        assert!(!store.health().await.is_up());
    }

    async fn faults_hit_each_operation_before_and_after_it_is_done(database) {
        let faults = Faults::new();
        let store = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        table(&store).await;

        for (done, fault) in [(0, Fault::Before), (1, Fault::After)] {
            for n in 1.. {
                faults.on(n, fault);
                let round = insert(&store, n as i64 + done * 100).await;
                let hit = faults.hits() > 0;
                faults.clear();
                if !hit {
                    round.unwrap();
                    assert_eq!(n, 4, "begin, statement and commit were hit, each once");
                    break;
                }
                let error = round.unwrap_err();
                assert!(error.is_retryable(), "{error}");
                assert_eq!(error.is_outcome_unknown(), fault == Fault::After);
            }
        }

        // Of each sweep the last round, and the one whose commit lost its answer.
        assert_eq!(count(&store).await, 3);
    }

    async fn wake_ups_arrive(database) {
        let (here, there) = (database.open().await, database.open().await);
        let (mut at_home, mut elsewhere) = (here.wakes("jobs"), there.wakes("jobs"));
        let mut others = here.wakes("schedules");

        here.wake("jobs", "mail").await.unwrap();

        // That listening has begun may be told first.
        while at_home.next().await != Wake::Payload("mail".into()) {}
        match database.kind() {
            Kind::Postgres => loop {
                // Sent again until the other one listens.
                here.wake("jobs", "mail").await.unwrap();
                let next = clock::timeout(Duration::from_millis(200), elsewhere.next()).await;
                if next == Ok(Wake::Payload("mail".into())) {
                    break;
                }
            },
            Kind::Sqlite => {
                // What there was before is not known, so that it listens is told first.
                assert_eq!(elsewhere.next().await, Wake::Everything);
                table(&here).await;
                assert_eq!(elsewhere.next().await, Wake::Everything);
            }
            Kind::Pgbouncer => assert!(!there.capabilities().pushed_wakes),
        }
        let other = clock::timeout(Duration::from_millis(50), others.next()).await;
        assert_ne!(other, Ok(Wake::Payload("mail".into())));
    }

    async fn many_at_once_get_their_own_answers(database) {
        let store = database.open().await;
        let ask = match store.dialect() {
            Dialect::Sqlite => "SELECT ?1",
            Dialect::Postgres => "SELECT $1::bigint",
        };

        // Behind PgBouncer ten clients share two servers.
        let clients: Vec<_> = (0..40_i64)
            .map(|client| {
                let store = store.clone();
                spawn("client", async move {
                    for i in 0..25_i64 {
                        let number = client * 1_000 + i;
                        let rows = store
                            .read(async |mut tx| tx.sql(ask, binds![number]).await)
                            .await
                            .unwrap();
                        assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), number);
                    }
                })
            })
            .collect();

        for client in clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_reported_at_once() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = Config {
        connect_timeout: Duration::from_secs(3_600),
        acquire_timeout: Duration::from_secs(3_600),
        ..Config::postgres(format!("postgres://postgres:secret@127.0.0.1:{port}/shop"))
    };

    let opened = clock::timeout(Duration::from_secs(60), Store::open(config)).await;

    let error = opened.expect("long before the hour is over").unwrap_err();
    assert_eq!(error.code(), "SF-1101", "{error}");
    assert!(error.is_unreachable() && error.is_retryable() && !error.is_outcome_unknown());
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let config = Config {
        connect_timeout: Duration::from_millis(200),
        ..Config::postgres(format!("postgres://postgres@127.0.0.1:{port}/shop"))
    };

    let error = Store::open(config).await.unwrap_err();

    assert_eq!(error.code(), "SF-1101", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_why() {
    for kind in [Kind::Postgres, Kind::Pgbouncer] {
        let database = Database::make(kind).await;
        let mut config = database.config();
        let Place::Postgres(url) = &mut config.place else {
            unreachable!("it was made on PostgreSQL");
        };
        url.push_str("_not_there");

        let error = Store::open(config).await.unwrap_err();

        assert_eq!(error.code(), "SF-1115", "{error}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ends_are_replaced() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    table(&store).await;
    let node = store
        .join(steadfast_store::NodeConfig::new("test", "1").with_lease(Duration::from_secs(15)))
        .await
        .unwrap();
    let life = node.incarnation().unwrap();
    let admin = database.open().await;

    for id in 0..5 {
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let _ = admin
            .write(async |mut tx| tx.sql(terminate, binds![]).await)
            .await;
        // What was under way may be lost; nothing else is.
        let mut attempts = 0;
        while let Err(error) = insert(&store, id).await {
            assert!(error.is_retryable(), "{error:?}");
            attempts += 1;
            assert!(attempts < 20, "{error:?}");
        }
    }
    let beats = node.health().beats;
    while node.health().beats < beats + 2 {
        clock::sleep(Duration::from_millis(20)).await;
    }

    assert!(
        life.is_held(),
        "beats found a new connection before the lease was over"
    );
    assert_eq!(count(&store).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_found_again() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    table(&store).await;
    let node = store
        .join(steadfast_store::NodeConfig::new("test", "1").with_lease(Duration::from_secs(60)))
        .await
        .unwrap();
    let life = node.incarnation().unwrap();

    for (id, how) in [(1, Stop::Fast), (2, Stop::Immediate)] {
        tokio::task::block_in_place(|| cluster.stop(how));
        let down = insert(&store, id).await.unwrap_err();
        assert!(down.is_unreachable() && down.is_retryable(), "{down:?}");
        assert!(!store.health().await.is_up());

        tokio::task::block_in_place(|| cluster.start_again());
        let mut attempts = 0;
        while let Err(error) = insert(&store, id).await {
            attempts += 1;
            assert!(attempts < 20 && error.is_retryable(), "{error:?}");
        }
    }

    assert!(life.is_held(), "the lease outlived the restarts");
    node.leave().await;
}

/// T17: the pool keeps no permit for a statement on a connection that never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_gives_its_place_back() {
    let database = Database::make(Kind::Postgres).await;
    let config = Config {
        connections_max: 1,
        statement_timeout: Duration::from_millis(300),
        ..database.config()
    };
    let store = database.open_with(config).await;
    table(&store).await;
    let mut tx = store.begin().await.unwrap();
    let rows = tx.sql("SELECT pg_backend_pid()", binds![]).await.unwrap();
    let backend: i64 = rows.one().unwrap().get(0).unwrap();

    process::signal(backend, "STOP");
    let dead = tx.sql("SELECT 1", binds![]).await.unwrap_err();
    drop(tx);

    assert_eq!(dead.code(), "SF-1110", "{dead}");
    assert!(dead.is_outcome_unknown());
    insert(&store, 1).await.unwrap();
    process::signal(backend, "CONT");
}

/// T29: without BEGIN and COMMIT around them, two steps of one statement reach two servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_told_of_the_pooler_does_not_open() {
    let database = Database::make(Kind::Pgbouncer).await;

    let refused = Store::open(Config {
        pooler: Pooler::None,
        ..database.config()
    })
    .await
    .unwrap_err();

    assert!(
        !refused.is_retryable() || refused.is_unreachable(),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgres_is_told_and_recovered_from() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let space = tokio::task::block_in_place(|| cluster.tablespace("small", 24));
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    let create = "CREATE TABLE filler (data text) TABLESPACE small";
    store
        .write(async |mut tx| tx.sql(create, binds![]).await)
        .await
        .unwrap();
    let fill = "INSERT INTO filler SELECT string_agg(md5(random()::text), '') \
                FROM generate_series(1, 60000) AS n GROUP BY n % 30";

    let full = loop {
        match store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await
        {
            Ok(_) => {}
            Err(error) => break error,
        }
    };

    assert_eq!(full.code(), "SF-1107", "{full}");
    assert!(full.is_disk_full() && full.is_retryable() && !full.is_outcome_unknown());
    store
        .write(async |mut tx| tx.sql("DROP TABLE filler", binds![]).await)
        .await
        .unwrap();
    store
        .write(async |mut tx| tx.sql(create, binds![]).await)
        .await
        .unwrap();
    store
        .write(async |mut tx| tx.sql(fill, binds![]).await)
        .await
        .unwrap();
    drop(space);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_sqlite_is_told_and_recovered_from() {
    let database = Database::make(Kind::Sqlite).await;
    let config = Config {
        page_count_max: Some(200),
        ..database.config()
    };
    let store = database.open_with(config).await;
    table(&store).await;
    let fill = "INSERT INTO item (name) SELECT hex(randomblob(2000)) FROM \
                (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10))";

    let full = loop {
        match store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await
        {
            Ok(_) => {}
            Err(error) => break error,
        }
    };

    assert_eq!(full.code(), "SF-1107", "{full}");
    let before = count(&store).await;
    assert_eq!(before % 10, 0, "nothing of what failed is there");
    store
        .write(async |mut tx| tx.sql("DELETE FROM item", binds![]).await)
        .await
        .unwrap();
    store
        .write(async |mut tx| tx.sql(fill, binds![]).await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_file_is_named() {
    let database = Database::make(Kind::Sqlite).await;
    let config = Config {
        acquire_timeout: Duration::from_millis(300),
        ..database.config()
    };
    let store = database.open_with(config).await;
    table(&store).await;
    let mut holder = process::start(
        "hold_the_file",
        &[("FILE", database.file().to_str().unwrap())],
    );
    holder.says("held");

    let locked = insert(&store, 1).await.unwrap_err();

    assert_eq!(locked.code(), "SF-1108", "{locked}");
    assert!(locked.is_foreign_lock() && locked.is_retryable());
    let named = format!("process {} (", holder.id());
    assert!(locked.to_string().contains(&named), "{locked}");
    drop(holder);
    insert(&store, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_or_deleted_takes_no_writes() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    table(&store).await;
    let file = database.file();
    let elsewhere = file.with_extension("moved");
    std::fs::rename(&file, &elsewhere).unwrap();

    let deleted = insert(&store, 1).await.unwrap_err();
    std::fs::write(&file, "").unwrap();
    let replaced = insert(&store, 1).await.unwrap_err();

    assert_eq!(deleted.code(), "SF-1118", "{deleted}");
    assert!(deleted.to_string().contains("deleted"), "{deleted}");
    assert!(replaced.to_string().contains("replaced"), "{replaced}");
    assert!(replaced.is_file_lost());
    assert!(!store.health().await.is_up());
    std::fs::rename(&elsewhere, &file).unwrap();
    insert(&store, 1).await.unwrap();
}

/// A disk of its own, for a file of SQLite.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(folder: std::path::PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let disk = Self(folder);
        disk.run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
        disk
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let ran = std::process::Command::new(program)
            .args(arguments)
            .arg(&self.0)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program} {arguments:?}: {told}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_that_is_not_there_is_refused_by_both_names() {
    let database = Database::make(Kind::Sqlite).await;
    let link = database.file();
    let file = link.with_file_name("elsewhere.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();

    let refused = Store::open(database.config()).await.unwrap_err();

    let told = format!(
        "place: {} is a link to {}, and there is no file: ",
        link.display(),
        file.display()
    );
    assert!(refused.to_string().contains(&told), "{refused}");
    assert!(!file.exists(), "an empty one was made");
    std::fs::write(&file, "").unwrap();
    let store = database.open().await;
    table(&store).await;
    insert(&store, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_a_disk_that_takes_no_writes_is_not_worked_on() {
    let database = Database::make(Kind::Sqlite).await;
    let disk = Disk::mount(database.file().with_file_name("disk"));
    let config = Config::sqlite(disk.0.join("store.db"));
    let store = Store::open(config.clone()).await.unwrap();
    table(&store).await;
    insert(&store, 1).await.unwrap();
    store.close().await;

    disk.run("mount", &["-o", "remount,ro"]);
    let refused = Store::open(config.clone()).await.unwrap_err();
    disk.run("mount", &["-o", "remount,rw"]);

    assert_eq!(refused.code(), "SF-1106", "{refused}");
    assert!(!refused.is_retryable());
    let store = Store::open(config).await.unwrap();
    insert(&store, 2).await.unwrap();
    assert_eq!(count(&store).await, 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_refused() {
    let database = Database::make(Kind::Sqlite).await;
    std::fs::write(database.file(), "this is a letter to my aunt".repeat(100)).unwrap();

    let damaged = Store::open(database.config()).await.unwrap_err();

    assert_eq!(damaged.code(), "SF-1119", "{damaged}");
}

/// Opens it with so short a time for transactions that a test can wait for its end.
async fn hasty(database: &Database) -> Store {
    let config = Config {
        transaction_timeout: Duration::from_millis(300),
        ..database.config()
    };
    let store = database.open_with(config).await;
    table(&store).await;
    store
}

steadfast_store::on_every_store! {
    async fn a_transaction_that_nobody_ends_is_ended(database) {
        let store = hasty(database).await;
        let mut forgotten = store.begin().await.unwrap();
        let insert_it = "INSERT INTO item (id) VALUES (7)";
        forgotten.sql(insert_it, binds![]).await.unwrap();

        if database.kind() != Kind::Sqlite {
            // The server ends it by itself: nobody has to come back to it.
            let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND state LIKE 'idle in transaction%'";
            let ended = async {
                loop {
                    let rows = store.read(async |mut tx| tx.sql(open, binds![]).await);
                    if rows.await.unwrap().one().unwrap().get::<i64>(0).unwrap() == 0 {
                        return;
                    }
                    clock::sleep(Duration::from_millis(10)).await;
                }
            };
            clock::timeout(Duration::from_secs(60), ended).await.unwrap();
        }
        insert(&store, 1).await.unwrap();

        let over = forgotten.commit().await.unwrap_err();
        assert_eq!(over.code(), "SF-1110", "{over}");
        assert_eq!(count(&store).await, 1);
    }

    async fn a_transaction_that_goes_on_and_on_is_ended(database) {
        let store = hasty(database).await;
        let mut busy = store.begin().await.unwrap();

        let ended = async {
            loop {
                // Where the begin took longer than its time, the first one fails already.
                if let Err(error) = busy.sql("INSERT INTO item (id) VALUES (7)", binds![]).await {
                    return error;
                }
                busy.sql("DELETE FROM item", binds![]).await.err();
                clock::sleep(Duration::from_millis(10)).await;
            }
        };
        let error = clock::timeout(Duration::from_secs(60), ended).await.unwrap();

        assert!(["SF-1110", "SF-1121"].contains(&error.code()), "{error}");
        let over = busy.commit().await.unwrap_err();
        assert!(["SF-1110", "SF-1121"].contains(&over.code()), "{over}");
        insert(&store, 1).await.unwrap();
        assert_eq!(count(&store).await, 1);
    }
}

#[test]
fn migrations_are_read_from_their_files() {
    let none: &[Migration] = migrations![];

    assert!(none.is_empty());
    assert_eq!((LARGE[0].number(), LARGE[0].name()), (9, "0009_later"));
    assert!(LARGE[0].is_breaking() && !SMALL[0].is_breaking());
}
