use std::fmt;
use std::sync::Arc;

use steadfast_core::clock::Timestamp;
use steadfast_core::context::Name;
use steadfast_core::decide::policy::FieldChange;

use super::document::PolicyDocument;
use super::hash::DocumentHash;
use super::signed::Signed;

/// A document that was put in force: the n-th of its namespace, by whom and why.
///
/// Has what a store keeps of it: namespace, number, hash, document, author and reason.
#[derive(Clone, Debug)]
pub struct Revision {
    namespace: Name,
    n: u64,
    document: PolicyDocument,
    signed: Signed,
    at: Timestamp,
}

/// A document that somebody wants in force, beside what it would change.
///
/// It stands on the revision that was in force when it was made. What was agreed on is this change
/// and no other: if something else came in between, it is not applied.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub(super) base: Arc<Revision>,
    pub(super) document: PolicyDocument,
    pub(super) signed: Signed,
    changes: Vec<FieldChange>,
}

impl Revision {
    /// Makes the first revision of a namespace, or one that was kept somewhere.
    pub fn new(
        namespace: impl Into<Name>,
        n: u64,
        document: PolicyDocument,
        signed: Signed,
        at: Timestamp,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            n,
            document,
            signed,
            at,
        }
    }

    /// Makes the one that comes after it.
    pub(super) fn next(&self, document: PolicyDocument, signed: Signed, at: Timestamp) -> Self {
        Self::new(self.namespace, self.n + 1, document, signed, at)
    }

    /// Gives what the revisions belong to: most often the service.
    pub fn namespace(&self) -> Name {
        self.namespace
    }

    /// Gives its number. Each is greater than the one before.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Gives what its document is recognized by.
    pub fn hash(&self) -> DocumentHash {
        self.document.hash()
    }

    /// Gives the document.
    pub fn document(&self) -> &PolicyDocument {
        &self.document
    }

    /// Gives who put it in force, and why.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Gives since when it is in force.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.hash();
        write!(
            f,
            "{} revision {} ({hash:#}) by {}",
            self.namespace, self.n, self.signed
        )
    }
}

// === impl Proposal ===

impl Proposal {
    pub(super) fn new(base: Arc<Revision>, document: PolicyDocument, signed: Signed) -> Self {
        let changes = base.document.policy().changes(document.policy());
        Self {
            base,
            document,
            signed,
            changes,
        }
    }

    /// Gives the revision that it stands on.
    pub fn base(&self) -> &Revision {
        &self.base
    }

    /// Gives the document.
    pub fn document(&self) -> &PolicyDocument {
        &self.document
    }

    /// Gives who wants it, and why.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Gives what it would change, by field. Nothing if only comments and the order are different.
    pub fn changes(&self) -> &[FieldChange] {
        &self.changes
    }
}

/// What it would change, line by line with the place in either document, and what should be known
/// before.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, hash) = (&self.base, self.document.hash());
        let from = format!("{} revision {}", base.namespace, base.n);
        writeln!(
            f,
            "{from} ({:#}) to {hash:#}, by {}",
            base.hash(),
            self.signed
        )?;
        for change in &self.changes {
            let sides = [
                ('-', &change.before, &base.document),
                ('+', &change.after, &self.document),
            ];
            for (sign, value, document) in sides {
                let Some(value) = value else { continue };
                write!(f, "{sign} {} = {value}", change.path)?;
                match document.place(&change.path) {
                    Some(place) => writeln!(f, "    {}:{place}", document.name())?,
                    None => writeln!(f, "    default")?,
                }
            }
        }
        if self.changes.is_empty() {
            writeln!(f, "nothing that is in force would change")?;
        }
        match self.document.warnings() {
            Some(warnings) => write!(f, "\n{warnings}"),
            None => Ok(()),
        }
    }
}
