//! A configuration, its store and its server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Config, Store};

use super::*;
use crate::serve::{Folder, Server, shell};

fn examined(config: &std::path::Path) -> Told {
    let mut command = doctor();
    command
        .current_dir(config.parent().unwrap())
        .arg("--config")
        .arg(config);
    told(&command.output().unwrap())
}

/// A configuration with a handler, whose files are for their owner alone.
fn configured(folder: &Folder, rest: &str) -> PathBuf {
    folder.configure(&format!("{rest}{}", shell("nothing", "true", "")))
}

/// Two ports that were free a moment ago.
fn ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[test]
fn a_configuration_without_a_fault_is_left_in_peace_before_and_while_it_runs() {
    let folder = Folder::in_target("doctor-clean");
    let [health, api] = ports();
    let config = folder.path().join("steadfast.toml");
    let text = format!(
        "[store]\nurl = \"sqlite:{}/jobs.db\"\n[health]\nlisten = \"127.0.0.1:{health}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n{}",
        folder.path().display(),
        shell("nothing", "true", "")
    );
    std::fs::write(&config, text).unwrap();

    let before = examined(&config);
    before.silent();
    assert!(
        !folder.path().join("jobs.db").exists(),
        "nothing is made by looking"
    );

    let mut server = Server::start(&config);
    server.line_with("the API is served");
    std::fs::set_permissions(
        folder.path().join("jobs.db"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let running = examined(&config);
    running.silent();
    for check in [
        "store.reached",
        "store.schema",
        "store.written",
        "store.clock",
        "service.ready",
        "service.armed",
    ] {
        let found = running
            .findings
            .iter()
            .find(|finding| finding["check"] == check);
        assert_eq!(found.unwrap()["verdict"], "ok", "{check}");
    }
    let ports = running
        .findings
        .iter()
        .find(|finding| finding["check"] == "machine.ports");
    assert!(
        ports.unwrap()["says"]
            .as_str()
            .unwrap()
            .starts_with("the server runs: ")
    );
    server.stop();

    examined(&config).silent();
}

#[test]
fn what_a_configuration_exposes_is_found() {
    let folder = Folder::in_target("doctor-exposed");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let check = |rest: &str, check: &str, verdict: &str, part: &str| {
        examined(&configured(&folder, rest)).one(check, verdict, part);
    };
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "x".repeat(32)).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();

    check(
        &format!(
            "[handlers.mail]\nhttp = \"https://mail.internal/x\"\nsecret = \"file:{}\"\n",
            secret.display()
        ),
        "config.files",
        "fail",
        "is a secret that every user",
    );
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    check(
        &format!(
            "[handlers.mail]\nhttp = \"http://mail.internal/x\"\nsecret = \"file:{}\"\n",
            secret.display()
        ),
        "config.targets",
        "warn",
        "calls mail.internal in clear",
    );
    check(
        "[handlers.sync]\nexec = [\"/bin/true\"]\nenv = [\"API_TOKEN=abc\"]\n",
        "config.secrets",
        "fail",
        "API_TOKEN written down",
    );
    check(
        "[handlers.sync]\nexec = [\"/bin/true\", \"--password=abc\"]\n",
        "config.secrets",
        "fail",
        "password written down",
    );
    check(
        &format!("[calls]\nlisten = \"{}\"\n", taken.1),
        "machine.ports",
        "fail",
        "cannot be had",
    );
    check(
        "[queues.many]\npermits = 10000\n[calls]\nlisten = \"127.0.0.1:0\"\n[handlers.x]\nexec = [\"/bin/true\"]\nqueue = \"many\"\n",
        "machine.files",
        "warn",
        "are needed",
    );

    let config = configured(&folder, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let public = text.replace(
        "[api]\nlisten = \"127.0.0.1:0\"",
        "[api]\nlisten = \"0.0.0.0:0\"",
    );
    std::fs::write(&config, public).unwrap();
    examined(&config).one("config.listen", "fail", "api.listen = \"0.0.0.0:0\"");
    let numbers = text.replace(
        "[health]\nlisten = \"127.0.0.1:0\"",
        "[health]\nlisten = \"0.0.0.0:0\"",
    );
    std::fs::write(&config, numbers).unwrap();
    examined(&config).one("config.listen", "warn", "health.listen = \"0.0.0.0:0\"");

    std::fs::write(&config, &text).unwrap();
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o666)).unwrap();
    examined(&config).one("config.files", "fail", "can be written by others");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&config, "[store]\nurll = \"x\"\n").unwrap();
    examined(&config).one("config.read", "fail", "unknown key \"urll\"");
    std::fs::write(&config, "[store]\nurl = \"sqlite:jobs.db\"\n").unwrap();
    examined(&config).some("config.read", "warn", "the API alone is served");
    std::fs::write(
        &config,
        "[store]\nurl = \"sqlite:jobs.db\"\n[api]\nenabled = false\n",
    )
    .unwrap();
    examined(&config).some("config.read", "fail", "nothing is to be run");
}

