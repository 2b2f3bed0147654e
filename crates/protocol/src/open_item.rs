//! Objects of which only the kind is known.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::lone_surrogates::readable;

/// A JSON value of which only the kind is known, kept as the text that was read.
///
/// [`RolloutItem`](crate::RolloutItem) and [`EventMsg`](crate::EventMsg) use it for kinds that this version does not
/// know, for kinds of which no rule needs a field, and for a known kind that has an unexpected shape. It is therefore
/// not always an object. A clone shares the text. Two items are equal if their kinds and texts are.
#[derive(Clone)]
pub struct OpenItem {
    kind: String,
    json: Arc<RawValue>,
}

impl OpenItem {
    /// Creates an item of this kind with this JSON text.
    ///
    /// U+FFFD replaces each lone surrogate escape ([`without_lone_surrogates`](crate::without_lone_surrogates)).
    #[must_use]
    pub fn new(kind: impl Into<String>, json: Box<RawValue>) -> Self {
        Self { kind: kind.into(), json: Arc::from(readable(json)) }
    }

    /// Returns the kind as the log spells it. Empty if the log has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the JSON text.
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

/// Returns the value of the top-level `type` field of a JSON object. `None` if there is none, or if it is not a string.
pub(crate) fn kind_of(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct TypeField<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<TypeField<'_>>(json.get()).ok().map(|object| object.kind.into_owned())
}
