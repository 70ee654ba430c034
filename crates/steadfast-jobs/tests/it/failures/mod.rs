//! What may go wrong under jobs, done to real processes: killed, stopped, cut off, on one database that
//! all of them share. Each scenario runs on a file of SQLite and on PostgreSQL, and after each round the
//! [invariants](audit) are checked over everything that has happened to every row.
//!
//! Two forms of the same scenarios: the *short* one with leases of a second and small numbers is part of
//! the tests; the *long* one with the usual lease of 30 s and large numbers is
//! `cargo run --release --example failures`, or `./failures` at the root.
//!
//! | what happens | where it is shown |
//! |---|---|
//! | `kill -9` between an enqueue and its wake-up | `killed::between_the_commit_of_an_enqueue_and_its_wake_up` |
//! | `kill -9` of the enqueuer before its commit | `killed::before_the_transaction_of_an_enqueue_commits` |
//! | `kill -9` between claim and handler | `killed::after_the_claim_and_before_the_handler` |
//! | `kill -9` in mid handler | `killed::in_the_middle_of_a_handler`, `killed::a_job_whose_process_is_killed_…` beside this folder |
//! | `kill -9` between the success and its commit | `killed::after_the_success_and_before_its_commit`, `killed::in_the_commit_of_effect_and_end`, `killed::after_the_commit_of_effect_and_end` |
//! | a ledger whose worker is killed at random, with and without `complete_in` | `killed::at_random_over_a_ledger_that_balances`, `killed::over_a_ledger_that_does_not_balance` |
//! | `kill -9` while completions are buffered | `killed::while_completions_wait_for_their_flush`, `drain::told_to_end_it_loses_no_completion` |
//! | the reply to an enqueue with a key is lost | `keys::the_reply_to_an_enqueue_with_a_key_is_lost` |
//! | SIGSTOP for longer than the lease | `stopped::for_longer_than_its_lease` |
//! | SIGSTOP for less than the lease | `killed::a_process_that_stands_still_for_less_…` beside this folder |
//! | blocking code on all threads of the runtime | `stopped::by_its_own_handlers_on_all_threads` |
//! | one handler blocks for ever, ignores its cancellation | `handlers::one_that_blocks_for_ever_is_written_off` |
//! | the wall clock of a worker jumps | `stopped::with_a_clock_that_jumps_by_an_hour` |
//! | the host of a worker sleeps | `stopped::by_a_host_that_sleeps` |
//! | the database restarts, fast and immediate | `server::restarts_with_jobs_in_every_phase`, `fleet::goes_on_with_its_handlers_over_a_restart` |
//! | the database is away for long | `server::is_away_for_longer_than_the_lease` |
//! | a fleet looks for its database, and finds it again | `fleet::is_in_no_step_when_its_server_is_away_and_back` |
//! | backends are terminated | `server::ends_every_connection`, `fleet::has_each_of_its_connections_back_alone` |
//! | a worker is cut off | `stopped::by_a_cut_between_it_and_the_database` |
//! | two claim at once | `crowd::processes_that_claim_at_once_share_the_jobs`, `fence::two_that_claim_at_once_…` |
//! | two rescue at once, beside completions | `crowd::rescuers_and_completions_race` |
//! | a rescue against a late beat | `crowd::a_late_beat_and_the_end_of_its_lease_race` |
//! | a rescuer is killed in mid batch | `crowd::a_rescuer_is_killed_between_its_batches` |
//! | a handler kills its process each time | `crowd::a_job_that_kills_its_process_is_quarantined_and_no_neighbor` |
//! | three deploys by SIGKILL over a long job | `killed::by_three_deploys_over_a_long_job` |
//! | two of three nodes dead or frozen | `killed::two_of_three_nodes` |
//! | panics in handler, repair, payload and result | `handlers::panics_cost_attempts_and_no_permits` |
//! | undecodable payload, unknown kind | `runs::what_cannot_be_read_…`, `runs::kinds_that_a_node_does_not_know_…` |
//! | many jobs fall due at once | `crowd::many_fall_due_at_once` |
//! | a retry storm | `handlers::retries_of_many_are_spread` |
//! | what jobs need is down, and a breaker holds their kind | `dependency` |
//! | killed around an occurrence | `occurrences::processes_are_killed_around_them`, `schedules::a_thousand_kills_…` |
//! | all nodes down over three occurrences; clocks put forward and back; edits in the second; overlaps | `schedules`, and the tests of `schedule::cron` and `schedule::due` |
//! | the disk is full | `server::its_disk_is_full`, `store::trouble::a_full_disk_…` |
//! | the file of SQLite is deleted, replaced, read-only | `store::trouble::a_file_that_was_replaced_or_deleted_…` |
//! | user code has all connections | `server::its_connections_are_all_taken` |
//! | PgBouncer in transaction mode | every test of `on_every_store!` |
//! | SIGTERM, a second one, SIGKILL while draining | `drain` |
//! | a unique key wanted by a hundred | `enqueue::of_a_hundred_…`, `enqueue::a_key_is_free_again_…` |
//! | a limit, with holders that are killed | `keys::a_limit_holds_while_its_holders_are_killed` |
//! | a serial queue | `keys::a_serial_queue_runs_one_at_a_time` |
//! | a late completion after rescue, cancel, time limit | `stopped::for_longer_than_its_lease`, `handlers::one_that_blocks_for_ever_is_written_off`, `fence` |
//! | migration under load, old and new programs side by side | `upgrade`, `store::migrate` |
//! | a held snapshot; millions of future and completed jobs | measured: `./jobs-bench` |

