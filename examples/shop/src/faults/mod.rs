//! What goes wrong in a shop, made to happen on purpose: so that one sees what becomes of it before a
//! customer does.
//!
//! - [`fault`]: what can go wrong, each within bounds.
//! - [`force`]: which of it is in force, and when it ends: each ends by itself.
//! - [`request`]: what becomes of a request.
//! - [`broken`]: answers that break within.
//!
//! Who may hurt: [`arm`] answers. A process that nobody armed has no faults, whatever it is told; and
//! only one that a drill has started lets itself be armed, since it is the drill's own. Killed and
//! frozen processes are no faults of a process: the drill does that from outside, to its children.

pub mod broken;
pub mod fault;
pub mod force;
pub mod request;
#[cfg(test)]
mod tests;

use std::fmt;

pub use fault::{Fault, Injection};
pub use force::{inject, panics, reach};
pub use request::around;

/// The variable by which a drill says to its children that they are: it holds the number of its process.
pub const DRILL: &str = "STEADFAST_DRILL";

/// This process was not started by a drill, so nothing may hurt it.
#[derive(Debug)]
pub struct NotOfADrill;

/// Lets this process be hurt from now on; `guarded` says whether its tasks are started as ours are.
///
/// # Errors
/// When the parent of this process does not say that it is a drill. A process of a real service has
/// another parent, also where the variable was left in its environment.
pub fn arm(guarded: bool) -> Result<(), NotOfADrill> {
    let named = std::env::var(DRILL).ok();
    let parent = std::os::unix::process::parent_id().to_string();
    if named.as_ref() != Some(&parent) {
        return Err(NotOfADrill);
    }
    force::arm(guarded);
    Ok(())
}

impl fmt::Display for NotOfADrill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no faults here: only a process that `steadfast drill` has started can be hurt, and this is none",
        )
    }
}

impl std::error::Error for NotOfADrill {}
