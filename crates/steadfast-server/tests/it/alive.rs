//! Whether anybody is left of a process and of what it has started.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// How long it is waited for an end: long enough for a machine that does much else, and shorter than what is to end
/// would go on by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells when every process has ended that has inherited it.
pub(crate) struct Alive {
    dir: PathBuf,
    path: String,
}

impl Alive {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("steadfast-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("alive").to_str().unwrap().to_owned();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        Self { dir, path }
    }

    /// A program that holds it, does `first`, and goes on doing nothing, in a process of its own.
    pub(crate) fn held(&self, first: &str) -> String {
        format!(
            "exec 9>{}; {first}; sleep 1000 & echo up >&2; wait; wait",
            self.path
        )
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Opens it once somebody holds it.
    pub(crate) fn watch(&self) -> std::fs::File {
        std::fs::File::open(&self.path).unwrap()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Waits until then.
pub(crate) fn until_all_have_ended(mut watched: std::fs::File) {
    let (ended, all_ended) = mpsc::channel();
    std::thread::spawn(move || {
        watched.read_to_end(&mut Vec::new()).unwrap();
        let _ = ended.send(());
    });
    let seen = all_ended.recv_timeout(PATIENCE);
    seen.expect("something that was started has not ended in time");
}
