//! Ids that the program hands out, and what it tells about them.

use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn steadfast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Waits until ids are handed out; gives where.
fn address(server: &mut Server) -> String {
    let line = server.line_with("ids are handed out");
    let address = line.split("address=").nth(1).unwrap();
    address.split_whitespace().next().unwrap().to_owned()
}

/// Asks once; gives the head and the body of the answer.
fn post(address: &str, path: &str, token: Option<&str>) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    let token = token.map_or(String::new(), |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\n{token}connection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((head.to_owned(), body.to_owned()))
}

#[test]
fn ids_are_handed_out_read_listed_and_audited() {
    let folder = Folder::new("ids");
    let config = folder.configure(
        "[ids]\nlisten = \"127.0.0.1:0\"\ntoken = \"env:IDS_TOKEN\"\n\
         [generators.order]\n[generators.js]\ngroup = \"js\"\nlayout = \"javascript\"\n[generators.ticket]\ntag = \"ticket\"\n",
    );
    let mut server = Server::start_with(&config, &[("IDS_TOKEN", TOKEN)]);
    let at = address(&mut server);

    for token in [None, Some("0123456789abcdef0123456789abcdeX")] {
        let (head, body) = post(&at, "/ids/order", token).unwrap();
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        assert!(body.contains("urn:steadfast:problem:ids-token"), "{body}");
    }
    let (head, body) = post(&at, "/ids/order", Some(TOKEN)).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let id = body.split('"').nth(3).unwrap().to_owned();
    let (head, _) = post(&at, "/ids/nothing", Some(TOKEN)).unwrap();
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert!(
        server
            .get("/metrics")
            .contains("steadfast_ids_served_total{name=\"order\"} 1")
    );

    let url = format!("http://{at}");
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let token = token.to_str().unwrap();
    let next = |name: &str, count: &str| {
        steadfast(&[
            "ids",
            "next",
            name,
            "--count",
            count,
            "--at",
            &url,
            "--token-file",
            token,
        ])
    };
    assert_eq!(text(&next("ticket", "3")), "1\n2\n3\n");
    let refused = next("nothing", "1");
    assert_eq!(refused.status.code(), Some(4));
    assert!(
        told(&refused).contains("there are no ids of this name"),
        "{}",
        told(&refused)
    );
    let refused = next("order", "10001");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told(&refused).contains("count must be from 1 to 10000"),
        "{}",
        told(&refused)
    );

    let decoded = text(&steadfast(&["ids", "--json", "decode", &id]));
    let decoded: serde_json::Value = serde_json::from_str(&decoded).unwrap();
    let one = &decoded["data"][0];
    assert_eq!(one["id"], id.as_str());
    let again = steadfast(&["ids", "decode", one["checked_text"].as_str().unwrap()]);
    assert!(text(&again).contains(&id), "{}", text(&again));

    let config = config.to_str().unwrap();
    let workers = text(&steadfast(&["ids", "workers", "--config", config]));
    assert!(
        workers.contains("default") && workers.contains("js"),
        "{workers}"
    );
    assert!(
        workers.lines().skip(1).all(|line| line.contains("for ")),
        "{workers}"
    );
    let tags = text(&steadfast(&["ids", "segments", "--config", config]));
    let next = tags
        .lines()
        .nth(1)
        .unwrap()
        .strip_prefix("ticket  ")
        .unwrap();
    assert!(next.parse::<u64>().unwrap() > 3, "{tags}");

    server.stop();
    let workers = text(&steadfast(&["ids", "workers", "--config", config]));
    assert!(
        workers
            .lines()
            .skip(1)
            .all(|line| line.contains("not for ")),
        "given back: {workers}"
    );
}

#[test]
fn an_audit_ends_with_1_where_an_id_is_there_twice() {
    let folder = Folder::new("ids-audit");
    let file = folder.path().join("shop.db");
    let url = format!("sqlite:{}", file.display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let run = |sql: &'static str| {
        runtime.block_on(async {
            let store = Store::open(Config::sqlite(&file)).await.unwrap();
            let ran: Result<_, steadfast::store::Error> = store
                .write(async |mut tx| tx.sql(sql, steadfast::store::binds![]).await)
                .await;
            ran.unwrap();
            store.close().await;
        });
    };
    run("CREATE TABLE orders (id INTEGER NOT NULL)");
    run("INSERT INTO orders VALUES (121413632000073735), (121413632000073736)");
    let audit = || steadfast(&["ids", "audit", "--table", "orders", "--url", &url]);

    let clean = audit();
    assert_eq!(clean.status.code(), Some(0), "{}", told(&clean));
    assert!(
        text(&clean).contains("2 rows of 1 worker ids: no two share"),
        "{}",
        text(&clean)
    );

    run("INSERT INTO orders VALUES (121413632000073735)");
    let twice = audit();
    assert_eq!(twice.status.code(), Some(1));
    assert!(
        text(&twice).contains("121413632000073735 stands in 2 rows"),
        "{}",
        text(&twice)
    );
}

