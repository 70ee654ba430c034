//! What the rules look at: the tracked files and the packages of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// A package of the workspace, as `cargo metadata` tells it.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// Relative to the root, as all paths here.
    pub(super) manifest: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) targets: Vec<Target>,
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new(""))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// For tests, examples and benches only.
    pub(super) dev: bool,
    /// Found by path: one of ours.
    pub(super) local: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// `lib`, `bin`, `test`, `example`, `bench`, `custom-build` and so on.
    pub(super) kind: String,
    pub(super) root: PathBuf,
}

/// Gives every file that is tracked or about to be, which leaves out what git ignores.
pub(super) fn files() -> &'static [PathBuf] {
    static FILES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let listing = output(Command::new("git").args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]));
        let mut files: Vec<PathBuf> = listing
            .split('\0')
            .map(PathBuf::from)
            .filter(|file| root().join(file).is_file())
            .collect();
        files.sort();
        files.dedup();
        files
    });
    &FILES
}

/// Gives the files whose names end in `.extension`, with their text.
pub(super) fn texts(extension: &str) -> impl Iterator<Item = (&'static Path, String)> {
    files()
        .iter()
        .filter(move |file| file.extension().is_some_and(|found| found == extension))
        .filter_map(|file| Some((file.as_path(), text(file)?)))
}

/// Gives the text of a file, if it is text.
pub(super) fn text(file: &Path) -> Option<String> {
    match std::fs::read(root().join(file)) {
        Ok(bytes) => String::from_utf8(bytes).ok(),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Gives the packages of the workspace; `peers/` is a workspace of its own and not among them.
pub(super) fn packages() -> &'static [Package] {
    static PACKAGES: LazyLock<Vec<Package>> = LazyLock::new(|| {
        let metadata = output(Command::new(env!("CARGO")).args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
        ]));
        let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
        items(&metadata, "packages").map(package).collect()
    });
    &PACKAGES
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies below the root")
}

fn package(value: &Value) -> Package {
    Package {
        name: string(value, "name"),
        manifest: relative(&string(value, "manifest_path")),
        dependencies: items(value, "dependencies")
            .map(|dependency| Dependency {
                name: string(dependency, "name"),
                dev: dependency["kind"] == "dev",
                local: dependency["path"].is_string(),
            })
            .collect(),
        targets: items(value, "targets")
            .map(|target| Target {
                kind: target["kind"][0].as_str().unwrap_or_default().to_owned(),
                root: relative(&string(target, "src_path")),
            })
            .collect(),
    }
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key]
        .as_array()
        .expect("cargo metadata has this list")
        .iter()
}

fn string(value: &Value, key: &str) -> String {
    value[key]
        .as_str()
        .expect("cargo metadata has this string")
        .to_owned()
}

fn relative(path: &str) -> PathBuf {
    let path = Path::new(path);
    path.strip_prefix(root()).unwrap_or(path).to_owned()
}

fn output(command: &mut Command) -> String {
    let output = command
        .current_dir(root())
        .output()
        .expect("git and cargo are installed");
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("file names are UTF-8")
}

#[test]
fn the_repository_is_seen() {
    assert!(files().contains(&PathBuf::from("Cargo.toml")));
    assert!(
        packages()
            .iter()
            .any(|package| package.folder() == "crates/steadfast-core")
    );
    assert!(packages().iter().all(|package| !package.targets.is_empty()));
}
