//! What is done to many jobs by one command.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use steadfast::jobs::{Batch, Filter, Job};

use super::served::{Served, bearer, text};
use super::*;

/// How many there are: two full parts and some.
const MANY: usize = 1_203;

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing;

impl Job for Nothing {
    const KIND: &'static str = "nothing";
}

/// A server whose queue `mail` is served by nobody and has many jobs of one tenant, and some of another.
async fn with_many(name: &str) -> (Served, Jobs, String) {
    let served = Served::start(name, &shell("nothing", "true", ""));
    let jobs = jobs(&served.folder).await;
    let mut batch = Batch::new();
    for number in 0..MANY + 3 {
        let tenant = if number % 401 == 400 { "b" } else { "a" };
        let options = Options::new().queue("mail").limit_key(tenant);
        batch.push(&Nothing, options).unwrap();
    }
    assert_eq!(jobs.enqueue_batch(batch).await.unwrap().len(), MANY + 3);
    let token = served.token("operator");
    (served, jobs, token)
}

const CANCEL: [&str; 9] = [
    "jobs",
    "cancel",
    "--all",
    "--queue",
    "mail",
    "--limit-key",
    "a",
    "--reason",
    "a freeze",
];

/// Counts those that are cancelled, page by page.
async fn cancelled(jobs: &Jobs) -> usize {
    let (mut count, mut filter) = (0, Filter::state(State::Cancelled));
    loop {
        let page = jobs.list(&filter, 500).await.unwrap();
        count += page.jobs.len();
        match page.next {
            Some(next) => filter = filter.after(next),
            None => return count,
        }
    }
}

fn with<'a>(command: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [command, rest].concat()
}

