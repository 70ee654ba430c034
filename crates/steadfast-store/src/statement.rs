//! Statements: one intent a file, the same names for both databases.

use std::fmt;

/// One intent, in the words of each database.
///
/// Made by [`statements!`](crate::statements) from two files of the same name. For PostgreSQL the
/// file has exactly one statement, so that an intent is one round trip and commits by itself. For
/// SQLite it has one or several; the writer runs them in one transaction, and the answer has the
/// rows of all of them, in order. Placeholders are `$1` for PostgreSQL and `?1` for SQLite; a
/// number may be used by several statements of one file.
///
/// Tables of PostgreSQL live in a schema whose name is configured, so files say `{schema}.job`
/// there; nothing else is replaced. In SQLite the table is called `steadfast_job`.
#[derive(Clone, Copy)]
pub struct Statement {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Statement {
    /// Used by [`statements!`](crate::statements).
    #[doc(hidden)]
    pub const fn new(
        package: &'static str,
        name: &'static str,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Self {
        Self {
            package,
            name,
            sqlite,
            postgres,
        }
    }

    /// Gives the name of its files, without the ending.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Gives the text for PostgreSQL: it names itself, for `pg_stat_activity` and for logs.
    pub(crate) fn for_postgres(&self, schema: &str) -> String {
        let Self { package, name, .. } = self;
        let text = self.postgres.replace(SCHEMA, schema);
        format!("/* {package}.{name} */ {text}")
    }
}

/// What stands for the schema in files for PostgreSQL.
pub(crate) const SCHEMA: &str = "{schema}";

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.package, self.name)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.package, self.name)
    }
}

/// Declares the statements of a package: `NAME = "file"` is the static [`Statement`] of
/// `src/sql/sqlite/file.sql` and `src/sql/postgres/file.sql`; `STATEMENTS` lists them all.
///
/// # Examples
/// ```text
/// steadfast_store::statements! {
///     /// Takes what is due.
///     pub(crate) CLAIM = "claim";
///     /// Tells whether a name is taken.
///     pub(crate) TAKEN = "taken";
/// }
/// ```
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            $vis static $name: $crate::Statement = $crate::Statement::new(
                ::core::env!("CARGO_PKG_NAME"),
                $file,
                ::core::include_str!(::core::concat!(
                    ::core::env!("CARGO_MANIFEST_DIR"), "/src/sql/sqlite/", $file, ".sql"
                )),
                ::core::include_str!(::core::concat!(
                    ::core::env!("CARGO_MANIFEST_DIR"), "/src/sql/postgres/", $file, ".sql"
                )),
            );
        )*

        /// All statements of this package.
        pub(crate) static STATEMENTS: &[&$crate::Statement] = &[$(&$name),*];
    };
}
