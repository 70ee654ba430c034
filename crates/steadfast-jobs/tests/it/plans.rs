//! Every statement goes along an index: with a long history and many jobs that wait, none reads through a
//! table. Looked at are the plans themselves, so that nothing depends on the speed of the machine.

use std::fmt::Write as _;

use steadfast_jobs::{Jobs, PACKAGE};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Error, Rows, Store, Tx, binds};

/// How many rows a statement may read and throw away: the window of a page, and a little.
const THROWN_AWAY_MAX: u64 = 11_000;

/// Values for each statement, as PostgreSQL writes them: such as choose the most.
pub(crate) const VALUES: &[(&str, &str)] = &[
    (
        "enqueue",
        "'{default}', '{act}', '{\"{}\"}', '{0}', '{0}', '{null}', '{20}', '{null}', '{null}', '{0}', '{null}'",
    ),
    (
        "enqueue_unique",
        "'{default}', '{act}', '{\"{}\"}', '{0}', '{0}', '{null}', '{20}', '{null}', '{null}', '{0}', '{null}', '{one}', '{60000000}'",
    ),
    ("find_unique", "'{one,two}'"),
    (
        "exchange",
        "1, '{400001}', '{1}', '{400002}', '{1}', '{discarded}', '{null}', '{null}', '{default,other}', '{100,100}', '{-9223372036854775808,0}', '{act}', 0",
    ),
    ("claim_suspect", "1, '{default,other}', '{act}', 0"),
    (
        "put_back",
        "'{400003,400004}', '{1,1}', '{0,1000000}', '{f,t}', '{f,t}', '{null,no}', 1",
    ),
    ("complete_in", "400005, 1, 1, null"),
    ("settled", "'{1,2,400005}', '{1,1,1}'"),
    ("held", "1, '{default}'"),
    ("cancels", "1"),
    ("rescue", "1000, true"),
    ("longest", "1, '{act}', '{1000000}', '{t}', '{1000000}'"),
    ("due", "1000"),
    ("expire", "1000"),
    ("prune", "'completed', '', 0, -9223372036854775808, 0, 1000"),
    ("prune_keys", "1000"),
    ("retention", "'{act}', '{act}', '{1}', '{1}', '{1}', '{1}'"),
    ("retentions", "1000"),
    (
        "reject",
        "'{1}', '{1}', '{act}', '{1}', '{completed}', '{null}', 1",
    ),
    (
        "list_rejected",
        "9223372036854775807, 9223372036854775807, 100",
    ),
    ("prune_rejected", "0, 1000"),
    ("cancel", "400006, 'no'"),
    ("cancel_all", "'{400006,700001}', 'no'"),
    ("redrive", "'{119990,119991,119992}'"),
    ("key_holders", "'{119990,119991,119992}'"),
    ("run_now", "700001"),
    ("pause", "'default', 'no'"),
    ("snapshots", "60000000, 10"),
    ("find", "119990"),
    (
        "list_live",
        "9223372036854775807, 'running', 'none', 'none', 10000, 500, 'none'",
    ),
    (
        "list_ended",
        "9223372036854775807, 'completed', 'none', 'none', 10000, 500, 'none', 9223372036854775807",
    ),
    ("counts", "10000"),
    ("limit", "'default', 5, 5"),
    ("limit_held", "1, 'default'"),
    ("limited", "'{default,other}'"),
    ("paused", "500"),
    ("queues", "'', 500, 1000, 10000"),
    ("due_kinds", "'default', 1000"),
    ("handled", ""),
    ("schedule_kinds", "'', 1000"),
    ("lock_limited", "'limited'"),
    ("unblock", "'limited', '', 200"),
    ("claim_limited", "1, 'limited', 100, '{act}', 0"),
    ("schedule_look", "1000"),
    ("schedule_take", "'s1'"),
    ("schedule_find", "'s1'"),
    ("schedule_list", "'', 100"),
    ("schedule_now", ""),
    (
        "schedule_put",
        "'new', 'r', 'z', 'm', 'skip', 0, null, 'q', 'k', '{}', 0, 20, null, 0, 0",
    ),
    (
        "schedule_edit",
        "'s1', 'r', 'z', 'm', 'skip', 0, null, 'q', 'k', '{}', 0, 20, null, 0, 0, 1, 0",
    ),
    ("schedule_advance", "'s1', 1, 0, 0, 0, 0"),
    ("schedule_pause", "'s1', 1, 'no', null"),
    ("schedule_delete", "'s1'"),
    ("schedule_settle", "'s1'"),
    ("schedule_runs", "'s1', 1000"),
    ("schedule_has", "'s1', '{1}'"),
    ("schedule_mark", "'s1', 0, '{1}'"),
    ("schedule_made", "'s1', 0, '{1}', '{1}', '{1}', '{1}'"),
    ("schedule_skip", "'s1', '{1}', '{1}', '{1}', '{missed}'"),
    ("schedule_history", "'s1', 9223372036854775807, 100"),
    ("schedule_of_job", "119990"),
    ("schedule_overdue", "0, 1000"),
    ("schedule_late", "'{beating}', 1000"),
    // And where there is nothing to do.
    (
        "prune",
        "'completed', '', 9000000000000000, -9223372036854775808, 0, 1000",
    ),
    ("prune_rejected", "9000000000000000, 1000"),
    ("schedule_overdue", "9000000000000000, 1000"),
    ("schedule_prune", "9000000000000000, 1000"),
    ("schedule_prune", "0, 1000"),
];

