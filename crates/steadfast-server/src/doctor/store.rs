//! The store of a configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use steadfast::jobs::Jobs;
use steadfast::jobs::schedule::Schedules;
use steadfast::store::{self, Error, Place, Store, binds};
use steadfast::{clock, ids};

use super::{Check, Finding, check, fail, ok, warn};
use crate::config::Config;
use crate::sql;
use crate::unhandled::{fix, fix_of_queue, says, says_of_queue, unhandled, unserved};
use crate::unwritten::unwritten;

static REACHED: Check = check(
    "store.reached",
    "whether the store answers, and who is in the way if not",
);
static SCHEMA: Check = check(
    "store.schema",
    "whether its tables are those of this program",
);
static HANDLERS: Check = check(
    "store.handlers",
    "whether jobs wait, or are made by a schedule, of a kind that neither the configuration nor any node has a handler for",
);
static QUEUES: Check = check(
    "store.queues",
    "whether due jobs wait in a queue that neither the configuration nor any node claims from",
);
static SCHEDULES: Check = check(
    "store.schedules",
    "which schedules of the store the configuration does not have: others have made them, or they were taken out of it and go on",
);
static WRITTEN: Check = check(
    "store.written",
    "whether it takes writes, and which process holds its lock if not",
);
static DURABLE: Check = check(
    "store.durable",
    "whether what is committed survives a power failure: `fsync`, `full_page_writes` and `synchronous_commit` of PostgreSQL; for SQLite, whether its folder is on a local disk",
);
static DISK: Check = check(
    "store.disk",
    "how much room there is for the file of SQLite: a warning below 512 MiB, a failure below 64 MiB",
);
static CONNECTIONS: Check = check(
    "store.connections",
    "whether PostgreSQL has connections left for this program",
);
static LOCKS: Check = check(
    "store.locks",
    "whether others hold locks on our tables of PostgreSQL, or a transaction open for longer than a minute",
);
static CLOCK: Check = check(
    "store.clock",
    "whether the clocks of database and host agree (a warning above 1 s, a failure above 1 min), and whether that of the database was set back",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[
    &REACHED,
    &SCHEMA,
    &HANDLERS,
    &QUEUES,
    &SCHEDULES,
    &WRITTEN,
    &DURABLE,
    &DISK,
    &CONNECTIONS,
    &LOCKS,
    &CLOCK,
];

/// How many connections a server needs beside those of `store.connections`: 8 that beats, claims and
/// wake-ups have for themselves, 4 of the API.
const CONNECTIONS_BESIDE: i64 = store::Config::RESERVED_MAX as i64 + 4;

/// How long a transaction of others may be open: a minute, several times the longest of ours.
const LONG_S: i64 = 60;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let place = match config.store.config("steadfast doctor") {
        Ok(place) => place,
        Err(error) => {
            return vec![fail(
                &REACHED,
                format!("{error:#}"),
                "set the variable, or put the file there, as store.url says",
            )];
        }
    };
    let mut findings = Vec::new();
    if let Place::Sqlite(path) = &place.place {
        let folder = folder(path);
        let found = Folder::look(&folder);
        findings.extend(judge_folder(&folder, found.as_ref()));
        if found.is_none() {
            return findings;
        }
        if !path.exists() {
            findings.push(ok(
                &REACHED,
                format!(
                    "{} is made when the server is started for the first time",
                    path.display()
                ),
            ));
            return findings;
        }
    }
    let may_migrate = place.migrate;
    // Nothing is changed by looking.
    let place = store::Config {
        migrate: false,
        connections_max: 2,
        ..place
    };
    let opened = match Store::open(place).await {
        Ok(store) => store,
        Err(error) => {
            findings.push(match error.code() {
                MISSING => judge_schema(Err(&error), may_migrate),
                _ => troubled(&REACHED, &error),
            });
            return findings;
        }
    };
    findings.extend(look(&opened, config, may_migrate).await);
    opened.close().await;
    findings
}

/// The code of an error that says that a migration is missing.
const MISSING: &str = "SF-1117";

