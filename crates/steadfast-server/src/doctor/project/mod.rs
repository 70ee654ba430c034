//! The project of somebody: its profiles, its dependencies, and timers in its source.

mod dependencies;
mod profiles;
mod source;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use steadfast::clock;
use tokio::process::Command;

use super::{Check, Finding, check, fail, ok};

pub(super) static READ: Check = check(
    "project.read",
    "whether `cargo metadata --offline --locked` can tell what the project depends on",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[
    &READ,
    &profiles::PANIC,
    &dependencies::VERSIONS,
    &dependencies::SQLITE,
    &dependencies::TEST_UTIL,
    &dependencies::LIMITS,
    &dependencies::CATCH,
    &dependencies::IDS_IN_LINES,
    &dependencies::RETRIES,
    &dependencies::TIMERS,
    &dependencies::WORKER_IDS,
];

/// How long cargo may take: a minute, of which most is waiting for another cargo.
const CARGO_WITHIN: Duration = Duration::from_secs(60);

/// Looks at the project of a manifest.
pub(super) async fn examine(manifest: &Path) -> Vec<Finding> {
    // Cargo takes no other name, and says of each way not to be one something else.
    if !manifest.is_file() || manifest.file_name().is_none_or(|name| name != "Cargo.toml") {
        return vec![fail(
            &READ,
            format!("{} is no manifest", manifest.display()),
            "name a Cargo.toml with --manifest-path",
        )];
    }
    let own = manifest.parent().unwrap_or(Path::new("")).to_owned();
    let read = metadata(manifest).await;
    let root = read
        .as_ref()
        .map_or(own, |metadata| metadata.workspace_root.clone());
    let mut findings = Vec::new();
    match &read {
        Ok(metadata) => findings.push(ok(
            &READ,
            format!(
                "{} packages, of {}",
                metadata.packages.len(),
                root.display()
            ),
        )),
        Err(error) => findings.push(fail(
            &READ,
            format!("cargo cannot say what it depends on: {error:#}"),
            "run `cargo fetch` in the project, so that Cargo.lock is there and up to date",
        )),
    }
    findings.push(match profiles::gather(&root) {
        Ok(profiles) => profiles::judge(&profiles),
        Err(error) => fail(
            &profiles::PANIC,
            format!("the profiles cannot be read: {error:#}"),
            "put the file right, so that cargo and doctor can read it",
        ),
    });
    if let Ok(metadata) = &read {
        findings.extend(dependencies::judge(&dependencies::gather(metadata)));
    }
    findings
}

/// What cargo says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    dependencies: Vec<Declared>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

/// What is built of a package.
#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Target {
    fn is_released(&self) -> bool {
        let aside = ["bench", "custom-build", "example", "test"];
        !self.kind.iter().any(|kind| aside.contains(&kind.as_str()))
    }
}

/// A dependency, as a manifest has it.
#[derive(Deserialize)]
struct Declared {
    name: String,
    kind: Option<String>,
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Asks cargo, which neither reaches for the network nor changes anything.
async fn metadata(manifest: &Path) -> anyhow::Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .arg("--manifest-path")
        .arg(manifest);
    // What is for other systems only is in nobody's way here.
    if let Some(host) = host().await {
        command.args(["--filter-platform", &host]);
    }
    let printed = printed(command).await?;
    serde_json::from_slice(&printed).context("what it prints cannot be read")
}

async fn host() -> Option<String> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("-vV");
    let printed = printed(command).await.ok()?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
}

async fn printed(mut command: Command) -> anyhow::Result<Vec<u8>> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command.as_std().get_program().display().to_string();
    let output = clock::timeout(CARGO_WITHIN, command.output()).await;
    let output = output.map_err(|_| anyhow::anyhow!("{name} took longer than {CARGO_WITHIN:?}"))?;
    let output = output.with_context(|| format!("{name} cannot be run"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told: Vec<&str> = told.split_whitespace().collect();
    anyhow::bail!("{}", told.join(" ").trim_start_matches("error: "))
}
