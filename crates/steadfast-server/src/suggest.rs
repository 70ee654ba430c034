//! Which timeouts and limits follow from what was seen: pure arithmetic, told in full.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast::decide::policy::{FieldPath, Policy, Route, Setting};
use steadfast::tower::PolicyDocument;

use crate::traffic::Durations;

/// How many served requests are enough to know their 99 % by: 1,000, of which ten took longer.
pub(crate) const REQUESTS_MIN: u64 = 1_000;

/// Over how long a rate has to be seen: a minute.
pub(crate) const SECONDS_MIN: f64 = 60.0;

/// How much longer than the 99 % a timeout is, and how much more than busy a limit: twice, which is
/// what a service has in reserve that is asked to serve a bad day.
const HEADROOM: f64 = 2.0;

/// A number that is off by less is left alone: a quarter, about what one day differs from the next.
const CLOSE: f64 = 1.25;

/// Of how many requests the timeout may have cut the end off before their times say nothing: 1 %,
/// since the 99 % is what is looked for.
const CUT_MAX: f64 = 0.01;

/// The shortest timeout that is proposed: 10 ms. Below it, a pause of the machine is an error.
const TIMEOUT_MIN: f64 = 0.010;

/// The fewest permits: 4. Fewer are a queue.
const PERMITS_MIN: f64 = 4.0;

/// What was seen of a route.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// How long the requests took that were served.
    pub(crate) durations: Durations,
    /// How many were cut off by the timeout.
    pub(crate) cut: u64,
    /// Requests a second, at the peak where that is known.
    pub(crate) per_second: f64,
    /// Over how many seconds.
    pub(crate) seconds: f64,
}

/// What follows.
#[derive(Debug, Default)]
pub(crate) struct Suggestion {
    /// What was seen, by route.
    pub(crate) data: Vec<(String, String)>,
    /// What should be changed, and the arithmetic.
    pub(crate) changes: Vec<Proposal>,
    /// What is left alone, and why.
    pub(crate) left: Vec<(String, String)>,
}

/// A value that should be another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) path: FieldPath,
    /// As a document writes it.
    pub(crate) value: String,
    pub(crate) because: String,
}

/// Finds what should be changed in a policy.
pub(crate) fn suggest(policy: &Policy, seen: &BTreeMap<String, Seen>) -> Suggestion {
    let mut suggestion = Suggestion {
        data: policy.routes.keys().map(|name| data(name, seen)).collect(),
        ..Suggestion::default()
    };
    let mut timeouts = BTreeMap::new();
    for name in policy.timeouts.keys() {
        let of = routes_of(policy, |route| route.timeout.as_ref() == Some(name));
        let called = policy.dependencies.values();
        let is_called = called
            .into_iter()
            .any(|of| of.timeout.as_ref() == Some(name));
        if of.is_empty() || is_called {
            // What calls take is not seen here.
            continue;
        }
        match timeout(policy, name, &of, seen) {
            Ok(proposals) => {
                for (proposal, seconds) in proposals {
                    timeouts.insert(name.clone(), seconds);
                    suggestion.changes.push(proposal);
                }
            }
            Err(why) => suggestion.left.push((format!("timeouts.{name}"), why)),
        }
    }
    for name in policy.admissions.keys() {
        let of = routes_of(policy, |route| route.admission.as_ref() == Some(name));
        if of.is_empty() {
            continue;
        }
        match permits(policy, name, &of, seen, &timeouts) {
            Ok(proposal) => suggestion.changes.push(proposal),
            Err(why) => suggestion.left.push((format!("admissions.{name}"), why)),
        }
    }
    suggestion
}

fn routes_of(policy: &Policy, is_of: impl Fn(&Route) -> bool) -> Vec<&String> {
    let routes = policy.routes.iter().filter(|(_, route)| is_of(route));
    routes.map(|(name, _)| name).collect()
}

fn data(name: &str, seen: &BTreeMap<String, Seen>) -> (String, String) {
    let Some(seen) = seen.get(name).filter(|seen| seen.durations.count() > 0) else {
        return (name.to_owned(), "nothing was served".to_owned());
    };
    let text = format!(
        "{} served, {} cut off, p99 {}, mean {}, {:.1}/s over {:.0} s",
        seen.durations.count(),
        seen.cut,
        time(seen.durations.quantile(0.99).unwrap_or_default()),
        time(seen.durations.mean().unwrap_or_default()),
        seen.per_second,
        seen.seconds,
    );
    (name.to_owned(), text)
}

