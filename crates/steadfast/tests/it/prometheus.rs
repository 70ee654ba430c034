//! A real Prometheus scrapes a guarded service, and knows what its timeout starts from.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::tower::{Layer, ServiceExt};
use axum::body::Body;
use axum::{Router, routing::get};
use http::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use steadfast::report::{self, prometheus};
use steadfast::tower::prometheus::{Prometheus, Starts};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{clock, report::catalogue as core, tower::catalogue as tower};
use tokio::net::TcpListener;

use crate::document::Document;

const MS: Duration = Duration::from_millis(1);

/// How long is waited for the first values: they are scraped five times a second.
const PATIENCE: Duration = Duration::from_secs(12);

const POLICY: &str = r#"
[timeouts.page]
timeout = "learn"
timeout_floor = "10ms"
timeout_ceiling = "9s"
timeout_start_query = '''
histogram_quantile(0.99, sum by (le) (rate(
    http_server_request_duration_seconds_bucket{http_route="$route",http_request_method=~"$method"}[1m])))
'''

[timeouts.call]
timeout = "learn"
timeout_floor = "10ms"
timeout_ceiling = "9s"
timeout_start_query = '''
histogram_quantile(0.99, sum by (le) (rate(
    http_client_request_duration_seconds_bucket{dependency="$dependency",http_request_method=~"$method"}[1m])))
'''

[dependencies.gateway]
methods = ["GET"]
timeout = "call"

[dependencies.unasked]
methods = ["GET"]
timeout = "call"

[routes."GET /catalogue/{page}"]
timeout = "page"

[routes."GET /never"]
timeout = "page"
"#;

