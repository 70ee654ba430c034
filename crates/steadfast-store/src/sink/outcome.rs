//! What an error of the store says about the rows of a batch.

use std::error::Error as _;
use std::fmt;

use steadfast_core::batch::WriteError;

use crate::Error;
use crate::error::Trouble;

/// Says who is to blame.
pub(super) fn of(error: Error) -> WriteError {
    #[cfg(feature = "test-util")]
    if let Trouble::Injected { .. } = error.trouble() {
        return WriteError::unavailable(error);
    }
    match error.trouble() {
        Trouble::Conflict(_) | Trouble::ForeignLock { .. } => WriteError::conflict(Why(error)),
        Trouble::Cancelled(_) | Trouble::TimeLimit { undone: true, .. } => {
            WriteError::too_much(Why(error))
        }
        Trouble::Constraint { .. } => WriteError::row(Why(error)),
        Trouble::Refused(source) if is_of_a_row(source) => WriteError::row(Why(error)),
        Trouble::Unreachable { .. }
        | Trouble::TooManyConnections(_)
        | Trouble::Lost(_)
        | Trouble::ReadOnly(_)
        | Trouble::DiskFull(_)
        | Trouble::Exhausted { .. }
        | Trouble::TimeLimit { .. }
        | Trouble::Stalled(_) => WriteError::unavailable(Why(error)),
        _ if is_shortage(error.trouble()) => WriteError::unavailable(Why(error)),
        _ => WriteError::broken(Why(error)),
    }
}

/// Tells whether another row would have been taken: its data, a rule in a trigger, or its size.
fn is_of_a_row(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Encode(_) = error {
        return true;
    }
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    // SQLite: too big, of another type.
    const SQLITE: [&str; 2] = ["18", "20"];
    SQLITE.contains(&code.as_ref())
        // Data, a key twice in one statement, a view's check, a trigger's own, program limits, and what the server
        // says of an allocation that is too large.
        || code.len() == 5
            && (["22", "23", "44", "P0", "54"].iter().any(|class| code.starts_with(class))
                || code == "21000"
                || code == "XX000")
}

/// Tells whether the server lacks something that it may have again.
fn is_shortage(trouble: &Trouble) -> bool {
    let Trouble::Refused(error) = trouble else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.len() == 5 && code.starts_with("53"))
}

/// An error with what it comes from in its message: it stands in logs and in tables.
#[derive(Debug)]
struct Why(Error);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.0.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Why {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source().and_then(std::error::Error::source)
    }
}
