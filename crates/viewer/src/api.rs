//! The same data as JSON.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_protocol::{
    Cursor, ItemsView, Page, SearchHit, SearchQuery, SortDirection, StoredThread, Turn, TurnQuery,
};
use serde::Deserialize;
use serde_json::json;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::pages::home::HomeParams;
use crate::thread_params::thread_id;

/// The most turns of an answer.
const MAX_TURNS: usize = 100;

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

type Answer<T> = Result<Json<T>, ApiError>;

pub(crate) fn routes() -> Router<Arc<ViewerApp>> {
    Router::new()
        .route("/threads", get(threads))
        .route("/threads/{id}", get(thread))
        .route("/threads/{id}/turns", get(turns))
        .route("/search", get(search))
        .fallback(async || ApiError(PageError::new(StatusCode::NOT_FOUND, "there is no such path")))
}

async fn threads(State(app): State<Arc<ViewerApp>>, Query(params): Query<HomeParams>) -> Answer<Page<StoredThread>> {
    Ok(Json(app.store().list_threads(&params.threads()).await?))
}

async fn thread(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Answer<StoredThread> {
    Ok(Json(app.store().read_thread(thread_id(&id)?).await?))
}

#[derive(Debug, Deserialize)]
struct ApiTurns {
    cursor: Option<String>,
    limit: Option<usize>,
    newest_first: Option<bool>,
}

async fn turns(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ApiTurns>,
) -> Answer<Page<Turn>> {
    let direction =
        if params.newest_first == Some(true) { SortDirection::Descending } else { SortDirection::Ascending };
    let query = TurnQuery {
        thread_id: thread_id(&id)?,
        turn: None,
        direction,
        limit: params.limit.unwrap_or(20).min(MAX_TURNS),
        cursor: params.cursor.map(Cursor::from),
        items_view: ItemsView::Full,
    };
    Ok(Json(app.store().list_turns(&query).await?))
}

#[derive(Debug, Deserialize)]
struct ApiSearch {
    q: String,
    cursor: Option<String>,
}

async fn search(State(app): State<Arc<ViewerApp>>, Query(params): Query<ApiSearch>) -> Answer<Page<SearchHit>> {
    let mut query = SearchQuery::new(params.q);
    query.threads.cursor = params.cursor.map(Cursor::from);
    Ok(Json(app.store().search_threads(&query).await?))
}
