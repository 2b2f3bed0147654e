//! The same data as JSON. `openapi.json` describes it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use selvedge_protocol::{
    Cursor, ItemQuery, ItemsView, Page, SearchHit, SearchQuery, SortDirection, StatsKey, StatsQuery, StoredThread,
    ThreadStats, Turn, TurnId, TurnItem, TurnItemEntry, TurnQuery, TurnSelector,
};
use selvedge_thread_store::{EntryKind, LineEntry, LineQuery, LineStart};
use selvedge_transcript::cut_content;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::ViewerApp;
use crate::bounded_context::{BoundedContext, MAX_CONTEXT_BYTES};
use crate::error::PageError;
use crate::filters::ListFilters;
use crate::turns::{MAX_ITEMS, fitting, is_long};
use crate::url::{UrlQuery, thread_id};

/// The most threads, turns and lines of an answer, and the most bytes of its lines.
const MAX_THREADS: usize = 200;
const MAX_TURNS: usize = 100;
const MAX_LINES: usize = 1_000;
const MAX_LINE_BYTES: usize = 1 << 20;

/// The longest text within a line of an answer, in bytes. Of a longer one, the beginning and the end are there.
const MAX_LINE_TEXT: usize = 1 << 20;

/// The longest text of an item of an answer, in bytes. Of a longer one, the beginning and the end are there.
const MAX_TEXT: usize = 128 << 10;

/// The description of this API.
const OPENAPI: &str = include_str!("../assets/openapi.json");

/// An error as JSON.
pub(crate) struct ApiError(PageError);

impl<E: Into<PageError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0.status, Json(json!({"error": self.0.message}))).into_response()
    }
}

