//! The context fragment that describes its context window to the model.

use std::fmt;
use std::str::FromStr;

use selvedge_protocol::{ContextWindow, ResponseItem, ResponseItemKind, ThreadId, WindowId};

use crate::context_fragments::{TOKEN_BUDGET, begins_with};

const END: &str = "</token_budget>";
const THREAD: &str = "Thread id";
const FIRST: &str = "First context window id";
const CURRENT: &str = "Current context window id";
const PREVIOUS: &str = "Previous context window id";

/// The `<token_budget>` fragment: a developer message with the ids of a thread and its context windows, and the number of tokens
/// left if it is known.
///
/// The ids are those of the thread's [`ContextWindow`]: the first one survives every compaction, and all of them survive resume
/// and rollback. An unknown id has no line. `Display` writes the text of the message:
///
/// ```
/// # use selvedge_history::TokenBudget;
/// # use selvedge_protocol::{ThreadId, Timestamp, ContextWindow, WindowId};
/// let at = Timestamp::from_seconds(1_795_252_000);
/// let (thread, window) = (ThreadId::new(at), WindowId::new(at));
/// let budget = TokenBudget::new(thread, &ContextWindow::first(Some(window)), Some(1200));
/// assert_eq!(
///     budget.to_string(),
///     format!(
///         "<token_budget>\n\
///          Thread id: {thread}\n\
///          First context window id: {window}\n\
///          Current context window id: {window}\n\
///          You have 1200 tokens left in this context window.\n\
///          </token_budget>"
///     )
/// );
/// assert_eq!(TokenBudget::from_item(&budget.to_item()), Some(budget));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBudget {
    /// The thread.
    pub thread_id: ThreadId,
    /// The thread's first window.
    pub first_window_id: Option<WindowId>,
    /// The current window of the thread.
    pub window_id: Option<WindowId>,
    /// The window before that one.
    pub previous_window_id: Option<WindowId>,
    /// Number of tokens left in the window.
    pub tokens_left: Option<u64>,
}

impl TokenBudget {
    /// Creates the fragment for a thread that is in `window`.
    #[must_use]
    pub const fn new(thread_id: ThreadId, window: &ContextWindow, tokens_left: Option<u64>) -> Self {
        Self {
            thread_id,
            first_window_id: window.first_window_id,
            window_id: window.window_id,
            previous_window_id: window.previous_window_id,
            tokens_left,
        }
    }

    /// Returns the fragment as a developer message.
    #[must_use]
    pub fn to_item(&self) -> ResponseItem {
        ResponseItem::message("developer", &self.to_string())
    }

    /// Parses the text of a fragment. Unknown lines are skipped, and so is everything after the closing tag, if there is one.
    /// `None` if the text does not begin with the marker or contains no thread id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Each line is recognized by its label, so unknown lines and another order do no harm.
        let text = text.trim_start();
        let lines = begins_with(text, TOKEN_BUDGET).then(|| &text[TOKEN_BUDGET.len()..])?;
        let lines = lines.split_once(END).map_or(lines, |(lines, _)| lines);
        Some(Self {
            thread_id: labelled(lines, THREAD)?,
            first_window_id: labelled(lines, FIRST),
            window_id: labelled(lines, CURRENT),
            previous_window_id: labelled(lines, PREVIOUS),
            tokens_left: lines.lines().find_map(tokens_left),
        })
    }

    /// Returns the fragment in an item, which must be a developer message. The fragment can be any of its parts.
    #[must_use]
    pub fn from_item(item: &ResponseItem) -> Option<Self> {
        let is_message = *item.kind() == ResponseItemKind::Message;
        let is_of_developer = is_message && item.role().as_deref() == Some("developer");
        item.texts().iter().filter(|_| is_of_developer).find_map(|text| Self::parse(text))
    }
}

impl fmt::Display for TokenBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TOKEN_BUDGET}\n{THREAD}: {}", self.thread_id)?;
        let windows = [(FIRST, self.first_window_id), (CURRENT, self.window_id), (PREVIOUS, self.previous_window_id)];
        for (label, id) in windows {
            if let Some(id) = id {
                writeln!(f, "{label}: {id}")?;
            }
        }
        if let Some(tokens) = self.tokens_left {
            writeln!(f, "You have {tokens} tokens left in this context window.")?;
        }
        f.write_str(END)
    }
}

/// Returns the id on the first line with this label and a valid id.
fn labelled<T: FromStr>(lines: &str, label: &str) -> Option<T> {
    lines.lines().find_map(|line| {
        let (name, id) = line.split_once(':')?;
        (name.trim() == label).then(|| id.trim().parse().ok())?
    })
}

fn tokens_left(line: &str) -> Option<u64> {
    let (tokens, rest) = line.trim().strip_prefix("You have ")?.split_once(' ')?;
    rest.starts_with("tokens left").then(|| tokens.parse().ok())?
}
