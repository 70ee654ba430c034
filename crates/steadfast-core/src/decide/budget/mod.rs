//! Whether a failed call may be tried again, and who pays for it.
//!
//! # The problem
//!
//! A retry repairs a call that failed by chance. It is the wrong answer to a call that failed
//! because the target is overloaded: then every caller retries, the target gets a multiple of the
//! load under which it just broke, and it stays broken after the cause is gone, because the retries
//! alone keep it there. With three retries a call, a target at 70 % load that falters for ten
//! seconds never comes back; scenario S4 of the simulator shows it.
//!
//! # Why the usual answers fail
//!
//! *Backoff and jitter* spread the retries over time and leave their number as it is: a target that
//! gets four attempts for each request gets them a little later. *A maximum of attempts* bounds
//! what one call costs, not what a thousand cost together. *Retries in each layer* multiply: three
//! layers with three attempts each make 27 of one call. And *retrying whatever failed* charges the
//! card twice, when the first attempt arrived and only its answer was lost.
//!
//! # The tool
//!
//! A [`RetryBudget`] makes retries a share of the traffic: with a share of 10 %, a hundred calls
//! that succeeded in the last window pay for ten retries. When few calls fail, all of them are
//! retried; when all fail, what is left is spent and then none is. The target sees at most 1.1
//! times its load instead of four times, and soon no more than its load. It needs no threshold that
//! says what "overloaded" is.
//!
//! A budget bounds what retries add. It does not work off the queue that a target has built up
//! meanwhile; that takes an admission on its side which starts nothing whose caller has gone. The
//! scenario shows both.
//!
//! A [`RetryRule`] decides about one failed attempt and answers with a [`RetryDecision`]: when to
//! try again, or the [`StopReason`]. It goes through the reasons not to, cheapest first, and takes
//! from the budget last, so that a retry which could not be made anyway costs nothing:
//!
//! 1. The failure is [permanent](Failure::Permanent).
//! 2. Somebody outside retries this call already, by its [`AttemptMark`]. Retries belong to one
//!    layer, and the outermost one that has a budget is the one that knows the deadline and the user.
//! 3. All attempts are made.
//! 4. The call may have taken effect and is [not known to be repeatable](Replay).
//! 5. The target asked for more patience than [`RetryRule::with_retry_after_cap`] has.
//! 6. The retry could not end before the deadline.
//! 7. The budget of the route or that of the target is spent.
//!
//! How long to wait is drawn by [`backoff`](crate::decide::backoff) with full jitter and comes in
//! as an argument. A `Retry-After` of the target is obeyed and the drawn wait added to it, because
//! everybody who was rejected in the same second was told the same second to come back in.

mod decision;
mod mark;
mod share;

pub use decision::{
    Failed, Failure, InvalidRetryRule, Replay, RetryCall, RetryDecision, RetryRule, StopReason,
};
pub use mark::AttemptMark;
pub use share::{InvalidBudget, RetryBudget, RetryBudgetUse};
