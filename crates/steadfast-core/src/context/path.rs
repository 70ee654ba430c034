use std::fmt;

use crate::context::{Kind, Name, Node};

/// The names of the scopes around a piece of work, outermost first.
///
/// Holds the [`ScopePath::NAMES_MAX`] innermost names; `Display` puts ` > ` between them, and an
/// ellipsis in front when outer ones were left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ScopePath {
    names: [Name; ScopePath::NAMES_MAX],
    len: u8,
    cut: bool,
}

impl ScopePath {
    /// How many names a path shows: 8, the innermost ones; it has a fixed size, because the panic
    /// hook copies it.
    pub const NAMES_MAX: usize = 8;

    pub(crate) const EMPTY: ScopePath = ScopePath {
        names: [Name::new(""); ScopePath::NAMES_MAX],
        len: 0,
        cut: false,
    };

    pub(crate) fn of(innermost: Option<&Node>) -> Self {
        let mut path = Self::EMPTY;
        let mut next = innermost.map(Node::named);
        // An overlay outside of any scope has no name to show.
        while let Some(node) = next.filter(|node| node.kind != Kind::Overlay) {
            if usize::from(path.len) == Self::NAMES_MAX {
                path.cut = true;
                break;
            }
            path.names[usize::from(path.len)] = node.name;
            path.len += 1;
            next = node.parent().map(Node::named);
        }
        path.names[..usize::from(path.len)].reverse();
        path
    }

    /// Gives the names, outermost first.
    pub fn names(&self) -> &[Name] {
        &self.names[..usize::from(self.len)]
    }

    /// Tells whether the work is in no scope.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            f.write_str("… > ")?;
        }
        for (i, name) in self.names().iter().enumerate() {
            let gap = if i == 0 { "" } else { " > " };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
