//! A generator in a process whose wall clock is stepped while it runs, by Debian's `faketime`.
//!
//! The test starts itself with the clock in its hands: the child writes the steps into the file that the
//! faked clock is read from, and makes ids in between.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use steadfast_core::{clock, rng};
use steadfast_ids::{Generator, Id};
use steadfast_store::testing::FAKETIME;

const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

/// What the clock shows, one after the other, each time standing still: back by 2 s and by an hour, to where it
/// was, an hour ahead, and back again.
const SHOWN: [&str; 6] = [
    "2030-01-01 12:00:00",
    "2030-01-01 11:59:58",
    "2030-01-01 11:00:00",
    "2030-01-01 12:00:00",
    "2030-01-01 13:00:00",
    "2030-01-01 12:00:00",
];

/// For how long ids are made between two steps: longer than the generator goes without a look at the wall clock.
const BETWEEN: Duration = Duration::from_millis(150);

/// How long is waited for an id that should be there within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn whatever_the_clock_of_the_process_does_ids_rise_and_none_comes_twice() {
    let folder = std::env::temp_dir().join(format!("ids_{:x}", rng::bits()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("offset");
    step(&file, SHOWN[0]);

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stepped_clock::child", "--nocapture"])
        .env("LD_PRELOAD", FAKETIME)
        .env(FILE, &file)
        .env("TZ", "UTC")
        .env("FAKETIME_NO_CACHE", "1")
        // The monotonic clock is that of the machine; both names, for older and newer versions.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(
        said.contains("all steps"),
        "the child did what it is for: {said}"
    );
}

/// What the child does: nothing, when this runs as a test of its own.
#[tokio::test]
async fn child() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let ids = Generator::builder(9).build().unwrap();
    let (mut ours, mut usual) = (Vec::new(), Vec::new());
    let mut naive = Naive::default();
    let mut shown = Vec::new();
    for time in SHOWN {
        step(Path::new(&file), time);
        shown.push(clock::timestamp().unix_millis());
        let start = clock::now();
        while clock::now() - start < BETWEEN {
            let next = clock::timeout(PATIENCE, ids.next()).await;
            ours.push(next.expect("nobody waits for the clock").unwrap());
            usual.push(naive.next());
        }
    }

    let steps: Vec<i64> = shown
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1000)
        .collect();
    assert_eq!(
        steps,
        [-2, -3598, 3600, 3600, -3600],
        "the clock was stepped"
    );
    assert!(
        ours.is_sorted_by(|one, next| one < next),
        "each id is greater than the one before"
    );
    let unique: HashSet<Id> = ours.iter().copied().collect();
    assert_eq!(unique.len(), ours.len());
    // What the usual generator does with the same clock.
    let unique: HashSet<u64> = usual.iter().copied().collect();
    assert!(
        unique.len() < usual.len(),
        "the clock that goes back shows in the usual one"
    );
    assert!(ids.ahead_of_wall_clock() >= Duration::from_secs(3_500));
    #[allow(
        clippy::print_stdout,
        reason = "the test that started it looks for this"
    )]
    {
        println!(
            "all steps: {} ids, {} of the usual ones came again",
            ours.len(),
            usual.len() - unique.len()
        );
    }
}

fn step(file: &Path, time: &str) {
    std::fs::write(file, time).unwrap();
}

/// Wall time and a sequence that starts anew with each millisecond, as many write it.
#[derive(Default)]
struct Naive {
    millis: i64,
    sequence: u64,
}

impl Naive {
    fn next(&mut self) -> u64 {
        let now = clock::timestamp().unix_millis();
        if now == self.millis {
            self.sequence += 1;
        } else {
            (self.millis, self.sequence) = (now, 0);
        }
        (now as u64) << 12 | self.sequence
    }
}
