//! The machine: its clock, its limit of open files, its ports.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use steadfast::clock;
use tokio::process::Command;

use super::service::{self, Answer};
use super::{Check, Finding, check, fail, ok, skip, warn};
use crate::config::{Config, Work};

static CLOCK: Check = check(
    "machine.clock",
    "whether the clock of this host is kept by NTP, where `timedatectl` tells",
);
static FILES: Check = check(
    "machine.files",
    "whether this user may have as many open files as the configuration needs",
);
static PORTS: Check = check(
    "machine.ports",
    "whether the addresses to listen on are free, or taken by the server itself",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[&CLOCK, &FILES, &PORTS];

/// How long `timedatectl` may take: 5 s.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn clock() -> Vec<Finding> {
    let mut command = Command::new("timedatectl");
    command
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let told = clock::timeout(TOLD_WITHIN, command.output()).await;
    let told = told.ok().and_then(Result::ok);
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    vec![kept(told.as_deref())]
}

fn kept(told: Option<&str>) -> Finding {
    match told {
        Some("yes") => ok(&CLOCK, "kept by NTP"),
        Some("no") => warn(
            &CLOCK,
            "nothing keeps the clock of this host: schedules on SQLite, ids and lines of the log follow it",
            "timedatectl set-ntp true, or start chrony",
        ),
        // In a container it is that of its host.
        _ => skip(&CLOCK, "nobody here tells whether NTP keeps it"),
    }
}

/// What a server has open beside connections and jobs: 64 files, some of them for a moment.
const FILES_BESIDE: u64 = 64;

/// How many connections its listeners take at most: 500 for the API and 100 for health; 1,000 for words
/// about long work, where those are taken.
const CONNECTIONS: u64 = 600;
const CONNECTIONS_OF_CALLS: u64 = 1_000;

/// How many files a run has: the pipes and the handle of a program, or the socket of a call.
const FILES_OF_PROGRAM: u64 = 5;
const FILES_OF_CALL: u64 = 2;

pub(super) fn files(config: Option<&Config>) -> Vec<Finding> {
    let limit = getrlimit(Resource::Nofile).current;
    vec![enough(limit, config.map(needed))]
}

fn needed(config: &Config) -> u64 {
    let runs = config.queues.iter().map(|(queue, permits)| {
        let mut handlers = config
            .handlers
            .values()
            .filter(|handler| handler.queue == *queue);
        let files = match handlers.any(|handler| matches!(handler.work, Work::Exec(_))) {
            true => FILES_OF_PROGRAM,
            false => FILES_OF_CALL,
        };
        *permits as u64 * files
    });
    let calls = config.calls.as_ref().map_or(0, |_| CONNECTIONS_OF_CALLS);
    FILES_BESIDE + CONNECTIONS + calls + runs.sum::<u64>()
}

/// Judges a limit, of which nothing means none.
fn enough(limit: Option<u64>, needed: Option<u64>) -> Finding {
    let needed = needed.unwrap_or(FILES_BESIDE + CONNECTIONS);
    match limit {
        None => ok(&FILES, "as many open files as are wanted"),
        Some(limit) if limit >= needed => ok(
            &FILES,
            format!("{limit} open files for this user, and at most {needed} are needed"),
        ),
        Some(limit) => warn(
            &FILES,
            format!(
                "{limit} open files for this user, and up to {needed} are needed: then connections and programs are refused"
            ),
            format!(
                "LimitNOFILE={} in the unit, or `ulimit -n {needed}` before it starts",
                needed.next_power_of_two()
            ),
        ),
    }
}

/// What was found at the addresses.
pub(super) struct Ports {
    pub(super) findings: Vec<Finding>,
    /// Where the server of this configuration tells how it is, if it runs.
    pub(super) service: Option<String>,
}

/// One address to listen on.
struct Port {
    key: &'static str,
    address: SocketAddr,
    /// Why it cannot be had.
    taken: Option<String>,
}

