//! The document of the API, in the form of OpenAPI.

use serde_json::{Map, Value, json};

use super::narrow::*;
use super::schema::Schema;
use super::table::{ENDPOINTS, Endpoint};
use super::types::*;

/// Writes the document of the API, as it is served below a path.
pub(crate) fn document(prefix: &str) -> Value {
    let mut named = Map::new();
    define(&mut named);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(endpoint.method.to_lowercase(), operation(endpoint));
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "steadfast",
            "version": "1",
            "description": "Jobs, schedules and nodes of a store, and the guard of a process. A new version has another path; members and endpoints may be added to this one.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    });
    if !prefix.is_empty() {
        document["servers"] = json!([{ "url": prefix }]);
    }
    document
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            // Panics are told apart by a hash, all else by a number.
            let is_number = name == "id" && !endpoint.path.contains("/panics/");
            let kind = if is_number { "integer" } else { "string" };
            let shape = json!({ "type": kind });
            // What is only looked for, or ended, may have a name of older programs.
            let is_made = matches!(
                (endpoint.method, endpoint.path),
                ("PUT", "/api/v1/schedules/{name}") | ("POST", "/api/v1/queues/{name}/pause")
            );
            let shape = match (is_number, is_made) {
                (true, _) => narrowed(shape, within(0, i64::MAX)),
                (_, true) => narrowed(shape, super::narrow::name()),
                _ => shape,
            };
            json!({ "name": name, "in": "path", "required": true, "schema": shape })
        })
        .collect();
    parameters.extend(endpoint.query.iter().map(|(name, says)| {
        let shape = asked(endpoint.path, name);
        json!({ "name": name, "in": "query", "description": says, "schema": shape })
    }));
    parameters.extend(endpoint.headers.iter().map(|name| {
        let by = match *name {
            "If-None-Match" => one_of(&["*"]),
            _ if endpoint.path.starts_with("/api/v1/policy") => tag_of_a_policy(),
            _ => tag(),
        };
        let shape = narrowed(json!({ "type": "string" }), by);
        // Only what replaces a whole has to say of which; where there are two, by one of them.
        let required = endpoint.headers.len() == 1 && endpoint.method == "PUT";
        json!({ "name": name, "in": "header", "required": required, "schema": shape })
    }));
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

/// Says the shape of what is asked for behind a `?`.
fn asked(path: &str, name: &str) -> Value {
    let text = |by| narrowed(json!({ "type": "string" }), by);
    let number = |by| narrowed(json!({ "type": "integer" }), by);
    match (path, name) {
        (_, "limit") => number(within(1, 500)),
        (_, "count") => number(within(1, 100)),
        ("/api/v1/jobs", "state") => text(state()),
        ("/api/v1/jobs", "cursor") => text(place_of_a_job()),
        // A name, whether or not there is anything of it.
        ("/api/v1/schedules" | "/api/v1/queues", "cursor") => text(json!({})),
        (_, "cursor") => text(place_of_a_number()),
        (_, "since") => text(of_form("date-time")),
        _ => text(json!({})),
    }
}

fn define(named: &mut Map<String, Value>) {
    Status::define(named);
    JobPage::define(named);
    JobDetail::define(named);
    QueuePage::define(named);
    NewJob::define(named);
    Reason::define(named);
    Many::define(named);
    Done::define(named);
    DoneAll::define(named);
    SchedulePage::define(named);
    NewSchedule::define(named);
    UpcomingList::define(named);
    Backfill::define(named);
    Backfilled::define(named);
    NodePage::define(named);
    PanicList::define(named);
    PanicDetail::define(named);
    Guarded::define(named);
    Force::define(named);
    Release::define(named);
    Policy::define(named);
    NewPolicy::define(named);
    Applied::define(named);
    Proposed::define(named);
    Difference::define(named);
    Explained::define(named);
    RevisionPage::define(named);
    RevisionDetail::define(named);
    NewOverride::define(named);
    Overridden::define(named);
    EndOverride::define(named);
    AuditPage::define(named);
    TokenPage::define(named);
    NewToken::define(named);
    MadeToken::define(named);
    Problem::define(named);
}
