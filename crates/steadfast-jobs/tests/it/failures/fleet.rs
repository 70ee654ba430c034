//! Many processes of one server that goes away and comes back: each comes back by itself, and not all at once.

use std::time::Duration;

use steadfast_core::clock::{self, Instant};
use steadfast_jobs::decide::poll::CEILING;
use steadfast_jobs::{JobId, Options, State};
use steadfast_store::binds;
use steadfast_store::testing::Stop;

use super::arena::touch;
use super::crowd::{dies, hold};
use super::process::Process;
use super::role::{APPLICATION, Deed, Role};
use super::way::{Passes, Way};
use super::{Arena, PATIENCE, POSTGRES, scenarios};

scenarios! {
    is_in_no_step_when_its_server_is_away_and_back on POSTGRES;
    goes_on_with_its_handlers_over_a_restart on POSTGRES;
    has_each_of_its_connections_back_alone on POSTGRES;
}

// === all of them ===

/// How close together is at once.
const AT_ONCE: Duration = Duration::from_millis(20);

/// How long the way stands still: longer than the longest wait between two polls, so that all are surprised in one
/// moment.
const STANDSTILL: Duration = Duration::from_millis(2_500);

/// How long it may take until those that were surprised together have parted: by errors that have them wait, and
/// by answers.
const PARTED_BY_ERRORS: Duration = Duration::from_millis(300);
const PARTED_BY_ANSWERS: Duration = Duration::from_secs(3);

/// Tells how many times most of a fleet have asked at once.
fn steps(asked: &[Vec<Instant>], from: Instant, until: Instant) -> usize {
    let mut all: Vec<(Instant, usize)> = Vec::new();
    for (process, asked) in asked.iter().enumerate() {
        let asked = asked.iter().filter(|at| (from..until).contains(at));
        all.extend(asked.map(|at| (*at, process)));
    }
    all.sort_unstable();
    let (mut steps, mut next) = (0, from);
    for (place, (at, _)) in all.iter().enumerate() {
        if *at < next {
            continue;
        }
        let together = all[place..]
            .iter()
            .take_while(|(other, _)| *other < *at + AT_ONCE);
        let mut there: Vec<usize> = together.map(|(_, process)| *process).collect();
        there.sort_unstable();
        there.dedup();
        if there.len() * 3 >= asked.len() * 2 {
            steps += 1;
            next = *at + AT_ONCE;
        }
    }
    steps
}

struct Fleet {
    processes: Vec<Process>,
    ways: Vec<Way>,
}

impl Fleet {
    async fn start(arena: &Arena, role: &Role, count: usize) -> Self {
        let (mut processes, mut ways) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let way = Way::to(arena).await;
            let role = Role {
                place: way.url(),
                ..role.clone()
            };
            processes.push(arena.start(&role));
            ways.push(way);
        }
        for process in &mut processes {
            process.says("working", 1).await;
        }
        Self { processes, ways }
    }

    fn lets(&self, passes: Passes) {
        for way in &self.ways {
            way.lets(passes);
        }
    }

    /// Tells how many times most of it have asked at once, and how often one has asked, from then on for so long.
    ///
    /// In step they would each second. Where this machine stands still, those that come apart are seen together: then it
    /// is watched once more.
    async fn seen(&self, mut from: Instant, watched: Duration) -> (usize, usize) {
        let given_up = from + PATIENCE;
        loop {
            let until = from + watched;
            let stood_still = stands_still(until).await;
            let asked: Vec<_> = self.ways.iter().map(Way::asked).collect();
            let steps = steps(&asked, from, until);
            if (steps as f64) < watched.as_secs_f64() / 2.0 {
                let all = asked.iter().flatten();
                let count = all.filter(|at| (from..until).contains(at)).count();
                return (steps, count / asked.len());
            }
            from = clock::now();
            assert!(
                stood_still && from < given_up,
                "most of them have asked at once {steps} times in {watched:?}"
            );
        }
    }
}

/// Waits, and tells whether this machine has kept the process from going on for longer than what counts as at once.
async fn stands_still(until: Instant) -> bool {
    let mut stood_still = false;
    while clock::now() < until {
        let before = clock::now();
        clock::sleep(AT_ONCE / 4).await;
        stood_still |= clock::now() - before > AT_ONCE;
    }
    stood_still
}

