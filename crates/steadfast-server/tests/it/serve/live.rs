//! Views that are told whenever they have changed.

use serde_json::Value;

use super::served::{Served, bearer, text};
use super::*;

/// What is told, event by event.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(served: &Served, token: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = bearer(token);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{head}\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Reads on to an event of this name; gives what it says.
    fn next(&mut self, name: &str) -> Value {
        let wanted = format!("event: {name}");
        loop {
            let line = self.line().expect("it goes on");
            if line == wanted {
                let data = self.line().unwrap();
                return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn views_are_told_as_their_endpoints_give_them_whenever_they_have_changed() {
    let served = Served::start("views", &shell("nothing", "true", ""));
    let admin = served.token("admin");
    let path = "/api/v1/events?of=jobs,schedules,nodes,panics,routes,status";
    let mut events = Events::of(&served, &admin, path);

    // In the order of their names, at first all of them.
    let first = events.next("jobs");
    assert_eq!(first["items"].as_array().unwrap().len(), 0);
    assert_eq!(events.next("nodes")["items"].as_array().unwrap().len(), 1);
    assert!(events.next("panics")["items"].is_array());
    assert!(events.next("routes")["routes"].is_array());
    assert!(events.next("schedules")["items"].is_array());
    assert_eq!(events.next("status")["store_up"], true);

    let pause = ["jobs", "pause", "default", "--reason", "x"];
    served.told(&admin, &pause);
    served.told(&admin, &["jobs", "run", "nothing", "--reason", "x"]);

    let jobs = events.next("jobs");
    assert_eq!(jobs["items"][0]["kind"], "nothing");
    let (_, _, asked) = served.send("GET", "/api/v1/jobs", &bearer(&admin), "");
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(jobs, asked);
    served.server.stop();
}

#[test]
fn nobody_watches_what_he_may_not_see_nor_what_is_not_there() {
    let served = Served::start("unseen", &shell("nothing", "true", ""));
    let made = served.admin(&["token", "create", "--name", "x", "--action", "status.read"]);
    let token = text(&made.stdout).trim().to_owned();
    let asked = |query: &str| {
        let path = format!("/api/v1/events{query}");
        let (status, _, body) = served.send("GET", &path, &bearer(&token), "");
        (status, body)
    };

    let (status, body) = asked("?of=status,jobs");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("your token may not do jobs.read"), "{body}");
    for wrong in ["?of=", "?of=audit", "?of=status,,", "?off=status"] {
        let (status, body) = asked(wrong);
        assert_eq!(status, 400, "{wrong}: {body}");
    }
    assert_eq!(asked("?of=status").0, 200);
    served.server.stop();
}

#[test]
fn a_token_that_is_revoked_is_told_nothing_any_more() {
    let served = Served::start("revoked", &shell("nothing", "true", ""));
    let (viewer, other) = (served.token("viewer"), served.token("viewer"));
    let mut events = Events::of(&served, &viewer, "/api/v1/events");
    events.next("status");

    let revoked = served.admin(&["token", "revoke", "1"]);
    assert!(revoked.status.success());

    let problem = events.next("problem");
    assert_eq!(problem["code"], "SF-2202", "{problem}");
    while let Some(line) = events.line() {
        assert!(!line.contains("status"), "{line}");
    }
    served.told(&other, &["status"]);
    served.server.stop();
}
