//! Every key of a policy document: what it takes, and what holds without it.
//!
//! The reference page and `explain` are made from this; tests hold it against the policies and the
//! constants that it describes.

/// A part of a policy document, `[timeouts.NAME]` or `[drain]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name of its table.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// What the names of its tables are, or `None` if it is one table itself.
    pub names: Option<&'static str>,
    /// Its keys, in the order in which they are written.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name. `guaranteed_TIER` stands for one key for each tier.
    pub name: &'static str,
    /// What it says.
    pub what: &'static str,
    /// What may be written, with unit and range.
    pub takes: &'static str,
    /// What holds without it.
    pub absent: Absent,
}

/// What holds when a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The document is refused: there is no value that is right for everybody.
    Refused,
    /// The document is refused if the key before it says `"learn"`, and if it is there without.
    RefusedIfLearned,
    /// A value, and why it is this one.
    Default {
        /// The value, as a document writes it.
        value: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Nothing, and what that means.
    Nothing(&'static str),
    /// The same if the key before it says `"learn"`; refused if it is there without.
    NothingIfLearned(&'static str),
}

impl Section {
    /// Finds a section by the name of its table.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.name == name)
    }

    /// Finds one of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        let name = match name.starts_with("guaranteed_") {
            true => "guaranteed_TIER",
            false => name,
        };
        self.keys.iter().find(|key| key.name == name)
    }
}

const TIME: &str = "length of time, 1ms to 1h";
const LEARNED_TIME: &str = "length of time, 1ms to 1h, or `\"learn\"`";
const COUNT: &str = "number, 1 to 1000000";
const SHARE: &str = "share, 0 to 1, or percent";
const FLAG: &str = "true or false";
const METHODS: &str = "list of methods, in capitals, at most 16";

const fn key(name: &'static str, takes: &'static str, what: &'static str, absent: Absent) -> Key {
    Key {
        name,
        what,
        takes,
        absent,
    }
}

const fn default(value: &'static str, reason: &'static str) -> Absent {
    Absent::Default { value, reason }
}

const SHADOW: Key = key(
    "shadow",
    FLAG,
    "whether it only says what it would have rejected",
    default("false", "what is written down is meant to act"),
);

