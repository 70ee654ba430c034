//! The API over HTTP: what people and machines can see and do.
//!
//! `types` and `client` are all that commands, and later pages, know of it.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod client;
mod document;
mod live;
mod narrow;
pub(crate) mod problem;
mod refusals;
mod revisions;
pub(crate) mod routes;
mod schema;
mod server;
mod table;
pub(crate) mod types;

pub use server::{Api, ApiOptions};
pub(crate) use server::{Kinds, Usual, check_exposure};

#[cfg(test)]
mod tests;
