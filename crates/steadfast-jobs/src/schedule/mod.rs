//! Schedules: rules that say when jobs are made.
//!
//! A timer in a process is not a schedule. Two replicas run it twice, a dead one not at all; a weekly timer
//! never fires in a service that is deployed daily; and a loop that waits for its next tick stops for ever
//! once that tick lies behind it. So here a schedule is a row in the store, its next due time is stored, and
//! what is due is decided from that row and the database's clock alone ([`Plan::decide`]).
//!
//! # Cron expressions
//! `minute hour day month weekday`, with seconds in front if they matter, as in a crontab:
//!
//! | field | values | names |
//! |---|---|---|
//! | second, minute | 0 to 59 | |
//! | hour | 0 to 23 | |
//! | day | 1 to 31, `L` for the last of the month | |
//! | month | 1 to 12 | `jan` to `dec` |
//! | weekday | 0 to 7, Sunday is 0 and 7; `fri#2` is the second Friday of the month, `friL` the last | `sun` to `sat` |
//!
//! Each is `*`, a value, a range `a-b`, a step `*/n` or `a-b/n`, or a list of these with commas. If both day and
//! weekday are restricted, a date matches when *either* does; if one of them begins with `*`, when *both* do.
//! That is how cron has always read them. What cannot be read is refused with its place and what to write
//! instead, and so is a rule that is never due, such as the 30th of February.
//!
//! # When the clocks are changed
//! The rules of cron, to the second, in every zone:
//!
//! - **Fixed times** (`30 2 * * *`: neither second, minute nor hour begins with `*`) run once on each of their
//!   days. If the clocks skip that time, at the first instant after the gap; if they repeat it, the first time.
//!   Several times in one gap become one run.
//! - **Wildcards** (`*/15 * * * *`) run whenever the clocks show a matching time: not in a skipped hour, and in both
//!   passes of a repeated one.
//!
//! A fixed rate (`every 6h`) and universal time know no such changes.
//!
//! # Missed, overlapping, put off
//! [`Missed`] says what happens after an outage, [`Overlap`] what happens while a run is not over. A jitter puts
//! starts off by a time that depends on schedule and occurrence alone, a start deadline gives up on what could
//! not start in time. Whatever is left out is recorded with its reason.
//!
//! # How long a run may take
//! Unless its kind says otherwise, a run is given three periods, a minute at least and 15 minutes at most: what runs
//! every minute and hangs for a quarter of an hour has missed fifteen occurrences. A job that has not ended three
//! periods after its start is [late](Schedules::late), and every worker says so. Both are told when a schedule is
//! registered ([`Plan::lengths`], [`View::lengths`]).
//!
//! # Without a leader
//! A [`Schedule`] is registered by name with [`Schedules`]. Every worker looks about once a second at what is due,
//! takes the row, decides, makes the jobs and moves the row on, in one transaction. The row moves on only from the
//! revision that was read, and a primary key lets a schedule and a nominal time have one job: so it does not
//! matter who looks, how many, or where one of them dies. What nobody has looked at for a minute is
//! [overdue](Schedules::overdue), and every worker says so.

mod backfill;
mod cron;
mod describe;
mod due;
mod error;
mod look;
mod occur;
mod parse;
mod plan;
mod rule;
mod schedules;
mod stored;
mod zone;

pub use backfill::{BACKFILL_MAX, Backfilled, Missing};
pub use cron::Cron;
pub use due::{COUNTED_MAX, Decision, Due, FIRED_MAX, ON_TIME, SkipReason, Skipped, Standing};
pub use error::{InvalidPlan, InvalidRule, UnknownZone};
pub use look::{KEPT, Late, OVERDUE_AFTER, OccurrenceOf, Outcome, PAGE_MAX, Past, View};
pub use occur::Occurred;
pub use plan::{Change, Lengths, Missed, Overlap, Plan, PlanBuilder, Upcoming};
pub use rule::Rule;
pub use schedules::{RanNow, Registered, Schedules};
pub use stored::Schedule;
pub use zone::Zone;
