//! What becomes of the API when the store takes no writes any more, and when it does again.

use serde_json::Value;
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, Rows, Store, binds};

use super::served::{Served, bearer, text};
use super::*;

/// Waits until `/readyz` says this.
async fn until_ready_says(served: &mut Served, part: &str) -> String {
    let since = clock::now();
    loop {
        let told = served.server.get("/readyz");
        if told.contains(part) {
            return told;
        }
        assert!(clock::now() - since < PATIENCE, "no {part}: {told}");
        clock::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for the status until changes are refused, or taken.
async fn until_read_only(served: &Served, token: &str, wanted: bool) -> Value {
    let since = clock::now();
    loop {
        let told = served.ask(token, &["status", "--json"]);
        // Connections that were lost are told, and made anew.
        let told = match told.status.code() {
            Some(0) => serde_json::from_slice(&told.stdout).unwrap(),
            _ => Value::Null,
        };
        if told["data"]["read_only"] == wanted {
            return told["data"].clone();
        }
        assert!(clock::now() - since < PATIENCE, "{told}");
        clock::sleep(Duration::from_millis(50)).await;
    }
}

/// Changes the database while it takes no writes.
async fn change(store: &Store, statement: &'static str) {
    let changed: Result<Rows, Error> = store
        .write(async |mut tx| {
            tx.sql("SET TRANSACTION READ WRITE", binds![]).await?;
            tx.sql(statement, binds![]).await
        })
        .await;
    changed.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_takes_no_writes_changes_are_refused_and_all_else_goes_on() {
    let database = Database::make(Kind::Postgres).await;
    let mut served = Served::start_at(
        "read-only-store",
        &database.direct_url(),
        &shell("nothing", "true", ""),
    );
    let viewer = served.token("viewer");
    let admin = served.token("admin");
    let admin_may = bearer(&admin);
    let store = database.open().await;
    let change = async |statement| change(&store, statement).await;
    let enqueue = |served: &Served| {
        let body = r#"{"kind":"nothing","reason":"a test"}"#;
        served.send("POST", "/api/v1/jobs", &admin_may, body)
    };
    assert_eq!(enqueue(&served).0, 200);
    let (before, ..) = served.send("GET", "/api/v1/jobs/1", &admin_may, "");
    assert_eq!(before, 200);
    until_ready_says(&mut served, "\"ready\":true").await;

    change(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    )
    .await;
    // New sessions alone are read-only: as after a failover, the old ones are gone.
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let _: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(ended, binds![]).await)
        .await;

    let status = until_read_only(&served, &admin, true).await;
    let because = status["read_only_because"].as_str().unwrap();
    assert!(
        because.ends_with("the database takes no writes (SF-1106)"),
        "{because}"
    );
    let shown = served.told(&admin, &["status"]);
    assert!(shown.contains("\nchanges    REFUSED: "), "{shown}");
    until_ready_says(&mut served, "\"reason\":\"read-only\"").await;
    let (status, head, body) = enqueue(&served);
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("\r\nretry-after: 2\r\n"), "{head}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["code"], "SF-2214", "{body}");
    let title = problem["title"].as_str().unwrap();
    assert!(
        title.starts_with("no change can be made at the moment: "),
        "{title}"
    );
    assert!(
        title.ends_with("the database takes no writes (SF-1106)"),
        "{title}"
    );
    assert!(problem["fix"].is_string());
    let refused = served.ask(&admin, &["jobs", "cancel", "1", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(7));
    assert!(text(&refused.stderr).starts_with("error[SF-2214]: "));
    // Who may not do it hears that, and nothing of the store.
    let forbidden = served.ask(&viewer, &["jobs", "cancel", "1", "--reason", "x"]);
    assert!(text(&forbidden.stderr).starts_with("error[SF-2203]: "));
    let made = served.admin(&["token", "create", "--name", "new"]);
    assert!(
        text(&made.stderr).contains("SF-1106"),
        "{}",
        text(&made.stderr)
    );
    // Whatever reads goes on.
    let (_, _, document) = served.send("GET", "/api/v1/openapi.json", "", "");
    let document: Value = serde_json::from_str(&document).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.contains('{') || path.ends_with("explain") {
            continue;
        }
        let (status, _, body) = served.send("GET", path, &admin_may, "");
        assert_eq!(status, 200, "{path}: {body}");
    }

    change(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$",
    )
    .await;
    let status = until_read_only(&served, &admin, false).await;
    assert_eq!(status["read_only_because"], Value::Null);
    let (status, _, body) = enqueue(&served);
    assert_eq!(status, 200, "{body}");
    until_ready_says(&mut served, "\"ready\":true").await;
    served.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_while_postgres_takes_no_writes_says_so_and_begins_once_it_does() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    let change = async |statement| change(&store, statement).await;
    change(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    )
    .await;
    let folder = Folder::new("started-read-only");
    let ids = "[ids]\nlisten = \"127.0.0.1:0\"\n[generators.ticket]\ntag = \"ticket\"\n";
    let rest = shell("nothing", "true", "") + ids;
    let config = folder.configure_at(&database.direct_url(), &rest);

    let mut server = Server::start(&config);
    let says = [
        server.line_with(" cannot be "),
        server.line_with(" cannot be "),
    ];
    for line in &says {
        assert!(line.contains("it is tried again"), "{line}");
        assert!(line.contains("SF-1106"), "{line}");
    }
    let why = "the database takes no writes (SF-1106)";
    let since = clock::now();
    while server.get("/readyz").matches(why).count() < 2 {
        assert!(clock::now() - since < PATIENCE, "{}", server.get("/readyz"));
        clock::sleep(Duration::from_millis(50)).await;
    }
    let told = server.get("/readyz");
    assert!(told.contains("\"reason\":\"starting\""), "{told}");
    assert!(told.contains("\"reason\":\"ids\""), "{told}");

    change(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$",
    )
    .await;
    // Ids and jobs begin each by themselves.
    let since = clock::now();
    while !server.get("/readyz").contains("\"ready\":true") {
        assert!(clock::now() - since < PATIENCE, "{}", server.get("/readyz"));
        clock::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
}

/// A file system that is soon full; gone with it.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder)
            .status();
        assert!(mounted.unwrap().success(), "only root may mount");
        Self(folder.to_owned())
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[7; 4_096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_over_once_there_is_room() {
    let folder = Folder::new("full-disk");
    let small = Small::mount(&folder.path().join("small"));
    let store = format!("sqlite:{}/jobs.db", small.0.display());
    let served = Served::start_at("full-disk-config", &store, &shell("nothing", "true", ""));
    let admin = served.token("admin");
    let admin_may = bearer(&admin);
    // More than there is in the file already.
    let payload = "x".repeat(500_000);
    let body =
        format!(r#"{{"kind":"nothing","queue":"unserved","payload":"{payload}","reason":"x"}}"#);
    let enqueue = || served.send("POST", "/api/v1/jobs", &admin_may, &body);
    assert_eq!(enqueue().0, 200);

    let filler = small.fill();
    let since = clock::now();
    let (status, head, told) = loop {
        // What the file has room for is taken still.
        let answer = enqueue();
        if answer.0 != 200 {
            break answer;
        }
        assert!(clock::now() - since < PATIENCE);
    };
    assert_eq!(status, 503, "{told}");
    assert!(head.contains("retry-after: 2"), "{head}");
    assert!(
        told.contains("\"code\":\"SF-2214\"") && told.contains("SF-1107"),
        "{told}"
    );
    let (status, _, listed) = served.send("GET", "/api/v1/jobs", &admin_may, "");
    assert_eq!(status, 200, "{listed}");

    std::fs::remove_file(filler).unwrap();
    until_read_only(&served, &admin, false).await;
    assert_eq!(enqueue().0, 200);
    served.server.stop();
}
