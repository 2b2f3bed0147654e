//! The context fragment that describes its context window to the model.

use std::str::FromStr;
use std::{fmt, slice};

use selvedge_protocol::{ContextWindow, ResponseItem, ResponseItemKind, ThreadId, WindowId};
use serde_json::json;

use crate::context_fragments::{CONTEXT_WINDOW, TOKEN_BUDGET, begins_with};

const THREAD: &str = "Thread id";
const AGENT: &str = "Agent name";
const FIRST: &str = "First context window id";
const CURRENT: &str = "Current context window id";
const PREVIOUS: &str = "Previous context window id";
/// What 0.141 writes before the number of the window.
const WINDOW_NUMBER: &str = "Current context window";

/// The forms of the fragment that are known. All of them are read; [`TokenBudget::to_item_as`] writes the one that is asked for.
///
/// Codex writes the fragment if `token_budget` is on in `[features]`; `samples/story-<version>-budget` has recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenBudgetForm {
    /// `<token_budget>` with one `Label: id` per line.
    #[default]
    Labels,
    /// `<token_budget>` with sentences: `Thread id X.`, `Current context window N.`. Codex 0.141.
    Sentences,
    /// `<context_window>` with one `Label: id` per line. Codex 0.142.2 to 0.144.6.
    ContextWindow,
    /// The same with the name of the agent in place of the id of the thread. Codex 0.150.1 and 0.155.1.
    Agent,
    /// The same in three parts of a message: the tag, the lines, the end tag. Codex 0.169.0 and 0.171.0.
    AgentInParts,
}

impl TokenBudgetForm {
    /// Returns the tag and the end tag.
    const fn tags(self) -> (&'static str, &'static str) {
        match self {
            Self::Labels | Self::Sentences => (TOKEN_BUDGET, "</token_budget>"),
            Self::ContextWindow | Self::Agent | Self::AgentInParts => (CONTEXT_WINDOW, "</context_window>"),
        }
    }
}

/// The `<token_budget>` fragment: a developer message with the ids of a thread and its context windows, and the number of tokens
/// left if it is known. Newer programs call it `<context_window>`; see [`TokenBudgetForm`].
///
/// The ids are those of the thread's [`ContextWindow`]: the first one survives every compaction, and all of them survive resume
/// and rollback. What is unknown, or does not belong to the form, has no line. `Display` writes the text of the default form:
///
/// ```
/// # use selvedge_history::{TokenBudget, TokenBudgetForm};
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
/// assert_eq!(TokenBudget::from_item(&budget.to_item()), Some(budget.clone()));
///
/// // As Codex 0.171 writes it, which names the agent and not the thread:
/// let budget = TokenBudget { agent_name: Some("/root".to_owned()), ..budget };
/// let item = budget.to_item_as(TokenBudgetForm::AgentInParts);
/// assert_eq!(item.texts()[0], "<context_window>");
/// assert!(item.texts()[1].starts_with("\nAgent name: /root\nFirst context window id: "));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBudget {
    /// The thread. `None` if the fragment names the agent instead.
    pub thread_id: Option<ThreadId>,
    /// The path of the agent in its tree, `/root` at the top.
    pub agent_name: Option<String>,
    /// The thread's first window.
    pub first_window_id: Option<WindowId>,
    /// The current window of the thread.
    pub window_id: Option<WindowId>,
    /// The window before that one.
    pub previous_window_id: Option<WindowId>,
    /// Number of the current window. Only [`TokenBudgetForm::Sentences`] has it, and it has no ids of windows.
    pub window_number: Option<u64>,
    /// Number of tokens left in the window.
    pub tokens_left: Option<u64>,
}

impl TokenBudget {
    /// Creates the fragment for a thread that is in `window`.
    #[must_use]
    pub const fn new(thread_id: ThreadId, window: &ContextWindow, tokens_left: Option<u64>) -> Self {
        Self {
            thread_id: Some(thread_id),
            agent_name: None,
            first_window_id: window.first_window_id,
            window_id: window.window_id,
            previous_window_id: window.previous_window_id,
            window_number: None,
            tokens_left,
        }
    }

    /// Returns the fragment as a developer message, in the default form.
    #[must_use]
    pub fn to_item(&self) -> ResponseItem {
        self.to_item_as(TokenBudgetForm::default())
    }

