//! The layers through their public interface: over services made for the test, and over sockets.

mod drain;
mod recover;
mod retry;
mod support;
mod trace_id;
