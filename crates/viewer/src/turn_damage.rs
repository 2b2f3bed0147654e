//! Where the log of turns is damaged.

use std::fmt::Display;

use maud::{Markup, html};
use selvedge_protocol::{ThreadId, Turn};
use selvedge_thread_store::{EntryKind, LineEntry, LinePosition, LineQuery, LineStart, StoreError};

use crate::app::ViewerApp;
use crate::turns::ShownTurn;
use crate::url::encoded;

/// How much of the log of the turns on a page is searched for damage, in bytes. Pages have less, unless a turn is long. Damage behind that
/// is only on the page of the log.
const MAX_BYTES: u64 = 16 << 20;

/// How many bytes of long texts, which are read and not parsed, cost as much time as one other byte.
const UNPARSED: u64 = 4;

/// How much of a log is read at a time, in bytes.
const PAGE_BYTES: usize = 256 << 10;

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
    /// Finds the damage in the lines of consecutive turns. Only these lines are read: a store knows where the first turn begins.
    pub(crate) async fn in_turns(app: &ViewerApp, id: ThreadId, turns: &[ShownTurn]) -> Result<Vec<Self>, StoreError> {
        let (Some(first), Some(last)) = (turns.first(), turns.last()) else { return Ok(Vec::new()) };
        // The middle of a long turn is too far from its beginning.
        if first.first_item > 0 {
            return Ok(Vec::new());
        }
        let (start, end) = (first.turn.lines.start, last.turn.lines.end);
        let mut found = match search(app, id, &first.turn, end).await {
            // The turn was undone while the page was made.
            Err(StoreError::TurnNotFound { .. } | StoreError::PositionGone { .. }) => Vec::new(),
            found => found?,
        };
        found.retain(|damage| damage.position > start);
        Ok(found)
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

/// Goes through the lines of a history from the first line of a turn on, until the line with the position `end`.
async fn search(app: &ViewerApp, id: ThreadId, first: &Turn, end: u64) -> Result<Vec<TurnDamage>, StoreError> {
    let start = LineStart::Turn(first.id.clone());
    // Texts tell nothing of damage.
    let mut query = LineQuery { max_bytes: PAGE_BYTES, max_text: Some(0), ..LineQuery::from(id, start) };
    let (mut position, mut searched, mut found) = (first.lines.start, 0, Vec::new());
    loop {
        let page = app.store().read_lines(&query).await?;
        for entry in &page.entries {
            searched += entry.bytes.len() as u64 + entry.left_out / UNPARSED;
            found.extend(TurnDamage::of(entry, position));
            if entry.kind == EntryKind::Line {
                if position >= end {
                    return Ok(found);
                }
                position += 1;
            }
        }
        if page.is_end || page.rewound_to.is_some() || searched > MAX_BYTES || found.len() >= MAX_PLACES {
            return Ok(found);
        }
        query.start = LineStart::At(page.next);
    }
}