fn actions(served: &Served) -> Vec<(String, String, String)> {
    let admin = served.token("admin");
    let (_, _, audit) = served.send("GET", "/api/v1/audit", &bearer(&admin), "");
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let items = audit["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // Tokens are made at the store.
    let items = items.filter(|entry| entry["action"] != "tokens.write");
    let told = items.map(|entry| {
        assert!(text(&entry["actor"]).starts_with("operator (token "));
        assert_eq!(entry["outcome"], "done");
        (
            text(&entry["action"]),
            text(&entry["subject"]),
            text(&entry["reason"]),
        )
    });
    told.collect()
}

#[tokio::test]
async fn many_jobs_are_cancelled_and_retried_once_their_number_is_known() {
    let (served, jobs, token) = with_many("bulk").await;

    let dry = served.told(&token, &with(&CANCEL, &["--dry-run"]));
    assert_eq!(
        dry,
        "1203 jobs would be cancelled; the same command with --yes 1203 in place of --dry-run does it\n"
    );
    let unsaid = served.ask(&token, &CANCEL);
    assert_eq!(unsaid.status.code(), Some(1));
    let told = text(&unsaid.stderr);
    assert!(
        told.contains("1203 jobs: say --yes 1203, or see with --dry-run"),
        "{told}"
    );
    let wrong = served.ask(&token, &with(&CANCEL, &["--yes", "1204"]));
    assert!(
        text(&wrong.stderr).contains("there are 1203 such jobs, not 1204; nothing was changed")
    );
    assert_eq!(actions(&served), [], "nothing was changed");

    let done = served.told(&token, &with(&CANCEL, &["--yes", "1203"]));
    assert_eq!(done, "1203 jobs are cancelled\n");
    let left = jobs.list(&Filter::live(), 10).await.unwrap().jobs;
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|job| job.limit_key.as_deref() == Some("b")));
    let of = |action: &str, count: usize| {
        let subject = format!("{count} jobs");
        (action.to_owned(), subject, "a freeze".to_owned())
    };
    let cancelled = [203, 500, 500].map(|count| of("jobs.cancel", count));
    assert_eq!(actions(&served), cancelled);
    // Which they were, as far as there is room, and what was asked for.
    let noted = served.told(
        &token,
        &["audit", "list", "--action", "jobs.cancel", "--json"],
    );
    let noted: Value = serde_json::from_str(&noted).unwrap();
    let detail = noted["data"]["items"][0]["detail"].as_str().unwrap();
    let detail: Value = serde_json::from_str(detail).unwrap();
    assert_eq!(detail["jobs"].as_array().unwrap().len(), 200);
    assert_eq!(
        (&detail["more"], &detail["asked"]["limit_key"]),
        (&3.into(), &"a".into())
    );
    let again = served.told(&token, &CANCEL);
    assert_eq!(again, "0 jobs are cancelled\n", "there are none any more");

    let retry = [
        "jobs",
        "retry",
        "--all",
        "--state",
        "cancelled",
        "--kind",
        "nothing",
        "--reason",
        "a freeze",
        "--yes",
        "1203",
        "--json",
    ];
    let retried: Value = serde_json::from_str(&served.told(&token, &retry)).unwrap();
    let expect = serde_json::json!({
        "version": 1,
        "data": { "found": 1203, "done": 1203, "running": 0, "left": 0, "dry_run": false },
    });
    assert_eq!(retried, expect);
    let retried = [203, 500, 500].map(|count| of("jobs.redrive", count));
    assert_eq!(actions(&served)[..3], retried);
    let pending = Filter::state(State::Pending).limit_key("a");
    assert_eq!(jobs.list(&pending, 500).await.unwrap().jobs.len(), 500);

    // What cannot be meant is refused before anything is looked at.
    let viewer = served.token("viewer");
    let refused = served.ask(&viewer, &with(&CANCEL, &["--dry-run"]));
    assert_eq!(refused.status.code(), Some(5));
    for wrong in [
        with(&CANCEL, &["4711"]),
        vec!["jobs", "cancel", "--reason", "x"],
        vec!["jobs", "cancel", "1", "--queue", "mail", "--reason", "x"],
    ] {
        assert_eq!(
            served.ask(&token, &wrong).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
    let ended = with(&CANCEL, &["--state", "completed", "--dry-run"]);
    let ended = text(&served.ask(&token, &ended).stderr);
    assert!(
        ended.contains("only pending, running and waiting jobs are cancelled"),
        "{ended}"
    );
    served.server.stop();
}

#[tokio::test]
async fn on_a_terminal_the_number_is_typed_and_a_bar_shows_how_far_it_is() {
    let (served, jobs, token) = with_many("bulk-typed").await;
    let ask = |typed: &str| {
        let line = CANCEL[..8].join(" ");
        let command = format!("exec {} {line} 'a freeze'", env!("CARGO_BIN_EXE_steadfast"));
        // It makes a terminal, as one that people sit at.
        let mut child = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env("STEADFAST_SERVER", format!("http://{}", served.address))
            .env("STEADFAST_TOKEN", &token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut told = String::new();
        let mut chunk = [0; 4_096];
        while !told.contains("to go on: ") {
            let read = out.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        let mut keys = child.stdin.take().unwrap();
        writeln!(keys, "{typed}").unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        (child.wait().unwrap().code(), told + &rest)
    };

    let (code, told) = ask("yes");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("\rfound 1203 jobs"), "{told}");
    assert!(
        told.contains("This changes 1203 jobs. Type 1203 to go on: "),
        "{told}"
    );
    assert!(told.contains("nothing was changed"), "{told}");
    assert_eq!(cancelled(&jobs).await, 0);

    let (code, told) = ask("1203");
    assert_eq!(code, Some(0), "{told}");
    let half = "\r[##########               ]  41 % cancelled of 1203 jobs";
    assert!(told.contains(half), "{told}");
    assert!(told.contains("] 100 % cancelled of 1203 jobs"), "{told}");
    assert!(told.contains("1203 jobs are cancelled"), "{told}");
    assert_eq!(cancelled(&jobs).await, 1_203);
    served.server.stop();
}

#[tokio::test]
async fn what_breaks_off_half_way_goes_on_with_the_rest() {
    let (served, jobs, token) = with_many("bulk-broken").await;
    let parts = Arc::new(AtomicUsize::new(0));
    let through = breaks_off(&served.address, &parts);

    let command = with(&CANCEL, &["--yes", "1203", "--server", &through]);
    let broken = served.ask(&token, &command);
    assert_eq!(broken.status.code(), Some(7), "{}", text(&broken.stderr));
    let told = text(&broken.stderr);
    let expect = "broken off after 500 of 1203 jobs; the same command goes on with the rest";
    assert!(told.contains(expect), "{told}");
    assert_eq!(parts.load(Ordering::SeqCst), 2);
    assert_eq!(cancelled(&jobs).await, 500);

    let rest = served.told(&token, &with(&CANCEL, &["--yes", "703"]));
    assert_eq!(rest, "703 jobs are cancelled\n");
    assert_eq!(cancelled(&jobs).await, 1_203);
    served.server.stop();
}

#[tokio::test]
async fn what_comes_after_the_count_is_left_alone() {
    let (served, jobs, token) = with_many("bulk-later").await;
    let ask = |dry_run: bool, cursor: Option<&Value>| {
        let body = serde_json::json!({
            "queue": "mail", "limit": 500, "dry_run": dry_run, "cursor": cursor, "reason": "x",
        });
        let path = "/api/v1/jobs/cancel";
        let (status, _, told) = served.send("POST", path, &bearer(&token), &body.to_string());
        assert_eq!(status, 200, "{told}");
        serde_json::from_str::<Value>(&told).unwrap()
    };

    let counted = ask(true, None);
    let later = Options::new().queue("mail");
    let later = jobs.enqueue(&Nothing, later).await.unwrap();
    let done = ask(false, Some(&counted["first"]));
    assert_eq!(done["jobs"], counted["jobs"]);
    assert_eq!(done["next"], counted["next"]);
    let later = jobs.find(later).await.unwrap().unwrap().info;
    assert_eq!(later.state, State::Pending);

    // Asked once more, it is done to none of them twice.
    let again = ask(false, Some(&counted["first"]));
    let of = |told: &Value| -> Vec<u64> { serde_json::from_value(told["jobs"].clone()).unwrap() };
    assert!(of(&again).iter().all(|id| !of(&done).contains(id)));
    served.server.stop();
}

/// Stands in front of a server, and hangs up when the second part is to be done.
fn breaks_off(server: &str, parts: &Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (server, parts) = (server.to_owned(), parts.clone());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let parts = parts.clone();
            std::thread::spawn(move || relay(client, server, &parts));
        }
    });
    address
}

fn relay(mut client: TcpStream, mut server: TcpStream, parts: &AtomicUsize) {
    let mut request = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read @ 1..) = client.read(&mut chunk) {
        request.extend_from_slice(&chunk[..read]);
        // The end of a body: each of them is one object.
        if !request.ends_with(b"}") && !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let is_part = String::from_utf8_lossy(&request).contains("\"dry_run\":false");
        if is_part && parts.fetch_add(1, Ordering::SeqCst) == 1 {
            let _ = client.shutdown(std::net::Shutdown::Both);
            let _ = server.shutdown(std::net::Shutdown::Both);
            return;
        }
        server.write_all(&request).unwrap();
        request.clear();
    }
}
