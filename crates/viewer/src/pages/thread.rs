//! A thread as a transcript. It opens at its end, and the page loads older and newer turns when the reader comes to them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{Cursor, StoredThread, ThreadId};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{TurnAnchors, facts, html_text, title};
use selvedge_transcript::size_text;
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::live::LivePlace;
use crate::page_thread::PageThread;
use crate::turn_view::turn_views;
use crate::turns::Turns;
use crate::url::{UrlQuery, encoded};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ThreadParams {
    /// The turn at which the page begins. Empty for the end of the thread.
    turn: String,
    /// The number of that turn, if the link knows it: so the turn is found faster. Without an id, it says which turn it is.
    number: Option<u64>,
    /// The number of the item of the turn that is wanted, counted from 1: of a long turn, the page shows items around it.
    item: u64,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<ThreadParams>,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let turns = match (params.turn.as_str(), params.number) {
        ("", None) => Turns::newest(&app, id).await?,
        ("", Some(number)) => Turns::from_number(&app, id, number, params.item).await?,
        (turn, number) => Turns::from_turn(&app, id, turn, number, params.item).await?,
    };
    let size: u64 = app
        .store()
        .list_segments(id)
        .await?
        .iter()
        .filter(|segment| segment.is_current)
        .map(|segment| segment.bytes)
        .sum();
    // A page that ends with the newest item goes on with it.
    let is_end = turns.newer.is_none() && turns.turns.last().is_none_or(|last| last.newer_items.is_none());
    let live = is_end.then(|| live_path(id, &turns));
    let is_empty = turns.turns.is_empty();
    let turns = render(&app, turns, id).await?;
    let body = html! {
        (thread_bar(id, ""))
        main #main.transcript data-thread=(id) data-live=[live] {
            h1 { (title(&thread)) }
            (facts(&thread))
            (origin(&thread, size))
            @if app.write { (changes(&thread)) }
            @if is_empty { p.empty { "This thread has no turns. " a href={ "/threads/" (id) "/lines" } { "Its log" } " has all that it contains." } }
            div #turns { (turns) }
        }
    };
    Ok(layout(title(&thread), &body))
}

/// Returns where changes are sent. The last turn is sent again, because it may have grown since the page was made.
fn live_path(id: ThreadId, turns: &Turns) -> String {
    match turns.turns.last().and_then(LivePlace::behind) {
        Some(place) => format!("/threads/{id}/live?from={place}"),
        None => format!("/threads/{id}/live"),
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct TurnsParams {
    cursor: String,
    /// `older` or `newer`.
    direction: String,
}

/// More turns, as a part of a page.
pub(crate) async fn turns(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<TurnsParams>,
) -> Result<Html<String>, PageError> {
    let cursor = Cursor::from(params.cursor);
    let turns = if params.direction == "newer" {
        Turns::after(&app, id, cursor).await?
    } else {
        Turns::before(&app, id, Some(cursor)).await?
    };
    Ok(Html(html_text(render(&app, turns, id).await?)))
}

async fn render(app: &ViewerApp, turns: Turns, id: ThreadId) -> Result<Markup, StoreError> {
    let (older, newer) = (more(id, turns.older.as_ref(), "older"), more(id, turns.newer.as_ref(), "newer"));
    let views = turn_views(app, id, turns, &mut TurnAnchors::default()).await?;
    Ok(html! { (older) @for view in views { (view) } (newer) })
}

/// The place at which the page loads more turns when it is seen. Without a script, it is a link.
fn more(id: ThreadId, cursor: Option<&Cursor>, direction: &str) -> Markup {
    html! {
        @if let Some(cursor) = cursor {
            p.more { a data-more=(direction) href={ "/threads/" (id) "/turns?direction=" (direction) "&cursor=" (encoded(cursor.as_str())) } { (direction) " turns" } }
        }
    }
}

/// Where the thread comes from, and its size.
fn origin(thread: &StoredThread, size: u64) -> Markup {
    html! {
        p.origin {
            span { "log of " (size_text(size)) }
            @if let Some(source) = thread.forked_from_id {
                a href={ "/threads/" (source) } { "forked from " (source) }
                a href={ "/compare?a=" (source) "&b=" (thread.id) } { "compare with it" }
            }
            @if let Some(parent) = thread.parent_thread_id { a href={ "/threads/" (parent) } { "started by " (parent) } }
        }
    }
}

fn changes(thread: &StoredThread) -> Markup {
    let id = thread.id;
    html! {
        div.changes {
            form method="post" action={ "/threads/" (id) "/rename" } {
                label { "Name " input name="name" value=(thread.name.as_deref().unwrap_or_default()); }
                button type="submit" { "Rename" }
            }
            @let (path, verb) = if thread.archived { ("unarchive", "Unarchive") } else { ("archive", "Archive") };
            form method="post" action={ "/threads/" (id) "/" (path) } { button type="submit" { (verb) } }
            form method="post" action={ "/threads/" (id) "/fork" } { button type="submit" { "Fork" } }
        }
    }
}