#[test]
fn programs_that_would_run_as_root_are_found_where_root_looks() {
    let folder = Folder::in_target("doctor-root");
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let of = |rest: &str| {
        let config = folder.configure(&shell("of-somebody", "true", rest));
        examined(&config)
    };
    let is_root = user.trim() == "root";

    let unsaid = of("");
    let said = of(&format!("user = \"{}\"\n", user.trim()));

    match is_root {
        true => unsaid.some("config.users", "warn", "say no user: of-somebody"),
        false => unsaid.some_well("config.users"),
    }
    said.some_well("config.users");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_of_sqlite_is_found() {
    let folder = Folder::in_target("doctor-sqlite");
    let config = configured(&folder, "");
    let path = folder.path().join("jobs.db");

    // Tables of a program that is not there yet: the server would bring them up to date.
    let store = Store::open(Config::sqlite(&path)).await.unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let found = examined(&config);
    found.silent();
    let schema = found
        .findings
        .iter()
        .find(|finding| finding["check"] == "store.schema")
        .unwrap();
    assert!(
        schema["says"]
            .as_str()
            .unwrap()
            .contains("the server applies it"),
        "{schema}"
    );
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("[health]", "migrate = false\n[health]"),
    )
    .unwrap();
    examined(&config).one("store.schema", "fail", "SF-1117");
    std::fs::write(&config, &text).unwrap();

    let held = store.begin().await.unwrap();
    examined(&config).one(
        "store.written",
        "fail",
        &format!("process {}", std::process::id()),
    );
    held.roll_back().await.unwrap();
    store.close().await;

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    examined(&config).one("config.files", "warn", "the payloads of all jobs");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();

    // Else its first page might be read from there.
    let _ = std::fs::remove_file(path.with_extension("db-wal"));
    std::fs::write(
        &path,
        "this is no database, whatever its name says, and it is long enough to be one",
    )
    .unwrap();
    examined(&config).one("store.reached", "fail", "SF-11");
    std::fs::write(&config, text.replace("sqlite:", "sqlite:/no/such/folder")).unwrap();
    examined(&config).one("store.reached", "fail", "there is no folder");
    std::fs::write(&config, text.replace("sqlite:", "env:NO_SUCH_STORE#")).unwrap();
    examined(&config).one("store.reached", "fail", "store.url cannot be had");
}

#[tokio::test]
async fn who_is_in_the_way_on_postgresql_is_found() {
    let database = Database::make(Kind::Postgres).await;
    let folder = Folder::in_target("doctor-postgres");
    let config = folder.path().join("steadfast.toml");
    let text = format!(
        "[store]\nurl = \"env:STORE\"\n[health]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n{}",
        shell("nothing", "true", "")
    );
    std::fs::write(&config, text).unwrap();
    let examined = || {
        let mut command = doctor();
        command
            .current_dir(folder.path())
            .env("STORE", database.direct_url());
        command.arg("--config").arg(&config);
        let mut told = told(&command.output().unwrap());
        // The throw-away cluster of tests is not durable, and says so; others may use its connections.
        told.findings.retain(|finding| {
            let check = finding["check"].as_str().unwrap();
            check != "store.durable" && check != "store.connections"
        });
        told
    };
    let store = database.open().await;

    assert!(examined().troubles().is_empty());
    let mut held = store.begin().await.unwrap();
    held.sql(
        "LOCK TABLE steadfast.node IN SHARE MODE",
        steadfast::store::binds![],
    )
    .await
    .unwrap();
    let found = examined();
    let troubles = found.troubles();
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert_eq!(troubles[0]["check"], "store.locks");
    assert!(
        troubles[0]["says"]
            .as_str()
            .unwrap()
            .contains("ShareLock on the table node")
    );
    held.roll_back().await.unwrap();

    // A node that gives a sign at a time that is yet to come: the clock was set back since.
    let mut ahead = store.begin().await.unwrap();
    let insert = "INSERT INTO steadfast.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us) \
                  SELECT 'x', '1', 'h', 1, 'b', 'l', n, n, n FROM (SELECT steadfast.now_us() + 60000000 AS n) AS t";
    ahead.sql(insert, steadfast::store::binds![]).await.unwrap();
    ahead.commit().await.unwrap();
    examined().some("store.clock", "fail", "was set back by");
    store.close().await;
}

#[test]
fn what_the_machine_does_not_have_is_found() {
    let folder = Folder::in_target("doctor-needs");
    let check = |rest: &str, verdict: &str, part: &str| {
        let config = folder.configure(rest);
        examined(&config).one("config.needs", verdict, part);
    };

    check(
        "[handlers.a]\nexec = [\"/no/such\"]\n",
        "fail",
        "there is no program /no/such",
    );
    check(
        &shell("a", "true", "user = \"nobody-of-that-name\""),
        "fail",
        "steadfast.toml:9:8: there is no user",
    );
    let http = "[handlers.a]\nhttp = \"http://127.0.0.1:1/\"\nsecret = \"env:NO_SUCH_VARIABLE\"\n";
    check(
        http,
        "warn",
        "the variable NO_SUCH_VARIABLE is not set here",
    );
}

#[test]
fn a_service_that_nobody_serves_is_told() {
    let folder = Folder::in_target("doctor-nobody");
    let [port, _] = ports();
    let mut command = doctor();
    command
        .current_dir(folder.path())
        .args(["--service", &format!("http://127.0.0.1:{port}")]);

    told(&command.output().unwrap()).one("service.reached", "fail", "nobody answers at");
}
