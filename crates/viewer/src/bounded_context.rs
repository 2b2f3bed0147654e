//! What the model sees, in bounded memory.

use std::collections::VecDeque;

use selvedge_history::{ModelContext, replay_lines};
use selvedge_protocol::{RolloutLine, ThreadId};
use selvedge_thread_store::StoreError;

use crate::app::ViewerApp;
use crate::line_scan::scan_lines;

/// The most bytes of the log that are replayed. Texts that fit into a model are smaller by far; only many large images, or a thread that
/// was never compacted and that no model could continue, are more.
pub(crate) const MAX_CONTEXT_BYTES: usize = 8 << 20;

/// How much of the end of a log is replayed if the context has more.
pub(crate) const END_BYTES: usize = 1 << 20;

/// What the model sees, or the end of it.
pub(crate) struct BoundedContext {
    pub(crate) context: ModelContext,
    /// Whether it is everything that the model sees. If not, it is the replay of the newest [`END_BYTES`] of the log.
    pub(crate) is_whole: bool,
}

impl BoundedContext {
    /// Reads what the model sees.
    ///
    /// A replay holds one context window at a time. So one pass through the log finds the largest window, and keeps the end of the log
    /// in case that it is too large.
    pub(crate) async fn read(app: &ViewerApp, id: ThreadId) -> Result<Self, StoreError> {
        let mut windows = WindowSizes::default();
        scan_lines(app, id, |_, line| windows.see(line)).await?;
        if windows.largest <= MAX_CONTEXT_BYTES {
            drop(windows);
            return Ok(Self { context: app.store().load_model_context(id).await?, is_whole: true });
        }
        Ok(Self { context: replay_lines(&windows.newest), is_whole: false })
    }
}

/// Returns whether a line undoes turns: of the events, only these change what the model sees.
fn is_rollback(line: &RolloutLine) -> bool {
    line.payload().contains("\"thread_rolled_back\"")
}

#[derive(Default)]
struct WindowSizes {
    /// The bytes of the window that is open, and of the largest one.
    current: usize,
    largest: usize,
    newest: VecDeque<RolloutLine>,
    newest_bytes: usize,
}

impl WindowSizes {
    fn see(&mut self, line: &RolloutLine) {
        if line.kind() == "event_msg" && !is_rollback(line) {
            return;
        }
        let bytes = line.payload().len();
        // A compaction replaces what was there before it.
        self.current = if line.kind() == "compacted" { bytes } else { self.current + bytes };
        self.largest = self.largest.max(self.current);
        self.newest.push_back(line.clone());
        self.newest_bytes += bytes;
        // The newest line stays, however long it is.
        while self.newest_bytes > END_BYTES && self.newest.len() > 1 {
            let Some(oldest) = self.newest.pop_front() else { return };
            self.newest_bytes -= oldest.payload().len();
        }
    }
}
