//! Where the log of turns is damaged.

use std::fmt::Display;

use maud::{Markup, html};
use selvedge_protocol::{ThreadId, Turn};
use selvedge_thread_store::{EntryKind, LineEntry, LinePosition, LineQuery, LineStart, StoreError};

use crate::app::ViewerApp;
use crate::url::encoded;

/// How much of a log is searched for damage, in bytes and in lines from its beginning. Damage behind that is only on the page of the log:
/// no store finds the line at which a turn begins without reading what comes before it, or what comes after it.
const MAX_BYTES: usize = 8 << 20;
const MAX_LINES: u64 = 20_000;

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
        match (turns.first(), turns.last()) {
            (Some(first), Some(last)) if first.lines.start < MAX_LINES => {
                let mut found = search(app, id, last.lines.end).await?;
                found.retain(|damage| damage.position > first.lines.start);
                Ok(found)
            }
            _ => Ok(Vec::new()),
        }
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

/// Goes through the lines of a history from its beginning, until the line with the position `end`.
async fn search(app: &ViewerApp, id: ThreadId, end: u64) -> Result<Vec<TurnDamage>, StoreError> {
    let mut query = LineQuery::from(id, LineStart::Beginning);
    let (mut position, mut searched, mut found) = (0, 0, Vec::new());
    loop {
        let page = app.store().read_lines(&query).await?;
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
        if page.is_end || page.rewound_to.is_some() || searched > MAX_BYTES || found.len() >= MAX_PLACES {
            return Ok(found);
        }
        query.start = LineStart::At(page.next);
    }
}
