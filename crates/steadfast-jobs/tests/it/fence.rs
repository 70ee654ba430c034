//! No statement that a node issues can change a row whose term it no longer holds.

use std::collections::BTreeSet;

use steadfast_jobs::{JobId, Jobs, Options, PACKAGE};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Dialect, Rows, Store, Tx, Value, batch, binds};

use super::plans::{self, FILL, VALUES, text};
use super::support::{Act, kill, look, node, rescue, sql, statement};

/// What nodes write about a run of theirs.
const FENCED: &[&str] = &["exchange", "put_back", "complete_in"];

/// What changes nothing.
pub(crate) const READS: &[&str] = &[
    "find",
    "find_unique",
    "held",
    "cancels",
    "settled",
    "list_live",
    "list_ended",
    "counts",
    "limited",
    "paused",
    "queues",
    "due_kinds",
    "handled",
    "lock_limited",
    "key_holders",
    "retentions",
    "list_rejected",
    "snapshots",
];

/// What changes nothing of schedules.
pub(crate) const SCHEDULE_READS: &[&str] = &[
    "schedule_look",
    "schedule_take",
    "schedule_find",
    "schedule_list",
    "schedule_now",
    "schedule_runs",
    "schedule_has",
    "schedule_kinds",
    "schedule_history",
    "schedule_of_job",
    "schedule_overdue",
    "schedule_late",
];

/// What never touches a running row but one of a dead node (`rescue`), to ask its holder to stop
/// (`cancel`, `cancel_all`), or to have it counted (`limit`, `limit_held`).
const NOT_ABOUT_RUNS: &[&str] = &[
    "enqueue",
    "enqueue_unique",
    "claim_suspect",
    "rescue",
    "due",
    "expire",
    "prune",
    "prune_keys",
    "prune_rejected",
    "retention",
    "longest",
    "reject",
    "cancel",
    "cancel_all",
    "redrive",
    "run_now",
    "pause",
    "limit",
    "limit_held",
    "unblock",
    "claim_limited",
];

#[test]
fn every_statement_is_in_one_of_the_lists() {
    let schedules = |name: &str| name.starts_with("schedule");
    for known in PACKAGE.statements.iter().map(|known| known.name()) {
        let lists = [FENCED, READS, NOT_ABOUT_RUNS];
        let count = lists.iter().filter(|list| list.contains(&known)).count();
        assert!(
            count == 1 || schedules(known),
            "{known}: say how it is fenced"
        );
    }
}

/// Claims what is pending; gives (id, term).
async fn claim(store: &Store, incarnation: i64) -> Vec<(i64, i64)> {
    claim_up_to(store, incarnation, 10).await
}

pub(crate) async fn claim_up_to(store: &Store, incarnation: i64, want: usize) -> Vec<(i64, i64)> {
    exchange(store, incarnation, &[], want).await.claimed
}

/// What an exchange has told.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) ended: Vec<i64>,
    /// Ours, and locked by somebody.
    pub(crate) locked: Vec<i64>,
    /// As (id, term).
    pub(crate) claimed: Vec<(i64, i64)>,
}

