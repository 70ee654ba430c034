//! Why there is no connection.

use std::fmt;
use std::time::Duration;

use super::Holder;

/// Says why there is no connection. Whoever gets it has none, and nothing was done.
pub struct AcquireError(pub(crate) Box<Why>);

#[derive(Debug)]
pub(crate) enum Why {
    Exhausted(Exhausted),
    Refused { place: String, source: sqlx::Error },
    HandshakeSlow { place: String, waited: Duration },
    Silent { place: String, waited: Duration },
    Closed,
}

/// All connections are taken.
#[derive(Debug)]
pub(crate) struct Exhausted {
    pub(crate) waited: Duration,
    pub(crate) size: usize,
    /// How many others still waited.
    pub(crate) waiters: usize,
    /// How many the task that waited had itself.
    pub(crate) own: usize,
    /// The longest first.
    pub(crate) holders: Vec<Holder>,
}

/// How many holders a message names: 8, the longest ones.
pub(crate) const HOLDERS_TOLD: usize = 8;

impl AcquireError {
    /// Tells whether others have all connections; [`holders`](Self::holders) says who. Later there may be one.
    pub fn is_exhausted(&self) -> bool {
        matches!(*self.0, Why::Exhausted(_))
    }

    /// Tells whether the task that waited has connections of this pool itself, so that it may have waited for itself.
    /// Waiting longer does not help: give the one back first, or pass it on.
    pub fn is_nested(&self) -> bool {
        matches!(&*self.0, Why::Exhausted(exhausted) if exhausted.own > 0)
    }

    /// Tells whether the server, or its host, said no: nobody listens, it starts or ends, it has no connection left,
    /// user or database are wrong. The source has its words.
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Why::Refused { .. })
    }

    /// Tells whether somebody took the connection and did not go on: a server that is overloaded or stopped, or
    /// something else on its port.
    pub fn is_handshake_slow(&self) -> bool {
        matches!(*self.0, Why::HandshakeSlow { .. })
    }

    /// Tells whether nobody answered at all: packets are dropped on the way, or the host is gone.
    pub fn is_silent(&self) -> bool {
        matches!(*self.0, Why::Silent { .. })
    }

    /// Tells whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Why::Closed)
    }

    /// Tells whether trying again later may help, without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        !self.is_closed() && !self.is_nested()
    }

    /// Gives who had the connections, the longest first.
    pub fn holders(&self) -> &[Holder] {
        match &*self.0 {
            Why::Exhausted(exhausted) => &exhausted.holders,
            _ => &[],
        }
    }
}

impl From<Why> for AcquireError {
    fn from(why: Why) -> Self {
        Self(Box::new(why))
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Why::Exhausted(exhausted) => exhausted.fmt(f),
            Why::Refused { place, .. } => write!(f, "the server at {place} refuses"),
            Why::HandshakeSlow { place, waited } => write!(
                f,
                "somebody at {place} took the connection, and did not go on within {waited:.1?}"
            ),
            Why::Silent { place, waited } => {
                write!(f, "nobody at {place} answered within {waited:.1?}")
            }
            Why::Closed => f.write_str("the pool is closed"),
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "waited {:.1?} for one of {} connections",
            self.waited, self.size
        )?;
        if self.own > 0 {
            write!(
                f,
                ", of which the task that waited holds {} itself",
                self.own
            )?;
        }
        if self.waiters > 0 {
            write!(f, ", with {} more in line", self.waiters)?;
        }
        for (at, holder) in self.holders.iter().take(HOLDERS_TOLD).enumerate() {
            write!(f, "{}{holder}", if at == 0 { "; held by " } else { ", " })?;
        }
        match self.holders.len().saturating_sub(HOLDERS_TOLD) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Debug for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for AcquireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Why::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}
