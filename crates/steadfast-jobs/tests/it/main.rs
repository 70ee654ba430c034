//! Behavior through the public API, on both databases, and on PostgreSQL behind PgBouncer.

mod prepare;
mod schedules;
