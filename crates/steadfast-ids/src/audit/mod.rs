//! Is it true that no two ids are the same? Asked of the table that they stand in.
//!
//! A primary key sees two rows with one id only when both reach one table. Shards, archives, exports and columns
//! without a unique index do not; and a generator that gave one place in time twice, with different genes, has not
//! made the same number twice. An [`Audit`] reads a column in pages, in its order, and looks at each id and its
//! neighbor: what is equal in time, worker and sequence stands side by side.
//!
//! It only reads, a page a transaction, so it may run beside everything else for as long as it takes. The column needs
//! an index in the order of the pages, or each page sorts the whole table: a primary key is one for numbers; for texts
//! `CREATE INDEX … ON orders (length(id), id COLLATE "C")` (PostgreSQL) or `(length(id), id)` (SQLite).

mod tally;

use steadfast_core::clock;
use steadfast_store::{Binds, Dialect, Ident, Rows, Store, binds};

use crate::error::{Error, Repr};
use crate::id::Id;
use crate::snowflake::Layout;

use tally::Tally;

pub use tally::AuditReport;

/// How ids are written in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// As integers: the default.
    #[default]
    Number,
    /// As decimal text.
    Decimal,
    /// As text in base 32, as [`Id::text`] writes it.
    Base32,
}

/// Proves that the ids of a column are unique, or shows which are not.
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # use steadfast_store::{Config, Error, Store, binds};
/// # #[tokio::main] async fn main() -> Result<(), steadfast_core::BoxError> {
/// # let folder = std::env::temp_dir().join(format!("ids-doc-audit-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// use steadfast_ids::{Audit, Generator};
///
/// let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
/// let ids = Generator::builder(7).build()?;
/// let id = ids.next().await?.to_i64();
/// store
///     .write(async |mut tx| {
///         tx.sql("CREATE TABLE orders (id INTEGER NOT NULL)", binds![]).await?;
///         tx.sql("INSERT INTO orders VALUES (?1), (?1)", binds![id]).await?;
///         Ok::<_, Error>(())
///     })
///     .await?;
///
/// let report = Audit::new("orders", "id")?.run(&store).await?;
/// assert!(!report.is_clean());
/// assert_eq!((report.rows, report.repeated[0].1), (2, 2));
/// # store.close().await;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(()) } main().unwrap(); }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is `run`"]
pub struct Audit {
    names: [Ident; 2],
    form: Form,
    layout: Layout,
    page: u32,
}

impl Audit {
    /// How many ids are read at a time unless told otherwise: 10,000, some milliseconds with an index.
    pub const PAGE: u32 = 10_000;

    /// The most at a time: 1,000,000, some tens of megabytes.
    pub const PAGE_MAX: u32 = 1_000_000;

    /// Looks at a column of a table, which may have its schema in front. Names are as in the catalog of the database,
    /// whatever they hold: they are put in quotes.
    ///
    /// # Errors
    /// When one is no name (SF-1114).
    pub fn new(table: &str, column: &str) -> Result<Self, Error> {
        Ok(Self {
            names: [Ident::new(table)?, Ident::new(column)?],
            form: Form::default(),
            layout: Layout::DEFAULT,
            page: Self::PAGE,
        })
    }

    /// Sets how ids are written there; [`Form::Number`] unless set.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Sets the layout that they were made with; [`Layout::DEFAULT`] unless set.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets how many are read at a time, from 1 to [`PAGE_MAX`](Self::PAGE_MAX); [`PAGE`](Self::PAGE) unless set.
    pub fn page(mut self, ids: u32) -> Self {
        self.page = ids.clamp(1, Self::PAGE_MAX);
        self
    }

