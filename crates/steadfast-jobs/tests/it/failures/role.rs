//! What a process of a scenario does: the same code as every worker has, with handlers that are told by
//! their payload how to fare.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::shutdown::Limits;
use steadfast_core::{BoxError, Program, Shutdown, clock};
use steadfast_jobs::schedule::Schedules;
use steadfast_jobs::{Job, JobEvent, Jobs, Kind, Options, Run, What, Worker, WorkerBuilder, end};
use steadfast_store::{Config, Dialect, Fault, Faults, NodeConfig, Store, binds};
use tokio::sync::broadcast::error::RecvError;

/// Where a process finds what it is to do.
pub(crate) const ROLE: &str = "STEADFAST_FAILURES_ROLE";

/// What such a process calls itself at PostgreSQL.
pub(crate) const APPLICATION: &str = "failures";

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) part: Part,
    pub(crate) place: String,
    pub(crate) lease: Duration,
    pub(crate) rescue: Duration,
    pub(crate) permits: usize,
    /// How long work may go on when the process is told to end.
    pub(crate) drain: Duration,
    /// How long a run may take.
    pub(crate) timeout: Duration,
    /// What of the store is put off for ever, by name.
    pub(crate) never: Vec<String>,
    /// What of the store is done without an answer, by name.
    pub(crate) unanswered: Vec<String>,
    /// Whether each event is told.
    pub(crate) tells: bool,
}

/// Which part it plays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    /// A worker that knows the kinds of all scenarios.
    Work,
    /// A worker that knows none of them: it rescues, and claims nothing.
    Rescue,
    /// Enqueues a job, tells its id, and waits.
    Enqueue,
    /// Enqueues a job and writes into the ledger in one transaction, and waits before its end.
    Open,
    /// Makes the jobs of occurrences, as fast as it can.
    Occur,
    /// Brings the tables to where a newer program wants them, and works.
    Upgrade,
}

/// How a handler fares. In the process that runs the scenario itself, [`Deed::Wait`] and those that look
/// for a cut do not: whoever takes a job over brings it to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Deed {
    Quick,
    /// Waits until the file is there.
    Wait(PathBuf),
    /// As `Wait`, and then snoozes.
    WaitThenSnooze(PathBuf),
    /// As `Wait`, and then fails.
    WaitThenFail(PathBuf),
    Sleep(Duration),
    /// Blocks its thread until the file is there, in its first attempt.
    Block(PathBuf),
    /// Cannot be read where processes play a role: what runs is the time between claim and handler.
    Unread(#[serde(deserialize_with = "stand_still")] u32),
    /// Succeeds, and has the store take no ends from then on.
    Unflushed,
    /// As `Unflushed` once so many have.
    Buffered(usize),
    /// Writes into the ledger and completes, in one transaction.
    Book,
    /// Writes into the ledger in a transaction of its own, and leaves the end to the worker, as `Unflushed` does.
    BookApart,
    /// Kills its process.
    Die(Death),
    Fail,
    Panic,
    PanicInResult,
    PanicInPayload(#[serde(deserialize_with = "panic_at_it")] u32),
}

/// How a process is killed from inside.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Death {
    Abort,
    Overflow,
    /// As by the kernel when memory has run out.
    Kill,
}

impl Job for Deed {
    const KIND: &'static str = "deed";
    const MAX_ATTEMPTS: u32 = 5;
}

/// A kind that nothing is enqueued of.
#[derive(Serialize, Deserialize)]
struct Other;

impl Job for Other {
    const KIND: &'static str = "other";
}

/// Who did it: the invariants compare it with what the row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Did {
    pub(crate) process: u32,
    pub(crate) term: u64,
    #[serde(serialize_with = "perhaps_panic")]
    pub(crate) panics: bool,
}

/// Whether this process plays a role, and is there to be hurt.
static IN_ROLE: AtomicBool = AtomicBool::new(false);

/// Whether its commits have no answer, and it stays after one until it is killed.
static STAYS: AtomicBool = AtomicBool::new(false);

/// The faults of the store of this process, if it plays a role.
static FAULTS: OnceLock<Faults> = OnceLock::new();

/// Longer than any scenario.
const NEVER: Duration = Duration::from_secs(3_600 * 24);

fn in_role() -> bool {
    IN_ROLE.load(Ordering::Relaxed)
}

fn stand_still<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(from)?;
    if in_role() {
        tell("claimed", "");
        clock::block(NEVER);
    }
    Ok(number)
}

