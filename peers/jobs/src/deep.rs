//! What only ours is asked: how it fares with millions of rows, after a `kill -9`, and under a held snapshot.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use steadfast::BoxError;
use steadfast::jobs::{Filter, Jobs, Kind, Options, PACKAGE, Run, State, Worker};
use steadfast::store::{Dialect, binds};

use crate::contenders::{Playing, thousands};
use crate::ours::{self, Hold};
use crate::server::Server;

fn own(role: &str, url: &str, count: u64) -> Result<tokio::process::Command, BoxError> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command
        .args(["contender", "ours", role, url, &count.to_string()])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

async fn pickup(role: &str, url: &str, count: u64, limit: Duration) -> Result<[u64; 2], BoxError> {
    let mut playing = Playing::start(own(role, url, count)?)?;
    let words = playing.says("pickup", limit).await?;
    playing.kill().await;
    let mut numbers = words.split(' ').filter_map(|word| word.parse().ok());
    Ok([numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)])
}

// === millions of rows ===

/// The same looks and claims with none and with many rows.
pub(crate) async fn listing_and_claims(rows: u64, server: &Server) -> Result<(), BoxError> {
    println!(
        "## With {} completed, {} future and {} blocked jobs, and with none\n",
        thousands(rows as f64),
        thousands(rows as f64 / 5.0),
        thousands(rows as f64 / 50.0)
    );
    println!(
        "| on | jobs | pick-up p50 | p99 | a page of 50 | counts | prune 1,000 |\n|---|---|--:|--:|--:|--:|--:|"
    );
    for url in [server.postgres().await?, server.sqlite()] {
        let jobs = ours::open(&url).await?;
        fill_to_prune(&jobs, 0).await?;
        println!("{}", row(&jobs, &url, "none").await?);
        fill(&url, rows, jobs.store().dialect()).await?;
        fill_to_prune(&jobs, 1).await?;
        println!("{}", row(&jobs, &url, "many").await?);
        jobs.store().close().await;
    }
    println!();
    Ok(())
}

async fn row(jobs: &Jobs, url: &str, with: &str) -> Result<String, BoxError> {
    let prune = median(10, async || {
        let statement = PACKAGE
            .statements
            .iter()
            .find(|known| known.name() == "prune");
        let statement = statement.copied().ok_or("no statement prunes")?;
        // Older than a year: those that `fill_to_prune` made.
        let year = 365 * 86_400 * 1_000_000_i64;
        let pruned = jobs
            .store()
            .run(
                statement,
                binds!["completed", "", year, 0_i64, 0_i64, 1_000_i64],
            )
            .await?;
        match pruned.one()?.get::<i64>(1)? {
            1_000 => Ok(()),
            pruned => Err(format!("{pruned} were pruned").into()),
        }
    });
    let prune = prune.await?;
    let page = median(50, async || {
        jobs.list(&Filter::state(State::Completed), 50).await?;
        Ok(())
    });
    let page = page.await?;
    let counts = median(50, async || {
        jobs.counts().await?;
        Ok(())
    });
    let counts = counts.await?;
    let [p50, p99] = pickup("pickup", url, 300, Duration::from_secs(60)).await?;
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
    let took = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let on = jobs.store().dialect();
    Ok(format!(
        "| {on:?} | {with} | {} | {} | {} | {} | {} |",
        ms(p50),
        ms(p99),
        took(page),
        took(counts),
        took(prune)
    ))
}

async fn median(
    times: usize,
    mut look: impl AsyncFnMut() -> Result<(), BoxError>,
) -> Result<Duration, BoxError> {
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        look().await?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[times / 2])
}

const POSTGRES: &str = "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation, claimed_us, created_us, finished_us, min_version)
    SELECT {id} + g, 'default', 'nothing', 'completed', 0, {at} + g, '{\"number\":1}', 1, 20, 0, 0, 1, 1, {at} + g, {at} + g, {at} + g, 0 FROM generate_series(1, {n}) AS g";

const SQLITE: &str = "WITH RECURSIVE s(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < {n})
    INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation, claimed_us, created_us, finished_us, min_version)
    SELECT {id} + g, 'default', 'nothing', 'completed', 0, {at} + g, '{\"number\":1}', 1, 20, 0, 0, 1, 1, {at} + g, {at} + g, {at} + g, 0 FROM s";

/// Adds 20,000 completed jobs of long ago.
async fn fill_to_prune(jobs: &Jobs, turn: i64) -> Result<(), BoxError> {
    let text = match jobs.store().dialect() {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    };
    let id = 8_000_000_000_000 + turn * 1_000_000_000;
    let text = text
        .replace("{id}", &id.to_string())
        .replace("{at}", "1")
        .replace("{n}", "20000");
    let done: Result<(), steadfast::store::Error> = jobs
        .store()
        .write(async |mut tx| {
            // A fixed text, made at run time: the tables of the bench are nobody else's.
            tx.sql(Box::leak(text.into_boxed_str()), binds![]).await?;
            Ok(())
        })
        .await;
    Ok(done?)
}

