//! What the documents show: policies are read, servers are asked with what stands behind `$ curl`,
//! and the answers compared with those on the page.

mod client;
mod document;
mod logs;
mod pages;
#[cfg(all(
    feature = "jobs",
    feature = "sqlite",
    feature = "postgres",
    feature = "test-util"
))]
mod programs;
mod prometheus;
