//! Each statement as one node would issue it on SQLite, aimed at what other nodes hold. The same on PostgreSQL
//! is in `fence`.

use steadfast_jobs::{Jobs, PACKAGE};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Error, Rows, Tx, binds};

use super::fence::{READS, SCHEDULE_READS, may_change};
use super::plans::{self, text};

/// Of four nodes, of which the last is dead and has a run: of three that live, the runs 400001 to 400300 are held by one after the other: 400002 by the first. A
/// tenth of them is wanted to stop. The rest is there for statements to have something to do.
const FILL: &[&str] = &[
    "INSERT INTO steadfast_node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_boot_us)
     SELECT 'test', '0', 'test', value, 'test', 'test', 0, 0, 9000000000000000000 FROM json_each('[1,2,3]')",
    "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1200)
     INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held,
         term, incarnation, claimed_us, created_us, finished_us, min_version)
     SELECT n, 'default', iif(n % 3 = 0, 'other', 'act'), iif(n % 10 = 0, 'discarded', 'completed'), 0, n, '{}', 1, 20, 0, 0, 1, 1, n, n, n, 0 FROM r",
    "WITH RECURSIVE r (n) AS (SELECT 400001 UNION ALL SELECT n + 1 FROM r WHERE n < 400300)
     INSERT INTO steadfast_job (id, queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us, cancel)
     SELECT n, 'default', 'act', 'running', 0, '{}', 0, 1, 1 + n % 3, CAST(unixepoch('subsec') * 1000000 AS INTEGER),
         iif(n % 10 = 0, 'no', NULL) FROM r",
    "INSERT INTO steadfast_node (id, service, version, host, pid, boot, lock, started_us, beat_us, lease_until_boot_us, ended_us)
     VALUES (4, 'test', '0', 'test', 4, 'test', 'test', 0, 0, 0, 1)",
    "INSERT INTO steadfast_job (id, queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us)
     VALUES (450001, 'default', 'act', 'running', 0, '{}', 0, 1, 4, 1)",
    "INSERT INTO steadfast_job (id, queue, kind, state, due_us, payload, created_us, crashes, expires_us, late_us) VALUES
         (500001, 'default', 'act', 'pending', 1, '{}', 0, 0, NULL, 1), (500002, 'default', 'act', 'pending', 2, '{}', 0, 0, NULL, NULL),
         (500003, 'default', 'act', 'pending', 3, '{}', 0, 2, NULL, NULL), (500004, 'default', 'act', 'pending', 4, '{}', 0, 0, 1, NULL),
         (700001, 'default', 'act', 'waiting', 9000000000000000, '{}', 0, 0, NULL, NULL),
         (700002, 'default', 'act', 'waiting', 5, '{}', 0, 0, NULL, NULL)",
    "INSERT INTO steadfast_job (id, queue, kind, state, due_us, payload, created_us, limit_key, blocked) VALUES
         (600001, 'limited', 'act', 'waiting', 1, '{}', 0, 'a', 1), (600002, 'limited', 'act', 'pending', 2, '{}', 0, 'b', 0)",
    "INSERT INTO steadfast_job_queue (name, max_running, max_running_per_key) VALUES ('limited', 50, 2)",
    "INSERT INTO steadfast_job_key VALUES ('period', 1, 1)",
    "INSERT INTO steadfast_job_longest VALUES (1, 'act', 9000000000000, 1, 0), (2, 'act', 9000000000000, 1, 0), (3, 'act', 9000000000000, 1, 0)",
    "INSERT INTO steadfast_job_rejected VALUES (1, 1, 1, 'act', 1, 'completed', NULL, 1)",
    "INSERT INTO steadfast_job_retention VALUES ('act', 1, 1, 1, 1)",
    "INSERT INTO steadfast_schedule (name, rule, zone, missed, overlap, queue, kind, payload, next_us, look_us, created_us, updated_us)
     VALUES ('s1', 'r', 'z', 'm', 'skip', 'q', 'k', '{}', 1, 1, 0, 0)",
    "INSERT INTO steadfast_schedule_occurrence (schedule, nominal_us, by_hand, job_id, made_us, ended_us) VALUES
         ('s1', 1, 0, 1, 1, NULL), ('s1', 2, 0, 2, 1, 1)",
    "INSERT INTO steadfast_schedule_skip VALUES ('s1', 1, 1, 1, 'missed', 1)",
];

