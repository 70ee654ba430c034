//! Ids through their public API: under clocks that are stepped, on every database, over sockets.

mod audit;
mod dense;
mod generator;
mod lease;
mod prepare;
mod processes;
mod stepped_clock;
mod support;
