//! `steadfast policy suggest`, by what a live process has seen and by what a real Prometheus knows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use steadfast::clock;

use super::policy;
use super::served::{PATIENCE, Shop, text};

/// More than what is enough.
const REQUESTS: usize = 1_100;

/// Asks for something often, by four connections.
fn load(shop: &Shop, path: &str) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let stream = TcpStream::connect(&shop.address).unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                for _ in 0..REQUESTS / 4 {
                    one(&stream, &mut lines, path);
                }
            });
        }
    });
}

/// One request of a connection that stays.
fn one(mut stream: &TcpStream, lines: &mut impl BufRead, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it was closed");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
}

#[test]
fn from_a_live_process_nothing_is_proposed_until_enough_is_known() {
    let shop = Shop::open("suggest");
    // Longer than anything takes here.
    let slow = policy().replace("timeout_floor = \"200ms\"", "timeout_floor = \"1ms\"");
    let file = shop.file("slow.toml", &slow);
    let file = file.to_str().unwrap();
    let neither = shop.ask(&["policy", "suggest"]);
    assert_eq!(neither.status.code(), Some(2));
    assert!(text(&neither.stderr).contains("<--prometheus <URL>|--observed>"));

    shop.get("/catalogue");
    let early = shop.told(&["policy", "suggest", "--observed"]);
    load(&shop, "/catalogue");
    let half = shop.told(&["policy", "suggest", "--observed", "--file", file]);
    load(&shop, "/recommendations/ada");
    let output = shop.file("proposed.toml", "");
    let output = output.to_str().unwrap();
    let args = [
        "policy",
        "suggest",
        "--observed",
        "--file",
        file,
        "--output",
        output,
    ];
    let known = shop.told(&args);

    assert!(
        early.contains("  GET /catalogue: 1 served, 0 cut off, p99 "),
        "{early}"
    );
    assert!(
        early.contains("  GET /statements: nothing was served\n"),
        "{early}"
    );
    assert!(
        early.contains("  timeouts.page is left: too little is known: GET /catalogue has served 1 requests, and 1000 are needed\n"),
        "{early}"
    );
    assert!(early.ends_with("nothing is proposed\n"), "{early}");
    assert!(
        half.contains(
            "is left: too little is known: GET /recommendations/{customer} has served 0 requests"
        ),
        "{half}"
    );
    assert!(
        known.contains("  timeouts.page.timeout_floor = \""),
        "{known}"
    );
    assert!(known.contains("\nthe change\n- timeouts.page.timeout_floor = \"1ms\"\n+ timeouts.page.timeout_floor = \""), "{known}");
    assert!(
        known.contains("a rate needs 60 s") || known.contains("has served 0 requests"),
        "{known}"
    );
    let checked = shop.ask(&["policy", "check", output]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let written = std::fs::read_to_string(output).unwrap();
    assert_eq!(written.lines().count(), slow.lines().count());
    assert_ne!(written, slow);
    assert!(
        shop.told(&["policy", "history"]).lines().count() == 2,
        "nothing was put in force"
    );
}

/// A Prometheus of this test alone, which scrapes the shop; gone with it.
struct Prometheus {
    process: Child,
    folder: PathBuf,
    address: String,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("suggest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // Nobody else takes it within the moment between.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs:\n  - job_name: shop\n    static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}/prometheus.yml", folder.display()))
            .arg(format!("--storage.tsdb.path={}/data", folder.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is there: ./test installs it, or apt-get install prometheus");
        Self {
            process,
            folder,
            address,
        }
    }

    /// Waits until a query, with escapes where they are needed, has a value of at least this.
    fn until(&self, query: &str, least: f64) {
        let since = clock::now();
        loop {
            if self.value(query).is_some_and(|value| value >= least) {
                return;
            }
            assert!(clock::now() - since < PATIENCE, "not in time: {query}");
        }
    }

    fn value(&self, query: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_prometheus_knows_what_the_process_took_and_the_same_follows() {
    let shop = Shop::open("suggest-prometheus");
    let prometheus = Prometheus::start(&shop.address);
    let slow = policy().replace("timeout_floor = \"200ms\"", "timeout_floor = \"1ms\"");
    let file = shop.file("slow.toml", &slow);
    let url = format!("http://{}", prometheus.address);
    // No server is asked.
    let suggest = |url: &str, window: &str| {
        shop.ask(&[
            "policy",
            "suggest",
            "--prometheus",
            url,
            "--window",
            window,
            "--file",
            file.to_str().unwrap(),
            "--server",
            "http://127.0.0.1:1",
        ])
    };
    let count = "sum(http_server_request_duration_seconds_count{http_route=~%22/catalogue|/recommendations.*%22})";
    // What grows is counted from the first value that was seen.
    shop.get("/catalogue");
    shop.get("/recommendations/ada");
    prometheus.until(count, 2.0);

    let early = text(&suggest(&url, "5m").stdout);
    load(&shop, "/catalogue");
    load(&shop, "/recommendations/ada");
    prometheus.until(count, 2.0 * REQUESTS as f64);
    let known = suggest(&url, "5m");

    let known = text(&known.stdout);
    assert!(
        early.contains("timeouts.page is left: too little is known: "),
        "{early}"
    );
    assert!(early.ends_with("nothing is proposed\n"), "{early}");
    assert!(
        known.contains("  timeouts.page.timeout_floor = \""),
        "{known}"
    );
    assert!(
        known.contains("+ timeouts.page.timeout_floor = \""),
        "{known}"
    );
    assert!(
        known.contains("GET /statements: nothing was served"),
        "{known}"
    );
    let wrong = suggest(&url, "1m");
    assert!(text(&wrong.stderr).contains("--window is not within 5m to 30d"));
    let nobody = suggest("http://127.0.0.1:1", "5m");
    assert_eq!(nobody.status.code(), Some(1));
    let told = text(&nobody.stderr);
    assert!(
        told.contains(
            "cannot learn about GET /catalogue from http://127.0.0.1:1\n  because: nobody answers"
        ),
        "{told}"
    );
}
