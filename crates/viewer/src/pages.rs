//! The pages, one in each file.

pub(crate) mod context;
pub(crate) mod home;
pub(crate) mod lines;
pub(crate) mod thread;

use axum::http::StatusCode;

use crate::error::PageError;

pub(crate) async fn not_found() -> PageError {
    PageError::new(StatusCode::NOT_FOUND, "there is no such page")
}
