//! The world state over time: what each record changed in it, as a diff.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{RolloutItem, RolloutLine, ThreadId, Timestamp, WorldState, WorldStatePatch, WorldStateRecord};
use selvedge_transcript::html::{diff, time, title};
use selvedge_transcript::size_text;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::line_scan::scan_lines;
use crate::page_thread::PageThread;
use crate::readable::readable;

/// How many of the newest records are shown.
const MAX_RECORDS: usize = 100;

/// The longest diff that is shown, in bytes.
const MAX_DIFF: usize = 64 << 10;

/// How long the search for the smallest diff of one record may take. After that, a larger one is shown.
const DIFF_TIME: std::time::Duration = std::time::Duration::from_millis(50);

/// What a record did.
struct WorldChange {
    at: Option<Timestamp>,
    position: u64,
    what: &'static str,
    /// The change as a unified diff. Empty if nothing changed.
    diff: String,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let mut history = WorldHistory::default();
    scan_lines(&app, id, |position, line| history.see(position, line)).await?;
    let WorldHistory { changes, forgotten, .. } = history;
    let body = html! {
        (thread_bar(id, "/world"))
        main #main.transcript {
            h1 { "World state: " (title(&thread)) }
            p.dim { "What the agent told the model about its environment, and how it changed." }
            @if changes.is_empty() { p.empty { "This thread has no record of a world state." } }
            @if forgotten > 0 { p.dim { (forgotten) " older records are not shown." } }
            @for change in &changes { (render(id, change)) }
        }
    };
    Ok(layout(title(&thread), &body))
}

#[derive(Default)]
struct WorldHistory {
    state: Option<WorldState>,
    /// The state as readable lines.
    text: String,
    changes: std::collections::VecDeque<WorldChange>,
    forgotten: usize,
}

impl WorldHistory {
    fn see(&mut self, position: u64, line: &RolloutLine) {
        // A payload is parsed only where it can matter.
        let record = match line.kind() {
            "world_state" => line.item(),
            "compacted" => return self.add(position, line, "a compaction: the model has to be told again", None),
            _ => return,
        };
        let RolloutItem::WorldState(record) = record else {
            return self.add(position, line, "a record that cannot be read", None);
        };
        let what = if record.is_full() { "snapshot" } else { "patch" };
        match self.applied(record) {
            Some(state) => self.add(position, line, what, Some(state)),
            None => self.add(position, line, "a patch or snapshot that cannot be applied", None),
        }
    }

    /// Returns the state after a record. `None` if it cannot be applied.
    fn applied(&self, record: WorldStateRecord) -> Option<WorldState> {
        let is_full = record.is_full();
        let value = record.state?;
        if is_full {
            return WorldState::new(value).ok();
        }
        let mut state = self.state.clone().unwrap_or_default();
        state.apply(&WorldStatePatch::new(value).ok()?);
        Some(state)
    }

    fn add(&mut self, position: u64, line: &RolloutLine, what: &'static str, state: Option<WorldState>) {
        let mut diff = String::new();
        if let Some(state) = state {
            let text = readable(&state.clone().into_value());
            diff = difference(&self.text, &text);
            (self.state, self.text) = (Some(state), text);
        }
        self.changes.push_back(WorldChange { at: line.timestamp(), position, what, diff });
        if self.changes.len() > MAX_RECORDS {
            self.changes.pop_front();
            self.forgotten += 1;
        }
    }
}

fn difference(before: &str, after: &str) -> String {
    let mut config = similar::TextDiff::configure();
    config.timeout(DIFF_TIME);
    config.diff_lines(before, after).unified_diff().context_radius(2).to_string()
}

fn render(id: ThreadId, change: &WorldChange) -> Markup {
    let shown = change.diff.len().min(MAX_DIFF);
    let end = (0..=shown).rev().find(|end| change.diff.is_char_boundary(*end)).unwrap_or_default();
    html! {
        article.item.world id={ "line-" (change.position) } {
            p.label { (change.what) @if let Some(at) = change.at { " · " (time(at)) } " · " a href={ "/threads/" (id) "/lines?position=" (change.position) } { "line " (change.position) } }
            @if !change.diff.is_empty() { (diff(&change.diff[..end])) }
            @if end < change.diff.len() { p.cut { (size_text((change.diff.len() - end) as u64)) " more are not shown." } }
        }
    }
}
