//! Tracks which context window a live thread is in.

use selvedge_protocol::{ContextWindow, Timestamp};

/// Tracks the context window of a live thread.
#[derive(Clone, Debug)]
pub struct ContextWindowTracker {
    current: ContextWindow,
}

impl ContextWindowTracker {
    /// Creates a tracker that starts in `window`: that of the `session_meta` of a new thread, or that of the replay of a resumed
    /// one.
    #[must_use]
    pub const fn new(window: ContextWindow) -> Self {
        Self { current: window }
    }

    /// Returns the window that the thread is in.
    #[must_use]
    pub const fn current(&self) -> ContextWindow {
        self.current
    }

    /// Opens the window that begins with a compaction at time `at`. It has the next number, a new id, and the old window as the
    /// previous one. The first window stays the same.
    pub fn compact(&mut self, at: Timestamp) -> ContextWindow {
        self.current = self.current.next(at);
        self.current
    }
}