/// What was seen of all routes that share something; or which of them says too little.
fn enough<'s>(
    of: &[&String],
    seen: &'s BTreeMap<String, Seen>,
) -> Result<Vec<(String, &'s Seen)>, String> {
    let each = of.iter().map(|name| {
        let seen = seen.get(*name);
        let count = seen.map_or(0, |seen| seen.durations.count());
        match seen {
            Some(seen) if count >= REQUESTS_MIN => Ok(((*name).clone(), seen)),
            _ => Err(format!(
                "too little is known: {name} has served {count} requests, and {REQUESTS_MIN} are needed"
            )),
        }
    });
    each.collect()
}

fn timeout(
    policy: &Policy,
    name: &str,
    of: &[&String],
    seen: &BTreeMap<String, Seen>,
) -> Result<Vec<(Proposal, f64)>, String> {
    let seen = enough(of, seen)?;
    for (route, seen) in &seen {
        let share = seen.cut as f64 / (seen.cut + seen.durations.count()) as f64;
        if share > CUT_MAX {
            return Err(format!(
                "of {route} {:.1} % were cut off, so nobody knows how long they would have taken; \
                 give it more time, and ask again",
                share * 100.0
            ));
        }
    }
    let slowest = seen.iter().map(|(route, seen)| {
        let p99 = seen.durations.quantile(0.99).unwrap_or_default();
        (route, p99)
    });
    let Some((route, p99)) = slowest.max_by(|(_, a), (_, b)| a.total_cmp(b)) else {
        return Err("no route has it".to_owned());
    };
    let wanted = round_up((HEADROOM * p99).max(TIMEOUT_MIN));
    let sum = format!("{HEADROOM} × {} (p99 of {route})", time(p99));
    let path = |key: &str| FieldPath::new(["timeouts", name, key]);
    let proposal = |key, seconds: f64, because: String| {
        let proposal = Proposal {
            path: path(key),
            value: format!("\"{}ms\"", (seconds * 1e3).round()),
            because,
        };
        (proposal, seconds)
    };
    match policy.timeouts.get(name).map(|timeout| &timeout.timeout) {
        Some(Setting::Fixed(is)) => {
            let is = is.get().as_secs_f64();
            match is_close(is, wanted) {
                true => Err(format!("{} is right: {sum} = {}", time(is), time(wanted))),
                false => Ok(vec![proposal(
                    "timeout",
                    wanted,
                    format!("{sum} = {}, instead of {}", time(wanted), time(is)),
                )]),
            }
        }
        Some(Setting::Learn { floor, ceiling }) => {
            let floor = floor.get().as_secs_f64();
            let ceiling = ceiling.get().as_secs_f64();
            let mut proposals = Vec::new();
            // The order in which the linter takes them: the ceiling is above the floor at every step.
            if ceiling < wanted / CLOSE {
                let because = format!(
                    "{sum} = {}, above the ceiling of {}",
                    time(wanted),
                    time(ceiling)
                );
                proposals.push(proposal("timeout_ceiling", wanted, because));
            }
            if floor < p99 {
                let because = format!(
                    "the p99 of {route} is {}, above the floor of {}",
                    time(p99),
                    time(floor)
                );
                proposals.push(proposal("timeout_floor", round_up(p99), because));
            }
            match proposals.is_empty() {
                true => Err(format!(
                    "it is learned between {} and {}, around the p99 of {}",
                    time(floor),
                    time(ceiling),
                    time(p99)
                )),
                false => Ok(proposals),
            }
        }
        None => Err("the policy has no such timeout".to_owned()),
    }
}

