//! The layers through their public interface: over services made for the test, and over sockets.

mod admission;
mod recover;
mod support;
mod timeout;
mod trace_id;