/// Values for each statement, as SQLite writes them: those of the first node, and where it says which job, one of
/// another beside its own.
const VALUES: &[(&str, &[&str])] = &[
    (
        "exchange",
        &[
            "1",
            "'{\"400001\":1,\"400002\":1}'",
            "'[[400003,1,\"discarded\",null,null],[400005,1,\"cancelled\",null,null]]'",
            "'[[\"default\",100,-9223372036854775808]]'",
            "'[\"act\"]'",
            "0",
        ],
    ),
    (
        "put_back",
        &[
            // The last two are wanted to stop.
            "'[[400001,1,0,1,1,\"no\"],[400002,1,0,0,0,null],[400003,1,1000,1,1,null],[400010,1,0,1,1,null],[400020,1,0,1,1,null]]'",
            "1",
        ],
    ),
    ("complete_in", &["400002", "1", "1", "NULL"]),
    (
        "claim_suspect",
        &["1", "'[\"default\"]'", "'[\"act\"]'", "0"],
    ),
    (
        "claim_limited",
        &["1", "'limited'", "100", "'[\"act\"]'", "0"],
    ),
    ("lock_limited", &["'limited'"]),
    ("limited", &["'[\"limited\"]'"]),
    ("paused", &["500"]),
    ("queues", &["''", "500", "1000", "10000"]),
    ("due_kinds", &["'default'", "1000"]),
    ("handled", &[]),
    ("unblock", &["'limited'", "''", "200"]),
    ("limit", &["'default'", "5", "5"]),
    ("limit_held", &["1", "'default'"]),
    // Three are alive, and for long enough to be left what they hold.
    ("rescue", &["1000", "1"]),
    ("longest", &["1", "'[[\"act\",1000000,1,1000000]]'"]),
    ("due", &["1000"]),
    ("expire", &["1000"]),
    (
        "prune",
        &[
            "'completed'",
            "''",
            "0",
            "-9223372036854775808",
            "0",
            "1000",
        ],
    ),
    (
        "prune",
        &[
            "'completed'",
            "'act'",
            "0",
            "-9223372036854775808",
            "0",
            "1000",
        ],
    ),
    ("prune_keys", &["1000"]),
    ("prune_rejected", &["0", "1000"]),
    ("retention", &["'[\"act\"]'", "'[[\"act\",2,2,2,2]]'"]),
    ("retentions", &["1000"]),
    (
        "reject",
        &["'[[400001,1,\"act\",1,\"completed\",null]]'", "1"],
    ),
    (
        "list_rejected",
        &["9223372036854775807", "9223372036854775807", "100"],
    ),
    ("cancel", &["400001", "'no'"]),
    ("cancel", &["500001", "'no'"]),
    ("cancel_all", &["'[400001,400002,500001]'", "'no'"]),
    ("redrive", &["'[10,20,400001]'"]),
    ("key_holders", &["'[10,20]'"]),
    ("run_now", &["700001"]),
    ("pause", &["'default'", "'no'"]),
    ("snapshots", &["60000000", "10"]),
    ("held", &["1", "'[\"default\"]'"]),
    ("cancels", &["1"]),
    ("settled", &["'[[1,1],[400001,1]]'"]),
    ("find", &["400001"]),
    ("find_unique", &["'[\"period\"]'"]),
    ("counts", &["10000"]),
    (
        "list_live",
        &[
            "9223372036854775807",
            "'running'",
            "NULL",
            "NULL",
            "10000",
            "500",
            "NULL",
        ],
    ),
    (
        "list_ended",
        &[
            "9223372036854775807",
            "'completed'",
            "NULL",
            "NULL",
            "10000",
            "500",
            "NULL",
            "9223372036854775807",
        ],
    ),
    (
        "enqueue",
        &["'[[\"default\",\"act\",\"{}\",0,0,null,20,null,null,0,null]]'"],
    ),
    (
        "enqueue_unique",
        &[
            "'[[\"default\",\"act\",\"{}\",0,0,null,20,null,null,0,null,\"period\",60000000],[\"default\",\"act\",\"{}\",0,0,null,20,null,null,0,null,\"one\",null]]'",
        ],
    ),
    ("schedule_look", &["1000"]),
    ("schedule_take", &["'s1'"]),
    ("schedule_find", &["'s1'"]),
    ("schedule_list", &["''", "100"]),
    ("schedule_now", &[]),
    (
        "schedule_put",
        &[
            "'new'", "'r'", "'z'", "'m'", "'skip'", "0", "NULL", "'q'", "'k'", "'{}'", "0", "20",
            "NULL", "0", "0",
        ],
    ),
    (
        "schedule_edit",
        &[
            "'s1'", "'r'", "'z'", "'m'", "'skip'", "0", "NULL", "'q'", "'k'", "'{}'", "0", "20",
            "NULL", "0", "0", "1", "0",
        ],
    ),
    ("schedule_advance", &["'s1'", "1", "0", "0", "0", "0"]),
    ("schedule_pause", &["'s1'", "1", "NULL", "NULL"]),
    ("schedule_delete", &["'s1'"]),
    ("schedule_settle", &["'s1'"]),
    ("schedule_runs", &["'s1'", "1000"]),
    ("schedule_kinds", &["''", "1000"]),
    ("schedule_has", &["'s1'", "'[7]'"]),
    ("schedule_mark", &["'s1'", "0", "'[7]'"]),
    ("schedule_made", &["'s1'", "0", "'[[1,400001,1,1]]'"]),
    ("schedule_skip", &["'s1'", "'[[7,7,1,\"missed\"]]'"]),
    ("schedule_history", &["'s1'", "9223372036854775807", "100"]),
    ("schedule_of_job", &["1"]),
    ("schedule_overdue", &["0", "1000"]),
    ("schedule_late", &["'[\"beating\"]'", "1000"]),
    ("schedule_prune", &["0", "1000"]),
];

