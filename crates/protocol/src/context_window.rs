//! The context windows of a thread.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, WindowId};

/// A context window of a thread, with its lineage. Every compaction begins a new window.
///
/// ```text
///              compaction        compaction
/// window 0 ────────┼─── window 1 ────┼─── window 2    number 2, first_window_id of 0, previous_window_id of 1
/// ```
///
/// A window keeps its id when the thread is resumed or rolled back, so a program can report it to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextWindow {
    /// The number of compactions before this window.
    pub number: u64,
    /// The id of the first window of the thread. `None` in files that have no ids of windows.
    pub first_window_id: Option<WindowId>,
    /// The id of the window before this one. `None` for the first window.
    pub previous_window_id: Option<WindowId>,
    /// The id of this window. `None` in files that have no ids of windows.
    pub window_id: Option<WindowId>,
}

impl ContextWindow {
    /// Creates the first window of a thread.
    #[must_use]
    pub const fn first(id: Option<WindowId>) -> Self {
        Self { number: 0, first_window_id: id, previous_window_id: None, window_id: id }
    }

    /// Creates the window that a compaction at time `at` begins.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> Self {
        // In a file without window ids, `first_window_id` and `previous_window_id` stay unknown. The new window still gets
        // an id, so that the thread has ids from here on.
        Self {
            number: self.number + 1,
            first_window_id: self.first_window_id,
            previous_window_id: self.window_id,
            window_id: Some(WindowId::new(at)),
        }
    }
}
