//! A service that runs, as far as it tells how it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use steadfast::clock;

use super::{Check, Finding, check, fail, ok, skip, warn};
use crate::api::client;

static REACHED: Check = check(
    "service.reached",
    "whether a service answers at `--service`, or at `health.listen`",
);
static READY: Check = check(
    "service.ready",
    "whether `/readyz` says that it is ready, and if not, why",
);
static ARMED: Check = check(
    "service.armed",
    "whether every route is guarded, by one guard, under a policy of its own: `steadfast_guard_armed` of `/metrics`",
);
static SHADOWED: Check = check(
    "service.shadowed",
    "whether a policy only looks on, and rejects nothing",
);
static PANICS: Check = check(
    "service.panics",
    "whether something has panicked since it was started",
);

#[cfg(test)]
pub(super) static CHECKS: &[&Check] = &[&REACHED, &READY, &ARMED, &SHADOWED, &PANICS];

/// How long an answer may take: 10 s, longer than a store that is away makes it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The most that is read of an answer: 16 MiB, the most that our own writes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// Asks for a path below a URL.
pub(super) async fn get(base: &str, path: &str, ca: Option<&Path>) -> anyhow::Result<Answer> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let asked = async {
        let uri = url.parse().context("this is no URL")?;
        let response = client::plain(ca)?.get(uri).await?;
        let status = response.status().as_u16();
        let body = Limited::new(Body::new(response.into_body()), ANSWER_BYTES_MAX);
        let body = body
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        anyhow::Ok(Answer { status, text })
    };
    let asked = clock::timeout(ANSWER_WITHIN, asked).await;
    asked.map_err(|_| anyhow::anyhow!("no answer within {ANSWER_WITHIN:?}"))?
}

pub(super) async fn examine(url: &str, ca: Option<&Path>) -> Vec<Finding> {
    let ready = get(url, "/readyz", ca).await;
    let metrics = get(url, "/metrics", ca).await;
    let metrics = match (metrics, &ready) {
        (Ok(answer), _) => answer,
        (Err(error), _) => {
            return vec![fail(
                &REACHED,
                format!("nobody answers at {url}: {error:#}"),
                "start it, or say with --service where it has /metrics",
            )];
        }
    };
    let mut findings = vec![ok(&REACHED, format!("a service answers at {url}"))];
    findings.push(match &ready {
        Ok(ready) => judge_ready(ready),
        Err(error) => skip(&READY, format!("{error:#}")),
    });
    findings.extend(judge_metrics(&metrics));
    findings
}

#[derive(Deserialize)]
struct NotReady {
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
    detail: String,
}

fn judge_ready(answer: &Answer) -> Finding {
    match answer.status {
        200..=299 => ok(&READY, "ready"),
        404 => skip(&READY, "it has no /readyz to ask"),
        status => {
            let why =
                serde_json::from_str::<NotReady>(&answer.text).map_or(String::new(), |told| {
                    let reasons = told
                        .reasons
                        .iter()
                        .map(|Reason { reason, detail }| format!("{reason}: {detail}"));
                    format!(", {}", reasons.collect::<Vec<_>>().join("; "))
                });
            fail(
                &READY,
                format!("it is not ready ({status}{why})"),
                "see to the reason; its lines say since when",
            )
        }
    }
}

/// Adds up the values of each metric.
fn sums(text: &str) -> BTreeMap<&str, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = name.split('{').next().unwrap_or_default();
        if let Ok(value) = value.parse::<f64>() {
            *sums.entry(name).or_insert(0.0) += value;
        }
    }
    sums
}

