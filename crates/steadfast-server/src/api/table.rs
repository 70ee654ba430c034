//! Every endpoint: what may be done there, by whom, and what it is made of. The router, the rights, the
//! guard's policy and the document of the API are made of this one table.

use serde_json::{Map, Value, json};

use super::auth::Action;
use super::schema::Schema;
use super::types::*;

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) about: &'static str,
    query: &'static [(&'static str, &'static str)],
    request: Option<fn() -> Value>,
    response: fn() -> Value,
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
        ..get(
            "/api/v1/events",
            "status.read",
            "Tells the status whenever it has changed, as server-sent events.",
            Status::schema,
        )
    },
    Endpoint {
        query: &[
            ("cursor", "where to go on: `next` of the page before"),
            ("limit", "how many at most: 1 to 500, 50 unless said"),
            ("state", "only jobs in this state; live ones unless said"),
            ("kind", "only jobs of this kind"),
            ("queue", "only jobs of this queue"),
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
        Redrive::schema,
        DoneAll::schema,
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
    change(
        "PUT",
        "/api/v1/schedules/{name}",
        "schedules.write",
        "Adds a schedule (`If-None-Match: *`) or changes the one that was seen (`If-Match`).",
        NewSchedule::schema,
        Schedule::schema,
    ),
    change(
        "DELETE",
        "/api/v1/schedules/{name}",
        "schedules.write",
        "Deletes a schedule; what it has made goes on.",
        Reason::schema,
        Done::schema,
    ),
    Endpoint {
        query: &[("count", "how many: 1 to 100, 10 unless said")],
        ..get(
            "/api/v1/schedules/{name}/next",
            "schedules.read",
            "Gives the due times to come.",
            UpcomingList::schema,
        )
    },
    change(
        "POST",
        "/api/v1/schedules/{name}/run",
        "schedules.run",
        "Makes a job of a schedule now.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/schedules/{name}/pause",
        "schedules.pause",
        "Has a schedule make no jobs.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/schedules/{name}/resume",
        "schedules.pause",
        "Goes on with it, from now on.",
        Reason::schema,
        Done::schema,
    ),
    change(
        "POST",
        "/api/v1/schedules/{name}/backfill",
        "schedules.backfill",
        "Makes the jobs of occurrences that have none.",
        Backfill::schema,
        Backfilled::schema,
    ),
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
    page(
        "/api/v1/audit",
        "audit.read",
        "Lists who did what, the latest first.",
        AuditPage::schema,
    ),
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
        NewToken::schema,
        MadeToken::schema,
    ),
    change(
        "DELETE",
        "/api/v1/tokens/{id}",
        "tokens.write",
        "Revokes a token.",
        Reason::schema,
        Done::schema,
    ),
];

/// Finds the endpoint of a request that the router has matched.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.method == method && endpoint.path == path)
}

/// Writes the document of the API.
pub(crate) fn document() -> Value {
    let mut named = Map::new();
    define(&mut named);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(endpoint.method.to_lowercase(), operation(endpoint));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "steadfast",
            "version": "1",
            "description": "Jobs, schedules and nodes of a store. A new version has another path; members and endpoints may be added to this one.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            let kind = if name == "id" { "integer" } else { "string" };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
        })
        .collect();
    parameters.extend(endpoint.query.iter().map(|(name, says)| {
        let kind = if matches!(*name, "limit" | "count") {
            "integer"
        } else {
            "string"
        };
        json!({ "name": name, "in": "query", "description": says, "schema": { "type": kind } })
    }));
    if endpoint.method == "PUT" {
        for name in ["If-Match", "If-None-Match"] {
            parameters
                .push(json!({ "name": name, "in": "header", "schema": { "type": "string" } }));
        }
    }
    let kind = match endpoint.is_stream {
        true => "text/event-stream",
        false => "application/json",
    };
    let mut operation = json!({
        "summary": endpoint.about,
        "description": format!("Needs the action `{}`.", endpoint.action.0),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { kind: { "schema": (endpoint.response)() } } },
            "default": {
                "description": "Not done.",
                "content": { "application/problem+json": { "schema": Problem::schema() } },
            },
        },
    });
    if let (Some(request), Some(operation)) = (endpoint.request, operation.as_object_mut()) {
        let body = json!({
            "required": true,
            "content": { "application/json": { "schema": request() } },
        });
        operation.insert("requestBody".into(), body);
    }
    operation
}

fn define(named: &mut Map<String, Value>) {
    Status::define(named);
    JobPage::define(named);
    JobDetail::define(named);
    NewJob::define(named);
    Reason::define(named);
    Redrive::define(named);
    Done::define(named);
    DoneAll::define(named);
    SchedulePage::define(named);
    NewSchedule::define(named);
    UpcomingList::define(named);
    Backfill::define(named);
    Backfilled::define(named);
    NodePage::define(named);
    PanicList::define(named);
    AuditPage::define(named);
    TokenPage::define(named);
    NewToken::define(named);
    MadeToken::define(named);
    Problem::define(named);
}