/// Fills the tables: what has ended by far the most, then what is due later, then what is due now.
pub(crate) const FILL: &[&str] = &[
    "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us)
     SELECT 'test', '0', 'test', n, 'test', 'test', 0, 0, 9000000000000000000 FROM generate_series(1, 3) AS n",
    "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation, claimed_us, created_us, finished_us, min_version, unique_key)
     SELECT n, 'default', 'act', CASE WHEN n % 1000 = 0 THEN 'discarded' WHEN n % 500 = 1 THEN 'cancelled' ELSE 'completed' END,
         0, n, '{}', 1, 20, 0, 0, 1, 1, n, n, n, 0, CASE WHEN n % 7 = 0 THEN 'key ' || n END
     FROM generate_series(1, 120000) AS n",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us)
     SELECT n, 'default', 'act', 'waiting', 9000000000000000, '{}', 0 FROM generate_series(700001, 900000) AS n",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us)
     SELECT n, 'default', 'act', 'running', 0, '{}', 0, 1, 1 + n % 3, steadfast.now_us() FROM generate_series(400001, 400300) AS n",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, unique_key, late_us)
     SELECT n, CASE WHEN n % 2 = 0 THEN 'default' ELSE 'other' END, 'act', 'pending', n, '{}', 0, 'live ' || n, CASE WHEN n % 100 = 0 THEN n END
     FROM generate_series(500001, 505000) AS n",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, limit_key, blocked)
     SELECT n, 'limited', 'act', 'waiting', n, '{}', 0, 'key ' || n % 50, true FROM generate_series(600001, 605000) AS n",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, limit_key)
     SELECT n, 'limited', 'act', 'pending', n, '{}', 0, 'key ' || n % 50 FROM generate_series(610001, 611000) AS n",
    "INSERT INTO steadfast.job_longest SELECT n, 'act', 9000000000000, true, 0 FROM generate_series(1, 3) AS n",
    "INSERT INTO steadfast.job_queue (name, max_running, max_running_per_key) VALUES ('limited', 50, 2)",
    "INSERT INTO steadfast.job_key SELECT 'period ' || n, n, n FROM generate_series(1, 20000) AS n",
    "INSERT INTO steadfast.job_rejected SELECT n, 1, 1, 'act', 1, 'completed', NULL, n FROM generate_series(1, 20000) AS n",
    "INSERT INTO steadfast.schedule (name, rule, zone, missed, overlap, queue, kind, payload, next_us, look_us, created_us, updated_us)
     SELECT 's' || n, 'r', 'z', 'm', 'skip', 'q', 'k', '{}', 9000000000000000, 9000000000000000, 0, 0 FROM generate_series(1, 2000) AS n",
    "INSERT INTO steadfast.schedule_occurrence (schedule, nominal_us, by_hand, job_id, made_us, ended_us)
     SELECT 's' || n % 200, n, 0, n, n, n FROM generate_series(1, 50000) AS n",
    "INSERT INTO steadfast.schedule_skip SELECT 's' || n % 200, n, n, 1, 'missed', n FROM generate_series(1, 20000) AS n",
];

/// Tables that have a row for each process, database or user, or each setting of an operator: reading them whole is
/// right.
const SMALL: &[&str] = &[
    "node",
    "job_queue",
    "job_retention",
    "job_longest",
    "pg_database",
    "pg_authid",
];

/// What nodes do not do all the time: those may read a table of many pages and few rows, which takes milliseconds.
const RARE: &[&str] = &["cancel_all", "list_live"];

pub(crate) fn text(dialect: &str, name: &str) -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let path = format!("{folder}/src/sql/{dialect}/{name}.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    lines.fold(String::new(), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    })
}