/// Exchanges ends (id, term, state) for what is pending.
pub(crate) async fn exchange(
    store: &Store,
    incarnation: i64,
    ends: &[(i64, i64, &str)],
    want: usize,
) -> Told {
    let (plain, rest): (Vec<_>, Vec<_>) =
        ends.iter().partition(|(_, _, state)| *state == "completed");
    let rest = batch![
        rest.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(),
        rest.iter().map(|(_, term, _)| *term).collect::<Vec<_>>(),
        rest.iter()
            .map(|(_, _, state)| (*state).to_owned())
            .collect::<Vec<_>>(),
        vec![None::<String>; rest.len()],
        vec![None::<String>; rest.len()]
    ];
    let asked = batch![
        vec!["default".to_owned()],
        vec![want as i64],
        vec![i64::MIN]
    ];
    let kinds = vec!["act".to_owned()];
    let plain: Value = match store.dialect() {
        Dialect::Postgres => batch![
            plain.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(),
            plain.iter().map(|(_, term, _)| *term).collect::<Vec<_>>()
        ],
        Dialect::Sqlite => {
            let plain = plain.iter().map(|(id, term, _)| format!("\"{id}\":{term}"));
            format!("{{{}}}", plain.collect::<Vec<_>>().join(",")).into()
        }
    };
    let binds = binds![incarnation, plain, rest, asked, kinds, 0_i64];
    let mut told = Told {
        ended: Vec::new(),
        locked: Vec::new(),
        claimed: Vec::new(),
    };
    for row in store.run(statement("exchange"), binds).await.unwrap() {
        match row.get::<i64>(0).unwrap() {
            0 | 5 => {}
            1 => told.ended.push(row.get(1).unwrap()),
            2 => {
                let (ids, terms): (Vec<i64>, Vec<i64>) = (row.get(8).unwrap(), row.get(9).unwrap());
                told.claimed.extend(ids.into_iter().zip(terms));
            }
            3 if row.get::<i64>(1).unwrap() == ends.len() as i64 => {
                told.ended.extend(ends.iter().map(|(id, _, _)| *id));
            }
            3 => {}
            7 => told.locked.push(row.get(1).unwrap()),
            _ => {
                let jobs: Vec<Vec<serde_json::Value>> =
                    serde_json::from_str(row.get(1).unwrap()).unwrap();
                let number = |value: &serde_json::Value| value.as_i64().unwrap();
                told.claimed
                    .extend(jobs.iter().map(|job| (number(&job[0]), number(&job[1]))));
            }
        }
    }
    told
}

/// Offers the end of a run by each statement that can tell one; gives whether the row was taken.
pub(crate) async fn end(store: &Store, how: &str, id: i64, term: i64, incarnation: i64) -> bool {
    match how {
        "completed" | "discarded" | "cancelled" => {
            let told = exchange(store, incarnation, &[(id, term, how)], 0).await;
            told.ended == [id]
        }
        "complete_in" => {
            let binds = binds![id, term, incarnation, None::<String>];
            store.run(statement("complete_in"), binds).await.is_ok()
        }
        _ => {
            let (delay, spent, ended) = match how {
                "retried" => (1_000_000_i64, true, true),
                "snoozed" => (1_000_000, false, true),
                "released" => (0, false, false),
                other => panic!("{other}"),
            };
            let rows = store
                .run(
                    statement("put_back"),
                    binds![
                        batch![
                            vec![id],
                            vec![term],
                            vec![delay],
                            vec![spent],
                            vec![ended],
                            vec![Some("late".to_owned())]
                        ],
                        incarnation
                    ],
                )
                .await
                .unwrap();
            !rows.is_empty()
        }
    }
}

const ENDS: [&str; 7] = [
    "completed",
    "discarded",
    "cancelled",
    "complete_in",
    "retried",
    "snoozed",
    "released",
];

