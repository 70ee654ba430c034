use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A name from a bounded set: of a scope, a task, a pool, a route, a cleanup.
///
/// Names end up as labels of metrics and in every log line, so they must come from a bounded set
/// and be cheap to copy. A `&'static str` costs nothing. A `String` is interned: kept for the life
/// of the process, at most [`Name::DYNAMIC_MAX`] different ones; those that come later all become
/// [`Name::OTHER`]. So a name made from user input cannot exhaust memory; it only stops being
/// told apart.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::context::Name;
///
/// assert_eq!(Name::from("orders").as_str(), "orders");
/// assert_eq!(Name::from(format!("consumer-{}", 3)), Name::from("consumer-3"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(&'static str);

impl Name {
    /// How many different names made at run time are kept: 4,096, enough for every worker,
    /// queue and route of a large service, and less than half a megabyte.
    pub const DYNAMIC_MAX: usize = 4_096;

    /// The longest name made at run time, in bytes; what is longer becomes [`Name::OTHER`].
    pub const DYNAMIC_BYTES_MAX: usize = 96;

    /// Stands for every name that did not fit into the bounded set.
    pub const OTHER: Name = Name("(other)");

    /// Makes a name from a literal; usable in constants.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Gives the text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(name)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        intern(name)
    }
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        match name {
            Cow::Borrowed(name) => Self(name),
            Cow::Owned(name) => intern(name),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

fn intern(name: String) -> Name {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

    if name.len() > Name::DYNAMIC_BYTES_MAX {
        return Name::OTHER;
    }
    let mut guard = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = guard.get_or_insert_default();
    if let Some(known) = names.get(name.as_str()) {
        return Name(known);
    }
    if names.len() >= Name::DYNAMIC_MAX {
        return Name::OTHER;
    }
    let kept: &'static str = Box::leak(name.into_boxed_str());
    names.insert(kept);
    Name(kept)
}
