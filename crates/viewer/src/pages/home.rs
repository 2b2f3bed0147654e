//! The home page: threads by day, or the hits of a search. All filters are in the URL.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{
    Cursor, ItemsView, Page, SearchHit, SearchQuery, StoredThread, ThreadId, ThreadQuery, Timestamp, TurnQuery,
    TurnSelector, TurnStatus,
};
use selvedge_thread_store::StoreError;
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::filters::ListFilters;
use crate::hits::{hit_row, thread_row};
use crate::layout::{bar, page as layout};
use crate::page_thread::{matches, threads_named};
use crate::url::{UrlQuery, encoded};

/// A thread whose last line is older is not asked whether its last turn is in progress, and at most so many are asked: each answer
/// costs a query.
const RUNNING_WITHIN: Duration = Duration::from_secs(3_600);
const MAX_ASKED: usize = 10;

/// The query of the page.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct HomeParams {
    /// Where the page begins.
    #[serde(default)]
    cursor: String,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    UrlQuery(filters): UrlQuery<ListFilters>,
    UrlQuery(params): UrlQuery<HomeParams>,
) -> Result<Html<String>, PageError> {
    let mut threads = filters.threads()?;
    threads.cursor = (!params.cursor.is_empty()).then(|| Cursor::from(params.cursor));
    let is_first = threads.cursor.is_none();
    let found = if filters.q.trim().is_empty() {
        listed(&app, &filters, &threads).await?
    } else {
        searched(&app, &filters, threads).await?
    };
    let body = html! {
        (bar(&search_form(&filters, &found.known)))
        main #main.threads {
            h1.hidden { "Threads" }
            @if is_first && filters.q.is_empty() {
                details.activity data-part={ "/activity/part?" (filters.query()) } {
                    summary { a href={ "/activity?" (filters.query()) } { "Activity" } }
                }
            }
            div #found aria-live="polite" { (found.markup) }
        }
    };
    Ok(layout("Threads", &body))
}

/// What was found, and which values of filters occur in it.
struct Found {
    markup: Markup,
    known: KnownValues,
}

/// Values that a reader may want to filter by.
#[derive(Default)]
struct KnownValues {
    projects: BTreeSet<String>,
    models: BTreeSet<String>,
    branches: BTreeSet<String>,
}

impl KnownValues {
    fn of<'a>(threads: impl IntoIterator<Item = &'a StoredThread>) -> Self {
        let mut known = Self::default();
        for thread in threads {
            known.projects.extend(thread.cwd.clone());
            known.models.extend(thread.model.clone());
            known.branches.extend(thread.git.as_ref().and_then(|git| git.branch.clone()));
        }
        known
    }
}

fn search_form(filters: &ListFilters, known: &KnownValues) -> Markup {
    let archived = [("", "active"), ("archived", "archived"), ("all", "all")];
    html! {
        form.search role="search" action="/" method="get" {
            input type="search" name="q" value=(filters.q) placeholder="Search threads" aria-label="Search threads" autocomplete="off" data-instant;
            details.filters open[filters.are_set()] {
                summary { "Filters" }
                div.fields {
                    (field("project", "Project", &filters.project, &known.projects))
                    (field("model", "Model", &filters.model, &known.models))
                    (field("branch", "Branch", &filters.branch, &known.branches))
                    label { "From" input type="date" name="since" value=(filters.since); }
                    label { "To" input type="date" name="until" value=(filters.until); }
                    label { "State"
                        select name="archived" {
                            @for (value, name) in archived { option value=(value) selected[filters.archived == value] { (name) } }
                        }
                    }
                    button type="submit" { "Apply" }
                    @if filters.are_set() { a href="/" { "All threads" } }
                }
            }
        }
    }
}

fn field(name: &str, label: &str, value: &str, known: &BTreeSet<String>) -> Markup {
    html! {
        label {
            (label)
            input name=(name) value=(value) list={ "known-" (name) } autocomplete="off";
        }
        datalist id={ "known-" (name) } { @for each in known { option value=(each) {} } }
    }
}

