//! What `steadfast serve` is told: documents in TOML, read as a whole.

mod documents;
mod handler;
mod ids;
mod keys;
mod place;
mod schedule;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use steadfast::settings::{Problems, Source, Table, Wrong, read_all};
use steadfast::store;

pub(crate) use documents::{Documents, Refused};
pub(crate) use handler::{Exec, Handler, Http, Work};
pub(crate) use ids::{Generator, Ids, layout};
pub(crate) use place::Secret;
pub(crate) use schedule::Scheduled;
pub(crate) use write::commented;

use keys::*;

use crate::tls;

/// The most handlers, and the most schedules: 1,000 each. Their names are labels of metrics and lines.
const NAMED_MAX: usize = 1_000;

/// The most queues: 100.
const QUEUES_MAX: usize = 100;

/// The queue that is there without being named.
pub(crate) const DEFAULT_QUEUE: &str = "default";

/// Everything that the program is told, with nothing left to check but what the machine says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) store: StorePlace,
    pub(crate) service: String,
    pub(crate) lease: Duration,
    pub(crate) queues: BTreeMap<String, usize>,
    pub(crate) drain: Duration,
    pub(crate) not_ready: Duration,
    pub(crate) log: Log,
    pub(crate) health: SocketAddr,
    pub(crate) api: Api,
    pub(crate) calls: Option<Calls>,
    pub(crate) ids: Option<Ids>,
    pub(crate) handlers: BTreeMap<String, Handler>,
    pub(crate) schedules: BTreeMap<String, Scheduled>,
    /// Where all of it was said.
    pub(crate) documents: Documents,
}

/// Where the store is, before its secret is looked up.
#[derive(Debug)]
pub(crate) struct StorePlace {
    url: Secret,
    /// That of the file, in which a relative path of SQLite begins.
    folder: PathBuf,
    pooler: store::Pooler,
    connections: Option<usize>,
    migrate: bool,
}

/// How the API is served.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) enabled: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) behind_proxy: bool,
    pub(crate) read_only: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: API_DEFAULT,
            tls: None,
            behind_proxy: false,
            read_only: false,
        }
    }
}

/// Where long work is told the end of.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) url: Option<String>,
}

/// How lines are written.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) json: bool,
    pub(crate) level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            json: false,
            level: "info".into(),
        }
    }
}

impl Config {
    /// Reads files: the first says everything, the others add handlers and schedules.
    pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut whole: Option<Self> = None;
        for path in paths {
            let read = read(&open(path)?, whole.as_ref());
            let mut config = read.map_err(Refused::Mistaken)?;
            // Beside a pipe is no place for files.
            if let Some(folder) = path.parent().filter(|_| path.is_file()) {
                config.begin_in(folder);
            }
            match &mut whole {
                None => whole = Some(config),
                Some(whole) => {
                    whole.documents.append(&mut config.documents);
                    whole.handlers.append(&mut config.handlers);
                    whole.schedules.append(&mut config.schedules);
                }
            }
        }
        let mut config = whole.unwrap_or_else(empty);
        config.queues.entry(DEFAULT_QUEUE.into()).or_insert(
            // A number that is there for people to read.
            usize::try_from(QUEUE_PERMITS.default_number()).unwrap_or(1),
        );
        Ok(config)
    }

    /// Has relative paths begin in the folder of the file that says them, wherever the process was started.
    fn begin_in(&mut self, folder: &Path) {
        let place = |path: &mut PathBuf| *path = folder.join(&*path);
        let place_tls = |tls: &mut Option<tls::Files>| {
            if let Some(tls) = tls {
                place(&mut tls.certificate);
                place(&mut tls.key);
            }
        };
        folder.clone_into(&mut self.store.folder);
        self.store.url.begin_in(folder);
        place_tls(&mut self.api.tls);
        if let Some(calls) = &mut self.calls {
            place_tls(&mut calls.tls);
        }
        if let Some(ids) = &mut self.ids {
            place_tls(&mut ids.tls);
            if let Some(token) = &mut ids.token {
                token.begin_in(folder);
            }
        }
        for handler in self.handlers.values_mut() {
            match &mut handler.work {
                Work::Exec(exec) => exec.dir.iter_mut().for_each(place),
                Work::Http(http) => {
                    http.secret.begin_in(folder);
                    http.ca.iter_mut().for_each(place);
                }
            }
        }
    }
}

impl StorePlace {
    pub(crate) fn secret(&self) -> &Secret {
        &self.url
    }

