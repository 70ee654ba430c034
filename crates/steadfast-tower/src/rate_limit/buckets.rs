use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use steadfast_core::context::Name;
use steadfast_core::decide::rate::{Answer, KeyedRate, Quota, RateLimiter, Seat};
use steadfast_core::report::{Collector, MetricDoc, Source};
use steadfast_core::{clock, recover};

use crate::{Reason, Rejection};

/// How many tables there are for the clients, each under a lock of its own: 16, so that as many
/// threads as a large machine has seldom wait for each other.
const TABLES: usize = 16;

/// The state of one limit.
pub(crate) struct Buckets {
    name: Name,
    /// The name as headers have it.
    quoted: String,
    quota: Quota,
    kind: Kind,
    checked: AtomicU64,
    /// `RateLimit-Policy`, the same for every answer.
    policy: HeaderValue,
    shadow: AtomicBool,
}

enum Kind {
    Shared(RateLimiter),
    PerClient {
        hash: Arc<dyn Fn(&Parts) -> u64 + Send + Sync>,
        tables: Arc<[Mutex<KeyedRate>]>,
    },
}

/// What a limit says to one request.
pub(crate) enum Asked {
    /// With what it is told of its standing: nothing by a limit that only looks on, since clients obey
    /// what they are told.
    Passed(Option<Standing>),
    Rejected(Rejection, Standing),
}

/// Where a client stands, for the headers of its answer.
pub(crate) struct Standing {
    buckets: Arc<Buckets>,
    answer: Answer,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How long the value of `RateLimit` may be to be written in place: 128 bytes, a name of 96 and two numbers
/// of ten digits.
const VALUE_BYTES: usize = 128;

impl Buckets {
    pub(crate) fn shared(name: Name, quota: Quota) -> Self {
        Self::new(name, quota, Kind::Shared(RateLimiter::new(quota)))
    }

    pub(crate) fn per_client<K: Hash>(
        clients: u32,
        name: Name,
        quota: Quota,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        // Keyed with a secret: whoever could choose the group of a key could crowd a victim out.
        let secret = RandomState::new();
        let each = clients.div_ceil(TABLES as u32);
        let table = || Mutex::new(KeyedRate::new(quota, each));
        let kind = Kind::PerClient {
            // The hook of panics has reported one that panicked.
            hash: Arc::new(move |request| {
                secret.hash_one(recover(|| client(request)).ok().flatten())
            }),
            tables: (0..TABLES).map(|_| table()).collect(),
        };
        Self::new(name, quota, kind)
    }

    /// Gives the same buckets with another quota: what is missing from them stays missing.
    pub(crate) fn with_quota(&self, quota: Quota) -> Self {
        let now = clock::nanos();
        let kind = match &self.kind {
            Kind::Shared(limiter) => Kind::Shared(limiter.with_quota(quota, now)),
            Kind::PerClient { hash, tables } => {
                for table in tables.iter() {
                    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                    table.set_quota(quota, now);
                }
                Kind::PerClient {
                    hash: hash.clone(),
                    tables: tables.clone(),
                }
            }
        };
        let next = Self::new(self.name, quota, kind);
        let checked = self.checked.load(Ordering::Relaxed);
        next.checked.store(checked, Ordering::Relaxed);
        next
    }

    /// Says whether it only looks on.
    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    fn new(name: Name, quota: Quota, kind: Kind) -> Self {
        let seconds = quota.refill_secs();
        let quoted = Quoted(name).to_string();
        let policy = format!("{quoted};q={};w={seconds}", quota.burst());
        Self {
            name,
            quoted,
            quota,
            kind,
            checked: AtomicU64::new(0),
            policy: HeaderValue::try_from(policy).expect(VISIBLE),
            shadow: AtomicBool::new(false),
        }
    }

    /// Asks for one request, which came `now`.
    pub(crate) fn ask(self: Arc<Self>, request: &Parts, now: u64) -> Asked {
        let (answer, own) = self.check(request, now);
        match self.rejection(&answer, own) {
            rejection if self.is_shadow() => {
                if let Some(rejection) = rejection {
                    rejection.count_shadow();
                }
                Asked::Passed(None)
            }
            None => Asked::Passed(Some(Standing {
                buckets: self,
                answer,
            })),
            Some(rejection) => Asked::Rejected(
                rejection,
                Standing {
                    buckets: self,
                    answer,
                },
            ),
        }
    }

