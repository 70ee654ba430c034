//! The policy that was put in force by the API, after the process that was asked is gone, and in others.

use serde_json::Value;
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, Rows, binds};
use steadfast::tower::PolicyDocument;

use super::served::{bearer, text};
use super::*;

const SECRET: &str = "a secret of a test, that nobody will guess";

const WHY: [&str; 2] = ["--reason", "INC-7"];

/// A server with a handler that calls a service, behind a guard, over a store that outlives it.
struct Serving {
    /// One without a server: what others have may not be read while it runs, so it is gone before it is started again.
    server: Option<Server>,
    address: String,
    token: String,
    store: Store,
    /// As a configuration says where the store is.
    url: String,
    folder: Folder,
}

impl Serving {
    async fn start(name: &str, database: &Database) -> Self {
        Self::start_with(name, database, &calls(5)).await
    }

    async fn start_with(name: &str, database: &Database, handler: &str) -> Self {
        let folder = Folder::new(name);
        let store = database.open().await;
        let url = match database.kind() {
            Kind::Sqlite => format!("sqlite:{}", database.file().display()),
            _ => database.direct_url(),
        };
        let mut serving = Self {
            server: None,
            address: String::new(),
            token: String::new(),
            store,
            url,
            folder,
        };
        serving.restart_with(handler);
        let config = serving.folder.path().join("steadfast.toml");
        let made = Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(["admin", "token", "create", "--name", "ann"])
            .args(["--role", "admin", "--config", config.to_str().unwrap()])
            .env("STORE", &serving.url)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        serving.token = text(&made.stdout).trim().to_owned();
        serving
    }

    /// Starts it, with a breaker that opens after so many failures; gives what it has told before it serves.
    fn restart(&mut self, breaker: u32) -> String {
        self.restart_with(&calls(breaker))
    }

    fn restart_with(&mut self, handler: &str) -> String {
        let config = self.folder.configure_at("env:STORE", handler);
        let environment = [("STORE", &*self.url), ("MAIL_SECRET", SECRET)];
        let mut server = Server::start_with(&config, &environment);
        let mut told = String::new();
        self.address = loop {
            let line = server.line_with("");
            if let Some((_, address)) = line.split_once("the API is served address=") {
                break address.split_whitespace().next().unwrap().to_owned();
            }
            told += &line;
        };
        self.server = Some(server);
        told
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.signal("KILL");
        server.ended();
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command
            .args(args)
            .env("STEADFAST_SERVER", format!("http://{}", self.address))
            .env("STEADFAST_TOKEN", &self.token);
        command.output().unwrap()
    }

