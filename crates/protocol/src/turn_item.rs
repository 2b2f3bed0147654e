//! The items of a turn, as a client shows them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ItemId, ItemPosition, Timestamp, TurnId};

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

/// Where the log tells of an item of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOrigin {
    /// An event tells of it. Events are written for clients.
    #[default]
    Event,
    /// No event tells of it: it is taken from an item of the model's input or output, or from a line of a kind that is not known.
    Model,
}

impl ItemOrigin {
    fn is_event(&self) -> bool {
        *self == Self::Event
    }
}

/// One item of a turn: a message, or one step of the agent.
///
/// It serializes as an object with its kind as `type` (`"user_message"`), the fields of its content, and those of this type
/// that are known; `origin` only if it is `"model"`. It looks the same for legacy and paginated logs.
///
/// An item is taken from an event of a legacy log, from a completed item of a paginated one, or, if neither tells of it, from
/// the model's own items: [`ItemOrigin`] says which.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnItem {
    /// What was said or done.
    #[serde(flatten)]
    pub content: ItemContent,
    /// The id of the item. A number if the log contains none.
    pub id: ItemId,
    /// Where the log tells of it.
    #[serde(skip_serializing_if = "ItemOrigin::is_event")]
    pub origin: ItemOrigin,
    /// The time at which the item began, if the log contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The time at which the item was complete, if the log contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

/// What was said or done in an item of a turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemContent {
    /// The user wrote a message.
    UserMessage {
        /// The text of the message.
        text: String,
        /// The images of the message. Each is a URL, a path, or an object that contains one.
        images: Vec<Value>,
        /// The other parts of the message without a text: files, sounds, mentions of skills. Each is an object, as the log contains it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Value>,
        /// The id that the client gave to the message.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// The agent wrote a message.
    AgentMessage {
        /// The text of the message.
        text: String,
        /// The phase of the answer to which the message belongs.
        phase: Option<String>,
        /// The memories that the agent used for the message, as the log contains them.
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_citation: Option<Value>,
    },
    /// The agent reasoned.
    Reasoning {
        /// The parts of the summary.
        summary: Vec<String>,
        /// The parts of the reasoning in full. Empty if the log does not contain it.
        content: Vec<String>,
    },
    /// The agent ran a command.
    CommandExecution {
        /// The command, quoted for a shell.
        command: String,
        /// The working directory.
        cwd: Option<String>,
        /// What the program understood of the command, as the log contains it: files that it reads, searches and so on.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        command_actions: Vec<Value>,
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
        /// The state of the change.
        status: ItemStatus,
        /// The changes as the log contains them: an object with a member for each path.
        changes: Value,
    },
    /// The agent called a tool.
    ToolCall {
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
        /// The search text.
        query: String,
        /// The action that was performed, as the log contains it.
        action: Option<Value>,
        /// The results, as the log contains them.
        #[serde(skip_serializing_if = "Option::is_none")]
        results: Option<Value>,
    },
    /// The agent generated an image.
    ImageGeneration {
        /// The outcome, as the log contains it.
        status: String,
        /// The prompt after the model revised it.
        revised_prompt: Option<String>,
        /// The path at which the image was saved.
        saved_path: Option<String>,
    },
    /// The context was compacted.
    ContextCompaction,
    /// The agent made a plan.
    Plan {
        /// The text of the plan.
        text: String,
    },
    /// A review began.
    EnteredReviewMode {
        /// A description of what is reviewed.
        review: String,
    },
    /// A review ended.
    ExitedReviewMode {
        /// The findings of the review.
        review: String,
    },
    /// Something was said in a voice conversation.
    Transcript {
        /// Who spoke: `user` or `assistant`.
        role: String,
        /// The words.
        text: String,
    },
    /// An agent wrote a message to another agent.
    InterAgentMessage {
        /// The agent that wrote the message.
        author: String,
        /// The agent that got it.
        recipient: String,
        /// The text of the message.
        text: String,
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
    /// The other fields of the item, without kind and id. [`Self::new`] says what becomes of fields with a name of a [`TurnItem`].
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl OtherTurnItem {
    /// Creates an item of this kind. A field whose name a [`TurnItem`] uses itself (`type`, `id`, `origin`, `started_at`,
    /// `completed_at`) would be twice in its JSON, so it is moved into an object `fields`.
    #[must_use]
    pub fn new(kind: impl Into<String>, mut fields: Map<String, Value>) -> Self {
        let taken = ["type", "id", "origin", "started_at", "completed_at"];
        let moved: Map<String, Value> = taken.iter().filter_map(|name| fields.remove_entry(*name)).collect();
        if !moved.is_empty() {
            match fields.get_mut("fields") {
                Some(Value::Object(inner)) => inner.extend(moved),
                _ => _ = fields.insert("fields".to_owned(), moved.into()),
            }
        }
        Self { kind: kind.into(), fields }
    }
}

impl TurnItem {
    /// Creates an item that an event tells of, without times.
    #[must_use]
    pub fn new(id: ItemId, content: ItemContent) -> Self {
        Self { content, id, origin: ItemOrigin::Event, started_at: None, completed_at: None }
    }

    /// Returns the kind of the item, which is the `type` of its JSON.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.content.kind()
    }
}

impl ItemContent {
    /// Returns the kind of the content, which is the `type` of its JSON.
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
            Self::ContextCompaction => "context_compaction",
            Self::Plan { .. } => "plan",
            Self::EnteredReviewMode { .. } => "entered_review_mode",
            Self::ExitedReviewMode { .. } => "exited_review_mode",
            Self::Transcript { .. } => "transcript",
            Self::InterAgentMessage { .. } => "inter_agent_message",
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
    /// Where it is among the items of the thread.
    #[serde(skip)]
    pub position: ItemPosition,
    /// The line with which it begins, as a position like those of [`Turn::lines`](crate::Turn::lines).
    #[serde(skip)]
    pub line: u64,
}
