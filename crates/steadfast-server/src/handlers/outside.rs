//! What lies between this process and services outside of it: one guard, for the calls it makes and for
//! those that tell it of long work.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use steadfast::Shutdown;
use steadfast::tower::{Guard, PolicyDocument};
use tokio::net::TcpListener;

use super::http::Target;
use super::http::calls::{self, Calls, ROUTE};
use super::http::client::{Client, Transport};
use super::http::waiting::Waiting;
use crate::config::{Config, Http, Work};
use crate::tls::Tls;

/// The shortest secret: 32 bytes, as many as a signature has.
pub(crate) const SECRET_BYTES_MIN: usize = 32;

/// The targets of handlers, and what is served for them. A cheap clone.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(super) targets: Arc<BTreeMap<String, Arc<Target>>>,
    guard: Guard,
    calls: Calls,
}

impl Outside {
    /// Looks up the secrets, and makes the guard and the ways to the targets.
    pub(crate) fn new(config: &Config, calls_at: Option<SocketAddr>) -> anyhow::Result<Self> {
        let https: Vec<(&String, &Http)> = config
            .handlers
            .iter()
            .filter_map(|(name, handler)| match &handler.work {
                Work::Http(http) => Some((name, http)),
                Work::Exec(_) => None,
            })
            .collect();
        let policy = PolicyDocument::new(
            "what is between this process and services",
            policy(config.calls.is_some(), &https),
        )
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let guard = Guard::new(policy)?;
        let url = config.calls.as_ref().and_then(|calls| {
            let scheme = if calls.tls.is_some() { "https" } else { "http" };
            let own = calls_at.map(|address| format!("{scheme}://{address}"));
            calls.url.clone().or(own)
        });
        let waiting = Waiting::default();
        // One for all who trust the same.
        let mut transports: BTreeMap<Option<&PathBuf>, Transport> = BTreeMap::new();
        let (mut targets, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (name, http) in https {
            let secret = http.secret.look_up();
            let secret = secret.with_context(|| format!("handlers.{name}.secret"))?;
            secrets.insert(name.clone(), secret.clone());
            let transport = match transports.entry(http.ca.as_ref()) {
                Entry::Occupied(made) => made.into_mut(),
                Entry::Vacant(place) => {
                    let transport = Transport::new(http.ca.as_deref());
                    place.insert(transport.with_context(|| format!("handlers.{name}.ca"))?)
                }
            };
            let target = Target {
                name: name.clone(),
                http: http.clone(),
                secret,
                client: Client::new(&guard, name, transport)?,
                waiting: waiting.clone(),
                calls_url: url.clone(),
            };
            targets.insert(name.clone(), Arc::new(target));
        }
        let calls = Calls {
            waiting,
            secrets: Arc::new(secrets),
        };
        Ok(Self {
            targets: Arc::new(targets),
            guard,
            calls,
        })
    }

    /// Gives what stands between both, to be looked at and changed.
    pub(crate) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Serves the words about long work. It goes on while jobs are drained, since they wait for it: the
    /// guard is not told of the shutdown.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Tls>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let app = self
            .guard
            .protect(calls::router(self.calls.clone()))
            .await?;
        let over = shutdown.token();
        let mut serve = self.guard.serve(listener, app).connections(1_000);
        if let Some(tls) = tls {
            serve = serve.over(move |stream| tls.accept(stream));
        }
        let _ = over.run(serve.into_future()).await;
        Ok(())
    }
}

/// What is said of targets and of calls, as a policy. Names have only letters that need no escape.
fn policy(has_calls: bool, https: &[(&String, &Http)]) -> String {
    let mut policy = String::new();
    // A route that nobody serves would be one that is not armed.
    if has_calls {
        let _ = write!(
            policy,
            r#"
[timeouts.calls]
timeout = "10s"
[admissions.calls]
permits = 64
queue = 256
queue_wait = "2s"
[routes."POST {ROUTE}"]
tier = "core"
timeout = "calls"
admission = "calls"
"#
        );
    }
    for (name, http) in https {
        let _ = writeln!(
            policy,
            r#"
[timeouts."{name}"]
timeout = "{within}ms"
body_idle = "{idle}ms"
body_total = "{total}ms"
[breakers."{name}"]
consecutive = {failures}
half_open = 1
[dependencies."{name}"]
methods = ["POST"]
timeout = "{name}"
breaker = "{name}""#,
            within = http.answer_within.as_millis().max(1),
            idle = (http.answer_within.as_millis() / 2).max(1),
            // A body that stands still is cut off sooner.
            total = (http.answer_within.as_millis() * 2).clamp(2, 3_600_000),
            failures = http.breaker,
        );
    }
    policy
}
