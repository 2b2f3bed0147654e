//! The title of a thread in lists, trees and questions.

use selvedge_protocol::StoredThread;

use super::text::single_line;

/// What is printed for a thread that has neither a name nor a message.
pub(crate) const NO_MESSAGE: &str = "(no message yet)";

/// Returns the name of a thread, or else the beginning of its first message, on one line.
pub(crate) fn thread_title(thread: &StoredThread) -> String {
    let title = thread.name.as_deref().or(thread.preview.as_deref()).map(single_line).unwrap_or_default();
    let title = if title.is_empty() { NO_MESSAGE.to_owned() } else { title };
    if thread.archived { format!("[archived] {title}") } else { title }
}