type HttpClient = Client<HttpConnector, Body>;

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A Prometheus of this test alone; gone with it.
struct Server {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Server {
    fn start(target: SocketAddr) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Nobody else takes it within the moment between.
        let free = StdListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let rules = root().join("docs/prometheus/steadfast.rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s }}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n  - job_name: shop\n    static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}/prometheus.yml", folder.display()))
            .arg(format!("--storage.tsdb.path={}/data", folder.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is there: ./test installs it, or apt-get install prometheus");
        Self {
            process,
            folder,
            address,
        }
    }

    fn ask(&self) -> Prometheus<HttpClient> {
        Prometheus::new(client(), &format!("http://{}", self.address)).unwrap()
    }

    /// Waits until a query has a value that is wanted.
    async fn until(&self, query: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let until = clock::now() + PATIENCE;
        let mut prometheus = self.ask();
        loop {
            let value = prometheus.value::<Body, _>(query).await;
            match value {
                Ok(value) if wanted(value) => return value,
                other if clock::now() > until => {
                    let log = fs::read_to_string(self.folder.join("log")).unwrap();
                    panic!("{query}: {other:?}\n{log}");
                }
                _ => clock::sleep(50 * MS).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    steadfast::spawn("service", async { axum::serve(listener, app).await });
    address
}

async fn tell() -> String {
    prometheus::text(&report::snapshot())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_starts_from_the_p99_that_a_real_prometheus_has_scraped() {
    let policy = PolicyDocument::new("policy.toml", POLICY).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    let app = Router::new()
        .route(
            "/catalogue/{page}",
            get(async || clock::sleep(30 * MS).await),
        )
        .route("/never", get(async || ()));
    let app = guard
        .protect(app)
        .await
        .unwrap()
        .route("/metrics", get(tell));
    let service = serve(app).await;
    let server = Server::start(service);
    // Customers, until the end of the test: half of them through a client of the guard.
    let outgoing = Client::builder(TokioExecutor::new()).build_http();
    let gateway = guard.client("gateway").unwrap().layer(outgoing);
    let customers = steadfast::spawn("customers", async move {
        let client = client();
        for number in 0_u64.. {
            let uri = format!("http://{service}/catalogue/{number}");
            let request = || Request::get(&uri).body(Body::empty()).unwrap();
            let _ = client.request(request()).await;
            let _ = gateway.clone().oneshot(request()).await;
            clock::sleep(5 * MS).await;
        }
    });

    // It takes all that we tell, and in one piece.
    server.until("up{job=\"shop\"}", |up| up == 1.0).await;
    server
        .until("steadfast_report_unwritten_values", |values| values == 0.0)
        .await;
    let route = policy.policy().timeouts["page"]
        .start_query
        .clone()
        .unwrap();
    let route = route
        .replace("$route", "/catalogue/{page}")
        .replace("$method", "GET");
    let p99 = server.until(&route, |p99| p99 > 0.0).await;
    assert!(p99 > 0.025, "a request takes 30 ms, and not {p99} s");
    let call = policy.policy().timeouts["call"].start_query.clone();
    let call = call.unwrap().replace("$dependency", "gateway");
    let call = call.replace("$method", "GET");
    let p99 = server.until(&call, |p99| p99 > 0.0).await;
    assert!(p99 > 0.025, "a call takes 30 ms, and not {p99} s");

    let starts = Starts::ask::<_, Body, _>(policy.policy(), &mut server.ask()).await;
    let next = Guard::builder(policy.policy().clone()).starting_at(&starts);
    let next = next.build().unwrap();

    let start = starts.route("GET /catalogue/{page}").unwrap();
    assert!(start.is_measured(), "{start:?}");
    let timeout = start.timeout().as_secs_f64();
    assert!((0.025..9.0).contains(&timeout), "{start:?}");
    let start = starts.dependency("gateway").unwrap();
    assert!(start.is_measured(), "{start:?}");
    let call = start.timeout();
    assert!((0.025..9.0).contains(&call.as_secs_f64()), "{start:?}");
    let of_calls = next.dependencies().into_iter().map(|of| of.timeout);
    let ceiling = Duration::from_secs(9);
    assert_eq!(of_calls.collect::<Vec<_>>(), [Some(call), Some(ceiling)]);
    let unasked = starts.dependency("unasked").unwrap();
    assert_eq!(unasked.failure(), Some("there are no values yet"));
    // The guard that was measured is still there, and has a timeout of its own.
    let snapshot = report::snapshot();
    let mut in_force = snapshot.metrics().filter(|metric| {
        let of_route = ("policy", "GET /catalogue/{page}".to_owned().into());
        metric.name == "steadfast_timeout_seconds" && metric.labels.contains(&of_route)
    });
    assert!(in_force.any(|metric| metric.value == report::Value::Gauge(timeout)));
    let told = starts.explain(policy.explain_route("GET /catalogue/{page}").unwrap());
    assert!(told.to_string().contains("as Prometheus knew at"), "{told}");
    let never = starts.route("GET /never").unwrap();
    assert_eq!(never.failure(), Some("there are no values yet"));
    assert_eq!(never.timeout(), Duration::from_secs(9));

    // What the page asks at night is something that can be asked.
    let page = Document::open("docs/how-to/prometheus.md");
    let questions = page.blocks("promql");
    assert_eq!(questions.len(), 13);
    for question in questions {
        let answer = server.ask().value::<Body, _>(question).await;
        if let Err(error) = answer {
            let error = error.to_string();
            let fine = ["there are no values yet", "values, where one is needed"];
            assert!(
                fine.iter().any(|fine| error.ends_with(fine)),
                "{question}: {error}"
            );
        }
    }
    customers.abort();
    drop((guard, next));
}

/// Runs `promtool`, which says what is wrong, if anything.
fn promtool(arguments: &[&str], input: &str) {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: ./test installs it, or apt-get install prometheus");
    tool.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn the_alerts_are_what_prometheus_takes_and_come_when_they_should() {
    promtool(
        &["check", "rules", "docs/prometheus/steadfast.rules.yml"],
        "",
    );
    promtool(
        &["test", "rules", "docs/prometheus/steadfast.rules.test.yml"],
        "",
    );
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_our_text() {
    let policy = PolicyDocument::new("policy.toml", POLICY).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    let _shutdown = steadfast::Shutdown::default();

    promtool(&["check", "metrics"], &tell().await);
    drop(guard);
}

/// Finds the names of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| {
        let file = ["steadfast_", "http_server_", "http_client_"];
        file.iter().any(|start| word.starts_with(start))
    });
    ours.collect()
}

#[test]
fn alerts_and_questions_name_metrics_that_there_are() {
    let known: BTreeSet<String> = core::metrics()
        .chain(tower::metrics())
        .chain(steadfast::store::catalogue::metrics())
        .chain(steadfast::jobs::catalogue::metrics())
        .flat_map(|doc| ["", "_bucket", "_count", "_sum"].map(|part| format!("{}{part}", doc.name)))
        .collect();
    let page = Document::open("docs/how-to/prometheus.md");
    let rules = fs::read_to_string(root().join("docs/prometheus/steadfast.rules.yml")).unwrap();
    let texts = page.blocks("promql").into_iter().chain([rules.as_str()]);

    for text in texts {
        for name in names(text) {
            assert!(known.contains(name), "{name} is no metric of ours: {text}");
        }
    }
}
