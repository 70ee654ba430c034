//! Which generators make an id twice when the clock is stepped, by Debian's `faketime`.
//!
//! Each runs in a process of its own, whose wall clock shows one time after the other and stands still in between. Then
//! it is killed and runs again, with the clock set back to where it was at first: as after a restart during which
//! somebody corrected it.

use std::collections::HashSet;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ferroid::generator::AtomicSnowflakeGenerator;
use ferroid::id::SnowflakeTwitterId;
use ferroid::time::{MonotonicClock, TWITTER_EPOCH};
use snowflake::SnowflakeIdGenerator;
use sonyflake::Sonyflake;
use steadfast::ids::{Generator, Ids, LeaseConfig};
use steadfast::store::{Config, Store};
use uuid::Uuid;

type Failure = Box<dyn Error>;

const FILE: &str = "FAKETIME_TIMESTAMP_FILE";
const SHOWN: &str = "IDS_SHOWN";

/// Back by 5 ms, by 2 s, by an hour; an hour ahead, and back.
const STEPS: &str = "-0.005 -2 -3600 +3600 +0";

/// How many ids are made between two steps.
const BETWEEN: usize = 2_000;

/// How long a process may take: some wait for the clock to come back.
const PATIENCE: Duration = Duration::from_secs(30);

const CONTENDERS: [&str; 8] = [
    "steadfast, leased worker id",
    "steadfast, known worker id",
    "ferroid Atomic",
    "rs-snowflake real_time_generate",
    "rs-snowflake generate",
    "snowflaked sync",
    "sonyflake",
    "uuid v7",
];

/// Where Debian's package `faketime` has what is loaded into a process: the loader fills `$LIB` in. Its program would say
/// so, too, but fails for a process id that was that of a killed process.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// Prints a table; `false` if one of ours with a store made an id twice.
pub(crate) fn run() -> Result<bool, Failure> {
    let folder = std::env::temp_dir().join(format!("ids-step-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!(
        "{:<34} {:>8} {:>14} {:>16}",
        "", "ids", "steps: twice", "restart: twice"
    );
    let mut held = true;
    for contender in CONTENDERS {
        let mut lives = Vec::new();
        for life in 0..2 {
            lives.push(live(&folder, contender, life)?);
        }
        let mut seen = HashSet::new();
        let mut twice = [0, 0];
        let mut row = None;
        for (life, made) in lives.iter().enumerate() {
            match made {
                Ok(ids) => twice[life] = ids.iter().filter(|id| !seen.insert(**id)).count(),
                Err(why) => row = Some(why.clone()),
            }
        }
        match row {
            Some(why) => println!("{contender:<34} {why}"),
            None => println!(
                "{contender:<34} {:>8} {:>14} {:>16}",
                seen.len(),
                twice[0],
                twice[1]
            ),
        }
        held &= contender != CONTENDERS[0] || (seen.len() > BETWEEN && twice == [0, 0]);
    }
    std::fs::remove_dir_all(folder)?;
    Ok(held)
}

/// Runs one life of a contender, and gives its ids; what became of it, if it gave none.
fn live(folder: &Path, contender: &str, life: usize) -> Result<Result<Vec<u128>, String>, Failure> {
    let clock = folder.join("clock");
    // Each life begins at the same minute.
    std::fs::write(&clock, "@2030-01-01 12:00:00")?;
    let ids = folder.join(format!("ids-{life}"));
    let mut child = Command::new(std::env::current_exe()?)
        .args(["step", "child", contender])
        .arg(&ids)
        .env("LD_PRELOAD", FAKETIME)
        .env(FILE, &clock)
        .env(SHOWN, STEPS)
        .env("TZ", "UTC")
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .stderr(Stdio::null())
        .spawn()?;
    let (ended, waits) = mpsc::channel();
    let id = child.id();
    let watch = thread::spawn(move || {
        if waits.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill")
                .args(["-KILL", &id.to_string()])
                .status();
        }
    });
    let status = child.wait()?;
    let _ = ended.send(());
    let _ = watch.join();
    let made = std::fs::read(&ids).unwrap_or_default();
    let ids = made
        .chunks_exact(16)
        .map(|id| u128::from_be_bytes(id.try_into().expect("16 bytes")));
    Ok(match status.code() {
        Some(0) => Ok(ids.collect()),
        Some(code) => Err(format!(
            "ended with code {code} after {} ids: it panicked, or refused",
            ids.count()
        )),
        None => Err(format!("hung for {PATIENCE:?} after {} ids", ids.count())),
    })
}

