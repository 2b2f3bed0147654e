//! A search in one thread.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{
    ArchivedFilter, SearchHit, SearchOrder, SearchQuery, StoredThread, ThreadQuery, ThreadSortKey,
};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::title;
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::hits::hit_row;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::PageThread;
use crate::url::UrlQuery;

/// The most hits that are shown.
const LIMIT: usize = 200;

#[derive(Debug, Deserialize)]
pub(crate) struct FindParams {
    #[serde(default)]
    q: String,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<FindParams>,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let found = match hits(&app, &thread, &params.q).await {
        // A text without a term, such as punctuation alone.
        Err(StoreError::InvalidRequest { reason }) => html! { p.empty { (reason) } },
        found => render(&found?),
    };
    let body = html! {
        (thread_bar(id, "/find"))
        main #main.transcript {
            h1 { "Find in " (title(&thread)) }
            form.again role="search" method="get" {
                input type="search" name="q" value=(params.q) aria-label="Find in this thread" autocomplete="off" data-instant;
                button type="submit" { "Find" }
            }
            div #found aria-live="polite" { (found) }
        }
    };
    Ok(layout(title(&thread), &body))
}

fn render(hits: &[SearchHit]) -> Markup {
    html! {
        @if hits.is_empty() { p.empty { "Nothing found." } }
        @if hits.len() >= LIMIT { p.dim { "These are the first " (LIMIT) " hits." } }
        ul.rows.hits { @for each in hits { li { (hit_row(each)) } } }
    }
}

/// Returns the hits of one thread, in their order in it.
async fn hits(app: &ViewerApp, thread: &StoredThread, text: &str) -> Result<Vec<SearchHit>, StoreError> {
    // A search has no filter by id. The time of creation never changes, and few threads share a millisecond.
    let only = ThreadQuery {
        sort: ThreadSortKey::CreatedAt,
        since: Some(thread.created_at),
        until: Some(thread.created_at.saturating_add(Duration::from_millis(1))),
        archived: ArchivedFilter::All,
        ..ThreadQuery::default()
    };
    let query =
        SearchQuery { text: text.to_owned(), threads: only, order: SearchOrder::Sorted, hits_per_thread: LIMIT };
    let mut hits = app.store().search_threads(&query).await?.items;
    hits.retain(|hit| hit.thread.id == thread.id);
    Ok(hits)
}
