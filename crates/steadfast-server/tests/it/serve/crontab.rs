//! A crontab that was taken over, under a server, programs and a database that are killed again and again: of each due
//! time there is one job, and it has come to its end.
//!
//! The minutes do not have to be waited for. SQLite has the clock of its process and PostgreSQL that of its server, and
//! here the test sets both.
//!
//! `STEADFAST_TEST_LONG=1` plays the long form, of a night with two midnights and a change of the clocks.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use steadfast::jobs::Filter;
use steadfast::jobs::schedule::{Outcome, Schedules};
use steadfast::store::binds;
use steadfast::store::testing::{Cluster, Database, Kind, SteppedHost, Stop};

use super::*;

/// As a user has it.
const OF_A_USER: &str = r#"# Edit this file to introduce tasks to be run by cron.
# m h  dom mon dow   command
MAILTO=ada@example.org
BIN=FOLDER/bin
RUNS = "FOLDER/runs"
CRON_TZ=Europe/Berlin
* * * * *   $BIN/each-minute
*/2 * * * * "$BIN/even" read \%s%Dear Ada,%it is late.
@hourly	$BIN/hourly
@daily $BIN/of-berlin
30 2 * mar-apr * $BIN/half-past-two
CRON_TZ=America/New_York
@midnight $BIN/of-new-york
@reboot $BIN/never
"#;

/// As /etc/crontab.
const OF_THE_SYSTEM: &str = r#"SHELL=/bin/sh
PATH=FOLDER/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUNS=FOLDER/runs
# m h dom mon dow user	command
*/5 *	* * *	USER    cd / && each-fifth
@daily USER backup
"#;

/// What each line does: tells of its start, and of its end.
const PROGRAM: &str = r#"#!/bin/sh
me="$STEADFAST_SCHEDULE $STEADFAST_OCCURRENCE $STEADFAST_TERM $$"
echo "begun $me" >> "$RUNS"
[ "$1" != read ] || cat
if [ $(($$ % 4)) = 0 ]; then sleep 2; else sleep 0.$(($$ % 4)); fi
echo "done $me" >> "$RUNS"
"#;

/// Minutes are counted from here: shortly before midnight in Berlin, in a night in which clocks are put forward.
const BEGIN: &str = "2026-03-28T22:57:02Z";

/// When the lines are due, said once more and by hand.
fn is_due(schedule: &str, at: Timestamp) -> bool {
    let of = |hours_ahead: i64| {
        let minutes = minute_of(at) + hours_ahead * 60;
        (minutes.div_euclid(60) % 24, minutes % 60)
    };
    let put_forward: Timestamp = "2026-03-29T01:00:00Z".parse().unwrap();
    let berlin = of(if at < put_forward { 1 } else { 2 });
    match schedule {
        "cron-each-minute" => true,
        "cron-even" => berlin.1 % 2 == 0,
        "cron-hourly" => berlin.1 == 0,
        "cron-of-berlin" => berlin == (0, 0),
        // The hour is not there in that night: when it is over.
        "cron-half-past-two" => at == put_forward,
        "cron-of-new-york" => of(-4) == (0, 0),
        "cron-cd" => of(0).1 % 5 == 0,
        "cron-backup" => of(0) == (0, 0),
        other => panic!("no line is {other}"),
    }
}

const SCHEDULES: [&str; 8] = [
    "cron-each-minute",
    "cron-even",
    "cron-hourly",
    "cron-of-berlin",
    "cron-half-past-two",
    "cron-of-new-york",
    "cron-cd",
    "cron-backup",
];

/// A clock that is set by the test.
struct Clock {
    host: SteppedHost,
    /// How far it is ahead of that of the machine.
    ahead: Cell<SignedDuration>,
}

impl Clock {
    fn new() -> Self {
        let clock = Self {
            host: SteppedHost::new(),
            ahead: Cell::default(),
        };
        clock.set(BEGIN.parse().unwrap());
        clock
    }

