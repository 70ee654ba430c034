//! The layers through their public interface: over services made for the test, and over sockets.

#[cfg(feature = "axum")]
mod axum;
mod deadline;
mod recover;
mod route;
mod support;
mod tier;
mod trace_id;
