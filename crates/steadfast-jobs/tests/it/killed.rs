//! Processes that die or stand still: this test binary starts itself as a worker, and sends it real
//! signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::clock;
use steadfast_jobs::{Job, Jobs, Kind, Options, Run, What, Worker};
use steadfast_store::testing::Database;
use steadfast_store::{Config, NodeConfig, Place, Pooler, Store};

use super::support::{PATIENCE, look, until_state};

/// Ends when its file is there.
#[derive(Serialize, Deserialize)]
struct Wait {
    file: PathBuf,
}

impl Job for Wait {
    const KIND: &'static str = "wait";
}

fn worker(jobs: &Jobs, who: &'static str, lease: Duration) -> Worker {
    let kind = Kind::new(move |_: Run, wait: Wait| async move {
        std::fs::write(started(&wait.file, who), "")?;
        while who == "child" && !wait.file.exists() {
            clock::sleep(Duration::from_millis(5)).await;
        }
        Ok(who)
    });
    Worker::builder(jobs)
        .kind(kind)
        .rescue_every(Duration::from_millis(200))
        .join(NodeConfig::new(who, "0").with_lease(lease))
        .build()
        .unwrap()
}

/// The file that tells that the handler runs.
fn started(go: &Path, who: &str) -> PathBuf {
    go.with_extension(who)
}

/// Waits until the handler of the child runs: the claim alone is not yet its start.
async fn until_child_runs(go: &Path) {
    let runs = async {
        while !started(go, "child").exists() {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    clock::timeout(PATIENCE, runs).await.unwrap();
}

/// For those whose lease shall end.
const SHORT: Duration = Duration::from_secs(1);

/// For those that shall keep theirs on a machine that stands still for a while, too.
const LONG: Duration = Duration::from_secs(600);

/// For those that shall keep it until they are killed, and whose rescue is waited for.
const MIDDLE: Duration = Duration::from_secs(6);

const LEASE: &str = "STEADFAST_TEST_CHILD_LEASE";
const URL: &str = "STEADFAST_TEST_CHILD_URL";
const POOLED: &str = "STEADFAST_TEST_CHILD_POOLED";

/// What the child does: nothing, when this runs as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(place) = std::env::var(URL) else {
        return;
    };
    let mut config = match place.strip_prefix("file:") {
        Some(path) => Config::sqlite(path),
        None => Config::postgres(place),
    };
    if std::env::var(POOLED).is_ok() {
        config.pooler = Pooler::Transaction;
    }
    let jobs = Jobs::open(&Store::open(config).await.unwrap())
        .await
        .unwrap();
    let lease = std::env::var(LEASE).unwrap().parse().unwrap();
    let running = worker(&jobs, "child", Duration::from_secs(lease)).start();
    let mut events = running.events();
    loop {
        let event = events.recv().await.unwrap();
        if matches!(event.what, What::LeaseLost) {
            std::process::exit(LEASE_LOST);
        }
    }
}

/// With what the child exits when it has seen that its lease is lost.
const LEASE_LOST: i32 = 77;

/// A child that is killed with the test, whatever happens.
struct Process(Child);

impl Process {
    fn start(database: &Database, lease: Duration) -> Self {
        let config = database.config();
        let place = match &config.place {
            Place::Sqlite(path) => format!("file:{}", path.display()),
            Place::Postgres(url) => url.clone(),
            other => panic!("{other:?}"),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["killed::child", "--exact", "--nocapture"])
            .env(URL, place)
            .env(LEASE, lease.as_secs().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if config.pooler == Pooler::Transaction {
            command.env(POOLED, "1");
        }
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it at a moment at which it is in no transaction: a process that stands still with the
    /// lock of the file in its hand stops everybody, which is another story.
    async fn stop(&self, database: &Database) {
        let config = Config {
            acquire_timeout: Duration::from_millis(100),
            ..database.config()
        };
        let probe = database.open_with(config).await;
        loop {
            self.signal("-STOP");
            let wrote: Result<(), steadfast_store::Error> = probe.write(async |_| Ok(())).await;
            match wrote {
                Ok(()) => return,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            self.signal("-CONT");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the files of a test are; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str, database: &Database) -> Self {
        let name = format!("jobs-{name}-{:?}-{}", database.kind(), std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn go(&self) -> PathBuf {
        self.0.join("go")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of a test that failed is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

steadfast_store::on_every_store! {
    async fn a_job_whose_process_is_killed_is_rescued_and_run_to_its_end(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let child = Process::start(database, MIDDLE);
        let folder = Folder::make("never", database);
        let never = folder.go();
        let id = jobs.enqueue(&Wait { file: never.clone() }, Options::new()).await.unwrap();
        until_child_runs(&never).await;

        child.signal("-KILL");
        let running = worker(&jobs, "parent", LONG).start();

        let seen = until_state(&store, id, "completed").await;
        assert_eq!(seen.result.as_deref(), Some("\"parent\""));
        assert_eq!((seen.crashes, seen.attempt), (1, 1));
        assert!(seen.term >= 3, "claim, rescue, claim");
        running.stop(PATIENCE).await;
    }

    async fn a_process_that_stands_still_for_longer_than_its_lease_cannot_end_its_job(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let mut child = Process::start(database, SHORT);
        let folder = Folder::make("longer", database);
        let go = folder.go();
        let wait = Wait { file: go.clone() };
        let id = jobs.enqueue(&wait, Options::new()).await.unwrap();
        until_child_runs(&go).await;

        child.stop(database).await;
        let running = worker(&jobs, "parent", LONG).start();
        let seen = until_state(&store, id, "completed").await;
        assert_eq!(seen.result.as_deref(), Some("\"parent\""));
        // Now its handler would come to its end.
        std::fs::write(&go, "").unwrap();
        child.signal("-CONT");

        let ended = async {
            loop {
                if let Some(status) = child.0.try_wait().unwrap() {
                    return status;
                }
                clock::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = clock::timeout(PATIENCE, ended).await.unwrap();
        assert_eq!(status.code(), Some(LEASE_LOST));
        assert_eq!(look(&store, id).await.unwrap(), seen);
        running.stop(PATIENCE).await;
    }

    async fn a_process_that_stands_still_for_less_than_its_lease_keeps_its_job(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let child = Process::start(database, LONG);
        let folder = Folder::make("less", database);
        let go = folder.go();
        let wait = Wait { file: go.clone() };
        let id = jobs.enqueue(&wait, Options::new()).await.unwrap();
        until_child_runs(&go).await;
        let running = worker(&jobs, "parent", LONG).start();

        child.signal("-STOP");
        child.signal("-CONT");
        std::fs::write(&go, "").unwrap();

        let seen = until_state(&store, id, "completed").await;
        assert_eq!((seen.result.as_deref(), seen.term), (Some("\"child\""), 1));
        running.stop(PATIENCE).await;
    }
}