    fn real() -> Timestamp {
        Timestamp::from_millisecond(clock::timestamp().unix_millis()).unwrap()
    }

    fn now(&self) -> Timestamp {
        Self::real() + self.ahead.get()
    }

    fn set(&self, to: Timestamp) {
        self.ahead.set(to.duration_since(Self::real()));
        let ahead_ms = i64::try_from(self.ahead.get().as_millis()).unwrap();
        self.host.put_ahead(ahead_ms);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn minute(number: i64) -> Timestamp {
    Timestamp::from_second(number * 60).unwrap()
}

fn plain(at: steadfast::Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.unix_millis()).unwrap()
}

/// A line that a program has written.
struct Said {
    is_done: bool,
    schedule: String,
    nominal: Timestamp,
    term: u64,
    pid: String,
}

struct Night {
    folder: Folder,
    clock: Clock,
    /// `None` on SQLite.
    cluster: Option<Cluster>,
    configs: Vec<PathBuf>,
    random: Cell<u64>,
}

impl Night {
    fn begin(name: &str, on_postgres: bool, seed: u64) -> Self {
        let folder = Folder::new(name);
        let clock = Clock::new();
        let cluster = on_postgres.then(|| {
            // What is acknowledged is in its log.
            let cluster =
                Cluster::start_with(&["synchronous_commit = on", "full_page_writes = on"]);
            cluster.stop(Stop::Fast);
            cluster.start_again_with(&clock.host.environment());
            cluster
        });
        let store = match &cluster {
            Some(cluster) => cluster.url("postgres"),
            None => format!("sqlite:{}", folder.store().display()),
        };
        let own = folder.path().join("steadfast.toml");
        let rest = "[health]\nlisten = \"127.0.0.1:0\"\n[api]\nenabled = false\n[log]\nlevel = \"warn,steadfast::serve=info\"\n";
        std::fs::write(&own, format!("[store]\nurl = \"{store}\"\n{rest}")).unwrap();
        let mut night = Self {
            folder,
            clock,
            cluster,
            configs: vec![own],
            random: Cell::new(seed | 1),
        };
        night.take_over();
        night
    }

    /// Imports both crontabs.
    fn take_over(&mut self) {
        let folder = self.folder.path();
        std::fs::create_dir(folder.join("bin")).unwrap();
        let programs = [
            "each-minute",
            "even",
            "hourly",
            "of-berlin",
            "half-past-two",
            "of-new-york",
            "each-fifth",
            "backup",
        ];
        for program in programs {
            use std::os::unix::fs::OpenOptionsExt;
            let mut open = std::fs::OpenOptions::new();
            let file = open.write(true).create_new(true).mode(0o755);
            let mut file = file.open(folder.join("bin").join(program)).unwrap();
            file.write_all(PROGRAM.as_bytes()).unwrap();
        }
        let user = text(&Command::new("id").arg("-un").output().unwrap().stdout);
        let place = folder.to_str().unwrap();
        let lines = |crontab: &str| {
            crontab
                .replace("FOLDER", place)
                .replace("USER", user.trim())
        };
        for (name, crontab, option, lost) in [
            ("user", OF_A_USER, None, 1),
            ("system", OF_THE_SYSTEM, Some("--system"), 0),
        ] {
            let (from, to) = (folder.join(name), folder.join(format!("{name}.toml")));
            std::fs::write(&from, lines(crontab)).unwrap();
            let mut import = Command::new(env!("CARGO_BIN_EXE_steadfast"));
            import.args(["schedules", "import"]).arg(&from);
            import
                .args(option)
                .args(["--zone", "UTC", "--output"])
                .arg(&to);
            let told = import.output().unwrap();
            let expected = if lost == 0 { 0 } else { 8 };
            assert_eq!(told.status.code(), Some(expected), "{}", text(&told.stderr));
            self.configs.push(to);
        }
    }

