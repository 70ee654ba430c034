use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::schema::Schema;

/// JSON as somebody has given it, to the letter: no number is rounded, and no key is dropped or moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Given(Box<RawValue>);

impl Given {
    /// Takes a text; one that is no JSON as a text in JSON.
    pub(crate) fn of(text: &str) -> Self {
        let json = RawValue::from_string(text.to_owned());
        Self(json.unwrap_or_else(|_| {
            let quoted = Value::from(text).to_string();
            RawValue::from_string(quoted).expect("what was written as JSON is some")
        }))
    }

    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Schema for Given {
    fn schema() -> Value {
        json!({})
    }
}
