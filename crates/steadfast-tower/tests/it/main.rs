//! The layers through their public interface: over services made for the test, and over sockets.

mod access_log;
mod admission;
#[cfg(feature = "axum")]
mod axum;
mod breaker;
mod client;
mod client_live;
mod client_sockets;
mod contract;
mod deadline;
mod drain;
#[cfg(feature = "axum")]
mod guard;
#[cfg(feature = "axum")]
mod guard_leaks;
#[cfg(feature = "axum")]
mod guard_live;
#[cfg(feature = "axum")]
mod guard_shadow;
#[cfg(feature = "axum")]
mod guard_streams;
#[cfg(feature = "axum")]
mod guard_trust;
mod hedge;
#[cfg(feature = "axum")]
mod hostile;
#[cfg(feature = "prometheus")]
mod prometheus;
mod recover;
mod retry;
mod route;
#[cfg(feature = "axum")]
mod serve;
mod support;
mod tier;
mod timeout;
mod trace_id;
