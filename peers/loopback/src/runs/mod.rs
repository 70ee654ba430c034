//! The runs: each has its services and its clients in one file.

mod drain;
mod price;
mod retry_storm;
mod stall;
mod tenfold;

use std::error::Error;
use std::time::Duration;

use load::Step;
use steadfast::BoxError;

use crate::serving::Served;
use crate::table::Table;

/// Measures something.
type Measure = fn() -> Result<Table, Box<dyn Error>>;

/// All runs by name, in the order in which they are made.
pub(crate) const RUNS: [(&str, Measure); 5] = [
    ("tenfold", tenfold::measure),
    ("S4", retry_storm::measure),
    ("S5", stall::measure),
    ("S8", price::measure),
    ("S10", drain::measure),
];

/// Makes the service of a run.
pub(crate) async fn service(words: &[String]) -> Result<Served, BoxError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["tenfold"] => tenfold::service().await,
        ["retried"] => retry_storm::target().await,
        ["retrying", target] => retry_storm::edge(target),
        ["dependencies"] => Ok(stall::dependencies()),
        ["calling", dependencies, timeout] => stall::service(dependencies, timeout).await,
        ["full", server] => price::service(server).await,
        ["panicking", log] => drain::service(log).await,
        _ => Err(format!("there is no service `{}`", words.join(" ")).into()),
    }
}

/// So many arrivals a second for so long.
fn step(seconds: u64, rate: f64) -> Step {
    Step {
        lasts: Duration::from_secs(seconds),
        rate,
    }
}
