//! The document of the API, in the form of OpenAPI.

use serde_json::{Map, Value, json};

use super::schema::Schema;
use super::table::{ENDPOINTS, Endpoint};
use super::types::*;

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
            "description": "Jobs, schedules and nodes of a store, and the guard of a process. A new version has another path; members and endpoints may be added to this one.",
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
            // Panics are told apart by a hash, all else by a number.
            let is_number = name == "id" && !endpoint.path.contains("/panics/");
            let kind = if is_number { "integer" } else { "string" };
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
    parameters.extend(
        endpoint
            .headers
            .iter()
            .map(|name| json!({ "name": name, "in": "header", "schema": { "type": "string" } })),
    );
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
