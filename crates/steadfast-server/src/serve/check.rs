//! What a configuration needs of the machine that it is served on, looked at before anything is started.

use std::io;
use std::net::SocketAddr;

use steadfast::clock;
use steadfast::jobs::schedule::Missed;
use steadfast::settings::{FieldPath, Level, Problem};

use super::ids;
use crate::api::check_exposure;
use crate::config::{Config, Secret, Work};
use crate::handlers::{self, Comes};
use crate::tls::{self, Identity};

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looker {
    /// The server, which is about to start.
    Server,
    /// Whoever wants to know. The server may have what this process lacks: a variable, the rights of root.
    Somebody,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) problems: Vec<Problem>,
    /// Whether there is an error that stays however often a start is tried. Others may pass: a disk that is not mounted yet, a
    /// certificate that is just being renewed, a clock before it is set.
    pub(crate) is_lasting: bool,
}

/// Tells all that keeps a server with this configuration from starting here.
pub(crate) fn look(config: &Config, looker: Looker) -> Found {
    let mut look = Look::new(config, looker);
    look.work();
    look.store();
    look.listeners();
    look.certificates();
    look.needs();
    look.found
}

/// Tells what handlers and ids need and do not find.
pub(crate) fn look_at_needs(config: &Config, looker: Looker) -> Vec<Problem> {
    let mut look = Look::new(config, looker);
    look.needs();
    look.found.problems
}

struct Look<'c> {
    config: &'c Config,
    looker: Looker,
    found: Found,
}

impl<'c> Look<'c> {
    fn new(config: &'c Config, looker: Looker) -> Self {
        Self {
            config,
            looker,
            found: Found {
                problems: Vec::new(),
                is_lasting: false,
            },
        }
    }

    fn tell(&mut self, level: Level, field: &[&str], why: impl Into<String>, fix: &str) {
        let (source, span) = self.config.documents.find(&path(field));
        let problem = match level {
            Level::Error => Problem::error(source, span, why),
            Level::Warning => Problem::warning(source, span, why),
        };
        self.found.problems.push(problem.with_fix(fix));
    }

    fn refuse(&mut self, field: &[&str], why: impl Into<String>, fix: &str) {
        self.found.is_lasting = true;
        self.tell(Level::Error, field, why, fix);
    }

    /// Refuses what the server may have, unless it is but looked at.
    fn lack(&mut self, field: &[&str], why: impl Into<String>, fix: &str) {
        match self.looker {
            Looker::Server => self.refuse(field, why, fix),
            Looker::Somebody => self.tell(Level::Warning, field, why, fix),
        }
    }

    /// Tells that a file cannot be used, which may pass: also that the server may not read it, while it is being replaced.
    /// Anybody else who may not read it cannot know.
    fn unusable(&mut self, field: &[&str], error: &anyhow::Error, fix: &str) {
        let (level, fix) = match (is_closed(error), self.looker) {
            (false, _) => (Level::Error, fix),
            (true, Looker::Server) => (Level::Error, "let the user of the server read it"),
            (true, Looker::Somebody) => (
                Level::Warning,
                "look as the user of the server, or let that one read it",
            ),
        };
        self.tell(level, field, format!("{error:#}"), fix);
    }

    fn work(&mut self) {
        let config = self.config;
        if config.handlers.is_empty() && config.ids.is_none() {
            let (why, fix) = (
                "nothing is to be run",
                "add a [handlers.NAME] with exec = [\"PROGRAM\"]",
            );
            // An API alone looks at the work of others.
            match config.api.enabled {
                true => self.tell(Level::Warning, &[], why, fix),
                false => self.refuse(&[], why, fix),
            }
        }
        for (name, schedule) in &config.schedules {
            let plan = schedule.0.plan();
            if plan.upcoming(clock::timestamp(), 1).is_empty() {
                let why = match plan.missed() {
                    Missed::Skip => "its time has passed: it never runs",
                    _ => "its time has passed: a store to which it is new may run it at once",
                };
                let fix = "write a time to come, or take the schedule out";
                self.tell(Level::Warning, &["schedules", name, "rule"], why, fix);
            }
        }
        if let Some(ids) = &config.ids
            && ids.generators.is_empty()
        {
            self.refuse(
                &["ids", "listen"],
                "there is an address, and there are no ids",
                "add a [generators.NAME]",
            );
        }
    }

