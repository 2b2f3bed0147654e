//! A turn as pages show it: long texts shortened, with links to the rest.

use maud::{Markup, html};
use selvedge_protocol::{Cursor, ItemContent, ThreadId, TurnId, TurnItem};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{TurnAnchors, TurnExtras, anchor, item, item_anchor, turn_with};
use selvedge_transcript::{TranscriptParts, cut_content, size_text};
use serde_json::Value;

use crate::app::ViewerApp;
use crate::turn_damage::TurnDamage;
use crate::turns::{MAX_TEXT, ShownTurn, Turns};
use crate::url::encoded;

/// The most threads to which an item has links.
const MAX_LINKED: usize = 20;

/// Where an item is, for links to it.
pub(crate) struct TurnPlace<'a> {
    pub(crate) thread: ThreadId,
    pub(crate) turn: &'a TurnId,
    /// The position of the first line of the turn.
    pub(crate) start: u64,
}

impl TurnPlace<'_> {
    /// Returns the query that names the turn.
    fn query(&self) -> String {
        format!("turn={}&start={}", encoded(self.turn.as_str()), self.start)
    }

    /// Renders the place at which the page loads more items of the turn when it is seen. Without a script, it is a link.
    pub(crate) fn more_items(&self, cursor: Option<&Cursor>, direction: &str) -> Markup {
        html! {
            @if let Some(cursor) = cursor {
                p.more { a data-more=(direction) href={ "/threads/" (self.thread) "/items?" (self.query()) "&direction=" (direction) "&cursor=" (encoded(cursor.as_str())) } { (direction) " items of this turn" } }
            }
        }
    }

    /// Renders what stands at the end of an item: where the rest is if bytes were removed, and where its line is.
    fn end_of_item(&self, index: u64, position: u64, item: &TurnItem, removed: u64) -> Markup {
        let place = format!("{}&item={}", self.query(), index + 1);
        let thread = self.thread;
        html! {
            @if removed > 0 {
                p.cut { (size_text(removed)) " of this item are not shown here. " a href={ "/threads/" (thread) "/item?" (place) } { "Show more of it" } ", or " a href={ "/threads/" (thread) "/lines?position=" (position) } { "its lines in the log" } "." }
            }
            @for other in linked_threads(thread, &item.content) {
                p.linked { a href={ "/threads/" (other) } { "thread " (other) } }
            }
            div.tools {
                a.raw href={ "/threads/" (thread) "/lines?position=" (position) } data-text={ "/threads/" (thread) "/text?" (place) } aria-label="the line of the log" { "line" }
            }
        }
    }
}

/// Renders consecutive turns, each with the damage of its lines. `anchors` are those of the page.
pub(crate) async fn turn_views(
    app: &ViewerApp,
    thread: ThreadId,
    mut turns: Turns,
    anchors: &mut TurnAnchors,
) -> Result<Vec<Markup>, StoreError> {
    let shorten = |shown: &mut ShownTurn| -> Vec<u64> {
        shown.turn.items.iter_mut().map(|item| cut_content(&mut item.content, MAX_TEXT)).collect()
    };
    let removed: Vec<Vec<u64>> = turns.turns.iter_mut().map(shorten).collect();
    let damage = TurnDamage::in_turns(app, thread, &turns.turns).await?;
    let mut turns = turns.turns.into_iter().zip(removed).peekable();
    let mut views = Vec::new();
    while let Some((shown, removed)) = turns.next() {
        let own = TurnDamage::of_turn(&damage, &shown.turn, turns.peek().map(|(next, _)| &next.turn));
        let anchor = anchors.next(&shown.turn);
        views.push(turn_view(thread, shown, &removed, own, &anchor));
    }
    Ok(views)
}

/// Renders a turn whose texts are shortened. `removed` has the bytes that were removed from each item.
fn turn_view(thread: ThreadId, shown: ShownTurn, removed: &[u64], damage: &[TurnDamage], anchor: &str) -> Markup {
    let ShownTurn { number, turn, first_item, older_items, newer_items } = shown;
    let (id, start) = (turn.id.clone(), turn.lines.start);
    let place = TurnPlace { thread, turn: &id, start };
    let mut ends: Vec<Markup> = Vec::with_capacity(turn.items.len());
    for (index, (item, removed)) in turn.items.iter().zip(removed).enumerate() {
        let position = turn.item_positions.get(index).copied().unwrap_or(start);
        ends.push(place.end_of_item(first_item + index as u64, position, item, *removed));
    }
    let mut before_items = place.more_items(older_items.as_ref(), "older");
    for each in damage {
        // It stands after the newest item that began before it.
        let index = turn.item_positions.iter().rposition(|position| *position < each.position);
        let place = index.and_then(|index| ends.get_mut(index)).unwrap_or(&mut before_items);
        *place = html! { (place) (each.render(thread)) };
    }
    let after_items = place.more_items(newer_items.as_ref(), "newer");
    let after_item = |index: usize| ends.get(index).cloned().unwrap_or_default();
    let extras = TurnExtras { anchor, first_item, before_items: &before_items, after_item, after_items: &after_items };
    turn_with(number, &turn, TranscriptParts::default(), &extras)
}

/// Renders an item of a long turn. `index` counts the items of the turn from 0, and `position` is that of its first line.
pub(crate) fn item_view(place: &TurnPlace<'_>, index: u64, position: u64, mut each: TurnItem) -> Markup {
    let removed = cut_content(&mut each.content, MAX_TEXT);
    let end = place.end_of_item(index, position, &each, removed);
    item(&item_anchor(&anchor(place.turn), index), &each, TranscriptParts::default(), &end)
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
