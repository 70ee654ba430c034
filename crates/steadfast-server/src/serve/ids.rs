//! The service of ids: leases, their listener, and its end.
//!
//! It has connections of its own to the store, so that neither waits for jobs nor keeps them waiting.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use hmac_sha256::Hash;
use steadfast::decide::backoff::Backoff;
use steadfast::ids::http::{IdService, IdServiceBuilder};
use steadfast::ids::{self, DenseConfig, Generator, Ids, LeaseConfig};
use steadfast::store::{self, Store};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{Cancel, Shutdown, clock, rng};
use tokio::net::TcpListener;

use super::{WAIT_FIRST, WAIT_LONGEST, passes};
use crate::api::auth;
use crate::config::{self, Config};
use crate::listen::listen;
use crate::tls::Tls;

/// How many connections to the store it has of its own: 2. A lease is renewed and a range fetched now and then.
const CONNECTIONS: usize = 2;

/// How many clients at once: 1,000, many times what keeps two cores busy.
const CLIENTS: usize = 1_000;

/// The shortest token: 32 bytes, which nobody guesses.
pub(super) const TOKEN_BYTES_MIN: usize = 32;

/// How the service is; for readiness. A cheap clone.
#[derive(Clone, Default)]
pub(super) struct Handing(Arc<Mutex<Now>>);

#[derive(Default)]
struct Now {
    /// Why it is not there yet.
    waits: Option<String>,
    held: Vec<(String, Generator)>,
}

/// The service, with its socket.
pub(super) struct IdServer {
    listener: TcpListener,
    /// What is compared is the hash, so that the time of it tells nothing.
    token: Option<[u8; 32]>,
    generators: Vec<(String, config::Generator)>,
    place: store::Config,
    handing: Handing,
}

