//! What requests and answers of the API are made of.

mod given;
mod guard;
mod tag;

pub(crate) use given::Given;
pub(crate) use guard::*;
pub(crate) use tag::{HASH_DIGITS, Tag};

use super::auth::{ACTIONS, ROLES};
use super::schema::types;

types! {
    /// How the program and its store are.
    Status {
        /// The version of the program.
        version: String,
        /// `sqlite` or `postgres`.
        store: String,
        /// Whether the store answers.
        store_up: bool,
        /// In words.
        store_detail: String,
        /// Whether the API takes no changes, now.
        read_only: bool,
        /// Why it takes none.
        read_only_because: Option<String>,
        /// How many jobs there are by state.
        jobs: std::collections::BTreeMap<String, u64>,
        /// Nodes that are taken to be alive, among the latest lives of processes: as many as `counts_up_to` says.
        nodes_alive: u64,
        /// Where counts stop: such a number means that many or more.
        counts_up_to: u64,
        /// Schedules that are due and that nobody has looked at for a minute.
        schedules_overdue: Vec<String>,
        /// Queues from which no node claims.
        queues_paused: Vec<String>,
        /// Kinds that no node has a handler for, although their jobs wait or a schedule makes some, and none has had for longer
        /// than one that is started anew is away.
        unhandled: Vec<String>,
    }

    /// A job.
    Job {
        /// Its number.
        id: u64,
        /// Its kind: the name of its handler.
        kind: String,
        /// Its queue.
        queue: String,
        /// `pending`, `running`, `waiting`, `completed`, `discarded`, `cancelled` or `quarantined`.
        state: String,
        /// Who goes sooner.
        priority: i64,
        /// When it is or was due.
        due: String,
        /// Attempts that are spent.
        attempt: u32,
        /// How many it has.
        max_attempts: u32,
        /// How many processes died with it.
        crashes: u32,
        /// Grows whenever it changes hands.
        term: u64,
        /// The node that holds it, or held it at its end.
        node: Option<i64>,
        /// When its last run was claimed.
        claimed: Option<String>,
        /// When it was enqueued.
        created: String,
        /// When it ended.
        finished: Option<String>,
        /// The trace that it belongs to.
        trace_id: Option<String>,
        /// Why its last attempt failed, or why it was ended.
        error: Option<String>,
    }

    /// A job with what it is about.
    JobDetail {
        /// What else is known.
        job: Job,
        /// What it was enqueued with.
        payload: Given,
        /// What came of it.
        result: Option<Given>,
        /// The schedule that made it.
        schedule: Option<String>,
        /// The nominal time that it was made for.
        occurrence: Option<String>,
    }

    /// A page of jobs.
    JobPage {
        /// The jobs; perhaps fewer than asked for.
        items: Vec<Job>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A queue.
    Queue {
        /// Its name.
        name: String,
        /// Since when it is paused.
        paused: Option<String>,
        /// Why it is paused.
        paused_because: Option<String>,
        /// How many of its jobs may run at once.
        max_running: Option<u32>,
        /// How many of those with the same key may.
        max_running_per_key: Option<u32>,
        /// How many are due and wait.
        pending: u64,
        /// How many run.
        running: u64,
    }

    /// A page of queues, by name: of those that are paused or limited, or have jobs that are due or run.
    QueuePage {
        /// The queues.
        items: Vec<Queue>,
        /// Where counts stop: such a number means that many or more.
        counts_up_to: u64,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A job to be enqueued.
    #[serde(deny_unknown_fields)]
    NewJob {
        /// Its kind: the name of a handler.
        kind: String where name(),
        /// What it is about.
        payload: Option<Given>,
        /// Its queue: that of the handler, if this server has it, or `default`, unless said.
        queue: Option<String> where name(),
        /// Who goes sooner: -100 to 100.
        priority: Option<i16> where within(-100, 100),
        /// How many attempts it has: as many as its handler says, if this server has it, or 20, unless said.
        max_attempts: Option<u32> where within(1, 1_000),
        /// How long to wait before it is due: `10m`.
        delay: Option<String> where of_form("length"),
        /// Keeps others with this key out while the job is live.
        unique: Option<String> where key(),
        /// Why.
        reason: String where reason(),
    }

    /// Says why something is done.
    #[serde(deny_unknown_fields)]
    Reason {
        /// Why, in words: it stands in the audit.
        reason: String where reason(),
    }

    /// To which jobs something is done.
    #[serde(deny_unknown_fields)]
    Many {
        /// In which state they are. To go back to work: `discarded`, which it is unless said, `quarantined` or `cancelled`.
        /// To be cancelled: `pending`, `running` or `waiting`, all of them unless said.
        state: Option<String> where state(),
        /// Of which kind.
        kind: Option<String>,
        /// Of which queue.
        queue: Option<String>,
        /// With which key of a limit.
        limit_key: Option<String>,
        /// At most so many: 1 to 500.
        limit: u32 where within(1, 500),
        /// Where to go on: `next` of the answer before; or where to begin: `first` of a dry run.
        cursor: Option<String> where place_of_a_job(),
        /// Only tells which it would be.
        dry_run: bool,
        /// Why.
        reason: String where reason(),
    }

    /// What an action has done to a job.
    Done {
        /// In a word; `kept-out` where nothing was enqueued, since the job that is named has the unique key.
        outcome: String,
        /// The job that it was done to, or that was made.
        job: Option<u64>,
        /// What may not be as it was meant.
        warning: Option<String>,
    }

    /// What an action has done to jobs.
    DoneAll {
        /// Which, the latest first; those that it would be for a dry run.
        jobs: Vec<u64>,
        /// Those of them that run, and are told to stop.
        running: Vec<u64>,
        /// Those that were left: another job has their unique key, or they ended or changed hands in that moment.
        refused: Vec<u64>,
        /// Where the first of them is: one that begins there finds none that came later.
        first: Option<String>,
        /// Where to go on, also when there were fewer than asked for; absent at the end.
        next: Option<String>,
        /// Whether nothing was done.
        dry_run: bool,
    }

    /// A schedule.
    Schedule {
        /// Its name.
        name: String,
        /// When it is due.
        rule: String,
        /// In which zone.
        zone: String,
        /// The same for people.
        description: String,
        /// What becomes of occurrences that were missed.
        missed: String,
        /// What becomes of those that overlap.
        overlap: String,
        /// By how much a start is put off at most: `5m`; `0ns` for not at all.
        jitter: String,
        /// How long after its planned start a run may still begin.
        start_deadline: Option<String>,
        /// The kind of its jobs.
        kind: String,
        /// Their queue.
        queue: String,
        /// What they are about.
        payload: Given,
        /// How many attempts they have.
        max_attempts: u32,
        /// Who goes sooner.
        priority: i16,
        /// The key of the limit that they count against.
        limit_key: Option<String>,
        /// The oldest version of a node that may run them.
        min_version: u32,
        /// When it is due next.
        next: Option<String>,
        /// Since when it is paused.
        paused: Option<String>,
        /// Why it is paused.
        paused_because: Option<String>,
        /// How many seconds nobody has looked at it although it was due.
        overdue_seconds: Option<u64>,
        /// Grows when it is changed, paused or resumed, and never by an occurrence; no other schedule has had it.
        revision: u64,
        /// What may not be as it was meant; said in the answer to a change.
        warning: Option<String>,
    }

    /// A page of schedules, by name.
    SchedulePage {
        /// The schedules.
        items: Vec<Schedule>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A schedule to be added or changed.
    #[serde(deny_unknown_fields)]
    NewSchedule {
        /// When it is due: `30 2 * * *`, `every 15m`.
        rule: String where of_form("rule"),
        /// In which zone: `UTC` unless said.
        zone: Option<String> where of_form("time-zone"),
        /// `skip`, `run_once` or `run_all(24h)`.
        missed: Option<String> where of_form("missed"),
        /// `allow`, `skip`, `queue_one` or `cancel_other`.
        overlap: Option<String> where one_of(&["allow", "skip", "queue_one", "cancel_other"]),
        /// By how much a start is put off at most, `5m`: not at all unless said.
        jitter: Option<String> where of_form("length"),
        /// How long after its planned start a run may still begin, from `1s` on: without end unless said.
        start_deadline: Option<String> where of_form("length-from-a-second"),
        /// The kind of its jobs: its own name unless said.
        kind: Option<String> where name(),
        /// Their queue: that of the handler, if this server has it, or `default`, unless said.
        queue: Option<String> where name(),
        /// What they are about.
        payload: Option<Given>,
        /// How many attempts they have: as many as the handler says, if this server has it, or 20, unless said.
        max_attempts: Option<u32> where within(1, 1_000),
        /// Who goes sooner: -100 to 100.
        priority: Option<i16> where within(-100, 100),
        /// The key of the limit that they count against.
        limit_key: Option<String> where key(),
        /// The oldest version of a node that may run them: any unless said.
        min_version: Option<u32> where within(0, i64::from(i32::MAX)),
        /// Only tells what it would be.
        dry_run: Option<bool>,
        /// Why.
        reason: String where reason(),
    }

    /// A due time to come.
    Upcoming {
        /// When.
        at: String,
        /// What clocks in the zone show then.
        reading: String,
        /// What a change of the clocks does to it: `none`, `skipped`, `first` or `second`.
        change: String,
    }

    /// The due times to come of a schedule.
    UpcomingList {
        /// In order.
        items: Vec<Upcoming>,
    }

    /// From when to when occurrences are filled in.
    #[serde(deny_unknown_fields)]
    Backfill {
        /// The first point in time, in RFC 3339.
        from: String where of_form("date-time"),
        /// The end, after it, which is not part of it.
        to: String where of_form("date-time"),
        /// At most so many jobs are made: 1 to 1000, which it is unless said.
        limit: Option<u32> where within(1, 1_000),
        /// Only tells what would be made.
        dry_run: Option<bool>,
        /// Why.
        reason: String where reason(),
    }

    /// What filling in has done.
    Backfilled {
        /// Jobs that were made; those that would be for a dry run.
        made: u64,
        /// Occurrences that had a job already.
        had: u64,
        /// The first occurrence that would have one made, told by a dry run.
        first: Option<String>,
        /// The last one.
        last: Option<String>,
        /// From where to go on, if there was more.
        rest: Option<String>,
        /// Whether nothing was done.
        dry_run: bool,
    }

    /// One life of a process.
    Node {
        /// Its incarnation.
        id: i64,
        /// The service that it is part of.
        service: String,
        /// The version of that.
        version: String,
        /// The host that it runs on.
        host: String,
        /// Its process there.
        pid: i64,
        /// When it joined.
        started: String,
        /// How many seconds ago it gave its last sign.
        last_beat_seconds: u64,
        /// When it ended; absent for one that is taken to be alive.
        ended: Option<String>,
    }

    /// A page of nodes, the latest first.
    NodePage {
        /// The nodes.
        items: Vec<Node>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// Panics of this process at one place.
    PanicGroup {
        /// Names the group, and stays the same over restarts of one release: 16 digits.
        id: String,
        /// Where.
        place: String,
        /// What it is: `user`, `overflow`, `bounds` and so on.
        kind: String,
        /// What the first said.
        message: String,
        /// How many there were.
        count: u64,
        /// How many of them were contained.
        contained: u64,
        /// When the first one was.
        first: String,
        /// When the last one was.
        last: String,
    }

    /// The latest panic of one place that was told by itself.
    PanicSample {
        /// When.
        at: String,
        /// What it said.
        message: String,
        /// The thread.
        thread: String,
        /// In which scopes, from outside to inside.
        scopes: String,
        /// On which route.
        route: Option<String>,
        /// In which job.
        job: Option<String>,
        /// The trace that it belongs to.
        trace_id: Option<String>,
        /// Where it came from, if that was written down.
        backtrace: Option<String>,
    }

    /// A group of panics with one of them.
    PanicDetail {
        /// The group.
        group: PanicGroup,
        /// One of them; absent if none was told by itself since the API has started.
        sample: Option<PanicSample>,
    }

    /// All groups of panics of this process.
    PanicList {
        /// The groups.
        items: Vec<PanicGroup>,
    }

    /// An action of somebody.
    Audit {
        /// Its number.
        id: i64,
        /// When.
        at: String,
        /// Who: the name of a token.
        actor: String,
        /// What.
        action: String,
        /// To what.
        subject: String,
        /// Why.
        reason: String,
        /// What was asked for, in full.
        detail: String,
        /// The trace that it belongs to.
        trace_id: Option<String>,
        /// What became of it: `done`, or why not; absent while it is under way, and `unknown: …` where five minutes after it
        /// was noted nobody has said.
        outcome: Option<String>,
    }

    /// A page of actions, the latest first.
    AuditPage {
        /// The actions; perhaps fewer than asked for.
        items: Vec<Audit>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A token, without what is secret of it.
    Token {
        /// Its number.
        id: i64,
        /// Whose it is.
        name: String,
        /// Its role; absent where its actions are named.
        role: Option<String>,
        /// What it may do, where that is no role.
        actions: Option<Vec<String>>,
        /// When it was made.
        created: String,
        /// Until when it holds.
        expires: String,
        /// When it was revoked.
        revoked: Option<String>,
        /// The number of the token that has made it, and with which it is revoked; absent for one that was made at the store.
        made_by: Option<i64>,
    }

    /// A page of tokens, the latest first.
    TokenPage {
        /// The tokens.
        items: Vec<Token>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A token to be made.
    #[serde(deny_unknown_fields)]
    NewToken {
        /// Whose it is.
        name: String where owner(),
        /// What it may do: `viewer`, `operator` or `admin`.
role: Option<String> where one_of(&ROLES.map(|role| role.name)),
        /// Or the actions that it may do, as the endpoints name them. Nobody makes a token that may more than his own.
        actions: Option<Vec<String>> where some_of(&ACTIONS.concat()),
        /// How long it holds: an hour to a year, `720h`; no longer than the token that makes it.
        expires_in: String where of_form("length-of-a-token"),
        /// Why.
        reason: String where reason(),
    }

    /// A token that was made. It is shown this once.
    MadeToken {
        /// Its number.
        id: i64,
        /// The secret.
        token: String,
        /// Until when it holds.
        expires: String,
    }

    /// Why something was not done (RFC 9457).
    Problem {
        /// What kind of problem it is.
        r#type: String,
        /// In words.
        title: String,
        /// The status of the answer.
        status: u16,
        /// A stable code.
        code: String,
        /// What to do about it.
        fix: Option<String>,
        /// What is wrong with a document, as a compiler tells it.
        detail: Option<String>,
        /// The same, one by one.
        mistakes: Option<Vec<Mistake>>,
        /// The trace of the request.
        trace_id: Option<String>,
    }
}
