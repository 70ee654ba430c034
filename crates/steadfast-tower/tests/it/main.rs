//! The layers through their public interface: over services made for the test, and over sockets.

mod access_log;
mod admission;
#[cfg(feature = "axum")]
mod axum;
mod breaker;
mod client;
mod client_live;
mod client_sockets;
mod deadline;
mod drain;
#[cfg(feature = "axum")]
mod guard;
mod hedge;
#[cfg(feature = "prometheus")]
mod prometheus;
mod recover;
mod retry;
mod route;
mod support;
mod tier;
mod timeout;
mod trace_id;
