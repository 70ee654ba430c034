//! Who is measured, how each is set, and one measurement.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use steadfast::BoxError;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::protocol::NEVER;
use crate::server::Server;
use crate::{EMPTY_MAX, PICKED_UP};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Postgres,
    Sqlite,
}

/// Who is measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// What starts it, before role, URL and count.
    start: Start,
    /// Tells how many are done, of `{n}`.
    done: &'static str,
    /// Whether it has handlers that can be waited for.
    picks_up: bool,
    settings: &'static str,
}

enum Start {
    /// This program.
    Own(&'static str),
    /// The program for peers on sqlx 0.8, which `./jobs-bench` has built.
    Sqlx08(&'static str),
    /// A script of node, with its packages installed beside it.
    Node(&'static str),
    /// A script of Python, in the environment that `./jobs-bench` has made.
    Python(&'static str),
}

pub(crate) fn all() -> Vec<Contender> {
    let contender = |name, on, start, done, settings| Contender {
        name,
        on,
        start,
        done,
        picks_up: !matches!(start_name(name), "floor"),
        settings,
    };
    vec![
        contender(
            "floor on PostgreSQL",
            On::Postgres,
            Start::Own("floor"),
            "SELECT count(*) FROM floor_done",
            "one connection, 2,000 a round; no handlers, no fence",
        ),
        contender(
            "steadfast on PostgreSQL",
            On::Postgres,
            Start::Own("ours"),
            "SELECT count(*) FROM steadfast.job_history",
            "default",
        ),
        contender(
            "graphile_worker 0.14",
            On::Postgres,
            Start::Own("graphile"),
            "SELECT {n} - count(*) FROM graphile_worker._private_jobs",
            "of its own benches: concurrency 500, local queue 5,000, completions each 5 ms; picked up with concurrency 8 and no local queue",
        ),
        contender(
            "apalis-postgres 1.0",
            On::Postgres,
            Start::Own("apalis"),
            "SELECT count(*) FROM apalis.jobs WHERE status = 'Done'",
            "batches of 1,000, concurrency 1,000, pushed, no lock of tasks",
        ),
        contender(
            "underway 0.2",
            On::Postgres,
            Start::Sqlx08("underway"),
            "SELECT count(*) FROM underway.task WHERE state = 'succeeded'",
            "concurrency 64, looked for each 10 ms; enqueued one by one, 16 at once",
        ),
        contender(
            "awa 0.6",
            On::Postgres,
            Start::Sqlx08("awa"),
            "SELECT count(*) FROM awa.jobs WHERE state = 'completed'",
            "500 workers, batches of 512, 4 claimers",
        ),
        contender(
            "graphile-worker 0.17 (node)",
            On::Postgres,
            Start::Node("graphile-worker.mjs"),
            "SELECT {n} - count(*) FROM graphile_worker._private_jobs",
            "concurrency 24, local queue 500, completions in batches",
        ),
        contender(
            "pg-boss 10 (node)",
            On::Postgres,
            Start::Node("pg-boss.mjs"),
            "SELECT count(*) FROM pgboss.job WHERE name = 'nothing' AND state = 'completed'",
            "batches of 1,000, polled each 0.5 s, 4 workers",
        ),
        contender(
            "procrastinate (Python)",
            On::Postgres,
            Start::Python("procrastinate_bench.py"),
            "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
            "concurrency 50, notified",
        ),
        contender(
            "floor on SQLite",
            On::Sqlite,
            Start::Own("floor"),
            "SELECT count(*) FROM floor_done",
            "one connection, 2,000 a round; no handlers, no fence",
        ),
        contender(
            "steadfast on SQLite",
            On::Sqlite,
            Start::Own("ours"),
            "SELECT count(*) FROM steadfast_job_history",
            "default",
        ),
        contender(
            "apalis-sqlite 1.0",
            On::Sqlite,
            Start::Own("apalis"),
            "SELECT count(*) FROM Jobs WHERE status = 'Done'",
            "one connection, batches of 1,000, concurrency 1,000, polled each 20 ms, analyzed before it works",
        ),
    ]
}

fn start_name(name: &'static str) -> &'static str {
    name.split(' ').next().unwrap_or(name)
}

/// What was measured of one.
pub(crate) struct Measured {
    enqueued: Option<f64>,
    pub(crate) emptied: Option<f64>,
    pickup: Option<(u64, u64)>,
    note: String,
}

impl Measured {
    pub(crate) fn line(&self, contender: &Contender, floor: Option<f64>) -> String {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "–".into(), thousands);
        let share = match (self.emptied, floor) {
            (Some(rate), Some(floor)) if !contender.name.starts_with("floor") => {
                format!(" ({:.2} × floor)", rate / floor)
            }
            _ => String::new(),
        };
        let time = |us: Option<u64>| {
            us.map_or_else(|| "–".into(), |us| format!("{:.2} ms", us as f64 / 1e3))
        };
        format!(
            "| {} | {} | {}{share} | {} | {} | {}{} |",
            contender.name,
            rate(self.enqueued),
            rate(self.emptied),
            time(self.pickup.map(|(p50, _)| p50)),
            time(self.pickup.map(|(_, p99)| p99)),
            contender.settings,
            self.note,
        )
    }
}

pub(crate) fn thousands(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut told = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

impl Contender {
    /// Says why it cannot be measured here.
    pub(crate) fn missing(&self) -> Option<String> {
        let (variable, what) = match self.start {
            Start::Own(_) => return None,
            Start::Sqlx08(_) => ("JOBS_BENCH_SQLX08", "its program was not built"),
            Start::Node(_) => ("JOBS_BENCH_NODE", "node, or its packages, are not there"),
            Start::Python(_) => (
                "JOBS_BENCH_PYTHON",
                "Python, or its packages, are not there",
            ),
        };
        std::env::var_os(variable)
            .is_none()
            .then(|| what.to_owned())
    }

    fn command(&self, role: &str, url: &str, count: u64) -> Result<Command, BoxError> {
        let mut command = match self.start {
            Start::Own(name) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["contender", name]);
                command
            }
            Start::Sqlx08(name) => {
                let mut command = Command::new(std::env::var("JOBS_BENCH_SQLX08")?);
                command.arg(name);
                command
            }
            Start::Node(script) => {
                let folder = PathBuf::from(std::env::var("JOBS_BENCH_NODE")?);
                let mut command = Command::new("node");
                command.arg(folder.join(script));
                command
            }
            Start::Python(script) => {
                let folder = PathBuf::from(std::env::var("JOBS_BENCH_PYTHON")?);
                let mut command = Command::new(folder.join("venv/bin/python"));
                command.arg(folder.join(script));
                command
            }
        };
        command
            .args([role, url, &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    pub(crate) async fn measure(&self, server: &Server, jobs: u64) -> Result<Measured, BoxError> {
        let url = match self.on {
            On::Postgres => server.postgres().await?,
            On::Sqlite => server.sqlite(),
        };
        self.start("setup", &url, 0)?
            .ends(Duration::from_secs(30))
            .await?;
        let mut measured = Measured {
            enqueued: None,
            emptied: None,
            pickup: None,
            note: String::new(),
        };
        if self.picks_up {
            let mut running = self.start("pickup", &url, PICKED_UP)?;
            match running.says("pickup", Duration::from_secs(60)).await {
                Ok(words) => {
                    let mut numbers = words.split(' ').filter_map(|word| word.parse().ok());
                    measured.pickup = numbers.next().zip(numbers.next());
                    if measured.pickup.is_some_and(|(_, p99)| p99 == NEVER) {
                        measured.pickup = None;
                        measured.note =
                            "; of those enqueued one by one, some were never run".into();
                    }
                }
                Err(error) => measured.note = format!("; pick-up failed: {error}"),
            }
            running.kill().await;
        }
        let before = self.done(&url, jobs).await.unwrap_or(0);
        let mut running = self.start("enqueue", &url, jobs)?;
        let words = running.says("enqueued", Duration::from_secs(90)).await?;
        measured.enqueued = words
            .parse::<f64>()
            .ok()
            .map(|seconds| jobs as f64 / seconds);
        running.ends(Duration::from_secs(10)).await?;
        // So that nobody's plans depend on whether the server came round to it by itself.
        match self.on {
            On::Postgres => {
                let mut conn = sqlx::postgres::PgConnection::connect(&url).await?;
                sqlx::raw_sql("ANALYZE; CHECKPOINT")
                    .execute(&mut conn)
                    .await?;
            }
            On::Sqlite => {
                let file = url.strip_prefix("sqlite:").unwrap_or(&url);
                let mut conn = SqliteConnectOptions::new().filename(file).connect().await?;
                sqlx::raw_sql("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")
                    .execute(&mut conn)
                    .await?;
            }
        }

        let base = if self.done.contains("{n}") { 0 } else { before };
        let mut running = self.start("work", &url, jobs)?;
        running.says("working", Duration::from_secs(30)).await?;
        let began = Instant::now();
        // Its handlers are through, or it takes too long: from then on the database is asked.
        let through = running.says("ran", EMPTY_MAX).await.is_ok();
        loop {
            let done = self.done(&url, jobs).await?.saturating_sub(base);
            let took = began.elapsed();
            if done >= jobs || took >= EMPTY_MAX {
                measured.emptied = Some(done as f64 / took.as_secs_f64());
                if done < jobs {
                    let why = if through {
                        "not all told"
                    } else {
                        "not through"
                    };
                    measured.note += &format!("; {why} after {} s", EMPTY_MAX.as_secs());
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.kill().await;
        Ok(measured)
    }

    async fn done(&self, url: &str, jobs: u64) -> Result<u64, BoxError> {
        let text = AssertSqlSafe(self.done.replace("{n}", &jobs.to_string()));
        let count: i64 = match self.on {
            On::Postgres => {
                let mut conn = sqlx::postgres::PgConnection::connect(url).await?;
                sqlx::query(text).fetch_one(&mut conn).await?.get(0)
            }
            On::Sqlite => {
                let file = url.strip_prefix("sqlite:").unwrap_or(url);
                let mut conn = SqliteConnectOptions::new()
                    .filename(file)
                    .read_only(true)
                    .connect()
                    .await?;
                sqlx::query(text).fetch_one(&mut conn).await?.get(0)
            }
        };
        Ok(count.max(0).unsigned_abs())
    }

    fn start(&self, role: &str, url: &str, count: u64) -> Result<Playing, BoxError> {
        Playing::start(self.command(role, url, count)?)
    }
}

/// A contender that plays a role.
pub(crate) struct Playing {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Playing {
    pub(crate) fn start(mut command: Command) -> Result<Self, BoxError> {
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or("its output is not ours")?;
        Ok(Self {
            child,
            lines: BufReader::new(out).lines(),
        })
    }

    /// Waits until it says a word; gives the rest of the line.
    pub(crate) async fn says(&mut self, word: &str, limit: Duration) -> Result<String, BoxError> {
        let listened = tokio::time::timeout(limit, async {
            while let Some(line) = self.lines.next_line().await? {
                if let Some((known, rest)) = line
                    .strip_prefix('@')
                    .map(|line| line.split_once(' ').unwrap_or((line, "")))
                    && known == word
                {
                    return Ok(rest.to_owned());
                }
            }
            Err(format!("it ended without saying {word}").into())
        });
        listened
            .await
            .map_err(|_| format!("{word} was not said within {limit:?}"))?
    }

    pub(crate) async fn ends(mut self, limit: Duration) -> Result<(), BoxError> {
        let status = tokio::time::timeout(limit, self.child.wait())
            .await
            .map_err(|_| "it does not end")??;
        if !status.success() {
            return Err(format!("it ended with {status}").into());
        }
        Ok(())
    }

    pub(crate) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Ends it as the kernel would, and gives the moment.
    pub(crate) async fn kill_at(mut self) -> Instant {
        let _ = self.child.kill().await;
        Instant::now()
    }
}
