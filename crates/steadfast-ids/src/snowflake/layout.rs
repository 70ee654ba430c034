//! Which bits of an id say what, and until when they last.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use steadfast_core::Timestamp;

use super::super::id::Id;

/// Says which bits of an id are time, worker, sequence and gene: in this order, the time highest, so that
/// ids order by time.
///
/// | | bits | ends | workers | ids a second and worker |
/// |---|---|---|---|---|
/// | [`Layout::DEFAULT`] | 41 + 10 + 12 = 63, of 1 ms | 2095 | 1,024 | 4,096,000 |
/// | [`Layout::JAVASCRIPT`] | 41 + 5 + 7 = 53, of 1 ms | 2095 | 32 | 128,000 |
/// | [`Layout::MANY_WORKERS`] | 39 + 16 + 8 = 63, of 10 ms | 2200 | 65,536 | 25,600 |
///
/// All ids that are compared with each other need the same layout and epoch: two layouts give the same
/// number for different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    bits: u8,
    time_bits: u8,
    worker_bits: u8,
    sequence_bits: u8,
    gene_bits: u8,
    tick_ms: u32,
    epoch_unix_ms: i64,
}

/// The parts of a [`Layout`] of one's own.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steadfast_ids::snowflake::{Layout, LayoutConfig};
///
/// // The last 4 bits of a user's id also are the last 4 of the ids of that user's orders, so that
/// // `id % 16` finds the shard of both.
/// let orders = Layout::new(LayoutConfig {
///     sequence_bits: 8,
///     gene_bits: 4,
///     ..LayoutConfig::default()
/// })?;
/// assert_eq!(orders.ids_per_second(), 256_000);
///
/// let wrong = Layout::new(LayoutConfig { gene_bits: 4, ..LayoutConfig::default() });
/// assert_eq!(
///     wrong.unwrap_err().to_string(),
///     "the bits do not add up: time 41 + worker 10 + sequence 12 + gene 4 = 67, and an id has 63",
/// );
/// # Ok::<(), steadfast_ids::snowflake::InvalidLayout>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutConfig {
    /// All bits of an id: 63 for positive numbers of 64 bits, 53 for what JavaScript can count. What the
    /// parts must add up to.
    pub bits: u8,
    /// Bits of the time since the epoch, in ticks. At least 20.
    pub time_bits: u8,
    /// Bits of the worker id.
    pub worker_bits: u8,
    /// Bits of the sequence within a tick. At least 1, at most 22.
    pub sequence_bits: u8,
    /// Lowest bits, taken from somebody else's id. At most 16.
    pub gene_bits: u8,
    /// How long one step of the time is: whole milliseconds up to a second.
    pub tick: Duration,
    /// When the time starts.
    pub epoch: Timestamp,
}

/// Refuses a [`LayoutConfig`]; the message names the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidLayout(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "the bits do not add up: time {time} + worker {worker} + sequence {sequence} + gene {gene} = {sum}, \
         and an id has {bits}"
    )]
    Sum {
        time: u8,
        worker: u8,
        sequence: u8,
        gene: u8,
        sum: u32,
        bits: u8,
    },
    #[error("{what} is {given}, it must be from {least} to {most}")]
    OutOfRange {
        what: &'static str,
        given: i128,
        least: i128,
        most: i128,
    },
    #[error("the tick {0:?} is not whole milliseconds")]
    Tick(Duration),
    #[error("a layout is written as `41+10+12+0=63 1ms 1767225600000`")]
    Text,
}

/// What an id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// When it was made, to the tick; ahead of it by the lead of its generator at most.
    pub time: Timestamp,
    /// Who made it.
    pub worker: u64,
    /// Which of its tick it is.
    pub sequence: u64,
    /// The lowest bits, of somebody else's id.
    pub gene: u64,
}

/// Refuses a number that is too large for the layout it is read by: it is an id of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} has more than {bits} bits, so it was not made with this layout")]
pub struct NotOfLayout {
    /// The number.
    pub id: Id,
    /// The bits of the layout.
    pub bits: u8,
}

// === impl Layout ===

