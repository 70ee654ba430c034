//! Keeps services up: cleanups that always run, panics that become values, tasks that are watched
//! and restarted, shutdowns in order, and a guard for every request.
//!
//! A service does not fall over because a call failed. It falls over because of what the failure
//! left behind: a hold that nobody released, a panic in a handle that nobody reads, a task that died
//! without a line in the log, a shutdown that cut a cleanup in half. Two ideas carry everything
//! here:
//!
//! - a [`scope`](mod@scope) owns what must be undone, and undoes it whatever happens;
//! - [`recover`](recover()) turns a panic into a value that knows where it came from.
//!
//! | to | take |
//! |---|---|
//! | undo what was begun, in every way out | [`mod@scope`], [`defer!`], [`reaper`] |
//! | have panics as values, reported when they happen | [`recover()`], [`mod@panic`] |
//! | start tasks, wait for them, do a thing once | [`spawn()`], [`wait_group`], [`once`] |
//! | have tasks restarted when they fail | [`supervise`] |
//! | bound what runs and what waits | [`pool`] |
//! | write rows of many at once, and hurt nobody | [`batch`] |
//! | end in order, with a runtime that outlives every scope | [`run`](run()), [`shutdown`] |
//! | know why work stops, and what it belongs to | [`cancel`], [`context`] |
//! | see stalled runtimes, stuck work, who holds a lock | [`watch`] |
//! | ask every part how it is | [`report`] |
//! | decide without a clock or a lock | [`decide`] |
//!
//! # See what it tells
//! Troubles are events of [`tracing`](https://docs.rs/tracing): set a subscriber first thing in
//! `main`, such as `tracing_subscriber::fmt().init()`. Under [`run`](run()) a program without one
//! has troubles on standard error, and nothing else.
//!
//! # Features
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `tower` | `steadfast::tower`: layers for tower and axum services |
//! | `axum` | the same, with routes named as an axum router does |
//! | `ids` | `steadfast::ids`: unique, ordered ids, made in the process; with a database also what that hands out |
//! | `ids-http` | a service that hands them out over HTTP, and a client of it |
//! | `sqlite` | `steadfast::store`: one door to the database, a file of SQLite |
//! | `postgres` | `steadfast::store`: one door to the database, PostgreSQL |
//! | `jobs` | `steadfast::jobs`: jobs that survive a crash, in the database of one of these two |
//! | `sqlx09` | pools of sqlx 0.9, and transactions of it that the caller brings along: `steadfast::store::sqlx09` |
//! | `serde` | what is told about the policy, as data; ids in documents |
//! | `log` | what is known about the work at hand, in every line of the log: `steadfast::context::lines` |
//! | `test-util` | `steadfast::testing`: a clock moved by hand, a check for leaked tasks, faults injected at every await and cleanup |
#![forbid(unsafe_code)]

#[doc(inline)]
pub use steadfast_core::*;

/// Layers that keep a tower service up. With the feature `tower`.
#[cfg(feature = "tower")]
pub mod tower {
    #[doc(inline)]
    pub use steadfast_tower::*;
}

/// Unique, ordered ids. With the feature `ids`.
#[cfg(feature = "ids")]
pub mod ids {
    #[doc(inline)]
    pub use steadfast_ids::*;
}

