//! When to send a second attempt beside a first that takes long.
//!
//! # The problem
//!
//! One call in a hundred takes a hundred times as long as the others: it met a collection of
//! garbage, a full disk queue, a lost packet. A page that makes fifty such calls is slow every other
//! time. The same call sent again to another replica would be answered at once.
//!
//! # Why the usual answers fail
//!
//! - *A delay of 50 ms*, written down once, is nothing after a year: either no call is hedged, or,
//!   when all have become slower, every one is.
//! - *Hedging without a budget* doubles the load of a target in the moment in which all its calls
//!   are slow, which is when it has too much to do. Scenario S9 shows it.
//! - *A budget with a reserve* grants each of a thousand quiet processes its own small exception.
//! - *The 95th percentile with a budget of 2 %* spends the budget on the 4 % that would have been
//!   answered a moment later, and has none left for the one call in a hundred it is there for.
//! - *Hedging whatever is slow* charges a card twice.
//! - *Hedging while a breaker is half-open* takes the permits of its probes, and says that they were
//!   good because others were.
//!
//! # The tool
//!
//! A [`Hedge`] answers twice. Before a call, [`Hedge::plan`] says after how long to look again, or
//! why never. When that time is over without an answer, [`Hedge::send`] says whether to send a second
//! attempt, and charges for it. The first answer wins, the other attempt is canceled. A call
//! has one hedge.
//!
//! 1. *The delay* follows the live 95th percentile of the last ten seconds or so, or a higher one if
//!    the budget is too small for it: a quantile above which four fifths of the budget lie. So on a
//!    usual day the budget is not spent on calls that would have ended by themselves.
//! 2. *The budget* is a [`RetryBudget`](crate::decide::budget::RetryBudget) without a reserve: a share
//!    of the calls that succeeded in the last ten seconds. When all calls are slow at once the target
//!    sees that share more and nothing else.
//! 3. *Only calls that are safe to repeat*, by their method or their idempotency key; an opt-in to
//!    retries is none to two attempts at the same time.
//! 4. *Off unless the breaker is closed*, and off when too little time is left for an attempt as
//!    fast as half of them are.
//!
//! # What to record
//!
//! [`Hedge::learn`] wants the times of *calls*, from the begin of the first attempt to the first
//! answer, hedged or not. A call whose first attempt was given up for its hedge took longer than the
//! delay, and so does its time: the quantile is the same as if nobody hedged, and the delay does not
//! feed on itself. Times of second attempts alone are not recorded.
//!
//! | bound | default | reason |
//! |---|---|---|
//! | share | none | how much more load is borne is policy; 0.02 is where to start |
//! | shortest, longest delay | none | below what answers take, and beyond what callers bear |
//! | quantile | ≥ 0.95 | [`Hedge::LEAST_QUANTILE`] |
//! | [`Hedge::FIRST`] | 100 calls | five of them lie above the quantile |
//!
//! A share of 2 % of fewer than five calls a second is less than one call in the ten seconds that
//! count: such a route is not hedged, and does not need it.

mod rule;

pub use rule::{Hedge, HedgeCall, InvalidHedge, NoHedge};
