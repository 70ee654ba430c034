//! Whom the programs of a configuration run as.

use super::{Check, Finding, check, ok, warn};
use crate::config::{Config, Work};

static USERS: Check = check(
    "config.users",
    "whether root looks, and programs of handlers would run as root since they say no `user`",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[&USERS];

/// How many handlers are named in a line.
const NAMED_MAX: usize = 5;

pub(super) fn examine(config: &Config) -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    let handlers = config.handlers.iter();
    let unsaid = handlers.filter_map(|(name, handler)| match &handler.work {
        Work::Exec(exec) if is_root && exec.user.is_none() => Some(name.as_str()),
        Work::Exec(_) | Work::Http(_) => None,
    });
    judge(&unsaid.collect::<Vec<_>>())
}

/// Judges handlers whose programs run as root without that being said.
fn judge(of_root: &[&str]) -> Finding {
    if of_root.is_empty() {
        let well =
            "no program runs as root without that being said, where this user runs the server";
        return ok(&USERS, well);
    }
    let named = of_root[..of_root.len().min(NAMED_MAX)].join(", ");
    let more = match of_root.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    warn(
        &USERS,
        format!("a server of root runs programs as root that say no user: {named}{more}"),
        "say user = \"NAME\" for each, \"root\" where it has to be; `schedules import` takes --user NAME",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn programs_that_run_as_root_unsaid_are_told_in_one_line() {
        let check = |handlers: &[&str], expect: &str| {
            let found = judge(handlers);
            assert_eq!(found.verdict, Verdict::Warn);
            let (_, named) = found.says.split_once(": ").unwrap();
            assert_eq!(named, expect);
        };

        assert_eq!(judge(&[]).verdict, Verdict::Ok);
        check(&["a"], "a");
        check(&["a", "b", "c", "d", "e"], "a, b, c, d, e");
        check(
            &["a", "b", "c", "d", "e", "f", "g"],
            "a, b, c, d, e and 2 more",
        );
    }
}
