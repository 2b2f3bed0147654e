//! Ids in paths, and queries.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use selvedge_protocol::ThreadId;
use serde::de::DeserializeOwned;

use crate::error::PageError;

/// The query of a URL. If it is wrong, the answer is a page that says so.
pub(crate) struct UrlQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, PageError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(PageError::new(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}

/// Parses the id in a path that only programs use, and that takes whole ids.
pub(crate) fn thread_id(text: &str) -> Result<ThreadId, PageError> {
    let wrong =
        || format!("`{text}` is not the id of a thread: it must be a whole one, as `/api/v1/threads` lists them");
    text.parse().map_err(|_| PageError::new(StatusCode::NOT_FOUND, wrong()))
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
