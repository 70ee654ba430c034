//! Ends of runs that did not count.

use steadfast_core::clock::Timestamp;
use steadfast_store::binds;

use crate::error::Refusal;
use crate::list::time;
use crate::{Error, JobId, Jobs, PAGE_MAX, sql};

/// The end of a run that was rejected: its job had gone to others, or its permit had been written off.
///
/// What the run did outside of the store may have happened twice, unless it carried the term.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedEnd {
    /// The job.
    pub id: JobId,
    /// The term that the run had, and the job no longer.
    pub term: u64,
    /// The incarnation of the node that ran it.
    pub incarnation: i64,
    /// Its kind.
    pub kind: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// What the end would have made of the job, as [`What::as_str`](crate::What::as_str) says it.
    pub wanted: String,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// When it was noted.
    pub noted: Timestamp,
}

/// A part of the list of rejected ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rejected {
    /// The ends, the latest first.
    pub ends: Vec<RejectedEnd>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<RejectedCursor>,
}

/// Where a list of rejected ends goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedCursor {
    noted_us: i64,
    id: i64,
}

impl Jobs {
    /// Lists ends of runs that were rejected in the last 30 days, the latest first: `limit` of them at
    /// most, 1 to [`PAGE_MAX`], those behind `after`. Each node notes its own, as well as it can: one
    /// that dies first has counted them and noted none.
    ///
    /// # Errors
    /// When the limit is out of bounds, or the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn rejected(
        &self,
        after: Option<RejectedCursor>,
        limit: usize,
    ) -> Result<Rejected, Error> {
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Refusal::Range {
                what: "the length of a page",
                is: limit.to_string(),
                least: "1".into(),
                most: PAGE_MAX.to_string(),
            }
            .into());
        }
        let (noted_us, id) = after.map_or((i64::MAX, i64::MAX), |at| (at.noted_us, at.id));
        let binds = binds![noted_us, id, limit as i64];
        let rows = self.store().ask(&sql::LIST_REJECTED, binds).await?;
        let (mut ends, mut last) = (Vec::new(), None);
        for row in &rows {
            let (id, noted_us): (i64, i64) = (row.get(0)?, row.get(7)?);
            last = Some(RejectedCursor { noted_us, id });
            ends.push(RejectedEnd {
                id: JobId(id),
                term: row.get::<i64>(1)?.unsigned_abs(),
                incarnation: row.get(2)?,
                kind: row.get(3)?,
                attempt: u32::try_from(row.get::<i64>(4)?).unwrap_or(0),
                wanted: row.get(5)?,
                error: row.get(6)?,
                noted: time(noted_us),
            });
        }
        Ok(Rejected {
            next: last.filter(|_| ends.len() == limit),
            ends,
        })
    }
}