    fn store(&mut self) {
        let (field, place) = (["store", "url"], &self.config.store);
        if self.is_set(&field, place.secret())
            && let Err(error) = place.config(&self.config.service)
        {
            let fix = "write where the store is, or put it into the file or the variable";
            match place.secret().file() {
                Some(_) => self.unusable(&field, &error, fix),
                None => self.refuse(&field, format!("{error:#}"), fix),
            }
        }
    }

    fn listeners(&mut self) {
        let config = self.config;
        if config.api.enabled && check_exposure(&config.api).is_err() {
            self.refuse(
                &["api", "listen"],
                "other machines reach this address, and tokens would cross the network in clear",
                "give tls_certificate and tls_key, listen on 127.0.0.1, or set behind_proxy = true where a proxy with TLS \
                 is the only way to it",
            );
        }
        let api = Some(config.api.listen).filter(|_| config.api.enabled);
        let all = [
            ("health", Some(config.health)),
            ("api", api),
            ("calls", config.calls.as_ref().map(|calls| calls.listen)),
            ("ids", config.ids.as_ref().map(|ids| ids.listen)),
        ];
        let all = all.into_iter();
        let all: Vec<_> = all.filter_map(|(name, at)| Some((name, at?))).collect();
        let apart = is_apart();
        for (number, (name, address)) in all.iter().enumerate() {
            let first = all[..number]
                .iter()
                .find(|(_, other)| meet(other, address, apart));
            if let Some((other, _)) = first {
                self.refuse(
                    &[name, "listen"],
                    format!("[{other}] listens on {address}, too"),
                    "give each an address of its own",
                );
            }
        }
    }

    fn certificates(&mut self) {
        let config = self.config;
        let api = config.api.tls.as_ref().filter(|_| config.api.enabled);
        let calls = config.calls.as_ref().and_then(|calls| calls.tls.as_ref());
        let ids = config.ids.as_ref().and_then(|ids| ids.tls.as_ref());
        let now_s = clock::timestamp().unix_millis().div_euclid(1_000);
        for (section, files) in [("api", api), ("calls", calls), ("ids", ids)] {
            if let Some(files) = files
                && let Err(error) = Identity::load(files, now_s)
            {
                let error = error.context(format!("the certificate of [{section}] cannot be used"));
                let fix = "put the files right, or name others";
                self.unusable(&[section, "tls_certificate"], &error, fix);
            }
        }
    }

    fn needs(&mut self) {
        self.programs();
        for (name, handler) in &self.config.handlers {
            let Work::Http(http) = &handler.work else {
                continue;
            };
            let field = ["handlers", name.as_str(), "secret"];
            self.secret(&field, &http.secret, handlers::SECRET_BYTES_MIN);
            if let Some(ca) = &http.ca
                && let Err(error) = tls::connector(Some(ca))
            {
                let fix = "name a file with the certificates of the authority, in PEM";
                self.unusable(&["handlers", name, "ca"], &error, fix);
            }
        }
        let ids = self.config.ids.as_ref();
        if let Some(token) = ids.and_then(|ids| ids.token.as_ref()) {
            self.secret(&["ids", "token"], token, ids::TOKEN_BYTES_MIN);
        }
    }