steadfast_store::on_every_store! {
    async fn the_end_of_a_run_counts_under_its_term_alone(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        for how in ENDS {
            let (ours, theirs) = (node(&store).await, node(&store).await);
            let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
            let [(raw, term)] = claim(&store, ours).await[..] else { panic!("{how}: not claimed") };
            let before = look(&store, id).await.unwrap();

            for (term, incarnation) in [(term - 1, ours), (term + 1, ours), (term, theirs), (term, 0)] {
                assert!(!end(&store, how, raw, term, incarnation).await, "{how}: {term} {incarnation}");
                assert_eq!(look(&store, id).await.unwrap(), before, "{how}");
            }

            assert!(end(&store, how, raw, term, ours).await, "{how}");
            let after = look(&store, id).await.unwrap();
            assert_ne!(after, before);
            assert!(!end(&store, how, raw, term, ours).await, "{how}: not twice");
            assert_eq!(look(&store, id).await.unwrap(), after);
            jobs.cancel(id, "done with it").await.unwrap();
        }
    }

    async fn of_many_ends_those_count_that_are_under_their_term(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let ours = node(&store).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap());
        }
        let mut held = claim(&store, ours).await;
        held.sort_unstable();
        let [(a, one), (b, two), (c, three), (d, four)] = held[..] else { panic!("not claimed") };
        let ends = [(a, one, "completed"), (b, two - 1, "completed"), (c, three, "cancelled"), (d, four + 1, "discarded")];

        let mut told = exchange(&store, ours, &ends, 0).await;

        told.ended.sort_unstable();
        assert_eq!(told.ended, [a, c]);
        let mut states = Vec::new();
        for id in ids {
            states.push(look(&store, id).await.unwrap().state);
        }
        assert_eq!(states, ["completed", "running", "cancelled", "running"]);
    }

    async fn what_is_claimed_is_told_once_whatever_is_held_already(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let ours = node(&store).await;
        let mut all = Vec::new();
        for _ in 0..3 {
            let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
            let told = claim(&store, ours).await;
            assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id.get() as i64]);
            all.extend(told);
            assert_eq!(claim(&store, ours).await, [], "nothing new");
        }
        assert_eq!(all.len(), 3);
    }

    async fn after_a_rescue_nothing_of_the_dead_node_counts(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        for how in ENDS {
            let (dead, alive) = (node(&store).await, node(&store).await);
            let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
            let [(raw, term)] = claim(&store, dead).await[..] else { panic!("{how}: not claimed") };
            kill(&store, dead).await;
            rescue(&store).await;

            let rescued = look(&store, id).await.unwrap();
            assert_eq!((rescued.state.as_str(), rescued.crashes, rescued.attempt), ("pending", 1, 0));
            assert!(!end(&store, how, raw, term, dead).await, "{how} after the rescue");
            assert_eq!(look(&store, id).await.unwrap(), rescued);

            let [(_, second)] = claim(&store, alive).await[..] else { panic!("{how}: not claimed again") };
            assert!(second > term);
            let running = look(&store, id).await.unwrap();
            assert!(!end(&store, how, raw, term, dead).await, "{how} beside the second run");
            assert_eq!(look(&store, id).await.unwrap(), running);

            assert!(end(&store, "completed", raw, second, alive).await);
            let done = look(&store, id).await.unwrap();
            assert!(!end(&store, how, raw, term, dead).await, "{how} after the second run");
            assert_eq!(look(&store, id).await.unwrap(), done);
        }
    }

    async fn a_node_that_was_found_dead_claims_nothing(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let dead = node(&store).await;
        kill(&store, dead).await;
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();

        assert_eq!(claim(&store, dead).await, []);
        let limited = binds![dead, "default", 10_i64, vec!["act".to_owned()], 0_i64];
        assert!(store.run(statement("claim_limited"), limited).await.unwrap().is_empty());
        sql(&store, "UPDATE steadfast_job SET crashes = 2", "UPDATE steadfast.job SET crashes = 2", binds![]).await;
        let suspects = |of: i64| binds![of, vec!["default".to_owned()], vec!["act".to_owned()], 0_i64];
        assert!(store.run(statement("claim_suspect"), suspects(dead)).await.unwrap().is_empty());

        assert_eq!(look(&store, id).await.unwrap().state, "pending");
        let alive = node(&store).await;
        assert_eq!(store.run(statement("claim_suspect"), suspects(alive)).await.unwrap().len(), 1);
    }

    async fn a_job_that_kills_its_process_each_time_is_quarantined_at_the_fourth(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let id = jobs.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        let mut suspect = Vec::new();

        for crash in 1..=4 {
            let incarnation = node(&store).await;
            let usual = claim(&store, incarnation).await.len();
            let queue = vec!["default".to_owned()];
            let binds = binds![incarnation, queue, vec!["act".to_owned()], 0_i64];
            let alone = store.run(statement("claim_suspect"), binds).await.unwrap().len();
            assert_eq!(usual + alone, 1, "crash {crash}");
            suspect.push(alone == 1);
            kill(&store, incarnation).await;
            rescue(&store).await;
        }

        assert_eq!(suspect, [false, false, true, true], "claimed alone from the second crash on");
        let seen = look(&store, id).await.unwrap();
        assert_eq!((seen.state.as_str(), seen.crashes, seen.attempt), ("quarantined", 4, 0));
        assert_eq!(jobs.redrive(&[id]).await.unwrap().jobs, [id]);
        assert_eq!(look(&store, id).await.unwrap().crashes, 0);
    }

    async fn two_that_claim_at_once_share_ten_thousand_jobs_without_a_double(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut batch = steadfast_jobs::Batch::new();
        for _ in 0..2_000 {
            batch.push(&Act::Succeed, Options::new()).unwrap();
        }
        jobs.enqueue_batch(batch).await.unwrap();

        let tasks: Vec<_> = [node(&store).await, node(&store).await]
            .into_iter()
            .map(|incarnation| {
                let store = store.clone();
                steadfast_core::spawn("claim", async move {
                    let mut mine = Vec::new();
                    loop {
                        let claimed = claim(&store, incarnation).await;
                        if claimed.is_empty() {
                            return mine;
                        }
                        mine.extend(claimed);
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }

        all.sort_unstable();
        assert!(all.iter().all(|(_, term)| *term == 1));
        all.dedup();
        assert_eq!(all.len(), 2_000);
    }
}

/// What the tables have beside what plans are looked at with, so that each statement has something to do: a node that is dead,
/// with a run; a suspect, a job that comes too late, one that is due, and a run of a schedule that has ended.
const MORE: &[&str] = &[
    "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us, ended_us)
     VALUES ('test', '0', 'test', 4, 'test', 'test', 0, 0, 0, 1)",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, term, incarnation, claimed_us)
     VALUES (450001, 'default', 'act', 'running', 0, '{}', 0, 1, 4, 1)",
    "INSERT INTO steadfast.job (id, queue, kind, state, due_us, payload, created_us, crashes, expires_us) VALUES
        (506001, 'default', 'act', 'pending', 1, '{}', 0, 2, NULL), (506002, 'default', 'act', 'pending', 2, '{}', 0, 0, 1),
        (506003, 'default', 'act', 'waiting', 3, '{}', 0, 0, NULL)",
    "INSERT INTO steadfast.schedule_occurrence (schedule, nominal_us, by_hand, job_id, made_us, ended_us)
     VALUES ('s1', 2, 0, 1, 1, NULL)",
];

/// Values as node 1 would give them, for those that have nothing to do with the others: about its own runs, or aimed
/// at one of another node.
const AIMED: &[(&str, &str)] = &[
    (
        "put_back",
        "'{400001,400002,400005}', '{1,1,1}', '{0,0,1000}', '{t,f,t}', '{t,f,t}', '{no,null,no}', 1",
    ),
    (
        "reject",
        "'{400001}', '{1}', '{act}', '{1}', '{completed}', '{null}', 1",
    ),
    ("redrive", "'{119000,400001}'"),
    ("schedule_mark", "'s1', 0, '{7}'"),
    (
        "schedule_made",
        "'s1', 0, '{1,2}', '{400001,400003}', '{1,1}', '{1,1}'",
    ),
    ("schedule_skip", "'s1', '{7}', '{7}', '{1}', '{missed}'"),
];

/// Under a term that runs of node 1 no longer have, or of what others hold: nothing that runs may change.
const STALE: &[(&str, &str)] = &[
    (
        "exchange",
        "1, '{400001,400002,400005}', '{1,0,2}', '{400001,400002,400005}', '{1,0,2}', '{discarded,cancelled,discarded}', '{null,null,null}', '{null,null,null}', '{}', '{}', '{}', '{}', 0",
    ),
    (
        "put_back",
        "'{400001,400002,400005}', '{1,0,2}', '{0,0,0}', '{t,t,t}', '{t,t,t}', '{no,no,no}', 1",
    ),
    ("complete_in", "400001, 1, 1, null"),
    ("complete_in", "400002, 0, 1, null"),
    ("complete_in", "400002, 2, 1, null"),
    ("run_now", "400001"),
    ("cancel", "400001, 'no'"),
    ("cancel_all", "'{400001}', 'no'"),
    ("redrive", "'{400001}'"),
];

/// What a statement may change of a run that somebody else holds: that it is wanted to stop, and that it counts against
/// a limit.
pub(crate) fn may_change(statement: &str) -> &'static str {
    match statement {
        "cancel" | "cancel_all" => "cancel",
        "limit" => "limit_key",
        _ => "",
    }
}

/// What living nodes run beside this one, all of it but what may change.
async fn held_by_others(tx: &mut Tx<'_>, incarnation: i64, but: &str) -> Vec<String> {
    let rows = tx.sql(
        "SELECT (to_jsonb(j) - $2::text)::text FROM steadfast.job AS j
         WHERE state = 'running' AND incarnation <> $1 AND incarnation <= 3 ORDER BY id",
        binds![incarnation, but],
    );
    let rows: Rows = rows.await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// How many rows were written.
async fn written(tx: &mut Tx<'_>) -> i64 {
    let rows = tx.sql(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_xact_user_tables",
        binds![],
    );
    rows.await.unwrap().one().unwrap().get(0).unwrap()
}

/// Each statement as node 1 would issue it, aimed at runs of nodes 2 and 3 where it says which.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_a_node_changes_what_another_holds() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    Jobs::open(&store).await.unwrap();
    for fill in FILL.iter().chain(MORE) {
        let filled: Result<Rows, steadfast_store::Error> = store
            .write(async |mut tx| tx.sql(fill, binds![]).await)
            .await;
        filled.unwrap();
    }
    let all =
        (VALUES.iter().chain(AIMED).map(|of| (of, false))).chain(STALE.iter().map(|of| (of, true)));
    let (mut refused, mut did) = (Vec::new(), BTreeSet::new());
    for (number, ((name, values), is_stale)) in all.enumerate() {
        let mut tx = store.begin().await.unwrap();
        // A stale term is as another's run.
        let (ours, but) = (i64::from(!is_stale), may_change(name));
        let before = held_by_others(&mut tx, ours, but).await;
        assert!(before.len() >= 200, "{name}: {}", before.len());
        let had = written(&mut tx).await;
        let body = text("postgres", name).replace("{schema}", "steadfast");
        let values = if values.is_empty() {
            String::new()
        } else {
            format!("({values})")
        };
        plans::run(&mut tx, format!("PREPARE aimed_{number} AS {body}"))
            .await
            .unwrap();
        if plans::run(&mut tx, format!("EXECUTE aimed_{number}{values}"))
            .await
            .is_err()
        {
            // It has raised, and the transaction is over.
            refused.push((*name, is_stale));
            drop(tx);
            continue;
        }
        let after = held_by_others(&mut tx, ours, but).await;
        assert_eq!(after, before, "{name} {values}");
        if !is_stale && written(&mut tx).await > had {
            did.insert(*name);
        }
        tx.roll_back().await.unwrap();
    }
    assert_eq!(
        refused,
        [("complete_in", true); 3],
        "the fence of a transaction raises"
    );
    // Whoever does nothing does nothing wrong.
    let writes = PACKAGE.statements.iter().map(|known| known.name());
    let writes = writes.filter(|name| !READS.contains(name) && !SCHEDULE_READS.contains(name));
    assert_eq!(did, writes.collect());
}

#[test]
fn an_id_is_a_positive_number() {
    assert_eq!(JobId::new(0), None);
    assert_eq!(JobId::new(u64::MAX), None);
    assert_eq!(JobId::new(7).unwrap().get(), 7);
}
