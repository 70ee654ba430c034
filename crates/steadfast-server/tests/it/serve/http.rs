//! Services that do the work of jobs: well, slowly, not at all, and by telling lies.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A call as it came.
struct Call {
    headers: BTreeMap<String, String>,
    body: String,
    stream: TcpStream,
}

impl Call {
    fn read(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        lines.read_line(&mut line)?;
        headers.insert("request".into(), line.trim_end().to_owned());
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let length = headers
            .get("content-length")
            .and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        lines.read_exact(&mut body)?;
        Ok(Self {
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            stream,
        })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn answer(mut self, text: &str) {
        // Who has left needs no answer.
        let _ = self.stream.write_all(text.as_bytes());
    }
}

/// A service that gives each of its calls to the test.
fn service() -> (SocketAddr, Receiver<Call>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (call, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(read) = Call::read(stream.unwrap()) else {
                continue;
            };
            if call.send(read).is_err() {
                return;
            }
        }
    });
    (address, calls)
}

fn next(calls: &Receiver<Call>) -> Call {
    calls.recv_timeout(PATIENCE).expect("a call comes")
}

fn handler(folder: &Folder, address: SocketAddr, rest: &str) -> PathBuf {
    folder.configure(&format!(
        "[calls]\nlisten = \"127.0.0.1:0\"\n[handlers.mail]\nhttp = \"http://{address}/jobs\"\n\
         secret = \"env:MAIL_SECRET\"\n{rest}\n"
    ))
}

fn start(config: &Path) -> Server {
    Server::start_with(config, &[("MAIL_SECRET", SECRET)])
}

/// What the documentation says of the signature, by the hands of somebody else.
fn signature(at_s: &str, job: &str, term: &str, wanted: &str, body: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", SECRET, "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let signed = format!("v1\n{at_s}\n{job}\n{term}\n{wanted}\n{body}");
    openssl
        .stdin
        .take()
        .unwrap()
        .write_all(signed.as_bytes())
        .unwrap();
    let printed = openssl.wait_with_output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    format!("v1={}", printed.split_whitespace().next().unwrap())
}