pub(super) async fn ports(config: &Config) -> Ports {
    let mut ports = vec![port("health.listen", config.health)];
    if config.api.enabled {
        ports.push(port("api.listen", config.api.listen));
    }
    if let Some(calls) = &config.calls {
        ports.push(port("calls.listen", calls.listen));
    }
    if let Some(ids) = &config.ids {
        ports.push(port("ids.listen", ids.listen));
    }
    let url = format!("http://{}", config.health);
    // Somebody else may have it: only our own answer counts.
    let is_ours = match config.health.port() {
        0 => false,
        _ => {
            matches!(service::get(&url, "/livez", None).await, Ok(Answer { status: 200, text }) if text == "alive\n")
        }
    };
    Ports {
        findings: judge(&ports, is_ours),
        service: is_ours.then_some(url),
    }
}

fn port(key: &'static str, address: SocketAddr) -> Port {
    let taken = TcpListener::bind(address).err();
    let taken = taken.map(|error| error.to_string());
    Port {
        key,
        address,
        taken,
    }
}

fn judge(ports: &[Port], is_ours: bool) -> Vec<Finding> {
    if is_ours {
        let all: Vec<_> = ports.iter().map(|port| port.address.to_string()).collect();
        return vec![ok(&PORTS, format!("the server runs: {}", all.join(", ")))];
    }
    let mut taken = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let Port { key, address, .. } = port;
        if let Some(why) = &port.taken {
            taken.push(fail(
                &PORTS,
                format!("{key} = \"{address}\" cannot be had: {why}"),
                format!(
                    "find who has it with `ss -ltnp 'sport = :{}'`, or choose another address",
                    address.port()
                ),
            ));
        }
        let twice = ports[..number]
            .iter()
            .any(|other| other.address == *address);
        if twice && address.port() != 0 {
            taken.push(fail(
                &PORTS,
                format!("{key} = \"{address}\" is the address of another listener, too"),
                "give each an address of its own",
            ));
        }
    }
    if taken.is_empty() {
        taken.push(ok(&PORTS, "all addresses are free"));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_told() {
        assert_eq!(kept(Some("yes")).verdict, Verdict::Ok);
        assert_eq!(kept(Some("no")).verdict, Verdict::Warn);
        assert_eq!(kept(Some("")).verdict, Verdict::Skip);
        assert_eq!(kept(None).verdict, Verdict::Skip);
    }

    #[test]
    fn a_limit_below_what_is_needed_is_told_with_one_that_is_enough() {
        assert_eq!(enough(None, Some(5_000)).verdict, Verdict::Ok);
        assert_eq!(enough(Some(5_000), Some(5_000)).verdict, Verdict::Ok);
        let low = enough(Some(4_999), Some(5_000));
        assert_eq!(low.verdict, Verdict::Warn);
        assert!(low.fix.unwrap().starts_with("LimitNOFILE=8192"));
    }

    #[test]
    fn addresses_of_others_and_one_address_for_two_are_told() {
        let port = |address: &str, taken: Option<&str>| Port {
            key: "api.listen",
            address: address.parse().unwrap(),
            taken: taken.map(str::to_owned),
        };
        let check = |ports: &[Port], is_ours, expect: &[Verdict]| {
            let found: Vec<_> = judge(ports, is_ours)
                .iter()
                .map(|finding| finding.verdict)
                .collect();
            assert_eq!(found, expect);
        };
        let free = || port("127.0.0.1:1", None);
        let taken = || port("127.0.0.1:2", Some("in use"));

        check(&[free()], false, &[Verdict::Ok]);
        check(&[free(), taken()], false, &[Verdict::Fail]);
        check(&[free(), taken()], true, &[Verdict::Ok]);
        check(&[free(), free()], false, &[Verdict::Fail]);
        let any = || port("127.0.0.1:0", None);
        check(&[any(), any()], false, &[Verdict::Ok]);
    }
}
