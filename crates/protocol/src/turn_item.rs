//! The items of a turn, as a client shows them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ItemId, TurnId};

/// The state of one step of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// The step is running, or the log contains no end of it.
    InProgress,
    /// The step succeeded.
    Completed,
    /// The step failed.
    Failed,
    /// The user did not allow the step.
    Declined,
}

/// One item of a turn: a message, or one step of the agent.
///
/// It serializes as an object with its kind as `type` (`"user_message"`). It is derived from events of a legacy log or
/// from the completed items of a paginated one, and looks the same in both cases.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TurnItem {
    /// The user wrote a message.
    UserMessage {
        /// The id of the item.
        id: ItemId,
        /// The text of the message.
        text: String,
        /// The images of the message. Each is a URL, a path, or an object that contains one.
        images: Vec<Value>,
    },
    /// The agent wrote a message.
    AgentMessage {
        /// The id of the item.
        id: ItemId,
        /// The text of the message.
        text: String,
        /// The phase of the answer to which the message belongs.
        phase: Option<String>,
    },
    /// The agent reasoned.
    Reasoning {
        /// The id of the item.
        id: ItemId,
        /// The parts of the summary.
        summary: Vec<String>,
        /// The parts of the reasoning in full. Empty if the log does not contain it.
        content: Vec<String>,
    },
    /// The agent ran a command.
    CommandExecution {
        /// The id of the item.
        id: ItemId,
        /// The command, quoted for a shell.
        command: String,
        /// The working directory.
        cwd: Option<String>,
        /// The state of the command.
        status: ItemStatus,
        /// The standard output and the standard error together.
        output: Option<String>,
        /// The exit code.
        exit_code: Option<i64>,
        /// The duration of the command, in milliseconds.
        duration_ms: Option<i64>,
    },
    /// The agent changed files.
    FileChange {
        /// The id of the item.
        id: ItemId,
        /// The state of the change.
        status: ItemStatus,
        /// The changes as the log contains them: an object with a member for each path.
        changes: Value,
    },
    /// The agent called a tool.
    ToolCall {
        /// The id of the item.
        id: ItemId,
        /// The server that offers the tool. `None` for a tool without a server.
        server: Option<String>,
        /// The name of the tool.
        tool: String,
        /// The arguments of the call.
        arguments: Value,
        /// The state of the call.
        status: ItemStatus,
        /// The answer of the tool.
        result: Option<Value>,
        /// The error, if the call failed.
        error: Option<Value>,
        /// The duration of the call, in milliseconds.
        duration_ms: Option<i64>,
    },
    /// The agent searched the web.
    WebSearch {
        /// The id of the item.
        id: ItemId,
        /// The search text.
        query: String,
        /// The action that was performed, as the log contains it.
        action: Option<Value>,
    },
    /// The agent generated an image.
    ImageGeneration {
        /// The id of the item.
        id: ItemId,
        /// The outcome, as the log contains it.
        status: String,
        /// The prompt after the model revised it.
        revised_prompt: Option<String>,
        /// The path at which the image was saved.
        saved_path: Option<String>,
    },
    /// The context was compacted.
    ContextCompaction {
        /// The id of the item.
        id: ItemId,
    },
    /// The agent made a plan.
    Plan {
        /// The id of the item.
        id: ItemId,
        /// The text of the plan.
        text: String,
    },
    /// A review began.
    EnteredReviewMode {
        /// The id of the item.
        id: ItemId,
        /// A description of what is reviewed.
        review: String,
    },
    /// A review ended.
    ExitedReviewMode {
        /// The id of the item.
        id: ItemId,
        /// The findings of the review.
        review: String,
    },
    /// An item of a kind without a variant here. It has no tag of its own, because it contains its `type`.
    #[serde(untagged)]
    Other(OtherTurnItem),
}

/// An item that is shown with the fields that the log contains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherTurnItem {
    /// The kind of the item, in snake case like all others (`sub_agent_activity`).
    #[serde(rename = "type")]
    pub kind: String,
    /// The id of the item.
    pub id: ItemId,
    /// The other fields of the item, without kind and id.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl TurnItem {
    /// Returns the id of the item.
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

    /// Returns the kind of the item, which is the `type` of its JSON.
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

/// An item with the turn to which it belongs. A page of items contains these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnItemEntry {
    /// The id of the turn.
    pub turn_id: TurnId,
    /// The item.
    pub item: TurnItem,
}
