//! Names that lead nowhere, and parts that nobody names.

use std::collections::BTreeMap;

use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::nearest::nearest_name;
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::users::Policy;

pub(super) const P007: Rule = Rule {
    id: "P007",
    title: "unknown policy name",
    severity: Severity::Error,
    why: "A route or dependency that names a policy which does not exist would run without it, \
          and look protected in the document.",
    check: unknown,
};

pub(super) const P008: Rule = Rule {
    id: "P008",
    title: "policy that is never used",
    severity: Severity::Warning,
    why: "Somebody wrote it down and believes that it acts. Often the route that should name \
          it is missing, or names another by mistake. Dependencies are left out: not only \
          routes call them.",
    check: unused,
};

/// A part of the document whose names are used elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Admissions,
    Timeouts,
    Rates,
    Breakers,
    Retries,
    Hedges,
    Dependencies,
}

/// One use of a name: where, and what is looked up in which section.
struct Reference<'a> {
    path: FieldPath,
    section: Section,
    name: &'a str,
}

fn unknown(policy: &Policy) -> Vec<Hit> {
    references(policy)
        .into_iter()
        .filter(|reference| !reference.section.names(policy).contains(&reference.name))
        .map(
            |Reference {
                 path,
                 section,
                 name,
             }| {
                let (known, key) = (section.names(policy), section.key());
                let fix = match nearest_name(name, known.iter().copied()) {
                    Some(near) => format!("write {near:?}"),
                    None if known.is_empty() => format!("add [{key}.{name}]"),
                    None => format!("add [{key}.{name}], or name one of {}", known.join(", ")),
                };
                Hit::new(path, format!("there is no {name:?} among {key}"), fix)
            },
        )
        .collect()
}

fn unused(policy: &Policy) -> Vec<Hit> {
    let references = references(policy);
    let used = |section: Section, name: &str| {
        references
            .iter()
            .any(|reference| reference.section == section && reference.name == name)
    };
    Section::GOVERNING
        .into_iter()
        .flat_map(|section| {
            section
                .names(policy)
                .into_iter()
                .map(move |name| (section, name))
        })
        .filter(|(section, name)| !used(*section, name))
        .map(|(section, name)| {
            Hit::new(
                FieldPath::new([section.key(), name]),
                "no route and no dependency names it",
                "name it where it should act, or remove it",
            )
        })
        .collect()
}

fn references(policy: &Policy) -> Vec<Reference<'_>> {
    let routes = policy.routes.iter().flat_map(|(user, route)| {
        let parts = [
            ("timeout", Section::Timeouts, &route.timeout),
            ("admission", Section::Admissions, &route.admission),
            ("quota", Section::Rates, &route.quota),
        ];
        let calls = route.calls.iter().map(move |name| Reference {
            path: FieldPath::new(["routes", user, "calls"]),
            section: Section::Dependencies,
            name,
        });
        parts_of("routes", user, parts).into_iter().chain(calls)
    });
    let dependencies = policy.dependencies.iter().flat_map(|(user, dependency)| {
        let parts = [
            ("timeout", Section::Timeouts, &dependency.timeout),
            ("admission", Section::Admissions, &dependency.admission),
            ("breaker", Section::Breakers, &dependency.breaker),
            ("retry", Section::Retries, &dependency.retry),
            ("hedge", Section::Hedges, &dependency.hedge),
        ];
        parts_of("dependencies", user, parts)
    });
    routes.chain(dependencies).collect()
}

fn parts_of<'a, const N: usize>(
    users: &str,
    user: &str,
    parts: [(&str, Section, &'a Option<String>); N],
) -> Vec<Reference<'a>> {
    parts
        .into_iter()
        .filter_map(|(field, section, name)| {
            Some(Reference {
                path: FieldPath::new([users, user, field]),
                section,
                name: name.as_ref()?,
            })
        })
        .collect()
}

impl Section {
    /// The sections that do nothing unless somebody names their parts.
    const GOVERNING: [Self; 6] = [
        Self::Admissions,
        Self::Timeouts,
        Self::Rates,
        Self::Breakers,
        Self::Retries,
        Self::Hedges,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::Admissions => "admissions",
            Self::Timeouts => "timeouts",
            Self::Rates => "rates",
            Self::Breakers => "breakers",
            Self::Retries => "retries",
            Self::Hedges => "hedges",
            Self::Dependencies => "dependencies",
        }
    }

    fn names(self, policy: &Policy) -> Vec<&str> {
        fn keys<T>(parts: &BTreeMap<String, T>) -> Vec<&str> {
            parts.keys().map(String::as_str).collect()
        }
        match self {
            Self::Admissions => keys(&policy.admissions),
            Self::Timeouts => keys(&policy.timeouts),
            Self::Rates => keys(&policy.rates),
            Self::Breakers => keys(&policy.breakers),
            Self::Retries => keys(&policy.retries),
            Self::Hedges => keys(&policy.hedges),
            Self::Dependencies => keys(&policy.dependencies),
        }
    }
}
