//! Jobs that survive a crash, and the schedules that make them.
#![forbid(unsafe_code)]

pub mod schedule;
