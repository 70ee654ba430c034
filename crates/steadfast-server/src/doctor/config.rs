//! What a configuration exposes: to the network, and to other users of the machine.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use steadfast::clock;
use steadfast::settings::Level;

use super::{Check, Finding, check, fail, ok, warn};
use crate::api::client::is_here;
use crate::config::{Config, Refused, Work};
use crate::serve::check::{Looker, is_closed, look_at_needs};
use crate::tls::{DAY_S, Identity, SOON_S};

static READ: Check = check("config.read", "whether the files say what can be done");
static NEEDS: Check = check(
    "config.needs",
    "whether this machine has the users, folders, programs, secrets and authorities that handlers and ids name",
);
static LISTEN: Check = check(
    "config.listen",
    "whether the API, the words about long work, the ids, or the numbers can be reached from other machines in clear",
);
static CERTIFICATES: Check = check(
    "config.certificates",
    "whether certificates of listeners can be used: with their key, which not every user may read, and for two weeks more",
);
static TARGETS: Check = check(
    "config.targets",
    "whether payloads of jobs cross the network in clear: a handler with `http://` to another machine",
);
static FILES: Check = check(
    "config.files",
    "whether other users may write the configuration, which says what is run, or read its secrets and its store",
);
static SECRETS: Check = check(
    "config.secrets",
    "whether `env` or the arguments of a handler have something secret written down",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[
    &READ,
    &NEEDS,
    &LISTEN,
    &CERTIFICATES,
    &TARGETS,
    &FILES,
    &SECRETS,
];

/// What a configuration exposes.
#[derive(Default)]
struct Exposed {
    listeners: Vec<Listener>,
    /// Tables with a certificate, and for how many seconds that holds, or why it is of no use.
    certificates: Vec<(&'static str, Result<i64, Unusable>)>,
    /// Handlers, and where they call.
    targets: Vec<(String, String)>,
    files: Vec<File>,
    /// What is written down of handlers: where, the name, the value.
    written: Vec<(String, String, String)>,
}

struct Unusable {
    why: String,
    /// Whoever looks may not read it: the server may.
    is_closed: bool,
}

struct Listener {
    key: &'static str,
    address: SocketAddr,
    guarded: Guarded,
}

/// What stands between a listener and the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guarded {
    /// Tokens cross it, and nothing encrypts them.
    InClear,
    Encrypted,
    /// Signed, so that it can be read and not changed.
    Signed,
    /// Whoever reaches it may read it.
    Open,
}

struct File {
    path: PathBuf,
    holds: Holds,
    mode: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Configuration,
    Secret,
    Store,
}

pub(super) fn unreadable(error: &anyhow::Error) -> Finding {
    let told = match error.downcast_ref() {
        Some(Refused::Mistaken(problems)) => format!("{error}\n\n{problems}"),
        _ => format!("{error:#}"),
    };
    fail(
        &READ,
        told.trim_end(),
        "put right what is told: `steadfast serve --check` tells the same, and docs/reference/config.md has every key",
    )
}

pub(super) fn examine(config: &Config, paths: &[PathBuf]) -> Vec<Finding> {
    let named: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let told = format!(
        "{}: {} handlers, {} schedules",
        named.join(", "),
        config.handlers.len(),
        config.schedules.len()
    );
    let mut findings = match config.handlers.is_empty() && config.ids.is_none() {
        false => vec![ok(&READ, told)],
        true => {
            let fix = "add a [handlers.NAME] with exec = [\"PROGRAM\"]";
            vec![match config.api.enabled {
                true => warn(
                    &READ,
                    format!("{told}: nothing is to be run, and the API alone is served"),
                    fix,
                ),
                false => fail(
                    &READ,
                    format!("{told}: nothing is to be run, and `steadfast serve` refuses to start"),
                    fix,
                ),
            }]
        }
    };
    findings.extend(needs(config));
    findings.extend(judge(&gather(config, paths)));
    findings
}

fn needs(config: &Config) -> Vec<Finding> {
    let missing = look_at_needs(config, Looker::Somebody);
    if missing.is_empty() {
        return vec![ok(&NEEDS, "this machine has what handlers and ids name")];
    }
    let found = missing.iter().map(|problem| {
        let (file, place, why) = (problem.file(), problem.place(), problem.message());
        let says = format!("{file}:{place}: {why}");
        let fix = problem.fix().unwrap_or_default();
        match problem.level() {
            Level::Error => fail(&NEEDS, says, fix),
            Level::Warning => warn(&NEEDS, says, fix),
        }
    });
    found.collect()
}

fn gather(config: &Config, paths: &[PathBuf]) -> Exposed {
    let mut exposed = Exposed::default();
    let listen = |key, address, guarded| Listener {
        key,
        address,
        guarded,
    };
    exposed
        .listeners
        .push(listen("health.listen", config.health, Guarded::Open));
    if config.api.enabled {
        let guarded = match config.api.behind_proxy || config.api.tls.is_some() {
            true => Guarded::Encrypted,
            false => Guarded::InClear,
        };
        exposed
            .listeners
            .push(listen("api.listen", config.api.listen, guarded));
    }
    if let Some(calls) = &config.calls {
        let guarded = match calls.tls {
            Some(_) => Guarded::Encrypted,
            None => Guarded::Signed,
        };
        exposed
            .listeners
            .push(listen("calls.listen", calls.listen, guarded));
    }
    if let Some(ids) = &config.ids {
        // One in clear that others reach is refused where the configuration is read.
        let listener = listen("ids.listen", ids.listen, Guarded::Encrypted);
        exposed.listeners.push(listener);
    }
    let now_s = clock::timestamp().unix_millis().div_euclid(1_000);
    let calls = config.calls.as_ref().and_then(|calls| calls.tls.as_ref());
    let ids = config.ids.as_ref().and_then(|ids| ids.tls.as_ref());
    let certificates = [
        ("api", config.api.tls.as_ref()),
        ("calls", calls),
        ("ids", ids),
    ];
    for (section, files) in certificates {
        if let Some(files) = files {
            let loaded = Identity::load(files, now_s);
            let left_s = loaded.map(|identity| identity.validity.until_s - now_s);
            let left_s = left_s.map_err(|error| Unusable {
                why: format!("{error:#}"),
                is_closed: is_closed(&error),
            });
            exposed.certificates.push((section, left_s));
        }
    }
    let mut file = |path: &Path, holds| {
        // One that is not there is told by whoever needs it.
        if let Ok(found) = std::fs::metadata(path) {
            let (path, mode) = (path.to_owned(), found.mode());
            exposed.files.push(File { path, holds, mode });
        }
    };
    for path in paths {
        file(path, Holds::Configuration);
    }
    let token = config.ids.as_ref().and_then(|ids| ids.token.as_ref());
    if let Some(path) = token.and_then(|token| token.file()) {
        file(path, Holds::Secret);
    }
    if let Some(path) = config.store.secret().file() {
        file(path, Holds::Secret);
    }
    if let Ok(place) = config.store.config(&config.service)
        && let steadfast::store::Place::Sqlite(path) = place.place
    {
        file(&path, Holds::Store);
    }
    for (name, handler) in &config.handlers {
        match &handler.work {
            Work::Http(http) => {
                exposed.targets.push((name.clone(), http.url.clone()));
                if let Some(path) = http.secret.file() {
                    file(path, Holds::Secret);
                }
            }
            Work::Exec(exec) => {
                let place = format!("handlers.{name}.env");
                let env = exec.env.iter();
                exposed
                    .written
                    .extend(env.map(|(name, value)| (place.clone(), name.clone(), value.clone())));
                let place = format!("handlers.{name}.exec");
                let args = exec
                    .command
                    .iter()
                    .filter_map(|arg| arg.trim_start_matches('-').split_once('='));
                exposed.written.extend(
                    args.map(|(name, value)| (place.clone(), name.to_owned(), value.to_owned())),
                );
            }
        }
    }
    exposed
}

fn judge(exposed: &Exposed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |check: &'static Check, well: &str, found: Vec<Finding>| match found.is_empty() {
        true => findings.push(ok(check, well)),
        false => findings.extend(found),
    };
    let found = exposed.listeners.iter().filter_map(listener).collect();
    add(
        &LISTEN,
        "nothing that is secret can be reached in clear",
        found,
    );
    let found = exposed
        .certificates
        .iter()
        .filter_map(certificate)
        .collect();
    add(
        &CERTIFICATES,
        "every certificate that there is holds",
        found,
    );
    let found = exposed.targets.iter().filter_map(target).collect();
    add(&TARGETS, "no payload crosses the network in clear", found);
    let found = exposed.files.iter().filter_map(file).collect();
    add(
        &FILES,
        "no other user can change what is run, or read what is secret",
        found,
    );
    let found = exposed.written.iter().filter_map(written).collect();
    add(&SECRETS, "no secret is written down", found);
    findings
}

