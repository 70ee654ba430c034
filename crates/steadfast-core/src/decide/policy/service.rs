//! What holds for a whole service: whom it believes, and how it ends.

use std::fmt;
// The addresses alone: what opens a socket is in `std`, and has no business here.
use core::net::IpAddr;
use std::time::Duration;

use super::values::{Count, OutOfRange, Timeout};

/// How much of what a client says about its request is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustPolicy {
    /// Who can reach the service. Default [`Clients::Edge`]: the error on the safe side.
    pub clients: Clients,
    /// The proxies in front of the service, whose word on where a request came from is taken.
    /// Default none. At most [`PROXIES_MAX`](Self::PROXIES_MAX).
    pub proxies: Vec<Network>,
    /// Which hop before the service is the client, counted from the nearest proxy. Default
    /// [`DEFAULT_HOPS`](Self::DEFAULT_HOPS).
    pub hops: Count,
}

/// Who can reach a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Clients {
    /// Anybody: tier and baggage are ignored, a deadline may only shorten.
    #[default]
    Edge,
    /// Our own services alone: what they say is kept.
    Inside,
}

/// A range of addresses, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// How a service stops without failing what it has begun.
///
/// The parts of [`shutdown::Limits`](crate::shutdown::Limits) that concern requests.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainPolicy {
    /// For how long it goes on serving while it says that it is not ready. Default none: behind a
    /// load balancer that polls readiness, at least two of its intervals.
    pub not_ready: Option<Timeout>,
    /// How long requests below the core tier may go on. Default
    /// [`DEFAULT_LOWER`](Self::DEFAULT_LOWER).
    pub lower: Timeout,
    /// How long requests of the core tier may go on after that. Default
    /// [`DEFAULT_CORE`](Self::DEFAULT_CORE).
    pub core: Timeout,
    /// How long all of it may take. Default [`DEFAULT_HARD`](Self::DEFAULT_HARD).
    pub hard: Timeout,
}

// === impl TrustPolicy ===

impl TrustPolicy {
    /// The most ranges of proxies: 64. Each request of a proxy looks through them.
    pub const PROXIES_MAX: usize = 64;

    /// The nearest hop: one proxy in front is what most services have.
    pub const DEFAULT_HOPS: Count = Count::known(1);
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self {
            clients: Clients::default(),
            proxies: Vec::new(),
            hops: Self::DEFAULT_HOPS,
        }
    }
}

// === impl Clients ===

impl Clients {
    /// Gives the word of a document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Inside => "inside",
        }
    }
}

// === impl Network ===

impl Network {
    /// Makes a range from its first address and the number of leading bits that all of it share.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if there are more bits than the address has, or the address is not the first:
    /// `10.0.0.1/8` is most often a slip for one of two other things.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, OutOfRange> {
        let first = Self::first(address, prefix);
        if first == Some(address) {
            return Ok(Self { address, prefix });
        }
        Err(OutOfRange::new(
            format!("{address}/{prefix}"),
            "a range by its first address",
            "bits beyond the prefix must be zero, and an address has 32 or 128",
        ))
    }

    /// Says whether an address is in the range. An IPv4 address that came in the clothes of IPv6 is
    /// taken for what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::first(address.to_canonical(), self.prefix) == Some(self.address)
    }

    /// Says whether every address is in the range.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    fn first(address: IpAddr, prefix: u8) -> Option<IpAddr> {
        let mask = |bits: u32| {
            let rest = bits.checked_sub(u32::from(prefix))?;
            Some(u128::MAX.checked_shl(rest).unwrap_or(0))
        };
        match address {
            IpAddr::V4(v4) => {
                let mask = mask(32)? as u32;
                Some(IpAddr::V4((u32::from(v4) & mask).into()))
            }
            IpAddr::V6(v6) => Some(IpAddr::V6((u128::from(v6) & mask(128)?).into())),
        }
    }
}

/// As in a document: `10.0.0.0/8`, or an address alone.
impl std::str::FromStr for Network {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let refused = || {
            OutOfRange::new(
                format!("{text:?}"),
                "an address or a range of them",
                "write it as \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| refused())?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

// === impl DrainPolicy ===

impl DrainPolicy {
    /// 5 s: what is below core is either soon done or can be asked for again.
    pub const DEFAULT_LOWER: Timeout = Timeout::known_millis(5_000);

    /// 10 s after that: longer than people wait for an order to go through.
    pub const DEFAULT_CORE: Timeout = Timeout::known_millis(10_000);

    /// 25 s: fits into the 30 s that a container gets between SIGTERM and SIGKILL.
    pub const DEFAULT_HARD: Timeout = Timeout::known_millis(25_000);

    /// How long the phases before the hard limit take together, at most.
    pub(super) fn phases(&self) -> Duration {
        let not_ready = self.not_ready.map_or(Duration::ZERO, Timeout::get);
        not_ready + self.lower.get() + self.core.get()
    }
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            not_ready: None,
            lower: Self::DEFAULT_LOWER,
            core: Self::DEFAULT_CORE,
            hard: Self::DEFAULT_HARD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Limits;

    #[test]
    fn a_range_contains_what_shares_its_bits() {
        let check = |range: &str, address: &str, expect| {
            let network: Network = range.parse().unwrap();
            let found = network.contains(address.parse().unwrap());
            assert_eq!(found, expect, "{range} {address}");
        };

        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::/0", "2001:db9::1", true);
        check("::1", "::1", true);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "ten",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10/8",
            "::/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let everybody: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everybody.is_everybody());
    }

    #[test]
    fn ranges_are_written_as_they_are_read() {
        for text in ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_defaults_are_those_of_a_shutdown() {
        let (drain, limits) = (DrainPolicy::default(), Limits::default());

        assert_eq!(
            drain.not_ready.map(Timeout::get).unwrap_or_default(),
            limits.not_ready
        );
        assert_eq!(drain.lower.get(), limits.drain_lower);
        assert_eq!(drain.core.get(), limits.drain_core);
        assert_eq!(drain.hard.get(), limits.hard);
    }
}
