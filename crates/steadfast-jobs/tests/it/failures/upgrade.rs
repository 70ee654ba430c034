//! Tables that a newer program changes while older ones work on them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use steadfast_core::{Task, clock, spawn};
use steadfast_jobs::{Options, State};
use steadfast_store::{Config, Dialect, Error, Migration, Package, Store, binds};
use tokio::sync::oneshot;

use super::arena::seconds;
use super::role::{Deed, Did, Part, Role};
use super::{Arena, BOTH, PATIENCE, scenarios};

scenarios! {
    its_tables_change_under_load_and_whoever_changes_them_is_killed on BOTH;
}

/// What a newer program knows of the tables that those at work do not: indexes and columns of those that are
/// written most.
pub(crate) const NEWER: Package = Package {
    name: "jobs",
    migrations: &[
        Migration::new(
            "9001_by_kind",
            "CREATE INDEX steadfast_job_by_kind ON steadfast_job (kind, id);
             CREATE INDEX steadfast_job_history_by_kind ON steadfast_job_history (kind, id)",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS job_by_kind ON {schema}.job (kind, id);
             CREATE INDEX CONCURRENTLY IF NOT EXISTS job_history_by_kind ON {schema}.job_history (kind, id)",
        )
        .concurrent(),
        Migration::new(
            "9002_color",
            "ALTER TABLE steadfast_job ADD COLUMN color TEXT;
             ALTER TABLE steadfast_job_history ADD COLUMN color TEXT",
            "ALTER TABLE {schema}.job ADD COLUMN color text;
             ALTER TABLE {schema}.job_history ADD COLUMN color text",
        ),
    ],
    statements: &[],
};

/// For how long nobody may wait: PostgreSQL says so. It waits for a lock for a third of the time of a statement.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// How many jobs fall due at once under load, and how often.
const LOAD: usize = 10;
const LOAD_EACH: Duration = Duration::from_millis(30);

async fn its_tables_change_under_load_and_whoever_changes_them_is_killed(arena: Arena) -> String {
    fill(&arena, arena.form.of(20_000, 1_000_000) as i64).await;
    let mut old = [arena.start(&arena.role()), arena.start(&arena.role())];
    for process in &mut old {
        process.says("working", 1).await;
    }
    let is_over = AtomicBool::new(false);
    let plot = async {
        let newer = Role {
            part: Part::Upgrade,
            ..arena.role()
        };
        let began = clock::now();
        let kills = match arena.store.dialect() {
            Dialect::Sqlite => kill_by_chance(&arena, &newer).await,
            Dialect::Postgres => kill_in_each_step(&arena, &newer).await,
        };
        let mut new = arena.start(&newer);
        new.says("migrated", 1).await;
        new.says("working", 1).await;
        let took = seconds(began);

        let all = HashSet::from([old[0].id(), old[1].id(), new.id()]);
        let (mut at_work, until) = (HashSet::new(), clock::now() + PATIENCE);
        while at_work != all {
            assert!(clock::now() < until, "of {all:?} only {at_work:?} work");
            let deed = Deed::Sleep(Duration::from_millis(5));
            let ids = arena.enqueue_many(&deed, Options::new(), 300).await;
            for id in ids {
                let did: Did = (arena.until(id, State::Completed).await.result())
                    .unwrap()
                    .expect("it says who did it");
                at_work.insert(did.process);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (kills, took)
    };

    let ((kills, took), enqueued, waited) = tokio::join!(
        plot,
        load(&arena, &is_over),
        ask_for_the_tables(&arena, &is_over)
    );

    let applied = arena.store.migrations(&NEWER).await.unwrap();
    assert!(applied.iter().all(|step| step.is_applied || !step.is_known));
    arena.ends().await;
    format!(
        "{kills} killed, applied after {took} beside {enqueued} jobs; old and new at work, longest wait {waited:.0?}"
    )
}

/// Rows that nobody touches, so that an index takes its time; the audit knows nothing of them.
async fn fill(arena: &Arena, rows: i64) {
    let statements = match arena.store.dialect() {
        Dialect::Sqlite => [
            "INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts,
                 crashes, held, term, created_us, finished_us, min_version)
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             SELECT 1000000000 + n, 'filler', 'filler', 'completed', 0, 0, '{}', 1, 1, 0, 0, 1, 0, 9000000000000000, 0 FROM n",
            "INSERT INTO steadfast_job (id, queue, kind, state, due_us, payload, created_us)
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1 / 10)
             SELECT 2000000000 + n, 'filler', 'filler', 'waiting', 9000000000000000, '{}', 0 FROM n",
            "DELETE FROM audit WHERE job >= ?1",
        ],
        Dialect::Postgres => [
            "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts,
                 crashes, held, term, created_us, finished_us, min_version)
             SELECT 1000000000 + n, 'filler', 'filler', 'completed', 0, 0, '{}', 1, 1, 0, 0, 1, 0, 9000000000000000, 0
             FROM generate_series(1, $1) AS n",
            "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us)
             SELECT 2000000000 + n, 'filler', 'filler', 'waiting', 9000000000000000, '{}', 0
             FROM generate_series(1, $1 / 10) AS n",
            "DELETE FROM audit WHERE job >= $1",
        ],
    };
    for statement in statements {
        let filled: Result<_, Error> = (arena.store)
            .write(async |mut tx| tx.sql(statement, binds![rows]).await)
            .await;
        filled.unwrap();
    }
}

async fn load(arena: &Arena, is_over: &AtomicBool) -> usize {
    let mut enqueued = 0;
    while !is_over.load(Ordering::Relaxed) {
        enqueued += arena
            .enqueue_many(&Deed::Quick, Options::new(), LOAD)
            .await
            .len();
        clock::sleep(LOAD_EACH).await;
    }
    enqueued
}

