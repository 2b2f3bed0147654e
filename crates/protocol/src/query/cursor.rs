//! Opaque cursors, which mark where a page begins.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position at which a page begins.
///
/// A cursor is opaque to a client: a store creates it, and the client returns it with the query for the next page. Its
/// text begins with a tag and a version, so that a cursor of another query is refused and not misread:
///
/// | text | created by | position |
/// | --- | --- | --- |
/// | `p1.N` | [`Cursor::at_position`] | position `N` in the turns or items of a thread, see [`PageWindow`](crate::PageWindow) |
/// | `t1.ud.MILLIS.ID` | [`ThreadCursor::encode`](crate::ThreadCursor::encode) | behind thread `ID` in a listing of threads by `u`pdate time, `d`escending |
///
/// A store may have other cursors of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub(super) String);

/// The text is not a cursor of this query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this query: {text:?}")]
pub struct CursorError {
    /// The text that was passed as a cursor.
    pub text: String,
}

impl Cursor {
    /// Returns the cursor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Creates a cursor at a position in the turns or items of a thread.
    #[must_use]
    pub fn at_position(position: u64) -> Self {
        Self(format!("p1.{position}"))
    }

    /// Returns the position of a cursor that [`Cursor::at_position`] created.
    ///
    /// # Errors
    /// [`CursorError`] for any other cursor.
    pub fn position(&self) -> Result<u64, CursorError> {
        self.0.strip_prefix("p1.").and_then(|position| position.parse().ok()).ok_or_else(|| self.malformed())
    }

    pub(super) fn malformed(&self) -> CursorError {
        CursorError { text: self.0.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}