/// The query of a URL. If it is wrong, the answer says so as JSON.
struct ApiQuery<T>(T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let UrlQuery(query) = UrlQuery::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

type Answer<T> = Result<Json<T>, ApiError>;

/// The paths of this version, below `/api/v1`.
fn paths() -> [(&'static str, MethodRouter<Arc<ViewerApp>>); 10] {
    [
        ("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI))),
        ("/threads", get(threads)),
        ("/threads/{id}", get(thread)),
        ("/threads/{id}/turns", get(turns)),
        ("/threads/{id}/turns/{turn}", get(turn)),
        ("/threads/{id}/items", get(items)),
        ("/threads/{id}/lines", get(lines)),
        ("/threads/{id}/context", get(context)),
        ("/search", get(search)),
        ("/stats", get(stats)),
    ]
}

pub(crate) fn routes() -> Router<Arc<ViewerApp>> {
    let router = paths().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    router.fallback(async || ApiError(PageError::new(StatusCode::NOT_FOUND, "there is no such path")))
}

#[derive(Debug, Deserialize)]
struct PageParams {
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn threads(
    State(app): State<Arc<ViewerApp>>,
    ApiQuery(filters): ApiQuery<ListFilters>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Answer<Page<StoredThread>> {
    let mut query = filters.threads()?;
    query.cursor = page.cursor.map(Cursor::from);
    query.limit = page.limit.unwrap_or(query.limit).min(MAX_THREADS);
    Ok(Json(app.store().list_threads(&query).await?))
}

async fn thread(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Answer<StoredThread> {
    Ok(Json(app.store().read_thread(thread_id(&id)?).await?))
}

#[derive(Debug, Deserialize)]
struct TurnParams {
    newest_first: Option<bool>,
}

async fn turns(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    ApiQuery(params): ApiQuery<TurnParams>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Answer<Page<Turn>> {
    let direction =
        if params.newest_first == Some(true) { SortDirection::Descending } else { SortDirection::Ascending };
    let query = TurnQuery {
        direction,
        limit: page.limit.unwrap_or(20).min(MAX_TURNS),
        cursor: page.cursor.map(Cursor::from),
        ..TurnQuery::all(thread_id(&id)?)
    };
    Ok(Json(bounded_turns(&app, query).await?))
}

/// Reads turns with as many items as fit. A turn that does not fit alone comes without its items.
async fn bounded_turns(app: &ViewerApp, query: TurnQuery) -> Result<Page<Turn>, ApiError> {
    let mut states = TurnQuery { items_view: ItemsView::None, ..query.clone() };
    let page = app.store().list_turns(&states).await?;
    let count = fitting(&page.items);
    if !page.items.first().is_some_and(is_long) {
        let limit = if page.items.is_empty() { query.limit } else { count };
        let whole = TurnQuery { limit, max_text: Some(MAX_TEXT), ..query };
        let mut page = app.store().list_turns(&whole).await?;
        page.items.iter_mut().flat_map(|turn| &mut turn.items).for_each(shorten);
        return Ok(page);
    }
    if page.items.len() == 1 {
        return Ok(page);
    }
    states.limit = 1;
    Ok(app.store().list_turns(&states).await?)
}

/// Shortens the texts of an item, which a store may return whole.
fn shorten(item: &mut TurnItem) {
    cut_content(&mut item.content, MAX_TEXT);
}

#[derive(Debug, Deserialize)]
struct ItemsParams {
    /// The id of a turn. All turns if it is missing.
    turn: Option<String>,
}

/// Items, each with the id of its turn.
async fn items(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    ApiQuery(of): ApiQuery<ItemsParams>,
    ApiQuery(params): ApiQuery<TurnParams>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Answer<Page<TurnItemEntry>> {
    let direction =
        if params.newest_first == Some(true) { SortDirection::Descending } else { SortDirection::Ascending };
    let query = ItemQuery {
        turn: of.turn.map(|turn| TurnSelector::Id(TurnId::from(turn))),
        direction,
        limit: page.limit.unwrap_or(MAX_ITEMS).min(MAX_ITEMS),
        cursor: page.cursor.map(Cursor::from),
        max_text: Some(MAX_TEXT),
        ..ItemQuery::all(thread_id(&id)?)
    };
    let mut page = app.store().list_items(&query).await?;
    page.items.iter_mut().for_each(|entry| shorten(&mut entry.item));
    Ok(Json(page))
}

/// The turns with an id: one, unless the log has several with it.
async fn turn(State(app): State<Arc<ViewerApp>>, Path((id, turn)): Path<(String, String)>) -> Answer<Page<Turn>> {
    let turn = TurnSelector::Id(TurnId::from(turn));
    let query = TurnQuery { turn: Some(turn), limit: MAX_TURNS, ..TurnQuery::all(thread_id(&id)?) };
    Ok(Json(bounded_turns(&app, query).await?))
}

async fn lines(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    ApiQuery(params): ApiQuery<PageParams>,
) -> Answer<Value> {
    let start = params.cursor.map_or(LineStart::Beginning, |at| LineStart::At(at.into()));
    let query = LineQuery {
        max_lines: params.limit.unwrap_or(100).min(MAX_LINES),
        max_bytes: MAX_LINE_BYTES,
        max_text: Some(MAX_LINE_TEXT),
        ..LineQuery::from(thread_id(&id)?, start)
    };
    let page = app.store().read_lines(&query).await?;
    let entries: Vec<Value> = page.entries.iter().map(line).collect();
    Ok(Json(json!({"items": entries, "next_cursor": (!page.is_end).then_some(page.next)})))
}

fn line(entry: &LineEntry) -> Value {
    let (kind, reason) = match &entry.kind {
        EntryKind::Line => ("line", None),
        EntryKind::Blank => ("blank", None),
        EntryKind::Damage { reason, .. } => ("damage", Some(reason)),
        EntryKind::Missing { reason, .. } => ("missing", Some(reason)),
    };
    json!({
        "at": entry.at,
        "segment": entry.segment.to_string(),
        "inherited": entry.inherited,
        "bytes": entry.stored_len(),
        "left_out": entry.left_out,
        "kind": kind,
        "reason": reason,
        "text": String::from_utf8_lossy(&entry.bytes),
    })
}

async fn context(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Answer<Value> {
    let bounded = BoundedContext::read(&app, thread_id(&id)?).await?;
    if !bounded.is_whole {
        let reason = format!("the context has more than {MAX_CONTEXT_BYTES} bytes; read the lines of the thread");
        return Err(PageError::new(StatusCode::PAYLOAD_TOO_LARGE, reason).into());
    }
    let value = serde_json::to_value(bounded.context);
    let value = value.map_err(|error| PageError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(value))
}

async fn search(
    State(app): State<Arc<ViewerApp>>,
    ApiQuery(filters): ApiQuery<ListFilters>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Answer<Page<SearchHit>> {
    let mut threads = filters.threads()?;
    threads.cursor = page.cursor.map(Cursor::from);
    threads.limit = page.limit.unwrap_or(threads.limit).min(MAX_THREADS);
    Ok(Json(app.store().search_threads(&SearchQuery { threads, ..SearchQuery::new(filters.q) }).await?))
}

#[derive(Debug, Deserialize)]
struct StatsParams {
    #[serde(default)]
    by: StatsKey,
}

async fn stats(
    State(app): State<Arc<ViewerApp>>,
    ApiQuery(filters): ApiQuery<ListFilters>,
    ApiQuery(params): ApiQuery<StatsParams>,
) -> Answer<ThreadStats> {
    let query = StatsQuery { threads: filters.threads()?, by: params.by, offsets: Vec::new() };
    Ok(Json(app.store().thread_stats(&query).await?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{OPENAPI, paths};

    #[test]
    fn the_description_has_exactly_the_paths_of_the_router() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
        let described: BTreeSet<String> =
            description["paths"].as_object().into_iter().flat_map(|paths| paths.keys().cloned()).collect();
        let routed: BTreeSet<String> = paths().into_iter().map(|(path, _)| format!("/api/v1{path}")).collect();
        assert_eq!(described, routed);
    }
}
