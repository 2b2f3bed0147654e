//! Which context window a live thread is in.

use selvedge_protocol::{ContextWindow, Timestamp};

/// Follows a live thread from window to window.
#[derive(Clone, Debug)]
pub struct ContextWindowTracker {
    current: ContextWindow,
}

impl ContextWindowTracker {
    /// Goes on from `window`: that of the thread's `session_meta` when it is new, that of its replay when it is resumed.
    #[must_use]
    pub const fn new(window: ContextWindow) -> Self {
        Self { current: window }
    }

    /// The window that the thread is in.
    #[must_use]
    pub const fn current(&self) -> ContextWindow {
        self.current
    }

    /// Opens the window that begins with a compaction at time `at`: one number on, under a fresh id, with the old window
    /// as the previous one. The first stays.
    pub fn compact(&mut self, at: Timestamp) -> ContextWindow {
        self.current = self.current.next(at);
        self.current
    }
}
