//! The examples of jobs, run as programs: on the embedded store with nothing to install, and on PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

use steadfast::store::testing::{Database, Kind};

/// Each with what it is told beside the URL, and what it says in the end.
const PROGRAMS: [(&str, &[&str], &[&str]); 3] = [
    (
        "settlement",
        &["3"],
        &[
            "effect and end together: 300 payments, 3 kills, 300 entries, 45150 paid of 45150\n",
            "effect and end apart: 300 payments, 3 kills, ",
        ],
    ),
    (
        "survive_a_kill",
        &[],
        &[
            "killed the second process in the middle of job ",
            "first process: settles 4711, under term 3\n",
            "the ledger has 1 entry of 4711\n",
        ],
    ),
    (
        "empty_a_queue",
        &["2000"],
        &["enqueued 2000 jobs in ", "completed 2000 jobs in "],
    ),
];

/// Builds them and tells where they are.
fn build() -> Vec<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--offline", "--manifest-path", manifest])
        // As `./test` builds them, so that they are there already.
        .args(["--workspace", "--all-features", "--message-format", "json"]);
    for (name, ..) in PROGRAMS {
        cargo.args(["--example", name]);
    }
    let built = cargo.output().unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let told = String::from_utf8(built.stdout).unwrap();
    let told: Vec<serde_json::Value> = (told.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |name: &str| {
        let of = |told: &&serde_json::Value| {
            told["target"]["name"] == name && told["executable"].is_string()
        };
        let told = told.iter().find(of).unwrap_or_else(|| panic!("no {name}"));
        PathBuf::from(told["executable"].as_str().unwrap())
    };
    PROGRAMS.iter().map(|(name, ..)| find(name)).collect()
}

fn run(program: &Path, told: &[&str], says: &[&str]) {
    let ran = Command::new(program).args(told).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{told:?}: {out}{err}");
    for part in says {
        assert!(out.contains(part), "{told:?}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_jobs_run_on_both_stores() {
    let programs = tokio::task::block_in_place(build);
    for (program, (_, told, says)) in programs.iter().zip(PROGRAMS) {
        run(program, told, says);
        let database = Database::make(Kind::Postgres).await;
        let url = database.direct_url();
        run(program, &[told, &[&url]].concat(), says);
    }
}
