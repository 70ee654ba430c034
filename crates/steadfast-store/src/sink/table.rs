//! Where rows go.

use crate::{Dialect, Error, Kind, config};

/// Describes a table, its columns, and what happens to rows whose key is there already.
///
/// Names are quoted, so they are given as the database has them: `Order` is not `order`. A dot in the name of a table
/// divides schema and table. Without [`upsert`](Self::upsert) or one of its siblings a key that is there fails its
/// row.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<TableColumn>,
    pub(super) form: Form,
    pub(super) key: Vec<String>,
    pub(super) conflict: Conflict,
    pub(super) row_bytes_max: usize,
    /// Absent where it goes by what happens to a key that is there already.
    pub(super) once: Option<bool>,
    pub(super) keep_dead: bool,
}

#[derive(Debug, Clone)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) cast: Option<String>,
}

/// How many rows travel in one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A column is an array, which PostgreSQL takes apart by `unnest`, and SQLite, which has no arrays, by
    /// `json_each`: one statement for any number of rows, which stays prepared. The default.
    #[default]
    Unnest,
    /// A value is a placeholder. Takes types that no array can have; costs a parse for each batch.
    Values,
    /// PostgreSQL's `COPY`: the quickest for thousands of rows and wide ones, and no more than that: a key that is
    /// there already fails its row.
    Copy,
}

/// What happens to a row whose key is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conflict {
    Fail,
    Keep,
    Replace,
    Set(&'static str),
}

impl Table {
    /// The most columns: 1,600, as many as PostgreSQL has.
    pub const COLUMNS_MAX: usize = 1_600;

    /// The highest limit on the bytes of a row: 256 MiB, a quarter of what a value may have in PostgreSQL.
    pub const ROW_BYTES_LIMIT: usize = 256 << 20;

