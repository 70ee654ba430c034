//! What hands ids out.

use super::Section;
use super::key::Takes::{Flag, Text};
use super::key::Without::{Default, Nothing, Refused};
use super::key::{Key, key};
use super::listeners::{TLS_CERTIFICATE, TLS_KEY};

pub(super) static IDS: Section = Section {
    name: "ids",
    what: "Where ids are handed out; what they are is said by `[generators.NAME]`. The guide is `docs/guide/run-the-id-service.md`.",
    example: "",
    keys: &[
        &IDS_LISTEN,
        &IDS_TOKEN,
        &TLS_CERTIFICATE,
        &TLS_KEY,
        &IDS_BEHIND_PROXY,
    ],
};

pub(super) static SNOWFLAKES: Section = Section {
    name: "generators.NAME",
    what: "What makes the ids of a name: a snowflake, whose worker id is leased in the store.",
    example: "generators.order",
    keys: &[&GENERATOR_GROUP, &GENERATOR_LAYOUT],
};

pub(super) static TAGS: Section = Section {
    name: "generators.NAME",
    what: "With `tag`, they are dense numbers, of ranges that the store hands out.",
    example: "generators.ticket",
    keys: &[&GENERATOR_TAG],
};

pub(super) static SEQUENCES: Section = Section {
    name: "generators.NAME",
    what: "With `sequence`, they are dense numbers of a sequence of PostgreSQL.",
    example: "generators.invoice",
    keys: &[&GENERATOR_SEQUENCE],
};

pub(in crate::config) static IDS_LISTEN: Key = key(
    "listen",
    Text(100),
    "where ids are handed out, as `POST /ids/NAME`",
    Nothing("nowhere", "\"127.0.0.1:4013\""),
);

pub(in crate::config) static IDS_TOKEN: Key = key(
    "token",
    Text(2_000),
    "where the token is that has to be said as `authorization: Bearer …`, `env:VARIABLE` or `file:PATH`: at least 32 bytes",
    Nothing(
        "whoever reaches the address gets ids, so it has to be a loopback one",
        "\"env:IDS_TOKEN\"",
    ),
);

pub(in crate::config) static IDS_BEHIND_PROXY: Key = key(
    "behind_proxy",
    Flag,
    "says that a proxy with TLS is the only way to it; without it, an address that other machines reach needs a certificate",
    Default(
        "false",
        "a token that crosses the network in clear belongs to everybody",
    ),
);

pub(in crate::config) static GENERATOR_GROUP: Key = key(
    "group",
    Text(100),
    "what its ids are unique among: names of one group never make the same id",
    Default("\"default\"", "ids of all names differ"),
);

pub(in crate::config) static GENERATOR_LAYOUT: Key = key(
    "layout",
    Text(200),
    "which bits say what: `default`, `javascript` (53 bits), `many-workers`, or the parts, such as `41+10+12+0=63 1ms 1767225600000`; one for all names of a group",
    Default(
        "\"default\"",
        "four million ids a second for each of 1,024 processes until 2095",
    ),
);

pub(in crate::config) static GENERATOR_TAG: Key = key(
    "tag",
    Text(100),
    "the tag whose numbers are handed out",
    Refused("\"ticket\""),
);

pub(in crate::config) static GENERATOR_SEQUENCE: Key = key(
    "sequence",
    Text(200),
    "the sequence of PostgreSQL that gives the ranges, made with `INCREMENT BY` their size",
    Refused("\"shop.invoice_id\""),
);
