//! One file per primitive: its peers, its unit, its budget.

use crate::Group;
use crate::golang::Go;

pub(crate) mod block_guard;
pub(crate) mod contained_panic;
pub(crate) mod ids;
pub(crate) mod once;
pub(crate) mod pool;
pub(crate) mod recover;
pub(crate) mod recover_async;
pub(crate) mod restart;
pub(crate) mod scope;
pub(crate) mod scope_async;
pub(crate) mod spawn;
pub(crate) mod wait_group;

/// Returns all groups in the order of the table; those of Go take part where it is there.
pub fn all(go: Option<&Go>) -> Vec<Group> {
    let mut groups = vec![block_guard::group(go)];
    groups.extend(scope::groups(go));
    groups.extend(scope_async::groups());
    groups.push(recover::group(go));
    groups.extend(recover_async::groups());
    groups.extend(contained_panic::groups(go));
    groups.extend(spawn::groups(go));
    groups.extend(pool::groups(go));
    groups.push(once::group(go));
    groups.push(wait_group::group(go));
    groups.push(restart::group());
    groups.extend(ids::groups());
    groups
}
