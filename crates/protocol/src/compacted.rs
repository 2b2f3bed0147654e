//! A compaction: the history is replaced by a shorter one.

use crate::open::open_object;
use crate::{ContextWindow, ResponseItem, WindowId};

open_object! {
    /// Payload of a `compacted` line.
    pub struct Compacted {
        /// The summary.
        message: String,
        /// What the model sees from here on, verbatim. Missing in old files, which leave it to the reader to
        /// rebuild it from the user's messages and the summary.
        replacement_history: Vec<ResponseItem>,
        /// Number of the window that begins here, counted from 0 for the thread's first.
        window_number: u64,
        /// The first window of the thread.
        first_window_id: WindowId,
        /// The window that ends here.
        previous_window_id: WindowId,
        /// The window that begins here.
        window_id: WindowId,
    }
}

impl Compacted {
    /// A compaction to `replacement_history` that opens `window`.
    #[must_use]
    pub fn new(message: impl Into<String>, replacement_history: Vec<ResponseItem>, window: ContextWindow) -> Self {
        Self {
            message: Some(message.into()),
            replacement_history: Some(replacement_history),
            window_number: Some(window.number),
            first_window_id: window.first_window_id,
            previous_window_id: window.previous_window_id,
            window_id: window.window_id,
            ..Self::default()
        }
    }
}
