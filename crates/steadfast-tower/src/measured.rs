//! How long requests take, in the terms of OpenTelemetry: the same for those that are served and those
//! that are sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use steadfast_core::context::Name;
use steadfast_core::report::Buckets;

/// A method from the set that OpenTelemetry knows, or `_OTHER`: clients may make up any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KnownMethod(u8);

const METHODS: [(Method, &str); 9] = [
    (Method::GET, "GET"),
    (Method::POST, "POST"),
    (Method::PUT, "PUT"),
    (Method::DELETE, "DELETE"),
    (Method::PATCH, "PATCH"),
    (Method::HEAD, "HEAD"),
    (Method::OPTIONS, "OPTIONS"),
    (Method::CONNECT, "CONNECT"),
    (Method::TRACE, "TRACE"),
];

/// Durations, counted by bucket.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    counts: [AtomicU64; Buckets::HTTP_SECONDS.len() + 1],
    nanos: AtomicU64,
}

impl KnownMethod {
    pub(crate) const OTHER: Self = Self(METHODS.len() as u8);

    pub(crate) fn of(method: &Method) -> Self {
        let known = METHODS.iter().position(|(known, _)| known == method);
        known.map_or(Self::OTHER, |at| Self(at as u8))
    }

    pub(crate) fn name(self) -> Name {
        let known = METHODS.get(usize::from(self.0));
        Name::new(known.map_or("_OTHER", |(_, name)| name))
    }
}

impl Durations {
    pub(crate) fn note(&self, duration: Duration) {
        let slower_than = bounds_below(Buckets::HTTP_SECONDS, duration.as_secs_f64());
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slower_than].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Buckets {
        let seconds = self.nanos.load(Ordering::Relaxed) as f64 / 1e9;
        let counts = self.counts.iter();
        let counts: Vec<_> = counts.map(|count| count.load(Ordering::Relaxed)).collect();
        Buckets::new(Buckets::HTTP_SECONDS, counts, seconds)
    }
}

/// Gives how many bounds a value is above.
pub(crate) fn bounds_below(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_a_bounded_set() {
        for (method, name) in [
            ("GET", "GET"),
            ("PATCH", "PATCH"),
            ("TRACE", "TRACE"),
            ("get", "_OTHER"),
            ("BREW", "_OTHER"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(KnownMethod::of(&method).name().as_str(), name);
        }
    }
}
