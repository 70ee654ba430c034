//! A snowflake that is made of the wall clock and a configured worker id comes again.
//!
//! The clock is one that the test sets, by `faketime`: each life of a process is this test binary, started anew.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use snowflake::SnowflakeIdGenerator;
use steadfast::ids::{Generator, Ids, LeaseConfig};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Config, Place, Store};

use crate::support::{Side, seen};

/// What a life is told: where to write its ids, and what its store is.
const IDS: &str = "T21_IDS";
const STORE: &str = "T21_STORE";

const COUNT: usize = 1_000;

/// Where Debian's package `faketime` has what is loaded into a process: the loader fills `$LIB` in. Its program would say
/// so, too, but fails for a process id that was that of a killed process.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// One life of a process: makes ids, writes them down, and ends without a word, as when it is killed.
fn live(name: &str, ids: &Path, store: Option<&Path>) -> Vec<i64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name])
        .env("LD_PRELOAD", FAKETIME)
        // The clock that was set back: every life begins at the same moment.
        .env("FAKETIME", "@2030-01-01 12:00:00")
        .env(IDS, ids)
        .env("TZ", "UTC")
        // Wall time alone; both names, for older and newer versions.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    if let Some(store) = store {
        command.env(STORE, store);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let made = std::fs::read_to_string(ids).unwrap();
    made.lines().map(|id| id.parse().unwrap()).collect()
}

fn write(ids: impl Iterator<Item = i64>) {
    let lines: String = ids.take(COUNT).map(|id| format!("{id}\n")).collect();
    std::fs::write(std::env::var(IDS).unwrap(), lines).unwrap();
    // Nothing is given back.
    std::process::exit(0);
}

/// What the usual process does; nothing, when this runs as a test of its own.
#[test]
fn usual_life() {
    if std::env::var_os(IDS).is_some() {
        let mut ids = SnowflakeIdGenerator::new(1, 1);
        write(std::iter::repeat_with(|| ids.real_time_generate()));
    }
}

/// What ours does; nothing, when this runs as a test of its own.
#[test]
fn our_life() {
    let Some(store) = std::env::var_os(STORE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids = runtime.block_on(async {
        let store = Store::open(Config::sqlite(store)).await.unwrap();
        let ids = Ids::open(&store).await.unwrap();
        ids.lease(LeaseConfig::default()).await.unwrap()
    });
    let next = || runtime.block_on(ids.next()).unwrap().to_i64().unwrap();
    write(std::iter::repeat_with(next));
}

/// How many of the second come in the first.
fn again(first: &[i64], second: &[i64]) -> usize {
    let first: HashSet<_> = first.iter().collect();
    second.iter().filter(|id| first.contains(id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_assembly_fails() {
    let database = Database::make(Kind::Sqlite).await;
    let file = file_beside(&database, "usual");
    let name = "t21_ids_that_come_again::usual_life";
    let [first, second] = [(); 2].map(|()| live(name, &file, None));
    let back = again(&first, &second);

    // Two replicas of one deployment, with the worker id of its configuration.
    let mut replicas = [(); 2].map(|()| SnowflakeIdGenerator::new(1, 1));
    let mut union = HashSet::new();
    let mut twice = 0;
    while twice == 0 {
        for ids in &mut replicas {
            twice += usize::from(!union.insert(ids.real_time_generate()));
        }
    }

    assert_eq!(back, COUNT);
    seen(
        "t21",
        Side::Usual,
        "started again with the clock set back, the generator made all 1,000 ids of its first life again; two replicas with one worker id made the same ids at once",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_holds() {
    let database = Database::make(Kind::Sqlite).await;
    let (file, store) = (
        file_beside(&database, "ours"),
        file_beside(&database, "ids.db"),
    );
    let name = "t21_ids_that_come_again::our_life";
    let [first, second] = [(); 2].map(|()| live(name, &file, Some(&store)));

    let ids = Ids::open(&database.open().await).await.unwrap();
    let mut replicas: Vec<Generator> = Vec::new();
    for _ in 0..2 {
        replicas.push(ids.lease(LeaseConfig::default()).await.unwrap());
    }
    let mut union = HashSet::new();
    for _ in 0..COUNT {
        for ids in &replicas {
            assert!(union.insert(ids.next().await.unwrap()));
        }
    }

    assert_eq!((first.len(), again(&first, &second)), (COUNT, 0));
    assert_ne!(replicas[0].worker(), replicas[1].worker());
    seen(
        "t21",
        Side::Ours,
        "started again with the clock set back, none of 1,000 ids came again; two replicas got a worker id each",
    );
}

/// A path in the folder of a database that is removed with it.
fn file_beside(database: &Database, name: &str) -> std::path::PathBuf {
    let Place::Sqlite(file) = database.config().place else {
        unreachable!("it was made as one")
    };
    file.with_file_name(name)
}