#[test]
fn what_is_no_id_or_no_service_is_told() {
    let check = |arguments: &[&str], code: i32, expect: &str| {
        let output = steadfast(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(told(&output).contains(expect), "{}", told(&output));
    };
    check(&["ids", "decode", "99999999999999999999"], 1, "is no id");
    check(&["ids", "decode", "0000000000000U"], 1, "is no id");
    check(
        &[
            "ids",
            "decode",
            "--layout",
            "javascript",
            "9223372036854775807",
        ],
        1,
        "has more than 53 bits",
    );
    check(
        &["ids", "decode", "--layout", "41+41+41+0=63 1ms 0", "1"],
        2,
        "is no layout",
    );
    check(
        &["ids", "next", "a", "--at", "http://127.0.0.1:1"],
        7,
        "cannot reach a server",
    );

    let folder = Folder::new("ids-refused");
    let refused = |rest: &str, code: i32, expect: &str| {
        let config = folder.configure(rest);
        let output = serve(&["--config", config.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{rest}");
        assert!(told(&output).contains(expect), "{}", told(&output));
    };
    refused(
        "[ids]\nlisten = \"0.0.0.0:0\"\n",
        78,
        "anybody there could use ids up",
    );
    // A token does not help whom others hear say it.
    let public = "[ids]\nlisten = \"0.0.0.0:0\"\ntoken = \"env:IDS_TOKEN\"\n";
    refused(public, 78, "the token would cross the network in clear");
    refused(
        &format!("{public}tls_key = \"/nowhere.key\"\n"),
        78,
        "there is no TLS without tls_certificate",
    );
    refused("[generators.order]\n", 78, "nobody could ask for the ids");
    refused(
        "[ids]\nlisten = \"127.0.0.1:0\"\n",
        78,
        "there is an address, and there are no ids",
    );
    refused(
        "[ids]\nlisten = \"127.0.0.1:0\"\n[generators.Order]\n",
        78,
        "a name of ids has 1 to 64 of a to z",
    );
    refused(
        "[ids]\nlisten = \"127.0.0.1:0\"\n[generators.order]\ntag = \"a\"\nlayout = \"default\"\n",
        78,
        "unknown key \"layout\"",
    );
    refused(
        "[ids]\nlisten = \"127.0.0.1:0\"\n[generators.invoice]\nsequence = \"invoice_id\"\n",
        1,
        "SF-1305",
    );
}

/// Each of two programs is started anew under load; a client goes to the other one when one is gone.
#[test]
fn a_rolling_restart_of_the_programs_fails_no_request_and_makes_no_id_twice() {
    let folder = Folder::new("ids-rolling");
    let port = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let ports = [port(), port()];
    let configs = ports.map(|port| {
        let config = folder.configure(&format!(
            "[ids]\nlisten = \"127.0.0.1:{port}\"\n[generators.order]\n"
        ));
        let own = folder.path().join(format!("{port}.toml"));
        std::fs::rename(config, &own).unwrap();
        own
    });
    let start = |at: usize| {
        let mut server = Server::start(&configs[at]);
        address(&mut server);
        server
    };
    let mut servers = [start(0), start(1)].map(Some);
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..2)
        .map(|number| {
            let (done, answered) = (done.clone(), answered.clone());
            std::thread::spawn(move || {
                let (mut made, mut turn) = (Vec::new(), number);
                while !done.load(Ordering::Relaxed) {
                    // A connection that is refused or closed unanswered goes to the other one, as a balancer does; what
                    // was answered counts.
                    let answer = (0..2).find_map(|_| {
                        turn += 1;
                        let at = format!("127.0.0.1:{}", ports[turn % 2]);
                        post(&at, "/ids/order?count=200", None).ok()
                    });
                    let (head, body) = answer.expect("one of two is always there");
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}: {body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    let ids = body.split('"').skip(3).step_by(2);
                    made.extend(ids.map(|id| id.parse::<u64>().unwrap()));
                }
                made
            })
        })
        .collect();

    for round in 0..4 {
        let at = round % 2;
        servers[at].take().unwrap().stop();
        servers[at] = Some(start(at));
        // Both are asked for a while.
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 200
            && !clients.iter().any(|one| one.is_finished())
        {
            std::thread::yield_now();
        }
    }
    done.store(true, Ordering::Relaxed);

    let mut union = HashSet::new();
    for client in clients {
        for id in client.join().unwrap() {
            assert!(union.insert(id), "{id} was made twice");
        }
    }
    assert!(!union.is_empty());
    for server in servers.into_iter().flatten() {
        server.stop();
    }
}
