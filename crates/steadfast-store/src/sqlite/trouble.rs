//! What the codes of SQLite mean to callers.

use crate::Error;
use crate::error::Trouble;

const SQLITE_PERM: i32 = 3;
pub(super) const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_INTERRUPT: i32 = 9;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_AUTH: i32 = 23;
const SQLITE_NOTADB: i32 = 26;

const SQLITE_READONLY_DBMOVED: i32 = 8 | 4 << 8;
const SQLITE_CONSTRAINT_PRIMARYKEY: i32 = 19 | 6 << 8;
const SQLITE_CONSTRAINT_UNIQUE: i32 = 19 | 8 << 8;
const SQLITE_CONSTRAINT_ROWID: i32 = 19 | 10 << 8;

/// Gives the extended code of an error of SQLite.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED))
}

pub(super) fn classify(error: sqlx::Error) -> Error {
    let Some(code) = code(&error) else {
        return match error {
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => Trouble::Lost(error.into()),
            error => Trouble::Refused(error),
        }
        .into();
    };
    let trouble = match code & 0xff {
        SQLITE_READONLY if code == SQLITE_READONLY_DBMOVED => Trouble::FileGone {
            path: String::new(),
            how: "was moved",
        },
        SQLITE_READONLY => Trouble::ReadOnly(error.into()),
        SQLITE_FULL => Trouble::DiskFull(error.into()),
        SQLITE_INTERRUPT | SQLITE_BUSY | SQLITE_LOCKED => Trouble::Conflict(error),
        SQLITE_CORRUPT | SQLITE_NOTADB => Trouble::Damaged(error),
        SQLITE_PERM | SQLITE_AUTH => Trouble::Denied(error),
        SQLITE_CANTOPEN => Trouble::Unreachable {
            is_file: true,
            place: "its file".into(),
            source: Some(error.into()),
        },
        SQLITE_IOERR => Trouble::Lost(error.into()),
        SQLITE_CONSTRAINT => Trouble::Constraint {
            unique: matches!(
                code,
                SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_ROWID
            ),
            name: error.as_database_error().and_then(|error| {
                let (_, name) = error.message().split_once("constraint failed: ")?;
                Some(name.to_owned())
            }),
            source: error,
        },
        _ => Trouble::Refused(error),
    };
    trouble.into()
}
