//! `steadfast db`, on a store that a server uses and on one that nobody does.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use steadfast::jobs::{JobId, Jobs, State};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Config, Place, Store};

use crate::serve::{Folder, Server, enqueue, jobs, shell, until_state};

fn db(config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("db").args(args).arg("--config").arg(config);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn told(config: &Path, args: &[&str]) -> String {
    let output = db(config, args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Checks how a command fails, and gives what it says.
fn refused(config: &Path, args: &[&str], code: i32) -> String {
    let output = db(config, args);
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {says}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    says
}

async fn has(path: &Path, id: JobId) -> bool {
    let store = Store::open(Config::sqlite(path)).await.unwrap();
    let jobs = Jobs::open(&store).await.unwrap();
    let found = jobs.find(id).await.unwrap().is_some();
    store.close().await;
    found
}

fn beside(folder: &Folder, part: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder.path()).unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    let is_named = |path: &PathBuf| path.to_str().unwrap().contains(part);
    all.filter(is_named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_copied_and_the_copy_is_put_back_once_nobody_uses_it() {
    let folder = Folder::new("db");
    let config = folder.configure(&shell("echo", "cat", ""));
    let copy = folder.path().join("copy.db");
    let copy_name = copy.to_str().unwrap().to_owned();
    let server = Server::start(&config);
    let jobs_of = jobs(&folder).await;
    let before = enqueue(&jobs_of, "echo", "1", 1).await;
    until_state(&jobs_of, before, State::Completed).await;

    // Somebody writes all the while.
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .args(["db", "backup", &copy_name, "--config"])
        .arg(&config);
    let mut copying = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut written = 0;
    while copying.try_wait().unwrap().is_none() {
        enqueue(&jobs_of, "echo", "2", 1).await;
        written += 1;
    }
    let copied = text(&copying.wait_with_output().unwrap().stdout);
    assert!(written > 0, "nobody was held up");
    assert!(copied.starts_with(&format!("{copy_name} has ")), "{copied}");
    let after = enqueue(&jobs_of, "echo", "3", 1).await;
    until_state(&jobs_of, after, State::Completed).await;
    assert!(
        refused(&config, &["backup", &copy_name], 1).starts_with("error[SF-1126]: cannot write "),
    );
    let in_use = refused(&config, &["restore", &copy_name, "--yes"], 6);
    assert!(in_use.starts_with("error[SF-1124]: the file "), "{in_use}");
    assert!(in_use.contains(" is in use by process "), "{in_use}");
    assert!(in_use.contains("fix: stop the processes named"), "{in_use}");

    jobs_of.store().close().await;
    server.stop();
    let unasked = refused(&config, &["restore", &copy_name], 1);
    assert!(unasked.contains("jobs.db: say --yes"), "{unasked}");
    let restored = told(&config, &["restore", &copy_name, "--yes"]);

    let store = folder.path().join("jobs.db");
    assert!(
        restored.contains("\nwhat was there is kept as "),
        "{restored}"
    );
    assert!(has(&store, before).await);
    assert!(!has(&store, after).await, "it came after the copy");
    let kept = beside(&folder, "jobs.db.before-");
    assert!(has(&kept[0], after).await, "what was there is whole");
    assert!(beside(&folder, ".restoring").is_empty() && beside(&folder, ".part").is_empty());
    // It is a store to work with.
    let server = Server::start(&config);
    let jobs_of = jobs(&folder).await;
    let again = enqueue(&jobs_of, "echo", "4", 1).await;
    until_state(&jobs_of, again, State::Completed).await;
    jobs_of.store().close().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_copy_is_refused_and_nothing_is_changed() {
    let folder = Folder::new("db-damaged");
    let config = folder.configure("");
    told(&config, &["migrate"]);
    let jobs_of = jobs(&folder).await;
    for _ in 0..200 {
        enqueue(&jobs_of, "echo", "\"a payload that takes some room\"", 1).await;
    }
    let kept = enqueue(&jobs_of, "echo", "1", 1).await;
    jobs_of.store().close().await;
    let path = |name: &str| folder.path().join(name);
    let name = |name: &str| path(name).to_str().unwrap().to_owned();
    told(&config, &["backup", &name("copy.db")]);
    let whole = fs::read(path("copy.db")).unwrap();

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8_192].fill(0x5a);
    fs::write(path("damaged.db"), damaged).unwrap();
    fs::write(path("half.db"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("empty.db"), "").unwrap();
    fs::write(path("text.db"), "no database ".repeat(1_000)).unwrap();
    fs::write(path("live.db"), &whole).unwrap();
    fs::write(path("live.db-wal"), "x").unwrap();

    for (file, says) in [
        ("damaged.db", "it is damaged"),
        ("half.db", "it is damaged"),
        ("empty.db", "it is no store of steadfast"),
        ("text.db", "it is damaged, or no database of SQLite"),
        ("live.db", "there is a -wal file beside it"),
    ] {
        let told = refused(&config, &["restore", &name(file), "--yes"], 1);
        // The copy is meant, and not the store that it was to replace.
        let begins = format!("error[SF-1125]: {} cannot be put back: {says}", name(file));
        assert!(told.starts_with(&begins), "{file}: {told}");
        assert!(told.contains("nothing was changed"), "{file}: {told}");
    }
    let missing = refused(&config, &["restore", &name("missing.db"), "--yes"], 1);
    assert!(
        missing.starts_with("error[SF-2300]: cannot read "),
        "{missing}"
    );
    assert!(
        missing.contains("fix: see that the path is right"),
        "{missing}"
    );
    assert!(has(&path("jobs.db"), kept).await);
    assert!(beside(&folder, "before-").is_empty() && beside(&folder, ".restoring").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_told_and_brought_up_to_date() {
    let folder = Folder::new("db-status");
    let config = folder.configure("");
    let unmade = told(&config, &["migrate", "--dry-run"]);
    assert!(
        unmade.contains(" steps would be applied: store 0001_nodes, "),
        "{unmade}"
    );
    let nothing = refused(&config, &["status"], 4);
    assert!(nothing.contains("there is no store at "), "{nothing}");
    assert!(
        beside(&folder, "jobs.db").is_empty(),
        "a look makes no file"
    );
    let store = Store::open(Config::sqlite(folder.path().join("jobs.db")));
    store.await.unwrap().close().await;

    let behind = db(&config, &["status"]);
    assert_eq!(behind.status.code(), Some(6));
    let shown = text(&behind.stdout);
    assert!(shown.starts_with("PACKAGE  STEP "), "{shown}");
    assert!(shown.contains("server   0001_api "), "{shown}");
    assert!(shown.contains(" missing\n"), "{shown}");
    let says = text(&behind.stderr);
    assert!(
        says.contains("steps are missing; `steadfast db migrate` applies them"),
        "{says}"
    );
    let dry = told(&config, &["migrate", "--dry-run"]);
    assert!(
        dry.contains("server 0001_api") && !dry.contains("store 0001_nodes"),
        "{dry}"
    );
    assert_eq!(
        db(&config, &["status"]).status.code(),
        Some(6),
        "nothing was changed"
    );
    let migrated = told(&config, &["migrate"]);
    assert_eq!(
        told(&config, &["migrate", "--dry-run"]),
        "no step is missing\n"
    );
    assert!(
        migrated.ends_with(" steps of the tables are applied\n"),
        "{migrated}"
    );
    let shown = told(&config, &["status"]);
    assert!(!shown.contains("missing"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&told(&config, &["status", "--json"])).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["data"]["steps"][0]["state"], "applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_postgresql_is_copied_and_put_back_by_its_own_tools() {
    let database = Database::make(Kind::Postgres).await;
    let Place::Postgres(url) = &database.config().place else {
        unreachable!("it is one of PostgreSQL");
    };
    let folder = Folder::new("db-postgres");
    let config = folder.path().join("steadfast.toml");
    fs::write(&config, format!("[store]\nurl = {url:?}\n")).unwrap();
    let copy = folder.path().join("copy.dump");
    let copy = copy.to_str().unwrap();
    told(&config, &["migrate"]);
    let store = Store::open(Config::postgres(url)).await.unwrap();
    let jobs_of = Jobs::open(&store).await.unwrap();
    let before = enqueue(&jobs_of, "echo", "1", 1).await;

    let copied = told(&config, &["backup", copy]);
    assert!(copied.starts_with(&format!("{copy} has ")), "{copied}");
    assert_eq!(mode(Path::new(copy)), 0o600);
    let twice = refused(&config, &["backup", copy], 1);
    assert!(twice.contains("already; name another file"), "{twice}");
    let after = enqueue(&jobs_of, "echo", "2", 1).await;
    let node = store
        .join(steadfast::store::NodeConfig::new("shop", "1"))
        .await
        .unwrap();
    let in_use = refused(&config, &["restore", copy, "--dry-run"], 6);
    assert!(
        in_use.contains("the store is in use by shop on "),
        "{in_use}"
    );
    let in_use = refused(&config, &["restore", copy, "--yes"], 6);
    assert!(
        in_use.contains("the store is in use by shop on "),
        "{in_use}"
    );
    node.leave().await;
    store.close().await;
    fs::write(folder.path().join("no.dump"), "no dump").unwrap();
    let wrong = folder.path().join("no.dump");
    let wrong = refused(&config, &["restore", wrong.to_str().unwrap(), "--yes"], 1);
    assert!(wrong.contains("pg_restore has failed: "), "{wrong}");
    let dry = told(&config, &["restore", copy, "--dry-run"]);
    assert!(dry.ends_with("\nnothing was changed\n"), "{dry}");
    let store = Store::open(Config::postgres(url)).await.unwrap();
    let jobs_of = Jobs::open(&store).await.unwrap();
    assert!(jobs_of.find(after).await.unwrap().is_some());
    store.close().await;
    told(&config, &["restore", copy, "--yes"]);

    let store = Store::open(Config::postgres(url)).await.unwrap();
    let jobs_of = Jobs::open(&store).await.unwrap();
    assert!(jobs_of.find(before).await.unwrap().is_some());
    assert!(jobs_of.find(after).await.unwrap().is_none());
    store.close().await;
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    let output = elsewhere
        .args(["db", "backup", "other.dump", "--config"])
        .arg(&config)
        .env("PATH", "/nowhere")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let says = text(&output.stderr);
    assert!(says.contains("pg_dump is not installed here"), "{says}");
    assert!(
        says.contains("run: pg_dump '--format=custom' '--schema=steadfast'"),
        "{says}"
    );
    assert!(says.contains(" > 'other.dump'"), "{says}");
    assert!(beside(&folder, ".part").is_empty());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_user_reads_a_store_or_its_copy_and_a_restored_one_is_of_whom_it_was() {
    let folder = Folder::new("db-mode");
    let config = folder.configure(&shell("echo", "cat", ""));
    let (store, copy) = (folder.path().join("jobs.db"), folder.path().join("copy.db"));
    let server = Server::start(&config);
    let jobs_of = jobs(&folder).await;
    let id = enqueue(&jobs_of, "echo", "1", 1).await;
    until_state(&jobs_of, id, State::Completed).await;
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let mode = mode(&folder.path().join(file));
        assert_eq!(mode & 0o007, 0, "{file}: {mode:o}");
    }
    told(&config, &["backup", copy.to_str().unwrap()]);
    assert_eq!(mode(&copy), 0o600);
    jobs_of.store().close().await;
    server.stop();

    // As a user of the service has it, whose store somebody else restores.
    fs::set_permissions(&store, PermissionsExt::from_mode(0o640)).unwrap();
    let owner = |path: &Path| {
        let of = fs::metadata(path).unwrap();
        (of.uid(), of.gid())
    };
    // Only root can give it away.
    let _ = chown(&store, Some(65_534), Some(65_534));
    let before = owner(&store);
    told(&config, &["restore", copy.to_str().unwrap(), "--yes"]);

    assert_eq!((mode(&store), owner(&store)), (0o640, before));
    fs::remove_file(&store).unwrap();
    told(&config, &["restore", copy.to_str().unwrap(), "--yes"]);
    assert_eq!(mode(&store), 0o600);
}

/// Says what a server does that hands ids out and may not change the tables.
async fn check_ids(folder: &Folder, url: &str) {
    let with = |ids: &str| {
        let config = folder.configure_at(url, ids);
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("[health]", "migrate = false\n[health]");
        fs::write(&config, text).unwrap();
        config
    };
    let config = with("");
    told(&config, &["migrate"]);
    let shown = told(&config, &["status"]);
    assert!(!shown.contains("\nids "), "{shown}");

    let config = with("[ids]\nlisten = \"127.0.0.1:0\"\n[generators.ticket]\ntag = \"ticket\"\n");
    let behind = db(&config, &["status"]);
    assert_eq!(behind.status.code(), Some(6), "{}", text(&behind.stderr));
    let shown = text(&behind.stdout);
    let missing = |line: &&str| line.ends_with(" missing");
    let missing: Vec<_> = shown.lines().filter(missing).collect();
    assert!(!missing.is_empty(), "{shown}");
    assert!(
        missing.iter().all(|line| line.starts_with("ids ")),
        "{shown}"
    );
    let mut stopped = Server::start(&config);
    let (code, says) = stopped.ended();
    assert_eq!(code, Some(1), "{says}");
    assert!(says.contains("SF-1117"), "{says}");

    told(&config, &["migrate"]);
    assert!(!told(&config, &["status"]).contains("missing"));
    let mut server = Server::start(&config);
    server.line_with("ids are handed out");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_ids_are_among_them_where_ids_are_handed_out() {
    let folder = Folder::new("db-ids");
    let file = folder.path().join("jobs.db");
    check_ids(&folder, &format!("sqlite:{}", file.display())).await;

    let database = Database::make(Kind::Postgres).await;
    check_ids(&Folder::new("db-ids-postgres"), &database.direct_url()).await;
}
