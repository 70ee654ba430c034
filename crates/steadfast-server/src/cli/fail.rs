//! How a command says that it has failed: a code, the cause, the fix, and an exit code.
//!
//! | exit code | when |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | the command was not understood |
//! | 4 | there is no such thing |
//! | 5 | the token is not known, or may not do it |
//! | 6 | it is not in the state for it, or was changed meanwhile |
//! | 7 | the server cannot be reached, or its store |
//! | 8 | lines of a crontab could not be taken over, and the rest was |
//! | 78 | the configuration is refused |

use std::io::Write;
use std::process::ExitCode;

use crate::api::client::{Refused, Unreachable};

/// Tells an error, and gives the exit code.
pub(crate) fn tell(error: &anyhow::Error, json: bool) -> ExitCode {
    let (code, exit, fix) = judge(error);
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let text = match json {
        true => serde_json::json!({
            "version": 1,
            "error": { "code": code, "title": error.to_string(), "causes": causes, "fix": fix },
        })
        .to_string(),
        false => {
            let mut text = format!("error[{code}]: {error}\n");
            // A server that cannot be reached has causes that say less than the first.
            for cause in causes.iter().take(3) {
                text.push_str(&format!("  because: {cause}\n"));
            }
            if let Some(fix) = &fix {
                text.push_str(&format!("  fix: {fix}\n"));
            }
            text
        }
    };
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    ExitCode::from(exit)
}

fn judge(error: &anyhow::Error) -> (String, u8, Option<String>) {
    if let Some(Refused(problem)) = error.downcast_ref::<Refused>() {
        let exit = match problem.status {
            404 => 4,
            401 | 403 => 5,
            409 | 412 | 428 => 6,
            503 => 7,
            _ => 1,
        };
        return (problem.code.clone(), exit, problem.fix.clone());
    }
    if error.downcast_ref::<Unreachable>().is_some() {
        let fix = "start `steadfast serve`, or say where it is with --server";
        return ("SF-2301".into(), 7, Some(fix.into()));
    }
    let store = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<steadfast::store::Error>());
    if let Some(store) = store {
        let exit = if store.is_unreachable() { 7 } else { 1 };
        return (store.code().into(), exit, Some(store.fix().into()));
    }
    let ids = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<steadfast::ids::Error>());
    if let Some(ids) = ids {
        let is_away = ids.store().is_some_and(|error| error.is_unreachable());
        let exit = if is_away { 7 } else { 1 };
        return (ids.code().into(), exit, Some(ids.fix().into()));
    }
    ("SF-2300".into(), 1, None)
}
