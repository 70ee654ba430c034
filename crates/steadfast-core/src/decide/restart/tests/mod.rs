//! The documented cases one by one, and every sequence of events there is.

mod shell;

mod intensity;
mod requests;
mod starting;
mod stopping;
mod strategies;

mod books;
mod explore;
mod world;
