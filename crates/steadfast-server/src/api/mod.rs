//! The API over HTTP: what people and machines can see and do.
//!
//! `types` and `client` are all that commands, and later pages, know of it.

mod audit;
pub(crate) mod auth;
pub(crate) mod client;
mod document;
mod live;
mod narrow;
mod problem;
mod revisions;
pub(crate) mod routes;
mod schema;
mod server;
mod table;
pub(crate) mod types;

pub(crate) use server::check_exposure;
pub use server::{Api, ApiOptions};

#[cfg(test)]
mod tests;