impl Layout {
    /// 2026-01-01T00:00:00Z, where the time starts unless told otherwise: as late as possible, since what lies
    /// before it is lost from the end.
    pub const EPOCH_UNIX_MS: i64 = 1_767_225_600_000;

    /// 41 bits of milliseconds, 10 of worker, 12 of sequence. Ends in September 2095.
    pub const DEFAULT: Self = Self::preset(63, 41, 10, 12, 1);

    /// 53 bits, every one of which a number of JavaScript has: 41 of milliseconds, 5 of worker, 7 of sequence.
    pub const JAVASCRIPT: Self = Self::preset(53, 41, 5, 7, 1);

    /// A worker id for each of 65,536 processes, at 25,600 ids a second: 39 bits of 10 ms, 16 of worker, 8 of
    /// sequence.
    pub const MANY_WORKERS: Self = Self::preset(63, 39, 16, 8, 10);

    const fn preset(bits: u8, time: u8, worker: u8, sequence: u8, tick_ms: u32) -> Self {
        assert!(time + worker + sequence == bits, "the bits add up");
        Self {
            bits,
            time_bits: time,
            worker_bits: worker,
            sequence_bits: sequence,
            gene_bits: 0,
            tick_ms,
            epoch_unix_ms: Self::EPOCH_UNIX_MS,
        }
    }

