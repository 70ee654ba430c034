//! The host: its clock, its name, and the files that living processes keep locked.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use steadfast_core::rng;

use crate::Dialect;

/// Gives the time since the host was started, in microseconds. Nobody can set it, it goes on while
/// the host sleeps, and all processes of the host have the same.
fn boot_us() -> i64 {
    let since = clock_gettime(ClockId::Boottime);
    since.tv_sec * 1_000_000 + since.tv_nsec / 1_000
}

/// Gives the clock that leases are judged by, where the database has none of its own.
pub(crate) fn clock_us(dialect: Dialect) -> Option<i64> {
    match dialect {
        Dialect::Sqlite => Some(boot_us()),
        Dialect::Postgres => None,
    }
}

/// Says which start of which host this is.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Gives the name of the host.
pub(super) fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A file that is locked for as long as this process lives: the system lets go of it, however the
/// process ends.
pub(super) struct LifeLock {
    path: PathBuf,
    _file: File,
}

impl LifeLock {
    /// Makes one beside `beside`, or else where this system keeps what is gone with its next start.
    pub(super) fn make(beside: Option<&Path>) -> io::Result<Self> {
        let folder = match beside.and_then(Path::parent) {
            Some(folder) if folder == Path::new("") => std::env::current_dir()?,
            Some(folder) => folder.canonicalize()?,
            None => {
                std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
            }
        };
        let name = format!(".steadfast-node-{:016x}{:016x}", rng::bits(), rng::bits());
        let path = folder.join(name);
        let file = File::create_new(&path)?;
        file.try_lock()?;
        Ok(Self { path, _file: file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LifeLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells whether the process that made this file is surely dead. A file that is not there says
/// nothing: other containers have other folders.
pub(super) fn is_dead(lock: &Path) -> bool {
    // Whoever locks it here keeps it for the blink of an eye; the process itself has it already.
    let Ok(file) = File::open(lock) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => {
            let _ = fs::remove_file(lock);
            true
        }
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_the_living_from_the_dead() {
        let alive = LifeLock::make(None).unwrap();
        let path = alive.path().to_owned();

        assert!(!is_dead(&path));

        // As when a process ends without a chance to clean up.
        let name = path.with_extension("dead");
        fs::rename(&path, &name).unwrap();
        drop(alive);
        assert!(is_dead(&name));
        assert!(!is_dead(&name), "a file that is gone says nothing");
    }

    #[test]
    fn the_clock_of_the_host_goes_on() {
        let before = boot_us();

        assert!(before > 0);
        assert!(boot_us() >= before);
    }
}
