use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// The shop in a process of its own.
struct Shop {
    child: Child,
    address: String,
    /// Where the gateway listens that it pays through.
    gateway: String,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    /// Where its books are, unless they are somebody else's.
    folder: Option<PathBuf>,
}

impl Shop {
    fn open() -> Self {
        let folder = folder();
        let mut shop = Self::at(&folder);
        shop.folder = Some(folder);
        shop
    }

    /// Opens it with books that are there already.
    fn at(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(["dev", "--listen", "127.0.0.1:0"])
            .args(["--no-load", "--api", "127.0.0.1:0"])
            .args(["--gateway", "127.0.0.1:0", "--data"])
            .arg(folder)
            .env("RUST_LOG", "info,steadfast::scope=debug")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let first = line_with(&mut stdout, "The shop is open at http://");
        let address = first.split("http://").nth(1).unwrap();
        let address = address.split(". In").next().unwrap().to_owned();
        let mood = line_with(&mut stdout, "/mood/slow");
        let gateway = mood.split("http://").nth(1).unwrap();
        let gateway = gateway.split('/').next().unwrap().to_owned();
        Self {
            child,
            address,
            gateway,
            stdout,
            stderr,
            folder: None,
        }
    }

    fn send(&self, request: &str, body: &str) -> TcpStream {
        send(&self.address, request, body)
    }

    fn answer(&self, request: &str, body: &str) -> String {
        whole(self.send(request, body))
    }

    fn make_gateway(&self, mood: &str) {
        let request = format!("PUT /mood/{mood}");
        let answer = whole(send(&self.gateway, &request, ""));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
    }

