//! What is in force for a route or a dependency, and where each value comes from.

use std::collections::BTreeMap;
use std::fmt;

use steadfast_core::decide::policy::{Absent, FieldPath, Policy, Route, Section, nearest_name};

use super::document::PolicyDocument;
use super::overrides::Override;
use super::signed::Utc;

/// Every value in force for a route or a dependency, by the table it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Explanation {
    /// What is explained: `routes."GET /orders"`.
    pub subject: String,
    /// Its own table, then those of the policies that it names, then those of the service.
    pub tables: Vec<ExplainedTable>,
}

/// The values of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ExplainedTable {
    /// Its name: `timeouts.page`.
    pub table: String,
    /// Its values, in the order of the reference.
    pub values: Vec<ExplainedValue>,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ExplainedValue {
    /// The key.
    pub key: String,
    /// The value, as a document writes it; `None` where there is none.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "from", rename_all = "snake_case"))]
pub enum Origin {
    /// Somebody wrote it down.
    Document {
        /// The document.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Nobody did, and there is a value that is right for most.
    Default {
        /// Why this one.
        reason: String,
    },
    /// Nobody did, and so there is none.
    Nothing {
        /// What that means.
        means: String,
    },
    /// An operator holds it against the document.
    Override {
        /// Who.
        author: String,
        /// Why.
        reason: String,
        /// Until when, in milliseconds since 1970-01-01T00:00:00Z.
        until_unix_ms: i64,
        /// The same as people read it.
        until: String,
        /// What held otherwise.
        instead_of: Option<String>,
    },
    /// A metrics store was asked at the start, and knew.
    Measured {
        /// What it said; the value is that within the bounds of the policy.
        answer: String,
        /// When it was asked.
        asked: Asked,
        /// What held otherwise.
        instead_of: Option<String>,
    },
    /// A metrics store was asked at the start, and did not know.
    NotMeasured {
        /// Why there was no usable answer.
        reason: String,
        /// When it was asked.
        asked: Asked,
        /// Where the value comes from instead.
        so: Box<Origin>,
    },
}

/// When somebody was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Asked {
    /// In milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: i64,
    /// The same as people read it.
    pub utc: String,
}

/// How many names are told to whoever has asked for another: 10, what is read at a glance.
const KNOWN_MAX: usize = 10;

/// Refuses to explain what the policy does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {given:?} among {section}{hint}")]
pub struct UnknownSubject {
    given: String,
    section: &'static str,
    hint: String,
}

/// What there is to look at.
pub(super) struct Explainer<'a> {
    pub(super) document: &'a PolicyDocument,
    pub(super) policy: &'a Policy,
    pub(super) overrides: &'a [Override],
}

impl Explainer<'_> {
    /// Takes the name of a route, or the method and the template of a request.
    pub(super) fn route(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        let (method, template) = Route::split_name(name);
        let routes = &self.policy.routes;
        let exact = routes.get_key_value(name);
        let exact = exact.map(|(name, route)| (name.as_str(), route));
        let served = || self.policy.route(method?, template);
        let known = routes.keys().map(String::as_str);
        let (name, route) = exact
            .or_else(served)
            .ok_or_else(|| unknown("routes", name, known))?;
        let parts = [
            ("timeouts", &route.timeout),
            ("admissions", &route.admission),
            ("rates", &route.quota),
            ("streams", &route.stream),
        ];
        Ok(self.explain("routes", name, &parts))
    }

    pub(super) fn dependency(&self, name: &str) -> Result<Explanation, UnknownSubject> {
        let dependencies = &self.policy.dependencies;
        let known = dependencies.keys().map(String::as_str);
        let dependency = dependencies
            .get(name)
            .ok_or_else(|| unknown("dependencies", name, known))?;
        let parts = [
            ("timeouts", &dependency.timeout),
            ("admissions", &dependency.admission),
            ("breakers", &dependency.breaker),
            ("retries", &dependency.retry),
            ("hedges", &dependency.hedge),
        ];
        Ok(self.explain("dependencies", name, &parts))
    }

    fn explain(&self, section: &str, name: &str, parts: &[(&str, &Option<String>)]) -> Explanation {
        let fields: BTreeMap<FieldPath, String> = self.policy.fields().into_iter().collect();
        let subject = FieldPath::new([section, name]);
        let named = parts
            .iter()
            .filter_map(|(section, name)| Some(FieldPath::new([section, name.as_ref()?.as_str()])));
        let service = ["trust", "drain"].map(|section| FieldPath::new([section]));
        // What is called has no part in whom the service believes.
        let service = service.into_iter().filter(|_| section == "routes");
        let tables = std::iter::once(subject.clone()).chain(named).chain(service);
        Explanation {
            subject: subject.to_string(),
            tables: tables.map(|table| self.table(&fields, table)).collect(),
        }
    }

    fn table(&self, fields: &BTreeMap<FieldPath, String>, table: FieldPath) -> ExplainedTable {
        let section = Section::named(&table.segments()[0]);
        let keys = section.map(|section| section.keys).unwrap_or_default();
        let values = keys.iter().flat_map(|key| {
            let guaranteed = key.name.strip_suffix("TIER");
            let mut paths: Vec<FieldPath> = match guaranteed {
                Some(prefix) => fields
                    .keys()
                    .filter(|path| path.parent().as_ref() == Some(&table))
                    .filter(|path| {
                        path.segments()
                            .last()
                            .is_some_and(|key| key.starts_with(prefix))
                    })
                    .cloned()
                    .collect(),
                None => vec![table.join(key.name)],
            };
            if paths.is_empty() {
                paths.push(table.join(key.name));
            }
            paths
                .into_iter()
                .filter_map(|path| self.value(fields, &path, key.absent))
        });
        ExplainedTable {
            table: table.to_string(),
            values: values.collect(),
        }
    }

    fn value(
        &self,
        fields: &BTreeMap<FieldPath, String>,
        path: &FieldPath,
        absent: Absent,
    ) -> Option<ExplainedValue> {
        let key = path.segments().last()?.clone();
        let (value, origin) = match (fields.get(path), said_by_name(path), absent) {
            (Some(value), _, _) => (Some(value.clone()), self.origin(path, absent)),
            (None, Some(said), _) => (Some(said), self.written(path)),
            // A share of what is fixed, a bound of what is not learned: they are not there.
            (None, None, Absent::NothingIfLearned(_)) if !is_learned(fields, path) => return None,
            (None, None, Absent::Refused | Absent::RefusedIfLearned | Absent::Default { .. }) => {
                return None;
            }
            (None, None, Absent::Nothing(means) | Absent::NothingIfLearned(means)) => {
                let means = means.to_owned();
                (None, Origin::Nothing { means })
            }
        };
        Some(ExplainedValue { key, value, origin })
    }

    fn origin(&self, path: &FieldPath, absent: Absent) -> Origin {
        let newest = self.overrides.iter().rev().find(|one| one.path() == path);
        if let Some(one) = newest {
            let before = self.document.policy().fields();
            let before = before.into_iter().find(|(field, _)| field == path);
            return Origin::Override {
                author: one.signed().author().to_owned(),
                reason: one.signed().reason().to_owned(),
                until_unix_ms: one.until().unix_millis(),
                until: Utc(one.until()).to_string(),
                instead_of: before.map(|(_, value)| value),
            };
        }
        match (self.document.place(path), absent) {
            (None, Absent::Default { reason, .. }) => Origin::Default {
                reason: reason.to_owned(),
            },
            _ => self.written(path),
        }
    }

    fn written(&self, path: &FieldPath) -> Origin {
        let table = path.parent();
        let place = self.document.place(path);
        let place = place.or_else(|| self.document.place(&table?));
        Origin::Document {
            file: self.document.name().to_owned(),
            line: place.map_or(1, |place| place.line),
            column: place.map_or(1, |place| place.column),
        }
    }
}

