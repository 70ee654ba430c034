use std::fmt;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::source::Span;
use super::units;
use crate::decide::policy::OutOfRange;

/// A value of a document, which is asked for what it should be.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    value: &'d Spanned<DeValue<'d>>,
}

/// Refuses a value: what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub(super) message: String,
    pub(super) fix: Option<String>,
    /// The part of the value that is meant, if not all of it.
    pub(super) span: Option<Span>,
    /// What else is wrong with it.
    pub(super) others: Vec<Wrong>,
}

// === impl Value ===

impl<'d> Value<'d> {
    pub(super) fn new(value: &'d Spanned<DeValue<'d>>) -> Self {
        Self { value }
    }

    pub(super) fn span(&self) -> Span {
        self.value.span()
    }

    /// Gives the text of a string.
    ///
    /// # Errors
    /// When it is anything else; so for all of these.
    pub fn text(&self) -> Result<&'d str, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.not("a string")),
        }
    }

    /// Gives a whole number.
    ///
    /// # Errors
    /// Also when it has more than 64 bits.
    pub fn integer(&self) -> Result<i64, Wrong> {
        match self.value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| Wrong::new("a number of more than 64 bits is of no use here")),
            _ => Err(self.not("a whole number")),
        }
    }

    /// Gives a number, whole or not. Infinity and what is no number are numbers here; the range is
    /// the caller's.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn number(&self) -> Result<f64, Wrong> {
        match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().map_err(|_| self.not("a number")),
            DeValue::Integer(_) => self.integer().map(|number| number as f64),
            _ => Err(self.not("a number")),
        }
    }

    /// Gives a truth value.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn flag(&self) -> Result<bool, Wrong> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.not("true or false")),
        }
    }

    /// Gives a [`duration`](super::duration): `"250ms"`.
    ///
    /// # Errors
    /// When it is anything else; a number without a unit is told how to get one.
    pub fn time(&self) -> Result<Duration, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => units::duration(text),
            DeValue::Integer(number) => units::duration(number.as_str()),
            _ => Err(self.not("a length of time, such as \"250ms\" or \"2s\",")),
        }
    }

    /// Gives a [`share`](super::share): `"10 %"` or 0.1.
    ///
    /// # Errors
    /// When it is anything else. The range is the caller's.
    pub fn share(&self) -> Result<f64, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => units::share(text),
            DeValue::Float(_) | DeValue::Integer(_) => self.number(),
            _ => Err(self.not("a part of a whole, such as \"10 %\" or 0.1,")),
        }
    }

    /// Gives what a list has, each read as one value.
    ///
    /// # Errors
    /// When it is no list, has more than `most`, or one of it is refused; all that are, are told.
    pub fn list<T>(
        &self,
        most: usize,
        read: impl Fn(&Value<'d>) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Wrong> {
        let DeValue::Array(values) = self.value.get_ref() else {
            return Err(self.not("a list"));
        };
        if values.len() > most {
            let message = format!("it has {}, more than the {most} it may have", values.len());
            return Err(Wrong::new(message));
        }
        let mut wrong: Option<Wrong> = None;
        let mut list = Vec::new();
        for value in values.iter().map(Value::new) {
            match read(&value).map_err(|wrong| wrong.at(value.span())) {
                Ok(one) => list.push(one),
                Err(another) => match &mut wrong {
                    Some(wrong) => wrong.others.push(another),
                    None => wrong = Some(another),
                },
            }
        }
        match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(list),
        }
    }

    /// Says that it should be something else.
    pub(super) fn not(&self, expected: &str) -> Wrong {
        let is = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let wrong = Wrong::new(format!("{expected} is expected, and this is {is}"));
        // What is meant is clear where but the form is wrong.
        match (expected, self.value.get_ref()) {
            ("a list", DeValue::String(text)) => wrong.with_fix(format!("write [{text:?}]")),
            ("a string", DeValue::Integer(number)) => {
                wrong.with_fix(format!("write \"{}\"", number.as_str()))
            }
            ("a whole number", DeValue::String(text)) if text.parse::<i64>().is_ok() => {
                wrong.with_fix(format!("write {text}"))
            }
            ("a number", DeValue::String(text)) if text.parse::<f64>().is_ok() => {
                wrong.with_fix(format!("write {text}"))
            }
            ("true or false", DeValue::String(text)) if text.parse::<bool>().is_ok() => {
                wrong.with_fix(format!("write {text}"))
            }
            _ => wrong,
        }
    }
}

// === impl Wrong ===

impl Wrong {
    /// Says what is wrong, in lower case and without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: None,
            span: None,
            others: Vec::new(),
        }
    }

    /// Says what to write instead.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    fn at(self, span: Span) -> Self {
        Self {
            span: self.span.or(Some(span)),
            ..self
        }
    }
}

impl From<OutOfRange> for Wrong {
    fn from(refused: OutOfRange) -> Self {
        Self::new(refused.to_string())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Wrong {}
