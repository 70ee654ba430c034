//! The rules, by what they look at. Each file has the rules and their reasons side by side.

mod attempts;
mod breakers;
mod load;
mod names;
mod service;
mod streams;
mod tiers;
mod time;

use super::lint::Rule;

/// All rules, by id.
pub const RULES: &[Rule] = &[
    load::P001,
    time::P002,
    breakers::P003,
    tiers::P004,
    breakers::P005,
    breakers::P006,
    names::P007,
    names::P008,
    attempts::P009,
    attempts::P010,
    attempts::P011,
    attempts::P012,
    time::P013,
    time::P014,
    time::P015,
    tiers::P016,
    time::P017,
    tiers::P018,
    load::P019,
    load::P020,
    attempts::P021,
    time::P022,
    breakers::P023,
    time::P024,
    names::P025,
    streams::P026,
    streams::P027,
    streams::P028,
    breakers::P029,
    service::P030,
    service::P031,
    service::P032,
    service::P033,
    names::P034,
    names::P035,
];
