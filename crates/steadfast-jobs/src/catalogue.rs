//! Everything that jobs and schedules tell: metrics of [`report`](mod@steadfast_core::report), events
//! of `tracing`.

use steadfast_core::report::{EventDoc, MetricDoc};

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    METRICS.iter()
}

/// Gives every event that this package emits.
pub fn events() -> impl Iterator<Item = &'static EventDoc> {
    EVENTS.iter()
}

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::counter(
        "steadfast_jobs_total",
        &["event"],
        "What happened to the jobs of this worker, by event: started, completed, retried and so on.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_running",
        &[],
        "Handlers of this worker that run.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_ready",
        &[],
        "Jobs that this worker has claimed and not started.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_permits",
        &[],
        "How many handlers of this worker may run at once.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_queue_paused",
        &["queue"],
        "Whether a queue of this worker is paused: 1 if so, as it last saw it.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_queue_pending",
        &["queue"],
        "Jobs of a queue that are due and not claimed, up to 1,000, as this worker last saw it in half a minute: of the first 100 queues in the store by name, its own among them also where they are empty.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_queue_oldest_seconds",
        &["queue"],
        "For how long the job of such a queue is due that is first in line; 0 where none waits.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_unhandled_kinds",
        &[],
        "Kinds that no node has handled for longer than a lease although their jobs are due or a schedule makes some, as this worker last saw it in a minute.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_unserved_queues",
        &[],
        "Queues with due jobs that no node has claimed from for longer than a lease, as this worker last saw it in a minute.",
    ),
    MetricDoc::gauge(
        "steadfast_jobs_snapshot_held_seconds",
        &[],
        "For how long the oldest snapshot is held that keeps PostgreSQL from cleaning up after jobs; 0 if none is older than a minute.",
    ),
    MetricDoc::counter(
        "steadfast_schedules_occurrences_total",
        &["outcome"],
        "Occurrences that this worker decided about: made into a job, skipped, or failed, to be tried again.",
    ),
    MetricDoc::gauge(
        "steadfast_schedules_overdue",
        &[],
        "Schedules that are due and that no node has looked at for a minute, as this worker last saw it.",
    ),
    MetricDoc::gauge(
        "steadfast_schedules_late_jobs",
        &[],
        "Jobs of schedules that have not ended three periods after their start, as this worker last saw it.",
    ),
];

const JOBS: &str = "steadfast::jobs";
const SCHEDULES: &str = "steadfast::schedules";

