//! The documented cases one by one, and every sequence of events there is.

mod cases;
mod explore;
mod shell;
