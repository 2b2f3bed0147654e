//! Previews: the newest turns of threads, read in the background.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use selvedge_protocol::{SortDirection, ThreadId, Turn, TurnQuery};
use selvedge_thread_store::{Result, ThreadStore};
use tokio::sync::watch;

use crate::render::thread_title::NO_MESSAGE;
use crate::render::transcript::{self, TranscriptStyle};
use crate::timing::PREVIEW_DELAY;

/// The most turns in a preview.
const MAX_TURNS: usize = 4;
/// The most lines in a preview. More than any screen shows.
const MAX_LINES: usize = 500;
/// The most previews in memory.
const MAX_CACHED: usize = 200;

/// The previews that were read, and the task that reads more.
pub(crate) struct PreviewCache {
    cached: HashMap<ThreadId, String>,
    requested: watch::Sender<Option<ThreadId>>,
    received: mpsc::Receiver<(ThreadId, String)>,
}

impl PreviewCache {
    /// Starts the task that reads from `store`. It ends when the cache is dropped.
    pub(crate) fn new(store: Arc<dyn ThreadStore>, style: TranscriptStyle) -> Self {
        //  event loop ── requested: watch, holds one id ──▸ task
        //  event loop ◂── received: channel of texts ────── task
        //
        // A `watch` and not a queue: a user who scrolls past a hundred threads wants the preview of the last one only.
        let (requested, mut requests) = watch::channel(None);
        let (sender, received) = mpsc::channel();
        tokio::spawn(async move {
            while requests.changed().await.is_ok() {
                // Only the newest request counts, and the next one may come soon.
                tokio::time::sleep(PREVIEW_DELAY).await;
                let Some(id) = *requests.borrow_and_update() else { continue };
                let text = match newest_turns(&*store, id).await {
                    Ok(turns) => text(&turns, style),
                    Err(error) => error.to_string(),
                };
                if sender.send((id, text)).is_err() {
                    break;
                }
            }
        });
        Self { cached: HashMap::new(), requested, received }
    }

    /// Returns the preview of a thread. If it is not read yet, requests it and returns `None`.
    pub(crate) fn get(&self, id: ThreadId) -> Option<&str> {
        // This runs for every frame. A repeated request would make the task read the same thread again.
        let cached = self.cached.get(&id);
        if cached.is_none() && *self.requested.borrow() != Some(id) {
            self.requested.send_replace(Some(id));
        }
        cached.map(String::as_str)
    }

    /// Takes the previews that have arrived. Returns whether there were any.
    pub(crate) fn receive(&mut self) -> bool {
        let mut any = false;
        for (id, text) in self.received.try_iter() {
            // Clearing everything is simpler than finding the oldest preview. It costs one read for each thread that
            // is visited again.
            if self.cached.len() >= MAX_CACHED {
                self.cached.clear();
                // A thread that was requested before can then be requested again.
                self.requested.send_replace(None);
            }
            self.cached.insert(id, text);
            any = true;
        }
        any
    }
}

async fn newest_turns(store: &dyn ThreadStore, id: ThreadId) -> Result<Vec<Turn>> {
    let query = TurnQuery { direction: SortDirection::Descending, limit: MAX_TURNS, ..TurnQuery::all(id) };
    let mut turns = store.list_turns(&query).await?.items;
    turns.reverse();
    Ok(turns)
}

fn text(turns: &[Turn], style: TranscriptStyle) -> String {
    if turns.is_empty() {
        return NO_MESSAGE.to_owned();
    }
    let text = transcript::newest_turns(turns, style);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].join("\n")
}
