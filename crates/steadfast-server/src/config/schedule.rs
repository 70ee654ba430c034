//! When a job is due.

use steadfast::jobs::Options;
use steadfast::jobs::schedule::{Missed, Overlap, Plan, Rule, Schedule, Zone};
use steadfast::settings::{Table, Wrong};

use super::handler::Handler;
use super::keys::*;

/// A schedule, as it was said.
#[derive(Debug, Clone)]
pub(crate) struct Scheduled(pub(crate) Schedule);

/// What is known of a handler by its name.
pub(super) enum Found<'h> {
    Well(&'h Handler),
    /// It has mistakes, which were told.
    Mistaken,
    Nowhere,
}

/// Reads a schedule.
pub(super) fn ask<'h>(
    name: &str,
    table: &mut Table<'_, '_>,
    find: &dyn Fn(&str) -> Found<'h>,
) -> Option<Scheduled> {
    let rule = SCHEDULE_RULE.text_as(table, |text| text.parse::<Rule>().map_err(shown));
    let zone = SCHEDULE_ZONE.text_as(table, |text| Zone::new(text).map_err(shown));
    let kind = SCHEDULE_HANDLER
        .text(table)
        .unwrap_or_else(|| name.to_owned());
    let handler = find(&kind);
    if matches!(handler, Found::Nowhere) {
        let wrong = Wrong::new(format!(
            "there is no handler {kind:?}, so nobody would do its work"
        ));
        table.refuse(
            SCHEDULE_HANDLER.name,
            wrong.with_fix(format!("add [handlers.{kind}]")),
        );
    }
    let payload = SCHEDULE_PAYLOAD.text_as(table, |text| {
        let json = serde_json::from_str::<serde::de::IgnoredAny>(text);
        let shown = |error| Wrong::new(format!("it is no JSON: {error}"));
        json.map(|_| text.to_owned()).map_err(shown)
    });
    let missed = SCHEDULE_MISSED.text_as(table, |text| text.parse::<Missed>().map_err(shown));
    let overlap = SCHEDULE_OVERLAP.text_as(table, |text| text.parse::<Overlap>().map_err(shown));
    let jitter = SCHEDULE_JITTER.time(table).unwrap_or_default();
    let deadline = SCHEDULE_DEADLINE.time(table);
    let priority = SCHEDULE_PRIORITY.number(table).unwrap_or_default();

    let mut plan = Plan::builder(rule?).jitter(jitter);
    if let Some(zone) = zone {
        plan = plan.zone(zone);
    }
    if let Some(missed) = missed {
        plan = plan.missed(missed);
    }
    if let Some(overlap) = overlap {
        plan = plan.overlap(overlap);
    }
    if let Some(deadline) = deadline {
        plan = plan.start_deadline(deadline);
    }
    let Found::Well(handler) = handler else {
        return None;
    };
    let options = Options::new()
        .queue(&handler.queue)
        .max_attempts(handler.attempts)
        .priority(i16::try_from(priority).unwrap_or_default());
    let plan = match plan.build() {
        Ok(plan) => plan,
        Err(wrong) => {
            table.refuse(wrong.setting(), shown(wrong));
            return None;
        }
    };
    let payload = payload.unwrap_or_else(|| "null".into());
    match Schedule::of_kind(name, plan, kind, payload, options) {
        Ok(schedule) => Some(Scheduled(schedule)),
        Err(wrong) => {
            table.refuse(SCHEDULE_RULE.name, shown(wrong));
            None
        }
    }
}

fn shown(wrong: impl std::fmt::Display) -> Wrong {
    Wrong::new(wrong.to_string())
}
