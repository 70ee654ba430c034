//! The listener of the API: a runtime and connections of its own, so that looking at trouble does not
//! add to it, and the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Response;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use steadfast::clock::Instant;
use steadfast::jobs::schedule::Schedules;
use steadfast::jobs::{self, JobId, Jobs, Options};
use steadfast::shutdown::{HOOK_LIMIT, Phase};
use steadfast::store::Store;
use steadfast::tower::guard::Peer;
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{BoxError, Cause, Shutdown, clock, context, report, spawn};
use tokio::net::TcpListener;

use super::audit::{self, Audit, Entry};
use super::live::Looks;
use super::problem::{NoWrites, Problem};
use super::refusals::Refusals;
use super::revisions::Revisions;
use super::routes::panics::Samples;
use super::types::Progress;
use super::{auth, routes, table};
use crate::config;
use crate::handlers::Progresses;
use crate::listen::listen;
use crate::sql;
use crate::tls::Tls;
use crate::traffic::{Recent, Totals};
use crate::writes::Writes;

/// How many connections to the store the API has of its own: 4, beside those of the jobs.
const CONNECTIONS: usize = 4;

/// How long it may take to open the store: 60 s. The jobs, or the shop, opened it just before.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// How long what is under way may take once the jobs have ended: 4 s, less than a hook of the shutdown has, so that it is
/// told what was not waited for.
const END_WITHIN: Duration = Duration::from_secs(4);

const _: () = assert!(END_WITHIN.as_secs() < HOOK_LIMIT.as_secs());

/// Why an API takes no changes that was told so.
pub(super) const READ_ONLY: &str = "it was started with read_only = true";

/// How often it is noted what has become of requests: every 2 s, so that a rate of the last minute is
/// off by little.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// The API of the program over a store, to be mounted in a service: jobs, schedules and nodes are seen and changed by
/// tokens, every change with a reason and in the audit.
///
/// It is what `steadfast serve` serves. The commands of the program ask it where `--server` says so, with the path that
/// it is mounted below: `steadfast jobs list --server http://127.0.0.1:8080/ops`. There is no token until somebody has
/// made one with the rights on the store: `steadfast admin token create`.
///
/// Compared with `steadfast serve`, it has the listener, the runtime and the end of your service: whoever looks at
/// trouble shares them with those who have it. Give it a [`Store`] of its own, so that at least its connections are
/// others. Tokens cross the network, so whoever reaches the service from outside must do so by TLS.
///
/// A cheap clone.
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use steadfast::store::{Config, Store};
/// use steadfast_server::{Api, ApiOptions};
///
/// # #[tokio::main] async fn main() -> Result<(), steadfast::BoxError> {
/// # let folder = std::env::temp_dir().join(format!("steadfast-mounted-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let file = folder.join("jobs.db");
/// let store = Store::open(Config::sqlite(file)).await?;
/// let api = Api::open(&store, ApiOptions::default()).await?;
/// let app = Router::new()
///     .route("/orders", get(async || "orders"))
///     .merge(api.router("/ops").await?);
/// // … serve it, and before the store is closed:
/// api.finish().await;
/// # drop(app);
/// # store.close().await;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Api(pub(super) Arc<Inner>);

/// How an [`Api`] is: without a guard, and taking changes, unless that is said.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    /// With what its service is called.
    guard: Option<(Guard, String)>,
    read_only: bool,
}

impl ApiOptions {
    /// Describes an API that has no guard to show.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows and changes routes, breakers and policy of the guard of the service that is called so.
    ///
    /// What is put in force by it is kept in the store: it is followed by all processes of the service that were started
    /// with the same policy, and taken up by those that are started later. By the name of the service its revisions are
    /// told from those of other services in the same store, so give each its own, and keep it: under another one
    /// nothing is kept yet.
    ///
    /// [Protect](Guard::protect) the routes before the API is opened, so that what was put in force is so from the first
    /// request on. A guard that is protected later follows it from then on: before, nobody knows which of it the routes
    /// could not follow. One of which no layer was made after 10 s is told in the log as an error, and goes on following
    /// nothing; one that was put around a service by [`Guard::layer`] begins to within two seconds of its first request.
    #[must_use]
    pub fn guard(self, guard: &Guard, service: impl Into<String>) -> Self {
        Self {
            guard: Some((guard.clone(), service.into())),
            ..self
        }
    }

