//! Ids in paths, and texts in queries.

use axum::http::StatusCode;
use selvedge_protocol::ThreadId;

use crate::error::PageError;

/// Parses the id in a path.
pub(crate) fn thread_id(text: &str) -> Result<ThreadId, PageError> {
    text.parse().map_err(|_| PageError::new(StatusCode::NOT_FOUND, format!("`{text}` is not the id of a thread")))
}

/// Encodes a text for the query of a URL.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
