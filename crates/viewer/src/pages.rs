//! The pages, one in each file.

pub(crate) mod activity;
pub(crate) mod compare;
pub(crate) mod context;
pub(crate) mod find;
pub(crate) mod home;
pub(crate) mod item;
pub(crate) mod lines;
pub(crate) mod relatives;
pub(crate) mod thread;
pub(crate) mod windows;
pub(crate) mod world;

use axum::http::StatusCode;

use crate::error::PageError;

pub(crate) async fn not_found() -> PageError {
    PageError::new(StatusCode::NOT_FOUND, "there is no such page")
}

pub(crate) async fn wrong_method() -> PageError {
    PageError::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take what the browser sent to it")
}