    /// Refuses every change, whoever asks, and follows what others put in force without keeping anything itself. What
    /// only tells what it would change is done.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) jobs: Jobs,
    pub(super) schedules: Schedules,
    /// Whether changes are refused, whatever the store takes.
    pub(super) read_only: bool,
    pub(super) writes: Writes,
    pub(super) audit: Audit,
    refusals: Refusals,
    strangers: Refusals,
    /// Whether a proxy of ours says who has asked.
    behind_proxy: bool,
    /// The guard of the process, to be looked at and changed.
    pub(super) guard: Option<Guard>,
    /// What was put in force by it.
    pub(super) revisions: Option<Arc<Revisions>>,
    pub(super) traffic: Traffic,
    pub(super) panics: Samples,
    pub(super) kinds: Option<Kinds>,
    pub(super) looks: Looks,
}

/// What a configuration has, where one says all that the process does.
pub(crate) struct Kinds {
    /// What the jobs of each kind have unless somebody says otherwise.
    pub(crate) usual: BTreeMap<String, Usual>,
    /// How far runs have come.
    pub(crate) progress: Progresses,
    /// The queues that are claimed from.
    pub(crate) queues: BTreeSet<String>,
    /// The schedules that each start makes again.
    pub(crate) schedules: BTreeSet<String>,
    /// The lease of the node: after how long the jobs of a dead one are rescued.
    pub(crate) lease: Duration,
}

/// What jobs of a kind have unless somebody says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    pub(crate) queue: String,
    pub(crate) attempts: u32,
}

impl Inner {
    /// Gives what a job of a kind has that nobody has said anything about.
    pub(super) fn options(&self, kind: &str) -> Options {
        let kinds = self.kinds.as_ref();
        let known = kinds.and_then(|kinds| kinds.usual.get(kind));
        known.map_or_else(Options::new, |usual| {
            Options::new()
                .queue(&usual.queue)
                .max_attempts(usual.attempts)
        })
    }

    /// Warns of a kind whose work nobody here does; of none where it is not known who does which.
    pub(super) fn warning_of(&self, kind: &str) -> Option<String> {
        let kinds = self.kinds.as_ref()?;
        (!kinds.usual.contains_key(kind)).then(|| {
            format!(
                "no handler of this server is called {kind:?}: the job waits for a process that has one"
            )
        })
    }

    /// How far a run has come, if it is one of this process.
    pub(super) fn progress(&self, id: JobId, term: u64) -> Option<Progress> {
        let progress = self.kinds.as_ref()?.progress.of(id, term)?;
        Some(Progress {
            percent: progress.percent.into(),
            text: progress.text,
        })
    }

    /// Tells whether jobs of a queue are claimed here.
    pub(super) fn claims_from(&self, queue: &str) -> bool {
        let kinds = self.kinds.as_ref();
        kinds.is_some_and(|kinds| kinds.queues.contains(queue))
    }
}

/// What is known of requests, since when.
pub(super) struct Traffic {
    pub(super) begun: Instant,
    recent: Mutex<Recent>,
}

impl Traffic {
    fn begin() -> Self {
        Self {
            begun: clock::now(),
            recent: Mutex::default(),
        }
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        let totals = Totals::of(&report::snapshot());
        self.recent().note(clock::now(), totals);
    }
}

/// Refuses to be reached from everywhere without anything that encrypts.
pub(crate) fn check_exposure(api: &config::Api) -> anyhow::Result<()> {
    anyhow::ensure!(
        api.listen.ip().is_loopback() || api.tls.is_some() || api.behind_proxy,
        "api.listen = \"{}\" can be reached from other machines, and tokens would cross the network in clear; \
         give tls_certificate and tls_key, listen on 127.0.0.1, or set behind_proxy = true where a proxy with TLS is the \
         only way to it",
        api.listen
    );
    Ok(())
}

