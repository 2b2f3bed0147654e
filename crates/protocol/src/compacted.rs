//! Compactions: the model's history is replaced with a shorter one.

use crate::open_object::open_object;
use crate::{ContextWindow, ResponseItem, WindowId};

open_object! {
    /// Payload of a `compacted` line: the model's history was replaced with a shorter one, and a new context window
    /// begins.
    ///
    /// The lines before it remain in the log, and clients still show them. Only the model no longer sees them.
    pub struct Compacted {
        /// The summary of the history that was replaced.
        message: String,
        /// The items that the model sees from here on instead of everything before. Old files do not contain them;
        /// there a reader rebuilds them from the messages of the user and the summary.
        replacement_history: Vec<ResponseItem>,
        /// The number of the window that begins here. The first window of a thread has number 0.
        window_number: u64,
        /// The id of the first window of the thread.
        first_window_id: WindowId,
        /// The id of the window that ends here.
        previous_window_id: WindowId,
        /// The id of the window that begins here.
        window_id: WindowId,
    }
}

impl Compacted {
    /// Creates a compaction that replaces the history with `replacement_history` and begins `window`.
    #[must_use]
    pub fn new(message: impl Into<String>, replacement_history: Vec<ResponseItem>, window: ContextWindow) -> Self {
        // The fields of the window are spelt out on the line and not nested: the format has them so.
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
