//! Of the guard that stands in the process: its routes, what they call, its policy.

use crate::api::schema::types;

types! {
    /// What the guard governs, and what becomes of it.
    Guarded {
        /// The revision of the policy that is in force.
        revision: u64,
        /// For how many seconds it is counted.
        seconds: u64,
        /// Whether nothing goes past the policy, in words.
        armed: String,
        /// What is served.
        routes: Vec<Route>,
        /// What is called.
        dependencies: Vec<Dependency>,
    }

    /// A route of the policy.
    Route {
        /// Its name in the policy: `GET /orders/{id}`, or a template for all methods.
        name: String,
        /// Who goes first: `core`, `tier1`, …
        tier: String,
        /// `response`, or `stream` for answers that do not end by themselves.
        kind: String,
        /// The timeout that it names.
        timeout: Option<String>,
        /// How long a usual request may take until its answer begins, now.
        timeout_seconds: Option<f64>,
        /// The admission that it names.
        admission: Option<String>,
        /// How many requests of that admission may be in flight now.
        limit: Option<f64>,
        /// How many are.
        in_flight: Option<f64>,
        /// The last minute, or since the start if that is later.
        lately: Lately,
        /// Since the start.
        total: Traffic,
    }

    /// Requests of the last minute.
    Lately {
        /// Over how many seconds; 0 if nobody has looked yet.
        seconds: f64,
        /// Requests a second.
        per_second: f64,
        /// The time that 99 % of those that were served took at most, in seconds.
        p99_seconds: Option<f64>,
        /// Answers with a status of 500 and more.
        failed: u64,
        /// Requests that were not served, by reason; of all methods of the template.
        rejected: std::collections::BTreeMap<String, u64>,
    }

    /// Requests, counted.
    Traffic {
        /// All that have ended.
        requests: u64,
        /// Answers with a status of 500 and more.
        failed: u64,
        /// Requests that were not served, by reason; of all methods of the template.
        rejected: std::collections::BTreeMap<String, u64>,
        /// How long those took that were served.
        durations: Vec<Bucket>,
        /// All these times together, in seconds.
        duration_seconds: f64,
    }

    /// How many requests took so long.
    Bucket {
        /// Up to so many seconds, and more than the bucket before; absent for the last one.
        up_to_seconds: Option<f64>,
        /// How many.
        count: u64,
    }

    /// What is called.
    Dependency {
        /// Its name in the policy.
        name: String,
        /// Whether anybody calls it; until then nothing of its policy is in force.
        is_used: bool,
        /// Calls that succeeded, by all their attempts.
        succeeded: u64,
        /// Calls that failed.
        failed: u64,
        /// Calls that were rejected.
        rejected: u64,
        /// Calls that nobody waited for any more.
        dropped: u64,
        /// How long a usual attempt may take now.
        timeout_seconds: Option<f64>,
        /// Its endpoints, as far as there is a breaker for them.
        endpoints: Vec<Endpoint>,
        /// What an operator made its breakers do until this change; said in the answer to one.
        replaced: Vec<Forced>,
    }

    /// The breaker of one endpoint.
    Endpoint {
        /// Its name: host and port.
        name: String,
        /// `closed`, `open`, `half-open` or `ramp`: what it does by itself.
        state: String,
        /// Calls in its window.
        calls: u64,
        /// Those of them that failed.
        failed: u64,
        /// What an operator makes it do instead.
        forced: Option<Forced>,
        /// All of it in a line for people.
        line: String,
    }

    /// What an operator makes a breaker do.
    Forced {
        /// `open`, `closed` or `disabled`.
        state: String,
        /// For how many seconds more.
        left_seconds: u64,
        /// Who.
        author: String,
        /// Why.
        reason: String,
    }

    /// The policy in force.
    Policy {
        /// Its revision; the ETag says it with the beginning of the hash: `"12-5f3a0c7e91b2d846"`.
        revision: u64,
        /// What the document is recognized by.
        hash: String,
        /// What the document is called.
        name: String,
        /// The document as it was written.
        document: String,
        /// Who put it in force.
        author: String,
        /// Why.
        reason: String,
        /// Since when.
        since: String,
        /// What the document is recognized by that the process was started with: another one than `hash` where this
        /// revision was put over it.
        base: String,
        /// What that document is called.
        base_name: String,
        /// A newer revision that was put in force elsewhere, and that this process cannot follow.
        behind: Option<Behind>,
        /// What operators hold against it.
        overrides: Vec<Held>,
        /// What they do, and this process does not.
        not_held: Vec<NotHeld>,
        /// How many processes have this revision in force.
        followers: Followers,
        /// What should be known about it.
        warnings: Vec<Mistake>,
    }

    /// Processes that follow the same revisions: those of the service that were started with the same policy, have given a
    /// sign within 15 s, and whose API takes changes.
    Followers {
        /// How many there are; 0 where the store could not be asked.
        processes: u64,
        /// How many of them have the revision in force.
        taken: u64,
    }

    /// A revision that a process cannot follow.
    Behind {
        /// Its number.
        revision: u64,
        /// What its document is recognized by.
        hash: String,
        /// Who put it in force.
        author: String,
        /// Why it cannot be followed.
        why: String,
    }

    /// A value that holds against the document for a while.
    Held {
        /// The field: `timeouts.page.timeout`.
        path: String,
        /// The value, as a document writes it.
        value: String,
        /// Until when.
        until: String,
        /// For how many seconds more.
        left_seconds: u64,
        /// Who.
        author: String,
        /// Why.
        reason: String,
    }

    /// A value that is held elsewhere, or would be, and not by this process.
    NotHeld {
        /// The field: `timeouts.page.timeout`.
        path: String,
        /// The value, as a document writes it.
        value: String,
        /// For how many seconds more.
        left_seconds: u64,
        /// Who.
        author: String,
        /// Why it should be held.
        reason: String,
        /// Why it is not.
        why: String,
    }

    /// Something wrong, or worth knowing, in a policy.
    Mistake {
        /// `error` or `warning`.
        level: String,
        /// The rule: `P001`; absent for the syntax.
        code: Option<String>,
        /// The document.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What, with the arithmetic.
        message: String,
        /// What to write instead.
        fix: Option<String>,
    }

    /// All that is in force for a route or a dependency.
    Explained {
        /// What is explained: `routes."GET /orders"`.
        subject: String,
        /// Its own table, then those that it names, then those of the service.
        tables: Vec<ExplainedTable>,
        /// What is in force, in a line; absent where a file was asked.
        because: Option<String>,
    }

    /// The values of one table.
    ExplainedTable {
        /// Its name: `timeouts.page`.
        table: String,
        /// Its values.
        values: Vec<ExplainedValue>,
    }

    /// A value in force.
    ExplainedValue {
        /// The key.
        key: String,
        /// The value, as a document writes it; absent where there is none.
        value: Option<String>,
        /// Where it comes from: a line, a default and its reason, an operator until a time.
        origin: String,
    }

    /// A document to be looked at.
    #[serde(deny_unknown_fields)]
    Proposed {
        /// What it is called; it is only told, never opened.
        name: String,
        /// The document.
        document: String where of_form("policy"),
    }

    /// What a document would change.
    Difference {
        /// The revision that it was compared with.
        revision: u64,
        /// What the document of that revision is recognized by.
        hash: String,
        /// By field.
        changes: Vec<Change>,
        /// What should be known before.
        warnings: Vec<Mistake>,
        /// Why it cannot be put in force although it has no mistake.
        refused: Option<String>,
    }

    /// How a field differs.
    Change {
        /// The field.
        path: String,
        /// What it was; absent if it was not there.
        before: Option<String>,
        /// What it is; absent if it is gone.
        after: Option<String>,
        /// Where the new value stands: `policy.toml:7:1`; absent for a default.
        place: Option<String>,
    }

    /// A document to be put in force.
    #[serde(deny_unknown_fields)]
    NewPolicy {
        /// What it is called; it is only told, never opened.
        name: String,
        /// The document.
        document: String where of_form("policy"),
        /// Why.
        reason: String where reason(),
    }

    /// What was put in force.
    Applied {
        /// The revision that is in force now.
        revision: u64,
        /// What it has changed.
        changes: Vec<Change>,
        /// What should be known about it.
        warnings: Vec<Mistake>,
        /// Fields whose override ended, because it does not fit any more.
        overrides_ended: Vec<String>,
        /// How many processes have it in force already; others take it within two seconds.
        followers: Followers,
    }

    /// A revision of the policy.
    Revision {
        /// Its number.
        revision: u64,
        /// What its document is recognized by.
        hash: String,
        /// What its document is called.
        name: String,
        /// Who put it in force.
        author: String,
        /// Why.
        reason: String,
        /// When.
        at: String,
        /// How many fields it has changed; absent for what processes were started with.
        changes: Option<u64>,
        /// What the document is recognized by that processes were started with, which it was put over; that one has its
        /// own hash here.
        base: String,
    }

    /// A page of revisions, the latest first.
    RevisionPage {
        /// The revisions.
        items: Vec<Revision>,
        /// Where the next page begins; absent at the end.
        next: Option<String>,
    }

    /// A revision with its document.
    RevisionDetail {
        /// What else is known.
        revision: Revision,
        /// The document as it was written.
        document: String,
    }

    /// A value that is to hold against the document for a while.
    #[serde(deny_unknown_fields)]
    NewOverride {
        /// The field: `timeouts.page.timeout`.
        path: String where of_form("policy-field"),
        /// The value, as in a document; quotes around a text may be left out.
        value: String where one_line(),
        /// For how long: `15m`, a day at most.
        lasts: String where of_form("length-up-to-a-day"),
        /// Only tells what it would change.
        dry_run: bool,
        /// Why.
        reason: String where reason(),
    }

    /// A value that holds now.
    Overridden {
        /// What holds; absent for a dry run.
        held: Option<Held>,
        /// What somebody held for the field before, in whose place it is.
        replaced: Option<Held>,
        /// What it has changed, or would.
        changes: Vec<Change>,
        /// The routes and dependencies that it holds for.
        holds_for: Vec<String>,
        /// Whether nothing was done.
        dry_run: bool,
    }

    /// An override to be ended.
    #[serde(deny_unknown_fields)]
    EndOverride {
        /// The field.
        path: String where of_form("policy-field"),
        /// Why.
        reason: String where reason(),
    }

    /// What breakers are to do for a while.
    #[serde(deny_unknown_fields)]
    Force {
        /// `open`: reject all calls; `closed`: let all pass, and count; `disabled`: let all pass.
        state: String where one_of(&["open", "closed", "disabled"]),
        /// Only that of one endpoint.
        endpoint: Option<String>,
        /// For how long: `15m`, a day at most.
        lasts: String where of_form("length-up-to-a-day"),
        /// Only tells how they stand.
        dry_run: bool,
        /// Why.
        reason: String where reason(),
    }

    /// Breakers that are to do what they do by themselves.
    #[serde(deny_unknown_fields)]
    Release {
        /// Only that of one endpoint.
        endpoint: Option<String>,
        /// Why.
        reason: String where reason(),
    }
}
