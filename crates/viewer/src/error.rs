//! Errors as pages, and as JSON for the API.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use selvedge_thread_store::StoreError;

use crate::layout::{page, site_bar};

/// An error of a request.
#[derive(Debug)]
pub(crate) struct PageError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// What a page of the error says to do about it.
    pub(crate) next: Markup,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), next: html! { p { (what_next(status)) } } }
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
        let title = match self.status {
            StatusCode::MULTIPLE_CHOICES => "Which thread?",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::CONFLICT => "Not done",
            StatusCode::GONE => "No longer here",
            status if status.is_client_error() => "Wrong address",
            _ => "The page could not be made",
        };
        let body = html! {
            (site_bar("", ""))
            main #main.plain { h1 { (title) } p { (sentence(&self.message)) } (self.next) }
        };
        (self.status, page(title, &body)).into_response()
    }
}

/// Returns what a reader can do about an error.
fn what_next(status: StatusCode) -> Markup {
    let threads = html! { a href="/?archived=all" { "all threads" } };
    html! {
        @match status {
            StatusCode::NOT_FOUND => { "Search for it above, or look through " (threads) ". A thread may have been deleted, and turns may have been undone." }
            StatusCode::FORBIDDEN => { "You can still read " (threads) "." }
            StatusCode::CONFLICT => { "Go back, load the page again, and repeat what you did." }
            StatusCode::GONE => { "What the page continues has changed. Begin again: with " (threads) ", or at the end of the thread." }
            status if status.is_client_error() => { "Check the address in the address bar, or begin again with " (threads) "." }
            _ => { "Load the page again. If that does not help, run `selvedge doctor`, which checks the files of a home." }
        }
    }
}

/// Returns a message, which can be the end of a line of a program, as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_message_becomes_a_sentence() {
        let messages = ["there is no such page", "`a` is no day", "Done.", ""];
        assert_eq!(messages.map(sentence), ["There is no such page.", "`a` is no day.", "Done.", "."]);
    }
}