async fn look(store: &Store, config: &Config, may_migrate: bool) -> Vec<Finding> {
    let answer = store.health().await.answer;
    let mut findings = vec![match &answer {
        Ok(took) => ok(&REACHED, format!("it answers in {took:.1?}")),
        Err(error) => troubled(&REACHED, error),
    }];
    if answer.is_err() {
        return findings;
    }
    let opened = Jobs::open(store).await;
    let jobs = opened.as_ref().map_err(|error| error.store());
    let own = store.migrate(&sql::PACKAGE).await;
    let ids = match config.ids {
        Some(_) => store.migrate(&ids::PACKAGE).await,
        None => Ok(()),
    };
    findings.push(match (&jobs, own.as_ref().and(ids.as_ref())) {
        (Err(Some(error)), _) => judge_schema(Err(error), may_migrate),
        (_, others) => judge_schema(others.copied(), may_migrate),
    });
    if let Ok(jobs) = &opened {
        findings.extend(handled(jobs, config).await);
        findings.extend(served(jobs, config).await);
        findings.push(written_down(jobs, config).await);
    }
    let written = async {
        match own {
            Ok(()) => store.run(&sql::WRITES_LOOK, binds![0_i64]).await.map(drop),
            // Without our tables this is as far as one gets.
            Err(_) => store.begin().await?.roll_back().await,
        }
    };
    findings.push(match written.await {
        Ok(()) => ok(&WRITTEN, "it takes writes"),
        Err(error) => troubled(&WRITTEN, &error),
    });
    if let Place::Postgres(_) = store.config().place {
        match Server::ask(store).await {
            Ok(server) => {
                let wanted = config.store.connections().unwrap_or(10) as i64;
                findings.extend(judge_server(&server, wanted + CONNECTIONS_BESIDE));
            }
            Err(error) => findings.push(troubled(&DURABLE, &error)),
        }
    }
    match Clocks::ask(store).await {
        Ok(clocks) => findings.push(judge_clocks(&clocks)),
        Err(error) => findings.push(troubled(&CLOCK, &error)),
    }
    findings
}

async fn handled(jobs: &Jobs, config: &Config) -> Vec<Finding> {
    let found = unhandled(jobs, config.lease, |kind| {
        config.handlers.contains_key(kind)
    })
    .await;
    match found {
        Ok(found) if found.is_empty() => {
            vec![ok(&HANDLERS, "every kind that waits has a handler")]
        }
        Ok(found) => {
            let found = found.iter();
            found
                .map(|(kind, of_kind)| warn(&HANDLERS, says(kind, of_kind), fix(kind, of_kind)))
                .collect()
        }
        Err(error) => vec![fail(&HANDLERS, error.to_string(), error.fix())],
    }
}

async fn served(jobs: &Jobs, config: &Config) -> Vec<Finding> {
    let found = unserved(jobs, config.lease, |queue| {
        config.queues.contains_key(queue)
    })
    .await;
    match found {
        Ok(found) if found.is_empty() => {
            vec![ok(
                &QUEUES,
                "every queue in which jobs wait is claimed from",
            )]
        }
        Ok(found) => {
            let found = found.iter();
            found
                .map(|(queue, jobs)| {
                    warn(&QUEUES, says_of_queue(queue, *jobs), fix_of_queue(queue))
                })
                .collect()
        }
        Err(error) => vec![fail(&QUEUES, error.to_string(), error.fix())],
    }
}

async fn written_down(jobs: &Jobs, config: &Config) -> Finding {
    let is_written = |name: &str| config.schedules.contains_key(name);
    match unwritten(&Schedules::new(jobs), is_written).await {
        Ok(None) => ok(&SCHEDULES, "every schedule is in the configuration"),
        // Whether somebody wants them cannot be seen.
        Ok(Some(names)) => ok(
            &SCHEDULES,
            format!(
                "in the store and not in the configuration, made by others or taken out of it: {names}; `steadfast schedules delete NAME --reason WHY` ends one"
            ),
        ),
        Err(error) => fail(&SCHEDULES, error.to_string(), error.fix()),
    }
}

/// As the store tells it.
fn troubled(check: &'static Check, error: &Error) -> Finding {
    fail(check, error.to_string(), error.fix())
}

