//! JSON that becomes text only when the text is needed.

use std::sync::OnceLock;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON value: its text, or the value of which the text is made.
///
/// An item that is appended is written once, into the buffer of its line. With a text of its own it would be written twice, and
/// copied; that costs more than the rest of the append. So the text is made when a reader asks for it.
#[derive(Debug)]
pub(crate) struct LazyJson<T> {
    text: OnceLock<Box<RawValue>>,
    value: Option<T>,
}

impl<T: Serialize> LazyJson<T> {
    pub(crate) fn of_text(text: Box<RawValue>) -> Self {
        Self { text: OnceLock::from(text), value: None }
    }

    pub(crate) fn of_value(value: T) -> Self {
        Self { text: OnceLock::new(), value: Some(value) }
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &RawValue {
        self.text.get_or_init(|| to_raw_value(&self.value).unwrap_or_default())
    }

    /// Returns the text, if it was made already.
    pub(crate) fn made_text(&self) -> Option<&RawValue> {
        self.text.get().map(|text| &**text)
    }

    /// Returns the value of which the text is made. `None` for what was read from a text.
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

impl<T: Serialize> Serialize for LazyJson<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.made_text(), &self.value) {
            (None, Some(value)) => value.serialize(serializer),
            _ => self.text().serialize(serializer),
        }
    }
}