    fn told(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn policy(&self) -> Value {
        let told = self.told(&["policy", "show", "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        told["data"].clone()
    }

    /// Writes the policy in force with another number of failures to a file.
    fn with_failures(&self, failures: u32) -> String {
        let document = self.policy()["document"].as_str().unwrap().to_owned();
        let start = document.find("consecutive = ").unwrap();
        let end = start + document[start..].find('\n').unwrap();
        let changed = format!(
            "{}consecutive = {failures}{}",
            &document[..start],
            &document[end..]
        );
        let path = self.folder.path().join(format!("{failures}.toml"));
        std::fs::write(&path, changed).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn apply(&self, failures: u32) -> String {
        let file = self.with_failures(failures);
        self.agreed_to(&["policy", "apply", &file])
    }

    /// Puts a policy in force after a look at how much that changes; gives what is told.
    fn agreed_to(&self, args: &[&str]) -> String {
        let output = self.ask_agreed(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn ask_agreed(&self, args: &[&str]) -> Output {
        let args = [args, &WHY].concat();
        let dry = self.told(&[&args[..], &["--dry-run", "--json"]].concat());
        let dry: Value = serde_json::from_str(&dry).unwrap();
        let count = dry["data"]["changes"].as_array().unwrap().len().to_string();
        self.ask(&[&args[..], &["--yes", &count]].concat())
    }

    fn hold(&self, value: &str, lasts: &str) -> u16 {
        let path = "timeouts.mail.timeout";
        let body = serde_json::json!({
            "path": path, "value": value, "lasts": lasts, "dry_run": false, "reason": "INC-8",
        });
        self.send("POST", "/api/v1/policy/overrides", "", &body).0
    }

    fn put(&self, over: u32, failures: u32) -> (u16, String) {
        let document = std::fs::read_to_string(self.with_failures(failures)).unwrap();
        let body = serde_json::json!({ "name": "by hand", "document": document, "reason": "x" });
        let seen = self.told(&["policy", "show", "--revision", &over.to_string(), "--json"]);
        let seen: Value = serde_json::from_str(&seen).unwrap();
        let hash = seen["data"]["revision"]["hash"].as_str().unwrap();
        let tag = format!("if-match: \"{over}-{}\"\r\n", &hash[..16]);
        self.send("PUT", "/api/v1/policy", &tag, &body)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &Value) -> (u16, String) {
        let (body, token) = (body.to_string(), bearer(&self.token));
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{token}{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut policy = Value::Null;
        wait_until(what, async || {
            policy = self.policy();
            is_so(&policy)
        })
        .await;
        policy
    }
}

/// A handler that calls a service.
fn calls(breaker: u32) -> String {
    format!(
        "[handlers.mail]\nhttp = \"http://127.0.0.1:9/\"\nbreaker = {breaker}\nsecret = \"env:MAIL_SECRET\"\n"
    )
}

fn failures(policy: &Value) -> u32 {
    let document = policy["document"].as_str().unwrap();
    let (_, after) = document.split_once("consecutive = ").unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_in_force_and_what_is_held_goes_on_after_a_kill() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::make(kind).await;
        let mut serving = Serving::start(&format!("kept-{kind:?}"), &database).await;
        let first = serving.policy();
        assert_eq!(
            (&first["revision"], &first["author"]),
            (&1.into(), &"the file".into())
        );
        assert_eq!((&first["hash"], failures(&first)), (&first["base"], 5));

        assert!(
            serving
                .apply(7)
                .ends_with("revision 2 is in force in 1 of 1 processes\n")
        );
        serving.kill();
        let told = serving.restart(5);

        let warned = told
            .lines()
            .find(|line| line.contains("is not the one that the process was started with"));
        let warned = warned.unwrap_or_else(|| panic!("{told}"));
        for part in [
            "WARN",
            "revision=2",
            "author=\"ann (token 1)\"",
            "reason=\"INC-7\"",
        ] {
            assert!(warned.contains(part), "{warned}");
        }
        let policy = serving.policy();
        assert_eq!((&policy["revision"], failures(&policy)), (&2.into(), 7));
        assert_eq!(policy["author"], "ann (token 1)");
        assert_eq!(policy["base"], first["hash"]);
        let shown = text(&serving.ask(&["policy", "show"]).stderr);
        assert!(shown.contains("\nit was put over what is between this process and services, which the process was started with\n"), "{shown}");
        let explained = text(&serving.ask(&["policy", "explain", "mail"]).stderr);
        assert!(explained.starts_with("revision 2 since "), "{explained}");
        assert!(
            explained.contains("by ann (token 1): INC-7; put over "),
            "{explained}"
        );

        // What is held for a while, too.
        assert_eq!(serving.hold("3s", "15m"), 200);
        serving.kill();
        serving.restart(5);
        let policy = serving.policy();
        let held = &policy["overrides"][0];
        assert_eq!(
            (&held["path"], &held["value"]),
            (&"timeouts.mail.timeout".into(), &"\"3s\"".into())
        );
        assert_eq!(
            (&held["author"], &held["reason"]),
            (&"ann (token 1)".into(), &"INC-8".into())
        );
        let left = held["left_seconds"].as_u64().unwrap();
        assert!(left < 15 * 60, "{left}");
        let end = serde_json::json!({ "path": "timeouts.mail.timeout", "reason": "over" });
        assert_eq!(
            serving
                .send("DELETE", "/api/v1/policy/overrides", "", &end)
                .0,
            200
        );

        // And the way back.
        let between = serving.told(&["policy", "diff", "1", "2"]);
        assert!(between.starts_with("against revision 1\n- breakers.mail.consecutive = 5\n+ breakers.mail.consecutive = 7 "), "{between}");
        let dry = serving.told(&["policy", "revert", "1", "--dry-run", "--reason", "x"]);
        assert!(dry.contains("\nnothing was changed; "), "{dry}");
        let reverted = serving.agreed_to(&["policy", "revert", "1"]);
        assert!(
            reverted.contains("\nrevision 3 is in force in "),
            "{reverted}"
        );
        serving.kill();
        let told = serving.restart(5);
        assert!(!told.contains("is not the one"), "{told}");
        let policy = serving.policy();
        assert_eq!((&policy["revision"], failures(&policy)), (&3.into(), 5));
        assert_eq!(policy["overrides"], serde_json::json!([]));
        let history = serving.told(&["policy", "history", "--json", "--limit", "2"]);
        let history: Value = serde_json::from_str(&history).unwrap();
        let numbers: Vec<_> = history["data"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["revision"].as_u64(), one["changes"].as_u64()))
            .collect();
        assert_eq!(numbers, [(Some(3), Some(1)), (Some(2), Some(1))]);
        assert_eq!(history["data"]["next"], "2");
        let rest = serving.told(&["policy", "history", "--cursor", "2"]);
        assert!(
            rest.contains("  the file  a process was started with "),
            "{rest}"
        );
        serving.server.take().unwrap().stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_rules_and_one_that_is_rolled_back_brings_back_what_was_in_force_with_it() {
    let database = Database::make(Kind::Sqlite).await;
    let mut serving = Serving::start("rolled-back", &database).await;
    serving.apply(7);
    assert_eq!(serving.hold("3s", "15m"), 200);

    serving.kill();
    let told = serving.restart(9);

    assert!(
        told.contains("was started with another policy than before"),
        "{told}"
    );
    let policy = serving.policy();
    assert_eq!((&policy["revision"], failures(&policy)), (&3.into(), 9));
    assert_eq!(
        (&policy["author"], &policy["base"]),
        (&"the file".into(), &policy["hash"])
    );
    assert_eq!(policy["overrides"], serde_json::json!([]));
    // What is held against the one before is told, and not held.
    let warned = "an override is held against another policy than the process was started with";
    assert!(told.contains(warned), "{told}");
    assert_eq!(policy["not_held"][0]["path"], "timeouts.mail.timeout");
    let shown = text(&serving.ask(&["policy", "show"]).stderr);
    assert!(
        shown.contains("\nNOT HELD timeouts.mail.timeout = 3s for "),
        "{shown}"
    );

    serving.kill();
    serving.restart(5);

    let policy = serving.policy();
    assert_eq!((&policy["revision"], failures(&policy)), (&2.into(), 7));
    assert_eq!(policy["overrides"].as_array().unwrap().len(), 1);
    // Numbers go on for all files.
    assert!(serving.apply(8).contains("\nrevision 4 is in force in "));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_database_follow_each_other_and_of_appliers_at_once_one_is_the_next() {
    let database = Database::make(Kind::Postgres).await;
    let first = Serving::start("follow-1", &database).await;
    let second = Serving::start("follow-2", &database).await;
    assert_eq!(second.policy()["revision"], 1, "the file is kept once");

    first.apply(7);
    let policy = second
        .until("revision 2 reaches the other", |policy| {
            policy["revision"] == 2
        })
        .await;
    assert_eq!(failures(&policy), 7);
    let both = serde_json::json!({ "processes": 2, "taken": 2 });
    first
        .until("it is known that both have it", |policy| {
            policy["followers"] == both
        })
        .await;

    // Whoever asks a server that has not looked yet is told as well.
    for over in 2..5_u32 {
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8)
                .map(|at| {
                    let server = if at % 2 == 0 { &first } else { &second };
                    scope.spawn(move || server.put(over, over * 10 + at).0)
                })
                .collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let applied = statuses.iter().filter(|status| **status == 200).count();
        let refused = statuses.iter().filter(|status| **status == 412).count();
        assert_eq!((applied, refused), (1, 7), "{statuses:?}");
        for server in [&first, &second] {
            server
                .until("the new one reaches both", |policy| {
                    policy["revision"] == over + 1
                })
                .await;
        }
        assert_eq!(first.policy()["hash"], second.policy()["hash"]);
    }

    assert_eq!(first.hold("3s", "15m"), 200);
    second
        .until("what is held at one is held at the other", |policy| {
            policy["overrides"][0]["value"] == "\"3s\""
        })
        .await;
    assert_eq!(second.hold("2s", "10m"), 200);
    first
        .until("the later one is held", |policy| {
            policy["overrides"][0]["value"] == "\"2s\""
        })
        .await;
    let end = serde_json::json!({ "path": "timeouts.mail.timeout", "reason": "over" });
    assert_eq!(
        first.send("DELETE", "/api/v1/policy/overrides", "", &end).0,
        200
    );
    second
        .until("what has ended at one has ended at the other", |policy| {
            policy["overrides"] == serde_json::json!([])
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_cannot_be_understood_is_told_and_the_newest_that_can_be_is_in_force() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::make(kind).await;
        let mut serving = Serving::start(&format!("unknown-{kind:?}"), &database).await;
        serving.apply(7);
        let base = serving.policy()["base"].as_str().unwrap().to_owned();
        // As a newer version may write it, and as a damaged one may be.
        let damaged = std::fs::read_to_string(serving.with_failures(8)).unwrap();
        for (n, document) in [(3_i64, damaged.as_str()), (4, "[from_the_future]\nx = 1\n")] {
            let put = match kind {
                Kind::Sqlite => {
                    "INSERT INTO steadfast_revision (namespace, n, base, hash, name, document, author, reason, at_us) \
                     VALUES ('serve', ?1, ?2, 'another', 'policy.toml', ?3, 'bob', 'later', 0)"
                }
                _ => {
                    "INSERT INTO steadfast.revision (namespace, n, base, hash, name, document, author, reason, at_us) \
                     VALUES ('serve', $1, $2, 'another', 'policy.toml', $3, 'bob', 'later', 0)"
                }
            };
            let put: Result<Rows, Error> = serving
                .store
                .write(async |mut tx| tx.sql(put, binds![n, base.as_str(), document]).await)
                .await;
            put.unwrap();
        }

        let policy = serving
            .until("it is told while it runs", |policy| {
                policy["behind"]["revision"] == 4
            })
            .await;
        assert_eq!((&policy["revision"], failures(&policy)), (&2.into(), 7));
        serving.kill();
        let told = serving.restart(5);

        let errors: Vec<_> = told
            .lines()
            .filter(|line| line.contains("cannot be followed by this process"))
            .collect();
        assert_eq!(errors.len(), 2, "{told}");
        assert!(
            errors[0].contains("ERROR") && errors[0].contains("revision=4"),
            "{told}"
        );
        assert!(
            errors[1].contains("its document is not the one that was put in force"),
            "{told}"
        );
        let policy = serving.policy();
        assert_eq!((&policy["revision"], failures(&policy)), (&2.into(), 7));
        assert_eq!(policy["behind"]["author"], "bob");
        let shown = text(&serving.ask(&["policy", "show"]).stderr);
        assert!(
            shown.contains("BEHIND revision 4, by bob, which this process cannot follow: "),
            "{shown}"
        );
        // Nobody changes by accident what this process does not know.
        let file = serving.with_failures(9);
        let apply = ["policy", "apply", &*file];
        let refused = serving.ask_agreed(&apply);
        assert_eq!(refused.status.code(), Some(6), "{refused:?}");
        let told = text(&refused.stderr);
        assert!(
            told.contains(
                "revision 4 was put in force by bob, and this process cannot follow it: "
            ),
            "{told}"
        );
        let over = [&apply[..], &["--revision", "4"]].concat();
        let told = serving.agreed_to(&over);
        assert!(told.contains("revision 5 is in force in "), "{told}");
        assert_eq!(serving.policy()["behind"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_takes_no_writes_nothing_is_put_in_force_and_what_is_stays() {
    let database = Database::make(Kind::Postgres).await;
    let serving = Serving::start("no-writes", &database).await;
    serving.apply(7);
    let file = serving.with_failures(9);
    let change = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for statement in [change, ended] {
        let _: Result<Rows, Error> = serving
            .store
            .write(async |mut tx| tx.sql(statement, binds![]).await)
            .await;
    }

    wait_until("it is refused", async || {
        let apply = ["policy", "apply", &*file, "--yes", "1"];
        let refused = serving.ask(&[&apply[..], &WHY].concat());
        assert_ne!(refused.status.code(), Some(0), "{refused:?}");
        text(&refused.stderr).starts_with("error[SF-2214]: ")
    })
    .await;
    let policy = serving.policy();

    assert_eq!((&policy["revision"], failures(&policy)), (&2.into(), 7));
    assert_eq!(serving.hold("3s", "15m"), 503);
    assert_eq!(serving.policy()["overrides"], serde_json::json!([]));
}

/// After a failover that has lost the last writes, or with a copy from before: the number is another's next.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_to_an_earlier_state_is_followed() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::make(kind).await;
        let serving = Serving::start("put-back", &database).await;
        serving.apply(7);
        serving.apply(8);
        assert_eq!(serving.policy()["revision"], 3);
        let [lost, given] = match kind {
            Kind::Sqlite => [
                "DELETE FROM steadfast_revision WHERE n = 3",
                "UPDATE steadfast_revision SET author = 'bob', at_us = at_us + 1000000 WHERE n = 3",
            ],
            _ => [
                "DELETE FROM steadfast.revision WHERE n = 3",
                "UPDATE steadfast.revision SET author = 'bob', at_us = at_us + 1000000 WHERE n = 3",
            ],
        };
        let change = async |statement: &'static str| {
            let changed: Result<Rows, Error> = serving
                .store
                .write(async |mut tx| tx.sql(statement, binds![]).await)
                .await;
            changed.unwrap();
        };

        change(lost).await;
        let policy = serving
            .until("what is there rules", |policy| policy["revision"] == 2)
            .await;
        assert_eq!(failures(&policy), 7);
        assert!(serving.apply(9).contains("\nrevision 3 is in force in "));

        change(given).await;
        serving
            .until("the same number is another's", |policy| {
                policy["author"] == "bob"
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_refused_where_there_are_none_and_where_they_are_kept_the_way_back_is_open() {
    let database = Database::make(Kind::Sqlite).await;
    let handler = "[handlers.nothing]\nexec = [\"true\"]\n";
    let mut serving = Serving::start_with("no-routes", &database, handler).await;
    let base = serving.policy()["base"].as_str().unwrap().to_owned();
    let routes = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/x\"]\ntimeout = \"page\"\n";
    let file = serving.folder.path().join("routes.toml");
    std::fs::write(&file, routes).unwrap();

    let apply = [&["policy", "apply", file.to_str().unwrap()][..], &WHY].concat();
    let refused = serving.ask(&apply);
    let told = text(&refused.stderr);
    assert!(told.starts_with("error[SF-2212]: "), "{told}");
    assert!(told.contains("the guard is around no routes"), "{told}");
    assert_eq!(serving.policy()["revision"], 1);

    // As a version before has kept it.
    let hash = PolicyDocument::new("routes.toml", routes).unwrap().hash();
    let put = "INSERT INTO steadfast_revision (namespace, n, base, hash, name, document, author, reason, at_us) \
               VALUES ('serve', 2, ?1, ?2, 'routes.toml', ?3, 'bob', 'before', 0)";
    let binds = binds![base.as_str(), hash.to_string(), routes];
    let put: Result<Rows, Error> = serving
        .store
        .write(async |mut tx| tx.sql(put, binds).await)
        .await;
    put.unwrap();
    serving
        .until("it is followed", |policy| policy["revision"] == 2)
        .await;
    serving.kill();
    serving.restart_with(handler);
    assert_eq!(serving.policy()["revision"], 2);

    let told = serving.agreed_to(&["policy", "revert", "1"]);
    assert!(told.contains("revision 3 is in force in "), "{told}");
}