fn panic_at_it<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    u32::deserialize(from)?;
    panic!("no payload was ever like that")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn perhaps_panic<S: serde::Serializer>(panics: &bool, to: S) -> Result<S::Ok, S::Error> {
    assert!(!panics, "nobody can write that down");
    to.serialize_bool(*panics)
}

/// Tells the scenario something.
#[allow(clippy::print_stdout, reason = "this is how it answers")]
pub(crate) fn tell(word: &str, what: &str) {
    if !in_role() {
        return;
    }
    println!("@{word} {what}");
}

/// Plays the role that this process was started for; `None` if it was started for something else.
pub(crate) fn play() -> Option<ExitCode> {
    let role: Role = serde_json::from_str(&std::env::var(ROLE).ok()?).expect("a role is JSON");
    IN_ROLE.store(true, Ordering::Relaxed);
    STAYS.store(!role.unanswered.is_empty(), Ordering::Relaxed);
    // As many threads as blocking handlers are made for, whatever the machine has.
    let limits = Limits {
        drain_lower: role.drain,
        hard: role.drain + Duration::from_secs(20),
        ..Limits::default()
    };
    let program = Program::new().worker_threads(2).limits(limits);
    Some(program.run(async |shutdown| act(role, shutdown).await))
}

async fn act(role: Role, shutdown: Shutdown) -> Result<(), BoxError> {
    let faults = FAULTS.get_or_init(Faults::new).clone();
    let mut config = Config::parse(&role.place)?;
    config.faults = faults.clone();
    config.application_name = APPLICATION.into();
    let store = Store::open(config).await?;
    let jobs = Jobs::open(&store).await?;
    for name in &role.never {
        faults.on_name(name.as_str(), Fault::Delay(NEVER));
    }
    for name in &role.unanswered {
        faults.on_name(name.as_str(), Fault::After);
    }
    match role.part {
        Part::Work | Part::Rescue => work(&jobs, &role, &shutdown).await,
        Part::Upgrade => {
            tell("migrating", "");
            store.migrate(&super::upgrade::NEWER).await?;
            tell("migrated", "");
            work(&jobs, &role, &shutdown).await
        }
        Part::Enqueue => {
            let id = jobs.enqueue(&Deed::Quick, Options::new()).await?;
            tell("enqueued", &id.to_string());
            std::future::pending().await
        }
        Part::Open => {
            let mut tx = store.begin().await?;
            tx.sql(ledger(&store), binds![0_i64, 0_i64, 0_i64]).await?;
            let wake = jobs
                .enqueue_in(&mut tx, &Deed::Quick, Options::new())
                .await?;
            tell("open", &wake.id().to_string());
            std::future::pending().await
        }
        Part::Occur => {
            tell("looking", "");
            let schedules = Schedules::new(&jobs);
            loop {
                // One that fails is told by the count of jobs.
                let _ = schedules.occur().await;
            }
        }
    }
}

