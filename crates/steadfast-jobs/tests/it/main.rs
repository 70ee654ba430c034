//! Behavior through the public API, on both databases, and on PostgreSQL behind PgBouncer.

mod aimed;
mod astray;
mod ends;
mod enqueue;
mod failures;
mod faults;
mod fence;
mod floor;
mod killed;
mod limits;
mod lists;
mod locked;
mod model;
mod older;
mod oracle;
mod plans;
mod prepare;
mod rejected;
mod rescue;
mod retention;
mod runs;
mod schedules;
mod schema;
mod snapshots;
mod states;
mod support;
