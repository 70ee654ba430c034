//! What the codes of PostgreSQL mean to callers.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::Error;
use crate::error::Trouble;

fn answer(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

fn code(error: &sqlx::Error) -> Option<&str> {
    Some(answer(error)?.code())
}

/// Tells whether the connection is of no use any more.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    // Whatever its code: the session is over, and a pooler may say so of a commit that it has passed on.
    let severity = answer(error).map(PgDatabaseError::severity);
    if matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic)) {
        return true;
    }
    match code(error) {
        // Shutdown, crash, "starting up", idle for too long; class 08 is about connections.
        Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04") => true,
        Some(code) => code.starts_with("08"),
        // An answer that does not fit: what comes next would fit even less.
        None => !matches!(
            error,
            sqlx::Error::Encode(_) | sqlx::Error::TypeNotFound { .. }
        ),
    }
}

/// Tells whether the server takes no writes.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    code(error) == Some("25006")
}

/// Says what it means that no connection could be made.
pub(super) fn classify_connect(error: sqlx::Error, place: impl FnOnce() -> String) -> Error {
    let trouble = match refusal(&error) {
        Some(Refusal::Full) => Trouble::TooManyConnections(error),
        Some(Refusal::Denied) => Trouble::Denied(error),
        Some(Refusal::Other) => Trouble::Refused(error),
        Some(Refusal::Away) | None => match error {
            sqlx::Error::Configuration(source) => Trouble::Config {
                what: "url",
                problem: source.to_string(),
            },
            error => Trouble::Unreachable {
                is_file: false,
                place: place(),
                source: Some(error.into()),
            },
        },
    };
    trouble.into()
}

/// Why a server, or a pooler before it, lets nobody in.
enum Refusal {
    /// It has no more connections.
    Full,
    /// Not this user, or not this database.
    Denied,
    /// It starts, stops, is out of something, or cannot reach what is behind it.
    Away,
    Other,
}

fn refusal(error: &sqlx::Error) -> Option<Refusal> {
    let answer = answer(error)?;
    let said = |words: &[&str]| words.iter().any(|words| answer.message().contains(words));
    Some(match answer.code() {
        "53300" => Refusal::Full,
        "3D000" | "42501" => Refusal::Denied,
        // What PgBouncer says of everything, before 1.19 even of a wrong password; it speaks English alone.
        "08P01" if said(&["max_client_conn"]) => Refusal::Full,
        "08P01" if said(&["authentication failed", "no such", "does not exist"]) => Refusal::Denied,
        code => match code.get(..2) {
            Some("28") => Refusal::Denied,
            Some("08" | "53" | "57" | "58" | "XX") => Refusal::Away,
            _ => Refusal::Other,
        },
    })
}

pub(super) fn classify(error: sqlx::Error) -> Error {
    if is_lost(&error) {
        return Trouble::Lost(error.into()).into();
    }
    let trouble = match code(&error).unwrap_or_default() {
        "40001" | "40P01" | "55P03" => Trouble::Conflict(error),
        // Cancelled, which is by its time limit unless somebody did it by hand.
        "57014" => Trouble::Cancelled(error),
        "53100" => Trouble::DiskFull(error.into()),
        "53300" => Trouble::TooManyConnections(error),
        "25006" => Trouble::ReadOnly(error.into()),
        "42501" => Trouble::Denied(error),
        "25P02" => Trouble::Ended,
        code if code.starts_with("23") => Trouble::Constraint {
            unique: code == "23505",
            name: error
                .as_database_error()
                .and_then(|error| error.constraint())
                .map(str::to_owned),
            source: error,
        },
        code if code.starts_with("28") => Trouble::Denied(error),
        _ => Trouble::Refused(error),
    };
    trouble.into()
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgConnectOptions;
    use sqlx::{ConnectOptions, PgConnection};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const START: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

    fn failure(severity: &str, code: &str, why: &str) -> Vec<u8> {
        let fields = format!("S{severity}\0V{severity}\0C{code}\0M{why}\0\0");
        let length = u32::try_from(4 + fields.len()).unwrap();
        [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
    }

    /// Takes one connection, and gives each message of its client the next of the answers.
    async fn serve(listener: &TcpListener, answers: &[&[u8]]) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut message = [0; 8 << 10];
            assert_ne!(stream.read(&mut message).await.unwrap(), 0);
            stream.write_all(answer).await.unwrap();
        }
        stream
    }

    async fn client(listener: &TcpListener) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(listener.local_addr().unwrap().port())
            .username("app")
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .connect()
            .await
    }

    async fn asked(severity: &str, code: &str) -> sqlx::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let failure = failure(severity, code, "no");
        let ask = async {
            let mut conn = client(&listener).await.unwrap();
            sqlx::raw_sql("COMMIT")
                .execute(&mut conn)
                .await
                .unwrap_err()
        };
        let answers = [START, &failure[..]];
        let (_stream, error) = tokio::join!(serve(&listener, &answers), ask);
        error
    }

    async fn refused(code: &str, why: &str) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let failure = failure("FATAL", code, why);
        let answers = [&failure[..]];
        let (_stream, conn) = tokio::join!(serve(&listener, &answers), client(&listener));
        classify_connect(conn.map(drop).unwrap_err(), || "there".into())
    }

    #[tokio::test]
    async fn a_session_that_ends_leaves_the_outcome_unknown_whatever_the_code() {
        for (severity, code) in [
            ("FATAL", "XX000"),
            ("FATAL", "58000"),
            ("FATAL", "53300"),
            ("PANIC", "53100"),
            ("ERROR", "08006"),
        ] {
            let error = asked(severity, code).await;
            assert!(is_lost(&error), "{severity} {code}");
            assert!(classify(error).is_outcome_unknown(), "{severity} {code}");
        }
        for code in ["XX000", "58000", "53100", "23505"] {
            let error = asked("ERROR", code).await;
            assert!(!is_lost(&error), "{code}");
            assert!(!classify(error).is_outcome_unknown(), "{code}");
        }
    }

    #[tokio::test]
    async fn a_refusal_to_connect_means_what_its_code_says() {
        for (code, why, means) in [
            ("28P01", "no", "SF-1115"),
            ("3D000", "no", "SF-1115"),
            ("53300", "no", "SF-1120"),
            ("53200", "no", "SF-1101"),
            ("57P03", "no", "SF-1101"),
            ("58000", "no", "SF-1101"),
            ("XX000", "no", "SF-1101"),
            ("0A000", "no", "SF-1116"),
            // As PgBouncer says it.
            ("08P01", "password authentication failed", "SF-1115"),
            ("08P01", "no such user", "SF-1115"),
            ("08P01", "no such database: shop", "SF-1115"),
            (
                "08P01",
                "no more connections allowed (max_client_conn)",
                "SF-1120",
            ),
            ("08P01", "query_wait_timeout", "SF-1101"),
            ("08P01", "pgbouncer cannot connect to server", "SF-1101"),
        ] {
            let error = refused(code, why).await;
            assert_eq!(error.code(), means, "{code}: {why}");
            assert!(!error.is_outcome_unknown(), "{code}: {why}");
        }
    }
}
