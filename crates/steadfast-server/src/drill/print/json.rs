//! For machines: `version` grows when something is renamed or taken away.

use serde_json::{Value, json as object};

use super::{Report, note};
use crate::drill::judge::{Needed, Row};
use crate::drill::stage::LEASE;
use crate::drill::{Play, Scenario};

pub(crate) fn json(report: &Report) -> Value {
    object!({
        "version": 1,
        "data": {
            "met": report.is_met(),
            "lease_s": LEASE.as_secs_f64(),
            "note": note(),
            "protected": play(&report.protected),
            "unprotected": report.unprotected.as_ref().map(play),
        },
    })
}

/// What there is, with what is asked for in each.
pub(crate) fn json_list() -> Value {
    let scenarios = Scenario::all().into_iter().map(|scenario| {
        let criteria = scenario.criteria();
        object!({
            "scenario": scenario.name(),
            "title": scenario.title(),
            "criteria": criteria.iter().map(asked).collect::<Vec<_>>(),
        })
    });
    object!({ "version": 1, "data": { "scenarios": scenarios.collect::<Vec<_>>() } })
}

fn play(play: &Play) -> Value {
    let acts = play.acts.iter().map(|act| {
        object!({
            "scenario": act.scenario.name(),
            "title": act.scenario.title(),
            "took_s": act.took_s,
            "criteria": act.rows.iter().map(row).collect::<Vec<_>>(),
        })
    });
    object!({ "met": play.is_met(), "took_s": play.took_s, "scenarios": acts.collect::<Vec<_>>() })
}

fn row(row: &Row) -> Value {
    let mut told = asked(row);
    told["measured"] = object!(row.measured);
    told["met"] = object!(row.is_met());
    told
}

fn asked(row: &Row) -> Value {
    let (at_least, at_most) = match row.needed {
        Needed::AtLeast(least) => (Some(least), None),
        Needed::AtMost(most) => (None, Some(most)),
    };
    object!({
        "criterion": row.name,
        "unit": row.unit.as_str(),
        "at_least": at_least,
        "at_most": at_most,
    })
}
