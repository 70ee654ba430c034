//! What is done after the answer: a worker dies or stands still, and nothing is lost or done twice.

use super::{Needed, Row, Unit};

/// What the books of the shop and of the gateway say at the end.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Audit {
    /// Orders that a client was told of.
    pub(crate) promised: u64,
    /// Those of them that are shipped, receipted and paid.
    pub(crate) done: u64,
    /// What the ledger says, less what the orders in it cost, in cents, added up over its entries.
    pub(crate) off_cents: i64,
    /// Entries of the ledger.
    pub(crate) entries: u64,
    /// Entries that a job has made beyond its first.
    pub(crate) entries_twice: u64,
    /// Occurrences of the settlement that have a job.
    pub(crate) occurrences: u64,
    /// Those that have more than one job, or whose job ended otherwise than well.
    pub(crate) occurrences_not_once: u64,
}

/// A worker is killed in the middle of a settlement.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    /// After how many seconds its job was completed by another worker.
    pub(crate) rescued_s: Option<f64>,
    /// The lease of the workers, in seconds.
    pub(crate) lease_s: f64,
    pub(crate) audit: Option<Audit>,
}

/// Ten seconds more than the lease, which makes 40 s of the usual lease of 30 s.
const RESCUE_BEYOND_LEASE_S: f64 = 10.0;

impl Killed {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let most = Needed::AtMost(self.lease_s + RESCUE_BEYOND_LEASE_S);
        let mut rows = vec![Row::new(
            "its job completed by another after",
            most,
            Unit::Seconds,
            self.rescued_s,
        )];
        rows.extend(books(self.audit.as_ref()));
        rows
    }
}

/// A worker stands still through an occurrence, and goes on when others have taken over.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    /// Occurrences that were due while it stood still, and had a job by then.
    pub(crate) meanwhile: u64,
    pub(crate) audit: Option<Audit>,
}

impl Frozen {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let meanwhile = Some(self.meanwhile as f64);
        let mut rows = vec![Row::new(
            "occurrences run by others meanwhile",
            Needed::AtLeast(1.0),
            Unit::Count,
            meanwhile,
        )];
        rows.extend(books(self.audit.as_ref()));
        rows
    }
}

/// What holds of the books, whatever happened.
fn books(audit: Option<&Audit>) -> Vec<Row> {
    // Books that nobody wrote in prove nothing.
    let lost = audit
        .filter(|it| it.promised > 0)
        .map(|it| it.promised as f64 - it.done as f64);
    let off = audit
        .filter(|it| it.entries > 0)
        .map(|it| it.off_cents as f64);
    let twice = audit
        .filter(|it| it.occurrences > 0)
        .map(|it| (it.occurrences_not_once + it.entries_twice) as f64);
    let none = Needed::AtMost(0.0);
    vec![
        Row::new("orders promised and not done", none, Unit::Count, lost),
        Row::new("ledger off by", none, Unit::Cents, off),
        Row::new(
            "occurrences settled otherwise than once",
            none,
            Unit::Count,
            twice,
        ),
    ]
}
