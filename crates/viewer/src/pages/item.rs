//! One item alone, more items of a long turn, and the text of an item for the clipboard.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Redirect};
use maud::html;
use selvedge_protocol::{
    Cursor, ItemContent, ItemPosition, SortDirection, ThreadId, TurnId, TurnItemEntry, TurnSelector,
};
use selvedge_transcript::html::{anchor, html_text, item_anchor, unfolded_item};
use selvedge_transcript::{cut_content, size_text};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::PageThread;
use crate::turn_view::{TurnPlace, item_view};
use crate::turns::{index_of_item, items_of, nth_item, number_of, turn_of};
use crate::url::{UrlQuery, encoded};

/// The longest text of an item on a page of its own, and for the clipboard, in bytes.
const MAX_SHOWN: usize = 1 << 20;
const MAX_COPIED: usize = 4 << 20;

#[derive(Debug, Deserialize)]
pub(crate) struct ItemParams {
    /// The id of the turn.
    turn: String,
    /// The position of its first line, if several turns may have this id.
    start: Option<u64>,
    /// The number of the item in the turn, counted from 1.
    #[serde(default)]
    item: u64,
    /// The position of the first line of the item, instead of its number.
    position: Option<u64>,
    /// The number of the turn, if the link knows it.
    number: Option<u64>,
}

/// The item as a page, with more of its texts than the transcript has.
pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<ItemParams>,
) -> Result<Html<String>, PageError> {
    let mut entry = asked(&app, id, &params, MAX_SHOWN).await?;
    let removed = cut_content(&mut entry.item.content, MAX_SHOWN);
    let number = entry.position.item + 1;
    let anchor = item_anchor(&anchor(&entry.turn_id), entry.position.item);
    let turn = encoded(entry.turn_id.as_str());
    let body = html! {
        (thread_bar(id, ""))
        main #main.transcript {
            h1 { "Item " (number) " of a turn" }
            p { a href={ "/threads/" (id) "?turn=" (turn) "&item=" (number) "#" (anchor) } { "Show it in the transcript" } }
            @if removed > 0 {
                p.cut { "The item is too long for this page: " (size_text(removed)) " are not shown. " a href={ "/threads/" (id) "/lines?position=" (entry.line) } { "Its lines in the log" } " have all of it." }
            }
            h2.hidden { "Content" }
            (unfolded_item(&anchor, &entry.item))
        }
    };
    Ok(layout("Item", &body))
}

#[derive(Debug, Deserialize)]
pub(crate) struct PartParams {
    turn: String,
    /// The position of the first line of the turn.
    start: u64,
    cursor: String,
    /// `older` or `newer`.
    direction: String,
}

/// More items of a long turn, as a part of a page.
pub(crate) async fn items(
    State(app): State<Arc<ViewerApp>>,
    PageThread(thread): PageThread,
    UrlQuery(params): UrlQuery<PartParams>,
) -> Result<Html<String>, PageError> {
    let cursor = Cursor::from(params.cursor);
    let at = cursor.position().map_err(|error| PageError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let at = ItemPosition::of(at);
    let is_newer = params.direction == "newer";
    let direction = if is_newer { SortDirection::Ascending } else { SortDirection::Descending };
    let query = items_of(thread, TurnSelector::Number(at.turn + 1), direction, Some(cursor));
    let mut page = app.store().list_items(&query).await?;
    if !is_newer {
        page.items.reverse();
    }
    let turn = TurnId::from(params.turn);
    if page.items.iter().any(|entry| entry.turn_id != turn) {
        return Err(PageError::new(StatusCode::NOT_FOUND, "the turn is no longer at this place"));
    }
    let place = TurnPlace { thread, turn: &turn, start: params.start };
    let next = page.next_cursor.as_ref();
    Ok(Html(html_text(html! {
        @if !is_newer { (place.more_items(next, "older")) }
        @for entry in page.items { (item_view(&place, entry.position.item, entry.line, entry.item)) }
        @if is_newer { (place.more_items(next, "newer")) }
    })))
}

/// The text of an item, as it was written. A very long one is shortened.
pub(crate) async fn text(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<ItemParams>,
) -> Result<impl IntoResponse, PageError> {
    let mut entry = asked(&app, id, &params, MAX_COPIED).await?;
    cut_content(&mut entry.item.content, MAX_COPIED);
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (HeaderName::from_static("content-disposition"), "inline")];
    Ok((headers, plain(&entry.item.content)))
}

/// Leads from a line of an item to the item in the transcript.
pub(crate) async fn at_position(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<ItemParams>,
) -> Result<Redirect, PageError> {
    let turn = turn_of(&app, id, &params.turn, params.start).await?;
    let number = number_of(&app, id, &turn, params.number).await?;
    let index = match params.position {
        Some(position) => index_of_item(&app, id, number, &turn, position).await?,
        None => params.item.checked_sub(1),
    };
    let (place, anchor) = (encoded(turn.id.as_str()), anchor(&turn.id));
    // An item that the turn no longer has: its turn is near enough.
    let target = match index {
        Some(index) => format!("&item={}#{}", index + 1, item_anchor(&anchor, index)),
        None => format!("#{anchor}"),
    };
    Ok(Redirect::to(&format!("/threads/{id}?turn={place}&number={number}{target}")))
}

/// Reads the item that is asked for.
async fn asked(
    app: &ViewerApp,
    id: ThreadId,
    params: &ItemParams,
    max_text: usize,
) -> Result<TurnItemEntry, PageError> {
    let missing = || PageError::new(StatusCode::NOT_FOUND, "the turn has no such item");
    let turn = turn_of(app, id, &params.turn, params.start).await?;
    let number = number_of(app, id, &turn, params.number).await?;
    let index = match params.position {
        Some(position) => index_of_item(app, id, number, &turn, position).await?,
        None => params.item.checked_sub(1),
    };
    let entry = nth_item(app, id, number, index.ok_or_else(missing)?, max_text).await?;
    entry.filter(|entry| entry.turn_id == turn.id).ok_or_else(missing)
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
