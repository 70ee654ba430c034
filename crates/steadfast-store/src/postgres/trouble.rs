//! What the codes of PostgreSQL mean to callers.

use sqlx::postgres::PgDatabaseError;

use crate::Error;
use crate::error::Trouble;

fn code(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Tells whether the connection is of no use any more.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
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
    let trouble = match code(&error) {
        Some("53300") => Trouble::TooManyConnections(error),
        Some(code) if code.starts_with("28") || code == "3D000" || code == "42501" => {
            Trouble::Denied(error)
        }
        Some("57P03" | "57P01" | "57P02") | None => match error {
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
        Some(_) => Trouble::Refused(error),
    };
    trouble.into()
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
