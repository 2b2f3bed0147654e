//! The style sheets and the script. All of them are in the program.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use selvedge_transcript::STYLE;

const SCRIPT: &str = include_str!("../assets/viewer.js");
const PAGES: &str = include_str!("../assets/viewer.css");

pub(crate) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "no-cache")], format!("{STYLE}\n{PAGES}"))
}

pub(crate) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")], SCRIPT)
}
