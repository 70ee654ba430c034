//! Every statement of the package, one intent each, and the tables they work on.

use steadfast_store::{Package, migrations, statements};

statements! {
    /// Adds jobs without unique keys.
    pub(crate) ENQUEUE = "enqueue";
    /// Adds jobs with unique keys.
    pub(crate) ENQUEUE_UNIQUE = "enqueue_unique";
    /// Tells which jobs have keys.
    pub(crate) FIND_UNIQUE = "find_unique";
    /// Ends runs and claims jobs.
    pub(crate) EXCHANGE = "exchange";
    /// Claims one suspect.
    pub(crate) CLAIM_SUSPECT = "claim_suspect";
    /// Puts ended runs back to work.
    pub(crate) PUT_BACK = "put_back";
    /// Completes a run in a transaction of the handler.
    pub(crate) COMPLETE_IN = "complete_in";
    /// Tells which runs have ended.
    pub(crate) SETTLED = "settled";
    /// Tells what a node holds.
    pub(crate) HELD = "held";
    /// Tells which runs of a node are to stop.
    pub(crate) CANCELS = "cancels";
    /// Takes jobs from dead nodes.
    pub(crate) RESCUE = "rescue";
    /// Makes jobs pending whose time has come.
    pub(crate) DUE = "due";
    /// Cancels what nobody started in time.
    pub(crate) EXPIRE = "expire";
    /// Deletes old history.
    pub(crate) PRUNE = "prune";
    /// Deletes old keys.
    pub(crate) PRUNE_KEYS = "prune_keys";
    /// Cancels a job.
    pub(crate) CANCEL = "cancel";
    /// Puts ended jobs back to work.
    pub(crate) REDRIVE = "redrive";
    /// Runs a waiting job before its time.
    pub(crate) RUN_NOW = "run_now";
    /// Pauses a queue or goes on with it.
    pub(crate) PAUSE = "pause";
    /// Gives one job.
    pub(crate) FIND = "find";
}

/// The tables and statements of jobs, for [`Store::migrate`](steadfast_store::Store::migrate).
pub static PACKAGE: Package = Package {
    name: "jobs",
    migrations: migrations!["0001_jobs"],
    statements: STATEMENTS,
};
