//! The rule that learns, once a second.

use std::time::Duration;

use super::call::{TimeoutPlan, tally};
use super::config::TimeoutConfig;
use crate::decide::sketch::{Histogram, Memory};

/// Learns how long to wait for an answer.
///
/// Calls take the [`TimeoutPlan`] that is in force and record how they ended in a sketch; once a
/// second somebody shows the second that ended to [`learn`](Self::learn), and the plan changes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::sketch::{Histogram, Sketch};
/// use steadfast_core::decide::timeout::{self, AdaptiveTimeout, Ended, TimeoutConfig};
///
/// const SECOND: u64 = 1_000_000_000;
/// let config = TimeoutConfig::new(Duration::from_millis(50), Duration::from_secs(30))?;
/// let mut learned = AdaptiveTimeout::new(config);
/// let sketch = Sketch::new(Duration::from_secs(1), 2)?;
///
/// for call in 0..200 {
///     let given = learned.plan().for_call(call, None);
///     timeout::count_call(&sketch, 0);
///     timeout::record(&sketch, given, Ended::Answered(Duration::from_millis(40)), 0);
/// }
/// let mut ended = Histogram::new();
/// sketch.read_ended(SECOND, &mut ended);
/// learned.learn(&ended, None);
///
/// let learned = learned.plan().usual();
/// assert!(learned >= Duration::from_millis(80) && learned < Duration::from_millis(83));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AdaptiveTimeout {
    config: TimeoutConfig,
    memory: Memory,
    /// What ended since the last judgement, where a second alone is too little.
    pending: Histogram,
    /// Scouts of the last judgements: answered, and not; older ones counted in part.
    scouts: (f64, f64),
    /// The usual timeout of the second before, whose calls end in this one.
    before_ns: u64,
    /// For how many more judgements what a stall has left behind may come.
    resuming: u32,
    /// Where the bounded steps have come to; `None` until there is something to step from.
    learned_ns: Option<u64>,
    /// Calls a second, over some seconds.
    rate: f64,
    plan: TimeoutPlan,
}

/// Tells what a second taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Times were learned.
    Learned,
    /// Too few calls have ended; they are judged together with those of the next seconds.
    TooFew,
    /// Next to nothing was answered, or what was belongs to a stall that is just over: nothing was
    /// learned.
    Stalled,
    /// Some calls hang: only the times of the others were learned.
    Hanging,
    /// Many calls were not answered in time, but most of the scouts later: the timeout doubled.
    Late,
}

/// Fewer calls than this are not judged: of twenty, one is the 5 % that make the difference.
const JUDGED_TOGETHER: u64 = 20;

/// A second is a stall if fewer than one in this many of its calls was answered.
const STALLED_BELOW: u64 = 20;

/// If fewer than one in this many of the calls that took more than half of the timeout is answered
/// in time, the others hang: whoever comes late has company that comes just in time.
const HANGING_BELOW: u64 = 5;

/// When a stall is over, all that it held is answered at once, after anything up to the timeout, or
/// cut. For as many judgements as this, a stall goes on where more than one call in
/// [`LEFT_BEHIND`] took more than half of the timeout. A target that is slow from then on is
/// believed after them.
const RESUMING: u32 = 3;

/// Healthy are one or two in a hundred.
const LEFT_BEHIND: u64 = 10;

/// Scouts it takes to be sure that answers come late: of fewer, chance is the majority.
const SCOUTS: f64 = 3.0;

/// The part of what scouts have shown that outlasts a judgement. So the scouts of a stall, which
/// come back all at once when it is over, meet those that did not.
const SCOUTS_KEEP: f64 = 0.75;

/// Values it takes to begin: one lies at the 99th percentile.
const FIRST: f64 = 100.0;

/// The greatest step upward.
const STEP_UP: f64 = 2.0;

/// The greatest step downward.
const STEP_DOWN: f64 = 0.9;

/// What a second changes of the smoothed rate.
const RATE_GAIN: f64 = 0.1;

// === impl AdaptiveTimeout ===

impl AdaptiveTimeout {
    /// Starts at the ceiling, and takes what the first hundred calls say as it is.
    ///
    /// The ceiling cuts nobody who would have been answered; from the first second on the permits
    /// bound it.
    #[must_use]
    pub fn new(config: TimeoutConfig) -> Self {
        Self {
            config,
            memory: Memory::new(),
            pending: Histogram::new(),
            scouts: (0.0, 0.0),
            before_ns: config.ceiling_ns,
            resuming: 0,
            learned_ns: None,
            rate: 0.0,
            plan: TimeoutPlan {
                usual_ns: config.ceiling_ns,
                scout_ns: config.ceiling_ns,
            },
        }
    }

    /// Starts at a timeout that is known from before, such as one from a metrics store.
    ///
    /// It is taken as the nearest within the bounds, and changes by bounded steps from the start.
    #[must_use]
    pub fn starting_at(config: TimeoutConfig, start: Duration) -> Self {
        let mut learned = Self::new(config);
        learned.start_at(start);
        learned
    }

    /// Goes on from a timeout that is known from elsewhere, as the nearest within the bounds; what
    /// the calls so far have taught stays known.
    pub fn start_at(&mut self, start: Duration) {
        let start_ns = u64::try_from(start.as_nanos()).unwrap_or(u64::MAX);
        let (floor, ceiling) = (self.config.floor_ns, self.config.ceiling_ns);
        self.learned_ns = Some(start_ns.clamp(floor, ceiling));
        self.plan = self.planned(None);
    }