    fn close(mut self) -> i32 {
        self.terminate();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // For a test that failed; it has ended by itself otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("steadfast-dev-{:016x}", steadfast::rng::bits()))
}

fn send(address: &str, request: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

fn whole(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn line_with(lines: &mut impl BufRead, text: &str) -> String {
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).unwrap();
        assert!(read > 0, "ended without a line with {text:?}");
        if line.contains(text) {
            return line;
        }
    }
}

fn trace_id(answer: &str) -> &str {
    let (_, rest) = answer.split_once("x-request-id: ").unwrap();
    rest.split("\r\n").next().unwrap()
}

#[test]
fn a_shop_that_nobody_reads_is_open_all_the_same_and_closes_in_time() {
    use std::os::unix::fs::OpenOptionsExt;
    const NONBLOCK: i32 = 0o4_000;
    let folder = folder();
    std::fs::create_dir(&folder).unwrap();
    let pipe = folder.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut open = std::fs::File::options();
    open.read(true).write(true);
    let mut full = open.clone().custom_flags(NONBLOCK).open(&pipe).unwrap();
    while full.write(&[b'.'; 4_096]).is_ok() {}
    // Known without being read, and nobody else's.
    let own = std::process::id();
    let address = format!("127.77.{}.{}:4000", (own >> 8) & 0xff, own & 0xff);
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["dev", "--no-load", "--api", "127.0.0.1:0"])
        .args(["--listen", &address, "--gateway", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .stdout(open.open(&pipe).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let is_open = || TcpStream::connect(&address).is_ok();
    while !is_open() {
        steadfast::clock::block(std::time::Duration::from_millis(20));
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
    }

    let mut stream = send(&address, "GET /recommendations/ada", "");
    let patience = std::time::Duration::from_secs(120);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    let id = child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    if read.is_err() {
        child.kill().unwrap();
    }
    let ended = child.wait().unwrap();

    assert!(read.is_ok(), "nobody has answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(ended.code(), Some(0));
    line_with(&mut stderr, "shutdown ended");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_to_try_is_said_first_and_the_guard_is_armed() {
    let mut shop = Shop::open();

    let process = shop.child.id();
    line_with(&mut shop.stdout, &format!("kill -TERM {process}"));
    line_with(&mut shop.stdout, "6 routes armed, asked at the start");
    assert_eq!(shop.close(), 0);
}

#[test]
fn orders_are_taken_and_those_that_fail_are_undone() {
    let mut shop = Shop::open();

    let good = shop.answer("POST /orders", r#"{"item": "tea"}"#);
    let bad = shop.answer("POST /orders", r#"{"item": "unicorn"}"#);
    let unclear = shop.answer("POST /orders", r#"{"count": 3}"#);

    assert!(good.starts_with("HTTP/1.1 201"), "{good}");
    assert!(bad.starts_with("HTTP/1.1 409"), "{bad}");
    assert!(unclear.starts_with("HTTP/1.1 400"), "{unclear}");
    line_with(&mut shop.stderr, "create_order ended err");
    line_with(&mut shop.stderr, "release the hold     ran");
    assert_eq!(shop.close(), 0);
}

#[test]
fn what_a_killed_shop_was_at_is_put_right_and_done_by_the_next() {
    let mut killed = Shop::open();
    let folder = killed.folder.clone().unwrap();
    let order = killed.answer("POST /orders", r#"{"item": "tea"}"#);
    assert!(order.starts_with("HTTP/1.1 201"), "{order}");
    line_with(&mut killed.stderr, "packing tea");

    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let mut next = Shop::at(&folder);

    line_with(&mut next.stderr, "rescued a job from a dead node");
    line_with(&mut next.stderr, "tea was half packed, and is put back");
    line_with(&mut next.stderr, "packing tea");
    line_with(&mut next.stderr, "it is on its way");
    assert_eq!(next.close(), 0);
}

#[test]
fn a_panic_is_answered_with_an_id_under_which_its_place_is_shown() {
    let mut shop = Shop::open();

    let fine = shop.answer("GET /recommendations/ada", "");
    let hurt = shop.answer("GET /recommendations/bob", "");
    let again = shop.answer("GET /recommendations/ada", "");

    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    assert!(hurt.starts_with("HTTP/1.1 500"), "{hurt}");
    assert!(hurt.contains("application/problem+json"), "{hurt}");
    assert!(hurt.contains(&format!(r#""trace_id":"{}""#, trace_id(&hurt))));
    assert!(!hurt.contains("overflow"), "nothing of the inside: {hurt}");
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    line_with(&mut shop.stdout, "PANIC (contained");
    line_with(&mut shop.stdout, "recommendations.rs");
    line_with(&mut shop.stdout, trace_id(&hurt));
    assert_eq!(shop.close(), 0);
}

#[test]
fn what_a_client_leaves_behind_is_cleaned_up_in_order() {
    let mut shop = Shop::open();

    // Without `connection: close`: after that header the server reads no more, and cannot see
    // that the client leaves.
    let mut stream = TcpStream::connect(&shop.address).unwrap();
    write!(stream, "GET /statements HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    // A client that leaves before its request is read is no client.
    line_with(&mut shop.stderr, "scope=render_statement");
    drop(stream);

    line_with(
        &mut shop.stderr,
        "render_statement ended cancelled, dropped and reaped",
    );
    line_with(&mut shop.stderr, "give the slot back   ran");
    line_with(&mut shop.stderr, "delete the working file ran");
    assert_eq!(shop.close(), 0);
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let mut shop = Shop::open();
    let mut stream = shop.send("POST /orders", r#"{"item": "tea"}"#);
    // The head of the answer to another request says that the first one has been read.
    shop.answer("GET /recommendations/ada", "");

    shop.terminate();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();

    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    line_with(&mut shop.stderr, "shutdown ended");
    assert_eq!(shop.child.wait().unwrap().code(), Some(0));
}

#[test]
fn under_load_recommendations_are_turned_away_with_a_reason_and_orders_go_through() {
    let mut shop = Shop::open();
    let ask = || shop.send("GET /recommendations/ada", "");

    // More at once than run and wait; again, should the machine have been too slow for that.
    let turned_away = (0..20).find_map(|_| {
        let asked: Vec<_> = (0..150).map(|_| ask()).collect();
        let order = shop.answer("POST /orders", r#"{"item": "tea"}"#);
        assert!(order.starts_with("HTTP/1.1 201"), "{order}");
        let mut answers = asked.into_iter().map(whole);
        answers.find(|answer| answer.starts_with("HTTP/1.1 503"))
    });

    let turned_away = turned_away.expect("the shop cannot serve all of them");
    let id = trace_id(&turned_away);
    for told in [
        "x-steadfast-rejected: ",
        "retry-after: ",
        "application/problem+json",
        r#""policy":"extras","limit":"#,
        &format!(r#""trace_id":"{id}""#),
    ] {
        assert!(turned_away.contains(told), "{told} in {turned_away}");
    }
    let line = line_with(&mut shop.stderr, "steadfast::reject: rejected: ");
    assert!(line.contains("route=/recommendations/{customer} policy=extras"));
    assert_eq!(shop.close(), 0);
}

#[test]
fn more_statements_than_the_quota_are_told_when_to_come_back() {
    let mut shop = Shop::open();
    let printed: Vec<_> = (0..3)
        .map(|_| {
            let stream = shop.send("GET /statements", "");
            line_with(&mut shop.stderr, "scope=render_statement");
            stream
        })
        .collect();

    let fourth = shop.answer("GET /statements", "");

    assert!(fourth.starts_with("HTTP/1.1 429"), "{fourth}");
    assert!(fourth.contains("x-steadfast-rejected: rate-limited"));
    assert!(fourth.contains("retry-after: "), "{fourth}");
    drop(printed);
    assert_eq!(shop.close(), 0);
}

#[test]
fn a_gateway_that_hangs_costs_a_second_and_says_so() {
    let shop = Shop::open();

    shop.make_gateway("slow");
    let begun = steadfast::clock::now();
    let order = shop.answer("POST /orders", r#"{"item": "tea"}"#);
    let took = steadfast::clock::now() - begun;
    let meanwhile = shop.answer("GET /catalogue", "");
    shop.make_gateway("failing");
    let failing = shop.answer("POST /payments", "");
    shop.make_gateway("well");
    // So many calls have failed, those that release the money among them, that it may be left alone for a while.
    let again = (0..100).any(|_| {
        steadfast::clock::block(std::time::Duration::from_millis(100));
        let answer = shop.answer("POST /orders", r#"{"item": "tea"}"#);
        answer.starts_with("HTTP/1.1 201")
    });

    assert!(order.starts_with("HTTP/1.1 504"), "{order}");
    assert!(order.contains("no answer in time (policy payments)"));
    assert!(
        took.as_secs() < 4,
        "two attempts of half a second: {took:?}"
    );
    assert!(meanwhile.starts_with("HTTP/1.1 200"), "{meanwhile}");
    assert!(failing.starts_with("HTTP/1.1 502"), "{failing}");
    assert!(again, "it is well again");
    assert_eq!(shop.close(), 0);
}

#[test]
fn a_gateway_that_fails_is_left_alone_until_it_is_well_again() {
    let mut shop = Shop::open();

    shop.make_gateway("failing");
    let mut answers = vec![shop.answer("POST /payments", "")];
    // Five failures: the jobs that release what may have been put aside fail as well, whenever they come.
    while answers.len() < 6
        && answers
            .last()
            .is_some_and(|one| one.starts_with("HTTP/1.1 502"))
    {
        answers.push(shop.answer("POST /payments", ""));
    }
    let catalogue = shop.answer("GET /catalogue", "");

    let rejected = answers.pop().unwrap();
    assert!(!answers.is_empty() && answers.len() <= 5, "{answers:?}");
    let told = line_with(&mut shop.stderr, "steadfast::breaker: the breaker is open");
    assert!(told.contains("5 failures in a row"), "{told}");
    assert!(rejected.starts_with("HTTP/1.1 503"), "{rejected}");
    assert!(rejected.contains("the dependency is failing (policy payments)"));
    assert!(catalogue.starts_with("HTTP/1.1 200"), "{catalogue}");

    shop.make_gateway("well");
    // It is open for four seconds, or less by chance.
    let paid = (0..100).any(|_| {
        steadfast::clock::block(std::time::Duration::from_millis(100));
        shop.answer("POST /payments", "")
            .starts_with("HTTP/1.1 201")
    });
    assert!(paid, "probes find out that it is well");
    line_with(&mut shop.stderr, "the calls come back");
    assert_eq!(shop.close(), 0);
}

/// What a terminal shows after all that was written to it: lines, and what moves among them.
pub(crate) fn screen(written: &str) -> Vec<String> {
    let (mut lines, mut row, mut rest) = (vec![String::new()], 0_usize, written);
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '\n' => {
                row += 1;
                lines.resize(lines.len().max(row + 1), String::new());
            }
            '\r' => {}
            '\x1b' => {
                let end = rest
                    .find(|char: char| char.is_ascii_alphabetic())
                    .unwrap_or(0);
                let (code, after) = rest.split_at((end + 1).min(rest.len()));
                rest = after;
                match code.strip_prefix('[').unwrap_or(code) {
                    up if up.ends_with('A') => {
                        let up: usize = up.trim_end_matches('A').parse().unwrap();
                        row -= up;
                    }
                    "J" => {
                        lines.truncate(row + 1);
                        lines[row].clear();
                    }
                    _ => {}
                }
            }
            char => lines[row].push(char),
        }
    }
    lines
}

#[test]
fn on_a_terminal_a_board_with_real_numbers_stays_below_the_lines() {
    let folder = folder();
    let command = format!(
        "stty cols 80 rows 24; exec {} dev --listen 127.0.0.1:0 --gateway 127.0.0.1:0 --api 127.0.0.1:0 --data {}",
        env!("CARGO_BIN_EXE_steadfast"),
        folder.display()
    );
    // It makes a terminal, as one that people sit at.
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut written, mut hurt) = (Vec::new(), false);
    let since = steadfast::clock::now();

    let board = loop {
        let mut chunk = [0; 4_096];
        let read = out.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&written));
        written.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&written).into_owned();
        let lines = screen(&text);
        let shop = lines.iter().rev().find_map(|line| {
            let (_, rest) = line.split_once("-- the shop at http://")?;
            Some(rest.split(',').next()?.to_owned())
        });
        if let Some(shop) = shop.filter(|_| !hurt) {
            hurt = true;
            whole(send(&shop, "GET /recommendations/bob", ""));
        }
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        let orders = lines
            .iter()
            .rev()
            .find(|line| line.starts_with("POST /orders "));
        let rate: f64 = orders
            .and_then(|line| line.split_whitespace().nth(2)?.parse().ok())
            .unwrap_or_default();
        let is_whole = lines.last().is_some_and(String::is_empty) && has("try: ");
        if is_whole
            && rate > 0.0
            && has("panics: 1 (places: 1, not contained: 0)")
            && !has("worker: 0 jobs")
        {
            break lines;
        }
        let waited = steadfast::clock::now() - since;
        assert!(waited.as_secs() < 60, "{}", lines.join("\n"));
    };

    let boards = board
        .iter()
        .filter(|line| line.starts_with("-- the shop at "))
        .count();
    assert_eq!(
        boards,
        1,
        "it is written anew where it stood: {}",
        board.join("\n")
    );
    let at = board
        .iter()
        .position(|line| line.starts_with("-- the shop at "))
        .unwrap();
    let (above, below) = board.split_at(at);
    assert!(
        below.iter().all(|line| line.chars().count() < 80),
        "{below:#?}"
    );
    assert!(below.len() < 16, "it leaves room in 24 lines: {below:#?}");
    assert!(
        below.iter().any(|line| line.starts_with("payments: ")),
        "{below:#?}"
    );
    let above = above.join("\n");
    assert!(above.contains("PANIC (contained"), "{above}");
    assert!(above.contains(" INFO shop: packing tea"), "{above}");
    assert!(!board.concat().contains("\x1b[3"), "NO_COLOR holds");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"\x03").unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn where_no_board_can_stay_a_line_tells_what_has_changed() {
    let mut shop = Shop::open();
    shop.answer("GET /catalogue", "");

    let line = line_with(&mut shop.stdout, "the shop: ");

    assert!(
        line.contains("the shop: 1 requests, 0 answered with 5xx, 0 rejected; "),
        "{line}"
    );
    assert_eq!(shop.close(), 0);
}
