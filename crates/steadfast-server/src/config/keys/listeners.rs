//! Who is listened to: people and machines, and services that tell of long work.

use super::Section;
use super::key::Takes::{Flag, Text};
use super::key::Without::{Default, Nothing};
use super::key::{Key, key};

pub(super) static API: Section = Section {
    name: "api",
    what: "What people and machines can see and do.",
    example: "",
    keys: &[
        &API_ENABLED,
        &API_LISTEN,
        &TLS_CERTIFICATE,
        &TLS_KEY,
        &API_BEHIND_PROXY,
        &API_READ_ONLY,
    ],
};

pub(super) static CALLS: Section = Section {
    name: "calls",
    what: "Where services tell the end of work that takes longer than an answer. Each word is signed by the secret of its handler and carries the term of the run.",
    example: "",
    keys: &[&CALLS_LISTEN, &CALLS_URL, &TLS_CERTIFICATE, &TLS_KEY],
};

pub(in crate::config) static TLS_CERTIFICATE: Key = key(
    "tls_certificate",
    Text(2_000),
    "a file with the certificate to be served with by TLS, in PEM, and those between it and its root; read again when it changes, and on SIGHUP",
    Nothing("no TLS", "\"/etc/steadfast/tls.crt\""),
);

pub(in crate::config) static TLS_KEY: Key = key(
    "tls_key",
    Text(2_000),
    "a file with its key, in PEM, which not every user may read",
    Nothing("no TLS", "\"/etc/steadfast/tls.key\""),
);

pub(in crate::config) static CALLS_LISTEN: Key = key(
    "listen",
    Text(100),
    "where targets tell that long work gets on, and how it has ended",
    Nothing(
        "nowhere: an answer of 202 is a failure",
        "\"127.0.0.1:4012\"",
    ),
);

pub(in crate::config) static CALLS_URL: Key = key(
    "url",
    Text(1_000),
    "how targets reach that address of this process",
    Nothing(
        "`http://` and the address itself, unless that is every address of the machine: no target could call `0.0.0.0`",
        "\"http://jobs-1.internal:4012\"",
    ),
);

pub(in crate::config) static API_LISTEN: Key = key(
    "listen",
    Text(100),
    "where the API is served, for `steadfast jobs`, `steadfast schedules` and machines with a token",
    Default(
        "\"127.0.0.1:4011\"",
        "loopback: everything can be stopped from there",
    ),
);

pub(in crate::config) static API_ENABLED: Key = key(
    "enabled",
    Flag,
    "whether there is an API",
    Default(
        "true",
        "nobody gets in without a token, and there is none until `steadfast admin token create` has made it",
    ),
);

pub(in crate::config) static API_BEHIND_PROXY: Key = key(
    "behind_proxy",
    Flag,
    "says that a proxy with TLS is the only way to it; without it, an address that other machines reach is refused",
    Default(
        "false",
        "a token that crosses the network in clear belongs to everybody",
    ),
);

pub(in crate::config) static API_READ_ONLY: Key = key(
    "read_only",
    Flag,
    "whether changes are refused, whoever asks",
    Default("false", "who may change what is said by tokens"),
);