    fn start(&self) -> Server {
        let configs: Vec<&Path> = self.configs.iter().map(PathBuf::as_path).collect();
        Server::start_all(&configs, &self.clock.host.environment())
    }

    /// What is in the store, as somebody sees it whose clock is another.
    async fn look(&self) -> Jobs {
        let config = match &self.cluster {
            Some(cluster) => Config::postgres(cluster.url("postgres")),
            None => Config::sqlite(self.folder.store()),
        };
        let config = Config {
            connections_max: 2,
            acquire_timeout: PATIENCE,
            statement_timeout: PATIENCE,
            ..config
        };
        Jobs::open(&Store::open(config).await.unwrap())
            .await
            .unwrap()
    }

    fn random(&self, end: u64) -> u64 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state % end
    }

    async fn sleep(&self, most_ms: u64) {
        clock::sleep(Duration::from_millis(self.random(most_ms))).await;
    }

    /// Has PostgreSQL end as by a crash, under a server that runs; gives whether there is one.
    async fn crash_database(&self, jobs: &Jobs) -> bool {
        let Some(cluster) = &self.cluster else {
            return false;
        };
        cluster.stop(Stop::Immediate);
        self.sleep(800).await;
        cluster.start_again_with(&self.clock.host.environment());
        // Each of our connections was lost.
        wait_until("the database is back", async || {
            let looked = [
                jobs.list(&Filter::live(), 1).await,
                jobs.list(&Filter::live(), 1).await,
            ];
            looked.iter().all(Result::is_ok)
        })
        .await;
        self.sleep(2_000).await;
        true
    }

