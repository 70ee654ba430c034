//! The linter: rules in, findings out.

use std::fmt;

use super::path::FieldPath;
use super::rules::RULES;
use super::users::Policy;

/// A rule that looks at the numbers of a policy together.
///
/// Ids are stable: a rule that goes leaves its number behind unused.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Names the rule: `P001`.
    pub id: &'static str,
    /// Says in a few words what it finds.
    pub title: &'static str,
    /// What follows from a finding.
    pub severity: Severity,
    /// Why it matters, for people who have just met it.
    pub why: &'static str,
    pub(super) check: fn(&Policy) -> Vec<Hit>,
}

/// Says what follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The start is refused.
    Error,
    /// It is said at the start, and once only.
    Warning,
}

/// A mistake in a policy, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The id of the rule.
    pub rule: &'static str,
    /// What follows from it.
    pub severity: Severity,
    /// The field to change first.
    pub path: FieldPath,
    /// What is wrong, with the arithmetic.
    pub message: String,
    /// A change that mends it.
    pub fix: String,
}

/// What a rule has found, before its id is attached.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) path: FieldPath,
    pub(super) message: String,
    pub(super) fix: String,
}

/// Looks for mistakes in a policy, by all [`RULES`].
///
/// Errors come first, then by rule and path. An empty list is what a start needs; warnings alone
/// do not prevent it.
#[must_use]
pub fn lint(policy: &Policy) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES
        .iter()
        .flat_map(|rule| rule.findings(policy))
        .collect();
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.severity, finding.rule);
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
    });
    findings
}

// === impl Rule ===

impl Rule {
    /// Returns what this rule alone finds.
    #[must_use]
    pub fn findings(&self, policy: &Policy) -> Vec<Finding> {
        let finding = |hit: Hit| Finding {
            rule: self.id,
            severity: self.severity,
            path: hit.path,
            message: hit.message,
            fix: hit.fix,
        };
        (self.check)(policy).into_iter().map(finding).collect()
    }
}

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}] {}: {}; {}",
            self.severity, self.rule, self.path, self.message, self.fix
        )
    }
}

// === impl Hit ===

impl Hit {
    pub(super) fn new(path: FieldPath, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
            fix: fix.into(),
        }
    }
}
