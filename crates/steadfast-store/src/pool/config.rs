use std::time::Duration;

use steadfast_core::context::{Name, Tier};

use crate::{Error, config};

/// What a pool is made of.
///
/// # Examples
/// ```
/// use steadfast_store::pool::PoolConfig;
///
/// let mut config = PoolConfig::new("orders");
/// // The last two are for what the service exists for.
/// config.reserve[0] = 2;
/// assert_eq!((config.size, config.size_max), (10, 100));
/// ```
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Names the pool in errors, reports and log lines.
    pub name: Name,
    /// How many connections there may be at once: 1 to `size_max`, 10 by default. `advice` of the pool says how many
    /// are enough.
    pub size: usize,
    /// How many there may ever be after a resize: up to [`PoolConfig::SIZE_LIMIT`], 100 by default, as many as
    /// PostgreSQL has connections by default.
    pub size_max: usize,
    /// How long a connection is waited for: 5 s by default. A caller that waited for longer has usually been given up
    /// by its own caller.
    pub acquire_timeout: Duration,
    /// How long it may take to connect: 5 s by default, which covers two lost packets of the handshake.
    pub connect_timeout: Duration,
    /// After how long a holder is told in the log, once: 30 s by default, three times what a statement of the store may
    /// take. Nothing is taken away from it.
    pub leak_after: Duration,
    /// How many of the last connections are kept for each tier and those above it: none by default. Together less than
    /// `size`.
    pub reserve: [usize; Tier::COUNT],
}

impl PoolConfig {
    /// The most connections of one pool: 1,000.
    pub const SIZE_LIMIT: usize = 1_000;

    /// The longest of the times here: an hour.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

    /// Describes a pool with defaults.
    pub fn new(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            size: 10,
            size_max: 100,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            leak_after: Duration::from_secs(30),
            reserve: [0; Tier::COUNT],
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=Self::SIZE_LIMIT).contains(&self.size_max) {
            return Err(config::config("size_max", "must be from 1 to 1000"));
        }
        check_size(self.size, self.size_max, &self.reserve)?;
        for (what, value) in [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("leak_after", self.leak_after),
        ] {
            if value < Duration::from_millis(1) || value > Self::TIMEOUT_MAX {
                return Err(config::config(what, "must be from 1 ms to 1 h"));
            }
        }
        Ok(())
    }
}

/// Makes sure that somebody can have a connection.
pub(super) fn check_size(
    size: usize,
    size_max: usize,
    reserve: &[usize; Tier::COUNT],
) -> Result<(), Error> {
    if !(1..=size_max).contains(&size) {
        let problem = format!("is {size}, but must be from 1 to {size_max}");
        return Err(config::config("size", problem));
    }
    let kept = reserve
        .iter()
        .fold(0_usize, |sum, kept| sum.saturating_add(*kept));
    if kept >= size {
        let problem = format!("keeps {kept} of {size} connections, so that nobody else has any");
        return Err(config::config("reserve", problem));
    }
    Ok(())
}