    /// How many connections were asked for.
    pub(crate) fn connections(&self) -> Option<usize> {
        self.connections
    }

    /// Says where the store is.
    pub(crate) fn config(&self, application: &str) -> anyhow::Result<store::Config> {
        let url = self.url.look_up().context("store.url cannot be had")?;
        let config = store::Config::parse(&url)
            .with_context(|| "store.url is no place of a store".to_owned())?;
        let place = match config.place {
            store::Place::Sqlite(path) => store::Place::Sqlite(self.folder.join(path)),
            place => place,
        };
        Ok(store::Config {
            place,
            pooler: self.pooler,
            connections_max: self.connections.unwrap_or(config.connections_max),
            migrate: self.migrate,
            application_name: application.to_owned(),
            ..config
        })
    }
}

fn open(path: &Path) -> anyhow::Result<Source> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| Refused::Unread(name.clone()))?;
    Ok(Source::from_bytes(name, &bytes).map_err(Refused::Mistaken)?)
}

/// Reads one document, which adds to those before, if there were any.
fn read(source: &Source, before: Option<&Config>) -> Result<Config, Problems> {
    let reading = read_all(source, |root| ask(root, before));
    match Problems::collect(reading.problems) {
        Some(problems) => Err(problems),
        None => Ok(Config {
            documents: Documents::one(source.clone(), reading.places),
            ..reading.value
        }),
    }
}

fn empty() -> Config {
    let source = Source::new("nothing", "");
    let source = source.unwrap_or_else(|_| unreachable!("an empty text is short"));
    read_all(&source, |root| ask(root, None)).value
}

fn ask(root: &mut Table<'_, '_>, before: Option<&Config>) -> Config {
    let mut config = Config {
        store: StorePlace {
            url: Secret::plain(STORE_URL_DEFAULT),
            folder: PathBuf::new(),
            pooler: store::Pooler::None,
            connections: None,
            migrate: true,
        },
        service: "steadfast".into(),
        lease: NODE_LEASE.default_time(),
        queues: BTreeMap::new(),
        drain: SHUTDOWN_DRAIN.default_time(),
        not_ready: SHUTDOWN_NOT_READY.default_time(),
        log: Log::default(),
        health: HEALTH_DEFAULT,
        api: Api::default(),
        calls: None,
        ids: None,
        handlers: BTreeMap::new(),
        schedules: BTreeMap::new(),
        documents: Documents::default(),
    };
    if before.is_none() {
        ask_process(root, &mut config);
    }
    let queues: Vec<String> = before.unwrap_or(&config).queues.keys().cloned().collect();
    // One that has mistakes is there all the same: what names it is not told so, too.
    let mut mistaken = Vec::new();
    let taken = |name: &str| before.is_some_and(|before| before.handlers.contains_key(name));
    root.each_in(
        "handlers",
        NAMED_MAX,
        |name| free(name, &taken),
        |name, table| match handler::ask(name, table, &queues) {
            Some(handler) => {
                config.handlers.insert(name.to_owned(), handler);
            }
            None => mistaken.push(name.to_owned()),
        },
    );
    let find = |name: &str| {
        let earlier = before.and_then(|before| before.handlers.get(name));
        match config.handlers.get(name).or(earlier) {
            Some(handler) => schedule::Found::Well(handler),
            None if mistaken.iter().any(|known| known == name) => schedule::Found::Mistaken,
            None => schedule::Found::Nowhere,
        }
    };
    let mut schedules = BTreeMap::new();
    let taken = |name: &str| before.is_some_and(|before| before.schedules.contains_key(name));
    root.each_in(
        "schedules",
        NAMED_MAX,
        |name| free(name, &taken),
        |name, table| {
            if let Some(schedule) = schedule::ask(name, table, &find) {
                schedules.insert(name.to_owned(), schedule);
            }
        },
    );
    config.schedules = schedules;
    config
}

const STORE_URL_DEFAULT: &str = "sqlite:steadfast.db";
const API_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4011);
const HEALTH_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4010);

