//! One file per layer: the same service behind ours and behind its peers.

use crate::Group;

pub(crate) mod access_log;
pub(crate) mod admission;
pub(crate) mod breaker;
pub(crate) mod chain;
pub(crate) mod facts;
pub(crate) mod hedge;
pub(crate) mod outgoing;
pub(crate) mod rate_limit;
pub(crate) mod recover;
pub(crate) mod retry;
pub(crate) mod service;
pub(crate) mod timeout;
pub(crate) mod trace_id;

/// Returns all groups in the order of the table.
pub fn all() -> Vec<Group> {
    let mut groups = vec![trace_id::group(), access_log::group(), timeout::group()];
    groups.extend(recover::groups());
    groups.extend(rate_limit::groups());
    groups.extend(admission::groups());
    groups.extend(facts::groups());
    groups.push(retry::group());
    groups.push(hedge::group());
    groups.extend(breaker::groups());
    groups.extend(chain::groups());
    groups.extend(outgoing::groups());
    groups
}
