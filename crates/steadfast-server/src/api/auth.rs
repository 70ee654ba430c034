//! Who may do what: tokens, roles, named actions.

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use hmac_sha256::Hash;
use steadfast::Timestamp;
use steadfast::store::{Error, Store, binds};

use super::problem::Problem;
use super::types;
use crate::{sql, time};

/// With what a token begins, so that scanners for secrets know it.
const MARK: &str = "sf_";

/// How many random bytes a token has: 32, which nobody guesses.
const TOKEN_BYTES: usize = 32;

/// How long a token may hold: an hour to a year.
pub(crate) const HOLDS_MIN: Duration = Duration::from_secs(3_600);
pub(crate) const HOLDS_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Something that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action(pub(crate) &'static str);

#[cfg(test)]
impl Action {
    /// Whether it changes anything.
    pub(crate) fn changes(self) -> bool {
        !self.0.ends_with(".read")
    }
}

/// A set of actions with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// What it may do, in groups.
    actions: &'static [&'static [&'static str]],
}

/// Every action, in groups.
pub(crate) const ACTIONS: [&[&str]; 3] = [LOOK, OPERATE, ADMINISTER];

const LOOK: &[&str] = &[
    "status.read",
    "jobs.read",
    "queues.read",
    "schedules.read",
    "nodes.read",
    "panics.read",
    "routes.read",
    "policy.read",
];

const OPERATE: &[&str] = &[
    "audit.read",
    "jobs.enqueue",
    "jobs.run",
    "jobs.cancel",
    "jobs.redrive",
    "queues.pause",
    "schedules.run",
    "schedules.pause",
    "schedules.backfill",
    "policy.override",
    "breakers.force",
];

const ADMINISTER: &[&str] = &[
    "schedules.write",
    "policy.write",
    "tokens.read",
    "tokens.write",
];

pub(crate) const ROLES: [Role; 3] = [
    Role {
        name: "viewer",
        actions: &[LOOK],
    },
    Role {
        name: "operator",
        actions: &[LOOK, OPERATE],
    },
    Role {
        name: "admin",
        actions: &[LOOK, OPERATE, ADMINISTER],
    },
];

impl Role {
    pub(crate) fn named(name: &str) -> Option<Self> {
        ROLES.into_iter().find(|role| role.name == name)
    }

    pub(crate) fn may(self, action: Action) -> bool {
        self.actions.iter().any(|group| group.contains(&action.0))
    }
}

/// What somebody may do: what a role may, or actions that were named one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    Role(Role),
    Actions(Vec<Action>),
}

impl Rights {
    /// Reads what a token is to be made for.
    pub(crate) fn asked(role: Option<&str>, actions: Option<&[String]>) -> Result<Self, Problem> {
        let known = |name: &str| {
            let known = ACTIONS.into_iter().flatten().find(|known| **known == name);
            known.map(|known| Action(known)).ok_or_else(|| {
                let known: Vec<&str> = ACTIONS.concat();
                Problem::refused(format!("there is no action {name:?}"))
                    .with_fix(format!("say some of {}", known.join(", ")))
            })
        };
        match (role, actions) {
            (Some(name), None) => Role::named(name).map(Self::Role).ok_or_else(|| {
                Problem::refused(format!("there is no role {name:?}"))
                    .with_fix("say viewer, operator or admin")
            }),
            (None, Some(names)) if !names.is_empty() => {
                let mut actions = names
                    .iter()
                    .map(|name| known(name))
                    .collect::<Result<Vec<_>, _>>()?;
                actions.sort_unstable_by_key(|action| action.0);
                actions.dedup();
                Ok(Self::Actions(actions))
            }
            _ => Err(Problem::refused(
                "a token has a role, or actions that are named, and not both",
            )),
        }
    }

    /// Reads what a token was made for. What only a newer program knows gives no rights here.
    fn stored(role: &str, actions: Option<&str>) -> Option<Self> {
        let Some(actions) = actions else {
            return Role::named(role).map(Self::Role);
        };
        let known = ACTIONS.into_iter().flatten().copied();
        let known = known.filter(|known| actions.split(' ').any(|name| name == *known));
        Some(Self::Actions(known.map(Action).collect()))
    }

    pub(crate) fn may(&self, action: Action) -> bool {
        match self {
            Self::Role(role) => role.may(action),
            Self::Actions(actions) => actions.contains(&action),
        }
    }

    /// Gives something that others may and these may not.
    pub(crate) fn lacks(&self, others: &Self) -> Option<Action> {
        let all = ACTIONS.into_iter().flatten().copied().map(Action);
        all.into_iter()
            .find(|action| others.may(*action) && !self.may(*action))
    }

    fn role(&self) -> Option<&'static str> {
        match self {
            Self::Role(role) => Some(role.name),
            Self::Actions(_) => None,
        }
    }

    fn actions(&self) -> Option<String> {
        match self {
            Self::Role(_) => None,
            Self::Actions(actions) => {
                let names: Vec<&str> = actions.iter().map(|action| action.0).collect();
                Some(names.join(" "))
            }
        }
    }
}

/// In words: `viewer`, or `jobs.read, jobs.run`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => f.write_str(role.name),
            Self::Actions(_) => {
                let actions = self.actions().unwrap_or_default();
                f.write_str(&actions.replace(' ', ", "))
            }
        }
    }
}

/// Somebody who is known by a token.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) rights: Rights,
    /// The number of the token; nothing of one who needs none.
    token: Option<i64>,
    /// The hash of the token.
    hash: Option<String>,
}

