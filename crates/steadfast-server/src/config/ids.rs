//! Which ids are handed out, and where.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use steadfast::ids::Layout;
use steadfast::settings::{Table, Wrong};

use super::keys::*;
use super::place::{self, Secret};
use crate::tls;

/// The most names of ids: 100. Each that is a snowflake keeps a lease.
const NAMES_MAX: usize = 100;

/// The service of ids, as it was said.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    pub(crate) listen: SocketAddr,
    /// Who does not say it gets none.
    pub(crate) token: Option<Secret>,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) generators: BTreeMap<String, Generator>,
}

/// What makes the ids of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Generator {
    /// Time, a worker id of this group, and a sequence.
    Snowflake { group: String, layout: Layout },
    /// Dense ids of this tag.
    Segments { tag: String },
    /// Dense ids by this sequence of PostgreSQL.
    Sequence { name: String },
}

pub(super) fn ask(root: &mut Table<'_, '_>) -> Option<Ids> {
    let (listen, token, tls) = root.table("ids", |table| {
        let listen = IDS_LISTEN.text_as(table, super::address);
        let token = IDS_TOKEN.text_as(table, place::secret);
        if let (Some(address), None) = (listen, &token)
            && !address.ip().is_loopback()
            && !table.has(IDS_TOKEN.name)
        {
            let wrong =
                Wrong::new("other machines reach this address, and anybody there could use ids up");
            let fix = "add token = \"env:VARIABLE\" or \"file:PATH\", or listen on 127.0.0.1";
            table.refuse(IDS_LISTEN.name, wrong.with_fix(fix));
        }
        let is_half = table.has(TLS_CERTIFICATE.name) || table.has(TLS_KEY.name);
        let tls = super::ask_tls(table);
        let behind_proxy = IDS_BEHIND_PROXY.flag(table).unwrap_or(false);
        // Half of a certificate is told by itself.
        let is_in_clear = !is_half && !behind_proxy;
        if is_in_clear && listen.is_some_and(|address| !address.ip().is_loopback()) {
            let wrong = Wrong::new(
                "other machines reach this address, and the token would cross the network in clear",
            );
            let fix = "give tls_certificate and tls_key, listen on 127.0.0.1, or set behind_proxy = true where a proxy \
                       with TLS is the only way to it";
            table.refuse(IDS_LISTEN.name, wrong.with_fix(fix));
        }
        (listen, token, tls)
    });
    let mut generators = BTreeMap::new();
    root.each_in("generators", NAMES_MAX, named, |name, table| {
        if let Some(generator) = ask_generator(table) {
            generators.insert(name.to_owned(), generator);
        }
        if listen.is_none() {
            let wrong = Wrong::new(format!("nobody could ask for the ids of {name:?}"));
            table.refuse(
                GENERATOR_GROUP.name,
                wrong.with_fix("add [ids] with listen = \"127.0.0.1:4013\""),
            );
        }
    });
    listen.map(|listen| Ids {
        listen,
        token,
        tls,
        generators,
    })
}

fn ask_generator(table: &mut Table<'_, '_>) -> Option<Generator> {
    // What belongs to another kind is unknown here, and told so.
    if table.has(GENERATOR_TAG.name) {
        let tag = GENERATOR_TAG.text(table)?;
        return Some(Generator::Segments { tag });
    }
    if table.has(GENERATOR_SEQUENCE.name) {
        let name = GENERATOR_SEQUENCE.text(table)?;
        return Some(Generator::Sequence { name });
    }
    let group = GENERATOR_GROUP.text(table);
    let layout = GENERATOR_LAYOUT.text_as(table, layout);
    Some(Generator::Snowflake {
        group: group.unwrap_or_else(|| "default".into()),
        layout: layout.unwrap_or_default(),
    })
}

/// Reads a layout: its name, or its parts as stores keep them.
pub(crate) fn layout(text: &str) -> Result<Layout, Wrong> {
    match text {
        "default" => Ok(Layout::DEFAULT),
        "javascript" => Ok(Layout::JAVASCRIPT),
        "many-workers" => Ok(Layout::MANY_WORKERS),
        parts => parts.parse().map_err(|error| {
            Wrong::new(format!("{text:?} is no layout: {error}")).with_fix(
                "write default, javascript, many-workers, or the bits of time, worker, sequence and gene, the tick and \
                 the epoch: \"41+10+12+0=63 1ms 1767225600000\"",
            )
        }),
    }
}

/// The names of ids stand in paths, and the service takes no others.
fn named(name: &str) -> Result<(), Wrong> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    match (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Wrong::new(
            "a name of ids has 1 to 64 of a to z, 0 to 9, `-` and `_`",
        )),
    }
}
