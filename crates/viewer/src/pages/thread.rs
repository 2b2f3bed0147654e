//! A thread as a transcript. It opens at its end, and the page loads older and newer turns when the reader comes to them.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{
    Cursor, ItemsView, SortDirection, StoredThread, ThreadId, Turn, TurnId, TurnQuery, TurnSelector,
};
use selvedge_thread_store::StoreError;
use selvedge_transcript::TranscriptParts;
use selvedge_transcript::html::{facts, title, turn};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{bar, page as layout};
use crate::thread_params::{encoded, thread_id};

/// Turns on a page.
const LIMIT: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ThreadParams {
    /// The turn at which the page begins. Empty for the end of the thread.
    turn: String,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<ThreadParams>,
) -> Result<Html<String>, PageError> {
    let id = thread_id(&id)?;
    let thread = app.store().read_thread(id).await?;
    let turns = if params.turn.is_empty() {
        Turns::newest(&app, id).await?
    } else {
        Turns::around(&app, id, &params.turn).await?
    };
    let is_at_end = turns.newer.is_none();
    let body = html! {
        (bar(&html! {
            a href={ "/threads/" (id) "/context" } { "what the model sees" }
            a href={ "/threads/" (id) "/lines" } { "log" }
            @if let Some(source) = thread.forked_from_id { a href={ "/threads/" (source) } { "forked from" } }
            @if let Some(parent) = thread.parent_thread_id { a href={ "/threads/" (parent) } { "started by" } }
        }))
        main #main.transcript data-thread=(id) data-live=[is_at_end.then(|| format!("/threads/{id}/live"))] {
            h1 { (title(&thread)) }
            (facts(&thread))
            @if app.write { (changes(&thread)) }
            div #turns { (turns.render(id)) }
        }
    };
    Ok(layout(title(&thread), &body))
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
    Path(id): Path<String>,
    Query(params): Query<TurnsParams>,
) -> Result<Html<String>, PageError> {
    let id = thread_id(&id)?;
    let cursor = Cursor::from(params.cursor);
    let turns = if params.direction == "newer" {
        Turns::after(&app, id, cursor).await?
    } else {
        Turns::before(&app, id, Some(cursor)).await?
    };
    Ok(Html(turns.render(id).into_string()))
}

/// Consecutive turns, oldest first.
struct Turns {
    turns: Vec<Turn>,
    /// Where older turns begin. `None` if there are none, or if the page has them.
    older: Option<Cursor>,
    /// Where newer turns begin. `None` if there are none, or if the page has them.
    newer: Option<Cursor>,
}

impl Turns {
    async fn newest(app: &ViewerApp, id: ThreadId) -> Result<Self, StoreError> {
        Self::before(app, id, None).await
    }

    async fn before(app: &ViewerApp, id: ThreadId, cursor: Option<Cursor>) -> Result<Self, StoreError> {
        let query = query(id, SortDirection::Descending, cursor);
        let page = app.store().list_turns(&query).await?;
        Ok(Self { turns: page.items.into_iter().rev().collect(), older: page.next_cursor, newer: None })
    }

    async fn after(app: &ViewerApp, id: ThreadId, cursor: Cursor) -> Result<Self, StoreError> {
        let page = app.store().list_turns(&query(id, SortDirection::Ascending, Some(cursor))).await?;
        Ok(Self { turns: page.items, older: None, newer: page.next_cursor })
    }

    /// The turn with this id, and those after it.
    async fn around(app: &ViewerApp, id: ThreadId, turn: &str) -> Result<Self, StoreError> {
        let selected = TurnQuery { turn: Some(TurnSelector::Id(TurnId::from(turn.to_owned()))), ..TurnQuery::all(id) };
        let mut turns = app.store().list_turns(&selected).await?.items;
        let (Some(first), Some(last)) = (turns.first(), turns.last()) else {
            return Ok(Self { turns, older: None, newer: None });
        };
        let older = (first.lines.start > 0).then(|| Cursor::at_position(first.lines.start));
        let rest = Self::after(app, id, Cursor::at_position(last.lines.end)).await?;
        turns.extend(rest.turns);
        Ok(Self { turns, older, newer: rest.newer })
    }

    fn render(&self, id: ThreadId) -> Markup {
        html! {
            (more(id, self.older.as_ref(), "older"))
            @for each in &self.turns { (turn(None, each, TranscriptParts::default())) }
            (more(id, self.newer.as_ref(), "newer"))
        }
    }
}

fn query(id: ThreadId, direction: SortDirection, cursor: Option<Cursor>) -> TurnQuery {
    TurnQuery { thread_id: id, turn: None, direction, limit: LIMIT, cursor, items_view: ItemsView::Full }
}

/// The place at which the page loads more turns when it is seen. Without a script, it is a link.
fn more(id: ThreadId, cursor: Option<&Cursor>, direction: &str) -> Markup {
    html! {
        @if let Some(cursor) = cursor {
            p.more { a data-more=(direction) href={ "/threads/" (id) "/turns?direction=" (direction) "&cursor=" (encoded(cursor.as_str())) } { (direction) " turns" } }
        }
    }
}

fn changes(thread: &StoredThread) -> Markup {
    let id = thread.id;
    html! {
        div.changes {
            form method="post" action={ "/threads/" (id) "/rename" } {
                label { "name " input name="name" value=(thread.name.as_deref().unwrap_or_default()); }
                button type="submit" { "Rename" }
            }
            @let verb = if thread.archived { "unarchive" } else { "archive" };
            form method="post" action={ "/threads/" (id) "/" (verb) } { button type="submit" { (verb) } }
            form method="post" action={ "/threads/" (id) "/fork" } { button type="submit" { "fork" } }
        }
    }
}