/// The documents of the project about ids.
#[cfg(all(doctest, feature = "ids"))]
mod documents_of_ids {
    #[doc = include_str!("../../../docs/guide/javascript-and-ids.md")]
    mod javascript_and_ids {}
    #[doc = include_str!("../../../docs/guide/order-of-ids.md")]
    mod order_of_ids {}
    #[doc = include_str!("../../../docs/migration/from-snowflake-crates.md")]
    mod from_snowflake_crates {}
    #[doc = include_str!("../../../docs/migration/from-uuid.md")]
    mod from_uuid {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../../../docs/guide/which-id.md")]
    mod which_id {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../../../docs/migration/from-leaf.md")]
    mod from_leaf {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../../../docs/traps/t21-ids-that-come-again.md")]
    mod t21_ids_that_come_again {}
    #[cfg(all(feature = "axum", feature = "ids-http", feature = "sqlite"))]
    #[doc = include_str!("../../../docs/guide/run-the-id-service.md")]
    mod run_the_id_service {}
}

/// The one door to SQLite and PostgreSQL. With the feature `sqlite` or `postgres`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod store {
    #[doc(inline)]
    pub use steadfast_store::*;
}

/// The documents of the project about batches and pools.
#[cfg(all(doctest, feature = "postgres", feature = "sqlx09"))]
mod documents_of_the_store {
    #[doc = include_str!("../../../docs/guide/write-a-million-rows.md")]
    mod write_a_million_rows {}
    #[doc = include_str!("../../../docs/how-to/size-a-pool.md")]
    mod size_a_pool {}
    #[doc = include_str!("../../../docs/how-to/find-a-leak.md")]
    mod find_a_leak {}
}

/// Jobs that survive a crash. With the feature `jobs`.
#[cfg(feature = "jobs")]
pub mod jobs {
    #[doc(inline)]
    pub use steadfast_jobs::*;
}

/// The documents of the project about jobs and the store.
#[cfg(all(doctest, feature = "jobs", feature = "sqlite", feature = "postgres"))]
mod documents_of_jobs {
    #[doc = include_str!("../../../docs/jobs.md")]
    mod jobs {}
    #[doc = include_str!("../../../docs/guide/a-nightly-job.md")]
    mod a_nightly_job {}
    #[doc = include_str!("../../../docs/how-to/enqueue-from-anywhere.md")]
    mod enqueue_from_anywhere {}
    #[doc = include_str!("../../../docs/how-to/effects-once.md")]
    mod effects_once {}
    #[doc = include_str!("../../../docs/how-to/unique-jobs.md")]
    mod unique_jobs {}
    #[doc = include_str!("../../../docs/how-to/limits.md")]
    mod limits {}
    #[doc = include_str!("../../../docs/how-to/pgbouncer.md")]
    mod pgbouncer {}
    #[doc = include_str!("../../../docs/how-to/upgrade-workers.md")]
    mod upgrade_workers {}
    #[doc = include_str!("../../../docs/how-to/job-retention.md")]
    mod job_retention {}
    #[doc = include_str!("../../../docs/how-to/testing-jobs.md")]
    mod testing_jobs {}
    #[doc = include_str!("../../../docs/traps/t18-reader-that-turns-writer.md")]
    mod t18_reader_that_turns_writer {}
    #[doc = include_str!("../../../docs/traps/t19-lock-of-a-session.md")]
    mod t19_lock_of_a_session {}
    #[doc = include_str!("../../../docs/traps/t20-timer-in-the-process.md")]
    mod t20_timer_in_the_process {}
    #[doc = include_str!("../../../docs/traps/t23-finish-without-a-fence.md")]
    mod t23_finish_without_a_fence {}
    #[doc = include_str!("../../../docs/traps/t24-notify-in-the-transaction.md")]
    mod t24_notify_in_the_transaction {}
    #[doc = include_str!("../../../docs/traps/t25-rescue-by-the-clock.md")]
    mod t25_rescue_by_the_clock {}
    #[doc = include_str!("../../../docs/traps/t29-answers-of-others.md")]
    mod t29_answers_of_others {}
}

/// The documents of the project that show services: what stands in them is compiled and run.
#[cfg(all(doctest, feature = "axum"))]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/guide/protect-a-route.md")]
    mod protect_a_route {}
    #[doc = include_str!("../../../docs/how-to/tiers.md")]
    mod tiers {}
    #[doc = include_str!("../../../docs/how-to/shadow-mode.md")]
    mod shadow_mode {}
    #[doc = include_str!("../../../docs/how-to/timeouts.md")]
    mod timeouts {}
    #[doc = include_str!("../../../docs/how-to/reading-a-rejection.md")]
    mod reading_a_rejection {}
    #[cfg(feature = "log")]
    #[doc = include_str!("../../../docs/how-to/logs.md")]
    mod logs {}
    #[cfg(feature = "prometheus")]
    #[doc = include_str!("../../../docs/how-to/prometheus.md")]
    mod prometheus {}
    #[doc = include_str!("../../../docs/how-to/outgoing-calls.md")]
    mod outgoing_calls {}
    #[cfg(feature = "jobs")]
    #[doc = include_str!("../../../docs/how-to/breakers.md")]
    mod breakers {}
    #[doc = include_str!("../../../docs/migration/from-tower-and-tower-http.md")]
    mod from_tower_and_tower_http {}
    #[doc = include_str!("../../../docs/migration/from-tower-resilience.md")]
    mod from_tower_resilience {}
    #[doc = include_str!("../../../docs/migration/from-tower-governor.md")]
    mod from_tower_governor {}
    #[doc = include_str!("../../../docs/traps/t01-layers-per-connection.md")]
    mod t01_layers_per_connection {}
    #[doc = include_str!("../../../docs/traps/t02-limit-per-route.md")]
    mod t02_limit_per_route {}
    #[doc = include_str!("../../../docs/traps/t03-limit-that-queues.md")]
    mod t03_limit_that_queues {}
    #[doc = include_str!("../../../docs/traps/t04-rate-of-each-connection.md")]
    mod t04_rate_of_each_connection {}
    #[doc = include_str!("../../../docs/traps/t05-breaker-that-never-opens.md")]
    mod t05_breaker_that_never_opens {}
    #[doc = include_str!("../../../docs/traps/t06-panic-without-a-layer.md")]
    mod t06_panic_without_a_layer {}
    #[doc = include_str!("../../../docs/traps/t07-trace-inside-of-catch.md")]
    mod t07_trace_inside_of_catch {}
    #[doc = include_str!("../../../docs/traps/t08-task-that-nobody-joins.md")]
    mod t08_task_that_nobody_joins {}
    #[doc = include_str!("../../../docs/traps/t09-panic-in-a-body.md")]
    mod t09_panic_in_a_body {}
    #[doc = include_str!("../../../docs/traps/t10-client-that-leaves.md")]
    mod t10_client_that_leaves {}
    #[doc = include_str!("../../../docs/traps/t11-abort-in-the-release.md")]
    mod t11_abort_in_the_release {}
    #[cfg(feature = "log")]
    #[doc = include_str!("../../../docs/traps/t12-lines-without-an-id.md")]
    mod t12_lines_without_an_id {}
    #[doc = include_str!("../../../docs/traps/t13-types-that-do-not-fit.md")]
    mod t13_types_that_do_not_fit {}
    #[doc = include_str!("../../../docs/traps/t14-retries-that-multiply.md")]
    mod t14_retries_that_multiply {}
    #[doc = include_str!("../../../docs/traps/t15-paths-as-labels.md")]
    mod t15_paths_as_labels {}
    #[doc = include_str!("../../../docs/traps/t16-stop-that-waits.md")]
    mod t16_stop_that_waits {}
    #[cfg(feature = "postgres")]
    #[doc = include_str!("../../../docs/traps/t17-permit-of-a-dead-socket.md")]
    mod t17_permit_of_a_dead_socket {}
    #[doc = include_str!("../../../docs/traps/t28-waiters-out-of-sight.md")]
    mod t28_waiters_out_of_sight {}
}
