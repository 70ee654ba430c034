//! What goes wrong when the usual parts are put together, and what holds: two tests a trap.
//!
//! `the_usual_assembly_fails` builds what people write, as the documents of its parts show it, and asserts the
//! failure itself: fifty of fifty that ran at once, the line that is missing. `ours_holds` puts the same question to
//! steadfast. Each ends with [`seen`](support::seen): one sentence on what happened, which has to stand in the page of
//! the trap in `docs/traps`. `./traps` at the root of the repository runs all of it and prints the sentences.
//!
//! Nothing here waits for time to pass: handlers stand at a [`Gate`](support::Gate) until the test has seen enough.

mod pages;
mod support;

mod t01_layers_per_connection;
mod t02_limit_per_route;
mod t03_limit_that_queues;
mod t04_rate_of_each_connection;
mod t05_breaker_that_never_opens;
mod t06_panic_without_a_layer;
mod t07_trace_inside_of_catch;
mod t08_task_that_nobody_joins;
mod t09_panic_in_a_body;
mod t10_client_that_leaves;
mod t11_abort_in_the_release;
mod t12_lines_without_an_id;
mod t13_types_that_do_not_fit;
mod t14_retries_that_multiply;
mod t15_paths_as_labels;
mod t16_stop_that_waits;
mod t17_permit_of_a_dead_socket;
mod t18_reader_that_turns_writer;
mod t19_lock_of_a_session;
mod t20_timer_in_the_process;
mod t21_ids_that_come_again;
mod t23_finish_without_a_fence;
mod t24_notify_in_the_transaction;
mod t25_rescue_by_the_clock;
mod t28_waiters_out_of_sight;
mod t29_answers_of_others;