fn judge_schema(migrated: Result<(), &Error>, may_migrate: bool) -> Finding {
    match migrated {
        Ok(()) => ok(&SCHEMA, "its tables are those of this program"),
        Err(error) if error.code() == MISSING && may_migrate => ok(
            &SCHEMA,
            format!("{error}; the server applies it when it starts"),
        ),
        Err(error) => troubled(&SCHEMA, error),
    }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Where a file of SQLite is.
#[derive(Debug, Clone, Copy)]
struct Folder {
    /// The number by which the system knows its kind of file system.
    kind: u64,
    free: u64,
}

impl Folder {
    fn look(path: &Path) -> Option<Self> {
        let found = rustix::fs::statfs(path).ok()?;
        Some(Self {
            kind: u64::try_from(found.f_type).ok()? & 0xffff_ffff,
            free: found
                .f_bavail
                .saturating_mul(u64::try_from(found.f_bsize).ok()?),
        })
    }
}

/// File systems of other machines, on which the locks of SQLite do not work: NFS, SMB, 9P.
const NETWORKS: [u64; 4] = [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x0102_1997];

/// Those in memory: tmpfs, ramfs.
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

const MIB: u64 = 1 << 20;

/// Below which room there is a warning, and a failure: 512 MiB for a day of jobs, 64 MiB for a log that
/// has to be taken into the file.
const ROOM_WARN: u64 = 512 * MIB;
const ROOM_FAIL: u64 = 64 * MIB;

fn judge_folder(path: &Path, found: Option<&Folder>) -> Vec<Finding> {
    let path = path.display();
    let Some(found) = found else {
        return vec![fail(
            &REACHED,
            format!("there is no folder {path} for the file of SQLite"),
            format!("mkdir -p {path}, as the user of the server"),
        )];
    };
    let durable = if NETWORKS.contains(&found.kind) {
        fail(
            &DURABLE,
            format!(
                "{path} is on a file system of the network, where the locks of SQLite do not hold"
            ),
            "put the file on a local disk, or use PostgreSQL",
        )
    } else if MEMORY.contains(&found.kind) {
        warn(
            &DURABLE,
            format!("{path} is in memory: all jobs are gone with the next start of the machine"),
            "put the file on a disk",
        )
    } else {
        ok(&DURABLE, "SQLite waits for the disk at each commit")
    };
    let room = format!("{} MiB are free in {path}", found.free / MIB);
    let fix = "make room, or move the file: a full disk ends every write";
    let disk = match found.free {
        free if free < ROOM_FAIL => fail(&DISK, room, fix),
        free if free < ROOM_WARN => warn(&DISK, room, fix),
        _ => ok(&DISK, room),
    };
    vec![durable, disk]
}

/// What PostgreSQL tells of itself.
#[derive(Debug, Default)]
struct Server {
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    connections: i64,
    connections_max: i64,
    /// Sessions with a transaction that is open for long: process, program, seconds.
    open: Vec<(i64, String, i64)>,
    /// Sessions that hold a lock on a table of ours: process, program, table, lock.
    locked: Vec<(i64, String, String, String)>,
}

impl Server {
    async fn ask(store: &Store) -> Result<Self, Error> {
        let schema = store.config().schema.clone();
        store
            .read(async |mut tx| {
                let settings = "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
                                current_setting('synchronous_commit'), \
                                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
                                current_setting('max_connections')::int8 \
                                - current_setting('superuser_reserved_connections')::int8";
                let rows = tx.sql(settings, binds![]).await?;
                let row = rows.one()?;
                let mut server = Self {
                    fsync: row.get(0)?,
                    full_page_writes: row.get(1)?,
                    synchronous_commit: row.get(2)?,
                    connections: row.get(3)?,
                    connections_max: row.get(4)?,
                    ..Self::default()
                };
                let open = "SELECT pid::int8, coalesce(application_name, ''), \
                            extract(epoch FROM clock_timestamp() - xact_start)::int8 \
                            FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                            AND extract(epoch FROM clock_timestamp() - xact_start) > $1 \
                            ORDER BY xact_start LIMIT 3";
                for row in &tx.sql(open, binds![LONG_S]).await? {
                    server.open.push((row.get(0)?, row.get(1)?, row.get(2)?));
                }
                // Ours are of rows alone, but for migrations, which take a second at most.
                let locked = "SELECT l.pid::int8, coalesce(a.application_name, ''), c.relname::text, l.mode \
                              FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                              JOIN pg_namespace n ON n.oid = c.relnamespace \
                              LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
                              WHERE n.nspname = $1 AND l.granted AND l.database = \
                              (SELECT oid FROM pg_database WHERE datname = current_database()) \
                              AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
                              LIMIT 3";
                for row in &tx.sql(locked, binds![schema.clone()]).await? {
                    server.locked.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                }
                Ok(server)
            })
            .await
    }
}

fn judge_server(server: &Server, wanted: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, value) in [
        ("fsync", &server.fsync),
        ("full_page_writes", &server.full_page_writes),
    ] {
        if value == "off" {
            findings.push(fail(
                &DURABLE,
                format!(
                    "{name} of PostgreSQL is off: a power failure may damage the whole database"
                ),
                format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"),
            ));
        }
    }
    if server.synchronous_commit == "off" {
        findings.push(warn(
            &DURABLE,
            "synchronous_commit of PostgreSQL is off: a crash of it loses the last commits, jobs among them",
            "set synchronous_commit to on, for this database or for all",
        ));
    }
    if findings.is_empty() {
        findings.push(ok(&DURABLE, "PostgreSQL waits for the disk at each commit"));
    }
    let (is, most) = (server.connections, server.connections_max);
    findings.push(match most - is >= wanted {
        true => ok(&CONNECTIONS, format!("{is} of {most} connections are taken, and up to {wanted} are wanted")),
        false => warn(
            &CONNECTIONS,
            format!("{is} of {most} connections are taken, and up to {wanted} are wanted: a server that is started now may get none"),
            "raise max_connections, lower store.connections, or put PgBouncer before it: docs/how-to/pgbouncer.md",
        ),
    });
    let program = |pid: &i64, name: &str| match name {
        "" => format!("process {pid}"),
        name => format!("process {pid} ({name})"),
    };
    let locked = server.locked.iter().map(|(pid, name, table, mode)| {
        fail(
            &LOCKS,
            format!(
                "{} holds {mode} on the table {table}: everybody waits for it",
                program(pid, name)
            ),
            format!("end what it does, or SELECT pg_terminate_backend({pid});"),
        )
    });
    let open = server.open.iter().map(|(pid, name, seconds)| {
        warn(
            &LOCKS,
            format!("{} has a transaction open for {seconds} s: until it ends, no row that was deleted since is cleaned up, and claims grow slow", program(pid, name)),
            format!("end it, or SELECT pg_terminate_backend({pid}); and set idle_in_transaction_session_timeout"),
        )
    });
    let found: Vec<_> = locked.chain(open).collect();
    match found.is_empty() {
        true => findings.push(ok(&LOCKS, "nobody is in the way")),
        false => findings.extend(found),
    }
    findings
}

