//! What an operator holds against the document for a while.

use std::fmt;
use std::time::{Duration, SystemTime};

use steadfast_core::clock::Timestamp;
use steadfast_core::decide::policy::{FieldPath, Policy, Section, nearest_name};
use steadfast_core::settings::{self, Problems, Source};

use super::document::PolicyDocument;
use super::signed::{Signed, Utc};

/// A value that holds in place of the one in the document, until a time.
///
/// For the minutes in which a change of the document is too slow. It ends by itself, so that nobody
/// has to remember it, and it is told by everybody who explains what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    path: FieldPath,
    value: String,
    until: Timestamp,
    signed: Signed,
}

/// Refuses an override.
///
/// Trying again with the same one fails again, unless the document has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidOverride(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0:?} is not one value; write it as in a document")]
    Value(String),
    #[error("there is no {0} to override{1}")]
    Unknown(FieldPath, String),
    #[error("until {until} is over: it is {now}")]
    Over { until: String, now: String },
    #[error(
        "until {until} is more than a day from now, {now}; what should hold for longer is a change of \
         the document"
    )]
    Long { until: String, now: String },
    #[error("there are {bound} overrides, as many as there may be; end one, or change the document", bound = Override::MAX)]
    Many,
    #[error("with it the policy has mistakes\n\n{0}")]
    Mistakes(Problems),
    #[error("it cannot be put in force: {0}")]
    Refused(String),
}

impl InvalidOverride {
    /// Gives the mistakes that the policy would have with it, if that is why.
    pub fn problems(&self) -> Option<&Problems> {
        match &self.0 {
            Refusal::Mistakes(problems) => Some(problems),
            _ => None,
        }
    }

    /// Tells whether there is no such field.
    pub fn is_unknown(&self) -> bool {
        matches!(self.0, Refusal::Unknown(..))
    }
}

impl Override {
    /// The most at a time: 32. Whoever needs more has another document in mind.
    pub const MAX: usize = 32;

    /// The longest: one day. What should hold for longer is a change of the document.
    pub const LONGEST: Duration = Duration::from_secs(86_400);

    /// Makes an override of one field: its path, its value as in a document, and until when. Quotes
    /// around a text may be left out.
    ///
    /// # Errors
    /// When the value is not one value. Whether it fits is found where it is used.
    pub fn new(
        path: FieldPath,
        value: &str,
        until: Timestamp,
        signed: Signed,
    ) -> Result<Self, InvalidOverride> {
        let quoted = format!("{:?}", value.trim());
        let written = [value.trim().to_owned(), quoted];
        // A second line would be a second key.
        let plain = !value.contains(char::is_control);
        let found = written.into_iter().find(|text| plain && is_value(text));
        let value = found.ok_or_else(|| Refusal::Value(value.to_owned()))?;
        Ok(Self {
            path,
            value,
            until,
            signed,
        })
    }

    /// Gives the field.
    pub fn path(&self) -> &FieldPath {
        &self.path
    }

    /// Gives the value, as a document writes it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Gives until when it holds.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Gives who holds it, and why.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Says whether it holds at a time.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Checks the time that it is meant for.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        let (until, at) = (Utc(self.until).to_string(), Utc(now).to_string());
        if !self.holds(now) {
            return Err(Refusal::Over { until, now: at });
        }
        if SystemTime::from(self.until) > SystemTime::from(now) + Self::LONGEST {
            return Err(Refusal::Long { until, now: at });
        }
        Ok(())
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, value) = (&self.path, &self.value);
        let until = Utc(self.until);
        write!(f, "{path} = {value} until {until}, by {}", self.signed)
    }
}

/// Gives what a document and overrides amount to, judged by all rules as if it were one document.
pub(super) fn apply(
    document: &PolicyDocument,
    overrides: &[Override],
) -> Result<PolicyDocument, Refusal> {
    let mut fields = document.policy().fields();
    for one in overrides {
        put(&mut fields, one)?;
    }
    let name = format!("{} with overrides", document.name());
    PolicyDocument::new(name, Policy::toml_of(&fields)).map_err(Refusal::Mistakes)
}

fn put(fields: &mut Vec<(FieldPath, String)>, one: &Override) -> Result<(), Refusal> {
    let (path, segments) = (&one.path, one.path.segments());
    let unknown = |near: Option<&str>| {
        let near = near.map(|near| format!("; did you mean {near}?"));
        Refusal::Unknown(path.clone(), near.unwrap_or_default())
    };
    let (Some(section), Some(key)) = (segments.first(), segments.last()) else {
        return Err(unknown(None));
    };
    let section = Section::named(section).ok_or_else(|| unknown(None))?;
    let depth = if section.names.is_some() { 3 } else { 2 };
    if segments.len() != depth || section.key(key).is_none() {
        let keys = section.keys.iter().map(|key| key.name);
        return Err(unknown(nearest_name(key, keys)));
    }
    let table = path.parent();
    let of_table = |field: &(FieldPath, String)| field.0.parent() == table;
    let Some(last) = fields.iter().rposition(of_table) else {
        let tables = fields.iter().filter_map(|(path, _)| {
            let [one, name, _] = path.segments() else {
                return None;
            };
            (one == section.name).then_some(name.as_str())
        });
        return Err(unknown(nearest_name(&segments[1], tables)));
    };
    match fields.iter_mut().find(|(field, _)| field == path) {
        Some((_, value)) => value.clone_from(&one.value),
        None => fields.insert(last + 1, (path.clone(), one.value.clone())),
    }
    if one.value != "\"learn\"" {
        // What was learned and is fixed now has no bounds, no share and no start.
        let bounds = [format!("{key}_floor"), format!("{key}_ceiling")];
        let of_learned: &[&str] = match section.name {
            "timeouts" if key == "timeout" => {
                &["permit_share", "timeout_start", "timeout_start_query"]
            }
            _ => &[],
        };
        fields.retain(|field| {
            let name = field.0.segments().last();
            let bound = name
                .is_some_and(|name| bounds.contains(name) || of_learned.contains(&name.as_str()));
            !(bound && of_table(field))
        });
    }
    Ok(())
}

/// Says whether a text is one value of a document and nothing beside it.
fn is_value(text: &str) -> bool {
    let Ok(source) = Source::new("value", format!("value = {text}\n")) else {
        return false;
    };
    let read = settings::read(&source, |root| root.optional("value", |_| Ok(())));
    matches!(read, Ok((Some(()), _)))
}
