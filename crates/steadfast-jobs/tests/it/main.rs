//! Behavior through the public API, on both databases, and on PostgreSQL behind PgBouncer.

mod enqueue;
mod fence;
mod killed;
mod prepare;
mod runs;
mod schedules;
mod support;
