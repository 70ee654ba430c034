//! The API beside the routes of somebody's own service.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use serde_json::Value;
use steadfast::jobs::{Batch, Job, Jobs, Options};
use steadfast::store::{Config, Error, Fault, Faults, Rows, Store, binds};
use steadfast::tower::policy::Signed;
use steadfast::tower::{Guard, PolicyDocument};
use steadfast_server::{Api, ApiOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::serve::Folder;

const POLICY: &str =
    "[timeouts.page]\ntimeout = \"5s\"\n[routes.\"GET /orders\"]\ntimeout = \"page\"\n";

/// A service with the API below `/ops`.
struct Service {
    folder: Folder,
    store: Store,
    /// What fails in it.
    faults: Faults,
    guard: Guard,
    api: Api,
    address: String,
}

impl Service {
    async fn start(name: &str, options: impl FnOnce(&Guard) -> ApiOptions) -> Self {
        let folder = Folder::new(name);
        let config = folder.configure("");
        assert!(config.exists());
        let faults = Faults::new();
        let store = Store::open(Config {
            faults: faults.clone(),
            ..Config::sqlite(folder.path().join("jobs.db"))
        });
        let store = store.await.unwrap();
        let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
        let api = Api::open(&store, options(&guard)).await.unwrap();
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
            faults,
            guard,
            api,
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

    /// Gives the action that was noted last.
    async fn audited(&self, token: &str) -> Value {
        let path = "/ops/api/v1/audit?limit=1";
        let listed = self.send("GET", path, &bearer(token), "").await;
        json(&listed)["items"][0].clone()
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
        self.send("GET", path, "", "").await
    }

    /// Sends a request; gives the answer as it comes.
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = self.sent(method, path, headers, body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Sends a request, and gives where the answer comes.
    async fn sent(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

fn guarded(guard: &Guard) -> ApiOptions {
    ApiOptions::new().guard(guard, "orders")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn etag(answer: &str) -> String {
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: "));
    tag.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
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
    let service = Service::start("mounted", guarded).await;
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
    let api = Api::open(store, guarded(&guard)).await.unwrap();
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
    keep(&store, "orders", 2, &base, &old).await;
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

/// Keeps a revision in the store, as another process would.
async fn keep(store: &Store, service: &str, n: i64, base: &str, document: &str) {
    let hash = PolicyDocument::new("policy", document).unwrap().hash();
    keep_as(store, service, n, base, &hash.to_string(), document).await;
}

async fn keep_as(store: &Store, service: &str, n: i64, base: &str, hash: &str, document: &str) {
    let put = "INSERT INTO steadfast_revision (namespace, n, base, hash, name, document, author, reason, at_us) \
               VALUES (?1, ?2, ?3, ?4, 'policy', ?5, 'ann', 'INC-7', 0)";
    let binds = binds![service, n, base, hash, document];
    let put: Result<_, Error> = store.write(async |mut tx| tx.sql(put, binds).await).await;
    put.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_given_to_two_documents_does_not_let_one_be_changed_for_the_other() {
    let service = Service::start("mounted-tag", guarded).await;
    let may = bearer(&service.token("admin"));
    let with = |timeout: &str| POLICY.replace("5s", timeout);
    let first = PolicyDocument::new("policy", POLICY).unwrap().hash();
    super::serve::wait_until("the policy is kept", async || {
        service.guard.in_force().revision().signed().author() == "the file"
    })
    .await;
    // The service itself has another one, and so its second revision.
    let by = Signed::new("the service", "it is busy").unwrap();
    let own = PolicyDocument::new("code", with("4s")).unwrap();
    service.guard.apply(own, by).unwrap();
    let seen = etag(&service.send("GET", "/ops/api/v1/policy", &may, "").await);
    // The store has it, too.
    keep(&service.store, "orders", 2, &first.to_string(), &with("3s")).await;
    let kept = PolicyDocument::new("policy", with("3s")).unwrap().hash();
    super::serve::wait_until("it is followed", async || {
        service.guard.in_force().revision().hash() == kept
    })
    .await;
    let new = serde_json::json!({ "name": "mine", "document": with("2s"), "reason": "INC-8" });
    let new = new.to_string();
    let looked = serde_json::json!({ "name": "mine", "document": with("2s") }).to_string();

    let headers = format!("{may}if-match: {seen}\r\n");
    let put = service.send("PUT", "/ops/api/v1/policy", &headers, &new);
    let refused = put.await;
    assert_eq!(status(&refused), 412, "{refused}");
    let title = json(&refused)["title"].as_str().unwrap().to_owned();
    assert!(
        title.starts_with("revision 2 is in force with another document than was seen"),
        "{title}"
    );
    let dry = service.send("POST", "/ops/api/v1/policy/diff", &headers, &looked);
    assert_eq!(status(&dry.await), 412);

    let shown = service.send("GET", "/ops/api/v1/policy", &may, "").await;
    let headers = format!("{may}if-match: {}\r\n", etag(&shown));
    let dry = service.send("POST", "/ops/api/v1/policy/diff", &headers, &looked);
    let dry = dry.await;
    assert_eq!(status(&dry), 200);
    assert_eq!(json(&dry)["hash"], json(&shown)["hash"]);
    let put = service.send("PUT", "/ops/api/v1/policy", &headers, &new);
    let put = put.await;
    assert_eq!(status(&put), 200, "{put}");
    let shown = service.send("GET", "/ops/api/v1/policy", &may, "").await;
    assert_eq!(etag(&put), etag(&shown));
    let detail = service.send("GET", "/ops/api/v1/policy/revisions/3", &may, "");
    assert_eq!(etag(&detail.await), etag(&shown));
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_the_service_has_made_is_named_by_its_number_whoever_was_given_that_too() {
    let service = Service::start("mounted-named", guarded).await;
    let admin = service.token("admin");
    let with = |timeout: &str| POLICY.replace("5s", timeout);
    super::serve::wait_until("the policy is kept", async || {
        service.guard.in_force().revision().signed().author() == "the file"
    })
    .await;
    let by = Signed::new("the service", "it is busy").unwrap();
    let own = PolicyDocument::new("code", with("4s")).unwrap();
    service.guard.apply(own, by).unwrap();
    // Of a process that was started with another file.
    keep(&service.store, "orders", 2, "another", &with("3s")).await;
    let file = service.folder.path().join("mine.toml");
    std::fs::write(&file, with("2s")).unwrap();

    let file = file.to_str().unwrap();
    let apply = [
        "policy",
        "apply",
        file,
        "--revision",
        "2",
        "--yes",
        "1",
        "--reason",
        "x",
    ];
    let applied = service.ask(&admin, &apply);

    assert!(applied.status.success(), "{applied:?}");
    let told = text(&applied.stdout);
    assert!(
        told.ends_with("revision 3 is in force in 1 of 1 processes\n"),
        "{told}"
    );
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_told_as_long_as_it_is_kept() {
    let service = Service::start("mounted-emptied", guarded).await;
    let may = bearer(&service.token("viewer"));
    let behind = async || {
        let shown = service.send("GET", "/ops/api/v1/policy", &may, "").await;
        json(&shown)["behind"].clone()
    };
    super::serve::wait_until("the policy is kept", async || {
        service.guard.in_force().revision().signed().author() == "the file"
    })
    .await;
    let base = service.guard.in_force().revision().hash().to_string();
    keep_as(&service.store, "orders", 2, &base, "another", POLICY).await;
    super::serve::wait_until("it is told", async || behind().await["revision"] == 2).await;

    let emptied: Result<Rows, Error> = service
        .store
        .write(async |mut tx| tx.sql("DELETE FROM steadfast_revision", binds![]).await)
        .await;
    emptied.unwrap();

    super::serve::wait_until("it is gone", async || behind().await == Value::Null).await;
    service.store.close().await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail;

impl Job for Mail {
    const KIND: &'static str = "mail";
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_queue_is_anybodys_is_looked_at_after_it_was_paused_and_told_where_it_is_known() {
    let service = Service::start("mounted-pause", guarded).await;
    let may = bearer(&service.token("admin"));
    let jobs = Jobs::open(&service.store).await.unwrap();
    let act = async |action: &str, queue: &str| {
        let path = format!("/ops/api/v1/queues/{queue}/{action}");
        let answer = service.send("POST", &path, &may, "{\"reason\":\"INC-9\"}");
        let answer = answer.await;
        assert_eq!(status(&answer), 200, "{answer}");
        json(&answer)["warning"].clone()
    };
    let nobodys = "no job of a queue \"rare\" was found";
    assert_eq!(act("pause", "rare").await, nobodys);

    // Behind so many others that no page reaches it.
    let rare = jobs.enqueue_kind("mail", "null", Options::new().queue("rare"));
    rare.await.unwrap();
    let mut others = Batch::new();
    for _ in 0..10_000 {
        others.push(&Mail, Options::new()).unwrap();
    }
    jobs.enqueue_batch(others).await.unwrap();
    assert_eq!(act("pause", "rare").await, Value::Null);

    service.faults.on_name("list_live", Fault::Before);
    service.faults.on_name("list_ended", Fault::Before);
    assert_eq!(act("resume", "rare").await, Value::Null);
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_and_read_only_it_says_so() {
    let service = Service::start("mounted-bare", |_| ApiOptions::new().read_only()).await;
    let admin = service.token("admin");

    let routes = service.ask(&admin, &["routes", "list"]);
    assert_eq!(routes.status.code(), Some(4), "{routes:?}");
    let refused = service.ask(&admin, &["jobs", "run", "mail", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(10), "{refused:?}");
    assert!(text(&refused.stderr).contains("SF-2204"), "{refused:?}");
    // What changes nothing is told.
    let jobs = Jobs::open(&service.store).await.unwrap();
    let one = jobs.enqueue_kind("mail", "null", Options::new());
    one.await.unwrap();
    let cancel = async |dry_run: bool| {
        let body = serde_json::json!({ "limit": 10, "dry_run": dry_run, "reason": "x" });
        let (path, body) = ("/ops/api/v1/jobs/cancel", body.to_string());
        service.send("POST", path, &bearer(&admin), &body).await
    };
    let dry = cancel(true).await;
    assert_eq!(status(&dry), 200, "{dry}");
    assert_eq!(json(&dry)["jobs"], serde_json::json!([1]));
    assert_eq!(status(&cancel(false).await), 403);
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

/// How long an action takes that somebody does not wait for: long enough for the server to see that he has left.
const SLOW: Duration = Duration::from_secs(1);

/// Asks for a job to be cancelled, which takes its time, and leaves once that is noted.
async fn leave_while_it_is_cancelled(service: &Service, token: &str) {
    let jobs = Jobs::open(&service.store).await.unwrap();
    let job = jobs.enqueue_kind("mail", "null", Options::new());
    let job = job.await.unwrap();
    service.faults.on_name("cancel", Fault::Delay(SLOW));
    let path = format!("/ops/api/v1/jobs/{job}/cancel");
    let headers = bearer(token);
    let asked = service.sent("POST", &path, &headers, "{\"reason\":\"INC-9\"}");
    let asked = asked.await;
    super::serve::wait_until("it is noted", async || {
        service.audited(token).await["reason"] == "INC-9"
    })
    .await;
    assert_eq!(service.audited(token).await["outcome"], Value::Null);
    drop(asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_goes_on_to_its_end_when_whoever_has_asked_for_it_leaves() {
    let service = Service::start("mounted-left", guarded).await;
    let admin = service.token("admin");

    leave_while_it_is_cancelled(&service, &admin).await;

    super::serve::wait_until("its end is noted", async || {
        service.audited(&admin).await["outcome"] == "done"
    })
    .await;
    let path = "/ops/api/v1/jobs/1";
    let found = service.send("GET", path, &bearer(&admin), "").await;
    assert_eq!(json(&found)["job"]["state"], "cancelled");
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_an_action_that_nobody_waits_for_any_more() {
    let service = Service::start("mounted-end", guarded).await;
    let admin = service.token("admin");

    leave_while_it_is_cancelled(&service, &admin).await;
    service.api.finish().await;

    assert_eq!(service.audited(&admin).await["outcome"], "done");
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_end_waits_for_actions_others_are_taken() {
    let service = Service::start("mounted-ending", guarded).await;
    let admin = service.token("admin");
    leave_while_it_is_cancelled(&service, &admin).await;

    let may = bearer(&admin);
    let pause = service.send(
        "POST",
        "/ops/api/v1/queues/default/pause",
        &may,
        "{\"reason\":\"INC-9\"}",
    );
    let ((), paused) = tokio::join!(service.api.finish(), pause);

    assert_eq!(status(&paused), 200, "{paused}");
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_panics_is_answered_with_its_id_and_noted() {
    let service = Service::start("mounted-panic", guarded).await;
    let admin = service.token("admin");
    service.faults.on_name("cancel", Fault::Panic);

    let path = "/ops/api/v1/jobs/1/cancel";
    let body = "{\"reason\":\"INC-9\"}";
    let answer = service.send("POST", path, &bearer(&admin), body).await;

    assert_eq!(status(&answer), 500, "{answer}");
    assert!(json(&answer)["trace_id"].is_string(), "{answer}");
    let noted = service.audited(&admin).await;
    assert_eq!(noted["trace_id"], json(&answer)["trace_id"]);
    assert_eq!(
        noted["outcome"],
        "SF-2210: it panicked: a test has \"cancel\" panic"
    );
    service.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_process_has_ended_is_told_as_one_of_which_nobody_can_say() {
    let service = Service::start("mounted-untold", guarded).await;
    let admin = service.token("admin");
    let put = "INSERT INTO steadfast_api_audit (at_us, actor, action, subject, reason, detail) \
               VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1, 'ann', 'jobs.cancel', 'job 1', 'INC-9', '')";
    let put = async |seconds: i64| {
        let binds = binds![seconds * 1_000_000];
        let put: Result<Rows, Error> = service
            .store
            .write(async |mut tx| tx.sql(put, binds).await)
            .await;
        put.unwrap();
    };

    put(6 * 60).await;
    let outcome = service.audited(&admin).await["outcome"].clone();
    assert_eq!(
        outcome,
        "unknown: the process has ended, or could not note it; it was done, or a part of it, or nothing"
    );
    // One that may be under way is not told so.
    put(0).await;
    assert_eq!(service.audited(&admin).await["outcome"], Value::Null);
    service.store.close().await;
}

/// The lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let lines = self.clone();
        let told = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || lines.clone());
        tracing::subscriber::set_default(told.finish())
    }

    fn count(&self, part: &str) -> usize {
        let lines = text(&self.0.lock().unwrap());
        lines.lines().filter(|line| line.contains(part)).count()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens a store with the policy as its first revision; gives its hash.
async fn begun(folder: &Folder) -> (Store, String) {
    begun_with(folder, POLICY).await
}

async fn begun_with(folder: &Folder, policy: &str) -> (Store, String) {
    let store = Store::open(Config::sqlite(folder.path().join("jobs.db")));
    let store = store.await.unwrap();
    let guard = Guard::new(PolicyDocument::new("policy", policy).unwrap()).unwrap();
    let orders = Router::new().route("/orders", get(async || "no orders"));
    let _protected = guard.protect(orders).await.unwrap();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();
    let base = guard.in_force().revision().hash().to_string();
    (store, base)
}

#[tokio::test]
async fn before_the_guard_is_around_its_routes_nothing_is_followed_however_long_it_takes() {
    let folder = Folder::new("mounted-late");
    let (store, base) = begun(&folder).await;
    // With which protecting the routes would be refused.
    let old = POLICY.to_owned() + "[routes.\"GET /old\"]\ntimeout = \"page\"\n";
    keep(&store, "orders", 2, &base, &old).await;
    let lines = Lines::default();
    let _listening = lines.listen();
    let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();

    // A start that takes long.
    tokio::time::pause();
    for _ in 0..30 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    let nothing = "the guard of the API is around no routes";
    super::serve::wait_until("it is told, or followed", async || {
        lines.count(nothing) > 0 || guard.in_force().revision().n() == 2
    })
    .await;

    assert_eq!(lines.count(nothing), 1);
    let orders = Router::new().route("/orders", get(async || "no orders"));
    let _protected = guard.protect(orders).await.unwrap();
    super::serve::wait_until("it is followed", async || {
        guard.in_force().revision().n() == 2
    })
    .await;
    store.close().await;
}

#[tokio::test]
async fn one_that_only_reads_keeps_nothing_and_follows_what_others_keep() {
    let folder = Folder::new("mounted-reads");
    let store = Store::open(Config::sqlite(folder.path().join("jobs.db")));
    let store = store.await.unwrap();
    let opened = async || {
        let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
        let orders = Router::new().route("/orders", get(async || "no orders"));
        let protected = guard.protect(orders).await.unwrap();
        // It looks before it is given.
        let api = Api::open(&store, guarded(&guard).read_only())
            .await
            .unwrap();
        (guard, api, protected)
    };

    let _reads = opened().await;
    let count = "SELECT count(*) FROM steadfast_revision";
    let counted: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(count, binds![]).await)
        .await;
    let counted: i64 = counted.unwrap().one().unwrap().get(0).unwrap();
    assert_eq!(counted, 0);

    let (_, base) = begun(&folder).await;
    keep(&store, "orders", 2, &base, &POLICY.replace("5s", "4s")).await;
    let (guard, ..) = opened().await;
    assert_eq!(guard.in_force().revision().n(), 2);
    store.close().await;
}

/// Keeps an override in the store, as another process would; the older one is of an earlier microsecond.
async fn hold(store: &Store, base: &str, path: &str, value: &str, at_us: i64) {
    let put = "INSERT INTO steadfast_policy_override (namespace, base, path, value, author, reason, at_us, until_us) \
               VALUES ('orders', ?1, ?2, ?3, 'ann', 'INC-7', ?4, \
               CAST(unixepoch('subsec') * 1000000 AS INTEGER) + 3600000000)";
    let binds = binds![base, path, value, at_us];
    let put: Result<Rows, Error> = store.write(async |mut tx| tx.sql(put, binds).await).await;
    put.unwrap();
}

const CALLS: &str = "[timeouts.call]\ntimeout = \"1s\"\n[breakers.pay]\nconsecutive = 5\nopen = \"5s\"\nopen_longest = \"20s\"\n\
                     [dependencies.pay]\nmethods = [\"GET\"]\ntimeout = \"call\"\nbreaker = \"pay\"\n";

#[tokio::test]
async fn an_override_that_falls_with_another_is_told_and_held_again_once_it_fits() {
    let folder = Folder::new("mounted-falls");
    let (store, base) = begun_with(&folder, CALLS).await;
    let longest = async |at_us| {
        hold(&store, &base, "breakers.pay.open_longest", "60s", at_us).await;
    };
    longest(1).await;
    hold(&store, &base, "breakers.pay.open", "30s", 2).await;
    let lines = Lines::default();
    let _listening = lines.listen();
    let guard = Guard::new(PolicyDocument::new("policy", CALLS).unwrap()).unwrap();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();
    let held = || guard.in_force().overrides().len();
    assert_eq!(held(), 2);

    let end = "DELETE FROM steadfast_policy_override WHERE path = 'breakers.pay.open_longest'";
    let ended: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(end, binds![]).await)
        .await;
    ended.unwrap();
    let unfit = "an override cannot be held by this process";
    super::serve::wait_until("it is told", async || lines.count(unfit) == 1).await;
    assert_eq!(held(), 0);

    longest(3).await;
    super::serve::wait_until("both are held", async || held() == 2).await;
    assert_eq!(lines.count(unfit), 1);
    store.close().await;
}

#[tokio::test]
async fn what_is_held_fits_in_whichever_order_it_is_kept() {
    let folder = Folder::new("mounted-order");
    let (store, base) = begun_with(&folder, CALLS).await;
    hold(&store, &base, "breakers.pay.open", "30s", 1).await;
    hold(&store, &base, "breakers.pay.open_longest", "60s", 2).await;

    let guard = Guard::new(PolicyDocument::new("policy", CALLS).unwrap()).unwrap();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();

    assert_eq!(guard.in_force().overrides().len(), 2);
    store.close().await;
}

#[tokio::test]
async fn an_override_that_does_not_fit_is_tried_again_under_the_next_revision() {
    let folder = Folder::new("mounted-unfit");
    let (store, base) = begun(&folder).await;
    hold(&store, &base, "timeouts.slow.timeout", "3s", 1).await;
    hold(&store, "another", "timeouts.page.timeout", "3s", 1).await;
    let lines = Lines::default();
    let _listening = lines.listen();
    let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
    let orders = Router::new().route("/orders", get(async || "no orders"));
    let _protected = guard.protect(orders).await.unwrap();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();
    let unfit = "an override cannot be held by this process";
    assert_eq!(
        (lines.count(unfit), guard.in_force().overrides().len()),
        (1, 0)
    );

    let slow = POLICY.to_owned()
        + "[timeouts.slow]\ntimeout = \"9s\"\n[routes.\"/orders\"]\ntimeout = \"slow\"\n";
    keep(&store, "orders", 2, &base, &slow).await;

    super::serve::wait_until("it is held", async || {
        guard.in_force().overrides().len() == 1
    })
    .await;
    // Neither is told at every look; and what is held against another policy is told at the start alone.
    assert_eq!(lines.count(unfit), 1);
    let others = "an override is held against another policy than the process was started with";
    assert_eq!(lines.count(others), 1);
    store.close().await;
}

#[tokio::test]
async fn a_guard_that_was_put_around_a_service_by_hand_follows_from_its_first_request_on() {
    let folder = Folder::new("mounted-by-hand");
    let (store, base) = begun(&folder).await;
    keep(&store, "orders", 2, &base, &POLICY.replace("5s", "4s")).await;
    let guard = Guard::new(PolicyDocument::new("policy", POLICY).unwrap()).unwrap();
    let layer = guard.layer(|_| Some("/orders"));
    let orders = Router::new().route("/orders", get(async || "no orders"));
    let orders = orders.layer(layer);
    let lines = Lines::default();
    let _listening = lines.listen();
    let _api = Api::open(&store, guarded(&guard)).await.unwrap();
    // Without a customer for long.
    tokio::time::pause();
    for _ in 0..30 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    assert_eq!(guard.in_force().revision().n(), 1);

    let asked = Request::get("/orders").body(Body::empty()).unwrap();
    assert_eq!(orders.oneshot(asked).await.unwrap().status(), 200);

    super::serve::wait_until("it is followed", async || {
        guard.in_force().revision().n() == 2
    })
    .await;
    assert_eq!(lines.count("the guard of the API is around no routes"), 0);
    store.close().await;
}
