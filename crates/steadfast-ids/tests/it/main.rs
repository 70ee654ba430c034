//! Ids through their public API: under clocks that are stepped, on every database, over sockets.

mod audit;
mod dense;
mod generator;
mod http;
mod lease;
mod prepare;
mod processes;
mod rolling;
mod stepped_clock;
mod support;
