use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use steadfast_core::decide::policy::{Network, TrustPolicy};
use steadfast_core::recover;

use super::ClientOf;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request has come from, as the server sees it: an extension of the request.
///
/// [`Guard::serve`](super::Guard::serve) sets it, and a service of axum that was made with
/// `into_make_service_with_connect_info::<SocketAddr>` is asked for its own. Any other server may
/// set it; without it, clients are not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Where a request has come from, if the framework knows.
pub(crate) type PeerOf = fn(&Parts) -> Option<IpAddr>;

/// Tells clients apart.
pub(super) struct Clients {
    by: Option<ClientOf>,
    proxies: Vec<Network>,
    hops: u32,
    /// Nobody can choose to be taken for another.
    secret: RandomState,
}

impl Clients {
    pub(super) fn new(by: Option<ClientOf>, trust: &TrustPolicy, secret: RandomState) -> Self {
        Self {
            by,
            proxies: trust.proxies.clone(),
            hops: trust.hops.get(),
            secret,
        }
    }

    /// Gives what the client of a request is known by, if by anything.
    pub(super) fn key(&self, request: &Parts, peer_of: PeerOf) -> Option<u64> {
        match &self.by {
            // The hook of panics has reported one that panicked.
            Some(by) => recover(|| by(request)).ok().flatten(),
            None => {
                let peer = request.extensions.get::<Peer>();
                let peer = peer.map(|peer| peer.0.ip()).or_else(|| peer_of(request))?;
                let client = self.address(peer, &request.headers);
                Some(self.secret.hash_one(of_one(client)))
            }
        }
    }

    /// Gives the address of the client: the peer's, or if that is a proxy of ours, the one that it
    /// has seen, and so on for as many hops as there are. A hop that is not ours is not believed.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_ours = |address| self.proxies.iter().any(|proxy| proxy.contains(address));
        let mut client = peer.to_canonical();
        if self.proxies.is_empty() {
            return client;
        }
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for seen in hops.take(self.hops as usize) {
            match is_ours(client).then(|| address(seen)).flatten() {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// Reads an address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let bare: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    Some(bare.or_else(with_port)?.to_canonical())
}

/// Gives what one client has of the addresses: the first half of one of IPv6, since the second is
/// the client's to choose.
fn of_one(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::decide::policy::Count;

    fn client(peer: &str, proxies: &[&str], hops: u32, forwarded: &[&str]) -> String {
        let proxies = proxies.iter().map(|range| range.parse().unwrap());
        let trust = TrustPolicy {
            proxies: proxies.collect(),
            hops: Count::new(hops).unwrap(),
            ..TrustPolicy::default()
        };
        let clients = Clients::new(None, &trust, RandomState::new());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        clients.address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_proxies_nobody_is_believed() {
        assert_eq!(client("1.1.1.1", &[], 1, &["9.9.9.9"]), "1.1.1.1");
        let ours = &["10.0.0.0/8"];
        assert_eq!(client("1.1.1.1", ours, 1, &["9.9.9.9"]), "1.1.1.1");
    }

    #[test]
    fn a_proxy_tells_whom_it_has_seen_and_not_what_clients_say() {
        let ours = &["10.0.0.0/8"];
        let check = |hops, forwarded: &[&str], expect| {
            assert_eq!(client("10.0.0.1", ours, hops, forwarded), expect);
        };

        check(1, &["9.9.9.9"], "9.9.9.9");
        check(1, &["6.6.6.6, 9.9.9.9"], "9.9.9.9");
        check(1, &["6.6.6.6", "9.9.9.9"], "9.9.9.9");
        check(2, &["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9");
        // The second hop is not ours: whoever it is, is the client.
        check(2, &["6.6.6.6, 9.9.9.9"], "9.9.9.9");
        check(1, &["9.9.9.9:443"], "9.9.9.9");
        check(1, &["[2001:db8::1]:443"], "2001:db8::1");
        check(1, &["2001:db8::1"], "2001:db8::1");
        check(1, &["::ffff:9.9.9.9"], "9.9.9.9");
    }

    #[test]
    fn what_is_malformed_ends_the_way_back() {
        let ours = &["10.0.0.0/8"];
        for text in ["", "unknown", "9.9.9.9.9", ",", "9.9.9.9, ", "\u{e9}"] {
            assert_eq!(client("10.0.0.1", ours, 1, &[text]), "10.0.0.1", "{text}");
        }
        assert_eq!(client("10.0.0.1", ours, 1, &[]), "10.0.0.1");
    }

    #[test]
    fn a_client_cannot_be_many_by_the_half_of_an_address_that_is_its_own() {
        let one = |text: &str| of_one(text.parse().unwrap()).to_string();

        assert_eq!(one("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(one("1.2.3.4"), "1.2.3.4");
    }
}
