//! Every statement of the program's own, and the tables they work on.

use steadfast::store::{Package, migrations, statements};

statements! {
    /// Adds a token.
    pub(crate) TOKEN_PUT = "token_put";
    /// Gives a token that holds.
    pub(crate) TOKEN_FIND = "token_find";
    /// Lists tokens.
    pub(crate) TOKEN_LIST = "token_list";
    /// Revokes a token.
    pub(crate) TOKEN_REVOKE = "token_revoke";
    /// Revokes those that tokens have made.
    pub(crate) TOKEN_REVOKE_MADE = "token_revoke_made";
    /// Notes an action.
    pub(crate) AUDIT_PUT = "audit_put";
    /// Notes what became of it.
    pub(crate) AUDIT_END = "audit_end";
    /// Lists actions.
    pub(crate) AUDIT_LIST = "audit_list";
    /// Adds a revision.
    pub(crate) REVISION_PUT = "revision_put";
    /// Gives the newest revision over a document.
    pub(crate) REVISION_NEWEST = "revision_newest";
    /// Gives a revision.
    pub(crate) REVISION_FIND = "revision_find";
    /// Lists revisions.
    pub(crate) REVISION_LIST = "revision_list";
    /// Notes a value that is held.
    pub(crate) OVERRIDE_PUT = "override_put";
    /// Takes it out.
    pub(crate) OVERRIDE_END = "override_end";
    /// Lists what is held.
    pub(crate) OVERRIDE_LIST = "override_list";
    /// Notes which revision a process has in force.
    pub(crate) FOLLOWER_PUT = "follower_put";
    /// Counts the processes of a line.
    pub(crate) FOLLOWER_COUNT = "follower_count";
    /// Sees whether the store takes writes.
    pub(crate) WRITES_LOOK = "writes_look";
    /// Tells the clock, for `doctor`.
    pub(crate) CLOCK_LOOK = "clock_look";
}

/// The tables and statements of the program.
pub(crate) static PACKAGE: Package = Package {
    name: "server",
    migrations: migrations![
        "0001_api",
        "0002_token_actions",
        "0003_revisions",
        "0004_followers",
        "0005_makers"
    ],
    statements: STATEMENTS,
};

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_prepares_on_both_databases() {
    steadfast::store::testing::assert_prepares(&PACKAGE, env!("CARGO_MANIFEST_DIR")).await;
}
