//! Who is next to ask the store, one operation at a time.
//!
//! In a busy queue one of them may be due all the time: there is always more to claim, or always more that is put back.
//! So whoever was last waits until all others had their turn that have something to ask.

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ends that are told, and claims.
    Exchange,
    /// Whether what a handler has completed itself was committed.
    Check,
    /// Jobs that go back to work.
    PutBack,
    /// A suspect.
    Suspect,
    /// Rejected ends that are noted.
    Rejected,
    /// A claim from a queue with limits.
    Limited,
}

impl Turn {
    const ALL: [Self; 6] = [
        Self::Exchange,
        Self::Check,
        Self::PutBack,
        Self::Suspect,
        Self::Rejected,
        Self::Limited,
    ];

    /// Gives all in the order in which they go after this one, which is the last.
    pub fn then(self) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter().cycle();
        all.skip(self as usize + 1).take(Self::ALL.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_has_something_to_ask_waits_for_the_same_one_twice() {
        for waits in Turn::ALL {
            let mut last = waits;
            let mut before = Vec::new();
            loop {
                // All have, always.
                last = last.then().next().unwrap();
                if last == waits {
                    break;
                }
                assert!(!before.contains(&last), "{last:?} before {waits:?}");
                before.push(last);
            }
            assert_eq!(before.len(), Turn::ALL.len() - 1);
        }
    }

    #[test]
    fn whoever_alone_has_something_to_ask_goes_on() {
        for turn in Turn::ALL {
            assert_eq!(turn.then().last(), Some(turn));
        }
    }
}
