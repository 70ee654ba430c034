//! Every endpoint: what may be done there, by whom, and what it is made of. The router, the rights, the
//! guard's policy and the [document](super::document) of the API are made of this one table.

use serde_json::{Value, json};
use steadfast::jobs::State;

use super::auth::Action;
use super::narrow::{either, one_of};
use super::schema::Schema;
use super::types::*;

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) about: &'static str,
    pub(super) query: &'static [(&'static str, &'static str)],
    /// The preconditions that it takes.
    pub(super) headers: &'static [&'static str],
    pub(super) request: Option<fn() -> Value>,
    pub(super) response: fn() -> Value,
    /// Whether its answer does not end by itself.
    pub(crate) is_stream: bool,
}

const PAGE: &[(&str, &str)] = &[
    ("cursor", "where to go on: `next` of the page before"),
    ("limit", "how many at most: 1 to 500, 50 unless said"),
];

const fn get(
    path: &'static str,
    action: &'static str,
    about: &'static str,
    response: fn() -> Value,
) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        action: Action(action),
        about,
        query: &[],
        headers: &[],
        request: None,
        response,
        is_stream: false,
    }
}

const fn page(
    path: &'static str,
    action: &'static str,
    about: &'static str,
    response: fn() -> Value,
) -> Endpoint {
    Endpoint {
        query: PAGE,
        ..get(path, action, about, response)
    }
}

const fn change(
    method: &'static str,
    path: &'static str,
    action: &'static str,
    about: &'static str,
    request: fn() -> Value,
    response: fn() -> Value,
) -> Endpoint {
    Endpoint {
        method,
        request: Some(request),
        ..get(path, action, about, response)
    }
}

/// One that may be made of what was seen alone.
const fn if_seen(change: Endpoint) -> Endpoint {
    Endpoint {
        headers: &["If-Match"],
        ..change
    }
}

