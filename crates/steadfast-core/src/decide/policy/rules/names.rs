//! Names that lead nowhere, and parts that nobody names.

use std::collections::BTreeMap;

use crate::context::Name;
use crate::decide::policy::lint::{Hit, Rule, Severity};
use crate::decide::policy::nearest::nearest_name;
use crate::decide::policy::path::FieldPath;
use crate::decide::policy::users::{Policy, Route};

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

pub(super) const P025: Rule = Rule {
    id: "P025",
    title: "two routes for one request",
    severity: Severity::Error,
    why: "A request belongs to one route. If two claim its template and its method, which of them \
          governs it is decided by the order of their names, and the other looks as if it did.",
    check: claimed_twice,
};

pub(super) const P034: Rule = Rule {
    id: "P034",
    title: "policy in shadow",
    severity: Severity::Warning,
    why: "A policy in shadow decides, counts and says what it would have rejected, and rejects \
          nothing. That is how a new number is tried out; it is told at every start, because it \
          looks like a protection and is none.",
    check: in_shadow,
};

pub(super) const P035: Rule = Rule {
    id: "P035",
    title: "name that is too long to be told",
    severity: Severity::Warning,
    why: "Names of routes, dependencies and policies are labels of metrics, stand in every line, and \
          are kept for the life of the process, so they have a bound. One that is longer is told as \
          \"(other)\", together with all that are too long or too many, and nobody sees which it was.",
    check: too_long,
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
    Streams,
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

fn claimed_twice(policy: &Policy) -> Vec<Hit> {
    let mut claims: BTreeMap<(&str, Option<&str>), &str> = BTreeMap::new();
    let mut hits = Vec::new();
    for (name, route) in &policy.routes {
        let (said, template) = Route::split_name(name);
        let methods: Vec<Option<&str>> = match &route.methods[..] {
            [] => vec![None],
            methods => methods.iter().map(|method| Some(method.as_str())).collect(),
        };
        let path = FieldPath::new(["routes", name, "methods"]);
        if said.is_some_and(|said| methods != [Some(said)]) {
            let message =
                format!("its name says {template:?} for one method, and its methods others");
            hits.push(Hit::new(
                path,
                message,
                "let the name say the method, and leave methods out",
            ));
            continue;
        }
        for method in methods {
            let Some(other) = claims.insert((template, method), name) else {
                continue;
            };
            let what = method.unwrap_or("every other method");
            hits.push(Hit::new(
                path.clone(),
                format!("the route {other:?} has {what} of {template:?} already"),
                "leave it to one of them",
            ));
        }
    }
    hits
}

fn in_shadow(policy: &Policy) -> Vec<Hit> {
    fn shadows<'a, T>(
        section: &'static str,
        parts: &'a BTreeMap<String, T>,
        shadow: fn(&T) -> bool,
    ) -> impl Iterator<Item = FieldPath> + 'a {
        let shadows = parts.iter().filter(move |(_, part)| shadow(part));
        shadows.map(move |(name, _)| FieldPath::new([section, name, "shadow"]))
    }
    shadows("admissions", &policy.admissions, |part| part.shadow)
        .chain(shadows("timeouts", &policy.timeouts, |part| part.shadow))
        .chain(shadows("rates", &policy.rates, |part| part.shadow))
        .chain(shadows("breakers", &policy.breakers, |part| part.shadow))
        .chain(shadows("streams", &policy.streams, |part| part.shadow))
        .map(|path| {
            Hit::new(
                path,
                "it says what it would have rejected, and lets it pass",
                "set it to false once you believe it",
            )
        })
        .collect()
}

fn too_long(policy: &Policy) -> Vec<Hit> {
    let routes = policy.routes.keys().map(|key| {
        // What is told of a route is its template.
        ("routes", key.as_str(), Route::split_name(key).1)
    });
    let others = Section::GOVERNING
        .into_iter()
        .chain([Section::Dependencies]);
    let others = others.flat_map(|section| {
        let names = section.names(policy).into_iter();
        names.map(move |name| (section.key(), name, name))
    });
    routes
        .chain(others)
        .filter(|(_, _, told)| told.len() > Name::DYNAMIC_BYTES_MAX)
        .map(|(section, name, told)| {
            let (bytes, most) = (told.len(), Name::DYNAMIC_BYTES_MAX);
            Hit::new(
                FieldPath::new([section, name]),
                format!("{bytes} bytes, and a name that is told has at most {most}"),
                format!("shorten it by {} bytes", bytes - most),
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
            ("stream", Section::Streams, &route.stream),
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
    const GOVERNING: [Self; 7] = [
        Self::Admissions,
        Self::Timeouts,
        Self::Rates,
        Self::Breakers,
        Self::Retries,
        Self::Hedges,
        Self::Streams,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::Admissions => "admissions",
            Self::Timeouts => "timeouts",
            Self::Rates => "rates",
            Self::Breakers => "breakers",
            Self::Retries => "retries",
            Self::Hedges => "hedges",
            Self::Streams => "streams",
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
            Self::Streams => keys(&policy.streams),
            Self::Dependencies => keys(&policy.dependencies),
        }
    }
}
