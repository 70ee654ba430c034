//! A policy that changes while others read it.

mod observers;
mod overrides;
mod refusals;
mod revisions;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use steadfast_core::clock::Timestamp;
use steadfast_core::decide::policy::{FieldPath, Policy};

use super::document_tests::SHOP;
use super::*;

fn at(seconds: u64) -> Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_457_100 + seconds)).into()
}

fn signed(reason: &str) -> Signed {
    Signed::new("ann", reason).unwrap()
}

fn document(text: &str) -> PolicyDocument {
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The shop with another number of permits.
fn with_permits(permits: u32) -> PolicyDocument {
    document(&SHOP.replace("permits = 200", &format!("permits = {permits}")))
}

fn live() -> LivePolicy {
    LivePolicy::new(Revision::new(
        "shop",
        1,
        document(SHOP),
        signed("first"),
        at(0),
    ))
}

fn change(live: &LivePolicy, document: PolicyDocument) -> u64 {
    let proposal = live.propose(document, signed("change"));
    live.apply(proposal, at(1)).unwrap().n()
}

fn permits(live: &LivePolicy) -> u32 {
    let in_force = live.in_force();
    in_force.policy().admissions["http"].permits.most().get()
}

fn held(path: &str, value: &str, until: Timestamp) -> Override {
    Override::new(path.parse().unwrap(), value, until, signed("INC-7")).unwrap()
}

fn hold(live: &LivePolicy, path: &str, value: &str) -> Result<(), String> {
    let held = live.hold(held(path, value, at(60)), at(0));
    held.map(drop).map_err(|refused| refused.to_string())
}

/// What observers are told: one line for each change.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl PolicyObserver for Told {
    fn changed(&self, change: &PolicyChange) {
        let line = |change: &steadfast_core::decide::policy::FieldChange| {
            let (before, after) = (&change.before, &change.after);
            let or_none = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
            format!("{} {} {}", change.path, or_none(before), or_none(after))
        };
        self.0
            .lock()
            .unwrap()
            .extend(change.changes.iter().map(line));
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
