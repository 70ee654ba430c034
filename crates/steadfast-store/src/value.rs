//! Values on their way into a statement.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A value that is bound to a placeholder of a statement. Values are bound, never formatted in.
///
/// Integers are 64 bit, as SQLite's are: where a column of PostgreSQL is narrower, the statement
/// casts (`$1::int4`). Times are integers as well: microseconds since 1970 by the clock of the
/// database. JSON is text that the statement casts (`$1::jsonb`).
///
/// `From` is there for everything that is usual, `Option`s included, so that [`binds!`](crate::binds)
/// reads like a list of arguments.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A null, of the type named: PostgreSQL wants to know.
    Null(Kind),
    /// A truth; in SQLite 0 or 1.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// A float.
    F64(f64),
    /// Text.
    Text(Text),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Many values for one placeholder: an array for PostgreSQL (`unnest($1::bigint[])`,
    /// `= ANY($1)`), JSON for SQLite (`SELECT value FROM json_each(?1)`; bytes as hexadecimal
    /// digits, for `unhex(value)`).
    Array(Array),
    /// The columns of many rows, all of one length. For PostgreSQL they are as many placeholders
    /// as there are columns, in order (`unnest($1::bigint[], $2::text[])`). For SQLite they are
    /// one, with JSON of the rows (`SELECT value->>0, value->>1 FROM json_each(?1)`), because a
    /// join of two `json_each` takes quadratic time.
    Batch(Vec<Array>),
}

/// The type of a null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// [`Value::Bool`].
    Bool,
    /// [`Value::I64`].
    I64,
    /// [`Value::F64`].
    F64,
    /// [`Value::Text`].
    Text,
    /// [`Value::Bytes`].
    Bytes,
}

/// Text that is static, shared or of its own; none of them is copied on the way in.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    Cow(Cow<'static, str>),
    Shared(Arc<str>),
}

impl Text {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Cow(text) => text,
            Repr::Shared(text) => text,
        }
    }

    pub(crate) fn into_string(self) -> String {
        match self.0 {
            Repr::Cow(text) => text.into_owned(),
            Repr::Shared(text) => text.to_string(),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Many values of one type.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Array {
    /// Truths.
    Bool(Vec<bool>),
    /// Integers.
    I64(Vec<i64>),
    /// Integers and nulls.
    OptionI64(Vec<Option<i64>>),
    /// Floats.
    F64(Vec<f64>),
    /// Truths and nulls.
    OptionBool(Vec<Option<bool>>),
    /// Floats and nulls.
    OptionF64(Vec<Option<f64>>),
    /// Texts.
    Text(Vec<String>),
    /// Texts and nulls.
    OptionText(Vec<Option<String>>),
    /// Bytes.
    Bytes(Vec<Vec<u8>>),
    /// Bytes and nulls.
    OptionBytes(Vec<Option<Vec<u8>>>),
}

impl Array {
    /// Tells how many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::OptionI64(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::OptionBool(values) => values.len(),
            Self::OptionF64(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::OptionText(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::OptionBytes(values) => values.len(),
        }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Only how many there are: values may be secrets, and logs are read by many.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(kind) => f.debug_tuple("Null").field(kind).finish(),
            Self::Bool(_) => f.write_str("Bool(..)"),
            Self::I64(_) => f.write_str("I64(..)"),
            Self::F64(_) => f.write_str("F64(..)"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.as_str().len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Array(array) => array.fmt(f),
            Self::Batch(columns) => f.debug_tuple("Batch").field(columns).finish(),
        }
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Bool(_) | Self::OptionBool(_) => "Bool",
            Self::I64(_) | Self::OptionI64(_) => "I64",
            Self::F64(_) | Self::OptionF64(_) => "F64",
            Self::Text(_) | Self::OptionText(_) => "Text",
            Self::Bytes(_) | Self::OptionBytes(_) => "Bytes",
        };
        write!(f, "{kind}({} values)", self.len())
    }
}

/// A type that has a null of its own [`Kind`].
pub trait HasKind: Into<Value> {
    /// The type of its null.
    const KIND: Kind;
}

macro_rules! value_from {
    ($($from:ty => $kind:ident, |$value:ident| $make:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $make
            }
        }

        impl HasKind for $from {
            const KIND: Kind = Kind::$kind;
        }
    )*};
}

value_from! {
    bool => Bool, |value| Self::Bool(value);
    i64 => I64, |value| Self::I64(value);
    i32 => I64, |value| Self::I64(value.into());
    i16 => I64, |value| Self::I64(value.into());
    u32 => I64, |value| Self::I64(value.into());
    u16 => I64, |value| Self::I64(value.into());
    u8 => I64, |value| Self::I64(value.into());
    f64 => F64, |value| Self::F64(value);
    String => Text, |value| Self::Text(Text(Repr::Cow(value.into())));
    &str => Text, |value| Self::Text(Text(Repr::Cow(value.to_owned().into())));
    Cow<'static, str> => Text, |value| Self::Text(Text(Repr::Cow(value)));
    Arc<str> => Text, |value| Self::Text(Text(Repr::Shared(value)));
    Vec<u8> => Bytes, |value| Self::Bytes(value);
    &[u8] => Bytes, |value| Self::Bytes(value.to_vec());
}

impl<T: HasKind> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

macro_rules! array_from {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<Vec<$from>> for Array {
            fn from(values: Vec<$from>) -> Self {
                Self::$variant(values)
            }
        }

        impl From<Vec<$from>> for Value {
            fn from(values: Vec<$from>) -> Self {
                Self::Array(Array::$variant(values))
            }
        }
    )*};
}

array_from! {
    bool => Bool;
    i64 => I64;
    Option<i64> => OptionI64;
    f64 => F64;
    Option<bool> => OptionBool;
    Option<f64> => OptionF64;
    String => Text;
    Option<String> => OptionText;
    Vec<u8> => Bytes;
    Option<Vec<u8>> => OptionBytes;
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

/// The values of one run of a statement, in the order of its placeholders.
pub type Binds = Vec<Value>;

/// Lists the values of a statement: `binds![id, "text", None::<i64>, vec![1_i64, 2]]`.
#[macro_export]
macro_rules! binds {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Value::from($value)),*]
    };
}

/// Lists the columns of many rows, to be bound together: `batch![ids, kinds]` is one
/// [`Value::Batch`](crate::Value::Batch).
#[macro_export]
macro_rules! batch {
    ($($column:expr),+ $(,)?) => {
        $crate::Value::Batch(::std::vec![$($crate::Array::from($column)),+])
    };
}
