//! Objects that keep the fields that their types do not name.
//!
//! [`open_object!`] declares the typed view of one kind of JSON object. A value goes through such a view without a
//! loss:
//!
//! ```text
//! read     {"goal":"x","budget":1.50,"turn_id":7}
//! becomes  Example { goal: Some("x"), turn_id: None, extra: { budget: 1.50, turn_id: 7 } }
//! written  {"goal":"x","budget":1.50,"turn_id":7}
//! ```
//!
//! `budget` is a field that the type does not name. `turn_id` is one that it names, but here it has an unexpected
//! shape. Both stay in `extra` with the spelling of their values, so `1.50` does not become `1.5`.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The fields of an object that its type does not name: in their order, each value spelt as it was read.
///
/// It also keeps a *named* field whose value is `null` or has a shape that the type does not expect. So an unexpected
/// value never makes its object unreadable, and the named field counts as missing.
///
/// ```
/// use selvedge_protocol::TurnContext;
///
/// let text = r#"{"model":"m","cwd":7,"new_field":1.50}"#;
/// let context: TurnContext = serde_json::from_str(text)?;
/// assert_eq!((context.model.as_deref(), context.cwd), (Some("m"), None));
/// assert_eq!(context.extra.get("cwd").map(|value| value.get()), Some("7"));
/// assert_eq!(context.extra.get("new_field").map(|value| value.get()), Some("1.50"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Extra(Vec<(String, Arc<RawValue>)>);

impl Extra {
    /// Returns the value of field `name`. `None` if there is no such field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Sets field `name`. A field that exists keeps its position; a new one is added at the end.
    pub fn insert(&mut self, name: impl Into<String>, value: Box<RawValue>) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(field) => field.1 = Arc::from(value),
            None => self.0.push((name, Arc::from(value))),
        }
    }

    /// Removes field `name` and returns its value. `None` if there is no such field.
    pub fn remove(&mut self, name: &str) -> Option<Arc<RawValue>> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Returns the fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Returns whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field at the end. Unlike [`Self::insert`], it keeps a field that an object has twice.
    pub(crate) fn push(&mut self, name: String, value: Arc<RawValue>) {
        self.0.push((name, value));
    }

    /// Writes the fields to `map`, except those whose names are taken: a named field of the object has been written
    /// under that name.
    pub(crate) fn serialize_into<M: SerializeMap>(
        &self,
        map: &mut M,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(), M::Error> {
        for (key, value) in &self.0 {
            if !is_taken(key) {
                map.serialize_entry(key, &**value)?;
            }
        }
        Ok(())
    }
}

// Equality is that of the texts: `1.0` and `1.00` are different values here, since both have to be written as they
// were.
impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.0 == b.0 && a.1.get() == b.1.get())
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, value.get()))).finish()
    }
}

/// All fields of an object, in their order and spelt as they were read. A name that occurs twice is here twice.
pub(crate) struct RawFields(pub(crate) Vec<(String, Arc<RawValue>)>);

impl<'de> Deserialize<'de> for RawFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> serde::de::Visitor<'de> for FieldsVisitor {
            type Value = RawFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<RawFields, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.push((key, Arc::from(value)));
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Declares a struct for a JSON object. All its named fields are optional, and `extra` keeps every other field.
///
/// - `Name ("tag")` declares an object whose `type` is `tag`. The struct has no field for it, and the tag is always
///   written.
/// - `field: Type ["alias"]` also reads the field under the name `alias`, and always writes it under its own name.
/// - `field: Type as "key"` has another name in JSON, because Rust cannot have that name.
///
/// A derived `Deserialize` cannot do this: `#[serde(flatten)]` buffers the other fields as parsed values, so the
/// spelling of numbers is lost, and a single field of an unexpected shape fails the whole object.
macro_rules! open_object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(($tag:literal))? {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty $(as $key:literal)? $([$($alias:literal),+])? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: Option<$ty>, )*
            /// The fields that this type does not name.
            pub extra: $crate::Extra,
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut object = Self::default();
                for (key, value) in $crate::open_object::RawFields::deserialize(deserializer)?.0 {
                    match key.as_str() {
                        // A tagged object drops its `type`, because the tag is written from the declaration. The guard
                        // is always true; it only makes the arm depend on `$tag`, so that an untagged object has no
                        // such arm.
                        $( "type" if { let _ = $tag; true } => {} )?
                        // A `null` counts as missing and goes to `extra`, from where it is written again. Without this
                        // check, a field of type `Value` would become `Some(Value::Null)`.
                        $( $crate::open_object::field_key!($field $($key)?) $($(| $alias)+)? => match serde_json::from_str::<$ty>(value.get()) {
                            Ok(parsed) if value.get() != "null" => object.$field = Some(parsed),
                            _ => object.extra.push(key, value),
                        }, )*
                        _ => object.extra.push(key, value),
                    }
                }
                Ok(object)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $( map.serialize_entry("type", $tag)?; )?
                $( if let Some(value) = &self.$field {
                    map.serialize_entry($crate::open_object::field_key!($field $($key)?), value)?;
                } )*
                // `extra` has the name of a field if its value was `null` or unexpected. If the field has a value by
                // now, from an alias or from a caller, then that wins. So no name is written twice.
                self.extra.serialize_into(&mut map, |key| match key {
                    $( $crate::open_object::field_key!($field $($key)?) $($(| $alias)+)? => self.$field.is_some(), )*
                    _ => false,
                })?;
                map.end()
            }
        }
    };
}
pub(crate) use open_object;

/// The name of a field in JSON.
macro_rules! field_key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use field_key;
