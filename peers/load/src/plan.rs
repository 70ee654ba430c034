//! What is to be sent: data, checked once.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::request::Template;

/// All that one run sends.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to; a loopback address.
    pub target: SocketAddr,
    /// Fixes the arrivals and their order. Default 1.
    pub seed: u64,
    /// Most connections at a time, at most 20,000. Default 1,024: one second of a thousand requests, and far from the
    /// limit of open files.
    ///
    /// A class needs about its rate times its timeout when nothing is answered.
    pub connections_max: usize,
    /// What is sent, each by its own schedule.
    pub classes: Vec<Class>,
}

impl Plan {
    /// A plan with the defaults.
    pub fn new(target: SocketAddr, classes: Vec<Class>) -> Self {
        Plan {
            target,
            seed: 1,
            connections_max: 1024,
            classes,
        }
    }

    /// Checks all of it, as [`Plan::run`] does first.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Refused> {
        if !self.target.ip().is_loopback() {
            return Err(Refused(format!(
                "{} is not a loopback address, and nothing else is sent to",
                self.target
            )));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(Refused(format!(
                "connections_max is {}, and has to be between 1 and {CONNECTIONS_MAX}",
                self.connections_max
            )));
        }
        if self.classes.is_empty() || self.classes.len() > CLASSES_MAX {
            return Err(Refused(format!(
                "there are {} classes, and there have to be between 1 and {CLASSES_MAX}",
                self.classes.len()
            )));
        }
        for (index, class) in self.classes.iter().enumerate() {
            if self.classes[..index]
                .iter()
                .any(|other| other.name == class.name)
            {
                return Err(Refused(format!("two classes are called `{}`", class.name)));
            }
            class
                .check()
                .map_err(|why| Refused(format!("class `{}`: {why}", class.name)))?;
        }
        Ok(())
    }

    /// The length of the longest schedule.
    pub fn lasts(&self) -> Duration {
        let of_each = self.classes.iter().map(Class::lasts);
        of_each.max().unwrap_or_default()
    }
}

/// Well below the 28,000 ports that a system has for connections to one address.
const CONNECTIONS_MAX: usize = 20_000;

const CLASSES_MAX: usize = 64;

/// An hour: longer runs are a series of runs, and each second keeps a figure in memory.
const LASTS_MAX: Duration = Duration::from_secs(3600);

/// What one core can send is less.
const RATE_MAX: f64 = 1e6;

/// Requests of one kind, from clients of one kind.
#[derive(Clone, Debug)]
pub struct Class {
    /// What the report calls it.
    pub name: String,
    /// The method.
    pub method: String,
    /// Path and query; `{n}` is the number of the request in its class, from 0, and `{n%100}` that modulo 100.
    pub path: String,
    /// Further headers; their values may hold `{n}` too. Host, length and connection are written without being named.
    pub headers: Vec<(String, String)>,
    /// The body, where `{n}` may stand too; none when empty.
    pub body: String,
    /// How arrivals are spread. Default [`Arrivals::Poisson`].
    pub arrivals: Arrivals,
    /// How many arrive, one step after the other.
    pub steps: Vec<Step>,
    /// How long a client waits, from when its request was due, before it closes the connection.
    pub timeout: Duration,
    /// Within what time an answer is of use. Default: the timeout.
    pub in_time: Duration,
    /// What becomes of connections. Default [`Reuse::KeepAlive`].
    pub reuse: Reuse,
}

impl Class {
    /// A class with the defaults.
    pub fn new(
        name: impl Into<String>,
        method: impl Into<String>,
        path: impl Into<String>,
        steps: Vec<Step>,
        timeout: Duration,
    ) -> Self {
        Class {
            name: name.into(),
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: String::new(),
            arrivals: Arrivals::default(),
            steps,
            timeout,
            in_time: timeout,
            reuse: Reuse::default(),
        }
    }

    fn check(&self) -> Result<(), String> {
        Template::new(self)?;
        if self.steps.is_empty() {
            return Err("it has no steps".into());
        }
        for step in &self.steps {
            if !(0.0..=RATE_MAX).contains(&step.rate) {
                return Err(format!(
                    "a rate of {} a second is not between 0 and {RATE_MAX}",
                    step.rate
                ));
            }
        }
        if self.lasts() > LASTS_MAX {
            return Err(format!(
                "its steps last {:?}, longer than {LASTS_MAX:?}",
                self.lasts()
            ));
        }
        if self.timeout.is_zero() || self.timeout > LASTS_MAX {
            return Err(format!(
                "a timeout of {:?} is not between nothing and {LASTS_MAX:?}",
                self.timeout
            ));
        }
        if self.in_time > self.timeout {
            return Err(format!(
                "an answer after {:?} is never seen: clients give up after {:?}",
                self.in_time, self.timeout
            ));
        }
        Ok(())
    }

    fn lasts(&self) -> Duration {
        let lengths = self.steps.iter().map(|step| step.lasts);
        lengths.fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// A stretch of time with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its length.
    pub lasts: Duration,
    /// Requests a second; 0 is a pause.
    pub rate: f64,
}

/// How arrivals are spread over a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// As from many clients that know nothing of each other: intervals are random.
    #[default]
    Poisson,
    /// All intervals are equal.
    Constant,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// It carries further requests of its class, unless the server closes it.
    #[default]
    KeepAlive,
    /// Each request has a connection of its own.
    Never,
}

/// Why a plan cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
