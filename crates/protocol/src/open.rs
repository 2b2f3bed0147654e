//! Objects that keep what they do not know.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The fields of an object that its type does not name, in their order, each value as it was spelt.
///
/// A named field whose value is `null`, or of a shape that the type does not expect, is kept here too: an odd field
/// never makes its object unreadable.
#[derive(Clone, Default)]
pub struct Extra(Vec<(String, Arc<RawValue>)>);

impl Extra {
    /// The value of field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Sets field `name`, in place or at the end.
    pub fn insert(&mut self, name: impl Into<String>, value: Box<RawValue>) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(field) => field.1 = Arc::from(value),
            None => self.0.push((name, Arc::from(value))),
        }
    }

    /// Takes field `name` away.
    pub fn remove(&mut self, name: &str) -> Option<Arc<RawValue>> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, name: String, value: Arc<RawValue>) {
        self.0.push((name, value));
    }

    /// Writes the fields that no named field has taken the place of.
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

/// Every field of an object, in its order and as it was spelt.
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

/// An object that is known by its kind alone: the kind, and the JSON text as it was.
#[derive(Clone)]
pub struct OpenItem {
    kind: String,
    json: Arc<RawValue>,
}

impl OpenItem {
    /// An item of this kind with this JSON text.
    #[must_use]
    pub fn new(kind: impl Into<String>, json: Box<RawValue>) -> Self {
        Self { kind: kind.into(), json: Arc::from(json) }
    }

    /// The kind, as the log spells it; empty where the log gives none.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.json
    }
}

impl PartialEq for OpenItem {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.json.get() == other.json.get()
    }
}

impl fmt::Debug for OpenItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenItem").field("kind", &self.kind).field("json", &self.json.get()).finish()
    }
}

impl Serialize for OpenItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

/// The value of the top-level `type` field of a JSON object, if it is a string.
pub(crate) fn kind_of(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Tagged<'_>>(json.get()).ok().map(|tagged| tagged.kind.into_owned())
}

/// Declares a struct whose fields are all optional and that keeps every other field of its object in `extra`.
///
/// `Name ("tag")` makes an object whose `type` is `tag`; `field: Type ["alias"]` reads the field by other names as well
/// and writes it by its own.
macro_rules! open_object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(($tag:literal))? {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty $([$($alias:literal),+])? ),* $(,)?
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
                for (key, value) in $crate::open::RawFields::deserialize(deserializer)?.0 {
                    match key.as_str() {
                        $( "type" if { let _ = $tag; true } => {} )?
                        $( stringify!($field) $($(| $alias)+)? => match serde_json::from_str::<$ty>(value.get()) {
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
                    map.serialize_entry(stringify!($field), value)?;
                } )*
                self.extra.serialize_into(&mut map, |key| match key {
                    $( stringify!($field) $($(| $alias)+)? => self.$field.is_some(), )*
                    _ => false,
                })?;
                map.end()
            }
        }
    };
}
pub(crate) use open_object;
