//! Whom an outgoing call is for: told apart by host and port, unless somebody says otherwise.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use http::Request;
use http::request::Parts;
use http::uri::Authority;
use steadfast_core::recover;

/// Names the endpoint of a call.
pub(crate) type EndpointOf = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Tells endpoints apart by a number that nobody can choose: whoever could would have the budget of
/// another one, or its breaker.
pub(crate) struct Targets {
    secret: RandomState,
}

/// Stands for all calls whose endpoint is not known.
pub(crate) const UNKNOWN: u64 = 0;

impl Targets {
    pub(crate) fn new() -> Self {
        Self {
            secret: RandomState::new(),
        }
    }

    pub(crate) fn hash(&self, of: impl Hash) -> u64 {
        self.secret.hash_one(of)
    }

    /// Gives the key of the endpoint of a call. One for which `endpoint_of` panics is not known.
    pub(crate) fn key(&self, request: &Parts, endpoint_of: Option<&EndpointOf>) -> u64 {
        let known = match endpoint_of {
            Some(endpoint_of) => named(request, endpoint_of).map(|name| self.hash(name)),
            None => self.authority_key(request),
        };
        known.unwrap_or(UNKNOWN)
    }

    /// By host and port alone: what else an authority may hold is a password.
    pub(crate) fn authority_key(&self, request: &Parts) -> Option<u64> {
        with_authority(request, |host, port| {
            let mut hasher = self.secret.build_hasher();
            for byte in host.bytes() {
                hasher.write_u8(byte.to_ascii_lowercase());
            }
            port.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// The longest name of an endpoint that is shown whole, in bytes: 255, the longest name of a host.
const NAME_BYTES_MAX: usize = 255;

/// Gives the name of the endpoint of a call, for people.
pub(crate) fn name(request: &Parts, endpoint_of: Option<&EndpointOf>) -> String {
    let known = match endpoint_of {
        Some(endpoint_of) => named(request, endpoint_of),
        None => with_authority(request, |host, port| {
            format!("{}:{port}", host.to_ascii_lowercase())
        }),
    };
    let name = known.unwrap_or_else(|| "(unknown)".to_owned());
    // It ends up in lines of the log.
    let plain = name.chars().filter(|c| !c.is_control());
    let mut shown = String::new();
    for c in plain {
        if shown.len() + c.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        shown.push(c);
    }
    shown
}

/// What an endpoint was called for one call; nothing where it is not known.
#[derive(Clone)]
struct Called(Option<Arc<str>>);

/// Asks for the name of the endpoint of a call, and notes it with the request.
pub(crate) fn note<B>(request: Request<B>, endpoint_of: &EndpointOf) -> Request<B> {
    let (mut parts, body) = request.into_parts();
    let called = Called(named(&parts, endpoint_of).map(Into::into));
    parts.extensions.insert(called);
    Request::from_parts(parts, body)
}

/// Names endpoints as they were [noted](note).
pub(crate) fn noted() -> EndpointOf {
    Arc::new(|request| {
        let called = request.extensions.get::<Called>()?;
        called.0.as_deref().map(str::to_owned)
    })
}

fn named(request: &Parts, endpoint_of: &EndpointOf) -> Option<String> {
    recover(|| endpoint_of(request)).ok().flatten()
}

fn with_authority<R>(request: &Parts, f: impl FnOnce(&str, u16) -> R) -> Option<R> {
    let usual = |scheme: Option<&str>| if scheme == Some("https") { 443 } else { 80 };
    if let Some(authority) = request.uri.authority() {
        let port = authority.port_u16();
        let port = port.unwrap_or_else(|| usual(request.uri.scheme_str()));
        return Some(f(authority.host(), port));
    }
    let host = request.headers.get(http::header::HOST)?;
    let host = Authority::try_from(host.as_bytes()).ok()?;
    Some(f(host.host(), host.port_u16().unwrap_or(usual(None))))
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Targets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = http::Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_endpoint_is_known_by_host_and_port() {
        let targets = Targets::new();
        let key = |uri: &str, host: Option<&str>| targets.key(&parts(uri, host), None);
        let plain = key("http://pay.example/a", None);

        for same in ["http://PAY.example/b", "http://me:secret@pay.example:80/"] {
            assert_eq!(key(same, None), plain, "{same}");
            assert_eq!(name(&parts(same, None), None), "pay.example:80");
        }
        assert_eq!(key("/a", Some("pay.example")), plain);
        for other in [
            "https://pay.example/a",
            "http://pay.example:81/",
            "http://pay.example.org/",
        ] {
            assert_ne!(key(other, None), plain, "{other}");
        }
        assert_eq!(key("/a", None), UNKNOWN);
        assert_eq!(key("/a", Some("a b")), UNKNOWN);
        assert_eq!(name(&parts("/a", None), None), "(unknown)");
    }

    #[test]
    fn a_name_of_somebody_else_is_shown_without_control_characters_and_not_whole_if_it_is_long() {
        let endpoint_of: EndpointOf = Arc::new(|_| Some(format!("a\n\u{1b}{}", "ä".repeat(500))));

        let shown = name(&parts("/", None), Some(&endpoint_of));

        assert!(shown.starts_with("aää") && shown.len() <= NAME_BYTES_MAX);
        let broken: EndpointOf = Arc::new(|_| panic!("target-a"));
        assert_eq!(
            Targets::new().key(&parts("/", None), Some(&broken)),
            UNKNOWN
        );
    }
}