fn permits(
    policy: &Policy,
    name: &str,
    of: &[&String],
    seen: &BTreeMap<String, Seen>,
    timeouts: &BTreeMap<String, f64>,
) -> Result<Proposal, String> {
    let Some(Setting::Fixed(is)) = policy.admissions.get(name).map(|of| &of.permits) else {
        return Err("its permits are learned".to_owned());
    };
    let is = f64::from(is.get());
    let seen = enough(of, seen)?;
    if let Some((route, seen)) = seen.iter().find(|(_, seen)| seen.seconds < SECONDS_MIN) {
        return Err(format!(
            "too little is known: {route} was seen for {:.0} s, and a rate needs {SECONDS_MIN} s",
            seen.seconds
        ));
    }
    let busy: f64 = seen
        .iter()
        .map(|(_, seen)| seen.per_second * seen.durations.mean().unwrap_or_default())
        .sum();
    // What a route holds that stalls until its timeout, at the rate that the policy says if that is more.
    let stalled = seen.iter().filter_map(|(name, seen)| {
        let route = policy.routes.get(name)?;
        let rate = route
            .rate
            .map_or(0.0, |rate| rate.get())
            .max(seen.per_second);
        let timeout = route.timeout.as_ref()?;
        let seconds = match (
            timeouts.get(timeout),
            &policy.timeouts.get(timeout)?.timeout,
        ) {
            (Some(seconds), Setting::Fixed(_)) => *seconds,
            (None, Setting::Fixed(is)) => is.get().as_secs_f64(),
            // One that is learned takes care of that by itself.
            (_, Setting::Learn { .. }) => return None,
        };
        Some((name, rate, seconds))
    });
    let stalled = stalled.max_by(|a, b| (a.1 * a.2).total_cmp(&(b.1 * b.2)));
    let mut wanted = (HEADROOM * busy).ceil();
    let mut sum = format!("{HEADROOM} × {busy:.2} busy at once (rate × mean of each route)");
    if let Some((route, rate, seconds)) =
        stalled.filter(|(_, rate, seconds)| rate * seconds > wanted)
    {
        wanted = (rate * seconds).ceil();
        sum = format!(
            "{rate:.1}/s × {} are held when {route} stalls",
            time(seconds)
        );
    }
    if wanted < PERMITS_MIN {
        wanted = PERMITS_MIN;
        sum.push_str(", and not fewer than can work side by side");
    }
    match is_close(is, wanted) {
        true => Err(format!("{is} permits are right: {sum} = {wanted}")),
        false => Ok(Proposal {
            path: FieldPath::new(["admissions", name, "permits"]),
            value: format!("{wanted}"),
            because: format!("{sum} = {wanted}, instead of {is}"),
        }),
    }
}

fn is_close(is: f64, wanted: f64) -> bool {
    is <= wanted * CLOSE && wanted <= is * CLOSE
}

/// Rounds up to two digits, so that nobody reads precision into it; to milliseconds at the least.
fn round_up(seconds: f64) -> f64 {
    let ms = seconds * 1e3;
    let step = 10_f64.powf((ms.max(1.0).log10().floor() - 1.0).max(0.0));
    // A little less, so that what is round already stays.
    ((ms / step) - 1e-9).ceil() * step / 1e3
}

fn time(seconds: f64) -> String {
    // To a tenth of a millisecond.
    let duration = Duration::try_from_secs_f64((seconds * 1e4).round() / 1e4);
    format!("{:?}", duration.unwrap_or_default())
}

/// Writes values into a document where they stand, so that comments stay.
///
/// # Errors
/// When the document then would not say exactly that: whoever wrote it has to change it by hand.
pub(crate) fn edit(document: &PolicyDocument, changes: &[Proposal]) -> Result<String, String> {
    let mut lines: Vec<String> = document.text().lines().map(ToOwned::to_owned).collect();
    for change in changes {
        let by_hand = || format!("{} cannot be changed where it stands", change.path);
        let place = document.place(&change.path).ok_or_else(by_hand)?;
        let line = lines.get_mut(place.line - 1).ok_or_else(by_hand)?;
        let (key, rest) = line.split_once('=').ok_or_else(by_hand)?;
        let comment = comment(rest).map(|comment| format!("  {comment}"));
        *line = format!("{}= {}{}", key, change.value, comment.unwrap_or_default());
    }
    let text = lines.join("\n") + "\n";
    Ok(text)
}

