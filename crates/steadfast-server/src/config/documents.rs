//! The documents of a configuration: where each key stands, and why they are refused.

use std::fmt;

use steadfast::settings::{FieldPath, Places, Problems, Source, Span};

/// What was read, to be told with its line by whoever finds a mistake later.
#[derive(Clone, Default)]
pub(crate) struct Documents(Vec<(Source, Places)>);

impl Documents {
    pub(super) fn one(source: Source, places: Places) -> Self {
        Self(vec![(source, places)])
    }

    pub(super) fn append(&mut self, others: &mut Self) {
        self.0.append(&mut others.0);
    }

    /// Gives where a key stands, or where it would.
    pub(crate) fn find(&self, field: &FieldPath) -> (&Source, Span) {
        let mut tables = std::iter::successors(Some(field.clone()), FieldPath::parent);
        let found = tables.find_map(|field| {
            let has = |(_, places): &&(Source, Places)| places.of(&field).is_some();
            self.0.iter().find(has)
        });
        let (source, places) = found.or(self.0.first()).expect("a document was read");
        (source, places.nearest(field))
    }
}

/// How many there are: what they say, the configuration says.
impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} documents", self.0.len())
    }
}

/// A configuration that nothing can be started with, however often it is tried.
#[derive(Debug)]
pub(crate) enum Refused {
    Mistaken(Problems),
    /// A file of this name cannot be read.
    Unread(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistaken(_) => f.write_str("the configuration is refused"),
            Self::Unread(name) => write!(
                f,
                "cannot read {name}; `steadfast serve --generate-config > {name}` writes one"
            ),
        }
    }
}

impl std::error::Error for Refused {}