const EVENTS: &[EventDoc] = &[
    EventDoc::new(JOBS, &["warn"], "a job failed and is tried again", &["attempt", "error", "job", "kind", "wait_s"])
        .when("A handler failed, panicked, or its time was up, and attempts are left.")
        .action("Nothing for a few; many of one kind say that what it depends on fails."),
    EventDoc::new(JOBS, &["error"], "a job is discarded: it failed for the last time", &["attempt", "error", "job", "kind"])
        .when("A handler failed with its last attempt, or said that another would not help.")
        .action("Put right what the error says, then redrive the job."),
    EventDoc::new(JOBS, &["warn"], "the lease of a job was lost: what this run did does not count", &["job", "kind", "term"])
        .when("The end of a run came after the job was given to another node.")
        .action("Look for why the process was cut off or stood still; what the run did outside of the store may have happened twice."),
    EventDoc::new(JOBS, &["warn"], "the end of a run is rejected: its job had gone to others, or its time was up", &["job", "kind", "term", "wanted"])
        .when("A run came to an end after its job was rescued or ended by others, or after its permit was written off.")
        .action("Look for why it was late; what it did outside of the store may have happened twice, unless it carried the term. Rejected ends are listed for 30 days."),
    EventDoc::new(JOBS, &["debug"], "rejected ends were not noted", &["error"])
        .when("The store did not take the list of rejected ends.")
        .action("Nothing; they are counted all the same."),
    EventDoc::new(JOBS, &["warn"], "rescued a job from a dead node", &["crashes", "job", "kind"])
        .when("This node has put a job back to work whose node died, is not in the books, or held it for more than twice its time.")
        .action("Look for why that process died."),
    EventDoc::new(JOBS, &["error"], "a job is quarantined: its process died twice while it was the only suspect there", &["crashes", "job", "kind"])
        .when("A job has killed its processes again and again, and is not run any more.")
        .action("Look at its payload and at what its handler does with it; redrive it once that is put right."),
    EventDoc::new(JOBS, &["error"], "a handler did not end although its time is up and it was told to; its permit is written off", &["job", "kind", "term", "written_off"])
        .when("A handler blocks its thread. Its job goes on elsewhere, and what it still does there may come twice.")
        .action("Have the handler await, or ask its token; the process gets its permits back when it is started anew."),
    EventDoc::new(JOBS, &["warn"], "the store does not take the work of this node; handlers go on while the lease holds", &["cause", "error", "failures"])
        .when("An exchange with the store failed; told at the first failure in a row, and at each doubling of their number.")
        .action("Look at the store; ends are kept and told again."),
    EventDoc::new(JOBS, &["warn"], "ends of runs wait: somebody has locked the rows of their jobs, such as a transaction that hangs", &["ends", "job", "tries"])
        .when("A run ended while another transaction of PostgreSQL had its row, often one that its own handler has left open. Its end is tried again each quarter of a second, and others go on; told at the second try and at each doubling of their number.")
        .action("Look in pg_stat_activity for a session that is idle in transaction, and end it; have what leaves transactions open set idle_in_transaction_session_timeout."),
    EventDoc::new(JOBS, &["error"], "a claimed job cannot be read", &["error"])
        .when("A row that was claimed has not the columns that this program expects.")
        .action("Upgrade this program: the tables are newer. The job is rescued when this process ends."),
    EventDoc::new(JOBS, &["error"], "the worker cannot join the nodes of its store, and tries again", &["error", "failures"])
        .when("At the start of a worker, when the store cannot be reached or refuses.")
        .action("Look at the store, and at what the error says."),
    EventDoc::new(JOBS, &["warn"], "a session holds an old snapshot: the database cannot clean up after jobs", &["application", "held_s", "pid", "state", "user"])
        .when("Told by every worker each half minute, of transactions of PostgreSQL that have lasted for more than a minute, the oldest ten.")
        .action("End it: `SELECT pg_terminate_backend(pid)`, or ROLLBACK PREPARED for one without a pid; have what forgets its transactions set idle_in_transaction_session_timeout."),
    EventDoc::new(JOBS, &["error"], "whether a kind is held could not be asked", &["kind"])
        .when("The function given to `Kind::hold_while` panicked; its jobs are claimed.")
        .action("Look at the panic, which was reported when it happened."),
    EventDoc::new(JOBS, &["debug"], "upkeep failed; it is tried again", &["error", "what"])
        .when("A look for what is due, dead, cancelled, expired or old failed.")
        .action("Nothing; every node does the same."),
    EventDoc::new(JOBS, &["debug"], "a wake-up was not sent", &["error"])
        .when("Other processes were not told that there is work.")
        .action("Nothing; they find it at their next poll."),
    EventDoc::new(SCHEDULES, &["info"], "a schedule is registered", &["late_after_s", "longest_run_s", "plan", "registered", "schedule"])
        .when("A schedule was added or changed, with how long a run of its job may take, unless the kind says otherwise, and after how long it is late.")
        .action("Nothing; look whether both lengths fit."),
    EventDoc::new(SCHEDULES, &["warn"], "a job of a schedule is late: three periods after its start it has not ended", &["job", "kind", "late_seconds", "nominal", "schedule"])
        .when("Told by every worker each half minute, of jobs whose kind gives no signs of progress or that do not run.")
        .action("Look at the job: whether it waits, is tried again and again, or takes too long."),
    EventDoc::new(SCHEDULES, &["warn"], "a schedule could not be decided about; it is tried again", &["error", "schedule"])
        .when("A look at a schedule failed.")
        .action("Nothing for one; look at the store, or at the schedule, when it goes on."),
    EventDoc::new(SCHEDULES, &["warn"], "occurrences of a schedule were left out", &["count", "reason", "schedule"])
        .when("By the rule of the schedule for what is missed or overlaps.")
        .action("Look for why nobody was there in time, or why runs take longer than the period."),
    EventDoc::new(SCHEDULES, &["warn"], "a schedule cannot be read", &["error", "schedule"])
        .when("A stored schedule has a rule that this program does not know.")
        .action("Upgrade this program, or put the schedule anew."),
    EventDoc::new(SCHEDULES, &["error"], "a schedule is overdue: no node has made its job", &["overdue_seconds", "schedule"])
        .when("An occurrence is past its time and nobody has decided about it.")
        .action("Look whether any node runs schedules, and what it says."),
];