pub(crate) mod arena;
pub(crate) mod audit;
pub(crate) mod crowd;
pub(crate) mod dependency;
pub(crate) mod drain;
pub(crate) mod fleet;
pub(crate) mod handlers;
pub(crate) mod keys;
pub(crate) mod killed;
pub(crate) mod occurrences;
pub(crate) mod process;
pub(crate) mod role;
pub(crate) mod server;
pub(crate) mod stopped;
pub(crate) mod upgrade;
pub(crate) mod way;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub(crate) use arena::{Arena, Form};

/// On which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// What a scenario saw, for the table of the long form.
pub(crate) type Seen = Pin<Box<dyn Future<Output = String> + Send>>;

/// A scenario by its name.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) on: &'static [On],
    pub(crate) play: fn(Form, On) -> Seen,
}

/// How long is waited for what must come, beside the leases that it takes: long enough for a machine that
/// does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Declares the scenarios of a module: each a test on each database, and all of them for the long form.
macro_rules! scenarios {
    ($($name:ident on $on:expr;)*) => {
        pub(crate) const ALL: &[crate::failures::Scenario] = &[$(crate::failures::Scenario {
            name: concat!(module_path!(), "::", stringify!($name)),
            on: $on,
            play: |form, on| Box::pin(async move { $name(crate::failures::Arena::make(form, on).await).await }),
        }),*];

        #[cfg(test)]
        mod short {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::failures::play_short(super::ALL, stringify!($name)).await;
                }
            )*
        }
    };
}
pub(crate) use scenarios;

pub(crate) const BOTH: &[On] = &[On::Sqlite, On::Postgres];
pub(crate) const POSTGRES: &[On] = &[On::Postgres];

/// Gives all scenarios.
#[cfg_attr(test, allow(dead_code, reason = "the long form asks for it"))]
pub(crate) fn all() -> Vec<Scenario> {
    let parts = [
        // It takes longest.
        crowd::ALL,
        killed::ALL,
        stopped::ALL,
        handlers::ALL,
        dependency::ALL,
        server::ALL,
        fleet::ALL,
        drain::ALL,
        keys::ALL,
        occurrences::ALL,
        upgrade::ALL,
    ];
    parts.concat()
}

/// Plays the short form of a scenario, on its databases at once: most of it is waiting.
#[cfg(test)]
async fn play_short(all: &[Scenario], name: &str) {
    let known = all
        .iter()
        .find(|known| known.name.ends_with(&format!("::{name}")));
    let scenario = *known.expect("it is in the list");
    let played: Vec<_> = (scenario.on.iter())
        .map(|on| {
            (
                *on,
                steadfast_core::spawn("scenario", (scenario.play)(Form::short(), *on)),
            )
        })
        .collect();
    for (on, played) in played {
        if let Err(error) = played.await {
            panic!("on {on:?}: {error}");
        }
    }
}

/// What a process that a scenario has started does; nothing in the run of all tests.
#[cfg(test)]
#[test]
fn a_role() -> std::process::ExitCode {
    role::play().unwrap_or(std::process::ExitCode::SUCCESS)
}