/// Asks for the tables as every statement that writes does, and gives the longest time for which they were
/// not to be had. On PostgreSQL that has a limit; on SQLite whoever writes waits for a step.
async fn ask_for_the_tables(arena: &Arena, is_over: &AtomicBool) -> Duration {
    let (mut config, statements) = (
        arena.config.clone(),
        match arena.store.dialect() {
            Dialect::Sqlite => [
                "UPDATE steadfast_job SET error = error WHERE id = -1",
                "UPDATE steadfast_job_history SET error = error WHERE id = -1",
            ],
            Dialect::Postgres => [
                "UPDATE steadfast.job SET error = error WHERE id = -1",
                "UPDATE steadfast.job_history SET error = error WHERE id = -1",
            ],
        },
    );
    if arena.store.dialect() == Dialect::Postgres {
        config.statement_timeout = LOCK_LIMIT * 3;
    }
    let store = Store::open(config).await.unwrap();
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        for text in statements {
            let began = clock::now();
            let asked: Result<_, Error> = store
                .write(async |mut tx| tx.sql(text, binds![]).await)
                .await;
            if let Err(error) = asked {
                panic!("{text} waited for more than {LOCK_LIMIT:?}: {error}");
            }
            longest = longest.max(clock::now() - began);
        }
        clock::sleep(Duration::from_millis(5)).await;
    }
    longest
}

/// A transaction that stays open until it is told.
struct Open(oneshot::Sender<()>, Task<Result<(), Error>>);

impl Open {
    /// `reads` from one snapshot, which it keeps.
    async fn with_snapshot(arena: &Arena, reads: &'static str) -> Self {
        let store = patient(arena).await;
        let (end, ends) = oneshot::channel();
        let (tell, begun) = oneshot::channel();
        let task = spawn("snapshot", async move {
            let read = store.read(async |mut tx| {
                tx.sql(reads, binds![]).await?;
                let _ = tell.send(());
                let _ = ends.await;
                Ok(())
            });
            read.await
        });
        begun.await.unwrap();
        Self(end, task)
    }

    /// Has read a table, and keeps others from changing it. It has no snapshot.
    async fn with_lock(arena: &Arena, reads: &'static str) -> Self {
        let store = patient(arena).await;
        let (end, ends) = oneshot::channel();
        let mut tx = store.begin().await.unwrap();
        tx.sql(reads, binds![]).await.unwrap();
        let task = spawn("lock", async move {
            let _ = ends.await;
            tx.roll_back().await
        });
        Self(end, task)
    }

    async fn end(self) {
        let _ = self.0.send(());
        self.1.await.unwrap().unwrap();
    }
}

async fn patient(arena: &Arena) -> Store {
    let config = Config {
        transaction_timeout: Duration::from_secs(600),
        ..arena.config.clone()
    };
    Store::open(config).await.unwrap()
}

/// Waits until a question to PostgreSQL is answered with this number.
async fn until(arena: &Arena, question: &'static str, number: i64) {
    let until = clock::now() + PATIENCE;
    loop {
        let found = arena.number("", question).await;
        if found == number {
            return;
        }
        assert!(clock::now() < until, "{question}: {found}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

/// 0 without the index, 1 while it is not valid, 2 afterwards.
const INDEX: &str = "SELECT coalesce(max(1 + i.indisvalid::int), 0)::bigint FROM pg_index AS i \
    WHERE i.indexrelid = to_regclass('steadfast.job_by_kind')";

const BUILDERS: &str =
    "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()";

/// 1 while somebody waits for the table as a whole.
const WANTED: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'steadfast.job'::regclass \
    AND mode = 'AccessExclusiveLock' AND NOT granted";

/// On PostgreSQL: in the middle of an index, with its connection; and while it waits for a table.
async fn kill_in_each_step(arena: &Arena, newer: &Role) -> usize {
    // No index is ready before it has ended.
    let snapshot = Open::with_snapshot(arena, "SELECT id FROM steadfast.node LIMIT 1").await;
    let mut first = arena.start(newer);
    until(arena, INDEX, 1).await;
    let beside = arena.enqueue(&Deed::Quick).await;
    arena.until(beside, State::Completed).await;
    first.kill();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_progress_create_index \
               WHERE datname = current_database()";
    assert_eq!(arena.number("", end).await, 1, "its server goes on");
    until(arena, BUILDERS, 0).await;
    assert_eq!(arena.number("", INDEX).await, 1, "half of it is left");

    let mut second = arena.start(newer);
    until(arena, BUILDERS, 1).await;
    let lock = Open::with_lock(arena, "SELECT id FROM steadfast.job LIMIT 1").await;
    snapshot.end().await;
    for _ in 0..3 {
        until(arena, WANTED, 1).await;
        let beside = arena.enqueue(&Deed::Quick).await;
        // It gives way before others have waited for long, and comes back.
        until(arena, WANTED, 0).await;
        arena.until(beside, State::Completed).await;
    }
    until(arena, WANTED, 1).await;
    second.kill();
    assert_eq!(arena.number("", INDEX).await, 2);
    assert!(second.said("migrated").is_empty());
    lock.end().await;
    2
}

/// On SQLite nothing is half done: it is killed at any moment.
async fn kill_by_chance(arena: &Arena, newer: &Role) -> usize {
    let mut killed = 0;
    for _ in 0..arena.form.of(3, 10) {
        let mut process = arena.start(newer);
        process.says("migrating", 1).await;
        let most = arena.form.of(40_000, 4_000_000) as u64;
        clock::sleep(Duration::from_micros(arena.random(most))).await;
        process.kill();
        killed += usize::from(process.said("migrated").is_empty());
    }
    killed
}