    /// Learns from one second that ended, with the number of permits that these calls share with
    /// others, or `None` where nothing is shared.
    ///
    /// Show each second once, in order. One in which nothing began or ended may be left out.
    pub fn learn(&mut self, second: &Histogram, permits: Option<u32>) -> Lesson {
        let begun = second.tally(tally::BEGUN) as f64;
        self.rate += (begun - self.rate) * RATE_GAIN;
        self.pending.merge(second);
        let lesson = self.judge();
        self.before_ns = self.plan.usual_ns;
        // Who comes more often than before holds more permits from now on, not in ten seconds.
        self.plan = self.planned(permits.map(|permits| (permits, self.rate.max(begun))));
        lesson
    }

    /// Returns the timeout in force.
    #[must_use]
    pub fn plan(&self) -> TimeoutPlan {
        self.plan
    }

    /// Returns the quantile that the timeout follows, in nanoseconds, or `None` if not enough is
    /// known.
    ///
    /// A floor below it on a healthy day is too low.
    #[must_use]
    pub fn quantile_ns(&self) -> Option<u64> {
        (self.memory.mass() >= FIRST)
            .then(|| self.memory.quantile(self.config.quantile))
            .flatten()
    }

    fn judge(&mut self) -> Lesson {
        let ended = self.pending.count();
        if ended < JUDGED_TOGETHER {
            return Lesson::TooFew;
        }
        let cut = self.pending.tally(tally::CUT);
        let just_in_time = self.pending.tally(tally::JUST_IN_TIME);
        let answered = ended.saturating_sub(cut);
        let stalled = answered * STALLED_BELOW < ended;
        let hanging = just_in_time * HANGING_BELOW < just_in_time + cut;
        let late = self.come_late(cut);
        let left_behind = (just_in_time + cut) * LEFT_BEHIND > ended;
        let lesson = if (stalled || hanging) && late {
            self.scouts = (0.0, 0.0);
            self.step_to(f64::INFINITY);
            Lesson::Late
        } else if stalled {
            self.resuming = RESUMING;
            Lesson::Stalled
        } else if hanging {
            if cut * LEFT_BEHIND > ended {
                self.resuming = RESUMING;
            }
            // What was cut counts as twice the timeout of its time.
            let cut_ns = self.before_ns.min(self.plan.usual_ns).saturating_mul(2);
            self.memory.learn_below(&self.pending, cut_ns);
            self.follow();
            Lesson::Hanging
        } else if self.resuming > 0 && left_behind {
            self.resuming -= 1;
            Lesson::Stalled
        } else {
            self.memory.learn(&self.pending);
            self.follow();
            Lesson::Learned
        };
        if matches!(lesson, Lesson::Learned | Lesson::Late) {
            self.resuming = 0;
        }
        self.pending.clear();
        lesson
    }

    /// Notes what the scouts have shown, and says whether the calls that were cut would have been
    /// answered.
    fn come_late(&mut self, cut: u64) -> bool {
        let [begun, answered, hung] = [tally::BEGUN, tally::SCOUT_ANSWERED, tally::SCOUT_CUT]
            .map(|tally| self.pending.tally(tally));
        // More than have begun are those of a stall that is over. They all come back at once.
        let answered = answered.min(begun / TimeoutPlan::SCOUT_EVERY + 1);
        let add = |known: f64, new: u64| known * SCOUTS_KEEP + new as f64;
        self.scouts = (add(self.scouts.0, answered), add(self.scouts.1, hung));
        let (answered, hung) = self.scouts;
        answered + hung >= SCOUTS && answered > hung && cut > 0
    }

    /// Goes towards what was learned, if that is enough.
    fn follow(&mut self) {
        if let Some(quantile_ns) = self.quantile_ns() {
            self.step_to(quantile_ns as f64 * self.config.factor);
        }
    }

    /// Goes towards a target, as far as a step goes.
    fn step_to(&mut self, target_ns: f64) {
        let (floor, ceiling) = (self.config.floor_ns, self.config.ceiling_ns);
        let bounded = match self.learned_ns {
            Some(from) => target_ns.clamp(from as f64 * STEP_DOWN, from as f64 * STEP_UP),
            None if target_ns.is_finite() => target_ns,
            // Nothing is known but that the ceiling is too short.
            None => return,
        };
        self.learned_ns = Some((bounded as u64).clamp(floor, ceiling));
    }

    /// Bounds what was learned by what the permits allow at a rate.
    fn planned(&self, demand: Option<(u32, f64)>) -> TimeoutPlan {
        let TimeoutConfig {
            floor_ns,
            ceiling_ns,
            permit_share,
            ..
        } = self.config;
        let cap_ns = match demand {
            // Conversion saturates: no call, no cap.
            Some((permits, rate)) => (permit_share * f64::from(permits) / rate * 1e9) as u64,
            None => u64::MAX,
        };
        let usual_ns = self
            .learned_ns
            .unwrap_or(ceiling_ns)
            .min(cap_ns)
            .max(floor_ns);
        // All calls and scouts together hold no more than usual ones may hold at the cap.
        let every = TimeoutPlan::SCOUT_EVERY;
        let room_ns = cap_ns
            .saturating_mul(every)
            .saturating_sub(usual_ns.saturating_mul(every - 1));
        let scout_ns = usual_ns
            .saturating_mul(TimeoutPlan::SCOUT_FACTOR)
            .min(ceiling_ns)
            .min(room_ns)
            .max(usual_ns);
        TimeoutPlan { usual_ns, scout_ns }
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests;