impl Api {
    /// Starts to serve, on a thread with a runtime of its own; ends with the shutdown. What it shows of
    /// routes and policies is that of `watched`, the guard of the service, whose revisions are kept under its name.
    ///
    /// # Errors
    /// [`jobs::Error`] when the store refuses, [`clock::Elapsed`] when it does not answer; nobody listens any more then, and it
    /// can be started again.
    pub(crate) async fn start(
        api: &config::Api,
        place: steadfast::store::Config,
        tls: Option<Tls>,
        watched: Guard,
        service: &'static str,
        kinds: Option<Kinds>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<SocketAddr> {
        let listener = listen(api.listen, "in [api]")?;
        let address = listener.local_addr()?;
        let place = steadfast::store::Config {
            connections_max: CONNECTIONS,
            application_name: format!("{} api", place.application_name),
            ..place
        };
        let (read_only, behind_proxy) = (api.read_only, api.behind_proxy);
        let shutdown = shutdown.clone();

        let (started, start) = channel();
        std::thread::Builder::new()
            .name("api".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("api")
                    .enable_all()
                    .build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error.into()))),
                };
                runtime.block_on(async {
                    let options = ApiOptions {
                        guard: Some((watched, service.to_owned())),
                        read_only,
                    };
                    let opening = Self::guarded(place, options, kinds, behind_proxy);
                    let opened = clock::timeout(OPEN_WITHIN, opening).await;
                    let served = opened.context("its store is not opened in time").flatten();
                    match served {
                        Err(error) => {
                            // Whoever hears of it may listen again.
                            drop(listener);
                            drop(started.send(Err(error)));
                        }
                        Ok((api, (guard, app))) => {
                            drop(started.send(Ok(())));
                            api.serve(guard, app, listener, tls, &shutdown).await;
                        }
                    }
                });
                runtime.shutdown_timeout(END_WITHIN);
            })?;
        loop {
            match start.try_recv() {
                Ok(started) => break started?,
                Err(TryRecvError::Disconnected) => anyhow::bail!("its thread has ended"),
                Err(TryRecvError::Empty) => clock::sleep(Duration::from_millis(10)).await,
            }
        }
        Ok(address)
    }

    /// Opens the API over a store, and brings its tables up to date where the store may.
    ///
    /// # Errors
    /// When the store refuses, or its tables are not those of this version.
    pub async fn open(store: &Store, options: ApiOptions) -> Result<Self, jobs::Error> {
        Self::opened(store, options, None, false).await
    }

    async fn opened(
        store: &Store,
        options: ApiOptions,
        kinds: Option<Kinds>,
        behind_proxy: bool,
    ) -> Result<Self, jobs::Error> {
        let ApiOptions { guard, read_only } = options;
        let jobs = Jobs::open(store).await?;
        store.migrate(&sql::PACKAGE).await?;
        let revisions = match guard.clone() {
            Some((guard, service)) => {
                Some(Revisions::follow(guard, store, service, read_only).await)
            }
            None => None,
        };
        let (writes, looks) = Writes::follow(store);
        spawn("whether the store takes writes", looks);
        let inner = Arc::new(Inner {
            writes,
            audit: Audit::new(store),
            refusals: Refusals::of_tokens(),
            strangers: Refusals::of_strangers(),
            behind_proxy,
            schedules: Schedules::new(&jobs),
            store: store.clone(),
            jobs,
            read_only,
            guard: guard.map(|(guard, _)| guard),
            revisions,
            traffic: Traffic::begin(),
            panics: Samples::keep(),
            kinds,
            looks: Looks::default(),
        });
        watch(&inner);
        Ok(Self(inner))
    }

    /// Gives the routes of the API below a path, such as `/ops`, or `` for none, to be merged into your own once those
    /// are [protected](Guard::protect): it has a guard of its own, with limits on how much is asked at once.
    ///
    /// # Errors
    /// When the path does not begin with a slash, ends with one, or names parameters.
    pub async fn router(&self, prefix: &str) -> Result<axum::Router, BoxError> {
        let is_path = prefix.starts_with('/') && !prefix.ends_with('/');
        if !prefix.is_empty() && (!is_path || prefix.contains(['{', '}', '*', '?', '#', '"'])) {
            return Err(format!("{prefix:?} is no path to mount below; write it as /ops").into());
        }
        // Whatever else is below the path is ours as well; without one it is the service's.
        let (_, app) = self.protected(prefix, !prefix.is_empty()).await?;
        Ok(app)
    }

    /// Waits until no change is under way, at most 4 s; others are still taken meanwhile: what somebody has asked for goes on to its end when he leaves, and
    /// so is there when all requests have ended. Call it before the store is closed.
    pub async fn finish(&self) {
        if clock::timeout(END_WITHIN, self.0.audit.idle())
            .await
            .is_err()
        {
            tracing::warn!(target: "steadfast::api", "changes are still under way, and not waited for any longer");
        }
    }

    /// Does what changes something: noted, to its end, and not at all where nothing may be changed.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.0.read_only {
            let title = format!("this API takes no changes: {READ_ONLY}");
            return Err(Problem::read_only(title));
        }
        if let Some(error) = self.0.writes.trouble() {
            return Err(error.into());
        }
        self.0.audit.done(entry, work).await
    }

    /// Notes who was refused for want of a right, where that is not known already.
    async fn note_refused(
        &self,
        refusals: &Refusals,
        actor: &str,
        action: &'static str,
        subject: String,
        problem: &Problem,
    ) {
        let Some(more) = refusals.note(clock::now(), actor, action) else {
            return;
        };
        let detail = match more {
            0 => String::new(),
            more => format!("{more} more since the last entry"),
        };
        let entry = Entry {
            actor: actor.to_owned(),
            action,
            subject,
            reason: "(refused)".to_owned(),
            detail,
        };
        if let Err(error) = audit::note(&self.0.store, entry, problem.line()).await {
            tracing::warn!(target: "steadfast::api", actor, action, %error, "a refusal was not noted");
        }
    }

    async fn guarded(
        place: steadfast::store::Config,
        options: ApiOptions,
        kinds: Option<Kinds>,
        behind_proxy: bool,
    ) -> anyhow::Result<(Self, (Guard, axum::Router))> {
        let store = Store::open(place).await.map_err(jobs::Error::from)?;
        let api = Self::opened(&store, options, kinds, behind_proxy).await?;
        let app = api.protected("", true).await;
        Ok((api, app.map_err(|error| anyhow::anyhow!(error))?))
    }

    /// Gives the routes with their guard; alone, whatever else is asked for is answered, too.
    async fn protected(
        &self,
        prefix: &str,
        is_alone: bool,
    ) -> Result<(Guard, axum::Router), BoxError> {
        let guard = Guard::new(PolicyDocument::new("the API", policy(prefix))?)?;
        let below: Arc<str> = prefix.into();
        let known = from_fn_with_state((self.clone(), below), known);
        let routes = routes::router(self.clone())
            .route_layer(known)
            .merge(routes::public(prefix));
        let routes = match is_alone {
            true => routes.fallback(routes::nowhere),
            false => routes,
        };
        let routes = match prefix {
            "" => routes,
            prefix => axum::Router::new().nest(prefix, routes),
        };
        Ok((guard.clone(), guard.protect(routes).await?))
    }

    async fn serve(
        &self,
        guard: Guard,
        app: axum::Router,
        listener: std::net::TcpListener,
        tls: Option<Tls>,
        shutdown: &Shutdown,
    ) {
        // Otherwise the process would end before this thread has; changes are taken until everything is to stop.
        for phase in [Phase::DrainCore, Phase::Cancel] {
            let api = self.clone();
            let finish = async move || api.finish().await;
            if let Err(error) = shutdown.on(phase, "changes by the API", finish) {
                tracing::warn!(target: "steadfast::api", %error, "the end will not wait for changes");
            }
        }
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let mut serve = guard.serve(listener, app).connections(500);
                if let Some(tls) = tls {
                    serve = serve.over(move |stream| tls.accept(stream));
                }
                // As long as jobs are drained, people want to see it.
                let _: Result<_, Cause> = shutdown.token().run(serve.into_future()).await;
                self.finish().await;
            }
            Err(error) => {
                tracing::error!(target: "steadfast::api", %error, "the listener of the API is lost");
            }
        }
        self.0.store.close().await;
    }
}

