use std::fmt;
use std::sync::Arc;

use steadfast_core::decide::policy::{FieldPath, Finding, Policy, RULES, Severity, lint};
use steadfast_core::settings::{Place, Places, Problem, Problems, Source, Span, read_all};

use super::explain::{Explainer, Explanation, UnknownSubject};
use super::hash::DocumentHash;
use super::read;

/// A policy as somebody wrote it: read, checked, and with the place of every value.
///
/// There is none with a mistake in it: whoever holds one may put it in force.
#[derive(Clone)]
pub struct PolicyDocument {
    read: Arc<Read>,
}

struct Read {
    source: Source,
    hash: DocumentHash,
    policy: Policy,
    places: Places,
    warnings: Option<Problems>,
}

impl PolicyDocument {
    /// Reads a document and looks for mistakes in it: of the syntax, of each value, and by all rules
    /// of the linter. The name is only told, never opened.
    ///
    /// # Errors
    /// All mistakes that were found, each with its line and what to do about it; warnings among them,
    /// so that one run tells everything. Reading the same document again fails again.
    pub fn new(name: impl Into<Arc<str>>, text: impl AsRef<str>) -> Result<Self, Problems> {
        Self::of(Source::new(name, text)?)
    }

    /// As [`new`](Self::new), for what was read from a file.
    ///
    /// # Errors
    /// Also when it is not UTF-8.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: &[u8]) -> Result<Self, Problems> {
        Self::of(Source::from_bytes(name, bytes)?)
    }

    fn of(source: Source) -> Result<Self, Problems> {
        let reading = read_all(&source, read::policy);
        let (policy, places) = (reading.value, reading.places);
        let mut problems = reading.problems;
        let findings = match problems.is_empty() {
            true => lint(&policy),
            // The names are all there, the numbers are not.
            false if reading.is_whole => names(&policy),
            false => Vec::new(),
        };
        let told = findings.iter();
        problems.extend(told.map(|finding| problem(&source, &places, finding)));
        let problems = Problems::collect(problems);
        match problems {
            Some(problems) if problems.has_errors() => Err(problems),
            warnings => Ok(Self {
                read: Arc::new(Read {
                    hash: DocumentHash::of(source.text()),
                    source,
                    policy,
                    places,
                    warnings,
                }),
            }),
        }
    }

    /// Gives the policy.
    pub fn policy(&self) -> &Policy {
        &self.read.policy
    }

    /// Gives what should be told and refuses nothing.
    pub fn warnings(&self) -> Option<&Problems> {
        self.read.warnings.as_ref()
    }

    /// Gives the name of the document.
    pub fn name(&self) -> &str {
        self.read.source.name()
    }

    /// Gives the document as it was written.
    pub fn text(&self) -> &str {
        self.read.source.text()
    }

    /// Gives what the document is recognized by.
    pub fn hash(&self) -> DocumentHash {
        self.read.hash
    }

    /// Gives the place of a value; `None` for what the document does not say.
    pub fn place(&self, path: &FieldPath) -> Option<Place> {
        let span = self.read.places.of(path)?;
        Some(self.read.source.place(span.start))
    }

    /// Explains what the document amounts to for a route: by its name here, or by the method and the
    /// template of a request, `GET /orders`.
    ///
    /// # Errors
    /// When there is none; the nearest name is told.
    pub fn explain_route(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        self.explainer().route(name)
    }

    /// Explains what the document amounts to for a dependency.
    ///
    /// # Errors
    /// When there is none; the nearest name is told.
    pub fn explain_dependency(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        self.explainer().dependency(name)
    }

    fn explainer(&self) -> Explainer<'_> {
        Explainer {
            document: self,
            policy: self.policy(),
            overrides: &[],
        }
    }
}

impl fmt::Debug for PolicyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyDocument")
            .field("name", &self.name())
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

/// Finds names that lead nowhere.
fn names(policy: &Policy) -> Vec<Finding> {
    let rule = RULES.iter().find(|rule| rule.id == "P007");
    rule.map(|rule| rule.findings(policy)).unwrap_or_default()
}

fn problem(source: &Source, places: &Places, finding: &Finding) -> Problem {
    let span: Span = places.nearest(&finding.path);
    let message = format!("{}: {}", finding.path, finding.message);
    let problem = match finding.severity {
        Severity::Error => Problem::error(source, span, message),
        Severity::Warning => Problem::warning(source, span, message),
    };
    problem.with_code(finding.rule).with_fix(&finding.fix)
}