/// Tells a word about a run, as its target would.
fn tell(url: &str, term: &str, word: &str, body: &str, secret_holds: bool) -> String {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let (path, _) = path.rsplit_once('/').unwrap();
    let job = path.rsplit_once('/').unwrap().1;
    let at_s = clock::timestamp()
        .unix_millis()
        .div_euclid(1_000)
        .to_string();
    let signed = signature(
        &at_s,
        job,
        term,
        if secret_holds { word } else { "other" },
        body,
    );
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /{path}/{term}/{word} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         steadfast-timestamp: {at_s}\r\nsteadfast-signature: {signed}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_call_is_signed_and_says_what_it_is_about_and_its_answer_is_the_result() {
    let folder = Folder::new("call");
    let (address, calls) = service();
    let server = start(&handler(&folder, address, ""));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "mail", r#"{"order": 4711}"#, 3).await;
    let call = next(&calls);

    assert_eq!(call.header("request"), "POST /jobs HTTP/1.1");
    assert_eq!(call.body, r#"{"order": 4711}"#);
    assert_eq!(call.header("content-type"), "application/json");
    assert_eq!(call.header("steadfast-kind"), "mail");
    assert_eq!(call.header("steadfast-job"), id.to_string());
    assert_eq!(call.header("steadfast-attempt"), "1");
    assert_eq!(call.header("steadfast-max-attempts"), "3");
    assert_eq!(
        call.header("idempotency-key"),
        format!("steadfast-job-{id}")
    );
    let trace = call.header("steadfast-trace-id");
    assert!(
        call.header("traceparent").contains(trace),
        "{:?}",
        call.headers
    );
    let (at_s, term) = (
        call.header("steadfast-timestamp"),
        call.header("steadfast-term"),
    );
    let expected = signature(at_s, &id.to_string(), term, "run", &call.body);
    assert_eq!(call.header("steadfast-signature"), expected);
    call.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"sent\":2}");

    let job = until_state(&jobs, id, State::Completed).await;
    let result: Value = job.result().unwrap().unwrap();
    assert_eq!(
        (&result["status"], &result["answer"]["sent"]),
        (&200.into(), &2.into())
    );
    server.stop();
}

#[tokio::test]
async fn statuses_say_what_becomes_of_a_job() {
    let folder = Folder::new("statuses");
    let (address, calls) = service();
    let server = start(&handler(
        &folder,
        address,
        "backoff = \"1h\"\nbackoff_max = \"1h\"",
    ));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "mail", "1", 3).await;
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\nbusy";
    next(&calls).answer(busy);
    let again = next(&calls);
    assert_eq!(again.header("steadfast-attempt"), "2");
    again.answer("HTTP/1.1 422 No\r\ncontent-length: 15\r\n\r\nno such address");
    let job = until_state(&jobs, id, State::Discarded).await;
    assert_eq!(
        job.info.error.as_deref(),
        Some("it answered 422: no such address")
    );

    // Signed calls do not go where an answer says.
    let id = enqueue(&jobs, "mail", "2", 3).await;
    calls
        .recv()
        .unwrap()
        .answer("HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    let job = until_state(&jobs, id, State::Discarded).await;
    assert_eq!(job.info.error.as_deref(), Some("it answered 307"));
    server.stop();
}

#[tokio::test]
async fn a_target_that_is_slow_dies_or_lies_costs_an_attempt_and_says_why() {
    let folder = Folder::new("liar");
    let (address, calls) = service();
    // Long enough for an answer that is sent at once, also on a machine that does much else.
    let server = start(&handler(
        &folder,
        address,
        "answer_within = \"3s\"\nbreaker = 1000\nattempts = 1",
    ));
    let jobs = jobs(&folder).await;
    let mut held = Vec::new();

    for (answer, expect) in [
        // It closes without a word.
        (Some(""), "broke off"),
        // It promises more than it says.
        (
            Some("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome"),
            "it answered 200, and its answer broke off",
        ),
        // It speaks no HTTP.
        (Some("220 mail.example ESMTP\r\n"), "broke off"),
        // It promises more than anybody reads.
        (
            Some("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"),
            "it answered 200, and its answer broke off",
        ),
        // It accepts, and says nothing.
        (None, "no answer in time (policy mail)"),
    ] {
        let id = enqueue(&jobs, "mail", "null", 1).await;
        let call = next(&calls);
        match answer {
            Some(answer) => call.answer(answer),
            None => held.push(call),
        }
        let job = until_state(&jobs, id, State::Discarded).await;
        let error = job.info.error.unwrap();
        assert!(error.contains(expect), "{answer:?}: {error}");
    }

    server.stop();
}

#[tokio::test]
async fn of_an_answer_that_is_long_the_beginning_is_kept_and_the_work_is_done() {
    let folder = Folder::new("long-answer");
    let (address, calls) = service();
    let server = start(&handler(&folder, address, "breaker = 1000\nattempts = 1"));
    let jobs = jobs(&folder).await;

    for (part, kept) in [("x", 40 * 1024), ("\u{1}", 5 * 1024)] {
        // It is read as far as it is kept, and no further: this one has no end.
        let id = enqueue(&jobs, "mail", "null", 1).await;
        let mut call = next(&calls);
        call.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let flood = part.repeat(64 * 1024);
        while call.stream.write_all(flood.as_bytes()).is_ok() {}
        let job = until_state(&jobs, id, State::Completed).await;
        let result: Value = job.result().unwrap().unwrap();
        assert_eq!(result["answer"].as_str().unwrap(), part.repeat(kept));
        assert_eq!(result["answer_cut"], true);
    }

    let id = enqueue(&jobs, "mail", "null", 1).await;
    let long = "no such address".to_owned() + &" ".repeat(50_000);
    next(&calls).answer(&format!(
        "HTTP/1.1 422 No\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    ));
    let job = until_state(&jobs, id, State::Discarded).await;
    let error = job.info.error.unwrap();
    assert!(
        error.starts_with("it answered 422: no such address"),
        "{error}"
    );
    server.stop();
}

#[tokio::test]
async fn a_target_that_is_down_is_left_alone_and_its_jobs_spend_no_attempts() {
    let folder = Folder::new("down");
    let (address, calls) = service();
    let rest = "breaker = 1\nbackoff = \"1ms\"\nbackoff_max = \"1ms\"";
    let server = start(&handler(&folder, address, rest));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "mail", "null", 2).await;
    calls
        .recv()
        .unwrap()
        .answer("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let held = until(&jobs, id, |job| {
        job.info.state == State::Waiting && job.info.term >= 2
    })
    .await;
    assert_eq!(held.info.attempt, 1, "{held:?}");
    let why = held.info.error.as_deref().unwrap_or_default();
    assert!(why.starts_with("held back: "), "{held:?}");

    // Well again, when the breaker asks.
    next(&calls).answer("HTTP/1.1 204 Done\r\n\r\n");
    until_state(&jobs, id, State::Completed).await;
    server.stop();
}

#[tokio::test]
async fn long_work_is_accepted_gets_on_and_tells_its_end_under_its_term() {
    let folder = Folder::new("long");
    let (address, calls) = service();
    let server = start(&handler(&folder, address, "beat_every = \"30s\""));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "mail", "null", 1).await;
    let call = next(&calls);
    let (url, term) = (
        call.header("steadfast-calls").to_owned(),
        call.header("steadfast-term").to_owned(),
    );
    assert!(url.ends_with(&format!("/v1/runs/{id}/{term}")), "{url}");
    call.answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");

    let late = (term.parse::<u64>().unwrap() + 1).to_string();
    let check = |answer: String, status: &str| {
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    };
    check(tell(&url, &term, "beat", "", true), "204");
    check(tell(&url, &term, "beat", "", false), "401");
    check(tell(&url, &late, "complete", "7", true), "409");
    check(tell(&url, &term, "complete", "{", true), "400");
    check(tell(&url, &term, "dance", "", true), "404");
    check(tell(&url, &term, "fail", "{\"error\": \"\"}", true), "400");
    let large = "x".repeat(70_000);
    check(tell(&url, &term, "complete", &large, true), "413");
    let running = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(
        running.info.state,
        State::Running,
        "nothing of that has ended it"
    );

    check(tell(&url, &term, "complete", "{\"rows\": 7}", true), "204");
    let job = until_state(&jobs, id, State::Completed).await;
    let result: Value = job.result().unwrap().unwrap();
    assert_eq!(result["answer"]["rows"], 7);
    check(tell(&url, &term, "complete", "7", true), "404");

    let id = enqueue(&jobs, "mail", "null", 5).await;
    let call = next(&calls);
    let (url, term) = (
        call.header("steadfast-calls").to_owned(),
        call.header("steadfast-term").to_owned(),
    );
    // The end may be told before the answer.
    check(
        tell(
            &url,
            &term,
            "fail",
            r#"{"error": "no such table\u001b[2J\u009b2J\n2026-11-30T00:00:00.000Z INFO well", "discard": true}"#,
            true,
        ),
        "204",
    );
    call.answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
    let job = until_state(&jobs, id, State::Discarded).await;
    assert_eq!(
        job.info.error.as_deref(),
        Some("no such table [2J 2J\n    2026-11-30T00:00:00.000Z INFO well")
    );
    server.stop();
}

