//! The context windows of a thread: how full the context was, and what each compaction kept and removed.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_history::opens_turn;
use selvedge_protocol::{Compacted, EventMsg, RolloutItem, RolloutLine, ThreadId, Timestamp};
use selvedge_transcript::html::{thousands, time, title};
use selvedge_transcript::{rich_text, size_text};

use crate::app::ViewerApp;
use crate::chart::{ChartBar, curve};
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::line_scan::scan_lines;
use crate::page_thread::PageThread;

/// How many of the newest compactions are shown.
const MAX_WINDOWS: usize = 100;

/// How many responses of the model a chart shows. Of more, it shows the newest ones.
const MAX_POINTS: usize = 400;

/// How much of a summary is shown, in bytes.
const MAX_SUMMARY: usize = 16 << 10;

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let mut windows = WindowHistory::default();
    scan_lines(&app, id, |position, line| windows.see(position, line)).await?;
    let bars: Vec<ChartBar> = windows.points.iter().map(TokenPoint::bar).collect();
    let marks: Vec<usize> =
        (0..windows.points.len()).filter(|index| windows.points[*index].is_after_compaction).collect();
    let body = html! {
        (thread_bar(id, "/windows"))
        main #main.transcript {
            h1 { "Context windows: " (title(&thread)) }
            @if bars.is_empty() {
                p.empty { "The log has no counts of tokens." }
            } @else {
                (curve("tokens-in-context", &windows.caption(), &bars, &marks, windows.limit))
            }
            h2 { "Compactions" }
            @if windows.compactions.is_empty() { p.empty { "The context was never compacted." } }
            @if windows.forgotten > 0 { p.dim { (windows.forgotten) " older compactions are not shown." } }
            @for compaction in &windows.compactions { (compaction.render(id)) }
            @if windows.forgotten + windows.compactions.len() > 0 {
                p.dim { "Since then the model has got " (items(windows.items)) " (" (size_text(windows.item_bytes)) ")." }
            }
        }
    };
    Ok(layout(title(&thread), &body))
}

/// The size of the context at one response of the model.
struct TokenPoint {
    /// The number of the response, and of its turn, both counted from 1. Old threads have no events of turns: then the turn is 0.
    response: u64,
    turn: u64,
    tokens: u64,
    is_after_compaction: bool,
}

impl TokenPoint {
    fn bar(&self) -> ChartBar {
        let turn = if self.turn > 0 { format!(", turn {}", self.turn) } else { String::new() };
        ChartBar { label: format!("response {}{turn}", self.response), value: self.tokens, href: None }
    }
}

/// One compaction.
struct CompactionFacts {
    at: Option<Timestamp>,
    position: u64,
    /// The number of the window that begins with it.
    window: Option<u64>,
    /// What the model saw before it in this window, beside what the compaction before it had kept.
    items: u64,
    item_bytes: u64,
    /// How many items the model sees after it. `None` if the log does not contain them.
    kept: Option<u64>,
    summary: String,
}

impl CompactionFacts {
    fn render(&self, id: ThreadId) -> Markup {
        html! {
            article.item.compaction id={ "line-" (self.position) } {
                p.label {
                    @match self.window { Some(number) => { "window " (number) " begins" }, None => "a window begins" }
                    @if let Some(at) = self.at { " · " (time(at)) }
                    " · " a href={ "/threads/" (id) "/lines?position=" (self.position) } { "line " (self.position) }
                }
                p {
                    "Removed " (items(self.items)) " (" (size_text(self.item_bytes)) "). "
                    @match self.kept {
                        Some(kept) => { "Kept " (items(kept)) ", summary included." },
                        None => "Kept the messages of the user and the summary.",
                    }
                }
                @if !self.summary.is_empty() { details { summary { "Summary" } div.text { (rich_text(&self.summary)) } } }
            }
        }
    }
}

fn items(count: u64) -> String {
    if count == 1 { "1 item".to_owned() } else { format!("{count} items") }
}

#[derive(Default)]
struct WindowHistory {
    turn: u64,
    /// Items of the model since the last compaction, and their bytes in the log.
    items: u64,
    item_bytes: u64,
    is_compacted: bool,
    responses: u64,
    limit: Option<u64>,
    points: VecDeque<TokenPoint>,
    compactions: VecDeque<CompactionFacts>,
    forgotten: usize,
}

impl WindowHistory {
    fn caption(&self) -> String {
        let window = self.limit.map(|limit| format!(" with a window of {}", thousands(limit))).unwrap_or_default();
        let compactions =
            if self.compactions.is_empty() { "" } else { ", with a dashed line where the context was compacted" };
        format!("Tokens in the context{window}, by response of the model{compactions}")
    }

    fn see(&mut self, position: u64, line: &RolloutLine) {
        match line.kind() {
            "response_item" => {
                self.items += 1;
                self.item_bytes += line.payload().len() as u64;
            }
            "compacted" => {
                let facts =
                    if let RolloutItem::Compacted(compacted) = line.item() { *compacted } else { Compacted::default() };
                self.compact(position, line.timestamp(), facts);
            }
            "event_msg" if line.payload().contains("\"token_count\"") => self.count(&line.item()),
            "event_msg" if opens_turn(line) => self.turn += 1,
            _ => {}
        }
    }

    fn compact(&mut self, position: u64, at: Option<Timestamp>, compacted: Compacted) {
        let mut summary = compacted.message.unwrap_or_default();
        if summary.len() > MAX_SUMMARY {
            let end = (0..=MAX_SUMMARY).rev().find(|end| summary.is_char_boundary(*end)).unwrap_or_default();
            summary.truncate(end);
            summary.push('…');
        }
        self.compactions.push_back(CompactionFacts {
            at,
            position,
            window: compacted.window_number,
            items: std::mem::take(&mut self.items),
            item_bytes: std::mem::take(&mut self.item_bytes),
            kept: compacted.replacement_history.map(|items| items.len() as u64),
            summary,
        });
        if self.compactions.len() > MAX_WINDOWS {
            self.compactions.pop_front();
            self.forgotten += 1;
        }
        self.is_compacted = true;
    }

    fn count(&mut self, item: &RolloutItem) {
        let RolloutItem::EventMsg(EventMsg::TokenCount(event)) = item else { return };
        let Some(info) = &event.info else { return };
        self.limit = info.model_context_window.or(self.limit);
        let Some(tokens) = info.last_token_usage.as_ref().and_then(|usage| usage.total_tokens) else { return };
        let is_after_compaction = std::mem::take(&mut self.is_compacted);
        self.responses += 1;
        let (response, turn) = (self.responses, self.turn);
        self.points.push_back(TokenPoint { response, turn, tokens, is_after_compaction });
        if self.points.len() > MAX_POINTS {
            self.points.pop_front();
        }
    }
}
