//! Which child to start, to stop and to give up, and when the whole group must fail.
//!
//! A task that died is easily started again, in a loop of five lines. The loop has no answer to
//! the questions that decide an outage: must the siblings that hold a connection to the dead one
//! go down with it? In which order do they come back? Who notices that it dies each time, all
//! day? What if the one that is stopped for a restart does not stop? Erlang's supervisors have
//! answered these for decades; this module follows their documented behavior and adds what a
//! Rust process needs: backoff with jitter, a bound on every wait, and a task that cannot be
//! killed.
//!
//! [`Supervision`] is the decision alone: no task, no clock, no randomness. A *shell* around it
//! runs the children and reports what happens; the machine answers with [`Command`]s and the next
//! instant at which it wants to be woken.
//!
//! # What is decided
//!
//! A child that ends although nobody stopped it is judged by its [`Restart`]: permanent children
//! are always restarted, transient ones unless they ended normally, temporary ones never. Each
//! restart is counted against the group's [`Intensity`]; the one too many is not carried out,
//! instead all children are stopped and the group ends with
//! [`Outcome::TooManyRestarts`]. Else the [`Strategy`] says who is affected: only this child, this
//! one and all after it, or all. The affected ones that live are stopped one by one, last child
//! first; then all of them are started again, first child first, each after the one before
//! reported ready.
//!
//! | what happens | what follows |
//! |---|---|
//! | a child ends before it was ever ready, in the initial start | those started are stopped, last first; [`Outcome::StartFailed`] |
//! | an added child ends before it is ready | it is removed, the group is untouched |
//! | a child ends before it is ready, in a restart | counts as one more restart of it |
//! | a transient or temporary child ends normally before it is ready | it had nothing to do: the start goes on without it |
//! | a child is not ready in time | it is aborted, then as if it had ended before it was ready |
//! | a child ends while it was being stopped, or was about to be | expected, whatever way it ended: counts nothing |
//! | a temporary child is stopped for a sibling's sake | it is removed, not started again |
//! | a transient child that had ended normally, or one stopped by hand, when the group restarts | it is started with the others |
//! | a sibling fails while a restart of the group is under way | counts as one more; the restart begins anew from the earlier of the two |
//! | a significant child is given up | by [`AutoShutdown`], the group stops itself in good order |
//!
//! Under [`Strategy::OneForOne`] restarts are independent: a child that waits for its backoff or
//! is slow to get ready holds up nobody but itself. The initial start is in order under every
//! strategy.
//!
//! Backoff is counted per child: the failing child is not started before its wait is over, nor
//! are the siblings that go down with it. A child that worked for the backoff's healthy period
//! starts over. Whether intensity can ever be exceeded depends on both: with waits that add up to
//! more than the intensity's window, a child may be restarted for ever, at the longest wait.
//!
//! # Where it differs from OTP
//!
//! - OTP restarts at once; here a backoff stands between failure and restart.
//! - OTP blocks while a child starts or stops, and looks at other deaths afterwards. Here they
//!   act at once, because a child may never get ready when the sibling it waits for is dead.
//! - OTP's kill always works. A task that blocks its thread cannot be stopped: when the abort
//!   limit has passed it is [written off](Command::WriteOff). It might still be alive, so it is
//!   never started a second time; if it would have to be, the group fails with
//!   [`Outcome::Stuck`]. So does, for the same reason, the group around a group that has ended
//!   with such a task in it.
//!
//! # What the shell owes
//!
//! 1. `now` is nanoseconds of one monotonic clock (an earlier one than before is taken as the
//!    latest known), `random` is fresh for each call.
//! 2. After each call it carries out all [commands](Supervision::next_command), in order, and
//!    then sleeps until the next report or [`wake_at`](Supervision::wake_at), where it calls
//!    [`tick`](Supervision::tick). Waking early or late is allowed, early does nothing.
//! 3. Every [`Command::Start`] is answered by exactly one [`ended`](Supervision::ended) with that
//!    [`Instance`], at the moment when nothing of it runs any more, its `Drop` included; also when
//!    it could not even be made (a factory that fails or panics).
//!    When only something inside of it still lives and cannot be ended,
//!    [`stuck`](Supervision::stuck) comes first.
//! 4. [`ready`](Supervision::ready) is reported at most once for each instance. A child that has
//!    no notion of readiness is ready as soon as it is spawned.
//! 5. [`Command::Stop`] asks (a cancelled token), [`Command::Abort`] takes (a dropped future).
//!    Neither is answered but by `ended`.
//! 6. [`Command::Finish`] is the last word. Only instances that were written off may still report
//!    their end.
//!
//! # Examples
//!
//! ```
//! # use steadfast_core as steadfast;
//! use std::time::Duration;
//! use steadfast::decide::restart::*;
//!
//! let intensity = Intensity::new(3, Duration::from_secs(5))?;
//! let mut group = Supervision::new(Rules::new(Strategy::OneForOne, intensity));
//! let child = group.add(ChildSpec::new(Restart::Permanent), 0)?;
//!
//! group.start(0)?;
//! let Some(Command::Start(first)) = group.next_command() else { panic!() };
//! group.ready(first, 10);
//! assert_eq!(group.next_command(), Some(Command::Ready));
//!
//! // The child panics: it is started again when its wait is over.
//! let verdict = group.ended(first, End::Panicked, 20, 0x8000_0000_0000_0000);
//! let Verdict::Restart { at } = verdict else { panic!() };
//! assert_eq!(group.wake_at(), Some(at));
//! group.tick(at);
//! let Some(Command::Start(second)) = group.next_command() else { panic!() };
//! assert_eq!((second.child, second.run), (child, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod child;
mod flow;
mod rejected;
mod rules;
mod supervision;

#[cfg(test)]
mod tests;

pub use child::{ChildId, ChildState, ChildView, End, Instance};
pub use rejected::Rejected;
pub use rules::{
    AutoShutdown, ChildSpec, Intensity, InvalidRules, Restart, Rules, StopLimit, Strategy,
};
pub use supervision::{Command, Outcome, Status, Supervision, Verdict};
