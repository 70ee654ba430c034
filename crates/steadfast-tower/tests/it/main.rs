//! The layers through their public interface: over services made for the test, and over sockets.

mod access_log;
#[cfg(feature = "axum")]
mod axum;
mod deadline;
mod drain;
mod recover;
mod retry;
mod route;
mod support;
mod tier;
mod trace_id;