fn listener(listener: &Listener) -> Option<Finding> {
    let (key, address) = (listener.key, listener.address);
    if address.ip().is_loopback() {
        return None;
    }
    match listener.guarded {
        Guarded::Encrypted => None,
        Guarded::InClear => Some(fail(
            &LISTEN,
            format!(
                "{key} = \"{address}\" can be reached from other machines, and tokens would cross the network in clear: `steadfast serve` refuses to start"
            ),
            "give tls_certificate and tls_key, listen on 127.0.0.1, or set behind_proxy = true where a proxy with TLS is the only way to it",
        )),
        Guarded::Signed => Some(warn(
            &LISTEN,
            format!(
                "{key} = \"{address}\" can be reached from other machines: what is told is signed, and can be read on its way"
            ),
            "give tls_certificate and tls_key in [calls]",
        )),
        Guarded::Open => Some(warn(
            &LISTEN,
            format!(
                "{key} = \"{address}\" can be reached from other machines, and whoever reaches it may read the numbers"
            ),
            "let only your Prometheus and your probes through, or listen on 127.0.0.1",
        )),
    }
}

fn certificate((section, left_s): &(&'static str, Result<i64, Unusable>)) -> Option<Finding> {
    match left_s {
        Err(Unusable {
            why,
            is_closed: true,
        }) => Some(warn(
            &CERTIFICATES,
            format!("the certificate of [{section}] cannot be looked at: {why}"),
            "look as the user of the server, or let that one read it",
        )),
        Err(Unusable { why, .. }) => Some(fail(
            &CERTIFICATES,
            format!("the certificate of [{section}] cannot be used: {why}"),
            "put it right: `steadfast serve` refuses to start, and one that runs keeps the one before",
        )),
        Ok(left_s) if *left_s < SOON_S => Some(warn(
            &CERTIFICATES,
            format!(
                "the certificate of [{section}] expires in {} days",
                left_s / DAY_S
            ),
            "renew it: a server that runs reads it again by itself",
        )),
        Ok(_) => None,
    }
}

fn target((handler, url): &(String, String)) -> Option<Finding> {
    let rest = url.strip_prefix("http://")?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!is_here(host)).then(|| {
        warn(
            &TARGETS,
            format!("handlers.{handler} calls {host} in clear: signed, and its payloads can be read on their way"),
            "call it by https://",
        )
    })
}