/// One life.
pub(crate) fn child(contender: &str, ids: &str) -> Result<bool, Failure> {
    let clock = std::env::var(FILE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let mut next = maker(contender, Path::new(ids), &runtime)?;
    let mut file = std::fs::File::create(ids)?;
    let steps = std::env::var(SHOWN)?;
    for step in steps.split(' ') {
        let mut made = Vec::with_capacity(16 * BETWEEN);
        for _ in 0..BETWEEN {
            made.extend(next().to_be_bytes());
        }
        file.write_all(&made)?;
        // Standing still, off the time of the start by so much.
        let off: f64 = step.parse()?;
        let at = 43_200.0 + off;
        let (hour, rest) = ((at / 3_600.0).floor(), at % 3_600.0);
        let shown = format!(
            "2030-01-01 {hour:02}:{:02}:{:06.3}",
            (rest / 60.0).floor(),
            rest % 60.0
        );
        std::fs::write(&clock, shown)?;
        thread::sleep(Duration::from_millis(150));
    }
    // As when it is killed: nothing is given back.
    std::process::exit(0);
}

type Next = Box<dyn FnMut() -> u128>;

fn maker(contender: &str, ids: &Path, runtime: &tokio::runtime::Runtime) -> Result<Next, Failure> {
    let steadfast = |ids: Generator| -> Next {
        Box::new(move || {
            loop {
                if let Ok(id) = ids.try_next() {
                    return id.get().into();
                }
                thread::yield_now();
            }
        })
    };
    Ok(match contender {
        "steadfast, leased worker id" => {
            let file = ids.with_file_name("store.db");
            let held = runtime.block_on(async {
                let store = Store::open(Config::sqlite(file)).await?;
                Ok::<_, Failure>(
                    Ids::open(&store)
                        .await?
                        .lease(LeaseConfig::default())
                        .await?,
                )
            })?;
            steadfast(held)
        }
        "steadfast, known worker id" => steadfast(Generator::builder(1).build()?),
        "ferroid Atomic" => {
            let clock = MonotonicClock::<1>::with_epoch(TWITTER_EPOCH);
            let ids: AtomicSnowflakeGenerator<SnowflakeTwitterId, _> =
                AtomicSnowflakeGenerator::new(1, clock);
            Box::new(move || ids.next_id(|_| thread::yield_now()).to_raw().into())
        }
        "rs-snowflake real_time_generate" => {
            let mut ids = SnowflakeIdGenerator::new(1, 1);
            Box::new(move || ids.real_time_generate().unsigned_abs().into())
        }
        "rs-snowflake generate" => {
            let mut ids = SnowflakeIdGenerator::new(1, 1);
            Box::new(move || ids.generate().unsigned_abs().into())
        }
        "snowflaked sync" => {
            let ids = snowflaked::sync::Generator::new(1);
            Box::new(move || ids.generate::<u64>().into())
        }
        "sonyflake" => {
            let ids = Sonyflake::builder().machine_id(&|| Ok(1)).finalize()?;
            Box::new(move || ids.next_id().expect("there are years left").to_u64().into())
        }
        "uuid v7" => Box::new(|| Uuid::now_v7().as_u128()),
        other => return Err(format!("nobody is called {other:?}").into()),
    })
}
