//! One item as a whole, a part of a turn with many items, and the text of an item for the clipboard.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Redirect};
use maud::html;
use selvedge_protocol::{ItemContent, ItemsView, ThreadId, Turn};
use selvedge_transcript::html::{anchor, item_anchor, unfolded_item};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::turn_view::items_view;
use crate::turns::turn_of;
use crate::url::{encoded, thread_id};

/// Items on a page of a turn.
const LIMIT: usize = 200;

#[derive(Debug, Deserialize)]
pub(crate) struct ItemParams {
    /// The id of the turn.
    turn: String,
    /// The position of its first line, if several turns may have this id.
    start: Option<u64>,
    /// The number of the item in the turn, counted from 1.
    #[serde(default)]
    item: usize,
    /// The position of the first line of the item, instead of its number.
    position: Option<u64>,
    /// The number of the turn, if the link knows it.
    number: Option<u64>,
}

/// The item as a page, with nothing left out.
pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ItemParams>,
) -> Result<Html<String>, PageError> {
    let (id, turn, index) = asked(&app, &id, &params).await?;
    let anchor = item_anchor(&anchor(&turn), index);
    let body = html! {
        (thread_bar(id, ""))
        main #main.transcript {
            h1 { "Item " (index + 1) " of a turn" }
            p { a href={ "/threads/" (id) "?turn=" (encoded(turn.id.as_str())) "#" (anchor) } { "in the transcript" } }
            h2.hidden { "Content" }
            (unfolded_item(&anchor, &turn.items[index]))
        }
    };
    Ok(layout("Item", &body))
}

/// Items of a turn, from one on.
pub(crate) async fn items(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ItemParams>,
) -> Result<Html<String>, PageError> {
    let (id, turn, first) = asked(&app, &id, &params).await?;
    let end = turn.items.len().min(first + LIMIT);
    let place = format!("turn={}&start={}", encoded(turn.id.as_str()), turn.lines.start);
    let (count, label) = (turn.items.len(), format!("Items {} to {end}", first + 1));
    let body = html! {
        (thread_bar(id, ""))
        main #main.transcript {
            h1 { (label) " of " (count) " of a turn" }
            p { a href={ "/threads/" (id) "?turn=" (encoded(turn.id.as_str())) } { "in the transcript" } }
            h2.hidden { "Items" }
            (items_view(id, turn, first..end))
            @if end < count { p.more { a rel="next" href={ "/threads/" (id) "/items?" (place) "&item=" (end + 1) } { "more items" } } }
        }
    };
    Ok(layout(&label, &body))
}

/// The text of an item, as it was written.
pub(crate) async fn text(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ItemParams>,
) -> Result<impl IntoResponse, PageError> {
    let (_, turn, index) = asked(&app, &id, &params).await?;
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (HeaderName::from_static("content-disposition"), "inline")];
    Ok((headers, plain(&turn.items[index].content)))
}

/// Leads from a line of an item to the item in the transcript.
pub(crate) async fn at_position(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ItemParams>,
) -> Result<Redirect, PageError> {
    let id = thread_id(&id)?;
    let turn = read(&app, id, &params).await?;
    let place = encoded(turn.id.as_str());
    // An item that the turn no longer has: its turn is near enough.
    let target = index_of(&turn, &params).map_or_else(|_| anchor(&turn), |index| item_anchor(&anchor(&turn), index));
    let number = params.number.map(|number| format!("&number={number}")).unwrap_or_default();
    Ok(Redirect::to(&format!("/threads/{id}?turn={place}{number}#{target}")))
}

/// Reads the turn that is asked for. Returns the thread, the turn, and the index of the item.
async fn asked(app: &ViewerApp, id: &str, params: &ItemParams) -> Result<(ThreadId, Turn, usize), PageError> {
    let id = thread_id(id)?;
    let turn = read(app, id, params).await?;
    let index = index_of(&turn, params)?;
    Ok((id, turn, index))
}

async fn read(app: &ViewerApp, id: ThreadId, params: &ItemParams) -> Result<Turn, PageError> {
    turn_of(app, id, &params.turn, params.start, ItemsView::Full).await
}

fn index_of(turn: &Turn, params: &ItemParams) -> Result<usize, PageError> {
    let index = match params.position {
        Some(position) => turn.item_positions.iter().position(|each| *each == position),
        None => params.item.checked_sub(1).filter(|index| *index < turn.items.len()),
    };
    index.ok_or_else(|| PageError::new(StatusCode::NOT_FOUND, "the turn has no such item"))
}

fn plain(content: &ItemContent) -> String {
    match content {
        ItemContent::UserMessage { text, .. }
        | ItemContent::AgentMessage { text, .. }
        | ItemContent::Plan { text }
        | ItemContent::EnteredReviewMode { review: text }
        | ItemContent::ExitedReviewMode { review: text }
        | ItemContent::Transcript { text, .. }
        | ItemContent::InterAgentMessage { text, .. } => text.clone(),
        ItemContent::Reasoning { summary, content } => if summary.is_empty() { content } else { summary }.join("\n\n"),
        ItemContent::CommandExecution { command, output, .. } => {
            format!("$ {command}\n{}", output.as_deref().unwrap_or_default())
        }
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
