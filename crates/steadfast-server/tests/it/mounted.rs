//! The API beside the routes of somebody's own service.

use std::path::Path;
use std::process::{Command, Output};

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use steadfast::jobs::{Jobs, Options};
use steadfast::store::{Config, Error, Store, binds};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast_server::{Api, ApiOptions};
use tokio::net::TcpListener;

use super::serve::Folder;

const POLICY: &str =
    "[timeouts.page]\ntimeout = \"5s\"\n[routes.\"GET /orders\"]\ntimeout = \"page\"\n";

/// A service with the API below `/ops`.
struct Service {
    folder: Folder,
    store: Store,
    guard: Guard,
    address: String,
}

impl Service {
    async fn start(name: &str, has_guard: bool, read_only: bool) -> Self {
        let folder = Folder::new(name);
        let config = folder.configure("");
        assert!(config.exists());
        let store = Store::open(Config::sqlite(folder.path().join("jobs.db")));
        let store = store.await.unwrap();
        let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
        let options = ApiOptions {
            guard: has_guard.then(|| guard.clone()),
            read_only,
            ..ApiOptions::default()
        };
        let api = Api::open(&store, options).await.unwrap();
        let orders = Router::new().route("/orders", get(async || "no orders"));
        let orders = guard.protect(orders).await.unwrap();
        let app = orders.merge(api.router("/ops").await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = guard.serve(listener, app);
        steadfast::spawn("service", async move {
            serve.await;
        });
        Self {
            folder,
            store,
            guard,
            address,
        }
    }

    fn token(&self, role: &str) -> String {
        let config = self.folder.path().join("steadfast.toml");
        let create = ["admin", "token", "create", "--name", role, "--role", role];
        let made = command(&create).arg("--config").arg(config).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        text(&made.stdout).trim().to_owned()
    }

    fn ask(&self, token: &str, args: &[&str]) -> Output {
        let mut command = command(args);
        command
            .env("STEADFAST_SERVER", format!("http://{}/ops", self.address))
            .env("STEADFAST_TOKEN", token);
        tokio::task::block_in_place(|| command.output().unwrap())
    }

    /// Asks without a token; gives the answer as it comes.
    async fn get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(args);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_a_service_below_the_path_that_its_api_is_mounted_at() {
    let service = Service::start("mounted", true, false).await;
    let (viewer, operator) = (service.token("viewer"), service.token("operator"));
    let jobs = Jobs::open(&service.store).await.unwrap();
    let id = jobs
        .enqueue_kind("mail", "null", Options::new())
        .await
        .unwrap();

    assert!(service.get("/orders").await.ends_with("\r\n\r\nno orders"));
    let listed = service.ask(&viewer, &["jobs", "list"]);
    assert!(
        text(&listed.stdout).contains("1   mail  default  pending"),
        "{listed:?}"
    );
    let why = ["jobs", "cancel", "1", "--reason", "a test"];
    let refused = service.ask(&viewer, &why);
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused.stderr).contains("SF-2203"), "{refused:?}");
    let cancelled = service.ask(&operator, &why);
    assert_eq!(text(&cancelled.stdout), "job 1 is cancelled\n");
    let found = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(found.info.error.as_deref(), Some("a test"));
    // The guard that it was given is that of the service.
    let routes = service.ask(&viewer, &["routes", "list"]);
    assert!(text(&routes.stdout).contains("GET /orders"), "{routes:?}");

    assert!(
        service
            .get("/ops/api/v1/jobs")
            .await
            .starts_with("HTTP/1.1 401 ")
    );
    assert!(
        service
            .get("/api/v1/jobs")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
    let document = service.get("/ops/api/v1/openapi.json").await;
    let document: Value = serde_json::from_str(document.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(document["servers"][0]["url"], "/ops");
    // The service's guard does not take the API for routes that were forgotten.
    let armed = service.guard.armed();
    assert!(armed.is_clean() && armed.past == 0, "{armed:?}");
    service.store.close().await;
}

/// An API over a guard around a router with these routes, opened before these are protected.
async fn opened_early(store: &Store, routes: &[&str]) -> (Guard, Api) {
    let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
    let options = ApiOptions {
        guard: Some(guard.clone()),
        service: "orders".into(),
        ..ApiOptions::default()
    };
    let api = Api::open(store, options).await.unwrap();
    let router = routes.iter().fold(Router::new(), |router, route| {
        router.route(route, get(async || "here"))
    });
    // What is kept is not in force yet: it may name a route that is gone, and then nothing could be started any more.
    let _protected = guard.protect(router).await.unwrap();
    (guard, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_for_a_route_that_is_gone_does_not_keep_a_service_from_starting() {
    let folder = Folder::new("mounted-gone");
    let store = Store::open(Config::sqlite(folder.path().join("jobs.db")));
    let store = store.await.unwrap();
    let (first, api) = opened_early(&store, &["/orders", "/old"]).await;
    super::serve::wait_until("the policy is kept", async || {
        first.in_force().revision().signed().author() == "the file"
    })
    .await;
    let base = first.in_force().revision().hash().to_string();
    let old = POLICY.to_owned() + "[routes.\"GET /old\"]\ntimeout = \"page\"\n";
    let hash = PolicyDocument::new("policy", &old).unwrap().hash();
    let put = "INSERT INTO steadfast_revision (namespace, n, base, hash, name, document, author, reason, at_us) \
               VALUES ('orders', 2, ?1, ?2, 'policy', ?3, 'ann', 'INC-7', 0)";
    let binds = binds![base, hash.to_string(), old];
    let put: Result<_, Error> = store.write(async |mut tx| tx.sql(put, binds).await).await;
    put.unwrap();
    super::serve::wait_until("it is followed", async || {
        first.in_force().revision().n() == 2
    })
    .await;
    drop(api);

    let (second, _api) = opened_early(&store, &["/orders"]).await;

    super::serve::wait_until("it is taken up", async || {
        second.in_force().revision().n() == 2
    })
    .await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_and_read_only_it_says_so() {
    let service = Service::start("mounted-bare", false, true).await;
    let admin = service.token("admin");

    let routes = service.ask(&admin, &["routes", "list"]);
    assert_eq!(routes.status.code(), Some(4), "{routes:?}");
    let refused = service.ask(&admin, &["jobs", "run", "mail", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(text(&refused.stderr).contains("SF-2204"), "{refused:?}");
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_is_refused_before_anything_is_mounted() {
    let folder = Folder::new("mounted-paths");
    let file = folder.path().join("jobs.db");
    assert!(!Path::new(&file).exists());
    let store = Store::open(Config::sqlite(file)).await.unwrap();
    let api = Api::open(&store, ApiOptions::default()).await.unwrap();

    for wrong in ["ops", "/", "/ops/", "/{tenant}", "/a\"b", "/a?b"] {
        let refused = api.router(wrong).await.unwrap_err().to_string();
        assert!(
            refused.contains("is no path to mount below"),
            "{wrong}: {refused}"
        );
    }
    for path in ["", "/ops", "/api/v1", "/deep/er"] {
        assert!(api.router(path).await.is_ok(), "{path}");
    }
    store.close().await;
}
