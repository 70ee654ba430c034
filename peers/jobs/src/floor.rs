//! The floor: a loop written by hand that claims a batch and completes the one before, in one statement or one
//! transaction, and flushes. No fence, no handlers in tasks, no retries, no other workers: what the database can do.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use steadfast::BoxError;

use crate::protocol::{self, Told, say};

/// How many go into one round.
const BATCH: i64 = 2_000;

pub(crate) async fn play(told: Told) -> Result<(), BoxError> {
    match told.url.strip_prefix("sqlite:") {
        Some(file) => on_sqlite(&told, file).await,
        None => on_postgres(&told).await,
    }
}

const POSTGRES: &str = "
    WITH ended AS (
        DELETE FROM floor_job WHERE id = ANY ($1) RETURNING id, payload
    ), kept AS (
        INSERT INTO floor_done (id, payload, at) SELECT id, payload, now() FROM ended
    )
    UPDATE floor_job SET state = 1 WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM floor_job WHERE state = 0 AND id > $3 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
    )) RETURNING id";

async fn on_postgres(told: &Told) -> Result<(), BoxError> {
    let mut conn = PgConnection::connect(&told.url).await?;
    match told.role.as_str() {
        "setup" => {
            for table in [
                "CREATE TABLE floor_job (id bigserial PRIMARY KEY, payload json NOT NULL, state int NOT NULL DEFAULT 0)",
                "CREATE INDEX floor_ready ON floor_job (id) WHERE state = 0",
                "CREATE TABLE floor_done (id bigint PRIMARY KEY, payload json NOT NULL, at timestamptz NOT NULL)",
            ] {
                sqlx::query(table).execute(&mut conn).await?;
            }
        }
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(5_000) {
                    let payloads: Vec<String> = (first..(first + 5_000).min(told.count))
                        .map(|number| format!("{{\"number\":{number}}}"))
                        .collect();
                    let insert = "INSERT INTO floor_job (payload) SELECT unnest($1::text[])::json";
                    sqlx::query(insert)
                        .bind(payloads)
                        .execute(&mut conn)
                        .await
                        .expect("it is taken");
                }
            })
            .await;
        }
        "work" => {
            say("working");
            let (mut held, mut last): (Vec<i64>, i64) = (Vec::new(), 0);
            loop {
                let rows = sqlx::query(POSTGRES)
                    .bind(&held)
                    .bind(BATCH)
                    .bind(last)
                    .fetch_all(&mut conn)
                    .await?;
                if rows.is_empty() && held.is_empty() {
                    protocol::for_ever().await;
                }
                held = rows.iter().map(|row| row.get(0)).collect();
                last = held.iter().max().copied().unwrap_or(last);
                held.iter().for_each(|id| protocol::ran(*id as u64));
            }
        }
        _ => {}
    }
    Ok(())
}

async fn on_sqlite(told: &Told, file: &str) -> Result<(), BoxError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut conn: SqliteConnection = options.connect().await?;
    match told.role.as_str() {
        "setup" => {
            for table in [
                "CREATE TABLE floor_job (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0)",
                "CREATE INDEX floor_ready ON floor_job (id) WHERE state = 0",
                "CREATE TABLE floor_done (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, at REAL NOT NULL)",
            ] {
                sqlx::query(table).execute(&mut conn).await?;
            }
        }
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(5_000) {
                    let payloads: Vec<String> = (first..(first + 5_000).min(told.count))
                        .map(|number| format!("{{\"number\":{number}}}"))
                        .collect();
                    let insert = "INSERT INTO floor_job (payload) SELECT value FROM json_each(?1)";
                    let payloads = serde_json::to_string(&payloads).expect("texts are JSON");
                    sqlx::query(insert)
                        .bind(payloads)
                        .execute(&mut conn)
                        .await
                        .expect("it is taken");
                }
            })
            .await;
        }
        "work" => {
            say("working");
            let mut held = "[]".to_owned();
            loop {
                let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
                let kept = "INSERT INTO floor_done SELECT id, payload, unixepoch('subsec') FROM floor_job WHERE id IN (SELECT value FROM json_each(?1))";
                sqlx::query(kept).bind(&held).execute(&mut *tx).await?;
                let ended = "DELETE FROM floor_job WHERE id IN (SELECT value FROM json_each(?1))";
                sqlx::query(ended).bind(&held).execute(&mut *tx).await?;
                let claimed = "UPDATE floor_job SET state = 1 WHERE id IN (SELECT id FROM floor_job WHERE state = 0 ORDER BY id LIMIT ?1) RETURNING id";
                let rows = sqlx::query(claimed).bind(BATCH).fetch_all(&mut *tx).await?;
                tx.commit().await?;
                if rows.is_empty() && held == "[]" {
                    protocol::for_ever().await;
                }
                let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                ids.iter().for_each(|id| protocol::ran(*id as u64));
                held = serde_json::to_string(&ids)?;
            }
        }
        _ => {}
    }
    Ok(())
}
