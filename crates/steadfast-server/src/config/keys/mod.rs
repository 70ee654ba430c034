//! Every key of the configuration: what it takes, what it is for, what holds without it.
//!
//! A key is read by what stands here, and only so: bounds and defaults that are written down for people
//! are those that hold.

mod handlers;
mod ids;
mod key;
mod listeners;
mod process;
mod schedules;

pub(super) use handlers::*;
pub(super) use ids::*;
pub(super) use key::{Key, Takes, Without};
pub(super) use listeners::*;
pub(super) use process::*;
pub(super) use schedules::*;

/// A table of the configuration.
pub(super) struct Section {
    /// Its name; `handlers.NAME` for tables with names.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// A name, where it has to be shown with one.
    pub(super) example: &'static str,
    pub(super) keys: &'static [&'static Key],
}

/// All tables, in the order in which they are shown.
pub(super) static SECTIONS: &[&Section] = &[
    &process::STORE,
    &process::NODE,
    &process::QUEUES,
    &process::SHUTDOWN,
    &process::LOG,
    &process::HEALTH,
    &listeners::API,
    &listeners::CALLS,
    &ids::IDS,
    &ids::SNOWFLAKES,
    &ids::TAGS,
    &ids::SEQUENCES,
    &handlers::PROGRAMS,
    &handlers::SERVICES,
    &schedules::SCHEDULES,
];