/// Runs what the test has put together.
pub(crate) async fn run(tx: &mut Tx<'_>, text: String) -> Result<Rows, Error> {
    tx.sql(text.leak(), binds![]).await
}

fn lines(rows: &Rows) -> Vec<String> {
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// What is wrong with a plan that was carried out. Before the database knows anything of the tables, it may
/// take those that are small in the end for small.
fn trouble(plan: &[String], statistics: bool) -> Option<String> {
    for (number, line) in plan.iter().enumerate() {
        if let Some((_, table)) = line.split_once("Seq Scan on ") {
            let table = table.split_whitespace().next().unwrap_or_default();
            let guessed = !statistics && ["job", "schedule"].contains(&table);
            if !SMALL.contains(&table) && !guessed {
                return Some(format!("reads through {table}"));
            }
        }
        // Its dead entries, too.
        let by_key = line.contains(" using job_pkey on job ");
        if statistics && by_key && !plan[number + 1].contains("Index Cond") {
            return Some("reads through the primary key".into());
        }
        // The number is an average where a part was done several times.
        if let Some((_, count)) = line.split_once("Rows Removed by") {
            let count = count.rsplit(' ').next().unwrap_or_default();
            let count: u64 = count.parse().unwrap();
            if count > THROWN_AWAY_MAX && statistics {
                return Some(format!("reads {count} rows that it does not want"));
            }
        }
    }
    None
}

async fn explain(store: &Store, name: &str, values: &str, mode: &str) -> Vec<String> {
    let mut tx = store.begin().await.unwrap();
    let body = text("postgres", name).replace("{schema}", "steadfast");
    run(&mut tx, format!("SET LOCAL plan_cache_mode = {mode}"))
        .await
        .unwrap();
    run(&mut tx, format!("PREPARE looked_at AS {body}"))
        .await
        .unwrap();
    let values = if values.is_empty() {
        String::new()
    } else {
        format!("({values})")
    };
    let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) EXECUTE looked_at{values}");
    let plan = run(&mut tx, explain).await;
    let plan = lines(&plan.unwrap_or_else(|error| panic!("{name}: {error:?}")));
    run(&mut tx, "DEALLOCATE looked_at".into()).await.unwrap();
    // Nothing of what it did stays.
    tx.roll_back().await.unwrap();
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_through_a_table_of_postgres() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    for known in PACKAGE.statements {
        let listed = VALUES.iter().any(|(name, _)| *name == known.name());
        assert!(listed, "{known}: say which values to look at it with");
    }
    for fill in FILL {
        let filled: Result<Rows, Error> = store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await;
        filled.unwrap_or_else(|error| panic!("{fill}: {error:?}"));
    }
    // As fresh as after a bulk load, when nothing is known of the tables; as they are later; and when a backlog has gone,
    // whose pages are there still, and so are those of an index that has come to be half empty.
    let gone = [
        "ALTER INDEX steadfast.job_pkey SET (fillfactor = 50)",
        "REINDEX INDEX steadfast.job_pkey",
        "DELETE FROM steadfast.job WHERE id NOT IN (400001, 400003, 400005)",
        "ANALYZE",
    ];
    let mut found = String::new();
    let all_gone = ["DELETE FROM steadfast.job WHERE id <> 400005", "ANALYZE"];
    for (before, statistics) in [
        (&[][..], false),
        (&["ANALYZE"], true),
        (&gone, true),
        (&all_gone, true),
    ] {
        for text in before {
            let done: Result<Rows, Error> = store
                .write(async |mut tx| tx.sql(text, binds![]).await)
                .await;
            done.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
        for mode in ["force_generic_plan", "force_custom_plan"] {
            for (name, values) in VALUES {
                if before.len() > 1 && RARE.contains(name) {
                    continue;
                }
                let plan = Box::pin(explain(&store, name, values, mode)).await;
                if let Some(trouble) = trouble(&plan, statistics) {
                    let plan = plan.join("\n");
                    let _ = writeln!(
                        found,
                        "{name} {trouble} ({mode}, after {before:?}):\n{plan}\n"
                    );
                }
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

/// A burst came in and was looked at by the database; only then did a worker begin.
#[tokio::test(flavor = "multi_thread")]
async fn many_ends_are_not_compared_with_every_row_whatever_the_database_counts_on() {
    const BURST: &[&str] = &[
        "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us)
         VALUES ('test', '0', 'test', 1, 'test', 'test', 0, 0, 9000000000000000000)",
        "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us)
         SELECT n, 'default', 'act', 'pending', n, '{}', 0 FROM generate_series(1, 50000) AS n",
        "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us, finished_us, min_version)
         SELECT n, 'default', 'act', 'completed', 0, n, '{}', 1, 20, 0, 0, 1, n, n, 0 FROM generate_series(100001, 150000) AS n",
        "ANALYZE",
        "UPDATE steadfast.job SET state = 'running', term = 1, incarnation = 1, claimed_us = 0 WHERE id <= 1500",
    ];
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    for fill in BURST {
        let filled: Result<Rows, Error> = store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await;
        filled.unwrap();
    }
    let each = |of: &dyn Fn(u32) -> String| {
        let values: Vec<String> = (1..=1_500).map(of).collect();
        format!("'{{{}}}'", values.join(","))
    };
    let (ids, ones) = (each(&|id| id.to_string()), each(&|_| "1".into()));
    let (zeros, nulls) = (each(&|_| "0".into()), each(&|_| "null".into()));
    let (done, yes) = (each(&|_| "completed".into()), each(&|_| "t".into()));
    let exchange = format!(
        "1, {ids}, {ones}, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{default}}', '{{1000}}', '{{0}}', '{{act}}', 0"
    );
    let exchange_of_others = format!(
        "1, '{{}}', '{{}}', {ids}, {ones}, {done}, {nulls}, {nulls}, '{{default}}', '{{1000}}', '{{0}}', '{{act}}', 0"
    );
    let settled = format!("{ids}, {ones}");
    let put_back = format!("{ids}, {ones}, {zeros}, {yes}, {yes}, {nulls}, 1");

    for mode in ["force_generic_plan", "force_custom_plan"] {
        for (name, values) in [
            ("exchange", &exchange),
            ("exchange", &exchange_of_others),
            ("put_back", &put_back),
            ("settled", &settled),
        ] {
            let plan = Box::pin(explain(&store, name, values, mode)).await;
            let compared = plan.iter().filter_map(|line| {
                let (_, count) = line.split_once("Rows Removed by Join Filter: ")?;
                count.parse::<u64>().ok()
            });
            let compared = compared.max().unwrap_or(0);
            let trouble = trouble(&plan, true);
            assert!(
                compared <= THROWN_AWAY_MAX && trouble.is_none(),
                "{name} ({mode}) {trouble:?}:\n{}",
                plan.join("\n")
            );
        }
    }
}

/// Indexes that have only live rows of one state, and few of them: counting them whole is meant.
const PARTIAL: &[&str] = &[
    "steadfast_job_ready",
    "steadfast_job_suspect",
    "steadfast_job_running_of",
    "steadfast_job_waiting",
    "steadfast_job_blocked",
    "steadfast_job_cancel",
    "steadfast_schedule_look",
];

/// What is wrong with a step of a plan of SQLite: a scan of what is not a list of values, not put together by the
/// statement itself, and not one of the above; or a search that finds as much.
fn is_scan(step: &str) -> bool {
    // All that was ever due of a schedule.
    if step.contains("schedule_occurrence") && step.ends_with("(schedule=?)") {
        return true;
    }
    let Some(what) = step.trim().strip_prefix("SCAN ") else {
        return false;
    };
    let listed = what.contains("VIRTUAL TABLE") || what.starts_with("CONSTANT ROW");
    let listed = listed || what.starts_with("(subquery-") || what == "sqlite_sequence";
    let partial = PARTIAL
        .iter()
        .any(|index| what.ends_with(&format!("INDEX {index}")));
    let source = what.split_whitespace().next().unwrap_or_default();
    let small = ["n", "q", "l", "clock", "same"].contains(&source)
        || what.contains("job_retention")
        || what.contains("job_longest");
    // Names of what statements put together before: each is bounded by its own step.
    const MADE: &[&str] = &[
        "seen",
        "found",
        "last",
        "placed",
        "ranked",
        "keys",
        "given",
        "made",
        "skipped",
        "everything",
        "live",
        "running",
        "names",
        "next",
        "g",
        "r",
        "j",
    ];
    let made = MADE.contains(&source) && !what.contains("USING");
    !(listed || partial || small || made)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_through_a_table_of_sqlite() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    let mut found = String::new();
    for known in PACKAGE.statements {
        for part in text("sqlite", known.name()).split(';') {
            if part.trim().is_empty() {
                continue;
            }
            let explain = format!("EXPLAIN QUERY PLAN {part}").leak();
            let plan: Result<Rows, Error> = store
                .write(async |mut tx| tx.sql(explain, binds![]).await)
                .await;
            let plan = plan.unwrap_or_else(|error| panic!("{known}: {error:?}"));
            for row in &plan {
                let step: &str = row.get(3).unwrap();
                if is_scan(step) {
                    let _ = writeln!(found, "{known}: {step}");
                }
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}