    /// Reads the whole column.
    ///
    /// # Errors
    /// When the store cannot be asked, the table or the column is not there, or the column is of another kind than the
    /// form says (SF-1310).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn run(&self, store: &Store) -> Result<AuditReport, Error> {
        let mut tally = Tally::new(self.layout, clock::timestamp());
        self.strays(store, &mut tally).await?;
        match self.form {
            Form::Number => self.numbers(store, &mut tally).await?,
            Form::Decimal | Form::Base32 => self.texts(store, &mut tally).await?,
        }
        Ok(tally.report)
    }

    /// Makes sure that the column has values of the right kind; SQLite may have others in between, which are counted.
    async fn strays(&self, store: &Store, tally: &mut Tally) -> Result<(), Error> {
        match store.dialect() {
            Dialect::Sqlite => {
                let count =
                    "SELECT count(*) FROM {0} AS a WHERE a.{1} IS NOT NULL AND typeof(a.{1}) <> ?1";
                let kind = match self.form {
                    Form::Number => "integer",
                    Form::Decimal | Form::Base32 => "text",
                };
                let rows = self.ask(store, count, binds![kind]).await?;
                tally.unreadable_rows(rows.one()?.get::<i64>(0)?.unsigned_abs());
            }
            Dialect::Postgres => {
                // Without a row there is no type to see.
                let look =
                    "SELECT pg_typeof(a.{1})::text FROM {0} AS a WHERE a.{1} IS NOT NULL LIMIT 1";
                let rows = self.ask(store, look, binds![]).await?;
                let Some(row) = rows.first() else {
                    return Ok(());
                };
                let kind: String = row.get(0)?;
                let fits: &[&str] = match self.form {
                    Form::Number => &["bigint", "integer", "smallint"],
                    Form::Decimal | Form::Base32 => &["text", "character varying", "character"],
                };
                if !fits.contains(&kind.as_str()) {
                    let [table, column] = &self.names;
                    let wanted = fits[0];
                    let why = format!("{table}.{column} is {kind}, and {wanted} was expected");
                    return Err(Repr::Column(why).into());
                }
            }
        }
        Ok(())
    }

    async fn numbers(&self, store: &Store, tally: &mut Tally) -> Result<(), Error> {
        let text = match store.dialect() {
            Dialect::Sqlite => {
                "SELECT a.{1}, count(*) FROM {0} AS a WHERE a.{1} >= ?1 AND typeof(a.{1}) = 'integer' \
                 GROUP BY a.{1} ORDER BY a.{1} LIMIT ?2"
            }
            Dialect::Postgres => {
                "SELECT a.{1}::bigint, count(*) FROM {0} AS a WHERE a.{1} >= $1 \
                 GROUP BY a.{1} ORDER BY a.{1} LIMIT $2"
            }
        };
        let mut from = i64::MIN;
        loop {
            let rows = self.ask(store, text, binds![from, self.page]).await?;
            for row in &rows {
                let (number, count): (i64, i64) = (row.get(0)?, row.get(1)?);
                match Id::from_i64(number) {
                    Some(id) => tally.id(id, count.unsigned_abs()),
                    None => tally.foreign(count.unsigned_abs()),
                }
                from = number;
            }
            match from.checked_add(1) {
                Some(next) if rows.len() == self.page as usize => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// By length, then by text: so decimal digits order as their numbers do.
    async fn texts(&self, store: &Store, tally: &mut Tally) -> Result<(), Error> {
        let text = match store.dialect() {
            Dialect::Sqlite => {
                "SELECT a.{1}, count(*) FROM {0} AS a \
                 WHERE (length(a.{1}), a.{1} COLLATE BINARY) > (?1, ?2) AND typeof(a.{1}) = 'text' \
                 GROUP BY length(a.{1}), a.{1} COLLATE BINARY \
                 ORDER BY length(a.{1}), a.{1} COLLATE BINARY LIMIT ?3"
            }
            Dialect::Postgres => {
                "SELECT a.{1}::text, count(*) FROM {0} AS a \
                 WHERE (length(a.{1}), a.{1} COLLATE \"C\") > ($1::bigint, $2) \
                 GROUP BY length(a.{1}), a.{1} \
                 ORDER BY length(a.{1}), a.{1} COLLATE \"C\" LIMIT $3"
            }
        };
        let mut after = (-1, String::new());
        loop {
            let rows = self
                .ask(store, text, binds![after.0, after.1.as_str(), self.page])
                .await?;
            for row in &rows {
                let (found, count): (&str, i64) = (row.get(0)?, row.get(1)?);
                match self.read(found) {
                    Some(id) => tally.id(id, count.unsigned_abs()),
                    None => tally.unreadable(found, count.unsigned_abs()),
                }
            }
            match rows.iter().last() {
                Some(row) if rows.len() == self.page as usize => {
                    let text: String = row.get(0)?;
                    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                    after = (length, text);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reads an id that is written as we write it: another way to write the same one is another text, and would pass
    /// for another id.
    fn read(&self, text: &str) -> Option<Id> {
        match self.form {
            Form::Base32 => Id::from_text(text).ok().filter(|id| id.text() == text),
            _ => text.parse().ok().filter(|id: &Id| id.to_string() == text),
        }
    }

    async fn ask(&self, store: &Store, text: &'static str, binds: Binds) -> Result<Rows, Error> {
        let rows = store
            .read(async |mut tx| tx.sql_on(text, &self.names, binds).await)
            .await?;
        Ok(rows)
    }
}
