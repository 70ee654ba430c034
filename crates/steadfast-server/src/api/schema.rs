//! Types that say their own shape, for the document of the API.

use serde_json::{Map, Value, json};

/// Something that stands in requests or answers.
pub(crate) trait Schema {
    /// Its shape, as OpenAPI says it; of a type with a name a reference.
    fn schema() -> Value;

    /// Adds its shape, and those in it, to those that have names.
    fn define(_named: &mut Map<String, Value>) {}

    /// Whether it has to be there.
    const REQUIRED: bool = true;
}

macro_rules! plain {
    ($($type:ty => $schema:expr,)*) => {
        $(impl Schema for $type {
            fn schema() -> Value {
                $schema
            }
        })*
    };
}

plain! {
    String => json!({ "type": "string" }),
    bool => json!({ "type": "boolean" }),
    i16 => json!({ "type": "integer" }),
    u16 => json!({ "type": "integer", "minimum": 0 }),
    u32 => json!({ "type": "integer", "minimum": 0 }),
    u64 => json!({ "type": "integer", "minimum": 0 }),
    i64 => json!({ "type": "integer" }),
    f64 => json!({ "type": "number" }),
}

impl<T: Schema> Schema for Option<T> {
    fn schema() -> Value {
        T::schema()
    }

    fn define(named: &mut Map<String, Value>) {
        T::define(named);
    }

    const REQUIRED: bool = false;
}

impl<T: Schema> Schema for Vec<T> {
    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn define(named: &mut Map<String, Value>) {
        T::define(named);
    }
}

impl<T: Schema> Schema for std::collections::BTreeMap<String, T> {
    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn define(named: &mut Map<String, Value>) {
        T::define(named);
    }
}

/// Makes types of the API: written as JSON, read from it, and told in its document, all from one
/// place.
macro_rules! types {
    ($(
        $(#[doc = $about:literal])+
        $(#[serde($serde:ident)])?
        $name:ident { $($(#[doc = $says:literal])+ $field:ident: $type:ty $(where $narrow:expr)?,)* }
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        $(#[serde($serde)])?
        pub(crate) struct $name {
            $($(#[doc = $says])+ pub(crate) $field: $type,)*
        }

        impl $crate::api::schema::Schema for $name {
            fn schema() -> serde_json::Value {
                let reference = concat!("#/components/schemas/", stringify!($name));
                serde_json::json!({ "$ref": reference })
            }

            fn define(named: &mut serde_json::Map<String, serde_json::Value>) {
                use $crate::api::schema::{Schema, described};
                #[allow(unused_imports, reason = "types of answers are as wide as they are")]
                use $crate::api::narrow::*;
                if named.contains_key(stringify!($name)) {
                    return;
                }
                let fields: Vec<(&str, &str, bool, serde_json::Value)> = vec![$((
                    stringify!($field),
                    concat!($($says),+),
                    <$type as Schema>::REQUIRED,
                    {
                        let shape = <$type as Schema>::schema();
                        $(let shape = narrowed(shape, $narrow);)?
                        shape
                    },
                ),)*];
                let about = concat!($($about),+);
                let refuses = [$(stringify!($serde))?].contains(&"deny_unknown_fields");
                named.insert(stringify!($name).to_owned(), described(about, fields, refuses));
                $(<$type as Schema>::define(named);)*
            }
        }
    )*};
}

pub(crate) use types;

/// Says the shape of a type with fields, and whether it refuses those that it does not know.
pub(crate) fn described(
    about: &str,
    fields: Vec<(&str, &str, bool, Value)>,
    refuses_unknown: bool,
) -> Value {
    let required: Vec<&str> = fields
        .iter()
        .filter(|(_, _, required, _)| *required)
        .map(|(name, ..)| name.trim_start_matches("r#"))
        .collect();
    let mut properties = Map::new();
    for (name, says, required, schema) in fields {
        // What does not have to be there may be null as well.
        let schema = match required {
            true => schema,
            false => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
        let mut schema = schema;
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".into(), says.trim().into());
        }
        properties.insert(name.trim_start_matches("r#").to_owned(), schema);
    }
    let mut shape = json!({
        "type": "object",
        "description": about.trim(),
        "properties": properties,
        "required": required,
    });
    if refuses_unknown {
        shape["additionalProperties"] = false.into();
    }
    shape
}
