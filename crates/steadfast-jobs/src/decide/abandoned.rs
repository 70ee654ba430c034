//! Whether a kind has lost its handler, or whoever has it is only on its way back.
//!
//! A node that is started anew is away for some seconds, and one that was killed for a lease, after which others take its
//! jobs. Whoever is told of that each time stops listening. So a kind counts as lost once no node has handled it for longer
//! than a rescue takes; and of a fleet that has just been started nothing is known yet.

/// When a node last handled a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastSeen {
    /// One does.
    Now,
    /// The last one ended so many nanoseconds ago.
    Ago(u64),
    /// Nobody has for as long as that is remembered.
    Never,
}

/// Judges a kind by when it was last handled, by how long the node lives that has lived longest (none where none lives), and
/// by how long a rescue takes, all in nanoseconds.
pub fn is_abandoned(seen: LastSeen, oldest_ns: Option<u64>, rescue_ns: u64) -> bool {
    let is_long = |ns: u64| ns > rescue_ns;
    let is_gone = match seen {
        LastSeen::Now => return false,
        LastSeen::Ago(ns) => is_long(ns),
        LastSeen::Never => true,
    };
    is_gone && oldest_ns.is_none_or(is_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESCUE: u64 = 30;

    #[test]
    fn a_kind_is_lost_once_nobody_has_handled_it_for_longer_than_a_rescue_takes() {
        for (seen, expect) in [
            (LastSeen::Now, false),
            (LastSeen::Ago(0), false),
            (LastSeen::Ago(RESCUE), false),
            (LastSeen::Ago(RESCUE + 1), true),
            (LastSeen::Never, true),
        ] {
            assert_eq!(is_abandoned(seen, Some(1_000), RESCUE), expect, "{seen:?}");
            assert_eq!(
                is_abandoned(seen, None, RESCUE),
                expect,
                "{seen:?} without a node"
            );
        }
    }

    #[test]
    fn nothing_is_lost_while_the_fleet_has_just_been_started() {
        for seen in [LastSeen::Now, LastSeen::Ago(1_000), LastSeen::Never] {
            assert!(!is_abandoned(seen, Some(RESCUE), RESCUE), "{seen:?}");
        }
    }
}
