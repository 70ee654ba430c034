use std::sync::Arc;

use crate::context::{Name, Propagated};
use crate::text;

/// How many different keys one context holds: 16, so that a log line stays a line.
pub const KEYS_MAX: usize = 16;

/// The longest value, in bytes: 256, so that a full context stays below a page.
pub const VALUE_BYTES_MAX: usize = 256;

/// Says that [`KEYS_MAX`] other keys are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the context holds {KEYS_MAX} keys already")]
pub struct FullError(());

/// Shared and never changed in place: writers are rare, while every spawn and scope copies the
/// reference.
pub(crate) type Keys = Arc<Entries>;

/// The facts that most work does not have, behind one pointer.
#[derive(Clone, Default)]
pub(crate) struct Entries {
    own: Vec<(Name, Arc<str>)>,
    pub(super) propagated: Option<Arc<Propagated>>,
}

impl Entries {
    pub(crate) fn own(&self) -> &[(Name, Arc<str>)] {
        &self.own
    }
}

pub(super) fn with(keys: Option<&Keys>, key: Name, value: &str) -> Result<Keys, FullError> {
    let mut entries = changeable(keys);
    let own = &mut entries.own;
    let value: Arc<str> = text::head(value, VALUE_BYTES_MAX).into();
    match own.iter().position(|(known, _)| *known == key) {
        Some(known) => own[known].1 = value,
        None if own.len() >= KEYS_MAX => return Err(FullError(())),
        None => own.push((key, value)),
    }
    Ok(entries.into())
}

pub(super) fn with_propagated(keys: Option<&Keys>, propagated: Propagated) -> Keys {
    let mut entries = changeable(keys);
    entries.propagated = Some(propagated.into());
    entries.into()
}

pub(super) fn get(keys: Option<&Keys>, key: &str) -> Option<Arc<str>> {
    let (_, value) = keys?.own.iter().find(|(known, _)| known.as_str() == key)?;
    Some(value.clone())
}

pub(super) fn entries(keys: Option<&Keys>) -> Vec<(Name, Arc<str>)> {
    keys.map(|keys| keys.own.clone()).unwrap_or_default()
}

fn changeable(keys: Option<&Keys>) -> Entries {
    keys.map(|keys| Entries::clone(keys)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seventeenth_key_is_refused_and_known_ones_can_still_change() {
        let mut keys = None;
        for i in 0..KEYS_MAX {
            keys = Some(with(keys.as_ref(), format!("key {i}").into(), "old").unwrap());
        }

        assert!(with(keys.as_ref(), "one more".into(), "x").is_err());
        let changed = with(keys.as_ref(), "key 3".into(), "new").unwrap();
        assert_eq!(get(Some(&changed), "key 3").as_deref(), Some("new"));
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = "é".repeat(VALUE_BYTES_MAX);

        let keys = with(None, "k".into(), &long).unwrap();

        assert_eq!(get(Some(&keys), "k").unwrap().len(), VALUE_BYTES_MAX);
    }
}