/// What the first document says of the process.
fn ask_process(root: &mut Table<'_, '_>, config: &mut Config) {
    root.table("store", |table| {
        if let Some(url) = STORE_URL.text_as(table, place::store) {
            config.store.url = url;
        }
        if STORE_POOLER.choice(table) == Some("transaction") {
            config.store.pooler = store::Pooler::Transaction;
        }
        let connections = STORE_CONNECTIONS.number(table);
        config.store.connections = connections.and_then(|number| usize::try_from(number).ok());
        config.store.migrate = STORE_MIGRATE.flag(table).unwrap_or(true);
    });
    root.table("node", |table| {
        if let Some(service) = NODE_SERVICE.text(table) {
            config.service = service;
        }
        if let Some(lease) = NODE_LEASE.time(table) {
            config.lease = lease;
        }
    });
    root.each_in("queues", QUEUES_MAX, named, |name, table| {
        let permits = QUEUE_PERMITS.number(table);
        let permits = permits.unwrap_or(QUEUE_PERMITS.default_number());
        let permits = usize::try_from(permits).unwrap_or(1);
        config.queues.insert(name.to_owned(), permits);
    });
    root.table("shutdown", |table| {
        if let Some(drain) = SHUTDOWN_DRAIN.time(table) {
            config.drain = drain;
        }
        if let Some(not_ready) = SHUTDOWN_NOT_READY.time(table) {
            config.not_ready = not_ready;
        }
    });
    root.table("log", |table| {
        config.log.json = LOG_FORMAT.choice(table) == Some("json");
        if let Some(level) = LOG_LEVEL.text_as(table, level) {
            config.log.level = level;
        }
    });
    root.table("health", |table| {
        if let Some(address) = HEALTH_LISTEN.text_as(table, address) {
            config.health = address;
        }
    });
    root.table("api", |table| {
        let api = &mut config.api;
        api.enabled = API_ENABLED.flag(table).unwrap_or(api.enabled);
        api.listen = API_LISTEN.text_as(table, address).unwrap_or(api.listen);
        api.tls = ask_tls(table);
        api.behind_proxy = API_BEHIND_PROXY.flag(table).unwrap_or(api.behind_proxy);
        api.read_only = API_READ_ONLY.flag(table).unwrap_or(api.read_only);
    });
    config.calls = ask_calls(root);
    config.ids = ids::ask(root);
}

fn ask_calls(root: &mut Table<'_, '_>) -> Option<Calls> {
    root.table("calls", |table| {
        let listen = CALLS_LISTEN.text_as(table, address);
        let url = CALLS_URL.text_as(table, |text| {
            place::url(text).map(|url| url.trim_end_matches('/').to_owned())
        });
        let tls = ask_tls(table);
        if let Some(all) = listen.filter(|at| at.ip().is_unspecified() && url.is_none()) {
            // Whoever is told to call it calls itself.
            let wrong = Wrong::new(format!("{all} is no address that a target could call"));
            let fix = "add url = \"http://HOST:PORT\", as targets reach this machine";
            table.refuse(CALLS_LISTEN.name, wrong.with_fix(fix));
        }
        listen.map(|listen| Calls { listen, tls, url })
    })
}

fn ask_tls(table: &mut Table<'_, '_>) -> Option<tls::Files> {
    let certificate = TLS_CERTIFICATE.text(table).map(PathBuf::from);
    let key = TLS_KEY.text(table).map(PathBuf::from);
    let (has, lacks) = match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(tls::Files { certificate, key }),
        (None, None) => return None,
        (Some(_), None) => (TLS_CERTIFICATE.name, TLS_KEY.name),
        (None, Some(_)) => (TLS_KEY.name, TLS_CERTIFICATE.name),
    };
    let wrong = Wrong::new(format!("there is no TLS without {lacks}"));
    table.refuse(has, wrong.with_fix(format!("add {lacks} = \"FILE\"")));
    None
}

fn level(text: &str) -> Result<String, Wrong> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(
            Wrong::new(format!("{text:?} is no filter of lines: {error}"))
                .with_fix("write a level, or levels of targets: \"info,steadfast::access=off\""),
        ),
    }
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(format!("{text:?} is no address to listen on"))
            .with_fix("write an address and a port: \"127.0.0.1:4010\"")
    })
}

/// The names of handlers, schedules and queues: short, and safe wherever they are shown.
fn named(name: &str) -> Result<(), Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Wrong::new(
        "a name has 1 to 64 letters, digits, and `-`, `_`, `.`",
    ))
}

fn free(name: &str, taken: &dyn Fn(&str) -> bool) -> Result<(), Wrong> {
    named(name)?;
    match taken(name) {
        false => Ok(()),
        true => Err(Wrong::new(format!("{name} is in an earlier file already"))),
    }
}

#[cfg(test)]
mod tests;
