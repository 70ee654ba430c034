//! Processes whose clock is stepped, that are killed, and that stand still: this test binary starts itself as a node,
//! with a clock that is in the test's hands (Debian's `faketime`), and sends it real signals.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use steadfast_core::{clock, rng};
use steadfast_ids::{Generator, Id, Ids, Layout, LeaseConfig};
use steadfast_store::testing::{Database, FAKETIME, Kind, SleepyHost};
use steadfast_store::{Config, Place, Pooler, Store};

use super::support::{PATIENCE, Union, lasting, long, make, restless, until};

const URL: &str = "STEADFAST_TEST_IDS_URL";
const POOLED: &str = "STEADFAST_TEST_IDS_POOLED";
const WORKER: &str = "STEADFAST_TEST_IDS_WORKER";
const LEASE_MS: &str = "STEADFAST_TEST_IDS_LEASE_MS";
const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

/// How long a node rests between two ids.
const PAUSE: Duration = Duration::from_millis(1);

/// How many ids a node makes without letting anything else run, and how long all else has then: nearly always it is
/// stopped where nobody but the fence can keep it from making the next id.
const BUSY: u32 = 90;
const IDLE: Duration = Duration::from_millis(10);

/// What a node does until it is killed: makes ids, and writes each with the term of its lease and when it was asked
/// for, or that it is fenced.
///
/// Nothing, when this runs as a test of its own.
#[tokio::test]
async fn node() {
    let Ok(place) = std::env::var(URL) else {
        return;
    };
    let mut config = match place.strip_prefix("file:") {
        Some(path) => Config::sqlite(path),
        None => Config::postgres(place),
    };
    if std::env::var(POOLED).is_ok() {
        config.pooler = Pooler::Transaction;
    }
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse::<u64>().unwrap())
    };
    let lease = LeaseConfig {
        worker: number(WORKER),
        lease: Duration::from_millis(number(LEASE_MS).unwrap()),
        ..restless()
    };
    let ids = Ids::open(&Store::open(config).await.unwrap())
        .await
        .unwrap();
    // What the usual generator makes, with the worker id that it was told or none: from the start on, by the clock alone.
    let usual = Generator::builder(lease.worker.unwrap_or(0))
        .build()
        .unwrap();
    let mut early = Vec::new();
    for _ in 0..100 {
        early.push(at_last(usual.next()).await.unwrap());
        clock::sleep(PAUSE).await;
    }
    let held = until(async || ids.lease(lease.clone()).await.ok()).await;
    let mut out = std::io::stdout().lock();
    for id in early {
        writeln!(out, "usual {id}").unwrap();
    }
    for made in 1_u32.. {
        let term = held.term().unwrap();
        let asked_ms = clock::timestamp().unix_millis();
        let line = match at_last(held.next()).await {
            Ok(id) if held.term() == Some(term) => format!("id {id} {term} {asked_ms}\n"),
            // In between it got another lease.
            Ok(id) => format!("id {id} 0 {asked_ms}\n"),
            Err(error) => {
                assert!(error.is_fenced(), "{error}");
                format!("fenced {}\n", clock::timestamp().unix_millis())
            }
        };
        let line = line + &format!("usual {}\n", at_last(usual.next()).await.unwrap());
        // The parent is gone when nobody reads.
        if out
            .write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
        match made % BUSY {
            0 => clock::sleep(IDLE).await,
            _ => clock::block(PAUSE),
        }
    }
}

/// What a clock that was set back must not keep anybody waiting for.
async fn at_last<T>(next: impl Future<Output = T>) -> T {
    let made = clock::timeout(PATIENCE, next).await;
    made.expect("nobody waits for the clock")
}

/// What a node has written.
#[derive(Debug, PartialEq)]
enum Line {
    Id,
    /// At this time.
    Fenced(i64),
}

/// A node, and all that it has written.
struct Node {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    made: Vec<(Id, i64)>,
    /// When it was last asked for an id that it made.
    asked_ms: i64,
    usual: Vec<Id>,
}

