//! The invariants, checked over everything that has happened to every row: triggers write each change of
//! a job into a table of the scenario, in the order in which it came about.
//!
//! - I1: what was acknowledged has ended.
//! - I2: of each term at most one end was accepted.
//! - I3: nothing was changed by a stale term: terms never fall, each end is that of the last claim, and says
//!   so itself.
//! - I4: of each schedule and nominal time there is one job at most.
//! - I5: no more attempts than there are, and what has ended stays so.
//! - I6: what is counted and listed is what the tables have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use steadfast_core::clock;
use steadfast_jobs::state::{Event, next};
use steadfast_jobs::{Filter, State};
use steadfast_store::{Dialect, Error, Row, Rows, Store, binds};

use super::role::Did;
use super::{Arena, PATIENCE};

const SQLITE: &[&str] = &[
    "CREATE TABLE ledger (job INTEGER, term INTEGER, process INTEGER)",
    "CREATE TABLE audit (n INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER, was TEXT, became TEXT, term INTEGER,
        attempt INTEGER, max_attempts INTEGER, crashes INTEGER, incarnation INTEGER)",
    "CREATE TRIGGER audit_made AFTER INSERT ON steadfast_job BEGIN
        INSERT INTO audit (job, was, became, term, attempt, max_attempts, crashes, incarnation) VALUES
            (NEW.id, 'none', NEW.state, NEW.term, NEW.attempt, NEW.max_attempts, NEW.crashes, NEW.incarnation); END",
    "CREATE TRIGGER audit_changed AFTER UPDATE ON steadfast_job
        WHEN OLD.state <> NEW.state OR OLD.term <> NEW.term OR OLD.incarnation IS NOT NEW.incarnation BEGIN
        INSERT INTO audit (job, was, became, term, attempt, max_attempts, crashes, incarnation) VALUES
            (NEW.id, OLD.state, NEW.state, NEW.term, NEW.attempt, NEW.max_attempts, NEW.crashes, NEW.incarnation); END",
    "CREATE TRIGGER audit_ended AFTER INSERT ON steadfast_job_history BEGIN
        INSERT INTO audit (job, was, became, term, attempt, max_attempts, crashes, incarnation) VALUES
            (NEW.id, 'live', NEW.state, NEW.term, NEW.attempt, NEW.max_attempts, NEW.crashes, NEW.incarnation); END",
];

const POSTGRES: &[&str] = &[
    "CREATE TABLE ledger (job bigint, term bigint, process bigint)",
    "CREATE TABLE audit (n bigserial PRIMARY KEY, job bigint, was text, became text, term bigint,
        attempt bigint, max_attempts bigint, crashes bigint, incarnation bigint)",
    "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE was text := 'none';
        BEGIN
            IF TG_OP = 'UPDATE' THEN was := OLD.state; END IF;
            IF TG_TABLE_NAME = 'job_history' THEN was := 'live'; END IF;
            INSERT INTO public.audit (job, was, became, term, attempt, max_attempts, crashes, incarnation) VALUES
                (NEW.id, was, NEW.state, NEW.term, NEW.attempt, NEW.max_attempts, NEW.crashes, NEW.incarnation);
            RETURN NULL;
        END $$",
    "CREATE TRIGGER audit_made AFTER INSERT ON steadfast.job FOR EACH ROW EXECUTE FUNCTION audit()",
    "CREATE TRIGGER audit_changed AFTER UPDATE ON steadfast.job FOR EACH ROW
        WHEN (OLD.state <> NEW.state OR OLD.term <> NEW.term OR OLD.incarnation IS DISTINCT FROM NEW.incarnation)
        EXECUTE FUNCTION audit()",
    "CREATE TRIGGER audit_ended AFTER INSERT ON steadfast.job_history FOR EACH ROW EXECUTE FUNCTION audit()",
];

/// Begins to write down what happens.
pub(crate) async fn install(store: &Store) {
    let statements = match store.dialect() {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let made: Result<(), Error> = store
        .write(async |mut tx| {
            for statement in statements {
                tx.sql(statement, binds![]).await?;
            }
            Ok(())
        })
        .await;
    made.expect("the tables of jobs are there");
}

/// A change of a job, as it was written down.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) job: i64,
    pub(crate) was: String,
    pub(crate) became: String,
    pub(crate) term: i64,
    attempt: i64,
    max_attempts: i64,
    pub(crate) crashes: i64,
    incarnation: Option<i64>,
}

