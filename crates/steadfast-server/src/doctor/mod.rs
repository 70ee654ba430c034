//! What can be found from outside: each check gathers facts, and judges them in a pure function.

mod config;
mod machine;
mod project;
mod service;
mod store;
mod users;

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::config::Config;

/// Something that is looked at.
pub(crate) struct Check {
    /// By what it is known; stable.
    pub(crate) name: &'static str,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the page of the reference is made of it")
    )]
    looks: &'static str,
}

const fn check(name: &'static str, looks: &'static str) -> Check {
    Check { name, looks }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// It could not be seen.
    Skip,
    /// It works, and something is to be known.
    Warn,
    /// It does not work, or not when it is needed.
    Fail,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Skip => "skip",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// What came of a check: a line.
#[derive(Serialize)]
pub(crate) struct Finding {
    #[serde(serialize_with = "name")]
    pub(crate) check: &'static Check,
    pub(crate) verdict: Verdict,
    pub(crate) says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

fn name<S: Serializer>(check: &&'static Check, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(check.name)
}

fn ok(check: &'static Check, says: impl Into<String>) -> Finding {
    Finding {
        check,
        verdict: Verdict::Ok,
        says: says.into(),
        fix: None,
    }
}

fn skip(check: &'static Check, why: impl std::fmt::Display) -> Finding {
    Finding {
        verdict: Verdict::Skip,
        ..ok(check, format!("not seen: {why}"))
    }
}

fn warn(check: &'static Check, says: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        check,
        verdict: Verdict::Warn,
        says: says.into(),
        fix: Some(fix.into()),
    }
}

fn fail(check: &'static Check, says: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        verdict: Verdict::Fail,
        ..warn(check, says, fix)
    }
}

/// What is to be looked at.
pub(crate) struct Subject {
    pub(crate) configs: Vec<PathBuf>,
    pub(crate) manifest: Option<PathBuf>,
    /// Where a service tells how it is.
    pub(crate) service: Option<String>,
    /// By which certificates it is trusted.
    pub(crate) ca: Option<PathBuf>,
}

/// Looks at all of it.
pub(crate) async fn examine(subject: &Subject) -> Vec<Finding> {
    let mut findings = machine::clock().await;
    let mut service = subject.service.clone();
    if subject.configs.is_empty() {
        findings.extend(machine::files(None));
    } else {
        match Config::load(&subject.configs) {
            Err(error) => findings.push(config::unreadable(&error)),
            Ok(config) => {
                findings.extend(config::examine(&config, &subject.configs));
                findings.push(users::examine(&config));
                findings.extend(machine::files(Some(&config)));
                let ports = machine::ports(&config).await;
                findings.extend(ports.findings);
                service = service.or(ports.service);
                findings.extend(store::examine(&config).await);
            }
        }
    }
    if let Some(url) = service {
        findings.extend(service::examine(&url, subject.ca.as_deref()).await);
    }
    if let Some(manifest) = &subject.manifest {
        findings.extend(project::examine(manifest).await);
    }
    findings
}

/// Everything that is looked at, in the order of the lines.
#[cfg(test)]
pub(crate) fn checks() -> impl Iterator<Item = &'static Check> {
    let parts = [
        machine::CHECKS,
        config::CHECKS,
        users::CHECKS,
        store::CHECKS,
        service::CHECKS,
        project::CHECKS,
    ];
    parts.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests;
