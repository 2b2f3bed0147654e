//! Errors as pages, and as JSON for the API.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use selvedge_thread_store::StoreError;

use crate::layout::page;

/// An error of a request.
#[derive(Debug)]
pub(crate) struct PageError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound { .. } | StoreError::TurnNotFound { .. } => StatusCode::NOT_FOUND,
            StoreError::InvalidRequest { .. } => StatusCode::BAD_REQUEST,
            StoreError::Conflict { .. } | StoreError::HasDependents { .. } | StoreError::AlreadyExists { .. } => {
                StatusCode::CONFLICT
            }
            StoreError::CursorExpired { .. } => StatusCode::GONE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = html! {
            main.plain { h1 { (title) } p { (self.message) } p { a href="/" { "All threads" } } }
        };
        (self.status, page(title, &body)).into_response()
    }
}
