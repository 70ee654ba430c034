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