    /// Makes a layout.
    ///
    /// # Errors
    /// [`InvalidLayout`] if the bits do not add up or a part is out of range.
    pub fn new(config: LayoutConfig) -> Result<Self, InvalidLayout> {
        let LayoutConfig {
            bits,
            time_bits: time,
            worker_bits: worker,
            sequence_bits: sequence,
            gene_bits: gene,
            ..
        } = config;
        let tick_ms = config.tick.as_millis();
        let epoch_unix_ms = config.epoch.unix_millis();
        within("the number of bits", bits, 32, 63)?;
        within("the number of bits of time", time, 20, 62)?;
        within("the number of bits of sequence", sequence, 1, 22)?;
        within("the number of bits of gene", gene, 0, 16)?;
        let parts = [time, worker, sequence, gene];
        let sum = parts.into_iter().map(u32::from).sum();
        if sum != u32::from(bits) {
            return Err(Refusal::Sum {
                time,
                worker,
                sequence,
                gene,
                sum,
                bits,
            }
            .into());
        }
        if !config.tick.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(Refusal::Tick(config.tick).into());
        }
        within("the tick in milliseconds", tick_ms as i128, 1, 1_000)?;
        // From 1970 to 2100: outside of it a unit was mixed up.
        within(
            "the epoch in milliseconds since 1970",
            epoch_unix_ms,
            0,
            4_102_444_800_000,
        )?;
        Ok(Self {
            bits,
            time_bits: time,
            worker_bits: worker,
            sequence_bits: sequence,
            gene_bits: gene,
            tick_ms: tick_ms as u32,
            epoch_unix_ms,
        })
    }

    /// Gives the number of bits of an id.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Gives when the time starts.
    #[must_use]
    pub fn epoch(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.epoch_unix_ms)
    }

    /// Gives the length of a tick.
    #[must_use]
    pub fn tick(&self) -> Duration {
        Duration::from_millis(u64::from(self.tick_ms))
    }

    /// Gives the greatest worker id.
    #[must_use]
    pub fn worker_max(&self) -> u64 {
        mask(self.worker_bits)
    }

    /// Gives how many ids one worker can make in a second.
    #[must_use]
    pub fn ids_per_second(&self) -> u64 {
        (1_000 << self.sequence_bits) / u64::from(self.tick_ms)
    }

    /// Gives the instant from which on there are no more ids.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.unix_ms(self.tick_max() + 1))
    }

    /// Gives the whole days that are left until [`end`](Self::end), zero after it.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> u64 {
        const DAY_MS: i64 = 86_400_000;
        let left = self.end().unix_millis().saturating_sub(now.unix_millis());
        (left.max(0) / DAY_MS) as u64
    }

    /// Tells whether no id of this layout can be one of `before`, if those of `before` say a time before `end`
    /// and those of this one are made from `start` on.
    ///
    /// The time stands highest in an id, so that is so if the first of this one is greater than all of the
    /// other. A later epoch, or fewer bits behind the time, makes smaller numbers, and is refused until the
    /// time has made up for it.
    ///
    /// # Examples
    /// ```
    /// use steadfast_core::Timestamp;
    /// use steadfast_ids::snowflake::{Layout, LayoutConfig};
    ///
    /// let now = Timestamp::from_unix_millis(1_800_000_000_000);
    /// let wider = Layout::new(LayoutConfig { time_bits: 40, worker_bits: 11, ..LayoutConfig::default() })?;
    /// assert!(wider.is_disjoint_after(&Layout::DEFAULT, now, now));
    /// assert!(!Layout::DEFAULT.is_disjoint_after(&wider, now, now));
    /// # Ok::<(), steadfast_ids::snowflake::InvalidLayout>(())
    /// ```
    #[must_use]
    pub fn is_disjoint_after(&self, before: &Self, end: Timestamp, start: Timestamp) -> bool {
        let ticks = |layout: &Self, unix_ms: i64| {
            let since = unix_ms
                .saturating_sub(layout.epoch_unix_ms)
                .max(0)
                .unsigned_abs();
            (since, u64::from(layout.tick_ms))
        };
        let shift = |layout: &Self| layout.worker_bits + layout.sequence_bits + layout.gene_bits;
        let (since, tick) = ticks(before, end.unix_millis());
        let over = u128::from(since.div_ceil(tick)) << shift(before);
        let (since, tick) = ticks(self, start.unix_millis());
        let first = u128::from(since / tick) << shift(self);
        first >= over && start.unix_millis() >= self.epoch_unix_ms
    }

    /// Gives the parts.
    #[must_use]
    pub fn config(&self) -> LayoutConfig {
        LayoutConfig {
            bits: self.bits,
            time_bits: self.time_bits,
            worker_bits: self.worker_bits,
            sequence_bits: self.sequence_bits,
            gene_bits: self.gene_bits,
            tick: Duration::from_millis(u64::from(self.tick_ms)),
            epoch: self.epoch(),
        }
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`NotOfLayout`] if the number is too large. One of another layout that is small enough is read as well,
    /// and says something that is not true.
    ///
    /// # Examples
    /// ```
    /// use steadfast_ids::{Id, Layout};
    ///
    /// let parts = Layout::DEFAULT.decode(Id::new(121_413_632_000_073_735))?;
    ///
    /// assert_eq!((parts.worker, parts.sequence), (18, 7));
    /// # Ok::<(), steadfast_ids::snowflake::NotOfLayout>(())
    /// ```
    pub fn decode(&self, id: Id) -> Result<Parts, NotOfLayout> {
        let mut rest = id.get();
        if rest > mask(self.bits) {
            let bits = self.bits;
            return Err(NotOfLayout { id, bits });
        }
        let mut take = |bits: u8| {
            let part = rest & mask(bits);
            rest >>= bits;
            part
        };
        let gene = take(self.gene_bits);
        let sequence = take(self.sequence_bits);
        let worker = take(self.worker_bits);
        Ok(Parts {
            time: Timestamp::from_unix_millis(self.unix_ms(rest)),
            worker,
            sequence,
            gene,
        })
    }

    /// Puts an id together from a place in time, which is tick and sequence in one number.
    pub(super) fn compose(&self, place: u64, worker: u64, gene: u64) -> Id {
        let (tick, sequence) = (
            place >> self.sequence_bits,
            place & mask(self.sequence_bits),
        );
        let id = (((tick << self.worker_bits) | worker) << self.sequence_bits) | sequence;
        Id::new((id << self.gene_bits) | (gene & mask(self.gene_bits)))
    }

    /// The first place at or after a time; ids before it are before that time.
    pub(super) fn limit(&self, until_ns: u64) -> u64 {
        (until_ns / self.tick_ns()).min(self.tick_max() + 1) << self.sequence_bits
    }

    /// Gives the nanoseconds since the epoch of a time in milliseconds since 1970.
    #[cfg(feature = "sql")]
    pub(crate) fn since_epoch_ns(&self, unix_ms: i64) -> u64 {
        let since = unix_ms.saturating_sub(self.epoch_unix_ms).max(0);
        since.unsigned_abs().saturating_mul(1_000_000)
    }

    /// Gives the milliseconds since 1970 of a time since the epoch, rounded up: what is before the one is
    /// before the other.
    #[cfg(feature = "sql")]
    pub(crate) fn unix_ms_after(&self, since_epoch_ns: u64) -> i64 {
        let since = i64::try_from(since_epoch_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX);
        self.epoch_unix_ms.saturating_add(since)
    }

    pub(super) fn sequence_bits(&self) -> u8 {
        self.sequence_bits
    }

    #[cfg(all(test, not(steadfast_loom)))]
    pub(super) fn gene_bits(&self) -> u8 {
        self.gene_bits
    }

    pub(super) fn tick_ns(&self) -> u64 {
        u64::from(self.tick_ms) * 1_000_000
    }

    /// The last tick: of the bits, or of what 64 bits of nanoseconds can count, which is 292 years.
    pub(super) fn tick_max(&self) -> u64 {
        mask(self.time_bits).min(i64::MAX as u64 / self.tick_ns() - 1)
    }

    fn unix_ms(&self, tick: u64) -> i64 {
        let since = tick.saturating_mul(u64::from(self.tick_ms));
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        self.epoch_unix_ms.saturating_add(since)
    }
}