impl Actor {
    /// Somebody who works on the store itself, with the rights of whoever can read where it is.
    pub(crate) fn at_the_store() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        Self {
            name: format!("user {uid} of {host} (at the store)"),
            rights: Rights::Role(ROLES[2]),
            token: None,
            hash: None,
        }
    }

    /// Finds again who is known by the token, if it still holds.
    pub(crate) async fn still(&self, store: &Store) -> Result<Option<Self>, Error> {
        match &self.hash {
            Some(hash) => by_hash(store, hash.clone()).await,
            None => Ok(Some(self.clone())),
        }
    }
}

/// Gives the token that a request says, by a scheme whose letters may be of either size.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Finds who is known by a token.
pub(crate) async fn find(store: &Store, token: &str) -> Result<Option<Actor>, Error> {
    if !token.starts_with(MARK) || token.len() != MARK.len() + TOKEN_BYTES * 2 {
        return Ok(None);
    }
    by_hash(store, hash(token)).await
}

async fn by_hash(store: &Store, hash: String) -> Result<Option<Actor>, Error> {
    let rows = store.ask(&sql::TOKEN_FIND, binds![hash.as_str()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (id, name): (i64, &str) = (row.get(0)?, row.get(1)?);
    let rights = Rights::stored(row.get(2)?, row.get(3)?);
    Ok(rights.map(|rights| Actor {
        name: format!("{name} (token {id})"),
        rights,
        token: Some(id),
        hash: Some(hash),
    }))
}

/// Makes a token, and gives it this once. One that a token makes holds no longer than that.
pub(crate) async fn make(
    store: &Store,
    maker: &Actor,
    name: &str,
    rights: &Rights,
    holds: Duration,
) -> Result<types::MadeToken, Problem> {
    if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
        return Err(Problem::refused(
            "a name has 1 to 100 bytes without control characters",
        ));
    }
    if !(HOLDS_MIN..=HOLDS_MAX).contains(&holds) {
        return Err(Problem::refused("a token holds an hour to a year")
            .with_fix("say expires_in: \"720h\""));
    }
    let token = random()?;
    let holds_us = i64::try_from(holds.as_micros()).unwrap_or(i64::MAX);
    let role = rights.role().unwrap_or_default();
    let binds = binds![
        name,
        hash(&token),
        role,
        holds_us,
        rights.actions(),
        maker.token
    ];
    let rows = store.run(&sql::TOKEN_PUT, binds).await?;
    let Some(row) = rows.first() else {
        return Err(Problem::unknown_token("your token holds no more"));
    };
    Ok(types::MadeToken {
        id: row.get(0)?,
        token,
        expires: moment(row.get(1)?),
    })
}

/// Revokes a token that holds, and all that it has made, and those; gives what was revoked with it, in words.
pub(crate) async fn revoke(store: &Store, id: i64) -> Result<Option<String>, Problem> {
    let revoked: Result<Option<Vec<(i64, String)>>, Error> = store
        .write(async |mut tx| {
            if tx.run(&sql::TOKEN_REVOKE, binds![id]).await?.is_empty() {
                return Ok(None);
            }
            let (mut makers, mut made) = (vec![id], Vec::new());
            // Each look is a new one: what was made meanwhile is found, and who is revoked makes no more.
            while !makers.is_empty() {
                let rows = tx.run(&sql::TOKEN_REVOKE_MADE, binds![makers]).await?;
                makers = Vec::new();
                for row in &rows {
                    makers.push(row.get(0)?);
                    made.push((row.get(0)?, row.get(1)?));
                }
            }
            Ok(Some(made))
        })
        .await;
    match revoked? {
        None => Err(Problem::not_found(format!("no token {id} holds"))),
        Some(made) if made.is_empty() => Ok(None),
        Some(made) => Ok(Some(with_it(&made))),
    }
}

/// How many of those that were revoked with their maker are named: 20, as many as fit a screen.
const NAMED_MAX: usize = 20;

fn with_it(made: &[(i64, String)]) -> String {
    let named = made.iter().take(NAMED_MAX);
    let named: Vec<String> = named.map(|(id, name)| format!("{id} ({name})")).collect();
    let more = match made.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "what it has made is revoked with it: {}{more}",
        named.join(", ")
    )
}

pub(crate) async fn list(
    store: &Store,
    before: i64,
    count: usize,
) -> Result<Vec<types::Token>, Error> {
    let rows = store
        .ask(&sql::TOKEN_LIST, binds![before, count as i64])
        .await?;
    let tokens = rows.iter().map(|row| {
        Ok(types::Token {
            id: row.get(0)?,
            name: row.get(1)?,
            role: Some(row.get::<String>(2)?).filter(|role| !role.is_empty()),
            actions: row
                .get::<Option<&str>>(3)?
                .map(|actions| actions.split(' ').map(str::to_owned).collect()),
            created: moment(row.get(4)?),
            expires: moment(row.get(5)?),
            revoked: row.get::<Option<i64>>(6)?.map(moment),
            made_by: row.get(7)?,
        })
    });
    tokens.collect()
}

fn random() -> Result<String, Problem> {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut bytes = [0; TOKEN_BYTES];
    let got = getrandom(&mut bytes, GetRandomFlags::empty());
    // The kernel gives that many at once, or says why not.
    match got {
        Ok(count) if count == TOKEN_BYTES => Ok(format!("{MARK}{}", digits(&bytes))),
        _ => Err(Problem::internal("the system gives no random bytes")),
    }
}

fn hash(token: &str) -> String {
    digits(&Hash::hash(token.as_bytes()))
}

fn digits(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

pub(super) fn moment(us: i64) -> String {
    time::text(Timestamp::from_unix_millis(us.div_euclid(1_000)))
}
