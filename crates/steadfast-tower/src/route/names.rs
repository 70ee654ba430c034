use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use steadfast_core::context::Name;

/// How many different routes a process knows: 1,024, several times those of a large service, and a
/// quarter of all [names made at run time](Name::DYNAMIC_MAX), so that a mistake here leaves room
/// for the names of others.
pub const ROUTES_MAX: usize = 1_024;

/// Gives the name for a text, or [`Name::OTHER`] once there are too many.
pub(super) fn bounded(text: &str) -> Name {
    static KNOWN: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

    thread_local! {
        // Holds only what was let into the set of all threads, so it has the same bound.
        static RECENT: RefCell<HashSet<&'static str>> = RefCell::default();
    }

    RECENT.with_borrow_mut(|recent| {
        if let Some(known) = recent.get(text) {
            return Name::new(known);
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let name = admit(known.get_or_insert_default(), text);
        if name != Name::OTHER {
            recent.insert(name.as_str());
        }
        name
    })
}

fn admit(known: &mut HashSet<&'static str>, text: &str) -> Name {
    if let Some(known) = known.get(text) {
        return Name::new(known);
    }
    if known.len() >= ROUTES_MAX || text.len() > Name::DYNAMIC_BYTES_MAX {
        return Name::OTHER;
    }
    // The process may have no room for it, either.
    let name = Name::from(text.to_owned());
    if name != Name::OTHER {
        known.insert(name.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_routes_stays_within_its_bound_and_known_ones_keep_their_name() {
        let mut known = HashSet::new();

        let names: HashSet<_> = (0..ROUTES_MAX + 100)
            .map(|i| admit(&mut known, &format!("/flood/{i}")))
            .collect();

        assert_eq!(names.len(), ROUTES_MAX + 1);
        assert!(names.contains(&Name::OTHER));
        assert_eq!(admit(&mut known, "/flood/7").as_str(), "/flood/7");
    }

    #[test]
    fn a_name_is_the_same_in_every_thread() {
        let here = bounded("/threads/{id}");
        let there = std::thread::spawn(|| bounded("/threads/{id}")).join();

        assert_eq!(there.unwrap(), here);
        assert_eq!(bounded("/threads/{id}").as_str(), "/threads/{id}");
    }

    #[test]
    fn a_name_that_is_too_long_is_told_apart_no_more() {
        let long = "x".repeat(Name::DYNAMIC_BYTES_MAX + 1);

        assert_eq!(bounded(&long), Name::OTHER);
    }
}
