//! A host whose wall clock is stepped, as processes see it that are started on it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use steadfast_core::{clock, rng};

/// Where Debian's package `faketime` has what is loaded into a process: the loader fills `$LIB` in. Its program would say
/// so, too, but fails for a process id that was that of a killed process.
pub const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

const DAY_S: i64 = 24 * 3_600;

/// A host whose wall clock is where a test puts it, for processes that are started with its
/// [environment](Self::environment); their monotonic clock is that of the machine. Debian's `faketime` makes it.
pub struct SteppedHost {
    folder: PathBuf,
    /// What shows the time.
    file: String,
}

impl SteppedHost {
    /// Makes one whose clock is that of the machine.
    ///
    /// # Panics
    /// When there is no room for its files, or its processes do not see its clock: `faketime` is not installed, of which the
    /// loader says no more than a word.
    #[allow(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        let name = format!("steadfast-stepped-{:016x}", rng::bits());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder can be made");
        // Whoever is PostgreSQL reads the clock in it.
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))
            .expect("the folder is ours");
        let file = folder.join("clock").to_string_lossy().into_owned();
        let host = Self { folder, file };
        host.put_ahead(2 * DAY_S * 1_000);
        let ahead_s = host.shown_s() - clock::timestamp().unix_millis() / 1_000;
        assert!(
            ahead_s > DAY_S,
            "the clock of a process is not stepped: is the package faketime installed ({FAKETIME})?"
        );
        host.put_ahead(0);
        host
    }

    /// Tells the time, in seconds, that a process reads which is on this host.
    fn shown_s(&self) -> i64 {
        let mut date = Command::new("date");
        let output = date.arg("+%s").envs(self.environment()).output();
        let output = output.expect("date is on every machine").stdout;
        let text = String::from_utf8_lossy(&output);
        text.trim().parse().expect("it shows seconds")
    }

    /// Gives what to put into the environment of a process, so that it is on this host.
    pub fn environment(&self) -> [(&str, &str); 5] {
        [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &self.file),
            ("FAKETIME_NO_CACHE", "1"),
            // Both names, for older and newer versions.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    /// Puts its clock ahead of that of the machine, or behind it: what its processes read next is after it.
    pub fn put_ahead(&self, ahead_ms: i64) {
        // Replaced in one step: it may be read at any time.
        let next = self.folder.join("next");
        let shown = format!("{:+.3}\n", ahead_ms as f64 / 1_000.0);
        std::fs::write(&next, shown).expect("a file can be written");
        std::fs::rename(next, &self.file).expect("a file can be renamed");
    }
}

impl Drop for SteppedHost {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