async fn is_in_no_step_when_its_server_is_away_and_back(arena: Arena) -> String {
    let arena = arena.on_own_server().await;
    let role = Role {
        // In the short form nobody loses one, so that runs go on over it.
        lease: Duration::from_secs(30),
        rescue: Duration::from_secs(5),
        permits: 4,
        ..arena.role()
    };
    // Some may not have joined yet when it begins; these come back as well.
    let mut fleet = Fleet::start(&arena, &role, arena.form.of(8, 16)).await;
    let watched = Duration::from_secs(arena.form.of(6, 20) as u64);
    let without_it = Duration::from_secs(arena.form.of(6, 120) as u64);
    let mut seen = Vec::new();

    // Whatever each of them asks fails in the same moment.
    fleet.lets(Passes::Later);
    clock::sleep(STANDSTILL).await;
    tokio::task::block_in_place(|| arena.server().stop(Stop::Immediate));
    let away = clock::now();
    fleet.lets(Passes::All);
    let parted = fleet.seen(away + PARTED_BY_ERRORS, without_it).await;
    seen.push(("away", parted));

    tokio::task::block_in_place(|| arena.server().start_again());
    let back = clock::now();
    seen.push(("back", fleet.seen(back, watched).await));

    // Whatever each of them asks is answered in the same moment.
    fleet.lets(Passes::Later);
    clock::sleep(STANDSTILL).await;
    fleet.lets(Passes::All);
    let healed = clock::now();
    let parted = fleet.seen(healed + PARTED_BY_ANSWERS, watched).await;
    seen.push(("after a standstill", parted));

    let told: Vec<String> = seen
        .iter()
        .map(|(when, (steps, asked))| format!("{when}: {asked} asked, {steps} times most at once"))
        .collect();
    // All of them are at work: nobody is idle while there is more than the others can take.
    let file = arena.file();
    let count = fleet.processes.len() * role.permits;
    let ids = arena
        .enqueue_many(&Deed::Wait(file.clone()), Options::new(), count)
        .await;
    for process in &mut fleet.processes {
        process.says("started", 1).await;
    }
    touch(&file);
    arena.until_all(&ids, State::Completed).await;
    arena.ends().await;
    format!(
        "{} processes, each {}",
        fleet.processes.len(),
        told.join("; ")
    )
}

// === one of them ===

async fn goes_on_with_its_handlers_over_a_restart(arena: Arena) -> String {
    let arena = arena.on_own_server().await;
    let role = Role {
        lease: Duration::from_secs(30),
        ..arena.role()
    };
    let mut process = arena.start(&role);
    let file = arena.file();
    let held = arena
        .enqueue_many(&Deed::Wait(file.clone()), Options::new(), 5)
        .await;
    process.says("started", 5).await;

    let restarts = arena.form.of(2, 6);
    for restart in 0..restarts {
        let how = [Stop::Fast, Stop::Immediate][restart % 2];
        tokio::task::block_in_place(|| arena.server().stop(how));
        clock::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| arena.server().start_again());
        let new = arena.enqueue(&Deed::Quick).await;
        arena.until(new, State::Completed).await;
    }
    touch(&file);
    arena.until_all(&held, State::Completed).await;

    for id in held {
        let info = arena.find(id).await.info;
        assert_eq!(
            (info.term, info.attempt, info.crashes),
            (1, 1, 0),
            "job {id}"
        );
    }
    assert!(process.said("lease_lost").is_empty());
    arena.ends().await;
    format!("{restarts} restarts: 5 handlers went on and ended under their first term")
}

/// What a connection of a worker is for, which statement it was the last to carry out, and how often it does with
/// a lease of 30 s.
const CONNECTIONS: [(&str, &str, Duration); 5] = [
    (
        "rescuer",
        "query ~ '^/[*] steadfast-(jobs[.]rescue|store[.]node_end_expired) '",
        Duration::from_secs(6),
    ),
    (
        "upkeep",
        "query ~ '^/[*] steadfast-jobs[.](due|cancels|limited) '",
        Duration::from_secs(1),
    ),
    ("listener", "query ~ '^LISTEN'", CEILING),
    (
        "claimer",
        "query ~ '^/[*] steadfast-jobs[.](exchange|held|claim_suspect) '",
        CEILING,
    ),
    // The last: a rescuer whose own beat has failed waits before it takes others for dead.
    (
        "beat",
        "query ~ '^/[*] steadfast-store[.]node_(join|beat|peers) '",
        Duration::from_secs(10),
    ),
];

/// How often a connection is ended until no other one goes at the same time: 5. One may go by itself, where this
/// machine stands still for so long that an idle connection seems not to answer.
const ROUNDS: usize = 5;