    /// Gives the answer, and whether it is that of a bucket of its own.
    fn check(&self, request: &Parts, now: u64) -> (Answer, bool) {
        self.checked.fetch_add(1, Ordering::Relaxed);
        match &self.kind {
            Kind::Shared(limiter) => (limiter.check(now, 1), true),
            Kind::PerClient { hash, tables } => {
                let key = hash(request);
                // By the low bits: the high ones choose the seat within a table.
                let table = &tables[key as usize % TABLES];
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                let judged = table.check(key, now, 1);
                (judged.answer, judged.seat == Seat::Own)
            }
        }
    }

    /// Makes `RateLimit`. Every answer has one, so it is written in place, and copied once.
    fn rate_limit(&self, answer: &Answer) -> HeaderValue {
        let (mut remaining, mut reset) = (itoa::Buffer::new(), itoa::Buffer::new());
        let parts = [
            &self.quoted,
            ";r=",
            remaining.format(answer.remaining()),
            ";t=",
            reset.format(answer.reset_secs()),
        ];
        let mut value = [0; VALUE_BYTES];
        let mut end = 0;
        for part in parts {
            let Some(place) = value.get_mut(end..end + part.len()) else {
                return HeaderValue::try_from(parts.concat()).expect(VISIBLE);
            };
            place.copy_from_slice(part.as_bytes());
            end += part.len();
        }
        HeaderValue::from_bytes(&value[..end]).expect(VISIBLE)
    }

    /// Gives why the request does not pass, if it does not.
    fn rejection(&self, answer: &Answer, own: bool) -> Option<Rejection> {
        if answer.is_allowed() {
            return None;
        }
        let limit = f64::from(answer.limit());
        let unit = match (&self.kind, own) {
            (Kind::Shared(_), _) => "requests at once",
            (Kind::PerClient { .. }, true) => "requests at once, of this client",
            (Kind::PerClient { .. }, false) => "requests at once, of many clients together",
        };
        let rejection = Rejection::new(Reason::RateLimited, self.name);
        let rejection = rejection.with_bound(limit, limit + 1.0, unit);
        Some(match answer.retry_after() {
            Some(after) => rejection.with_retry_after(after),
            None => rejection,
        })
    }
}

impl Standing {
    /// Tells it in the headers of an answer. Appended: of several limits each says its own.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        headers.append(RATE_LIMIT, self.buckets.rate_limit(&self.answer));
        headers.append(RATE_LIMIT_POLICY, self.buckets.policy.clone());
    }
}

const VISIBLE: &str = "quoted, so visible characters only";

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_rate_limit_per_second",
        &["policy"],
        "Requests that are allowed over time: all together, or of each client.",
    ),
    MetricDoc::counter(
        "steadfast_rate_limit_checked_total",
        &["policy"],
        "Requests that were asked about; those rejected among them are in `steadfast_rejections_total`.",
    ),
    MetricDoc::gauge(
        "steadfast_rate_limit_clients",
        &["policy"],
        "Clients with a bucket of their own.",
    ),
    MetricDoc::counter(
        "steadfast_rate_limit_shared_total",
        &["policy"],
        "Requests of clients that had to share a bucket, because there are too many clients.",
    ),
];

impl Source for Buckets {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let mut limit = to.labels([("policy", self.name)]);
        let cells = 1.0 / self.quota.cell_time().as_secs_f64();
        limit.gauge("steadfast_rate_limit_per_second", cells);
        let checked = self.checked.load(Ordering::Relaxed);
        limit.counter("steadfast_rate_limit_checked_total", checked);
        if let Kind::PerClient { tables, .. } = &self.kind {
            let (mut seated, mut shared) = (0, 0);
            for table in tables.iter() {
                let stats = table.lock().unwrap_or_else(PoisonError::into_inner).stats();
                seated += stats.seated;
                shared += stats.shared;
            }
            limit.gauge("steadfast_rate_limit_clients", seated as f64);
            limit.counter("steadfast_rate_limit_shared_total", shared);
        }
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// A name as a string of structured fields, in which only visible ASCII may stand.
struct Quoted(Name);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for char in self.0.as_str().chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                ' '..='~' => write!(f, "{char}")?,
                _ => f.write_str("?")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_characters_makes_a_header() {
        assert_eq!(Quoted("a\"b\\c".into()).to_string(), r#""a\"b\\c""#);
        assert_eq!(Quoted("préfixe\n".into()).to_string(), "\"pr?fixe?\"");
    }
}