/// The comment behind a value, if there is one.
fn comment(text: &str) -> Option<&str> {
    let mut quote = None;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (None, '#') => return Some(&text[at..]),
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
[admissions.web]
permits = 40 # as the database
queue_wait = "100ms"
[timeouts.page]
timeout = "3s"  # long, since "nobody" knew
[timeouts.learned]
timeout = "learn"
timeout_floor = "50ms"
timeout_ceiling = "150ms"
[routes."GET /a"]
timeout = "page"
admission = "web"
[routes."GET /b"]
timeout = "learned"
"#;

    fn document() -> PolicyDocument {
        PolicyDocument::new("policy.toml", POLICY).unwrap()
    }

    /// So many requests, all between 100 and 200 ms.
    fn seen(count: u64, cut: u64, seconds: f64) -> Seen {
        Seen {
            durations: Durations {
                buckets: vec![(0.1, 0), (0.2, count), (f64::INFINITY, 0)],
                seconds: count as f64 * 0.15,
            },
            cut,
            per_second: 100.0,
            seconds,
        }
    }

    fn of(a: Seen, b: Seen) -> Suggestion {
        let seen = BTreeMap::from([("GET /a".to_owned(), a), ("GET /b".to_owned(), b)]);
        suggest(document().policy(), &seen)
    }

    #[test]
    fn timeouts_are_twice_the_p99_and_limits_hold_what_stalls() {
        let suggestion = of(seen(5_000, 0, 600.0), seen(5_000, 0, 600.0));

        let told: Vec<_> = suggestion
            .changes
            .iter()
            .map(|change| format!("{} = {}: {}", change.path, change.value, change.because))
            .collect();
        assert_eq!(
            told,
            [
                "timeouts.learned.timeout_ceiling = \"400ms\": 2 × 199ms (p99 of GET /b) = 400ms, above the ceiling of 150ms",
                "timeouts.learned.timeout_floor = \"200ms\": the p99 of GET /b is 199ms, above the floor of 50ms",
                "timeouts.page.timeout = \"400ms\": 2 × 199ms (p99 of GET /a) = 400ms, instead of 3s",
            ]
        );
        assert_eq!(
            suggestion.left,
            [(
                "admissions.web".to_owned(),
                "40 permits are right: 100.0/s × 400ms are held when GET /a stalls = 40".to_owned()
            )]
        );
        assert_eq!(
            suggestion.data[0].1,
            "5000 served, 0 cut off, p99 199ms, mean 150ms, 100.0/s over 600 s"
        );
    }

    #[test]
    fn too_little_is_not_enough_and_says_so() {
        let left = |a, b| of(a, b).left;

        let few = left(seen(999, 0, 600.0), Seen::default());
        assert!(
            few.iter()
                .all(|(_, why)| why.starts_with("too little is known: ")),
            "{few:?}"
        );
        assert!(
            few[1]
                .1
                .contains("GET /a has served 999 requests, and 1000 are needed")
        );
        let short = of(seen(5_000, 0, 59.0), Seen::default());
        let permits = short
            .left
            .iter()
            .find(|(name, _)| name == "admissions.web")
            .unwrap();
        assert!(
            permits
                .1
                .contains("was seen for 59 s, and a rate needs 60 s"),
            "{permits:?}"
        );
        assert_eq!(short.changes.len(), 1, "a timeout needs no rate");
    }

    #[test]
    fn what_was_cut_off_says_nothing_about_how_long_it_takes() {
        let suggestion = of(seen(5_000, 100, 600.0), Seen::default());

        let page = suggestion
            .left
            .iter()
            .find(|(name, _)| name == "timeouts.page")
            .unwrap();
        assert!(
            page.1.starts_with("of GET /a 2.0 % were cut off"),
            "{page:?}"
        );
    }

    #[test]
    fn a_document_is_edited_where_the_values_stand_and_keeps_its_comments() {
        let suggestion = of(seen(5_000, 0, 600.0), seen(5_000, 0, 600.0));

        let edited = edit(&document(), &suggestion.changes).unwrap();

        assert!(
            edited.contains("timeout = \"400ms\"  # long, since \"nobody\" knew\n"),
            "{edited}"
        );
        assert!(
            edited.contains("permits = 40 # as the database\n"),
            "{edited}"
        );
        let after = PolicyDocument::new("policy.toml", edited).unwrap();
        let changed = document().policy().changes(after.policy());
        let mut paths: Vec<_> = suggestion
            .changes
            .iter()
            .map(|change| change.path.clone())
            .collect();
        paths.sort();
        assert_eq!(
            changed.into_iter().map(|of| of.path).collect::<Vec<_>>(),
            paths
        );
    }

    #[test]
    fn numbers_are_rounded_up_to_two_digits() {
        for (is, wanted) in [
            (0.0101, 0.011),
            (0.398, 0.4),
            (0.4, 0.4),
            (1.21, 1.3),
            (12.1, 13.0),
            (0.0003, 0.001),
        ] {
            assert!(
                (round_up(is) - wanted).abs() < 1e-9,
                "{is}: {}",
                round_up(is)
            );
        }
    }
}
