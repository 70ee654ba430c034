//! Whom all of it is for: the routes of a service, and what it calls.

use super::words::{FLAG, METHODS, TIME, default, key};
use super::{Absent, Section};

pub(super) const ROUTES: Section = Section {
    name: "routes",
    what: "What is served, and which policies govern it.",
    names: Some(
        "the template, `\"/orders/{id}\"`, or method and template, `\"GET /orders\"`, which is for `HEAD`, too; `unmatched` for what no other route has",
    ),
    keys: &[
        key(
            "methods",
            METHODS,
            "the methods it serves; not where its name says one",
            Absent::Nothing("all that no other route of the template has"),
        ),
        key(
            "kind",
            "`\"response\"` or `\"stream\"`",
            "whether the answer ends by itself",
            default(
                "\"response\"",
                "most do, and a stream needs a budget of its own",
            ),
        ),
        key(
            "tier",
            "`\"core\"`, `\"tier1\"` to `\"tier7\"`",
            "who goes first when there is not enough",
            default("\"tier1\"", "nobody said that the service exists for it"),
        ),
        key(
            "rate",
            "requests a second, over 0 to 1000000",
            "how many come at the peak, as observed or expected",
            Absent::Nothing("rules that need it are silent"),
        ),
        key(
            "deadline",
            TIME,
            "how long nobody waits longer than, for callers that do not say so themselves",
            Absent::Nothing("what the caller says"),
        ),
        key(
            "timeout",
            "name",
            "one of `timeouts`",
            Absent::Nothing("refused by the linter (P024), but for streams"),
        ),
        key(
            "admission",
            "name",
            "one of `admissions`",
            Absent::Nothing("no limit of requests at once"),
        ),
        key(
            "quota",
            "name",
            "one of `rates`",
            Absent::Nothing("no limit over time"),
        ),
        key(
            "stream",
            "name",
            "one of `streams`",
            Absent::Nothing("refused by the linter for streams (P026)"),
        ),
        key(
            "calls",
            "list of names, at most 32",
            "the `dependencies` that a request calls, one after the other",
            Absent::Nothing("none that the linter could reckon with"),
        ),
    ],
};

pub(super) const DEPENDENCIES: Section = Section {
    name: "dependencies",
    what: "What is called, and which policies govern the calls.",
    names: Some("what the client of the guard calls it"),
    keys: &[
        key(
            "methods",
            METHODS,
            "the methods of the calls",
            Absent::Nothing("not known"),
        ),
        key(
            "idempotency_key",
            FLAG,
            "whether each call carries an `Idempotency-Key` that the target honors",
            default("false", "only who knows the target can say so"),
        ),
        key(
            "rate",
            "calls a second, over 0 to 1000000",
            "how many are made at the peak, as observed or expected",
            Absent::Nothing("rules that need it are silent"),
        ),
        key(
            "attempts_inside",
            "number, 1 to 10",
            "how many attempts somebody further inside makes for each of ours",
            default("1", "none but ours"),
        ),
        key(
            "timeout",
            "name",
            "one of `timeouts`, for each attempt",
            Absent::Nothing("refused by the linter (P024)"),
        ),
        key(
            "admission",
            "name",
            "one of `admissions`, the limit of calls at once",
            Absent::Nothing("no limit of calls at once"),
        ),
        key(
            "breaker",
            "name",
            "one of `breakers`",
            Absent::Nothing("called however often it fails"),
        ),
        key(
            "retry",
            "name",
            "one of `retries`",
            Absent::Nothing("one attempt"),
        ),
        key(
            "hedge",
            "name",
            "one of `hedges`",
            Absent::Nothing("one attempt at a time"),
        ),
    ],
};
