//! What becomes of requests, by route: read out of the report of the process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use steadfast::clock::Instant;
use steadfast::decide::policy::Route;
use steadfast::report::{Metric, Snapshot, Value};

/// Over how long rates are told: a minute.
const WINDOW: Duration = Duration::from_secs(60);

/// What has become of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Traffic {
    /// All that have ended.
    pub(crate) requests: u64,
    /// Those among them that were answered with a status of 500 and more, by whomever.
    pub(crate) failed: u64,
    /// Those that were not served, by reason; of a route, those of its template.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// How long those took that were served.
    pub(crate) durations: Durations,
}

/// How many requests took up to which time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Durations {
    /// Up to so many seconds, and how many above the bound before; the last has no bound.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// All of them together.
    pub(crate) seconds: f64,
}

/// The traffic of a process at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// By template and method.
    ended: BTreeMap<(String, String), Traffic>,
    /// By template and reason.
    rejected: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Durations {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Gives the time that this part of all took at most, in seconds: between two bounds as if all
    /// times there were as likely, above the last bound that bound. Nothing without requests.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let rank = self.count() as f64 * part;
        let (mut below, mut from) = (0.0, 0.0);
        for (up_to, count) in &self.buckets {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let into = ((rank - below) / count).clamp(0.0, 1.0);
                return Some(match up_to.is_finite() {
                    true => from + (up_to - from) * into,
                    false => from,
                });
            }
            below += count;
            from = if up_to.is_finite() { *up_to } else { from };
        }
        None
    }

    /// Gives the mean, in seconds.
    pub(crate) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.seconds / count as f64)
    }

    fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            // All have the bounds of HTTP.
            for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
                *count += more;
            }
        }
        self.seconds += other.seconds;
    }

    fn since(&self, before: &Self) -> Self {
        let buckets = self.buckets.iter().enumerate().map(|(at, (up_to, count))| {
            let earlier = before.buckets.get(at).map_or(0, |(_, count)| *count);
            (*up_to, count.saturating_sub(earlier))
        });
        Self {
            buckets: buckets.collect(),
            seconds: (self.seconds - before.seconds).max(0.0),
        }
    }
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.durations.add(&other.durations);
    }

    /// What has come since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let rejected = self.rejected.iter().map(|(reason, count)| {
            let earlier = before.rejected.get(reason).copied().unwrap_or_default();
            (reason.clone(), count.saturating_sub(earlier))
        });
        Self {
            requests: self.requests.saturating_sub(before.requests),
            failed: self.failed.saturating_sub(before.failed),
            rejected: rejected.filter(|(_, count)| *count > 0).collect(),
            durations: self.durations.since(&before.durations),
        }
    }
}

impl Totals {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut totals = Self::default();
        for metric in snapshot.metrics() {
            match (metric.name, &metric.value) {
                ("http_server_request_duration_seconds", Value::Histogram(buckets)) => {
                    let mut before = 0;
                    let buckets_of = buckets.cumulative().map(|(up_to, count)| {
                        let of_this = count - before;
                        before = count;
                        (up_to, of_this)
                    });
                    let durations = Durations {
                        buckets: buckets_of.collect(),
                        seconds: buckets.sum(),
                    };
                    totals.add(metric, durations);
                }
                ("steadfast_rejections_total", Value::Counter(count)) => {
                    let of_route = totals.rejected.entry(label(metric, "route").to_owned());
                    let reason = label(metric, "reason").to_owned();
                    *of_route.or_default().entry(reason).or_default() += count;
                }
                _ => {}
            }
        }
        totals
    }

    fn add(&mut self, metric: &Metric, durations: Durations) {
        let target = (
            label(metric, "http_route").to_owned(),
            label(metric, "http_request_method").to_owned(),
        );
        let status: u16 = label(metric, "http_response_status_code")
            .parse()
            .unwrap_or_default();
        let count = durations.count();
        let is_served =
            label(metric, "error_type").is_empty() && (1..500).contains(&status) && status != 429;
        let of_target = self.ended.entry(target).or_default();
        of_target.requests += count;
        if status >= 500 {
            of_target.failed += count;
        }
        if is_served {
            of_target.durations.add(&durations);
        }
    }

    /// Gives what belongs to a route of a policy, which is named as all its `routes` are.
    pub(crate) fn of_route<'a>(
        &self,
        name: &str,
        mut routes: impl Iterator<Item = &'a str>,
    ) -> Traffic {
        let (method, template) = Route::split_name(name);
        // A name without a method is for those methods that have no name of their own.
        let own: Vec<&str> = match method {
            Some(_) => Vec::new(),
            None => routes
                .by_ref()
                .filter_map(|other| match Route::split_name(other) {
                    (Some(method), of) if of == template => Some(method),
                    _ => None,
                })
                .collect(),
        };
        let mut traffic = Traffic::default();
        for ((of, by), ended) in &self.ended {
            let is_of = of == template && method.is_none_or(|method| method == by);
            if is_of && !own.contains(&by.as_str()) {
                traffic.add(ended);
            }
        }
        traffic.rejected = self.rejected.get(template).cloned().unwrap_or_default();
        traffic
    }
}

