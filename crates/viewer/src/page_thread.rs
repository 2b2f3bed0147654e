//! The thread that the URL of a page names: by its id, or as a person types it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_store::{StoreError, ThreadLookup};
use selvedge_transcript::html::{time, title};

use crate::app::ViewerApp;
use crate::error::PageError;

/// The most threads that a page lists if a text names several.
const MAX_LISTED: usize = 50;

/// The thread in the path of a page. The beginning of an id, or a name, leads to the same page with the id in its URL.
pub(crate) struct PageThread(pub(crate) ThreadId);

impl FromRequestParts<Arc<ViewerApp>> for PageThread {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<ViewerApp>) -> Result<Self, Response> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        if let Ok(id) = text.parse() {
            return Ok(Self(id));
        }
        let uri = &parts.uri;
        let id = named_thread(app, &text, |id| of_thread(uri, id)).await.map_err(IntoResponse::into_response)?;
        Err(Redirect::to(&of_thread(uri, id)).into_response())
    }
}

/// Returns the URL of the same page of a thread: with its id in the place of whatever names it, behind `/threads/`.
fn of_thread(uri: &Uri, id: ThreadId) -> String {
    let rest = uri.path().splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/threads/{id}{rest}{query}")
}

/// Returns the thread that a text names: by its id, by a beginning of its id that no other thread has, or by its name.
///
/// # Errors
/// If the text names no thread, or several. Then the page of the error lists them, with links that `href` makes.
pub(crate) async fn named_thread(
    app: &ViewerApp,
    text: &str,
    href: impl Fn(ThreadId) -> String + Send,
) -> Result<ThreadId, PageError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let found = threads_named(app, text).await?;
    match found.first() {
        None => {
            let message = format!("no thread has the name `{text}` or an id that begins with it");
            Err(PageError::new(StatusCode::NOT_FOUND, message))
        }
        Some(only) if found.len() == 1 => Ok(*only),
        Some(_) => {
            let message = format!("{} threads have the name `{text}` or an id that begins with it", found.len());
            let matches = matches(app, &found, href).await?;
            Err(PageError { next: matches, ..PageError::new(StatusCode::MULTIPLE_CHOICES, message) })
        }
    }
}

/// Returns the threads with this name, and those whose ids begin with this text.
pub(crate) async fn threads_named(app: &ViewerApp, text: &str) -> Result<BTreeSet<ThreadId>, StoreError> {
    // A name can look like an id. Both are looked up, so that neither hides the other.
    let mut found = BTreeSet::new();
    for lookup in [ThreadLookup::Name(text.to_owned()), ThreadLookup::IdPrefix(text.to_owned())] {
        found.extend(app.store().find_threads(&lookup).await?);
    }
    Ok(found)
}

/// Renders a list of threads with their ids. `href` makes the links.
pub(crate) async fn matches(
    app: &ViewerApp,
    found: &BTreeSet<ThreadId>,
    href: impl Fn(ThreadId) -> String + Send,
) -> Result<Markup, StoreError> {
    // Ids begin with their time, so the last ones are the newest.
    let mut threads = Vec::new();
    for id in found.iter().rev().take(MAX_LISTED) {
        match app.store().read_thread(*id).await {
            Ok(thread) => threads.push(thread),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(html! {
        ul.rows { @for thread in &threads { li { (row(thread, &href(thread.id))) } } }
        @if found.len() > MAX_LISTED { p.dim { "Only the newest " (MAX_LISTED) " are shown. Type more of the id." } }
    })
}

fn row(thread: &StoredThread, href: &str) -> Markup {
    html! {
        a.row href=(href) {
            span.title { (title(thread)) }
            span.about {
                code { (thread.id) }
                (time(thread.updated_at))
                @if let Some(cwd) = &thread.cwd { span.directory { (cwd) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of_thread;

    #[test]
    fn the_rest_of_a_url_stays() {
        let id: selvedge_protocol::ThreadId = "01a1fd5d-bbbb-7000-8000-000000000000".parse().unwrap();
        let urls = ["/threads/01a1", "/threads/a%2Fb/lines?at=x%26y", "/threads/01a1/find?q=a/b"];
        let expected =
            [format!("/threads/{id}"), format!("/threads/{id}/lines?at=x%26y"), format!("/threads/{id}/find?q=a/b")];
        assert_eq!(urls.map(|url| of_thread(&url.parse().unwrap(), id)), expected);
    }
}