/// All of them, in the order of the document.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    get(
        "/api/v1/status",
        "status.read",
        "Tells how the program and its store are.",
        Status::schema,
    ),
    Endpoint {
        is_stream: true,
        query: &[(
            "of",
            "what is watched, parted by commas: `status`, which it is unless said, `jobs`, `schedules`, `nodes`, `panics`, `routes`; beside `status.read` each needs the action to read it, as `jobs.read`",
        )],
        ..get(
            "/api/v1/events",
            "status.read",
            "Tells what is watched whenever it has changed, as server-sent events: each has the name of what it is about, and is what that endpoint gives unless more is asked of it. One called `problem` says what cannot be told, and the last one why it ends.",
            || json!({ "type": "string" }),
        )
    },
    Endpoint {
        query: &[
            ("cursor", "where to go on: `next` of the page before"),
            ("limit", "how many at most: 1 to 500, 50 unless said"),
            ("state", "only jobs in this state; live ones unless said"),
            ("kind", "only jobs of this kind"),
            ("queue", "only jobs of this queue"),
            ("limit_key", "only jobs with this key of a limit"),
        ],
        ..get(
            "/api/v1/jobs",
            "jobs.read",
            "Lists jobs, the latest first.",
            JobPage::schema,
        )
    },
    change(
        "POST",
        "/api/v1/jobs",
        "jobs.enqueue",
        "Enqueues a job.",
        NewJob::schema,
        Done::schema,
    ),
    get(
        "/api/v1/jobs/{id}",
        "jobs.read",
        "Gives a job with its payload and its result.",
        JobDetail::schema,
    ),
    change(
        "POST",
        "/api/v1/jobs/{id}/run",
        "jobs.run",
        "Makes a waiting job due now.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/jobs/{id}/cancel",
        "jobs.cancel",
        "Cancels a job; one that runs is told to stop.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/jobs/{id}/retry",
        "jobs.redrive",
        "Puts a job that was discarded, cancelled or quarantined back to work.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/jobs/redrive",
        "jobs.redrive",
        "Puts many of them back to work, or tells which it would be.",
        || many(&[State::Discarded, State::Quarantined, State::Cancelled]),
        DoneAll::schema,
    ),
    change(
        "POST",
        "/api/v1/jobs/cancel",
        "jobs.cancel",
        "Cancels many jobs, or tells which it would be.",
        || many(&[State::Pending, State::Running, State::Waiting]),
        DoneAll::schema,
    ),
    page(
        "/api/v1/queues",
        "queues.read",
        "Lists queues by name: those that are paused or limited, or have jobs that are due or run.",
        QueuePage::schema,
    ),
    change(
        "POST",
        "/api/v1/queues/{name}/pause",
        "queues.pause",
        "Has no node claim from a queue.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/queues/{name}/resume",
        "queues.pause",
        "Has nodes claim from it again.",
        Reason::schema,
        Done::schema,
    ),
    page(
        "/api/v1/schedules",
        "schedules.read",
        "Lists schedules by name.",
        SchedulePage::schema,
    ),
    get(
        "/api/v1/schedules/{name}",
        "schedules.read",
        "Gives a schedule, and its revision as ETag.",
        Schedule::schema,
    ),
    Endpoint {
        headers: &["If-Match", "If-None-Match"],
        ..change(
            "PUT",
            "/api/v1/schedules/{name}",
            "schedules.write",
            "Adds a schedule (`If-None-Match: *`) or changes the one that was seen (`If-Match`).",
            NewSchedule::schema,
            Schedule::schema,
        )
    },
    if_seen(change(
        "DELETE",
        "/api/v1/schedules/{name}",
        "schedules.write",
        "Deletes a schedule; what it has made goes on.",
        Reason::schema,
        Done::schema,
    )),
    Endpoint {
        query: &[("count", "how many: 1 to 100, 10 unless said")],
        ..get(
            "/api/v1/schedules/{name}/next",
            "schedules.read",
            "Gives the due times to come.",
            UpcomingList::schema,
        )
    },
    if_seen(change(
        "POST",
        "/api/v1/schedules/{name}/run",
        "schedules.run",
        "Makes a job of a schedule now.",
        Reason::schema,
        Done::schema,
    )),
    if_seen(change(
        "POST",
        "/api/v1/schedules/{name}/pause",
        "schedules.pause",
        "Has a schedule make no jobs.",
        Reason::schema,
        Done::schema,
    )),
    if_seen(change(
        "POST",
        "/api/v1/schedules/{name}/resume",
        "schedules.pause",
        "Goes on with it, from now on.",
        Reason::schema,
        Done::schema,
    )),
    if_seen(change(
        "POST",
        "/api/v1/schedules/{name}/backfill",
        "schedules.backfill",
        "Makes the jobs of occurrences that have none, or tells which it would be.",
        Backfill::schema,
        Backfilled::schema,
    )),
    page(
        "/api/v1/nodes",
        "nodes.read",
        "Lists lives of processes, the latest first.",
        NodePage::schema,
    ),
    get(
        "/api/v1/panics",
        "panics.read",
        "Lists the panics of this process by place.",
        PanicList::schema,
    ),
    get(
        "/api/v1/panics/{id}",
        "panics.read",
        "Gives the panics of one place, with one of them.",
        PanicDetail::schema,
    ),
    get(
        "/api/v1/routes",
        "routes.read",
        "Lists what the guard of this process governs, and what becomes of it.",
        Guarded::schema,
    ),
    change(
        "POST",
        "/api/v1/breakers/{name}",
        "breakers.force",
        "Has the breakers of a dependency do something else for a while.",
        Force::schema,
        Dependency::schema,
    ),
    change(
        "DELETE",
        "/api/v1/breakers/{name}",
        "breakers.force",
        "Has them do what they do by themselves.",
        Release::schema,
        Dependency::schema,
    ),
    get(
        "/api/v1/policy",
        "policy.read",
        "Gives the policy in force, and as ETag by what it is known.",
        Policy::schema,
    ),
    Endpoint {
        headers: &["If-Match"],
        ..change(
            "PUT",
            "/api/v1/policy",
            "policy.write",
            "Puts another document in force in place of the one that was seen (`If-Match`), in all processes that were started with the same one.",
            NewPolicy::schema,
            Applied::schema,
        )
    },
    Endpoint {
        headers: &["If-Match"],
        ..change(
            "POST",
            "/api/v1/policy/diff",
            "policy.read",
            "Tells what a document would change, and whether it could be put in force; with `If-Match` only of the one that was seen.",
            Proposed::schema,
            Difference::schema,
        )
    },
    Endpoint {
        query: &[
            (
                "route",
                "a route, by its name in the policy or as `GET /orders`",
            ),
            ("dependency", "or a dependency, by its name"),
        ],
        ..get(
            "/api/v1/policy/explain",
            "policy.read",
            "Tells every value in force for a route or a dependency, and where it comes from.",
            Explained::schema,
        )
    },
    page(
        "/api/v1/policy/revisions",
        "policy.read",
        "Lists revisions of the policy, the latest first.",
        RevisionPage::schema,
    ),
    get(
        "/api/v1/policy/revisions/{id}",
        "policy.read",
        "Gives a revision with its document, and its ETag.",
        RevisionDetail::schema,
    ),
    change(
        "POST",
        "/api/v1/policy/overrides",
        "policy.override",
        "Holds a value against the document for a while; it ends by itself.",
        NewOverride::schema,
        Overridden::schema,
    ),
    change(
        "DELETE",
        "/api/v1/policy/overrides",
        "policy.override",
        "Ends an override before its time.",
        EndOverride::schema,
        Done::schema,
    ),
    Endpoint {
        query: &[
            ("cursor", "where to go on: `next` of the page before"),
            ("limit", "how many at most: 1 to 500, 50 unless said"),
            ("actor", "only what this token did, by its name"),
            ("action", "only this action"),
            ("since", "only from this point in time on, in RFC 3339"),
        ],
        ..get(
            "/api/v1/audit",
            "audit.read",
            "Lists who did what, and who was refused for want of a right, the latest first.",
            AuditPage::schema,
        )
    },
    page(
        "/api/v1/tokens",
        "tokens.read",
        "Lists tokens, the latest first.",
        TokenPage::schema,
    ),
    change(
        "POST",
        "/api/v1/tokens",
        "tokens.write",
        "Makes a token, and shows it this once.",
        || either(&NewToken::schema(), "role", "actions"),
        MadeToken::schema,
    ),
    change(
        "DELETE",
        "/api/v1/tokens/{id}",
        "tokens.write",
        "Revokes a token, and with it those that it has made.",
        Reason::schema,
        Done::schema,
    ),
];

/// Says the shape of `Many` where jobs are in one of these states.
fn many(states: &[State]) -> Value {
    let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    json!({ "allOf": [Many::schema(), { "properties": { "state": one_of(&words) } }] })
}

/// Finds the endpoint of a request that the router has matched.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Endpoint> {
    // What may be read may be asked for its head.
    let method = if method == "HEAD" { "GET" } else { method };
    ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.method == method && endpoint.path == path)
}

/// Gives the methods that a path has, as `Allow` says them.
pub(crate) fn methods(path: &str) -> String {
    let here = ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
    let methods = here.flat_map(|endpoint| match endpoint.method {
        "GET" => vec!["GET", "HEAD"],
        method => vec![method],
    });
    methods.collect::<Vec<_>>().join(",")
}
