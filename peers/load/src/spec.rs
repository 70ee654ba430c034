//! Plans as documents in TOML.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::plan::{Arrivals, Class, Plan, Refused, Reuse, Step};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanText {
    target: SocketAddr,
    seed: Option<u64>,
    connections_max: Option<usize>,
    class: Vec<ClassText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassText {
    name: String,
    /// Method and path.
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    arrivals: Arrivals,
    steps: Vec<StepText>,
    timeout_ms: u64,
    in_time_ms: Option<u64>,
    #[serde(default)]
    reuse: Reuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    seconds: f64,
    rate: f64,
}

/// Reads and checks a document.
impl FromStr for Plan {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let read: PlanText = toml::from_str(text).map_err(|error| Refused(error.to_string()))?;
        let classes: Result<_, _> = read.class.into_iter().map(ClassText::class).collect();
        let mut plan = Plan::new(read.target, classes?);
        plan.seed = read.seed.unwrap_or(plan.seed);
        plan.connections_max = read.connections_max.unwrap_or(plan.connections_max);
        plan.check()?;
        Ok(plan)
    }
}

impl ClassText {
    fn class(self) -> Result<Class, Refused> {
        let Some((method, path)) = self.request.split_once(' ') else {
            return Err(Refused(format!(
                "class `{}`: `{}` is no method and path",
                self.name, self.request
            )));
        };
        let steps = self.steps.iter().map(|step| {
            let lasts = Duration::try_from_secs_f64(step.seconds);
            let lasts =
                lasts.map_err(|error| Refused(format!("class `{}`: {error}", self.name)))?;
            Ok(Step {
                lasts,
                rate: step.rate,
            })
        });
        let steps: Result<Vec<_>, Refused> = steps.collect();
        let timeout = Duration::from_millis(self.timeout_ms);
        let in_time = self.in_time_ms.map_or(timeout, Duration::from_millis);
        Ok(Class {
            headers: self.headers.into_iter().collect(),
            body: self.body,
            arrivals: self.arrivals,
            in_time,
            reuse: self.reuse,
            ..Class::new(self.name, method, path, steps?, timeout)
        })
    }
}