/// Notes what becomes of requests, for as long as anybody may ask.
fn watch(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    spawn("traffic of the last minute", async move {
        while let Some(inner) = inner.upgrade() {
            inner.traffic.note();
            drop(inner);
            clock::sleep(NOTE_EVERY).await;
        }
    });
}

/// Lets only those through who are known and may do what they want.
async fn known(
    State((api, prefix)): State<(Api, Arc<str>)>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    match judge(&api, &prefix, &mut request).await {
        Ok(()) => {
            let response = next.run(request).await;
            if let Some(NoWrites(error)) = response.extensions().get() {
                api.0.writes.failed(error);
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn judge(api: &Api, prefix: &str, request: &mut Request) -> Result<(), Problem> {
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or("", |matched| matched.as_str());
    let path = path.strip_prefix(prefix).unwrap_or_default();
    // One that the table does not know is served to nobody.
    let endpoint = table::find(request.method().as_str(), path).ok_or_else(|| {
        let methods = table::methods(path);
        match methods.is_empty() {
            true => Problem::internal("this endpoint has no rights"),
            false => Problem::method(format!("{path} has {methods}")).with_allowed(&methods),
        }
    })?;
    let action = endpoint.action;
    let subject = format!("{} {path}", request.method());
    let client = client(request, api.0.behind_proxy);
    if let Some(client) = client {
        told("client", &client.to_string());
    }
    let token = auth::bearer(request.headers()).unwrap_or_default();
    let fix = "`steadfast admin token create` makes one; say it as `authorization: Bearer …`";
    let Some(actor) = auth::find(&api.0.store, token).await? else {
        let title = "there is no such token, or it does not hold any more";
        let problem = Problem::unknown_token(title).with_fix(fix);
        let somewhere = client.map_or_else(
            || "an address that is not known".to_owned(),
            |client| client.to_string(),
        );
        let nobody = format!("nobody who is known, at {somewhere}");
        api.note_refused(&api.0.strangers, &nobody, action.0, subject, &problem)
            .await;
        return Err(problem);
    };
    told("actor", &actor.name);
    if !actor.rights.may(action) {
        let title = match &actor.rights {
            auth::Rights::Role(role) => format!("the role {} may not do {}", role.name, action.0),
            named => format!("this token may do {named}, and not {}", action.0),
        };
        let problem = Problem::forbidden(title).with_fix("use a token that may");
        api.note_refused(&api.0.refusals, &actor.name, action.0, subject, &problem)
            .await;
        return Err(problem);
    }
    request.extensions_mut().insert(actor);
    Ok(())
}

/// Where whoever asks is: as our proxy has seen it, or as we do.
fn client(request: &Request, behind_proxy: bool) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map(|Peer(address)| address.ip().to_canonical());
    // The last one was added by our own proxy; those before it are anybody's.
    let forwarded = request
        .headers()
        .get_all("x-forwarded-for")
        .iter()
        .next_back();
    let forwarded = forwarded.filter(|_| behind_proxy).and_then(|value| {
        let last = value.to_str().ok()?.rsplit(',').next()?;
        last.trim().parse().ok()
    });
    forwarded.or(peer)
}

/// Has it stand in every line about the request, that of its end among them.
fn told(key: &'static str, value: &str) {
    // Others may have used up the keys; then the lines go without it.
    let _ = context::put(key, value);
}

/// What is said of the API below a path, as a policy.
pub(super) fn policy(prefix: &str) -> String {
    let mut policy = String::from(
        r#"
[drain]
lower = "15s"
[timeouts.api]
timeout = "15s"
[admissions.api]
permits = 16
queue = 64
queue_wait = "5s"
[streams.live]
connections = 64
idle = "1m"
"#,
    );
    policy.push_str(&format!(
        "[routes.\"GET {prefix}/api/v1/openapi.json\"]\ntimeout = \"api\"\nadmission = \"api\"\n"
    ));
    for endpoint in table::ENDPOINTS {
        let (method, path) = (endpoint.method, endpoint.path);
        let governed = match endpoint.is_stream {
            true => "kind = \"stream\"\nstream = \"live\"\n",
            false => "timeout = \"api\"\nadmission = \"api\"\n",
        };
        policy.push_str(&format!("[routes.\"{method} {prefix}{path}\"]\n{governed}"));
    }
    policy
}