impl Handing {
    /// Says why ids are not handed out, if they are not.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        if let Some(why) = &state.waits {
            return Some(why.clone());
        }
        let lost = state.held.iter().find(|(_, held)| !held.is_held());
        lost.map(|(name, _)| format!("the worker id of {name:?} is not held"))
    }

    fn waits(&self, why: String) {
        self.state().waits = Some(why);
    }

    fn held(&self, name: &str, generator: Generator) {
        self.state().held.push((name.to_owned(), generator));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdServer {
    /// Takes the address; `None` where no ids are handed out.
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(told) = &config.ids else {
            return Ok(None);
        };
        let token = match &told.token {
            None => None,
            Some(token) => {
                let token = token.look_up().context("ids.token")?;
                Some(Hash::hash(token.as_bytes()))
            }
        };
        let listener = TcpListener::from_std(listen(told.listen, "in [ids]")?)?;
        let place = config.store.config(&format!("{} ids", config.service))?;
        let place = store::Config {
            connections_max: CONNECTIONS,
            ..place
        };
        let handing = Handing::default();
        handing.waits("worker ids are being leased".into());
        Ok(Some(Self {
            listener,
            token,
            generators: told.generators.clone().into_iter().collect(),
            place,
            handing,
        }))
    }

    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    pub(super) fn handing(&self) -> Handing {
        self.handing.clone()
    }

    /// Hands ids out until the shutdown has drained it, and then gives the worker ids back.
    pub(super) async fn run(self, tls: Option<Tls>, shutdown: &Shutdown) -> anyhow::Result<()> {
        let stop = shutdown.stop_accepting();
        let Some(store) = self
            .until(&stop, async || Ok(Store::open(self.place.clone()).await?))
            .await?
        else {
            return Ok(());
        };
        let Some(service) = self.service(&store, &stop).await? else {
            store.close().await;
            return Ok(());
        };
        let guard = Guard::new(PolicyDocument::new("ids", "")?)?;
        guard.follow(shutdown)?;
        let app = Router::new().nest_service("/ids", service);
        let app = match self.token {
            None => app,
            Some(token) => app.layer(from_fn_with_state(token, known)),
        };
        self.handing.state().waits = None;
        tracing::info!(target: "steadfast::serve", address = %self.address()?, "ids are handed out");
        // A line for each id would cost more than the id: they are counted.
        let app = app.layer(guard.exempt());
        let mut serve = guard.serve(self.listener, app).connections(CLIENTS);
        if let Some(tls) = tls {
            serve = serve.over(move |stream| tls.accept(stream));
        }
        serve.await;
        // Nobody is answered any more, so nobody gets an id of a worker id that is given back.
        let held = std::mem::take(&mut self.handing.state().held);
        for (_, generator) in held {
            generator.release().await;
        }
        store.close().await;
        Ok(())
    }

    /// Makes what hands out the ids of every name; `None` once the program is to end.
    async fn service(&self, store: &Store, stop: &Cancel) -> anyhow::Result<Option<IdService>> {
        let mut builder = IdService::builder();
        let Some(ids) = self.until(stop, async || Ids::open(store).await).await? else {
            return Ok(None);
        };
        for (name, told) in &self.generators {
            let made = self
                .until(stop, async || Made::make(&ids, told).await)
                .await;
            let made = made.with_context(|| format!("generators.{name}"))?;
            builder = match made {
                None => return Ok(None),
                Some(made) => made.add_to(builder, name, &self.handing),
            };
        }
        Ok(Some(builder.build()?))
    }

    /// Tries until it succeeds, cannot any more, or the program is to end.
    async fn until<T>(
        &self,
        stop: &Cancel,
        mut attempt: impl AsyncFnMut() -> Result<T, ids::Error>,
    ) -> anyhow::Result<Option<T>> {
        let mut waits = Backoff::new(WAIT_FIRST, WAIT_LONGEST)?.state();
        loop {
            let Ok(attempted) = stop.run(attempt()).await else {
                return Ok(None);
            };
            let error = match attempted {
                Ok(made) => return Ok(Some(made)),
                Err(error) => error,
            };
            if !error.is_retryable() && !error.store().is_some_and(passes) {
                let text = format!(
                    "ids cannot be handed out ({}): {}",
                    error.code(),
                    error.fix()
                );
                return Err(anyhow::Error::new(error).context(text));
            }
            let fix = error.fix();
            let store = error.store().map(ToString::to_string);
            self.handing
                .waits(store.unwrap_or_else(|| error.to_string()));
            tracing::error!(
                target: "steadfast::serve",
                error = &error as &(dyn std::error::Error + 'static),
                fix,
                "ids cannot be handed out; it is tried again"
            );
            if stop
                .run(clock::sleep(waits.next(rng::bits())))
                .await
                .is_err()
            {
                return Ok(None);
            }
        }
    }
}

/// What hands out the ids of one name.
enum Made {
    Snowflake(Generator),
    Dense(ids::Dense),
}

impl Made {
    async fn make(ids: &Ids, told: &config::Generator) -> Result<Self, ids::Error> {
        Ok(match told {
            config::Generator::Snowflake { group, layout } => {
                let lease = LeaseConfig {
                    group: group.clone(),
                    layout: *layout,
                    ..LeaseConfig::default()
                };
                Self::Snowflake(ids.lease(lease).await?)
            }
            config::Generator::Segments { tag } => {
                Self::Dense(ids.segments(tag, DenseConfig::default()).await?)
            }
            config::Generator::Sequence { name } => Self::Dense(ids.sequence(name).await?),
        })
    }

    fn add_to(self, to: IdServiceBuilder, name: &str, handing: &Handing) -> IdServiceBuilder {
        match self {
            Self::Snowflake(generator) => {
                handing.held(name, generator.clone());
                to.generator(name, generator)
            }
            Self::Dense(dense) => to.segments(name, dense),
        }
    }
}

/// Lets only those through who say the token.
async fn known(
    State(token): State<[u8; 32]>,
    request: Request,
    next: Next,
) -> Response<axum::body::Body> {
    let said = auth::bearer(request.headers());
    if said.is_some_and(|said| Hash::hash(said.as_bytes()) == token) {
        return next.run(request).await;
    }
    let problem = serde_json::json!({
        "type": "urn:steadfast:problem:ids-token",
        "title": "no id",
        "status": 401,
        "detail": "ids are for those who say the token: authorization: Bearer …",
    });
    let headers = [
        (CONTENT_TYPE, "application/problem+json"),
        (WWW_AUTHENTICATE, "Bearer"),
    ];
    (StatusCode::UNAUTHORIZED, headers, problem.to_string()).into_response()
}
