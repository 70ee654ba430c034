use std::sync::Arc;

use crate::context::Name;
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
pub(crate) type Keys = Arc<[(Name, Arc<str>)]>;

pub(super) fn with(keys: Option<&Keys>, key: Name, value: &str) -> Result<Keys, FullError> {
    let mut entries = entries(keys);
    let value: Arc<str> = text::head(value, VALUE_BYTES_MAX).into();
    match entries.iter().position(|(known, _)| *known == key) {
        Some(known) => entries[known].1 = value,
        None if entries.len() >= KEYS_MAX => return Err(FullError(())),
        None => entries.push((key, value)),
    }
    Ok(entries.into())
}

pub(super) fn get(keys: Option<&Keys>, key: &str) -> Option<Arc<str>> {
    let entries = keys?;
    let (_, value) = entries.iter().find(|(known, _)| known.as_str() == key)?;
    Some(value.clone())
}

pub(super) fn entries(keys: Option<&Keys>) -> Vec<(Name, Arc<str>)> {
    keys.map(|keys| keys.to_vec()).unwrap_or_default()
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
