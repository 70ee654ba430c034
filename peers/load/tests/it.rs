//! The generator against a small server whose answers are scripted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use load::{Arrivals, Class, ClassReport, Plan, Reuse, Step};

/// Longer than any test: for clients who are to wait.
const PATIENT: Duration = Duration::from_secs(60);

/// A server with a thread for each connection.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
}

impl Server {
    /// `answer` is told the first line of the request and writes; the connection goes on while it gives true.
    fn start(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream.unwrap(), &*answer));
            }
        });
        Server {
            address,
            connections,
        }
    }

    fn run(&self, class: Class) -> ClassReport {
        let report = Plan::new(self.address, vec![class]).run().unwrap();
        accounted(&report.classes[0]);
        report.classes[0].clone()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str, &mut TcpStream) -> bool) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    while reader.read_line(&mut first).is_ok_and(|bytes| bytes > 0) {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        if !answer(first.trim_end(), &mut stream) {
            return;
        }
        first.clear();
    }
}

fn says(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).is_ok()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Every request that was offered is told of once.
fn accounted(class: &ClassReport) {
    let errors: u64 = class.errors.values().sum();
    let told = class.unsent + class.in_time + class.late + class.other + class.gave_up + errors;
    assert_eq!(class.offered, told, "{class}");
}

fn class(path: &str, ms: u64, rate: f64, timeout: Duration) -> Class {
    let steps = vec![Step {
        lasts: Duration::from_millis(ms),
        rate,
    }];
    let mut class = Class::new("c", "GET", path, steps, timeout);
    class.arrivals = Arrivals::Constant;
    class
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    let server = Server::start(|_, stream| says(stream, OK));

    // An interval is long beside an answer, and the connection is idle again.
    let kept = server.run(class("/", 1000, 10.0, PATIENT));
    let opened = server.connections.swap(0, Ordering::SeqCst);
    let mut each = class("/", 1000, 10.0, PATIENT);
    each.reuse = Reuse::Never;
    let closed = server.run(each);

    assert_eq!((kept.offered, kept.in_time, closed.in_time), (10, 10, 10));
    assert!(opened < 10, "{opened} connections for 10 requests");
    assert_eq!(server.connections.load(Ordering::SeqCst), 10);
}

#[test]
fn requests_go_out_though_none_is_answered_and_wait_from_when_they_were_due() {
    const ALL: u64 = 100;
    let seen = (Mutex::new(0), Condvar::new());
    let server = Server::start(move |_, stream| {
        // Nobody is answered before all have asked, which a generator that waits would never do.
        let (count, changed) = &seen;
        let mut count = count.lock().unwrap();
        *count += 1;
        changed.notify_all();
        drop(changed.wait_while(count, |count| *count < ALL).unwrap());
        says(stream, OK)
    });

    let report = server.run(class("/", 500, ALL as f64 * 2.0, PATIENT));

    assert_eq!(
        (report.offered, report.sent, report.in_time),
        (ALL, ALL, ALL)
    );
    // The first was due at 5 ms and the last at 500: the median waited for half of that.
    assert!(report.latency.max_ms.unwrap() >= 495.0, "{report}");
    assert!(report.latency.p50_ms.unwrap() >= 245.0, "{report}");
}

#[test]
fn clients_give_up_by_closing_the_connection() {
    let closed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&closed);
    let server = Server::start(move |_, stream| {
        let mut byte = [0];
        let gone = matches!(stream.read(&mut byte), Ok(0) | Err(_));
        count.fetch_add(u64::from(gone), Ordering::SeqCst);
        false
    });

    let report = server.run(class("/", 100, 100.0, Duration::from_millis(20)));

    assert_eq!((report.offered, report.sent, report.gave_up), (10, 10, 10));
    while closed.load(Ordering::SeqCst) < 10 {
        thread::yield_now();
    }
}

#[test]
fn an_arrival_that_finds_all_connections_busy_is_unsent_and_told() {
    let server = Server::start(|_, stream| matches!(stream.read(&mut [0]), Ok(1)));
    let mut plan = Plan::new(
        server.address,
        vec![class("/", 100, 200.0, Duration::from_secs(1))],
    );
    plan.connections_max = 5;

    let report = plan.run().unwrap();

    let class = report.class("c");
    accounted(class);
    assert_eq!(
        (class.offered, class.sent, class.gave_up, class.unsent),
        (20, 5, 5, 15)
    );
}

#[test]
fn idle_connections_make_room_for_another_class() {
    let server = Server::start(|_, stream| says(stream, OK));
    let pause = Step {
        lasts: Duration::from_millis(200),
        rate: 0.0,
    };
    let mut second = class("/", 200, 20.0, PATIENT);
    second.name = "second".into();
    second.steps.insert(0, pause);
    let mut plan = Plan::new(server.address, vec![class("/", 100, 10.0, PATIENT), second]);
    plan.connections_max = 1;

    let report = plan.run().unwrap();

    assert_eq!(report.class("c").in_time, 1, "{report}");
    assert_eq!(report.class("second").unsent, 0, "{report}");
}

