//! What a client shows of a thread: turns and their items.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ItemId, Timestamp, TurnId};

/// How a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// It ran to its end.
    Completed,
    /// It was broken off, or its end was never written.
    Interrupted,
    /// An error ended it.
    Failed,
    /// It runs now; only a live thread has such a turn.
    InProgress,
}

/// How much of a turn's items to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemsView {
    /// No items.
    None,
    /// The first user message and the last agent message.
    Summary,
    /// All items.
    #[default]
    Full,
}

/// A place between two turns. Of several turns that have the same id the newest is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnBoundary {
    /// After everything that there is.
    Latest,
    /// Just after this turn.
    After(TurnId),
    /// Just before this turn.
    Before(TurnId),
    /// Just before the newest turns, so many of them: before all of them when there are not more, and after everything
    /// for 0 or when there is no turn.
    BeforeNewest(u64),
}

/// One turn: what the user asked and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The turn.
    pub id: TurnId,
    /// How it stands.
    pub status: TurnStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// What made it fail.
    pub error: Option<Value>,
    /// How much of its items is given.
    pub items_view: ItemsView,
    /// Its items.
    pub items: Vec<TurnItem>,
    /// Its lines, as positions in the thread's whole history (intact lines counted from 0, the base's first). A fork
    /// after the turn takes the history up to the end, one before it up to the start.
    #[serde(skip)]
    pub lines: Range<u64>,
    /// The line that each of its items began with, as a position like those of `lines`.
    #[serde(skip)]
    pub item_positions: Vec<u64>,
}

/// How a step of the agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It runs, or its end was never written.
    InProgress,
    /// It went well.
    Completed,
    /// It went wrong.
    Failed,
    /// The user did not allow it.
    Declined,
}

/// One item of a turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TurnItem {
    /// The user said something.
    UserMessage {
        /// The item.
        id: ItemId,
        /// What.
        text: String,
        /// Images: each a URL, a path, or an object that names one.
        images: Vec<Value>,
    },
    /// The agent said something.
    AgentMessage {
        /// The item.
        id: ItemId,
        /// What.
        text: String,
        /// In which phase of its answer.
        phase: Option<String>,
    },
    /// The agent thought.
    Reasoning {
        /// The item.
        id: ItemId,
        /// Summary, in parts.
        summary: Vec<String>,
        /// The thoughts themselves, where they are told.
        content: Vec<String>,
    },
    /// A command was run.
    CommandExecution {
        /// The item.
        id: ItemId,
        /// The command, as a shell would take it.
        command: String,
        /// Working directory.
        cwd: Option<String>,
        /// How it stands.
        status: ItemStatus,
        /// Standard output and standard error together.
        output: Option<String>,
        /// Exit code.
        exit_code: Option<i64>,
        /// How long it took, in milliseconds.
        duration_ms: Option<i64>,
    },
    /// Files were changed.
    FileChange {
        /// The item.
        id: ItemId,
        /// How it stands.
        status: ItemStatus,
        /// The changes by path, as the log tells them.
        changes: Value,
    },
    /// A tool was called.
    ToolCall {
        /// The item.
        id: ItemId,
        /// The server that has the tool, where there is one.
        server: Option<String>,
        /// The tool.
        tool: String,
        /// What it was called with.
        arguments: Value,
        /// How it stands.
        status: ItemStatus,
        /// What it answered.
        result: Option<Value>,
        /// What went wrong.
        error: Option<Value>,
        /// How long it took, in milliseconds.
        duration_ms: Option<i64>,
    },
    /// The web was searched.
    WebSearch {
        /// The item.
        id: ItemId,
        /// What was searched for.
        query: String,
        /// What was done, as the log tells it.
        action: Option<Value>,
    },
    /// An image was made.
    ImageGeneration {
        /// The item.
        id: ItemId,
        /// How it ended, as the log tells it.
        status: String,
        /// The prompt as the model rewrote it.
        revised_prompt: Option<String>,
        /// Where the image was saved.
        saved_path: Option<String>,
    },
    /// The context was compacted.
    ContextCompaction {
        /// The item.
        id: ItemId,
    },
    /// The agent made a plan.
    Plan {
        /// The item.
        id: ItemId,
        /// The plan.
        text: String,
    },
    /// A review began.
    EnteredReviewMode {
        /// The item.
        id: ItemId,
        /// What is reviewed.
        review: String,
    },
    /// A review ended.
    ExitedReviewMode {
        /// The item.
        id: ItemId,
        /// What it found.
        review: String,
    },
    /// An item of a kind that has no view of its own here.
    #[serde(untagged)]
    Other(OtherTurnItem),
}

/// An item that is shown as the log tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherTurnItem {
    /// Its kind, in the spelling of the others (`sub_agent_activity`).
    #[serde(rename = "type")]
    pub kind: String,
    /// The item.
    pub id: ItemId,
    /// Its fields, without kind and id.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl TurnItem {
    /// The item's id.
    #[must_use]
    pub fn id(&self) -> &ItemId {
        match self {
            Self::UserMessage { id, .. }
            | Self::AgentMessage { id, .. }
            | Self::Reasoning { id, .. }
            | Self::CommandExecution { id, .. }
            | Self::FileChange { id, .. }
            | Self::ToolCall { id, .. }
            | Self::WebSearch { id, .. }
            | Self::ImageGeneration { id, .. }
            | Self::ContextCompaction { id }
            | Self::Plan { id, .. }
            | Self::EnteredReviewMode { id, .. }
            | Self::ExitedReviewMode { id, .. } => id,
            Self::Other(item) => &item.id,
        }
    }

    /// The item's kind, the `type` of its JSON.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::UserMessage { .. } => "user_message",
            Self::AgentMessage { .. } => "agent_message",
            Self::Reasoning { .. } => "reasoning",
            Self::CommandExecution { .. } => "command_execution",
            Self::FileChange { .. } => "file_change",
            Self::ToolCall { .. } => "tool_call",
            Self::WebSearch { .. } => "web_search",
            Self::ImageGeneration { .. } => "image_generation",
            Self::ContextCompaction { .. } => "context_compaction",
            Self::Plan { .. } => "plan",
            Self::EnteredReviewMode { .. } => "entered_review_mode",
            Self::ExitedReviewMode { .. } => "exited_review_mode",
            Self::Other(item) => &item.kind,
        }
    }
}

/// An item with the turn that it belongs to, for pages of items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnItemEntry {
    /// The turn.
    pub turn_id: TurnId,
    /// The item.
    pub item: TurnItem,
}
