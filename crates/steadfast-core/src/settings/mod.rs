//! Documents in TOML whose mistakes are told like a compiler tells them.
//!
//! # The problem
//! A service that refuses its settings stops somebody's work, often at night. What that person needs
//! is every mistake of the file, the line it stands in, and what to write instead.
//!
//! # Why the usual answer fails
//! Settings that are deserialized into structs end at the first mistake, name a type of the program
//! instead of a range, pass over keys they do not know, so that a misspelt protection is no
//! protection, and forget where a value stood, so that a later check of two values together can
//! only name them.
//!
//! # The tool
//! A [`Source`] is a document with a name and a bound. [`read`] gives its root [`Table`], which is
//! asked for what should be in it. Whatever was not asked for is unknown; each mistake becomes a
//! [`Problem`] with its place and goes on, so that one run finds them all; and where each value
//! stood is kept in [`Places`], by [`FieldPath`], for everybody who has to say something about it
//! later.
//!
//! Mistakes of the syntax are told together with the others: a line that could not be read hides no
//! other line. Only *something is missing* is left unsaid then, since the line that is missing is
//! most often the broken one.
//!
//! # Examples
//! ```
//! use steadfast_core::settings::{Source, read};
//!
//! let source = Source::new("app.toml", "[listen]\nprot = 80\nbacklog = \"many\"\n").unwrap();
//!
//! let problems = read(&source, |root| {
//!     root.table("listen", |listen| {
//!         listen.required("port", |value| value.integer());
//!         listen.optional("backlog", |value| value.integer());
//!     });
//! })
//! .unwrap_err();
//!
//! assert_eq!(
//!     problems.to_string(),
//!     "\
//! error: [listen] has no \"port\"
//!  --> app.toml:1:1
//!   |
//! 1 | [listen]
//!   | ^^^^^^^^
//!   = fix: add port = …
//!
//! error: unknown key \"prot\" in [listen]
//!  --> app.toml:2:1
//!   |
//! 2 | prot = 80
//!   | ^^^^
//!   = fix: write port
//!
//! error: a whole number is expected, and this is a string
//!  --> app.toml:3:11
//!   |
//! 3 | backlog = \"many\"
//!   |           ^^^^^^
//! "
//! );
//! ```

mod problem;
mod source;
mod table;
mod units;
mod value;

#[cfg(test)]
mod tests;

pub use crate::decide::policy::FieldPath;
pub use problem::{Level, Problem, Problems};
pub use source::{Place, Source, Span};
pub use table::{Places, Reading, Table, read, read_all};
pub use units::{duration, share};
pub use value::{Value, Wrong};
