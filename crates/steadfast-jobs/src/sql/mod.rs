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
    /// Notes how long a node leaves runs alone.
    pub(crate) LONGEST = "longest";
    /// Takes jobs from dead nodes.
    pub(crate) RESCUE = "rescue";
    /// Makes jobs pending whose time has come.
    pub(crate) DUE = "due";
    /// Cancels what nobody started in time.
    pub(crate) EXPIRE = "expire";
    /// Deletes old history.
    pub(crate) PRUNE = "prune";
    /// Sets how long kinds are kept.
    pub(crate) RETENTION = "retention";
    /// Tells how long kinds are kept.
    pub(crate) RETENTIONS = "retentions";
    /// Notes ends of runs that did not count.
    pub(crate) REJECT = "reject";
    /// Lists them.
    pub(crate) LIST_REJECTED = "list_rejected";
    /// Deletes old ones.
    pub(crate) PRUNE_REJECTED = "prune_rejected";
    /// Deletes old keys.
    pub(crate) PRUNE_KEYS = "prune_keys";
    /// Cancels a job.
    pub(crate) CANCEL = "cancel";
    /// Cancels many jobs.
    pub(crate) CANCEL_ALL = "cancel_all";
    /// Puts ended jobs back to work.
    pub(crate) REDRIVE = "redrive";
    /// Tells which jobs have the unique keys of others.
    pub(crate) KEY_HOLDERS = "key_holders";
    /// Runs a waiting job before its time.
    pub(crate) RUN_NOW = "run_now";
    /// Pauses a queue or goes on with it.
    pub(crate) PAUSE = "pause";
    /// Tells who keeps the database from cleaning up.
    pub(crate) SNAPSHOTS = "snapshots";
    /// Gives one job.
    pub(crate) FIND = "find";
    /// Lists live jobs.
    pub(crate) LIST_LIVE = "list_live";
    /// Lists jobs that have ended.
    pub(crate) LIST_ENDED = "list_ended";
    /// Counts jobs by state, up to a cap.
    pub(crate) COUNTS = "counts";
    /// Sets the limits of a queue.
    pub(crate) LIMIT = "limit";
    /// Has what a node runs count against new limits.
    pub(crate) LIMIT_HELD = "limit_held";
    /// Tells which queues have limits.
    pub(crate) LIMITED = "limited";
    /// Gives the queues that are paused.
    pub(crate) PAUSED = "paused";
    /// Gives queues by name.
    pub(crate) QUEUES = "queues";
    /// Tells of which kinds the jobs are that are claimed first from a queue.
    pub(crate) DUE_KINDS = "due_kinds";
    /// Notes from which queues a node claims.
    pub(crate) SERVE = "serve";
    /// Tells from which queues nodes claim, or did.
    pub(crate) SERVED = "served";
    /// Tells which kinds nodes handle, or did.
    pub(crate) HANDLED = "handled";
    /// Gives the kinds of schedules that make jobs.
    pub(crate) SCHEDULE_KINDS = "schedule_kinds";
    /// Takes the right to claim from a queue with limits.
    pub(crate) LOCK_LIMITED = "lock_limited";
    /// Makes jobs pending whose key has room.
    pub(crate) UNBLOCK = "unblock";
    /// Claims from a queue with limits.
    pub(crate) CLAIM_LIMITED = "claim_limited";
    /// Tells which schedules are looked at next.
    pub(crate) SCHEDULE_LOOK = "schedule_look";
    /// Takes a schedule to decide about it.
    pub(crate) SCHEDULE_TAKE = "schedule_take";
    /// Gives one schedule.
    pub(crate) SCHEDULE_FIND = "schedule_find";
    /// Gives schedules by name.
    pub(crate) SCHEDULE_LIST = "schedule_list";
    /// Tells the time of the database.
    pub(crate) SCHEDULE_NOW = "schedule_now";
    /// Adds a schedule.
    pub(crate) SCHEDULE_PUT = "schedule_put";
    /// Changes a schedule.
    pub(crate) SCHEDULE_EDIT = "schedule_edit";
    /// Moves a schedule on.
    pub(crate) SCHEDULE_ADVANCE = "schedule_advance";
    /// Pauses a schedule or goes on with it.
    pub(crate) SCHEDULE_PAUSE = "schedule_pause";
    /// Deletes a schedule.
    pub(crate) SCHEDULE_DELETE = "schedule_delete";
    /// Notes which runs of a schedule have ended.
    pub(crate) SCHEDULE_SETTLE = "schedule_settle";
    /// Tells which runs of a schedule have not.
    pub(crate) SCHEDULE_RUNS = "schedule_runs";
    /// Tells which occurrences have a job.
    pub(crate) SCHEDULE_HAS = "schedule_has";
    /// Notes occurrences that are to have a job.
    pub(crate) SCHEDULE_MARK = "schedule_mark";
    /// Notes their jobs.
    pub(crate) SCHEDULE_MADE = "schedule_made";
    /// Notes occurrences that have none.
    pub(crate) SCHEDULE_SKIP = "schedule_skip";
    /// Gives what became of occurrences.
    pub(crate) SCHEDULE_HISTORY = "schedule_history";
    /// Gives the occurrence of a job.
    pub(crate) SCHEDULE_OF_JOB = "schedule_of_job";
    /// Tells which schedules nobody has looked at in time.
    pub(crate) SCHEDULE_OVERDUE = "schedule_overdue";
    /// Tells which of their jobs should have ended.
    pub(crate) SCHEDULE_LATE = "schedule_late";
    /// Deletes old occurrences.
    pub(crate) SCHEDULE_PRUNE = "schedule_prune";
}

/// The tables and statements of jobs, for [`Store::migrate`](steadfast_store::Store::migrate).
pub static PACKAGE: Package = Package {
    name: "jobs",
    migrations: migrations![
        "0001_jobs",
        "0002_schedules",
        "0003_times",
        "0004_history",
        "0005_longest",
        "0006_changed",
        "0007_served"
    ],
    statements: STATEMENTS,
};