/// Tells whether a value of the same table is learned: then it has a floor.
fn is_learned(fields: &BTreeMap<FieldPath, String>, path: &FieldPath) -> bool {
    let mut keys = fields.keys();
    keys.any(|field| {
        let is_floor = field
            .segments()
            .last()
            .is_some_and(|key| key.ends_with("_floor"));
        is_floor && field.parent() == path.parent()
    })
}

/// The methods of a route whose name says its method.
fn said_by_name(path: &FieldPath) -> Option<String> {
    match path.segments() {
        [section, name, key] if section == "routes" && key == "methods" => {
            let (method, _) = Route::split_name(name);
            Some(format!("[{:?}]", method?))
        }
        _ => None,
    }
}

fn unknown<'a>(
    section: &'static str,
    given: &str,
    known: impl Iterator<Item = &'a str>,
) -> UnknownSubject {
    let known: Vec<&str> = known.collect();
    let hint = match nearest_name(given, known.iter().copied()) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if known.is_empty() => ", of which there are none".to_owned(),
        None => {
            let more = if known.len() > KNOWN_MAX { ", …" } else { "" };
            let known = &known[..known.len().min(KNOWN_MAX)];
            format!("; there are {}{more}", known.join(", "))
        }
    };
    UnknownSubject {
        given: given.to_owned(),
        section,
        hint,
    }
}

// === Text ===

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || self.tables.iter().flat_map(|table| &table.values);
        let keys = values().map(|value| value.key.chars().count()).max();
        let shown = values().map(|value| value.shown().chars().count()).max();
        let (keys, shown) = (keys.unwrap_or(0), shown.unwrap_or(0).min(40));
        for (index, table) in self.tables.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "[{}]", table.table)?;
            for value in &table.values {
                let (key, text) = (&value.key, value.shown());
                writeln!(f, "  {key:keys$}  {text:shown$}  {}", value.origin)?;
            }
        }
        Ok(())
    }
}

impl ExplainedValue {
    fn shown(&self) -> &str {
        self.value.as_deref().unwrap_or("-")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Default { reason } => write!(f, "default: {reason}"),
            Self::Nothing { means } => f.write_str(means),
            Self::Override {
                author,
                reason,
                until,
                instead_of,
                ..
            } => {
                write!(f, "OVERRIDE until {until}, by {author}: {reason}")?;
                match instead_of {
                    Some(value) => write!(f, " (instead of {value})"),
                    None => Ok(()),
                }
            }
            Self::Measured {
                answer,
                asked,
                instead_of,
            } => {
                write!(f, "measured: {answer}, as Prometheus knew at {}", asked.utc)?;
                match instead_of {
                    Some(value) => write!(f, " (instead of {value})"),
                    None => Ok(()),
                }
            }
            Self::NotMeasured { reason, asked, so } => {
                write!(f, "{so}; Prometheus, asked at {}: {reason}", asked.utc)
            }
        }
    }
}
