//! Where the log of turns is damaged.

use std::fmt::Display;

use maud::{Markup, html};
use selvedge_protocol::{ItemsView, ThreadId, Turn};
use selvedge_thread_store::{EntryKind, LineEntry, LinePosition, LineQuery, LineStart, StoreError};

use crate::app::ViewerApp;
use crate::turns::turn_of;
use crate::url::encoded;

/// How many bytes of the log are searched for damage for one page. Damage behind them is only on the page of the log.
const MAX_SEARCHED: usize = 8 << 20;

/// The most places of damage on a page.
const MAX_PLACES: usize = 100;

/// A place between two lines of a turn at which something is damaged or missing.
pub(crate) struct TurnDamage {
    /// How many intact lines of the history are before it.
    pub(crate) position: u64,
    at: LinePosition,
    reason: String,
}

impl TurnDamage {
    /// Finds the damage in the lines of consecutive turns.
    pub(crate) async fn in_turns(app: &ViewerApp, id: ThreadId, turns: &[Turn]) -> Result<Vec<Self>, StoreError> {
        let (Some(first), Some(last)) = (turns.first(), turns.last()) else { return Ok(Vec::new()) };
        let found = search(app, id, first, last.lines.end).await?;
        if found.is_empty() {
            return Ok(found);
        }
        // Lines are found by the id of a turn. If several turns have this id, these are the lines of another one.
        let named = turn_of(app, id, first.id.as_str(), None, ItemsView::None).await;
        Ok(if named.is_ok_and(|named| named.lines.start == first.lines.start) { found } else { Vec::new() })
    }

    /// Returns those that belong to a turn: after its first line, and before that of the next turn.
    pub(crate) fn of_turn<'a>(all: &'a [Self], turn: &Turn, next: Option<&Turn>) -> &'a [Self] {
        let from = all.partition_point(|damage| damage.position <= turn.lines.start);
        let to = next.map_or(all.len(), |next| all.partition_point(|damage| damage.position <= next.lines.start));
        all.get(from..to).unwrap_or_default()
    }

    pub(crate) fn render(&self, thread: ThreadId) -> Markup {
        html! {
            p.damaged-here { (self.reason) " · " a href={ "/threads/" (thread) "/lines?at=" (encoded(self.at.as_str())) } { "in the log" } }
        }
    }

    fn of(entry: &LineEntry, position: u64) -> Option<Self> {
        let text = |what: &str, reason: &dyn Display| format!("{what} here: {reason}");
        let reason = match &entry.kind {
            EntryKind::Damage { reason, .. } => text("damaged", reason),
            EntryKind::Missing { reason, .. } => text("missing", reason),
            EntryKind::Line | EntryKind::Blank => return None,
        };
        Some(Self { position, at: entry.at.clone(), reason })
    }
}

/// Goes through the lines from the first one of a turn on, until the line with the position `end`.
async fn search(app: &ViewerApp, id: ThreadId, first: &Turn, end: u64) -> Result<Vec<TurnDamage>, StoreError> {
    let mut query = LineQuery::from(id, LineStart::Turn(first.id.clone()));
    let (mut position, mut searched, mut found) = (first.lines.start, 0, Vec::new());
    loop {
        let page = match app.store().read_lines(&query).await {
            // A turn whose lines have no id of it, and one that has just been undone.
            Err(StoreError::TurnNotFound { .. }) => return Ok(Vec::new()),
            page => page?,
        };
        for entry in &page.entries {
            searched += entry.bytes.len();
            found.extend(TurnDamage::of(entry, position));
            if entry.kind == EntryKind::Line {
                if position >= end {
                    return Ok(found);
                }
                position += 1;
            }
        }
        if page.is_end || page.rewound_to.is_some() || searched > MAX_SEARCHED || found.len() >= MAX_PLACES {
            return Ok(found);
        }
        query.start = LineStart::At(page.next);
    }
}
