//! Gate and queue together, as a shell uses them.

mod every_order;
mod explanations;
mod long_runs;
mod queue;
mod shell;