async fn fill(url: &str, rows: u64, dialect: Dialect) -> Result<(), BoxError> {
    // Ended now, and due in ten years.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_micros() as u64;
    let future = now + 10 * 365 * 86_400 * 1_000_000;
    let history = |text: &str| {
        text.replace("{id}", "5000000000000")
            .replace("{at}", &(now - rows).to_string())
            .replace("{n}", &rows.to_string())
    };
    let live = |schema: &str, series: &str, id: u64, count: u64, blocked: &str| {
        format!(
            "{series} INSERT INTO {schema} (id, queue, kind, state, due_us, payload, created_us, limit_key, blocked) SELECT {id} + g, 'default', 'nothing', 'waiting', {future} + g, '{{\"number\":1}}', {now}, CASE WHEN {blocked} THEN 'key' END, {blocked} FROM {}",
            if series.is_empty() {
                format!("generate_series(1, {count}) AS g")
            } else {
                "s".to_owned()
            }
        )
    };
    let began = Instant::now();
    match dialect {
        Dialect::Postgres => {
            let mut conn = sqlx::postgres::PgConnection::connect(url).await?;
            for text in [
                history(POSTGRES),
                live("steadfast.job", "", 6_000_000_000_000, rows / 5, "false"),
                live("steadfast.job", "", 7_000_000_000_000, rows / 50, "true"),
                "ANALYZE".into(),
                "CHECKPOINT".into(),
            ] {
                conn.execute(AssertSqlSafe(text)).await?;
            }
        }
        Dialect::Sqlite => {
            let file = url.strip_prefix("sqlite:").unwrap_or(url);
            let mut conn = SqliteConnectOptions::new().filename(file).connect().await?;
            let series = |count: u64| {
                format!(
                    "WITH RECURSIVE s(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < {count})"
                )
            };
            for text in [
                history(SQLITE),
                live(
                    "steadfast_job",
                    &series(rows / 5),
                    6_000_000_000_000,
                    rows / 5,
                    "0",
                ),
                live(
                    "steadfast_job",
                    &series(rows / 50),
                    7_000_000_000_000,
                    rows / 50,
                    "1",
                ),
                "PRAGMA wal_checkpoint(TRUNCATE)".into(),
            ] {
                conn.execute(AssertSqlSafe(text)).await?;
            }
        }
    }
    eprintln!("{dialect:?} filled in {:.0?}", began.elapsed());
    Ok(())
}

// === rescue ===

/// From `kill -9` of the process that has a job to the completion by another one, with default settings.
pub(crate) async fn rescue(server: &Server) -> Result<(), BoxError> {
    println!("## From `kill -9` to the completion by another process, with default settings\n");
    println!("| on | | after |\n|---|---|--:|");
    for url in [server.postgres().await?, server.sqlite()] {
        for other_host in [false, true] {
            let jobs = ours::open(&url).await?;
            let folder =
                std::env::temp_dir().join(format!("jobs-bench-{}-files", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let mut command = own("hold", &url, 0)?;
            command.env("XDG_RUNTIME_DIR", &folder);
            let mut holder = Playing::start(command)?;
            let id = jobs.enqueue(&Hold, Options::new()).await?;
            holder.says("holding", Duration::from_secs(60)).await?;
            let kind = Kind::new(async |_: Run, _: Hold| Ok(()));
            let running = Worker::builder(&jobs).kind(kind).build()?.start();
            // So that it knows the other one.
            tokio::time::sleep(Duration::from_secs(11)).await;
            if other_host {
                forget_files(&jobs).await?;
            }
            let killed = holder.kill_at().await;
            while jobs
                .find(id)
                .await?
                .is_none_or(|job| job.info.state != State::Completed)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let took = killed.elapsed();
            let on = jobs.store().dialect();
            let place = if other_host {
                "as if on another host: known by its lease"
            } else {
                "on one host: known by its file"
            };
            println!("| {on:?} | {place} | {:.1} s |", took.as_secs_f64());
            running.stop(Duration::from_secs(5)).await;
            jobs.store().close().await;
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    println!();
    Ok(())
}

/// Removes the files by which processes of one host know of each other.
async fn forget_files(jobs: &Jobs) -> Result<(), BoxError> {
    let text = match jobs.store().dialect() {
        Dialect::Postgres => "SELECT lock FROM steadfast.node WHERE ended_us IS NULL",
        Dialect::Sqlite => "SELECT lock FROM steadfast_node WHERE ended_us IS NULL",
    };
    let rows: Result<steadfast::store::Rows, steadfast::store::Error> = jobs
        .store()
        .read(async |mut tx| tx.sql(text, binds![]).await)
        .await;
    for row in &rows? {
        let _ = std::fs::remove_file(row.get::<&str>(0)?);
    }
    Ok(())
}

// === a held snapshot ===

/// How long each soak takes.
const SOAK: u64 = 60;

/// A thousand jobs a second, without and with a session that holds a snapshot and does nothing.
pub(crate) async fn soak(server: &Server) -> Result<(), BoxError> {
    println!("## 1,000 jobs a second on PostgreSQL, the last third of {SOAK} s\n");
    println!("| | pick-up p50 | p99 |\n|---|--:|--:|");
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
    let limit = Duration::from_secs(SOAK + 60);
    let url = server.postgres().await?;
    drop(ours::open(&url).await?);
    let [p50, p99] = pickup("soak", &url, SOAK * 1_000, limit).await?;
    println!("| nobody holds a snapshot | {} | {} |", ms(p50), ms(p99));
    let mut idle = sqlx::postgres::PgConnection::connect(&url).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .execute(&mut idle)
        .await?;
    let [held50, held99] = pickup("soak", &url, SOAK * 1_000, limit).await?;
    println!(
        "| a session holds one all the while | {} | {} |",
        ms(held50),
        ms(held99)
    );
    sqlx::raw_sql("ROLLBACK").execute(&mut idle).await?;
    println!(
        "\nThe p99 is {:.1} times that without; the bound is 3.\n",
        held99 as f64 / p99.max(1) as f64
    );
    Ok(())
}