    /// Describes a table without columns.
    ///
    /// Unless it has a key, each batch is written [`once`](Self::once).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            columns: Vec::new(),
            form: Form::default(),
            key: Vec::new(),
            conflict: Conflict::Fail,
            row_bytes_max: 8 << 20,
            once: None,
            keep_dead: false,
        }
    }

    /// Adds a column. Values come in the order of the columns.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.columns.push(TableColumn {
            name: name.into(),
            kind,
            cast: None,
        });
        self
    }

    /// Adds a column to whose type PostgreSQL does not come by itself: `column_as("body", Kind::Text, "jsonb")`.
    /// SQLite, which takes any value, ignores the type.
    #[must_use]
    pub fn column_as(
        mut self,
        name: impl Into<String>,
        kind: Kind,
        postgres_type: impl Into<String>,
    ) -> Self {
        self.columns.push(TableColumn {
            name: name.into(),
            kind,
            cast: Some(postgres_type.into()),
        });
        self
    }

    /// Chooses how rows travel.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Has rows whose key is there already left out: a natural key writes each row once, however often it is sent.
    #[must_use]
    pub fn insert_missing<S: Into<String>>(self, key: impl IntoIterator<Item = S>) -> Self {
        self.keyed(key, Conflict::Keep)
    }

    /// Has rows replace those of the same key; of several in one batch the last stays.
    #[must_use]
    pub fn upsert<S: Into<String>>(self, key: impl IntoIterator<Item = S>) -> Self {
        self.keyed(key, Conflict::Replace)
    }

    /// Has rows change those of the same key as `set` says, in SQL: `count = view.count + excluded.count`. Several of
    /// one key in one batch are applied in their order, each by a statement of its own; to have them folded before, see
    /// [`folding`](steadfast_core::batch::BatchBuilder::folding).
    #[must_use]
    pub fn upsert_with<S: Into<String>>(
        self,
        key: impl IntoIterator<Item = S>,
        set: &'static str,
    ) -> Self {
        self.keyed(key, Conflict::Set(set))
    }

    fn keyed<S: Into<String>>(
        mut self,
        key: impl IntoIterator<Item = S>,
        conflict: Conflict,
    ) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self.conflict = conflict;
        self
    }

    /// Has each batch written once, also when the answer to its commit was lost and it is tried again: its number is
    /// stored with it, one row for each writer. The default unless rows that are there already are
    /// [left out](Self::insert_missing): others would be there twice, or, where a unique key refuses them the second time, be told
    /// as dead although they are there; an upsert would change a row twice, or, from an attempt that comes late, put an old value
    /// over a newer one. It does not know rows that another process, or another life of this
    /// one, sends again: that takes a natural key. Of a batch that is in doubt for more than seven days it is forgotten; and a
    /// machine that is set back to a snapshot while it runs must start its writers anew, since their numbers are taken.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = Some(true);
        self
    }

    /// Has batches written without their number: a statement less, and after an answer to a commit that was lost, rows that
    /// are there twice, told as dead, or changed twice. The default where rows that are there already are left out; for
    /// others it is for what may be written twice.
    #[must_use]
    pub fn at_least_once(mut self) -> Self {
        self.once = Some(false);
        self
    }

    /// Has rows that are given up stored in the table `batch_dead` of the store, as JSON and with the reason.
    #[must_use]
    pub fn keep_dead(mut self) -> Self {
        self.keep_dead = true;
        self
    }

    /// Sets the most bytes of a row: 8 MiB by default, since a server has a row in memory several times while it
    /// writes it, and everybody behind it waits. Larger values belong into files, with their name in the row.
    #[must_use]
    pub fn row_bytes_max(mut self, bytes: usize) -> Self {
        self.row_bytes_max = bytes;
        self
    }

    /// Finds what cannot work before a row is sent.
    pub(super) fn check(&self, dialect: Dialect) -> Result<(), Error> {
        let wrong = |problem: String| Err(config::config("table", problem));
        for part in self.name.split('.') {
            check_name(part)?;
        }
        if !(1..=Self::COLUMNS_MAX).contains(&self.columns.len()) {
            let has = self.columns.len();
            return wrong(format!("has {has} columns, but must have from 1 to 1600"));
        }
        for (at, column) in self.columns.iter().enumerate() {
            check_name(&column.name)?;
            if self.columns[..at].iter().any(|c| c.name == column.name) {
                return wrong(format!("has the column {:?} twice", column.name));
            }
            if let Some(cast) = &column.cast
                && (cast.is_empty() || !cast.chars().all(is_of_type))
            {
                return wrong(format!("{cast:?} is no name of a type"));
            }
        }
        if self.conflict != Conflict::Fail && self.key.is_empty() {
            return wrong("has no key to tell rows apart by".into());
        }
        if let Some(missing) = self.key.iter().find(|key| self.place_of(key).is_none()) {
            return wrong(format!("its key {missing:?} is none of its columns"));
        }
        if !(1..=Self::ROW_BYTES_LIMIT).contains(&self.row_bytes_max) {
            return wrong("row_bytes_max must be from 1 to 268435456".into());
        }
        if self.form == Form::Copy && dialect == Dialect::Sqlite {
            return wrong("SQLite has no COPY; use Form::Unnest".into());
        }
        if self.form == Form::Copy && self.conflict != Conflict::Fail {
            return wrong("COPY knows no conflicts; use Form::Unnest".into());
        }
        Ok(())
    }

    pub(super) fn is_once(&self) -> bool {
        self.once.unwrap_or(self.conflict != Conflict::Keep)
    }

    pub(super) fn place_of(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

/// Names are quoted, so anything is safe that PostgreSQL does not cut off.
fn check_name(name: &str) -> Result<(), Error> {
    if (1..=63).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    Err(config::config(
        "table",
        format!("the name {name:?} must have from 1 to 63 bytes, none of them NUL"),
    ))
}

fn is_of_type(letter: char) -> bool {
    letter.is_alphanumeric()
        || matches!(letter, '_' | ' ' | '.' | '(' | ')' | ',' | '[' | ']' | '"')
}