/// Two clocks, asked together.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    database_us: i64,
    /// The host before and after the question.
    host_us: (i64, i64),
    /// The latest time that the database has noted for a node.
    noted_us: Option<i64>,
}

impl Clocks {
    async fn ask(store: &Store) -> Result<Self, Error> {
        let host_us = || clock::timestamp().unix_millis().saturating_mul(1_000);
        // The first question prepares the second.
        store.ask(&sql::CLOCK_LOOK, binds![]).await?;
        let before = host_us();
        let rows = store.ask(&sql::CLOCK_LOOK, binds![]).await?;
        let row = rows.one()?;
        Ok(Self {
            database_us: row.get(0)?,
            host_us: (before, host_us()),
            noted_us: row.get(1)?,
        })
    }
}

/// By how much clocks may differ: 1 s, a tenth of a beat; more than a minute comes near the five that
/// signatures hold.
const SKEW_WARN: Duration = Duration::from_secs(1);
const SKEW_FAIL: Duration = Duration::from_secs(60);

fn judge_clocks(clocks: &Clocks) -> Finding {
    let ahead_us = clocks
        .noted_us
        .map_or(0, |noted_us| noted_us - clocks.database_us);
    if ahead_us > 1_000_000 {
        let by = Duration::from_micros(ahead_us.unsigned_abs());
        return fail(
            &CLOCK,
            format!(
                "the clock of the database was set back by {by:.1?} or more: a node has given a sign at a time that is yet to come"
            ),
            "have NTP slew it, and not step it; until then dead nodes may be taken to be alive",
        );
    }
    let (before, after) = clocks.host_us;
    // Within what the question took, nobody knows better.
    let off_us = if clocks.database_us < before {
        before - clocks.database_us
    } else {
        (clocks.database_us - after).max(0)
    };
    let off = Duration::from_micros(off_us.unsigned_abs());
    let told = format!("the clocks of database and host differ by {off:.1?}");
    let fix =
        "have NTP keep both; what is compared between hosts follows the clock of the database";
    match off {
        off if off > SKEW_FAIL => fail(&CLOCK, told, fix),
        off if off > SKEW_WARN => warn(&CLOCK, told, fix),
        _ => ok(&CLOCK, "the clocks of database and host agree"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_folder_is_judged_by_its_file_system_and_its_room() {
        let check = |kind, free, expect: [Verdict; 2]| {
            let found = judge_folder(Path::new("/x"), Some(&Folder { kind, free }));
            assert_eq!(
                found
                    .iter()
                    .map(|finding| finding.verdict)
                    .collect::<Vec<_>>(),
                expect
            );
        };
        let ext4 = 0xef53;

        check(ext4, ROOM_WARN, [Verdict::Ok, Verdict::Ok]);
        check(ext4, ROOM_WARN - 1, [Verdict::Ok, Verdict::Warn]);
        check(ext4, ROOM_FAIL - 1, [Verdict::Ok, Verdict::Fail]);
        check(0x6969, ROOM_WARN, [Verdict::Fail, Verdict::Ok]);
        check(0x0102_1994, ROOM_WARN, [Verdict::Warn, Verdict::Ok]);
        assert_eq!(
            judge_folder(Path::new("/x"), None)[0].verdict,
            Verdict::Fail
        );
    }

    #[test]
    fn a_server_is_judged_by_what_it_promises_and_who_is_in_the_way() {
        let well = || Server {
            fsync: "on".into(),
            full_page_writes: "on".into(),
            synchronous_commit: "on".into(),
            connections: 10,
            connections_max: 97,
            ..Server::default()
        };
        let check = |server: Server, expect: &[(&str, Verdict)]| {
            let found = judge_server(&server, 22);
            let told = found
                .iter()
                .filter(|finding| finding.verdict != Verdict::Ok);
            let told: Vec<_> = told
                .map(|finding| (finding.check.name, finding.verdict))
                .collect();
            assert_eq!(told, expect, "{server:?}");
        };

        check(well(), &[]);
        check(
            Server {
                fsync: "off".into(),
                ..well()
            },
            &[("store.durable", Verdict::Fail)],
        );
        check(
            Server {
                full_page_writes: "off".into(),
                ..well()
            },
            &[("store.durable", Verdict::Fail)],
        );
        check(
            Server {
                synchronous_commit: "off".into(),
                ..well()
            },
            &[("store.durable", Verdict::Warn)],
        );
        check(
            Server {
                synchronous_commit: "local".into(),
                ..well()
            },
            &[],
        );
        check(
            Server {
                connections: 76,
                ..well()
            },
            &[("store.connections", Verdict::Warn)],
        );
        let open = vec![(7, "psql".into(), 61)];
        check(Server { open, ..well() }, &[("store.locks", Verdict::Warn)]);
        let locked = vec![(7, "psql".into(), "job".into(), "ShareLock".into())];
        check(
            Server { locked, ..well() },
            &[("store.locks", Verdict::Fail)],
        );
    }

    #[test]
    fn clocks_are_compared_within_what_the_question_took() {
        let second = 1_000_000;
        let check = |database_us, host_us, noted_us, expect| {
            let clocks = Clocks {
                database_us,
                host_us,
                noted_us,
            };
            assert_eq!(judge_clocks(&clocks).verdict, expect, "{clocks:?}");
        };

        check(
            100 * second,
            (100 * second, 100 * second),
            None,
            Verdict::Ok,
        );
        // A slow answer says nothing about the clock.
        check(
            100 * second,
            (90 * second, 110 * second),
            Some(99 * second),
            Verdict::Ok,
        );
        check(
            100 * second,
            (102 * second, 103 * second),
            None,
            Verdict::Warn,
        );
        check(
            103 * second,
            (100 * second, 101 * second),
            None,
            Verdict::Warn,
        );
        check(0, (61 * second, 62 * second), None, Verdict::Fail);
        check(
            100 * second,
            (100 * second, 100 * second),
            Some(102 * second),
            Verdict::Fail,
        );
    }
}