impl Change {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            job: row.get(0)?,
            was: row.get::<&str>(1)?.to_owned(),
            became: row.get::<&str>(2)?.to_owned(),
            term: row.get(3)?,
            attempt: row.get(4)?,
            max_attempts: row.get(5)?,
            crashes: row.get(6)?,
            incarnation: row.get(7)?,
        })
    }
}

/// Gives all changes, in order.
pub(crate) async fn changes(arena: &Arena) -> Vec<Change> {
    let text = "SELECT job, was, became, term, attempt, max_attempts, crashes, incarnation FROM audit ORDER BY n";
    let rows = arena.sql(text, text, binds![]).await;
    let read: Result<_, _> = rows.iter().map(Change::read).collect();
    read.expect("it was written so")
}

/// Tells the most jobs that were running at any one moment.
pub(crate) fn running_at_most(changes: &[Change]) -> usize {
    let (mut running, mut most) = (HashSet::new(), 0);
    for change in changes {
        if change.became == "running" {
            running.insert(change.job);
        } else {
            running.remove(&change.job);
        }
        most = most.max(running.len());
    }
    most
}

/// Tells how often each job was claimed.
pub(crate) fn claims(changes: &[Change]) -> BTreeMap<i64, usize> {
    let mut claims = BTreeMap::new();
    for change in changes.iter().filter(|change| change.became == "running") {
        *claims.entry(change.job).or_default() += 1;
    }
    claims
}

