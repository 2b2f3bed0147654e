//! A turn as pages show it: long texts shortened, with links to the whole.

use std::ops::Range;

use maud::{Markup, html};
use selvedge_protocol::{ItemContent, ThreadId, Turn};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{TurnAnchors, TurnExtras, anchor, item, item_anchor, turn_with};
use selvedge_transcript::{TranscriptParts, cut_content};
use serde_json::Value;

use crate::app::ViewerApp;
use crate::turn_damage::TurnDamage;
use crate::turns::Turns;
use crate::url::encoded;

/// The longest text that a page shows at once, in bytes.
const MAX_TEXT: usize = 32 << 10;

/// How many items of a turn a page shows at its beginning and at its end.
const FIRST_ITEMS: usize = 20;
const LAST_ITEMS: usize = 180;

/// The most threads to which an item has links.
const MAX_LINKED: usize = 20;

/// Renders consecutive turns, each with the damage of its lines. `anchors` are those of the page.
pub(crate) async fn turn_views(
    app: &ViewerApp,
    thread: ThreadId,
    turns: Turns,
    anchors: &mut TurnAnchors,
) -> Result<Vec<Markup>, StoreError> {
    let damage = TurnDamage::in_turns(app, thread, &turns.turns).await?;
    let mut numbered = turns.numbered().peekable();
    let mut views = Vec::new();
    while let Some((number, turn)) = numbered.next() {
        let own = TurnDamage::of_turn(&damage, &turn, numbered.peek().map(|(_, next)| next));
        let anchor = anchors.next(&turn);
        views.push(turn_view(thread, number, turn, own, &anchor));
    }
    Ok(views)
}

/// Renders a turn. `number` is its number in the thread, counted from 1, if it is known.
fn turn_view(thread: ThreadId, number: Option<u64>, mut turn: Turn, damage: &[TurnDamage], anchor: &str) -> Markup {
    let left_out = middle(turn.items.len());
    let mut ends = shorten(thread, &mut turn);
    let mut before_items = html! {};
    for each in damage {
        // It stands after the newest item that began before it.
        let index = turn.item_positions.iter().rposition(|position| *position < each.position);
        let index = index.map(|index| if left_out.contains(&index) { left_out.start - 1 } else { index });
        let place = index.and_then(|index| ends.get_mut(index)).unwrap_or(&mut before_items);
        *place = html! { (place) (each.render(thread)) };
    }
    let in_their_place = html! {
        p.more-items { a href={ "/threads/" (thread) "/items?" (item_query(&turn, left_out.start)) } { (left_out.len()) " more items of this turn" } }
    };
    let after_item = |index: usize| ends.get(index).cloned().unwrap_or_default();
    let extras =
        TurnExtras { anchor, before_items: &before_items, after_item, left_out, in_their_place: &in_their_place };
    turn_with(number, &turn, TranscriptParts::default(), &extras)
}

/// Renders some items of a turn, without its head.
pub(crate) fn items_view(thread: ThreadId, mut turn: Turn, items: Range<usize>) -> Markup {
    let ends = shorten(thread, &mut turn);
    let anchor = anchor(&turn);
    html! {
        @for (index, (each, end)) in turn.items.iter().zip(&ends).enumerate().skip(items.start).take(items.len()) {
            (item(&item_anchor(&anchor, index), each, TranscriptParts::default(), end))
        }
    }
}

/// Shortens the texts of a turn, and returns what stands at the end of each item: where the whole is, and where its line is.
fn shorten(thread: ThreadId, turn: &mut Turn) -> Vec<Markup> {
    let removed: Vec<usize> = turn.items.iter_mut().map(|item| cut_content(&mut item.content, MAX_TEXT)).collect();
    (0..).zip(removed).map(|(index, removed)| end_of_item(thread, turn, index, removed)).collect()
}

fn end_of_item(thread: ThreadId, turn: &Turn, index: usize, removed: usize) -> Markup {
    let place = item_query(turn, index);
    let position = turn.item_positions.get(index).copied().unwrap_or(turn.lines.start);
    html! {
        @if removed > 0 {
            p.cut { (bytes(removed as u64)) " more are not shown here. " a href={ "/threads/" (thread) "/item?" (place) } { "Show the whole item" } }
        }
        @for other in linked_threads(thread, &turn.items[index].content) {
            p.linked { a href={ "/threads/" (other) } { "thread " (other) } }
        }
        div.tools {
            a.raw href={ "/threads/" (thread) "/lines?position=" (position) } data-text={ "/threads/" (thread) "/text?" (place) } aria-label="the line of the log" { "line" }
        }
    }
}

/// Returns the other threads that an item names in members such as `receiver_thread_ids`: sub-agents that it started, for example.
fn linked_threads(thread: ThreadId, content: &ItemContent) -> Vec<ThreadId> {
    let fields = match content {
        ItemContent::Other(other) => other.fields.iter().collect::<Vec<_>>(),
        ItemContent::ToolCall { result: Some(Value::Object(result)), .. } => result.iter().collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (_, value) in fields.into_iter().filter(|(name, _)| name.contains("thread_id") || name.contains("threadId")) {
        let texts = match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            value => value.as_str().into_iter().collect::<Vec<_>>(),
        };
        found.extend(texts.into_iter().filter_map(|text| text.parse::<ThreadId>().ok()));
    }
    found.retain(|other| *other != thread);
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_LINKED);
    found
}

/// Returns the query that names an item of a turn. `index` counts its items from 0, and the query from 1.
fn item_query(turn: &Turn, index: usize) -> String {
    format!("turn={}&start={}&item={}", encoded(turn.id.as_str()), turn.lines.start, index + 1)
}

/// Returns the items of a long turn that are left out: those between its beginning and its end.
fn middle(items: usize) -> Range<usize> {
    if items > FIRST_ITEMS + LAST_ITEMS { FIRST_ITEMS..items - LAST_ITEMS } else { 0..0 }
}

/// Returns a size in words: `812 bytes`, `3.2 kB`, `10.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        ..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}