#[test]
fn late_answers_and_rejections_are_told_apart() {
    let server = Server::start(|first, stream| match first {
        "GET /rejected HTTP/1.1" => says(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\nx-steadfast-rejected: queue_full\r\ncontent-length: 0\r\n\r\n",
        ),
        _ => says(stream, OK),
    });

    let mut late = class("/", 100, 100.0, PATIENT);
    late.in_time = Duration::ZERO;
    let late = server.run(late);
    let rejected = server.run(class("/rejected", 100, 100.0, PATIENT));

    assert_eq!(
        (late.in_time, late.late, late.in_time_by_second.iter().sum()),
        (0, 10, 0_u64)
    );
    assert_eq!(
        (
            rejected.other,
            rejected.statuses[&503],
            rejected.rejected["queue_full"]
        ),
        (10, 10, 10)
    );
    assert_eq!(rejected.latency.p50_ms, None);
    assert!(rejected.other_latency.p50_ms.is_some());
}

#[test]
fn bodies_are_read_in_every_form() {
    let server = Server::start(|first, stream| match first {
        "GET /chunked HTTP/1.1" => {
            let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            says(stream, head)
                && says(stream, "5;x=y\r\nhello\r\n")
                && says(stream, "0\r\nx-trailer: 1\r\n\r\n")
        }
        "GET /closed HTTP/1.1" => {
            says(stream, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
            false
        }
        "HEAD / HTTP/1.1" => says(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        _ => says(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
    });
    let mut head = class("/", 300, 10.0, PATIENT);
    head.method = "HEAD".into();

    for class in [
        class("/chunked", 300, 10.0, PATIENT),
        class("/closed", 300, 10.0, PATIENT),
        class("/empty", 300, 10.0, PATIENT),
        head,
    ] {
        let path = class.path.clone();
        let report = server.run(class);
        assert_eq!(report.in_time, 3, "{path}: {report}");
    }
}

#[test]
fn broken_answers_are_told_by_what_broke() {
    let server = Server::start(|first, stream| {
        match first {
            "GET /none HTTP/1.1" => true,
            "GET /cut HTTP/1.1" => says(stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            "GET /chunk HTTP/1.1" => says(
                stream,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            ),
            "GET /endless HTTP/1.1" => {
                says(stream, "HTTP/1.1 200 OK\r\n") && says(stream, &"x: y\r\n".repeat(20_000))
            }
            _ => says(stream, "hello\r\n\r\n"),
        };
        false
    });

    for (path, error) in [
        ("/none", "closed without an answer"),
        ("/cut", "cut off"),
        ("/chunk", "malformed"),
        ("/endless", "malformed"),
        ("/other", "malformed"),
    ] {
        let report = server.run(class(path, 100, 10.0, PATIENT));
        assert_eq!(report.errors.get(error), Some(&1), "{path}: {report}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = Plan::new(nobody, vec![class("/", 100, 10.0, PATIENT)])
        .run()
        .unwrap();
    assert_eq!(
        report.class("c").errors.get("connect"),
        Some(&1),
        "{report}"
    );
    assert_eq!(report.class("c").sent, 0);
}

#[test]
fn plans_are_refused_with_the_reason() {
    let refused = |text: &str| text.parse::<Plan>().unwrap_err().to_string();
    let plan = |target: &str, more: &str| {
        format!(
            "target = \"{target}\"\n[[class]]\nname = \"c\"\nrequest = \"GET /\"\n\
             steps = [{{ seconds = 1, rate = 1 }}]\ntimeout_ms = 100\n{more}"
        )
    };

    assert!(plan("127.0.0.1:1", "").parse::<Plan>().is_ok());
    for (text, expected) in [
        (
            plan("10.0.0.1:80", ""),
            "10.0.0.1:80 is not a loopback address",
        ),
        (
            plan("127.0.0.1:1", "in_time_ms = 200"),
            "clients give up after 100ms",
        ),
        (
            plan("127.0.0.1:1", "headers = { Connection = \"close\" }"),
            "written without being named",
        ),
        (
            plan("127.0.0.1:1", "retries = 3"),
            "unknown field `retries`",
        ),
        (
            plan("127.0.0.1:1", "").replace("rate = 1 ", "rate = -1 "),
            "is not between",
        ),
        (
            plan("127.0.0.1:1", "").replace("seconds = 1,", "seconds = 9999,"),
            "longer than 3600s",
        ),
    ] {
        let told = refused(&text);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn the_program_runs_a_plan_and_prints_data() {
    let server = Server::start(|_, stream| says(stream, OK));
    let file = std::env::temp_dir().join(format!("load-{}.toml", std::process::id()));
    std::fs::write(
        &file,
        "target = \"127.0.0.1:1\"\n[[class]]\nname = \"orders\"\nrequest = \"POST /orders\"\n\
         body = '{\"item\": {n}}'\narrivals = \"constant\"\nsteps = [{ seconds = 0.1, rate = 50 }]\ntimeout_ms = 60000\n",
    )
    .unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .arg(&file)
        .args(["--target", &server.address.to_string(), "--json"])
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();

    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["classes"][0]["name"], "orders");
    assert_eq!(report["classes"][0]["in_time"], 5);
}
