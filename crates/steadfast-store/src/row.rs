//! Rows on their way out of a statement.

use std::fmt;

use crate::Error;
use crate::error::Trouble;

/// What a statement answered: its rows, all of them.
#[derive(Debug, Default)]
pub struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) affected: u64,
}

impl Rows {
    /// Tells how many rows were inserted, changed or deleted: by the last statement that SQLite ran,
    /// by the outermost one of PostgreSQL. Where it matters, have the rows returned.
    pub fn affected(&self) -> u64 {
        self.affected
    }

    /// Gives the first row, if there is one.
    pub fn first(&self) -> Option<&Row> {
        self.rows.first()
    }

    /// Gives the only row.
    ///
    /// # Errors
    /// When there is none, or there are several (SF-1112): the statement is not what its caller
    /// takes it for.
    pub fn one(&self) -> Result<&Row, Error> {
        match &self.rows[..] {
            [row] => Ok(row),
            rows => Err(Trouble::RowCount(rows.len()).into()),
        }
    }

    /// Gives the rows.
    pub fn iter(&self) -> std::slice::Iter<'_, Row> {
        self.rows.iter()
    }

    /// Tells how many rows came back.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Tells whether none came back.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = std::vec::IntoIter<Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = &'a Row;
    type IntoIter = std::slice::Iter<'a, Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

/// One row of an answer.
pub struct Row(pub(crate) Raw);

pub(crate) enum Raw {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[allow(
        dead_code,
        reason = "so that rows without any database still are a type"
    )]
    Never(std::convert::Infallible),
}

impl Row {
    /// Reads a column, counted from 0.
    ///
    /// Integers of every width are `i64`; text is whatever has the bytes of text; a truth of
    /// SQLite is an integer. JSON, times and the like are cast by the statement.
    ///
    /// # Errors
    /// When there is no such column, or its value is null or of another type (SF-1112): a mistake
    /// in the statement or in its caller, so a retry does not help.
    ///
    /// # Examples
    /// ```text
    /// let (id, note): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
    /// ```
    pub fn get<'r, T: Column<'r>>(&'r self, index: usize) -> Result<T, Error> {
        T::read(self, index)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Row(..)")
    }
}

/// A type that a column can be read as: `bool i64 f64 &str String &[u8] Vec<u8>`, and `Option` of
/// each; arrays, which PostgreSQL alone has, as `Vec<i64>` and `Vec<Option<String>>`.
pub trait Column<'r>: Sized + sealed::Sealed {
    #[doc(hidden)]
    fn read(row: &'r Row, index: usize) -> Result<Self, Error>;
}

mod sealed {
    pub trait Sealed {}
}

/// Asks the driver without a comparison of types: it has integers of several widths, and for text
/// more names than one; what does not fit fails by its form.
macro_rules! read {
    ($row:expr, $index:expr) => {{
        let read: Result<Self, sqlx::Error> = match &$row.0 {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(row) => sqlx::Row::try_get_unchecked(row, $index),
            #[cfg(feature = "postgres")]
            Raw::Postgres(row) => sqlx::Row::try_get_unchecked(row, $index),
            Raw::Never(never) => match *never {},
        };
        read.map_err(|error| Trouble::Column($index, error).into())
    }};
}

macro_rules! column {
    ($([$($r:lifetime)?] $type:ty),*) => {$(
        impl<$($r)?> sealed::Sealed for $type {}
        impl<$($r)?> sealed::Sealed for Option<$type> {}

        column!(@ [$($r)?] $type);
    )*};
    (@ [] $type:ty) => {
        impl<'r> Column<'r> for $type {
            fn read(row: &'r Row, index: usize) -> Result<Self, Error> {
                read!(row, index)
            }
        }

        impl<'r> Column<'r> for Option<$type> {
            fn read(row: &'r Row, index: usize) -> Result<Self, Error> {
                read!(row, index)
            }
        }
    };
    (@ [$r:lifetime] $type:ty) => {
        impl<$r> Column<$r> for $type {
            fn read(row: &$r Row, index: usize) -> Result<Self, Error> {
                read!(row, index)
            }
        }

        impl<$r> Column<$r> for Option<$type> {
            fn read(row: &$r Row, index: usize) -> Result<Self, Error> {
                read!(row, index)
            }
        }
    };
}

column!([] bool, [] i64, [] f64, ['r] &'r str, [] String, ['r] &'r [u8], [] Vec<u8>);

macro_rules! array {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}

        impl Column<'_> for $type {
            fn read(row: &Row, index: usize) -> Result<Self, Error> {
                let read: Result<Self, sqlx::Error> = match &row.0 {
                    #[cfg(feature = "sqlite")]
                    Raw::Sqlite(_) => Err(sqlx::Error::Decode("SQLite has no arrays".into())),
                    #[cfg(feature = "postgres")]
                    Raw::Postgres(row) => sqlx::Row::try_get_unchecked(row, index),
                    Raw::Never(never) => match *never {},
                };
                read.map_err(|error| Trouble::Column(index, error).into())
            }
        }
    )*};
}

array!(Vec<i64>, Vec<Option<String>>);