    /// Returns the fragment as a developer message, in one of the known forms.
    #[must_use]
    pub fn to_item_as(&self, form: TokenBudgetForm) -> ResponseItem {
        let text = self.text(form);
        let (tag, end) = form.tags();
        let lines = text.strip_prefix(tag).and_then(|rest| rest.strip_suffix(end));
        let parts = match lines.filter(|_| form == TokenBudgetForm::AgentInParts) {
            Some(lines) => vec![tag, lines, end],
            None => vec![text.as_str()],
        };
        let parts: Vec<_> = parts.iter().map(|text| json!({"type": "input_text", "text": text})).collect();
        let message = json!({"type": "message", "role": "developer", "content": parts});
        ResponseItem::from_value(&message).unwrap_or_else(|| ResponseItem::message("developer", &text))
    }

    /// Returns the text of the fragment in one of the known forms.
    #[must_use]
    pub fn text(&self, form: TokenBudgetForm) -> String {
        let (tag, end) = form.tags();
        let mut lines = vec![tag.to_owned()];
        if form == TokenBudgetForm::Sentences {
            lines.extend(self.thread_id.map(|id| format!("{THREAD} {id}.")));
            lines.extend(self.window_number.map(|number| format!("{WINDOW_NUMBER} {number}.")));
        } else {
            match form {
                TokenBudgetForm::Agent | TokenBudgetForm::AgentInParts => {
                    lines.extend(self.agent_name.iter().map(|name| format!("{AGENT}: {name}")));
                }
                _ => lines.extend(self.thread_id.map(|id| format!("{THREAD}: {id}"))),
            }
            let windows =
                [(FIRST, self.first_window_id), (CURRENT, self.window_id), (PREVIOUS, self.previous_window_id)];
            lines.extend(windows.iter().filter_map(|(label, id)| Some(format!("{label}: {}", (*id)?))));
        }
        lines.extend(self.tokens_left.map(|tokens| format!("You have {tokens} tokens left in this context window.")));
        lines.push(end.to_owned());
        lines.join("\n")
    }

    /// Parses the text of a fragment in any form. Unknown lines are skipped, and so is everything after the closing tag, if there
    /// is one. `None` if the text does not begin with a marker, or names neither a thread nor an agent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Each line is recognized by its label, so unknown lines and another order do no harm.
        let text = text.trim_start();
        let forms = [TokenBudgetForm::Labels, TokenBudgetForm::ContextWindow].map(TokenBudgetForm::tags);
        let (tag, end) = forms.into_iter().find(|(tag, _)| begins_with(text, tag))?;
        let lines = &text[tag.len()..];
        let lines = lines.split_once(end).map_or(lines, |(lines, _)| lines);
        let budget = Self {
            thread_id: labelled(lines, THREAD).or_else(|| sentence(lines, THREAD)),
            agent_name: labelled(lines, AGENT).filter(|name: &String| !name.is_empty()),
            first_window_id: labelled(lines, FIRST),
            window_id: labelled(lines, CURRENT),
            previous_window_id: labelled(lines, PREVIOUS),
            window_number: sentence(lines, WINDOW_NUMBER),
            tokens_left: lines.lines().find_map(tokens_left),
        };
        (budget.thread_id.is_some() || budget.agent_name.is_some()).then_some(budget)
    }

    /// Returns the fragment in an item, which must be a developer message. The fragment can be any of its parts, or several of
    /// them if the first one is the tag alone.
    #[must_use]
    pub fn from_item(item: &ResponseItem) -> Option<Self> {
        let is_message = *item.kind() == ResponseItemKind::Message;
        if !is_message || item.role().as_deref() != Some("developer") {
            return None;
        }
        let texts = item.texts();
        (0..texts.len()).find_map(|start| {
            let is_tag = texts[start].trim() == CONTEXT_WINDOW;
            let parts = if is_tag { &texts[start..] } else { slice::from_ref(&texts[start]) };
            Self::parse(&parts.concat())
        })
    }
}

impl fmt::Display for TokenBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(TokenBudgetForm::default()))
    }
}

/// Returns the value on the first line with this label and a valid value.
fn labelled<T: FromStr>(lines: &str, label: &str) -> Option<T> {
    lines.lines().find_map(|line| {
        let (name, id) = line.split_once(':')?;
        (name.trim() == label).then(|| id.trim().parse().ok())?
    })
}

/// Returns the value in the first line that has the form `Label value.`
fn sentence<T: FromStr>(lines: &str, label: &str) -> Option<T> {
    lines.lines().find_map(|line| line.trim().strip_prefix(label)?.strip_suffix('.')?.trim().parse().ok())
}

fn tokens_left(line: &str) -> Option<u64> {
    let (tokens, rest) = line.trim().strip_prefix("You have ")?.split_once(' ')?;
    rest.starts_with("tokens left").then(|| tokens.parse().ok())?
}