fn judge_metrics(answer: &Answer) -> Vec<Finding> {
    let metrics = sums(&answer.text);
    let value = |name: &str| metrics.get(name).copied();
    let Some(armed) = value("steadfast_guard_armed").filter(|_| answer.status == 200) else {
        return vec![warn(
            &ARMED,
            "it tells nothing of a guard",
            "put a `Guard` around its routes, and serve `report::prometheus::text` at /metrics: docs/how-to/prometheus.md",
        )];
    };
    let mut findings = Vec::new();
    let count = |name: &str| value(name).unwrap_or_default();
    for (name, says, fix) in [
        (
            "steadfast_guard_past_total",
            "requests were answered past the guard",
            "call `Guard::protect` last, around all routes",
        ),
        (
            "steadfast_guard_ungoverned_requests_total",
            "requests came to routes that the policy does not name",
            "name these routes in the policy; the log has a line for each",
        ),
        (
            "steadfast_guard_twice_total",
            "requests passed two guards, of which only the outer one acts",
            "put one guard around, once",
        ),
        (
            "steadfast_guard_unknown_clients_total",
            "requests had no client that can be told from others, so that all share the rate of one",
            "serve with `Guard::serve`, or say `client_by` in the policy",
        ),
    ] {
        let found = count(name);
        // Whoever asks for what is not there is counted, too.
        if found > 0.0 && armed == 0.0 {
            findings.push(fail(&ARMED, format!("{found} {says}"), fix));
        }
    }
    if findings.is_empty() {
        findings.push(match armed > 0.0 {
            true => ok(&ARMED, format!("every route is guarded; {} requests", count("steadfast_guard_requests_total"))),
            false => fail(
                &ARMED,
                "a protection of the policy is not in force: a route was not asked at the start, a dependency has no client of the guard, or an answer is a stream whose route is none",
                "print `guard.armed()` of that process, which names it",
            ),
        });
    }
    let shadowed = count("steadfast_guard_shadowed");
    findings.push(match shadowed > 0.0 {
        false => ok(&SHADOWED, "no policy only looks on"),
        true => warn(
            &SHADOWED,
            format!("{shadowed} policies are in shadow mode, and reject nothing"),
            "take `shadow` out once what they would have rejected is what you want: docs/how-to/shadow-mode.md",
        ),
    });
    let panics = count("steadfast_panics_total");
    findings.push(match panics > 0.0 {
        false => ok(&PANICS, "nothing has panicked"),
        true => warn(
            &PANICS,
            format!("{panics} panics since it was started"),
            "`steadfast panics list` has where; so have its lines, with `steadfast::panic`",
        ),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            status,
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_a_service_says_of_its_guard_is_judged() {
        let check = |text: &str, expect: &[(&str, Verdict, &str)]| {
            let findings = judge_metrics(&answer(200, text));
            let told: Vec<_> = findings
                .iter()
                .filter(|finding| finding.verdict != Verdict::Ok)
                .collect();
            assert_eq!(told.len(), expect.len(), "{text}");
            for (finding, (name, verdict, part)) in told.iter().zip(expect) {
                assert_eq!((finding.check.name, finding.verdict), (*name, *verdict));
                assert!(finding.says.contains(part), "{}", finding.says);
            }
        };
        let armed = "# TYPE steadfast_guard_armed gauge\nsteadfast_guard_armed 1\n";
        let not_armed = "steadfast_guard_armed 0\n";

        check(armed, &[]);
        check(
            "go_goroutines 7\n",
            &[("service.armed", Verdict::Warn, "nothing of a guard")],
        );
        check(
            not_armed,
            &[("service.armed", Verdict::Fail, "is not in force")],
        );
        check(
            &format!(
                "{not_armed}steadfast_guard_past_total{{guard=\"a\"}} 2\nsteadfast_guard_past_total{{guard=\"b\"}} 3\n"
            ),
            &[(
                "service.armed",
                Verdict::Fail,
                "5 requests were answered past",
            )],
        );
        check(
            &format!("{armed}steadfast_guard_shadowed 2\nsteadfast_panics_total 3\n"),
            &[
                ("service.shadowed", Verdict::Warn, "2 policies"),
                ("service.panics", Verdict::Warn, "3 panics"),
            ],
        );
    }

    #[test]
    fn why_a_service_is_not_ready_is_repeated() {
        let told = judge_ready(&answer(
            503,
            r#"{"ready":false,"reasons":[{"reason":"store","detail":"away"}]}"#,
        ));

        assert_eq!(told.verdict, Verdict::Fail);
        assert_eq!(told.says, "it is not ready (503, store: away)");
        assert_eq!(judge_ready(&answer(200, "")).verdict, Verdict::Ok);
        assert_eq!(judge_ready(&answer(404, "")).verdict, Verdict::Skip);
        assert_eq!(judge_ready(&answer(500, "no")).verdict, Verdict::Fail);
    }
}
