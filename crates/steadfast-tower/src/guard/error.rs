use std::fmt;

use steadfast_core::decide::policy::Finding;

/// Refuses a guard: all that is wrong, with the arithmetic and what to do.
#[derive(Debug, Clone)]
pub struct GuardError {
    findings: Vec<Finding>,
    others: Vec<String>,
}

impl GuardError {
    pub(crate) fn new(findings: Vec<Finding>, others: Vec<String>) -> Self {
        Self { findings, others }
    }

    pub(crate) fn other(message: impl fmt::Display) -> Self {
        Self::new(Vec::new(), vec![message.to_string()])
    }

    pub(super) fn others(&self) -> &[String] {
        &self.others
    }

    /// Gives what the linter has found wrong in the policy.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.findings.len() + self.others.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "the guard cannot be armed, for {count} reason{s}:")?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        for other in &self.others {
            write!(f, "\n  {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for GuardError {}