impl Node {
    fn start(
        database: &Database,
        worker: Option<u64>,
        lease: Duration,
        host: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let place = match database.config().place {
            Place::Sqlite(path) => format!("file:{}", path.display()),
            Place::Postgres(url) => url,
            _ => unreachable!("there are two"),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "processes::node", "--nocapture"])
            .env(URL, place)
            .env(LEASE_MS, lease.as_millis().to_string())
            .envs(host)
            .stdout(Stdio::piped());
        if database.config().pooler == Pooler::Transaction {
            command.env(POOLED, "1");
        }
        if let Some(worker) = worker {
            command.env(WORKER, worker.to_string());
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            made: Vec::new(),
            asked_ms: 0,
            usual: Vec::new(),
        }
    }

    /// Reads a line; `None` at the end.
    fn read(&mut self) -> Option<Line> {
        loop {
            let line = self.lines.next()?.ok()?;
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                // A line that was cut off when the node was killed has fewer words.
                (Some("id"), Some(id)) => {
                    let (term, asked_ms) = (words.next()?, words.next()?);
                    self.made.push((id.parse().unwrap(), term.parse().unwrap()));
                    self.asked_ms = asked_ms.parse().ok()?;
                    return Some(Line::Id);
                }
                (Some("usual"), Some(id)) => self.usual.push(id.parse().unwrap()),
                (Some("fenced"), Some(at)) => return Some(Line::Fenced(at.parse().ok()?)),
                _ => {}
            }
        }
    }

    /// Reads until it has made so many more ids.
    fn until_made(&mut self, count: usize) {
        let wanted = self.made.len() + count;
        while self.made.len() < wanted {
            self.read().expect("the node lives");
        }
    }

    /// Reads while it makes ids for so long.
    fn until_later(&mut self, by: Duration) {
        let until = clock::now() + by;
        while clock::now() < until {
            self.until_made(1);
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Kills it, and takes what it has written until then.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Whole lines only: what is behind the last one is no id.
        while self.read().is_some() {}
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The clock of one node: a file that the faked clock is read from.
struct FakedClock {
    folder: PathBuf,
}

impl FakedClock {
    fn new(offset: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ids_{:x}", rng::bits()));
        std::fs::create_dir(&folder).unwrap();
        let clock = Self { folder };
        clock.set(offset);
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.join("offset")
    }

    /// What a process has in its environment whose clock it is.
    fn environment(&self) -> [(&'static str, String); 6] {
        let text = |text: &str| text.to_owned();
        [
            ("LD_PRELOAD", text(FAKETIME)),
            (FILE, self.file().to_string_lossy().into_owned()),
            ("TZ", text("UTC")),
            ("FAKETIME_NO_CACHE", text("1")),
            // The monotonic clock is that of the machine; both names, for older and newer versions.
            ("FAKETIME_DONT_FAKE_MONOTONIC", text("1")),
            ("DONT_FAKE_MONOTONIC", text("1")),
        ]
    }

    /// Sets it by so much off the clock of the machine.
    fn set(&self, offset: &str) {
        // In one step: half a file is another time.
        let next = self.folder.join("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }
}

impl Drop for FakedClock {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Back by 5 ms, by 2 s, by an hour; an hour ahead, and back.
const STEPS: [&str; 5] = ["-0.005", "-2", "-3600", "+3600", "+0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_are_stepped_and_that_are_killed_make_no_id_twice() {
    let database = Database::make(Kind::Sqlite).await;
    // Tables first, so that nodes do not wait for each other there.
    Ids::open(&database.open().await).await.unwrap();
    let lease = Duration::from_secs(2);
    let lives = if long() { 40 } else { 6 };
    let (mut union, mut usual) = (Union::default(), Vec::new());

    // Two nodes at a time, each with a clock of its own, that is stepped while it runs and from one life to the next;
    // both are killed, and begin anew with other steps.
    for life in 0..lives {
        let mut nodes: Vec<(FakedClock, Node)> = (0..2)
            .map(|number| {
                let clock = FakedClock::new(STEPS[(life + number) % STEPS.len()]);
                let node = Node::start(&database, None, lease, clock.environment());
                (clock, node)
            })
            .collect();
        for step in 0..STEPS.len() {
            for (number, (clock, node)) in nodes.iter_mut().enumerate() {
                node.until_made(20);
                // A leased generator looks at the clock when it renews.
                if life == 0 {
                    node.until_later(lease / 2);
                }
                clock.set(STEPS[(life + step + 3 * number) % STEPS.len()]);
            }
        }
        for (_, mut node) in nodes {
            node.until_made(20);
            node.kill();
            let made: Vec<Id> = node.made.iter().map(|(id, _)| *id).collect();
            assert!(
                made.is_sorted_by(|one, next| one < next),
                "ids of one node rise"
            );
            union.add(made);
            usual.append(&mut node.usual);
        }
    }

    assert!(union.len() >= lives * 2 * 20 * 6);
    assert!(!usual.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_the_clock_back_repeats_nothing_where_the_usual_one_does() {
    let database = Database::make(Kind::Sqlite).await;
    let ids = Ids::open(&database.open().await).await.unwrap();
    let (mut union, mut usual, mut made_usual) = (Union::default(), HashSet::new(), 0);
    let known = LeaseConfig {
        worker: Some(3),
        ..restless()
    };

    // Each life has the same worker id and begins at the same minute of the day: the clock is set back by what the one
    // before has lived.
    for _ in 0..3 {
        let clock = FakedClock::new("@2030-01-01 12:00:00");
        let lease = Duration::from_secs(1);
        let mut node = Node::start(&database, known.worker, lease, clock.environment());
        node.until_made(200);
        node.kill();
        union.add(node.made.iter().map(|(id, _)| *id));
        made_usual += node.usual.len();
        usual.extend(node.usual.iter().copied());
        // So that the next one does not begin later because of a lease that lasts: nothing but the mark of the one
        // before, years ahead of our clock, is in the way any more.
        until(async || match ids.lease(known.clone()).await {
            Ok(held) => {
                held.release().await;
                Some(())
            }
            Err(error) => (!error.is_taken()).then_some(()),
        })
        .await;
    }
    assert!(usual.len() < made_usual, "the usual generator repeats");
}

steadfast_store::on_every_store! {
    async fn a_holder_that_stands_still_past_its_lease_makes_nothing_of_its_successor(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let lease = Duration::from_secs(2);
        let mut node = Node::start(database, Some(3), lease, []);
        node.until_made(50);

        node.signal("-STOP");
        // One that does not wait for the mark either, so that the holder goes on before it: all it lacks is the lease.
        let known = LeaseConfig { worker: Some(3), skew: Duration::from_secs(60), ..lasting() };
        let successor = until(async || ids.lease(known.clone()).await.ok()).await;
        let taken_ms = clock::timestamp().unix_millis();
        node.signal("-CONT");
        let theirs = make(&successor, 1_000).await;
        // What was on its way when it was stopped, and then nothing: another one has its worker id.
        loop {
            let line = node.read().expect("the node lives");
            if matches!(line, Line::Fenced(at_ms) if at_ms >= taken_ms) {
                break;
            }
            assert!(node.asked_ms < taken_ms, "it was asked for when another had the lease");
        }
        let old = node.made.len();
        for _ in 0..100 {
            let line = node.read().expect("the node lives");
            assert!(matches!(line, Line::Fenced(_)), "the successor has it");
        }

        // Until that one goes.
        let term = successor.term().unwrap();
        successor.release().await;
        node.until_made(50);
        node.kill();
        let (before, again) = node.made.split_at(old);
        assert!(before.iter().all(|(_, of)| *of < term));
        assert!(again.iter().all(|(_, of)| *of > term || *of == 0));
        let since = |id: &Id| Layout::DEFAULT.decode(*id).unwrap().time;
        assert!(
            before.iter().all(|(id, _)| since(id) < since(&theirs[0])),
            "the successor begins behind what was reserved"
        );
        let mut union = Union::default();
        union.add(theirs);
        union.add(node.made.iter().map(|(id, _)| *id));
    }

    async fn a_host_that_has_slept_past_the_lease_makes_ids_with_another_one(database) {
        let ids = Ids::open(&database.open().await).await.unwrap();
        let (host, lease) = (SleepyHost::new(), Duration::from_secs(3_600));
        let mut node = Node::start(database, None, lease, host.environment());
        node.until_made(50);
        let tenure = |node: &Node| {
            let (id, term) = node.made[node.made.len() - 1];
            (Layout::DEFAULT.decode(id).unwrap().worker, term)
        };
        let before = tenure(&node);

        // Its monotonic clock knows nothing of that.
        host.sleep(lease * 2);

        let until = clock::now() + PATIENCE;
        while tenure(&node) == before {
            assert!(clock::now() < until, "it relies on a lease that is over");
            node.read().expect("the node lives");
        }
        node.until_made(50);
        node.kill();
        let other = ids.lease(lasting()).await.unwrap();
        let mut union = Union::default();
        union.add(make(&other, 1_000).await);
        union.add(node.made.iter().map(|(id, _)| *id));
    }
}
