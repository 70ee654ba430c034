//! Names of tables that the store knows nothing of.

use std::fmt;

use crate::Error;
use crate::config::config;

/// The name of somebody's table or column, to stand in SQL that is not known before: for
/// [`Tx::sql_on`](crate::Tx::sql_on).
///
/// It stands there in quotes, so whatever it holds is a name and never SQL. So upper and lower case
/// count, on PostgreSQL too: a table that was created without quotes is named in lower case.
///
/// # Examples
/// ```
/// use steadfast_store::Ident;
///
/// assert_eq!(Ident::new("shop.orders")?.to_string(), r#""shop"."orders""#);
/// assert_eq!(Ident::new(r#"x"; DROP TABLE y --"#)?.to_string(), r#""x""; DROP TABLE y --""#);
/// assert!(Ident::new("").is_err() && Ident::new("a.b.c").is_err());
/// # Ok::<(), steadfast_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident(String);

/// Puts a name in quotes, so that whatever it holds is a name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Puts each part of a name in quotes.
pub(crate) fn quoted_path(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

impl Ident {
    /// The longest part of a name: 63 bytes, what PostgreSQL cuts longer ones to without a word.
    pub const PART_BYTES_MAX: usize = 63;

    /// Takes a name, or a schema and a name with a dot between.
    ///
    /// # Errors
    /// When a part is empty or longer than [`PART_BYTES_MAX`](Self::PART_BYTES_MAX), has a NUL in it, or there are
    /// more than two (SF-1114).
    pub fn new(name: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = name.split('.').collect();
        let fits =
            |part: &&str| (1..=Self::PART_BYTES_MAX).contains(&part.len()) && !part.contains('\0');
        if parts.len() > 2 || !parts.iter().all(fits) {
            return Err(config(
                "name",
                "must be NAME or SCHEMA.NAME, each of 1 to 63 bytes without NUL",
            ));
        }
        Ok(Self(quoted_path(name)))
    }

    /// Puts names where `{0}`, `{1}` and so on stand; once, so that a name which looks like one of these stays.
    pub(crate) fn fill(text: &str, names: &[Self]) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let number = rest[1..]
                .split('}')
                .next()
                .and_then(|number| number.parse().ok());
            match number.and_then(|number: usize| names.get(number)) {
                Some(name) => {
                    filled.push_str(&name.0);
                    rest = rest.split_once('}').map_or("", |(_, rest)| rest);
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled + rest
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_once_and_other_braces_stay() {
        let names = ["{1}", "b"].map(|name| Ident::new(name).unwrap());

        let filled = Ident::fill("SELECT a.{1} FROM {0} AS a, {2}, '{' || {x", &names);

        assert_eq!(filled, r#"SELECT a."b" FROM "{1}" AS a, {2}, '{' || {x"#);
    }

    #[test]
    fn names_that_no_database_has_are_refused() {
        for name in ["", ".", "a.", "a.b.c", "a\0b", &"x".repeat(64)] {
            assert_eq!(Ident::new(name).unwrap_err().code(), "SF-1114", "{name:?}");
        }
    }
}