    /// What the programs have said.
    fn said(&self) -> Vec<Said> {
        let written = std::fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default();
        let lines = written.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, schedule, nominal, term, pid] = words[..] else {
                panic!("no program says {line:?}");
            };
            Said {
                is_done: what == "done",
                schedule: schedule.to_owned(),
                nominal: nominal.parse().unwrap(),
                term: term.parse().unwrap(),
                pid: pid.to_owned(),
            }
        });
        lines.collect()
    }

    /// Waits until the program of a line has begun to work for a time; gives its process.
    async fn begun(&self, schedule: &str, nominal: Timestamp) -> (u64, String) {
        let mut found = None;
        wait_until("its run has begun", async || {
            let said = self.said();
            let run = said
                .into_iter()
                .rfind(|said| said.schedule == schedule && said.nominal == nominal);
            found = run.map(|run| (run.term, run.pid));
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

async fn live(jobs: &Jobs) -> Vec<steadfast::jobs::JobInfo> {
    jobs.list(&Filter::live(), 500).await.unwrap().jobs
}

/// Kills a server again and again; tells what was seen.
async fn no_due_run_is_lost(name: &str, on_postgres: bool) {
    let kills = if is_long() { 500 } else { 12 };
    let seed = std::env::var("STEADFAST_TEST_SEED").ok();
    let seed = seed.map_or_else(steadfast::rng::bits, |seed| seed.parse().unwrap());
    tell(&format!("STEADFAST_TEST_SEED={seed}"));
    let night = Night::begin(name, on_postgres, seed);
    let began = night.clock.now();

    let mut server = night.start();
    server.line_with("ready");
    let first = minute_of(night.clock.now()) + 1;
    assert_eq!(
        first,
        minute_of(began) + 1,
        "this machine is too slow for the test"
    );
    let jobs = night.look().await;
    let schedules = Schedules::new(&jobs);
    let mut last = first - 1;
    let mut programs_killed = BTreeSet::new();
    // Midnight in Berlin is among the minutes, however few the kills.
    let (mut killed, mut life, mut databases) = (0, 0, 0);
    while killed < kills || last < first + 4 {
        let decided = schedules.find("cron-each-minute").await.unwrap().unwrap();
        let is_decided = decided
            .next
            .is_some_and(|next| plain(next) > night.clock.now());
        // Nobody is killed so often that the job has to be taken for the culprit.
        wait_until("jobs of many crashes have ended", async || {
            live(&jobs).await.iter().all(|job| job.crashes < 2)
        })
        .await;
        // So that one due time at most of a line is missed at a time, and `run_once` catches up all of them.
        if is_decided {
            last = minute_of(night.clock.now()) + 1;
            let before = SignedDuration::from_millis(night.random(800) as i64);
            night.clock.set(minute(last) - before);
        }
        match life % 4 {
            0 => night.sleep(2_500).await,
            1 => {
                night.begun("cron-each-minute", minute(last)).await;
                night.sleep(150).await;
            }
            2 => {
                let (term, pid) = night.begun("cron-each-minute", minute(last)).await;
                // It may be over by now.
                let hit = Command::new("kill").args(["-9", &pid]).output().unwrap();
                if hit.status.success() {
                    programs_killed.insert((minute(last), term));
                }
                night.sleep(400).await;
            }
            _ => {
                night.sleep(1_200).await;
                databases += u32::from(night.crash_database(&jobs).await);
            }
        }
        server.signal("KILL");
        server.ended();
        (killed, life) = (killed + 1, life + 1);
        server = night.start();
        while life % 4 == 3 && killed < kills && night.random(2) == 0 {
            // In its start.
            night.sleep(400).await;
            server.signal("KILL");
            server.ended();
            killed += 1;
            server = night.start();
        }
        server.line_with("ready");
    }

    // The last one is left to finish.
    last = minute_of(night.clock.now());
    wait_until("all is done", async || {
        let mut decided = true;
        for name in SCHEDULES {
            let view = schedules.find(name).await.unwrap().unwrap();
            decided &= view.next.is_some_and(|next| plain(next) > minute(last));
        }
        decided && live(&jobs).await.is_empty()
    })
    .await;
    server.stop();
    let end = minute_of(night.clock.now());

    let seen = judge(&night, &jobs, (first, last, end), &programs_killed).await;
    tell(&format!(
        "{killed} kills of servers, {databases} of the database, {seen}"
    ));
}

/// Compares what is due with what is in the store and with what the programs have said.
async fn judge(
    night: &Night,
    jobs: &Jobs,
    (first, last, end): (i64, i64, i64),
    programs_killed: &BTreeSet<(Timestamp, u64)>,
) -> String {
    let schedules = Schedules::new(jobs);
    let far = steadfast::Timestamp::from_unix_millis(minute(end + 1).as_millisecond());
    let mut made: BTreeMap<(String, Timestamp), JobId> = BTreeMap::new();
    for name in SCHEDULES {
        let mut before = far;
        loop {
            let page = schedules.history(name, before, 500).await.unwrap();
            for past in &page {
                let Outcome::Made { job, .. } = past.outcome else {
                    panic!("{name} has left out {past:?}");
                };
                let twice = made.insert((name.to_owned(), plain(past.nominal)), job);
                assert_eq!(twice, None, "{name}: {past:?}");
            }
            match page.last() {
                Some(earliest) => before = earliest.nominal,
                None => break,
            }
        }
        let due = |minutes: std::ops::RangeInclusive<i64>| {
            let times = minutes.map(minute).filter(|at| is_due(name, *at));
            times.collect::<BTreeSet<_>>()
        };
        let have: BTreeSet<_> = made
            .keys()
            .filter(|(schedule, _)| schedule == name)
            .map(|(_, at)| *at)
            .collect();
        let lost: Vec<_> = due(first..=last).difference(&have).copied().collect();
        assert!(lost.is_empty(), "{name} has lost {lost:?}");
        // The clock has gone on until the server had ended.
        let too_many: Vec<_> = have.difference(&due(first..=end)).copied().collect();
        assert!(too_many.is_empty(), "{name} was not due at {too_many:?}");
    }
    // No job but theirs, and none twice.
    let mut all = BTreeSet::new();
    for state in State::ALL {
        let mut filter = Filter::state(state);
        loop {
            let page = jobs.list(&filter, 500).await.unwrap();
            all.extend(page.jobs.iter().map(|job| job.id));
            match page.next {
                Some(next) => filter = Filter::state(state).after(next),
                None => break,
            }
        }
    }
    assert_eq!(all, made.values().copied().collect::<BTreeSet<_>>());

    let mut said: BTreeMap<(String, Timestamp), Vec<Said>> = BTreeMap::new();
    for line in night.said() {
        let of = (line.schedule.clone(), line.nominal);
        said.entry(of).or_default().push(line);
    }
    let (mut again, mut cut_off) = (0, 0);
    for ((schedule, nominal), id) in &made {
        if *nominal > minute(last) {
            continue;
        }
        let job = jobs.find(*id).await.unwrap().unwrap();
        let said = said.remove(&(schedule.clone(), *nominal));
        let said = said.unwrap_or_else(|| panic!("{schedule} of {nominal} was never run: {job:?}"));
        match job.info.state {
            State::Completed => {
                assert!(
                    said.iter()
                        .any(|line| line.is_done && line.term == job.info.term),
                    "completed, and nothing was done: {job:?}"
                );
                if schedule == "cron-even" {
                    let result: serde_json::Value = job.result().unwrap().unwrap();
                    assert_eq!(result["output"], "Dear Ada,\nit is late.\n");
                }
            }
            // One attempt, as with cron: a program that was killed has failed.
            State::Discarded => {
                cut_off += 1;
                assert!(
                    schedule == "cron-each-minute"
                        && programs_killed.contains(&(*nominal, job.info.term)),
                    "nobody has killed its program: {job:?}"
                );
            }
            _ => panic!("it has not ended, or not by its run: {job:?}"),
        }
        let begun: Vec<u64> = said
            .iter()
            .filter(|line| !line.is_done)
            .map(|line| line.term)
            .collect();
        assert!(
            begun.is_sorted_by(|one, next| one < next),
            "two runs of one term, or not in their order: {begun:?} of {job:?}"
        );
        let terms: Vec<u64> = said.iter().map(|line| line.term).collect();
        assert!(
            terms.is_sorted(),
            "a run has worked on while the next did: {terms:?} of {job:?}"
        );
        again += usize::from(begun.len() > 1);
    }
    assert!(again > 0, "no kill has hit a run");
    format!(
        "{} of programs: {} due times, one job each; {again} run again, {cut_off} ended with their program",
        programs_killed.len(),
        made.len(),
    )
}

#[tokio::test]
async fn of_a_crontab_no_due_run_is_lost_on_sqlite_whoever_is_killed() {
    no_due_run_is_lost("crontab-sqlite", false).await;
}

#[tokio::test]
async fn of_a_crontab_no_due_run_is_lost_on_postgres_whoever_is_killed() {
    no_due_run_is_lost("crontab-postgres", true).await;
}

#[tokio::test]
async fn a_run_that_cannot_ask_what_it_is_for_spends_no_attempt() {
    const ASKS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
                        datname = current_database() AND query LIKE '%schedule_occurrence AS o WHERE o.job_id%'";
    let (folder, database) = (Folder::new("asks"), Database::make(Kind::Postgres).await);
    let config = folder.configure_at(&database.direct_url(), &shell("noop", "true", ""));
    let server = Server::start(&config);
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    let mut held = store.begin().await.unwrap();
    let lock = "LOCK TABLE steadfast.schedule_occurrence IN ACCESS EXCLUSIVE MODE";
    held.sql(lock, binds![]).await.unwrap();

    let id = enqueue(&jobs, "noop", "null", 1).await;
    wait_until(
        "its run has asked, and the database has ended that",
        async || {
            let ended = store.read(async |mut tx| tx.sql(ASKS, binds![]).await);
            !ended.await.unwrap().is_empty()
        },
    )
    .await;
    held.roll_back().await.unwrap();

    let job = until_state(&jobs, id, State::Completed).await;
    assert_eq!(job.info.attempt, 1);
    server.stop();
}
