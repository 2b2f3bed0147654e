//! Two threads side by side, from the turn at which they part.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{
    Cursor, ItemQuery, ItemsView, SortDirection, StoredThread, ThreadId, TurnItemEntry, TurnSelector,
};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{TurnAnchors, time, title};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::hits::relation;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::named_thread;
use crate::turn_view::turn_views;
use crate::turns::{Turns, count_turns, is_long, items_of, nth_turn};
use crate::url::{UrlQuery, encoded};

#[derive(Debug, Deserialize)]
pub(crate) struct CompareParams {
    /// The threads: ids, beginnings of ids, or names.
    a: String,
    b: String,
    /// The number of the first turn on the page. That at which they part if it is missing.
    from: Option<u64>,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    UrlQuery(params): UrlQuery<CompareParams>,
) -> Result<Html<String>, PageError> {
    let a = named_thread(&app, &params.a, |id| format!("/compare?a={id}&b={}", encoded(&params.b))).await?;
    let b = named_thread(&app, &params.b, |id| format!("/compare?a={a}&b={id}")).await?;
    let threads = (app.store().read_thread(a).await?, app.store().read_thread(b).await?);
    let shared = shared_turns(&app, a, b).await?;
    let from = params.from.unwrap_or(shared + 1).max(1);
    let mut sides = (
        Turns::after(&app, a, Cursor::at_position(from - 1)).await?,
        Turns::after(&app, b, Cursor::at_position(from - 1)).await?,
    );
    let has_more = sides.0.newer.is_some() || sides.1.newer.is_some();
    // A side can have fewer turns because they are longer. The next page begins with the same turn on both.
    let rows = [&sides.0, &sides.1].into_iter().filter(|side| side.newer.is_some()).map(|side| side.turns.len()).min();
    if let Some(rows) = rows {
        sides.0.turns.truncate(rows);
        sides.1.turns.truncate(rows);
    }
    let next = from + rows.unwrap_or_default() as u64;
    let mut anchors = TurnAnchors::default();
    let views = (turn_views(&app, a, sides.0, &mut anchors).await?, turn_views(&app, b, sides.1, &mut anchors).await?);
    let body = html! {
        (thread_bar(a, "/compare"))
        main #main.compare {
            h1 { "Compare" }
            p.dim {
                @match shared {
                    0 => "These threads have no turns in common.",
                    1 => "These threads have their first turn in common.",
                    _ => { "These threads have their first " (shared) " turns in common." },
                }
            }
            div.sides {
                (side(&threads.0, &views.0, shared))
                (side(&threads.1, &views.1, shared))
            }
            @if has_more { p.more { a rel="next" href={ "/compare?a=" (a) "&b=" (b) "&from=" (next) } { "more turns" } } }
        }
    };
    Ok(layout(&format!("Compare: {}", title(&threads.0)), &body))
}

fn side(thread: &StoredThread, turns: &[Markup], shared: u64) -> Markup {
    html! {
        section.side aria-label=(title(thread)) {
            h2 { a href={ "/threads/" (thread.id) } { (title(thread)) } }
            p.dim { @if let Some(relation) = relation(thread) { (relation) ", " } (time(thread.updated_at)) }
            @if turns.is_empty() { p.empty { "No turns after turn " (shared) "." } }
            @for turn in turns { (turn) }
        }
    }
}

/// Returns how many turns at the beginning of two threads are the same.
///
/// Threads that have parted never meet again, because each turn has its own lines. So a binary search finds the last turn that they
/// share.
async fn shared_turns(app: &ViewerApp, a: ThreadId, b: ThreadId) -> Result<u64, StoreError> {
    let (mut shared, mut most) = (0, count_turns(app, a).await?.min(count_turns(app, b).await?));
    while shared < most {
        let middle = shared + (most - shared).div_ceil(2);
        if is_same(app, (a, b), middle).await? {
            shared = middle;
        } else {
            most = middle - 1;
        }
    }
    Ok(shared)
}

/// Returns whether the turns with this number are the same in two threads. Their ids and their content are compared, and not their ends: a
/// turn that was interrupted in one thread because it was forked there is still the same.
async fn is_same(app: &ViewerApp, (a, b): (ThreadId, ThreadId), number: u64) -> Result<bool, StoreError> {
    let states = (nth_turn(app, a, number, ItemsView::None).await?, nth_turn(app, b, number, ItemsView::None).await?);
    let (Some(one), Some(other)) = states else { return Ok(false) };
    if one.id != other.id || one.started_at != other.started_at {
        return Ok(false);
    }
    if is_long(&one) || is_long(&other) {
        // The newest items with their places stand for all: each has its own id and its own line.
        let newest = items_of(a, TurnSelector::Number(number), SortDirection::Descending, None);
        let ones = app.store().list_items(&newest).await?.items;
        let others = app.store().list_items(&ItemQuery { thread_id: b, ..newest }).await?.items;
        let facts = |entry: &TurnItemEntry| (entry.position, entry.item.clone());
        return Ok(ones.iter().map(facts).eq(others.iter().map(facts)));
    }
    let turns = (nth_turn(app, a, number, ItemsView::Full).await?, nth_turn(app, b, number, ItemsView::Full).await?);
    Ok(matches!(turns, (Some(one), Some(other)) if one.items == other.items))
}