/// The traffic of the last minute, as it was noted now and then.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<(Instant, Totals)>);

impl Recent {
    /// Notes how things stand now, and forgets what is older than needed.
    pub(crate) fn note(&mut self, now: Instant, totals: Totals) {
        self.0.push_back((now, totals));
        while self.0.get(1).is_some_and(|(at, _)| now - *at >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Gives what has come to a route within the last minute, and in which time: as far back as was
    /// noted.
    pub(crate) fn of_route<'a>(
        &self,
        name: &str,
        routes: impl Iterator<Item = &'a str> + Clone,
        now: (Instant, &Totals),
    ) -> (Traffic, Duration) {
        let is = now.1.of_route(name, routes.clone());
        match self.0.front() {
            Some((at, before)) => (is.since(&before.of_route(name, routes)), now.0 - *at),
            None => (Traffic::default(), Duration::ZERO),
        }
    }
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    let found = metric.labels.iter().find(|(label, _)| *label == name);
    found.map_or("", |(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(buckets: &[(f64, u64)]) -> Durations {
        Durations {
            buckets: buckets.to_vec(),
            seconds: 1.0,
        }
    }

    #[test]
    fn a_quantile_is_between_the_bounds_of_its_bucket() {
        let all = durations(&[(0.25, 50), (0.5, 50), (f64::INFINITY, 0)]);
        let slow = durations(&[(0.25, 50), (0.5, 0), (f64::INFINITY, 50)]);

        assert_eq!(all.quantile(0.25), Some(0.125));
        assert_eq!(all.quantile(0.75), Some(0.375));
        assert_eq!(all.quantile(1.0), Some(0.5));
        assert_eq!(slow.quantile(0.99), Some(0.5), "it is above the last bound");
        assert_eq!(Durations::default().quantile(0.99), None);
    }

    #[test]
    fn a_route_of_all_methods_has_what_those_of_one_method_leave() {
        let mut totals = Totals::default();
        for (method, requests) in [("GET", 1), ("POST", 10), ("PUT", 100)] {
            let target = ("/a".to_owned(), method.to_owned());
            let traffic = Traffic {
                requests,
                ..Traffic::default()
            };
            totals.ended.insert(target, traffic);
        }
        let names = ["/a", "POST /a", "PUT /b"];
        let requests = |name| totals.of_route(name, names.into_iter()).requests;

        assert_eq!((requests("/a"), requests("POST /a")), (101, 10));
        assert_eq!(requests("PUT /b"), 0);
    }

    #[test]
    fn the_last_minute_is_what_has_come_since_and_older_notes_go() {
        let start = steadfast::clock::now();
        let second = Duration::from_secs(1);
        let totals = |requests| {
            let mut totals = Totals::default();
            let target = ("/a".to_owned(), "GET".to_owned());
            totals.ended.insert(
                target,
                Traffic {
                    requests,
                    ..Traffic::default()
                },
            );
            totals
        };
        let mut recent = Recent::default();
        for at in 0..100 {
            recent.note(start + second * at, totals(u64::from(at) * 3));
        }

        let now = (start + second * 99, &totals(99 * 3));
        let (traffic, over) = recent.of_route("GET /a", ["GET /a"].into_iter(), now);

        assert_eq!((traffic.requests, over), (180, WINDOW));
        assert_eq!(recent.0.len(), 61);
    }
}
