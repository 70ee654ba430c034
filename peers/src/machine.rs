//! What the figures were measured on and with.

use std::fs;
use std::thread;

/// Versions come from the lock file that the build used.
const LOCK: &str = include_str!("../Cargo.lock");

const PEERS: [&str; 13] = [
    "scopeguard",
    "futures-util",
    "tokio",
    "tokio-util",
    "rayon",
    "threadpool",
    "task-supervisor",
    "tower",
    "tower-http",
    "tower-resilience",
    "governor",
    "recloser",
    "failsafe",
];

/// Returns the processor, as far as the system tells, and the number of usable cores.
pub fn processor() -> String {
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| model_name(&info))
        .unwrap_or_else(|| format!("unknown {} processor", std::env::consts::ARCH));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

/// Returns the compiler that built this program.
pub fn compiler() -> &'static str {
    env!("PEERS_RUSTC")
}

/// Returns the peers with their versions.
pub fn peers() -> String {
    let named: Vec<String> = PEERS
        .iter()
        .map(|name| format!("{name} {}", version(LOCK, name).unwrap_or("(not locked)")))
        .collect();
    named.join(", ")
}

fn model_name(cpuinfo: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map(|(_, model)| model.trim().to_owned())
}

fn version<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.next()?;
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_locked() {
        for peer in PEERS {
            assert!(version(LOCK, peer).is_some(), "{peer} is not in Cargo.lock");
        }
    }

    #[test]
    fn the_model_is_read_from_cpuinfo() {
        let info = "processor\t: 0\nmodel\t\t: 167\nmodel name\t: Some CPU @ 3 GHz\n";

        assert_eq!(model_name(info).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(model_name("processor : 0\n"), None);
    }
}