async fn listed(app: &ViewerApp, filters: &ListFilters, threads: &ThreadQuery) -> Result<Found, StoreError> {
    let Page { items, next_cursor } = app.store().list_threads(threads).await?;
    let running = running(app, &items).await;
    let markup = html! {
        @if items.is_empty() { p.empty { "No threads." } }
        @for (day, threads) in by_day(&items) {
            section aria-label=(day) {
                h2.day { (day) }
                ul.rows { @for thread in threads { li { (thread_row(thread, running.contains(&thread.id))) } } }
            }
        }
        (more(filters, next_cursor.as_ref()))
    };
    Ok(Found { markup, known: KnownValues::of(&items) })
}

async fn searched(app: &ViewerApp, filters: &ListFilters, threads: ThreadQuery) -> Result<Found, StoreError> {
    let query = SearchQuery { threads, ..SearchQuery::new(filters.q.clone()) };
    let Page { items, next_cursor } = match app.store().search_threads(&query).await {
        // A text without a term, such as punctuation alone.
        Err(StoreError::InvalidRequest { reason }) => {
            return Ok(Found { markup: html! { p.empty { (reason) } }, known: KnownValues::default() });
        }
        found => found?,
    };
    // No text contains an id, and people search for those, too.
    let named = match items.is_empty() && query.threads.cursor.is_none() {
        true => threads_named(app, filters.q.trim()).await?,
        false => BTreeSet::new(),
    };
    let markup = html! {
        @if !named.is_empty() {
            p.dim { "Nothing found in texts. Threads with this name, or with an id that begins so:" }
            (matches(app, &named, |id| format!("/threads/{id}")).await?)
        } @else if items.is_empty() { p.empty { "Nothing found." } }
        @for hits in by_thread(&items) {
            article.hits {
                (thread_row(&hits[0].thread, false))
                ul { @for hit in hits { li { (hit_row(hit)) } } }
            }
        }
        (more(filters, next_cursor.as_ref()))
    };
    Ok(Found { markup, known: KnownValues::of(items.iter().map(|hit| &hit.thread)) })
}

fn more(filters: &ListFilters, next: Option<&Cursor>) -> Markup {
    html! {
        @if let Some(cursor) = next {
            p.more { a rel="next" href={ "/?" (filters.query()) "&cursor=" (encoded(cursor.as_str())) } { "More" } }
        }
    }
}

/// Returns those threads whose last turn is in progress.
async fn running(app: &ViewerApp, threads: &[StoredThread]) -> HashSet<ThreadId> {
    let now = Timestamp::from(SystemTime::now());
    let recent = threads.iter().filter(|thread| now.saturating_since(thread.updated_at) < RUNNING_WITHIN);
    let mut running = HashSet::new();
    for thread in recent.take(MAX_ASKED) {
        let last = TurnQuery {
            turn: Some(TurnSelector::NumberFromEnd(1)),
            items_view: ItemsView::None,
            ..TurnQuery::all(thread.id)
        };
        // A thread without turns, or one that has just been deleted, is not running.
        if let Ok(page) = app.store().list_turns(&last).await
            && page.items.iter().any(|turn| turn.status == TurnStatus::InProgress)
        {
            running.insert(thread.id);
        }
    }
    running
}

/// Groups threads, which are sorted by their update, by its day in UTC.
fn by_day(threads: &[StoredThread]) -> Vec<(String, &[StoredThread])> {
    let day = |thread: &StoredThread| thread.updated_at.to_string().get(..10).unwrap_or_default().to_owned();
    threads.chunk_by(|one, other| day(one) == day(other)).map(|chunk| (day(&chunk[0]), chunk)).collect()
}

fn by_thread(hits: &[SearchHit]) -> impl Iterator<Item = &[SearchHit]> {
    hits.chunk_by(|one, other| one.thread.id == other.thread.id)
}