/// Gives the connections of the processes of this scenario for which this holds.
async fn connections(arena: &Arena, which: &str) -> Vec<i64> {
    let ask = format!(
        "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{APPLICATION}' AND {which} ORDER BY pid"
    );
    let rows = arena.sql("SELECT 0", ask.leak(), binds![]).await;
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Ends what is for this, and waits until it is back, which its work shows; gives how long that took, and which of
/// the others went with it. Those of the shared pool are not looked at: the pool lets go of all that are idle when
/// it finds one of them broken.
async fn is_back_alone(
    arena: &Arena,
    (name, which): (&str, &str),
    held: &mut Vec<(Vec<JobId>, i64)>,
) -> (Duration, Vec<i64>) {
    let given_up = clock::now() + PATIENCE;
    let ended = loop {
        let found = connections(arena, which).await;
        if !found.is_empty() {
            break found;
        }
        assert!(clock::now() < given_up, "there is no {name}");
        clock::sleep(Duration::from_millis(20)).await;
    };
    let each = CONNECTIONS.map(|(_, which, _)| which);
    let mut others = connections(arena, &format!("({})", each.join(" OR "))).await;
    others.retain(|pid| !ended.contains(pid));
    let ends =
        "SELECT count(pg_terminate_backend(pid::integer)) FROM unnest($1::bigint[]) AS e (pid)";
    let before = arena.number("SELECT 0", "SELECT steadfast.now_us()").await;
    arena.sql("SELECT 0", ends, binds![ended.clone()]).await;
    let since = clock::now();
    while connections(arena, "true")
        .await
        .iter()
        .any(|pid| ended.contains(pid))
    {
        assert!(clock::now() < given_up, "the {name} does not end");
        clock::sleep(Duration::from_millis(5)).await;
    }

    match name {
        "rescuer" => {
            let (ids, node) = held.pop().expect("there is one for each round");
            dies(arena, node).await;
            arena.until_all(&ids, State::Completed).await;
        }
        "upkeep" => {
            let soon = Options::new().delay(Duration::from_millis(1));
            let id = arena.enqueue_with(&Deed::Quick, soon).await;
            arena.until(id, State::Completed).await;
        }
        "listener" => {
            while connections(arena, which).await.is_empty() {
                assert!(clock::now() < given_up, "nobody listens");
                clock::sleep(Duration::from_millis(20)).await;
            }
        }
        "claimer" => {
            let id = arena.enqueue(&Deed::Quick).await;
            arena.until(id, State::Completed).await;
        }
        _ => {
            let last = "SELECT max(beat_us) FROM steadfast.node WHERE ended_us IS NULL";
            while arena.number("SELECT 0", last).await <= before {
                assert!(clock::now() < given_up, "it does not beat");
                clock::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    let took = clock::now() - since;
    let there = connections(arena, "true").await;
    others.retain(|pid| !there.contains(pid));
    (took, others)
}

async fn has_each_of_its_connections_back_alone(arena: Arena) -> String {
    // Beats every few seconds, and nobody loses a lease by the load of this machine.
    let lease = arena.form.lease.max(Duration::from_secs(12));
    let role = Role {
        lease,
        ..arena.role()
    };
    // What nodes hold that die later, and those that need not.
    let mut held = Vec::new();
    for _ in 0..ROUNDS {
        let ids = arena.enqueue_many(&Deed::Quick, Options::new(), 3).await;
        let node = hold(&arena, &ids).await;
        held.push((ids, node));
    }
    let mut process = arena.start(&role);
    let file = arena.file();
    let waits = arena.enqueue(&Deed::Wait(file.clone())).await;
    process.says("started", 1).await;

    let mut told = Vec::new();
    for (name, which, every) in CONNECTIONS {
        let mut gone = Vec::new();
        for _ in 0..ROUNDS {
            let (took, others) = is_back_alone(&arena, (name, which), &mut held).await;
            gone = others;
            if gone.is_empty() {
                if arena.form.is_long {
                    assert!(took <= every * 2, "the {name} is back after {took:?}");
                }
                told.push(format!("{name} {:.1} s", took.as_secs_f64()));
                break;
            }
        }
        assert!(gone.is_empty(), "with the {name} go others: {gone:?}");
    }
    for (_, node) in held {
        dies(&arena, node).await;
    }
    touch(&file);
    let found = arena.until(waits, State::Completed).await;
    assert_eq!((found.info.term, found.info.crashes), (1, 0));
    assert!(process.said("lease_lost").is_empty());
    for id in arena.acknowledged() {
        arena.until(id, State::Completed).await;
    }
    arena.ends().await;
    format!("ended one by one, and back after: {}", told.join(", "))
}