async fn work(jobs: &Jobs, role: &Role, shutdown: &Shutdown) -> Result<(), BoxError> {
    let worker = builder(jobs, role).build()?;
    let mut events = worker.events();
    let tells = role.tells;
    steadfast_core::spawn("tell", async move {
        loop {
            match events.recv().await {
                Ok(event) if tells => tell_event(&event),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    tell("working", &std::process::id().to_string());
    worker.run(shutdown).await;
    Ok(())
}

fn tell_event(event: &JobEvent) {
    let about = format!("{} {}", event.id, event.term);
    tell(event.what.as_str(), &about);
    if let What::Rescued { crashes } = event.what {
        tell("crashes", &crashes.to_string());
    }
}

/// Describes the worker of a role; scenarios use it for one of their own, too.
pub(crate) fn builder(jobs: &Jobs, role: &Role) -> WorkerBuilder {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    let builder = Worker::builder(jobs)
        .queue("default", role.permits)
        .rescue_every(role.rescue)
        .join(NodeConfig::new("failures", "0").with_lease(role.lease));
    let store = jobs.store().clone();
    match role.part {
        Part::Rescue => builder.kind(Kind::new(async |_: Run, _: Other| Ok(()))),
        _ => {
            let kind = Kind::new(move |run: Run, deed: Deed| done(store.clone(), run, deed))
                .timeout(role.timeout)
                .backoff(backoff.expect("the shorter comes first"));
            builder.kind(kind).kind(super::dependency::kind())
        }
    }
}

impl Did {
    pub(crate) fn in_run(run: &Run) -> Self {
        Self {
            process: std::process::id(),
            term: run.term(),
            panics: false,
        }
    }
}

async fn done(store: Store, run: Run, deed: Deed) -> Result<Did, BoxError> {
    let did = Did {
        panics: matches!(deed, Deed::PanicInResult),
        ..Did::in_run(&run)
    };
    match deed {
        Deed::Quick | Deed::Unread(_) | Deed::PanicInResult | Deed::PanicInPayload(_) => {}
        Deed::Wait(file) => wait(&file).await,
        Deed::WaitThenSnooze(file) => {
            wait(&file).await;
            if in_role() {
                return Err(end::snooze(Duration::from_millis(1)));
            }
        }
        Deed::WaitThenFail(file) => {
            wait(&file).await;
            if in_role() {
                return Err("it did not work out".into());
            }
        }
        Deed::Sleep(time) => clock::sleep(time).await,
        Deed::Block(file) => {
            if in_role() && run.attempt() == 1 {
                tell("blocking", &run.id().to_string());
                while !file.exists() {
                    clock::block(Duration::from_millis(20));
                }
            }
        }
        Deed::Unflushed => cut_ends(&run, 1),
        Deed::Buffered(count) => cut_ends(&run, count),
        Deed::Book => return book(store, run, did).await,
        Deed::BookApart => {
            let mut tx = store.begin().await?;
            tx.sql(ledger(&store), entry(&run, did)).await?;
            tx.commit().await?;
            cut_ends(&run, 1);
        }
        Deed::Die(death) if in_role() => die(death),
        Deed::Die(_) => {}
        Deed::Fail => return Err("no luck".into()),
        Deed::Panic => panic!("no luck at all"),
    }
    Ok(did)
}

async fn wait(file: &Path) {
    while in_role() && !file.exists() {
        clock::sleep(Duration::from_millis(10)).await;
    }
}

/// From the `count`th on, what ends is told to nobody.
fn cut_ends(run: &Run, count: usize) {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    if !in_role() || ENDED.fetch_add(1, Ordering::Relaxed) + 1 != count {
        return;
    }
    if let Some(faults) = FAULTS.get() {
        faults.on_name("exchange", Fault::Delay(NEVER));
    }
    tell("done", &run.id().to_string());
}

pub(crate) fn ledger(store: &Store) -> &'static str {
    match store.dialect() {
        Dialect::Sqlite => "INSERT INTO ledger (job, term, process) VALUES (?1, ?2, ?3)",
        Dialect::Postgres => "INSERT INTO ledger (job, term, process) VALUES ($1, $2, $3)",
    }
}

fn entry(run: &Run, did: Did) -> steadfast_store::Binds {
    binds![
        run.id().get() as i64,
        run.term() as i64,
        i64::from(did.process)
    ]
}

async fn book(store: Store, run: Run, did: Did) -> Result<Did, BoxError> {
    let mut tx = store.begin().await?;
    tx.sql(ledger(&store), entry(&run, did)).await?;
    tell("booking", &run.id().to_string());
    match run.complete_in(tx, &did).await {
        Err(error) if STAYS.load(Ordering::Relaxed) && error.is_outcome_unknown() => {
            tell("booked", &run.id().to_string());
            std::future::pending().await
        }
        ended => ended?,
    }
    Ok(did)
}

fn die(death: Death) -> ! {
    match death {
        Death::Abort => std::process::abort(),
        Death::Kill => {
            let own = std::process::id().to_string();
            let _ = std::process::Command::new("kill")
                .args(["-KILL", &own])
                .status();
            std::process::abort()
        }
        Death::Overflow => {
            std::hint::black_box(deeper(1));
            std::process::abort()
        }
    }
}

#[allow(unconditional_recursion, reason = "it is to have no end")]
fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    deeper(depth + 1) + room[511]
}

/// What a line of a process says: its word, and the rest.
pub(crate) fn said(line: &str) -> Option<(&str, &str)> {
    // The harness of the tests may have begun the line.
    let (_, line) = line.split_once('@')?;
    Some(
        line.trim_end()
            .split_once(' ')
            .unwrap_or((line.trim_end(), "")),
    )
}

/// Counts lines by their word.
pub(crate) type Heard = HashMap<String, Vec<String>>;