/// The form that stores keep, and [`FromStr`] reads: bits of time, worker, sequence and gene of how many,
/// tick and epoch in milliseconds.
///
/// # Examples
/// ```
/// use steadfast_ids::Layout;
///
/// assert_eq!(Layout::DEFAULT.to_string(), "41+10+12+0=63 1ms 1767225600000");
/// assert_eq!("41+10+12+0=63 1ms 1767225600000".parse(), Ok(Layout::DEFAULT));
/// assert!("41+10+12+4=63 1ms 1767225600000".parse::<Layout>().is_err());
/// ```
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}+{}+{}+{}={} {}ms {}",
            self.time_bits,
            self.worker_bits,
            self.sequence_bits,
            self.gene_bits,
            self.bits,
            self.tick_ms,
            self.epoch_unix_ms
        )
    }
}

impl FromStr for Layout {
    type Err = InvalidLayout;

    fn from_str(text: &str) -> Result<Self, InvalidLayout> {
        let config = read(text).ok_or(Refusal::Text)?;
        Self::new(config)
    }
}

fn read(text: &str) -> Option<LayoutConfig> {
    let mut words = text.split(' ');
    let (parts, bits) = words.next()?.split_once('=')?;
    let mut parts = parts.split('+').map(|part| part.parse().ok());
    let tick_ms = words.next()?.strip_suffix("ms")?.parse().ok()?;
    let epoch = Timestamp::from_unix_millis(words.next()?.parse().ok()?);
    let config = LayoutConfig {
        bits: bits.parse().ok()?,
        time_bits: parts.next()??,
        worker_bits: parts.next()??,
        sequence_bits: parts.next()??,
        gene_bits: parts.next()??,
        tick: Duration::from_millis(tick_ms),
        epoch,
    };
    (parts.next().is_none() && words.next().is_none()).then_some(config)
}

impl Default for Layout {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Default for LayoutConfig {
    /// The parts of [`Layout::DEFAULT`].
    fn default() -> Self {
        Self {
            bits: 63,
            time_bits: 41,
            worker_bits: 10,
            sequence_bits: 12,
            gene_bits: 0,
            tick: Duration::from_millis(1),
            epoch: Timestamp::from_unix_millis(Layout::EPOCH_UNIX_MS),
        }
    }
}

fn within(
    what: &'static str,
    given: impl Into<i128>,
    least: i128,
    most: i128,
) -> Result<(), InvalidLayout> {
    let given = given.into();
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(Refusal::OutOfRange {
        what,
        given,
        least,
        most,
    }
    .into())
}

fn mask(bits: u8) -> u64 {
    (1 << bits) - 1
}
