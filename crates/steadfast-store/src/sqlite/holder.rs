//! Who else has the file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::error::Trouble;

/// The bytes of the `-shm` file on which the lock of writers, checkpoints and recovery lie.
const SHM_LOCKS: std::ops::RangeInclusive<u64> = 120..=122;

/// Which file it was when it was opened.
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let found = fs::metadata(path).map_err(|error| Trouble::Unreachable {
            is_file: true,
            place: path.display().to_string(),
            source: Some(error.into()),
        })?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Makes sure that the path still leads to the file that is open: SQLite itself goes on with a
    /// file that was deleted, and everything written to it is lost.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let how = match fs::metadata(path) {
            Ok(found) if found.dev() == self.device && found.ino() == self.inode => return Ok(()),
            Ok(_) => "was replaced",
            Err(_) => "was deleted or moved",
        };
        Err(Trouble::FileGone {
            path: path.display().to_string(),
            how,
        }
        .into())
    }
}

/// Says that others hold the lock of the file, and who.
pub(super) fn foreign(path: &Path, waited: Duration) -> Error {
    let holder = holders(path).unwrap_or_default();
    let holder = match &holder[..] {
        [] => "a process that could not be found".to_owned(),
        holders => holders.join(", "),
    };
    Trouble::ForeignLock { waited, holder }.into()
}

/// Tells who has the file open, by the locks that SQLite has on it.
pub(super) fn users(path: &Path) -> Vec<String> {
    let Ok(locks) = fs::read_to_string("/proc/locks") else {
        return Vec::new();
    };
    let mut shm = path.as_os_str().to_owned();
    shm.push("-shm");
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| found.ino());
    let (file, shm) = (inode(path), inode(Path::new(&shm)));
    let found = with_locks(&locks, file, shm, |_, _| true).into_iter();
    found
        .filter(|pid| *pid != std::process::id())
        .map(named)
        .collect()
}

fn holders(path: &Path) -> Option<Vec<String>> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut shm = path.as_os_str().to_owned();
    shm.push("-shm");
    let shm = fs::metadata(PathBuf::from(shm)).ok().map(|m| m.ino());
    let file = fs::metadata(path).ok().map(|m| m.ino());
    let mut found: Vec<String> = lockers(&locks, file, shm)
        .into_iter()
        .filter(|pid| *pid != std::process::id())
        .map(named)
        .collect();
    if found.is_empty() && lockers(&locks, file, shm).contains(&std::process::id()) {
        found.push("another connection of this process".to_owned());
    }
    Some(found)
}

/// Reads the processes that hold a lock for writing, from lines such as
/// `1: POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 120`.
fn lockers(locks: &str, file: Option<u64>, shm: Option<u64>) -> Vec<u32> {
    with_locks(locks, file, shm, |is_shm, lock| {
        let of_writers = lock.start <= *SHM_LOCKS.end() && *SHM_LOCKS.start() <= lock.end;
        lock.mode == "WRITE" && (!is_shm || of_writers)
    })
}

/// A lock of a process on some bytes.
struct Lock<'l> {
    mode: &'l str,
    start: u64,
    end: u64,
}

/// Reads the processes with a lock on either file that is wanted.
fn with_locks(
    locks: &str,
    file: Option<u64>,
    shm: Option<u64>,
    is_wanted: impl Fn(bool, &Lock<'_>) -> bool,
) -> Vec<u32> {
    let mut pids = Vec::new();
    for line in locks.lines() {
        let mut words = line.split_whitespace().skip(1);
        let mut next = || words.next().unwrap_or_default();
        let (kind, _, mode, pid, place) = (next(), next(), next(), next(), next());
        let (start, end) = (next(), next());
        // A line with an arrow is about somebody who waits.
        if kind != "POSIX" {
            continue;
        }
        let inode: Option<u64> = place.rsplit(':').next().and_then(|i| i.parse().ok());
        let is_shm = inode.is_some() && inode == shm;
        let lock = Lock {
            mode,
            start: start.parse().unwrap_or(0),
            end: end.parse().unwrap_or(u64::MAX),
        };
        let is_ours = is_shm || inode.is_some() && inode == file;
        if let (true, Ok(pid)) = (is_ours && is_wanted(is_shm, &lock), pid.parse())
            && !pids.contains(&pid)
        {
            pids.push(pid);
        }
    }
    pids
}

/// Gives a process its name. Not its arguments, in which there may be secrets.
fn named(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end()),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_is_read_from_the_locks_of_the_system() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:01:1234 120 120\n\
                     1: -> POSIX  ADVISORY  WRITE 12 fe:01:1234 120 120\n\
                     2: POSIX  ADVISORY  READ 13 fe:01:1234 123 127\n\
                     3: POSIX  ADVISORY  WRITE 14 fe:01:99 120 120\n\
                     4: FLOCK  ADVISORY  WRITE 15 fe:01:1234 0 EOF\n\
                     5: POSIX  ADVISORY  WRITE 16 fe:01:4321 1073741825 1073741825\n\
                     6: POSIX  ADVISORY  WRITE 17 fe:01:1234 128 128\n";

        assert_eq!(lockers(locks, Some(4321), Some(1234)), [11, 16]);
        assert_eq!(lockers(locks, None, None), [0_u32; 0]);
        let all = with_locks(locks, Some(4321), Some(1234), |_, _| true);
        assert_eq!(all, [11, 13, 16, 17], "also those that only read");
    }
}