/// Checks all of them.
pub(crate) async fn check(arena: &Arena) {
    for id in arena.acknowledged() {
        ended(arena, id).await;
    }
    let changes = changes(arena).await;
    let mut broken = walk(&changes);
    broken.extend(ends_say_who_they_are_of(arena).await);
    broken.extend(occurrences(arena).await);
    broken.extend(counts(arena).await);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// I1.
async fn ended(arena: &Arena, id: steadfast_jobs::JobId) {
    let until = clock::now() + PATIENCE + arena.form.lease * 3;
    loop {
        let found = arena.find(id).await;
        if found.info.state.is_terminal() {
            return;
        }
        assert!(
            clock::now() < until,
            "I1: job {id} was acknowledged and does not end: {found:?}"
        );
        clock::sleep(Duration::from_millis(20)).await;
    }
}

/// Where a job is, by what was written down so far.
#[derive(Debug)]
struct Standing {
    state: State,
    term: i64,
    crashes: i64,
    holder: Option<i64>,
}

const EVENTS: [Event; 14] = [
    Event::Due,
    Event::Block,
    Event::Claim,
    Event::Complete,
    Event::Retry,
    Event::Discard,
    Event::Snooze,
    Event::Release,
    Event::Rescue,
    Event::Quarantine,
    Event::Cancel,
    Event::Stop,
    Event::Expire,
    Event::Redrive,
];

/// I2, I3 and I5: walks every job through its life.
pub(crate) fn walk(changes: &[Change]) -> Vec<String> {
    let mut standing: HashMap<i64, Standing> = HashMap::new();
    let mut broken = Vec::new();
    for change in changes {
        let now = State::of(&change.became).expect("the schema knows no other");
        let mut refuse = |rule: &str| broken.push(format!("{rule}: {change:?}"));
        if change.attempt > change.max_attempts {
            refuse("I5: more attempts than there are");
        }
        let Some(known) = standing.get_mut(&change.job) else {
            if change.was != "none" {
                refuse("it was never made");
            }
            standing.insert(
                change.job,
                Standing {
                    state: now,
                    term: change.term,
                    crashes: change.crashes,
                    holder: None,
                },
            );
            continue;
        };
        let was_live = change.was == known.state.as_str() || change.was == "live";
        if known.state.is_terminal() || !was_live {
            refuse("I5: it had ended, or was elsewhere");
        }
        if !EVENTS
            .iter()
            .any(|event| next(known.state, *event) == Ok(now))
        {
            refuse("I3: no event leads there");
        }
        let rise = change.term - known.term;
        let crashed = change.crashes > known.crashes;
        let wanted = match (known.state, now) {
            (_, State::Running) | (_, State::Quarantined) => 1,
            (State::Running, State::Pending) if crashed => 1,
            _ => 0,
        };
        if rise != wanted {
            refuse(&format!("I3: the term rose by {rise} instead of {wanted}"));
        }
        if change.crashes > known.crashes + 1 {
            refuse("one death was counted twice");
        }
        if known.state == State::Running && now.is_terminal() && change.incarnation != known.holder
        {
            refuse("I2: ended by a life that did not hold it");
        }
        *known = Standing {
            state: now,
            term: change.term,
            crashes: change.crashes,
            holder: change.incarnation,
        };
    }
    broken
}

/// I3: what a handler returned says under which term; the row must say the same.
async fn ends_say_who_they_are_of(arena: &Arena) -> Vec<String> {
    let rows: Rows = arena
        .sql(
            "SELECT id, term, result FROM steadfast_job_history WHERE state = 'completed' AND kind = 'deed' ORDER BY id",
            "SELECT id, term, result::text FROM steadfast.job_history WHERE state = 'completed' AND kind = 'deed' ORDER BY id",
            binds![],
        )
        .await;
    let mut broken = Vec::new();
    for row in &rows {
        let (id, term): (i64, i64) = (row.get(0).expect("an id"), row.get(1).expect("a term"));
        let result: Option<&str> = row.get(2).expect("a text");
        let did: Option<Did> = result.and_then(|json| serde_json::from_str(json).ok());
        if did.is_none_or(|did| did.term != term.unsigned_abs()) {
            broken.push(format!(
                "I3: job {id} ended under term {term} with {result:?}"
            ));
        }
    }
    broken
}

/// I4.
async fn occurrences(arena: &Arena) -> Vec<String> {
    let rows = arena
        .sql(
            "SELECT schedule, count(*) FROM steadfast_schedule_occurrence WHERE by_hand = 0 GROUP BY schedule, nominal_us HAVING count(DISTINCT job_id) > 1",
            "SELECT schedule, count(*) FROM steadfast.schedule_occurrence WHERE by_hand = 0 GROUP BY schedule, nominal_us HAVING count(DISTINCT job_id) > 1",
            binds![],
        )
        .await;
    let name = |row: &Row| {
        row.get::<&str>(0)
            .map(|name| format!("I4: two jobs of {name}"))
    };
    rows.iter().map(|row| name(row).expect("a name")).collect()
}

/// I6. Only bounded counts are promised, so scenarios stay below the bound or are not compared.
async fn counts(arena: &Arena) -> Vec<String> {
    let mut broken = Vec::new();
    let counts = arena.jobs.counts().await.expect("the store answers");
    let rows = arena
        .sql(
            "SELECT state, count(*) FROM (SELECT state FROM steadfast_job UNION ALL SELECT state FROM steadfast_job_history) GROUP BY state",
            "SELECT state, count(*) FROM (SELECT state FROM steadfast.job UNION ALL SELECT state FROM steadfast.job_history) AS s GROUP BY state",
            binds![],
        )
        .await;
    let mut there: HashMap<&str, i64> = HashMap::new();
    for row in &rows {
        there.insert(row.get(0).expect("a state"), row.get(1).expect("a number"));
    }
    for state in State::ALL {
        let rows = there
            .get(state.as_str())
            .map_or(0, |rows| rows.unsigned_abs());
        if counts.of(state) != rows.min(steadfast_jobs::COUNT_CAP) {
            broken.push(format!(
                "I6: {} are counted as {state}, there are {rows}",
                counts.of(state)
            ));
        }
        if rows < 500 {
            let page = arena.jobs.list(&Filter::state(state), 500).await;
            let listed = page.expect("the store answers").jobs.len() as u64;
            if listed != rows {
                broken.push(format!(
                    "I6: {listed} are listed as {state}, there are {rows}"
                ));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(was: &str, became: &str, term: i64, incarnation: Option<i64>) -> Change {
        Change {
            job: 1,
            was: was.into(),
            became: became.into(),
            term,
            attempt: 0,
            max_attempts: 5,
            crashes: 0,
            incarnation,
        }
    }

    fn after(last: Change) -> Vec<String> {
        walk(&[
            change("none", "pending", 0, None),
            change("pending", "running", 1, Some(7)),
            last,
        ])
    }

    #[test]
    fn a_life_in_order_breaks_no_rule_and_each_break_is_found() {
        assert_eq!(
            after(change("live", "completed", 1, Some(7))),
            Vec::<String>::new()
        );

        assert!(after(change("live", "completed", 1, Some(8)))[0].starts_with("I2"));
        assert!(after(change("live", "completed", 2, Some(7)))[0].starts_with("I3"));
        assert!(after(change("running", "running", 1, Some(8)))[0].starts_with("I3"));
        assert!(after(change("pending", "running", 2, Some(8)))[0].starts_with("I5"));
        let reopened = [
            change("none", "pending", 0, None),
            change("pending", "running", 1, Some(7)),
            change("live", "completed", 1, Some(7)),
            change("none", "pending", 1, None),
        ];
        assert!(walk(&reopened)[0].starts_with("I5"));
        let many = Change {
            attempt: 6,
            ..change("live", "completed", 1, Some(7))
        };
        assert!(after(many)[0].starts_with("I5"));
    }
}