/// The bits by which others may write, by which they may read, and by which the group may write.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const GROUP_WRITE: u32 = 0o020;

fn file(file: &File) -> Option<Finding> {
    let path = file.path.display();
    let mode = file.mode & 0o777;
    if file.holds == Holds::Configuration {
        return (mode & (OTHERS_WRITE | GROUP_WRITE) != 0).then(|| {
            fail(
                &FILES,
                format!(
                    "{path} (mode {mode:o}) can be written by others, who then say what is run here"
                ),
                format!("chmod go-w {path}"),
            )
        });
    }
    if mode & (OTHERS_READ | OTHERS_WRITE) == 0 {
        return None;
    }
    let fix = format!("chmod o= {path}");
    Some(match file.holds {
        Holds::Secret => fail(
            &FILES,
            format!("{path} (mode {mode:o}) is a secret that every user of this machine can read"),
            fix,
        ),
        _ => warn(
            &FILES,
            format!(
                "{path} (mode {mode:o}) has the payloads of all jobs, and every user of this machine can read it"
            ),
            fix,
        ),
    })
}

/// What names of secrets have in them, and what they end with.
const SECRET_PARTS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
];
const SECRET_ENDS: &[&str] = &["_KEY", "_PASS", "_PW", "_PWD"];

fn written((place, name, value): &(String, String, String)) -> Option<Finding> {
    let upper = name.to_uppercase().replace('-', "_");
    let by_name = SECRET_PARTS.iter().any(|part| upper.contains(part))
        || SECRET_ENDS.iter().any(|end| upper.ends_with(end));
    // Where it is said is no secret.
    let is_place = value.is_empty()
        || value.starts_with('/')
        || ["_FILE", "_PATH", "_DIR"]
            .iter()
            .any(|end| upper.ends_with(end));
    let by_value = value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.split_once(':')
            .is_some_and(|(_, password)| !password.is_empty())
    });
    ((by_name && !is_place) || by_value).then(|| {
        fail(
            &SECRETS,
            format!("{place} has {name} written down: whoever reads the file has it"),
            "take it out, set the variable for the server, and name it in pass_env",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn worst(exposed: &Exposed) -> Vec<(&'static str, Verdict)> {
        let findings = judge(exposed);
        let told = findings
            .iter()
            .filter(|finding| finding.verdict != Verdict::Ok);
        told.map(|finding| (finding.check.name, finding.verdict))
            .collect()
    }

    #[test]
    fn what_others_can_reach_in_clear_is_told() {
        let check = |address: &str, guarded, expect: &[(&'static str, Verdict)]| {
            let address = address.parse().unwrap();
            let listeners = vec![Listener {
                key: "x",
                address,
                guarded,
            }];
            assert_eq!(
                worst(&Exposed {
                    listeners,
                    ..Exposed::default()
                }),
                expect,
                "{address}"
            );
        };
        let (failed, warned) = (
            ("config.listen", Verdict::Fail),
            ("config.listen", Verdict::Warn),
        );

        for guarded in [
            Guarded::InClear,
            Guarded::Encrypted,
            Guarded::Signed,
            Guarded::Open,
        ] {
            check("127.0.0.1:1", guarded, &[]);
            check("[::1]:1", guarded, &[]);
        }
        check("0.0.0.0:1", Guarded::InClear, &[failed]);
        check("[::]:1", Guarded::InClear, &[failed]);
        check("10.0.0.5:1", Guarded::Encrypted, &[]);
        check("10.0.0.5:1", Guarded::Signed, &[warned]);
        check("10.0.0.5:1", Guarded::Open, &[warned]);
    }

    #[test]
    fn certificates_that_end_or_are_of_no_use_are_told() {
        let check = |left_s: Result<i64, (&str, bool)>, expect| {
            let unusable = left_s.map_err(|(why, is_closed)| Unusable {
                why: why.to_owned(),
                is_closed,
            });
            let found = certificate(&("api", unusable));
            assert_eq!(found.map(|finding| finding.verdict), expect, "{left_s:?}");
        };

        check(Ok(SOON_S), None);
        check(Ok(SOON_S - 1), Some(Verdict::Warn));
        check(Err(("it has expired", false)), Some(Verdict::Fail));
        check(Err(("permission denied", true)), Some(Verdict::Warn));
    }

    #[test]
    fn calls_in_clear_to_other_machines_are_told() {
        let check = |url: &str, is_well: bool| {
            let targets = vec![("mail".to_owned(), url.to_owned())];
            let worst = worst(&Exposed {
                targets,
                ..Exposed::default()
            });
            assert_eq!(worst.is_empty(), is_well, "{url}: {worst:?}");
        };

        check("https://mail.internal/x", true);
        check("http://localhost:80/x", true);
        check("http://127.0.0.1/x", true);
        check("http://[::1]:80/x", true);
        check("http://mail.internal/x", false);
        check("http://localhost.example:80", false);
    }

    #[test]
    fn files_are_judged_by_what_they_hold() {
        let check = |holds, mode, expect: Option<Verdict>| {
            let file = File {
                path: "f".into(),
                holds,
                mode,
            };
            assert_eq!(
                super::file(&file).map(|finding| finding.verdict),
                expect,
                "{mode:o}"
            );
        };

        check(Holds::Configuration, 0o100_644, None);
        check(Holds::Configuration, 0o100_664, Some(Verdict::Fail));
        check(Holds::Configuration, 0o100_646, Some(Verdict::Fail));
        check(Holds::Secret, 0o100_640, None);
        check(Holds::Secret, 0o100_644, Some(Verdict::Fail));
        check(Holds::Store, 0o100_600, None);
        check(Holds::Store, 0o100_644, Some(Verdict::Warn));
    }

    #[test]
    fn what_looks_like_a_secret_is_told_and_where_one_is_is_not() {
        let check = |name: &str, value: &str, is_well: bool| {
            let written = super::written(&("handlers.a.env".into(), name.into(), value.into()));
            assert_eq!(written.is_none(), is_well, "{name}");
            // Never what it is.
            assert!(written.is_none_or(|finding| !finding.says.contains("hunter2")));
        };

        check("MODE", "full", true);
        check("MAX_TOKENS_FILE", "/run/secrets/x", true);
        check("DB_PASSWORD", "hunter2", false);
        check("api-key", "hunter2", false);
        check("STRIPE_KEY", "hunter2", false);
        check("KEYBOARD", "de", true);
        check("DB_PASSWORD_FILE", "/run/secrets/db", true);
        check("DATABASE_URL", "postgres://app:hunter2@db/orders", false);
        check("DATABASE_URL", "postgres://app@db/orders", true);
        check("TOKEN", "", true);
    }
}
