//! The layers through their public interface: over services made for the test, and over sockets.

mod admission;
mod recover;
mod support;
mod trace_id;
