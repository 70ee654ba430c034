//! What the document says beyond the type of a field: as narrow as what the endpoints take, so that whoever keeps to it
//! is not refused for what was sent. `./api-check` asks with it, in both directions.
//!
//! Lengths are those of ASCII: what is counted by the store are bytes.

use serde_json::{Value, json};
use steadfast::jobs::{KEY_BYTES_MAX, NAME_BYTES_MAX, State};

use super::audit::REASON_BYTES_MAX;
use super::types::HASH_DIGITS;

/// What is not seen in a name, as it stands in a class of characters.
const FORMAT: &str =
    "\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb";

/// The name of a kind, a queue, a schedule.
pub(super) fn name() -> Value {
    let pattern = format!("^[^{CONTROL}{FORMAT}]+$");
    json!({ "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": pattern })
}

/// What a terminal obeys, as it stands in a class of characters.
const CONTROL: &str = "\\u0000-\\u001f\\u007f-\\u009f";

/// The name of somebody who has a token.
pub(super) fn owner() -> Value {
    let pattern = format!("^[^{CONTROL}]+$");
    json!({ "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": pattern })
}

/// A value of a policy, in one line.
pub(super) fn one_line() -> Value {
    json!({ "pattern": format!("^[^{CONTROL}]*$") })
}

pub(super) fn key() -> Value {
    json!({ "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[^\\u0000]+$" })
}

/// Words for people: at least one that can be seen, and nothing that a terminal obeys.
pub(super) fn reason() -> Value {
    let pattern = format!("^[^{CONTROL}]*[^\\s{CONTROL}][^{CONTROL}]*$");
    json!({ "minLength": 1, "maxLength": REASON_BYTES_MAX, "pattern": pattern })
}

pub(super) fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// A list of words, with one of them at least.
pub(super) fn some_of(words: &[&str]) -> Value {
    json!({ "minItems": 1, "items": { "type": "string", "enum": words } })
}

/// An object that has one of two fields, and not both.
pub(super) fn either(shape: &Value, one: &str, other: &str) -> Value {
    let only = |has: &str, lacks: &str| {
        json!({
            "required": [has],
            "properties": { has: { "not": { "type": "null" } }, lacks: { "type": "null" } },
        })
    };
    json!({ "allOf": [shape, { "oneOf": [only(one, other), only(other, one)] }] })
}

pub(super) fn state() -> Value {
    one_of(&State::ALL.map(State::as_str))
}

pub(super) fn within(least: i64, most: i64) -> Value {
    json!({ "minimum": least, "maximum": most })
}

/// Something that has a form of its own, which its name and the description of the field tell.
pub(super) fn of_form(name: &str) -> Value {
    json!({ "format": name })
}

/// Where a list of jobs goes on.
pub(super) fn place_of_a_job() -> Value {
    json!({ "pattern": "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$" })
}

/// Where a list by number goes on.
pub(super) fn place_of_a_number() -> Value {
    json!({ "pattern": "^[0-9]{1,18}$" })
}

/// An `ETag` of what is numbered.
pub(super) fn tag() -> Value {
    json!({ "pattern": "^\"[0-9]{1,18}\"$" })
}

/// The `ETag` of a policy.
pub(super) fn tag_of_a_policy() -> Value {
    json!({ "pattern": format!("^\"[0-9]{{1,18}}-[0-9a-f]{{{HASH_DIGITS}}}\"$") })
}

/// Adds to a shape what makes it narrower.
pub(super) fn narrowed(mut shape: Value, by: Value) -> Value {
    if let (Some(shape), Value::Object(by)) = (shape.as_object_mut(), by) {
        shape.extend(by);
    }
    shape
}