/// All sections, in the order in which they are written.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "admissions",
        what: "How many requests run at once, how many wait, and who goes first.",
        names: Some("what routes and dependencies call it"),
        keys: &[
            key(
                "permits",
                "number, 1 to 1000000, or `\"learn\"`",
                "how many run at once",
                Absent::Refused,
            ),
            key(
                "permits_floor",
                COUNT,
                "never fewer when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "permits_ceiling",
                COUNT,
                "never more when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "queue",
                COUNT,
                "how many wait at most",
                default(
                    "100",
                    "rides out a burst of a tenth of a second at 1000 requests a second, and the last one still has a chance",
                ),
            ),
            key(
                "queue_wait",
                TIME,
                "how long one waits at most",
                Absent::Refused,
            ),
            key(
                "guaranteed_TIER",
                SHARE,
                "the part of the permits that is kept for a tier (`guaranteed_core`, `guaranteed_tier1` to `guaranteed_tier7`) when all want more than there is; what it does not use is lent",
                Absent::Nothing("no guarantee: importance alone decides"),
            ),
            SHADOW,
        ],
    },
    Section {
        name: "timeouts",
        what: "How long something may take until its answer begins, and its body after that.",
        names: Some("what routes and dependencies call it"),
        keys: &[
            key(
                "timeout",
                LEARNED_TIME,
                "how long until the answer begins",
                Absent::Refused,
            ),
            key(
                "timeout_floor",
                TIME,
                "never shorter when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "timeout_ceiling",
                TIME,
                "never longer when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "permit_share",
                SHARE,
                "when learned: the part of the permits that may wait for this one thing",
                default(
                    "0.5",
                    "one thing that stalls leaves as much to all others as it takes",
                ),
            ),
            key(
                "timeout_start",
                TIME,
                "when learned: what it starts from, between floor and ceiling",
                Absent::NothingIfLearned("the ceiling, until a hundred calls are known"),
            ),
            key(
                "timeout_start_query",
                "PromQL, 1 to 1024 bytes; `$route` and `$method` stand for those of a route, `$dependency` and `$method` for those of a dependency",
                "when learned: what Prometheus is asked for a timeout to start from, in seconds; without a usable answer `timeout_start` holds",
                Absent::NothingIfLearned("nobody is asked"),
            ),
            key(
                "body_idle",
                TIME,
                "how long a body may stand still",
                default(
                    "\"30s\"",
                    "nothing healthy stands still in the middle of an answer for that long",
                ),
            ),
            key(
                "body_total",
                TIME,
                "how long a body may take in all",
                Absent::Nothing("as long as it moves"),
            ),
            SHADOW,
        ],
    },
    Section {
        name: "rates",
        what: "How much may come over time.",
        names: Some("what the `quota` of a route calls it"),
        keys: &[
            key("requests", COUNT, "how many in a period", Absent::Refused),
            key(
                "period",
                TIME,
                "the length of time for which `requests` are meant",
                Absent::Refused,
            ),
            key("burst", COUNT, "how many at once", Absent::Refused),
            key(
                "per_client",
                FLAG,
                "whether each client has this quota, or all share it",
                default(
                    "false",
                    "who is a client depends on what stands in front; see `[trust]`",
                ),
            ),
            SHADOW,
        ],
    },
    Section {
        name: "breakers",
        what: "When to stop calling something that does not work. At least one of `failure_share`, `slow_over` and `consecutive` is needed.",
        names: Some("what dependencies call it"),
        keys: &[
            key(
                "failure_share",
                SHARE,
                "trips when this part of a window fails",
                Absent::Nothing("does not trip by it"),
            ),
            key(
                "slow_over",
                TIME,
                "a call that takes longer is slow",
                Absent::Nothing("no call is slow"),
            ),
            key(
                "slow_share",
                SHARE,
                "trips when this part of a window is slow; needed with `slow_over`",
                Absent::Nothing("does not trip by it"),
            ),
            key(
                "consecutive",
                COUNT,
                "trips after so many failures in a row",
                Absent::Nothing("does not trip by it"),
            ),
            key(
                "min_calls",
                COUNT,
                "how many calls a window needs before its shares mean anything",
                default(
                    "20",
                    "below, a single failure is more than 5 % and chance looks like an outage",
                ),
            ),
            key(
                "window",
                TIME,
                "how far back it looks",
                default(
                    "\"10s\"",
                    "`min_calls` come together at two a second, and an outage shows within seconds",
                ),
            ),
            key(
                "half_open",
                COUNT,
                "how many calls probe a target in a round of half-open",
                default("10", "tells one failure in ten from a target that is down"),
            ),
            key(
                "open",
                TIME,
                "how long it stays open the first time; twice as long with each round that fails",
                default("\"5s\"", "a process that is started again is back by then"),
            ),
            key(
                "open_longest",
                TIME,
                "the longest it stays open",
                default(
                    "\"60s\"",
                    "what is back after a long outage is found within a minute",
                ),
            ),
            key(
                "ramp",
                TIME,
                "how long it takes from the probes to all calls once it has recovered",
                default(
                    "\"10s\"",
                    "caches and pools of a target that has just come back fill first",
                ),
            ),
            SHADOW,
        ],
    },
    Section {
        name: "retries",
        what: "How often to try again, and who pays.",
        names: Some("what dependencies call it"),
        keys: &[
            key(
                "attempts",
                "number, 1 to 10",
                "the most attempts, the first included",
                Absent::Refused,
            ),
            key(
                "budget",
                SHARE,
                "the part of the calls that may be retries",
                Absent::Nothing("unbounded, which the linter refuses (P011)"),
            ),
            key(
                "first_wait",
                TIME,
                "the ceiling of the wait before the first retry; it doubles with each",
                default(
                    "\"50ms\"",
                    "longer than most of what fails by chance needs to be right again, and not noticed by people",
                ),
            ),
            key(
                "longest_wait",
                TIME,
                "the greatest ceiling of a wait",
                default("\"1s\"", "a caller that waits for longer is better told"),
            ),
            key(
                "unsafe_methods",
                FLAG,
                "whether calls that are not known to be safe to repeat are repeated, too",
                default(
                    "false",
                    "an order that is placed twice is worse than one that failed",
                ),
            ),
        ],
    },
    Section {
        name: "hedges",
        what: "When to send a second attempt beside one that takes long.",
        names: Some("what dependencies call it"),
        keys: &[
            key(
                "delay",
                LEARNED_TIME,
                "after which time; learned, it follows the live 95th percentile",
                Absent::Refused,
            ),
            key(
                "delay_floor",
                TIME,
                "never shorter when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "delay_ceiling",
                TIME,
                "never longer when learned",
                Absent::RefusedIfLearned,
            ),
            key(
                "budget",
                SHARE,
                "the part of the calls that may be hedged",
                Absent::Nothing("unbounded, which the linter refuses (P010)"),
            ),
        ],
    },
    Section {
        name: "streams",
        what: "How many answers may be under way that do not end by themselves, and how long each.",
        names: Some("what the `stream` of a route calls it"),
        keys: &[
            key("connections", COUNT, "the most at once", Absent::Refused),
            key(
                "idle",
                TIME,
                "how long one may stand still: longer than its heartbeat",
                Absent::Refused,
            ),
            key(
                "total",
                TIME,
                "how long one may take in all",
                Absent::Nothing("as long as it moves"),
            ),
            SHADOW,
        ],
    },
    Section {
        name: "routes",
        what: "What is served, and which policies govern it.",
        names: Some(
            "the template, `\"/orders/{id}\"`, or method and template, `\"GET /orders\"`, which is for `HEAD`, too; `unmatched` for what no other route has",
        ),
        keys: &[
            key(
                "methods",
                METHODS,
                "the methods it serves; not where its name says one",
                Absent::Nothing("all that no other route of the template has"),
            ),
            key(
                "kind",
                "`\"response\"` or `\"stream\"`",
                "whether the answer ends by itself",
                default(
                    "\"response\"",
                    "most do, and a stream needs a budget of its own",
                ),
            ),
            key(
                "tier",
                "`\"core\"`, `\"tier1\"` to `\"tier7\"`",
                "who goes first when there is not enough",
                default("\"tier1\"", "nobody said that the service exists for it"),
            ),
            key(
                "rate",
                "requests a second, over 0 to 1000000",
                "how many come at the peak, as observed or expected",
                Absent::Nothing("rules that need it are silent"),
            ),
            key(
                "deadline",
                TIME,
                "how long nobody waits longer than, for callers that do not say so themselves",
                Absent::Nothing("what the caller says"),
            ),
            key(
                "timeout",
                "name",
                "one of `timeouts`",
                Absent::Nothing("refused by the linter (P024), but for streams"),
            ),
            key(
                "admission",
                "name",
                "one of `admissions`",
                Absent::Nothing("no limit of requests at once"),
            ),
            key(
                "quota",
                "name",
                "one of `rates`",
                Absent::Nothing("no limit over time"),
            ),
            key(
                "stream",
                "name",
                "one of `streams`",
                Absent::Nothing("refused by the linter for streams (P026)"),
            ),
            key(
                "calls",
                "list of names, at most 32",
                "the `dependencies` that a request calls, one after the other",
                Absent::Nothing("none that the linter could reckon with"),
            ),
        ],
    },
    Section {
        name: "dependencies",
        what: "What is called, and which policies govern the calls.",
        names: Some("what the client of the guard calls it"),
        keys: &[
            key(
                "methods",
                METHODS,
                "the methods of the calls",
                Absent::Nothing("not known"),
            ),
            key(
                "idempotency_key",
                FLAG,
                "whether each call carries an `Idempotency-Key` that the target honors",
                default("false", "only who knows the target can say so"),
            ),
            key(
                "rate",
                "calls a second, over 0 to 1000000",
                "how many are made at the peak, as observed or expected",
                Absent::Nothing("rules that need it are silent"),
            ),
            key(
                "attempts_inside",
                "number, 1 to 10",
                "how many attempts somebody further inside makes for each of ours",
                default("1", "none but ours"),
            ),
            key(
                "timeout",
                "name",
                "one of `timeouts`, for each attempt",
                Absent::Nothing("refused by the linter (P024)"),
            ),
            key(
                "admission",
                "name",
                "one of `admissions`, the limit of calls at once",
                Absent::Nothing("no limit of calls at once"),
            ),
            key(
                "breaker",
                "name",
                "one of `breakers`",
                Absent::Nothing("called however often it fails"),
            ),
            key(
                "retry",
                "name",
                "one of `retries`",
                Absent::Nothing("one attempt"),
            ),
            key(
                "hedge",
                "name",
                "one of `hedges`",
                Absent::Nothing("one attempt at a time"),
            ),
        ],
    },
    Section {
        name: "trust",
        what: "How much of what a client says about its request is believed.",
        names: None,
        keys: &[
            key(
                "clients",
                "`\"edge\"` or `\"inside\"`",
                "who can reach the service: anybody (tier and baggage are ignored, a deadline may only shorten), or our own services alone",
                default("\"edge\"", "the error on the safe side"),
            ),
            key(
                "proxies",
                "list of addresses and ranges, `\"10.0.0.0/8\"`, at most 64",
                "the proxies in front, whose word on where a request came from is taken",
                Absent::Nothing("none: the client is the peer of the connection"),
            ),
            key(
                "hops",
                COUNT,
                "which hop is the client, counted from the nearest proxy",
                default("1", "one proxy in front is what most services have"),
            ),
        ],
    },
    Section {
        name: "drain",
        what: "How the service stops without failing what it has begun.",
        names: None,
        keys: &[
            key(
                "not_ready",
                TIME,
                "how long it goes on serving while it says that it is not ready; behind a load balancer at least two of its intervals",
                Absent::Nothing("no time"),
            ),
            key(
                "lower",
                TIME,
                "how long requests below core may go on",
                default(
                    "\"5s\"",
                    "what is below core is either soon done or can be asked for again",
                ),
            ),
            key(
                "core",
                TIME,
                "how long requests of core may go on after that",
                default(
                    "\"10s\"",
                    "longer than people wait for an order to go through",
                ),
            ),
            key(
                "hard",
                TIME,
                "how long all of it may take",
                default(
                    "\"25s\"",
                    "fits into the 30 s that a container gets between SIGTERM and SIGKILL",
                ),
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::context::Tier;
    use crate::decide::policy::examples::*;
    use crate::decide::policy::*;

    /// One of everything, with nothing set that has a default.
    fn plain() -> Policy {
        let mut policy = Policy::default();
        policy.admissions.insert("a".into(), admission(10));
        let learned = TimeoutPolicy::new(learned(1, 2));
        policy.timeouts.insert("a".into(), learned);
        let rate = RatePolicy::new(count(1), millis(1), count(1));
        policy.rates.insert("a".into(), rate);
        policy.breakers.insert("a".into(), BreakerPolicy::new());
        let retry = RetryPolicy::new(attempts(2), share(0.1));
        policy.retries.insert("a".into(), retry);
        let hedge = HedgePolicy::new(Setting::Fixed(millis(1)), share(0.1));
        policy.hedges.insert("a".into(), hedge);
        let stream = StreamPolicy::new(count(1), millis(1));
        policy.streams.insert("a".into(), stream);
        policy.routes.insert("a".into(), Route::new(["GET"]));
        policy
            .dependencies
            .insert("a".into(), Dependency::new(["GET"]));
        policy
    }

    /// One of everything, with all of it set.
    fn full() -> Policy {
        let mut policy = plain();
        let admission = policy.admissions.get_mut("a").unwrap();
        admission.permits = Setting::Learn {
            floor: count(1),
            ceiling: count(2),
        };
        admission.guaranteed.insert(Tier::CORE, share(0.5));
        let timeout = policy.timeouts.get_mut("a").unwrap();
        timeout.body_total = Some(millis(1));
        timeout.start = Some(millis(1));
        timeout.start_query = Some("x".into());
        let breaker = policy.breakers.get_mut("a").unwrap();
        breaker.failure_share = Some(share(0.5));
        breaker.consecutive = Some(count(1));
        breaker.slow = Some(SlowCalls {
            over: millis(1),
            share: share(0.5),
        });
        let delay = learned(1, 2);
        policy.hedges.get_mut("a").unwrap().delay = delay;
        policy.streams.get_mut("a").unwrap().total = Some(millis(1));
        let route = policy.routes.get_mut("a").unwrap();
        route.rate = Some(Rate::per_second(1.0).unwrap());
        route.deadline = Some(millis(1));
        let names = [
            &mut route.timeout,
            &mut route.admission,
            &mut route.quota,
            &mut route.stream,
        ];
        names.into_iter().for_each(|name| *name = Some("a".into()));
        route.calls.push("a".into());
        let dependency = policy.dependencies.get_mut("a").unwrap();
        dependency.rate = Some(Rate::per_second(1.0).unwrap());
        let names = [
            &mut dependency.timeout,
            &mut dependency.admission,
            &mut dependency.breaker,
            &mut dependency.retry,
            &mut dependency.hedge,
        ];
        names.into_iter().for_each(|name| *name = Some("a".into()));
        policy.trust.proxies.push("::1".parse().unwrap());
        policy.drain.not_ready = Some(millis(1));
        policy
    }

    fn key_of(path: &FieldPath) -> Option<(&'static str, &'static Key)> {
        let (section, key) = (path.segments().first()?, path.segments().last()?);
        let section = Section::named(section)?;
        Some((section.name, section.key(key)?))
    }

    #[test]
    fn every_field_is_described_and_nothing_else() {
        let fields = full().fields();
        let of_fields: BTreeSet<(&str, &str)> = fields
            .iter()
            .map(|(path, _)| {
                let (section, key) = key_of(path).unwrap_or_else(|| panic!("{path}"));
                (section, key.name)
            })
            .collect();
        let described: BTreeSet<(&str, &str)> = SECTIONS
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| (section.name, key.name)))
            .collect();

        assert_eq!(of_fields, described);
    }

    #[test]
    fn what_is_said_about_a_missing_key_is_what_holds() {
        let fields = plain().fields();
        for (path, value) in &fields {
            let (_, key) = key_of(path).unwrap();
            if let Absent::Default {
                value: said,
                reason,
            } = key.absent
            {
                assert_eq!(said, value, "{path}");
                assert!(reason.len() > 10, "{path}");
            }
        }
        let set = |section: &str, name: &str| {
            fields.iter().any(|(path, _)| {
                let segments = path.segments();
                segments[0] == section && segments.last().is_some_and(|last| last == name)
            })
        };
        for section in SECTIONS {
            for key in section.keys {
                match key.absent {
                    Absent::Default { .. } => assert!(set(section.name, key.name), "{key:?}"),
                    // The constructors insist on budgets and methods, a document does not.
                    Absent::Nothing(_) if ["budget", "methods"].contains(&key.name) => {}
                    Absent::Nothing(_) | Absent::NothingIfLearned(_) => {
                        assert!(!set(section.name, key.name), "{key:?}")
                    }
                    Absent::Refused | Absent::RefusedIfLearned => {}
                }
            }
        }
    }
}