/// Under a term that runs of the first node no longer have, or of what others hold: nothing that runs may change.
const STALE: &[(&str, &[&str])] = &[
    (
        "exchange",
        &[
            "1",
            "'{\"400001\":1,\"400002\":0,\"400005\":2}'",
            "'[[400003,1,\"discarded\",null,null],[400008,0,\"cancelled\",null,null],[400011,2,\"discarded\",null,null]]'",
            "'[[\"default\",0,0]]'",
            "'[]'",
            "0",
        ],
    ),
    (
        "put_back",
        &[
            // 400020 and 400050 are wanted to stop, and the first node has the one of them under another term.
            "'[[400001,1,0,1,1,\"no\"],[400002,0,0,1,1,\"no\"],[400005,2,0,1,1,null],[400020,0,0,1,1,null],[400050,0,0,1,1,null]]'",
            "1",
        ],
    ),
    ("complete_in", &["400001", "1", "1", "NULL"]),
    ("complete_in", &["400002", "0", "1", "NULL"]),
    ("complete_in", &["400002", "2", "1", "NULL"]),
    ("run_now", &["400001"]),
    ("redrive", &["'[400001]'"]),
];

/// Puts values into the text of a statement.
fn filled(name: &str, values: &[&str]) -> String {
    let text = text("sqlite", name);
    let mut parts = text.split('?');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        let number: usize = part[..end].parse().unwrap();
        filled.push_str(
            values
                .get(number - 1)
                .unwrap_or_else(|| panic!("{name} wants ?{number}")),
        );
        filled.push_str(&part[end..]);
    }
    filled
}

/// What living nodes run beside this one, all of it but what may change.
async fn held_by_others(tx: &mut Tx<'_>, incarnation: i64, but: &str) -> Vec<String> {
    let rows = tx.sql(
        "SELECT group_concat(name) FROM pragma_table_info('steadfast_job') WHERE name <> ?1",
        binds![but],
    );
    let columns: String = rows.await.unwrap().one().unwrap().get(0).unwrap();
    let text = format!(
        "SELECT json_array({columns}) FROM steadfast_job
         WHERE state = 'running' AND incarnation <> {incarnation} AND incarnation <= 3 ORDER BY id"
    );
    let rows = plans::run(tx, text).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

async fn changes(tx: &mut Tx<'_>) -> i64 {
    let rows = tx.sql("SELECT total_changes()", binds![]).await.unwrap();
    rows.one().unwrap().get(0).unwrap()
}

#[test]
fn every_statement_is_aimed_at_what_others_hold() {
    for known in PACKAGE.statements {
        let listed = VALUES.iter().any(|(name, _)| *name == known.name());
        assert!(listed, "{known}: say with which values a node issues it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_a_node_changes_what_another_holds_on_sqlite() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    for fill in FILL {
        let filled: Result<Rows, Error> = store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await;
        filled.unwrap_or_else(|error| panic!("{fill}: {error:?}"));
    }
    let all = (VALUES.iter().map(|of| (of, false))).chain(STALE.iter().map(|of| (of, true)));
    let mut refused = Vec::new();
    for ((name, values), is_stale) in all {
        let mut tx = store.begin().await.unwrap();
        // A stale term is as another's run.
        let (ours, but) = (i64::from(!is_stale), may_change(name));
        let before = held_by_others(&mut tx, ours, but).await;
        assert!(before.len() >= 200, "{name}: {}", before.len());
        let changed = changes(&mut tx).await;

        if plans::run(&mut tx, filled(name, values)).await.is_err() {
            // It has raised, and the transaction is over.
            refused.push((*name, is_stale));
            continue;
        }
        let after = held_by_others(&mut tx, ours, but).await;
        assert_eq!(after, before, "{name} {values:?}");
        let reads = READS.contains(name) || SCHEDULE_READS.contains(name);
        let did = changes(&mut tx).await > changed;
        assert!(is_stale || did != reads, "{name} {values:?}: did {did}");
        tx.roll_back().await.unwrap();
    }
    assert_eq!(
        refused,
        [("complete_in", true); 3],
        "the fence of a transaction raises"
    );
}