    fn programs(&mut self) {
        let handlers = self.config.handlers.iter();
        let programs = handlers.filter_map(|(name, handler)| match &handler.work {
            Work::Exec(exec) => Some((name, exec)),
            Work::Http(_) => None,
        });
        let looked = handlers::look(programs.clone().map(|(_, exec)| exec));
        for ((name, _), missing) in programs.zip(looked) {
            for missing in missing {
                let field = ["handlers", name, missing.key];
                match (missing.comes, self.looker) {
                    (Comes::WithRights, _) => self.lack(&field, missing.why, missing.fix),
                    // All other handlers go on meanwhile.
                    (Comes::Later, Looker::Server) => {
                        self.tell(Level::Warning, &field, missing.why, missing.fix);
                    }
                    (Comes::Later, Looker::Somebody) => {
                        self.tell(Level::Error, &field, missing.why, missing.fix);
                    }
                }
            }
        }
    }

    fn secret(&mut self, field: &[&str], secret: &Secret, bytes_min: usize) {
        if !self.is_set(field, secret) {
            return;
        }
        let fix = "`openssl rand -hex 32` makes one";
        match secret.look_up() {
            Ok(text) if text.len() >= bytes_min => {}
            Ok(text) => {
                let has = text.len();
                let why = format!("it has {has} bytes, and needs at least {bytes_min}");
                match secret.file() {
                    Some(_) => self.tell(Level::Error, field, why, fix),
                    None => self.refuse(field, why, fix),
                }
            }
            Err(error) => self.unusable(field, &error, fix),
        }
    }

    /// Tells whether it can be looked at, and that its variable is not set if that is why not.
    fn is_set(&mut self, field: &[&str], secret: &Secret) -> bool {
        let unset = secret
            .variable()
            .filter(|name| std::env::var_os(name).is_none());
        let Some(name) = unset else {
            return true;
        };
        let fix = format!("set {name} for the server");
        self.lack(field, format!("the variable {name} is not set here"), &fix);
        false
    }
}

/// Tells whether a file may not be read by whoever looks.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied)
}

fn path(field: &[&str]) -> FieldPath {
    FieldPath::new(field.iter().copied())
}

/// Whether all addresses of IPv6 have none of IPv4 in them on this machine.
fn is_apart() -> bool {
    let only = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    only.is_ok_and(|only| only.trim() == "1")
}

/// Whether two listeners are in each other's way. All addresses of IPv6 have those of IPv4 in them, unless they are kept
/// apart.
fn meet(one: &SocketAddr, other: &SocketAddr, apart: bool) -> bool {
    let has = |all: &SocketAddr, one: &SocketAddr| {
        let has_all = all.is_ipv6() && !apart;
        all.ip().is_unspecified() && (has_all || all.is_ipv6() == one.is_ipv6())
    };
    one.port() == other.port()
        && one.port() != 0
        && (has(one, other) || has(other, one) || one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_meet_where_one_address_has_the_other_in_it() {
        let checked = |one: &str, other: &str, apart, expect| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(meet(&one, &other, apart), expect, "{one} {other}");
            assert_eq!(meet(&other, &one, apart), expect, "{other} {one}");
        };
        let check = |one: &str, other: &str, expect| checked(one, other, false, expect);

        check("127.0.0.1:4010", "127.0.0.1:4010", true);
        check("127.0.0.1:4010", "127.0.0.1:4011", false);
        check("127.0.0.1:4010", "10.0.0.1:4010", false);
        check("0.0.0.0:4010", "127.0.0.1:4010", true);
        check("[::1]:4010", "127.0.0.1:4010", false);
        check("[::]:4010", "[::1]:4010", true);
        check("[::]:4010", "127.0.0.1:4010", true);
        check("[::]:4010", "0.0.0.0:4010", true);
        check("[::1]:4010", "0.0.0.0:4010", false);
        checked("[::]:4010", "0.0.0.0:4010", true, false);
        checked("[::]:4010", "[::1]:4010", true, true);
        checked("0.0.0.0:4010", "127.0.0.1:4010", true, true);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }
}