#[test]
fn a_secret_that_is_not_there_or_too_short_is_refused_at_the_start() {
    let folder = Folder::new("secret");
    let config = handler(&folder, "127.0.0.1:1".parse().unwrap(), "");
    let check = |secret: Option<&str>, expect: &str| {
        let mut command = serve(&["--config", config.to_str().unwrap()]);
        match secret {
            Some(secret) => command.env("MAIL_SECRET", secret),
            None => command.env_remove("MAIL_SECRET"),
        };
        let refused = command.output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{told}");
        assert!(told.contains(expect), "{told}");
    };

    check(None, "the variable MAIL_SECRET is not set");
    check(Some("short"), "it has 5 bytes, and needs at least 32");
}

#[tokio::test]
async fn a_target_that_accepts_work_and_is_not_heard_of_again_costs_an_attempt_and_comes_too_late()
{
    let folder = Folder::new("silent");
    let (address, calls) = service();
    let server = start(&handler(&folder, address, "timeout = \"1s\"\n"));
    let jobs = jobs(&folder).await;

    let id = enqueue(&jobs, "mail", "null", 1).await;
    let call = next(&calls);
    let (url, term) = (
        call.header("steadfast-calls").to_owned(),
        call.header("steadfast-term").to_owned(),
    );
    call.answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
    let job = until_state(&jobs, id, State::Discarded).await;

    let error = job.info.error.unwrap();
    assert!(error.contains("time"), "{error}");
    // What it says now changes nothing any more.
    let late = tell(&url, &term, "complete", "7", true);
    assert!(late.starts_with("HTTP/1.1 404 "), "{late}");
    let job = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(job.info.state, State::Discarded);
    server.stop();
}
