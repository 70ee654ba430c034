//! Whether the kernel has killed for want of memory, as the control group of this process counts it.
//!
//! A signal does not say who has sent it. The kernel counts whom it kills for want of memory, in the group that the
//! process is in: what we start is in ours. Where a machine has both versions of control groups, memory is governed by
//! one of them.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::status::Ending;

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// How many the kernel had killed when a process was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before(Option<u64>);

impl Before {
    pub(crate) fn start() -> Self {
        Self(kills())
    }

    /// Says how it ended, once it has.
    pub(crate) fn ended(self, status: ExitStatus) -> Ending {
        let for_memory = match status.success() {
            true => None,
            false => self.0.zip(kills()).map(|(before, now)| now > before),
        };
        Ending { status, for_memory }
    }
}

/// How many were killed for want of memory in our group, so far; nothing where nobody counts.
fn kills() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    files(&own)
        .into_iter()
        .find_map(|file| count(&std::fs::read_to_string(Path::new(ROOT).join(file)).ok()?))
}

/// Where it may stand, by what `/proc/self/cgroup` says: in our group, or at the root of what a container sees of them.
fn files(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(group)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (below, file) = match number {
            "0" => ("", "memory.events"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("memory", "memory.oom_control")
            }
            _ => continue,
        };
        for group in [group.trim_start_matches('/'), ""] {
            files.push(Path::new(below).join(group).join(file));
        }
    }
    files
}

fn count(events: &str) -> Option<u64> {
    let line = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_stands_in_our_group_or_at_the_root_of_what_is_seen() {
        let check = |own: &str, expect: &[&str]| {
            let files = files(own);
            let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
            assert_eq!(files, expect, "{own}");
        };

        check(
            "0::/system.slice/a.service\n",
            &["system.slice/a.service/memory.events", "memory.events"],
        );
        check(
            "9:name=systemd:/\n4:cpu,memory:/jobs/1\n0::/\n",
            &[
                "memory/jobs/1/memory.oom_control",
                "memory/memory.oom_control",
                "memory.events",
                "memory.events",
            ],
        );
        check("4:memories:/x\nodd\n\n", &[]);
    }

    #[test]
    fn those_that_were_killed_are_counted_and_those_that_waited_are_not() {
        assert_eq!(
            count("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n"),
            Some(2)
        );
        assert_eq!(
            count("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
            Some(4)
        );
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(count("oom_kill many\n"), None);
    }
}
