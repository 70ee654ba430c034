//! A host that sleeps, as processes see it that are started in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use steadfast_core::rng;

/// A host that sleeps when a test says so, for processes that are started with its [environment](Self::environment): their
/// clock of the time since the start jumps, and their monotonic clock does not. A C compiler makes it.
pub struct SleepyHost(PathBuf);

impl SleepyHost {
    /// Makes one that has not slept yet.
    #[allow(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        let name = format!("steadfast-sleep-{:016x}", rng::bits());
        let host = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&host.0).expect("a folder can be made");
        let source = host.0.join("sleep.c");
        std::fs::write(&source, include_str!("sleep.c")).expect("a file can be written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(host.0.join("sleep.so"))
            .arg(&source)
            .arg("-ldl")
            .status();
        assert!(
            built
                .expect("there is a C compiler: apt-get install gcc libc6-dev")
                .success()
        );
        host
    }

    /// Gives what to put into the environment of a process, so that it is on this host.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name| self.0.join(name).to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", path("sleep.so")),
            ("STEADFAST_TEST_SLEPT", path("slept")),
        ]
    }

    /// Has it sleep, in whole seconds, once: what its processes read next is after it.
    pub fn sleep(&self, duration: Duration) {
        // At once, for whoever reads it.
        let next = self.0.join("next");
        std::fs::write(&next, duration.as_secs().to_string()).expect("a file can be written");
        std::fs::rename(next, self.0.join("slept")).expect("a file can be renamed");
    }
}

impl Drop for SleepyHost {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
