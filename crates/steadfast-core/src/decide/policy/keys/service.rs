//! What holds for the service as a whole.

use super::words::{COUNT, TIME, default, key};
use super::{Absent, Section};

pub(super) const TRUST: Section = Section {
    name: "trust",
    what: "How much of what a client says about its request is believed.",
    names: None,
    keys: &[
        key(
            "clients",
            "`\"edge\"` or `\"inside\"`",
            "who can reach the service: anybody (tier and baggage are ignored, a deadline may only shorten), or our own services alone",
            default("\"edge\"", "the error on the safe side"),
        ),
        key(
            "proxies",
            "list of addresses and ranges, `\"10.0.0.0/8\"`, at most 64",
            "the proxies in front, whose word on where a request came from is taken",
            Absent::Nothing("none: the client is the peer of the connection"),
        ),
        key(
            "hops",
            COUNT,
            "which hop is the client, counted from the nearest proxy",
            default("1", "one proxy in front is what most services have"),
        ),
    ],
};

pub(super) const DRAIN: Section = Section {
    name: "drain",
    what: "How the service stops without failing what it has begun.",
    names: None,
    keys: &[
        key(
            "not_ready",
            TIME,
            "how long it goes on serving while it says that it is not ready; behind a load balancer at least two of its intervals",
            Absent::Nothing("no time"),
        ),
        key(
            "lower",
            TIME,
            "how long requests below core may go on",
            default(
                "\"5s\"",
                "what is below core is either soon done or can be asked for again",
            ),
        ),
        key(
            "core",
            TIME,
            "how long requests of core may go on after that",
            default(
                "\"10s\"",
                "longer than people wait for an order to go through",
            ),
        ),
        key(
            "hard",
            TIME,
            "how long all of it may take",
            default(
                "\"25s\"",
                "fits into the 30 s that a container gets between SIGTERM and SIGKILL",
            ),
        ),
    ],
};
