//! Which context window a thread is in.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, WindowId};

/// The lineage of a thread's context window. Every compaction opens a new one; the ids stay the same across resume and
/// rollback, so they can be told to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextWindow {
    /// How many compactions came before this window.
    pub number: u64,
    /// The thread's first window; unknown in files that give windows no ids.
    pub first_window_id: Option<WindowId>,
    /// The window before this one.
    pub previous_window_id: Option<WindowId>,
    /// This window.
    pub window_id: Option<WindowId>,
}

impl ContextWindow {
    /// A thread's first window.
    #[must_use]
    pub const fn first(id: Option<WindowId>) -> Self {
        Self { number: 0, first_window_id: id, previous_window_id: None, window_id: id }
    }

    /// The window that a compaction at time `at` opens.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> Self {
        Self {
            number: self.number + 1,
            first_window_id: self.first_window_id,
            previous_window_id: self.window_id,
            window_id: Some(WindowId::new(at)),
        }
    }
}
