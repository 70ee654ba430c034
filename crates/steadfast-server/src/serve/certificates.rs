//! The certificates of our listeners, which change while we run.

use std::time::Duration;

use anyhow::Context;
use steadfast::clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::tls::{Files, Tls};

/// How often their files are looked at: every 10 s. Whoever cannot wait sends SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Certificates {
    pub(super) api: Option<Tls>,
    pub(super) calls: Option<Tls>,
    pub(super) ids: Option<Tls>,
    hangup: Signal,
}

impl Certificates {
    /// Reads them for the first time. From now on SIGHUP does not end the program.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let load = |section: &'static str, files: Option<&Files>| {
            let loaded = files.map(Tls::load).transpose();
            loaded.with_context(|| format!("the certificate of [{section}] cannot be used"))
        };
        let api = Some(&config.api).filter(|api| api.enabled);
        let (calls, ids) = (config.calls.as_ref(), config.ids.as_ref());
        Ok(Self {
            api: load("api", api.and_then(|api| api.tls.as_ref()))?,
            calls: load("calls", calls.and_then(|calls| calls.tls.as_ref()))?,
            ids: load("ids", ids.and_then(|ids| ids.tls.as_ref()))?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reads them again whenever their files have changed, or SIGHUP comes. Does not end.
    pub(super) async fn follow(mut self) {
        let all = [self.api, self.calls, self.ids];
        let mut all: Vec<Tls> = all.into_iter().flatten().collect();
        loop {
            let is_asked = tokio::select! {
                () = clock::sleep(LOOK_EVERY) => false,
                _ = self.hangup.recv() => true,
            };
            for tls in &mut all {
                tls.look(is_asked);
            }
        }
    }
}
