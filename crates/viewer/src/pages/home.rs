//! The home page: threads by day, or the hits of a search. All filters are in the URL.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{ArchivedFilter, Cursor, CwdFilter, Page, SearchHit, SearchQuery, StoredThread, ThreadQuery};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{time, title};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{bar, page as layout};
use crate::thread_params::encoded;

/// Threads on a page.
const LIMIT: usize = 50;

/// The query of the page. Empty texts count as missing, because a form sends those of empty fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HomeParams {
    q: String,
    project: String,
    model: String,
    branch: String,
    archived: String,
    cursor: String,
}

impl HomeParams {
    pub(crate) fn threads(&self) -> ThreadQuery {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ThreadQuery {
            limit: LIMIT,
            cursor: some(&self.cursor).map(Cursor::from),
            archived: if self.archived.is_empty() { ArchivedFilter::default() } else { ArchivedFilter::All },
            cwd: some(&self.project).map(CwdFilter::Exactly).into_iter().collect(),
            models: some(&self.model).into_iter().collect(),
            git_branch: some(&self.branch),
            ..ThreadQuery::default()
        }
    }

    fn with_cursor(&self, cursor: &Cursor) -> String {
        let fields = [
            ("q", self.q.as_str()),
            ("project", &self.project),
            ("model", &self.model),
            ("branch", &self.branch),
            ("archived", &self.archived),
            ("cursor", cursor.as_str()),
        ];
        let fields: Vec<String> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        format!("/?{}", fields.join("&"))
    }
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    Query(params): Query<HomeParams>,
) -> Result<Html<String>, PageError> {
    let found = if params.q.trim().is_empty() { listed(&app, &params).await? } else { searched(&app, &params).await? };
    let body = html! {
        (bar(&html! {
            form.search role="search" action="/" method="get" {
                input type="search" name="q" value=(params.q) placeholder="Search threads" aria-label="Search threads" autocomplete="off";
                @for (name, value) in [("project", &params.project), ("model", &params.model), ("branch", &params.branch)] {
                    @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
                }
                label { input type="checkbox" name="archived" value="1" checked[!params.archived.is_empty()]; " archived" }
                button type="submit" { "Search" }
            }
        }))
        main #main.threads {
            @let filters = [("project", &params.project), ("model", &params.model), ("branch", &params.branch)];
            @if filters.iter().any(|(_, value)| !value.is_empty()) {
                p.filters {
                    @for (name, value) in filters { @if !value.is_empty() { span.filter { (name) " " code { (value) } } " " } }
                    a href="/" { "all threads" }
                }
            }
            (found)
        }
    };
    Ok(layout("Threads", &body))
}

async fn listed(app: &ViewerApp, params: &HomeParams) -> Result<Markup, StoreError> {
    let Page { items, next_cursor } = app.store().list_threads(&params.threads()).await?;
    Ok(html! {
        @if items.is_empty() { p.empty { "No threads." } }
        @for (day, threads) in by_day(&items) {
            h2.day { (day) }
            ul.rows { @for thread in threads { li { (row(thread)) } } }
        }
        (more(params, next_cursor.as_ref()))
    })
}

async fn searched(app: &ViewerApp, params: &HomeParams) -> Result<Markup, StoreError> {
    let query = SearchQuery { threads: params.threads(), ..SearchQuery::new(params.q.clone()) };
    let Page { items, next_cursor } = match app.store().search_threads(&query).await {
        // A text without a term, such as punctuation alone.
        Err(StoreError::InvalidRequest { reason }) => return Ok(html! { p.empty { (reason) } }),
        found => found?,
    };
    Ok(html! {
        @if items.is_empty() { p.empty { "Nothing found." } }
        @for hits in by_thread(&items) {
            article.hits {
                (row(&hits[0].thread))
                ul { @for hit in hits { li { (self::hit(hit)) } } }
            }
        }
        (more(params, next_cursor.as_ref()))
    })
}

fn more(params: &HomeParams, next: Option<&Cursor>) -> Markup {
    html! { @if let Some(cursor) = next { p.more { a rel="next" href=(params.with_cursor(cursor)) { "More" } } } }
}

/// Groups threads, which are sorted by their update, by its day in UTC.
fn by_day(threads: &[StoredThread]) -> Vec<(String, &[StoredThread])> {
    let day = |thread: &StoredThread| thread.updated_at.to_string().get(..10).unwrap_or_default().to_owned();
    threads.chunk_by(|one, other| day(one) == day(other)).map(|chunk| (day(&chunk[0]), chunk)).collect()
}

fn by_thread(hits: &[SearchHit]) -> impl Iterator<Item = &[SearchHit]> {
    hits.chunk_by(|one, other| one.thread.id == other.thread.id)
}

fn row(thread: &StoredThread) -> Markup {
    let tokens =
        thread.token_usage.as_ref().and_then(|usage| serde_json::to_value(usage).ok()?.get("total_tokens")?.as_i64());
    html! {
        a.row href={ "/threads/" (thread.id) } {
            span.title { (title(thread)) }
            span.about {
                (time(thread.updated_at))
                @if let Some(cwd) = &thread.cwd { " " span.directory { (cwd) } }
                @if let Some(model) = &thread.model { " " span.model { (model) } }
                @if let Some(tokens) = tokens { " " span.tokens { (tokens) " tokens" } }
                @if thread.archived { " " span.archived { "archived" } }
            }
        }
    }
}

fn hit(hit: &SearchHit) -> Markup {
    let target = match &hit.turn_id {
        Some(turn) => format!("/threads/{}?turn={}", hit.thread.id, encoded(turn.as_str())),
        None => format!("/threads/{}", hit.thread.id),
    };
    html! {
        a.hit href=(target) {
            span.kind { @if let Some(number) = hit.turn_number { "turn " (number) ", " } (hit.kind.replace('_', " ")) }
            " " (marked(&hit.snippet, &hit.highlights))
        }
    }
}

/// Renders a snippet with its terms marked. Ranges that do not fit the text are left out.
fn marked(text: &str, ranges: &[(usize, usize)]) -> Markup {
    let mut pieces = Vec::new();
    let mut done = 0;
    for &(start, end) in ranges {
        if let (Some(before), Some(term)) = (text.get(done..start), text.get(start..end)) {
            pieces.push((before, term));
            done = end;
        }
    }
    html! { @for (before, term) in pieces { (before) mark { (term) } } (text.get(done..).unwrap_or_default()) }
}
