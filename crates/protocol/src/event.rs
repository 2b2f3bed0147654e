//! Events: what a client was told while the thread ran.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::open::{kind_of, open_object};
use crate::{OpenItem, TurnId};

macro_rules! events {
    ($( $(#[$meta:meta])* $name:ident($ty:ident) = $text:literal $(| $alias:literal)* ),* $(,)?) => {
        /// Payload of an `event_msg` line, by its `type`.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum EventMsg {
            $( $(#[$meta])* $name($ty), )*
            /// An event that no rule here needs a field of, or a kind that this version does not know; kept whole.
            Other(OpenItem),
        }

        impl EventMsg {
            /// The event's kind, as this project spells it.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$name(_) => $text, )*
                    Self::Other(item) => item.kind(),
                }
            }

            /// The event with this JSON text. A known kind of a wrong shape is [`EventMsg::Other`].
            #[must_use]
            pub fn from_json(json: Box<RawValue>) -> Self {
                let kind = kind_of(&json).unwrap_or_default();
                match kind.as_str() {
                    $( $text $(| $alias)* => match serde_json::from_str(json.get()) {
                        Ok(event) => Self::$name(event),
                        Err(_) => Self::Other(OpenItem::new(kind, json)),
                    }, )*
                    _ => Self::Other(OpenItem::new(kind, json)),
                }
            }
        }

        impl Serialize for EventMsg {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$name(event) => event.serialize(serializer), )*
                    Self::Other(item) => item.serialize(serializer),
                }
            }
        }

        $( impl From<$ty> for EventMsg {
            fn from(event: $ty) -> Self {
                Self::$name(event)
            }
        } )*
    };
}

events! {
    /// A turn begins.
    TaskStarted(TaskStartedEvent) = "task_started" | "turn_started",
    /// A turn is done.
    TaskComplete(TaskCompleteEvent) = "task_complete" | "turn_complete",
    /// A turn was broken off.
    TurnAborted(TurnAbortedEvent) = "turn_aborted",
    /// The user said something (legacy mode).
    UserMessage(UserMessageEvent) = "user_message",
    /// The agent said something (legacy mode).
    AgentMessage(AgentMessageEvent) = "agent_message",
    /// A summary of the agent's reasoning (legacy mode).
    AgentReasoning(AgentReasoningEvent) = "agent_reasoning",
    /// The agent's reasoning itself (legacy mode).
    AgentReasoningRawContent(AgentReasoningRawContentEvent) = "agent_reasoning_raw_content",
    /// Tokens were counted.
    TokenCount(TokenCountEvent) = "token_count",
    /// The newest turns were undone (legacy mode).
    ThreadRolledBack(ThreadRolledBackEvent) = "thread_rolled_back",
    /// The context was compacted (legacy mode).
    ContextCompacted(ContextCompactedEvent) = "context_compacted",
    /// The thread's settings were changed.
    ThreadSettingsApplied(ThreadSettingsAppliedEvent) = "thread_settings_applied",
    /// The thread's goal was changed.
    ThreadGoalUpdated(ThreadGoalUpdatedEvent) = "thread_goal_updated",
    /// An item is done: the whole of it (paginated mode; in legacy mode plans only).
    ItemCompleted(ItemCompletedEvent) = "item_completed",
    /// A review begins (legacy mode).
    EnteredReviewMode(EnteredReviewModeEvent) = "entered_review_mode",
    /// A review ends (legacy mode).
    ExitedReviewMode(ExitedReviewModeEvent) = "exited_review_mode",
    /// A tool of an MCP server answered (legacy mode).
    McpToolCallEnd(McpToolCallEndEvent) = "mcp_tool_call_end",
    /// Files were changed (legacy mode).
    PatchApplyEnd(PatchApplyEndEvent) = "patch_apply_end",
    /// A web search is done (legacy mode).
    WebSearchEnd(WebSearchEndEvent) = "web_search_end",
    /// An image was made (legacy mode).
    ImageGenerationEnd(ImageGenerationEndEvent) = "image_generation_end",
    /// Something went wrong.
    Error(ErrorEvent) = "error",
}

impl<'de> Deserialize<'de> for EventMsg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_json(Box::<RawValue>::deserialize(deserializer)?))
    }
}

open_object! {
    /// A turn begins.
    pub struct TaskStartedEvent ("task_started") {
        /// The turn.
        turn_id: TurnId,
        /// When, in seconds since 1970.
        started_at: i64,
        /// Size of the model's context window, in tokens.
        model_context_window: u64,
    }
}

open_object! {
    /// A turn is done.
    pub struct TaskCompleteEvent ("task_complete") {
        /// The turn.
        turn_id: TurnId,
        /// The agent's last words.
        last_agent_message: String,
        /// When the turn began, in seconds since 1970.
        started_at: i64,
        /// When it ended, in seconds since 1970.
        completed_at: i64,
        /// How long it took, in milliseconds.
        duration_ms: i64,
        /// What made it fail, if it failed.
        error: Value,
    }
}

open_object! {
    /// A turn was broken off.
    pub struct TurnAbortedEvent ("turn_aborted") {
        /// The turn; missing in old files.
        turn_id: TurnId,
        /// Why: `interrupted`, `replaced`, …
        reason: String,
        /// When the turn began, in seconds since 1970.
        started_at: i64,
        /// When it ended, in seconds since 1970.
        completed_at: i64,
        /// How long it took, in milliseconds.
        duration_ms: i64,
    }
}

open_object! {
    /// The user said something.
    pub struct UserMessageEvent ("user_message") {
        /// What.
        message: String,
        /// Images, as URLs.
        images: Vec<Value>,
        /// Images, as paths.
        local_images: Vec<Value>,
    }
}

open_object! {
    /// The agent said something.
    pub struct AgentMessageEvent ("agent_message") {
        /// What.
        message: String,
        /// In which phase of its answer.
        phase: String,
    }
}

open_object! {
    /// A summary of the agent's reasoning.
    pub struct AgentReasoningEvent ("agent_reasoning") {
        /// The summary.
        text: String,
    }
}

open_object! {
    /// The agent's reasoning itself.
    pub struct AgentReasoningRawContentEvent ("agent_reasoning_raw_content") {
        /// The reasoning.
        text: String,
    }
}

open_object! {
    /// Tokens were counted.
    pub struct TokenCountEvent ("token_count") {
        /// The counts; missing when only rate limits are told.
        info: TokenUsageInfo,
    }
}

open_object! {
    /// Counts of tokens: of the thread and of its last request.
    pub struct TokenUsageInfo {
        /// The whole thread so far.
        total_token_usage: TokenUsage,
        /// The last request.
        last_token_usage: TokenUsage,
        /// Size of the model's context window, in tokens.
        model_context_window: u64,
    }
}

open_object! {
    /// A count of tokens.
    pub struct TokenUsage {
        /// Tokens that the model read.
        input_tokens: u64,
        /// Of these, tokens that came from a cache.
        cached_input_tokens: u64,
        /// Tokens that the model wrote.
        output_tokens: u64,
        /// Of these, tokens of reasoning.
        reasoning_output_tokens: u64,
        /// Read and written.
        total_tokens: u64,
    }
}

open_object! {
    /// The newest turns were undone.
    pub struct ThreadRolledBackEvent ("thread_rolled_back") {
        /// How many user turns.
        num_turns: u64,
    }
}

open_object! {
    /// The context was compacted.
    pub struct ContextCompactedEvent ("context_compacted") {}
}

open_object! {
    /// The thread's settings were changed.
    pub struct ThreadSettingsAppliedEvent ("thread_settings_applied") {
        /// What they are now.
        thread_settings: ThreadSettings,
    }
}

open_object! {
    /// Settings of a thread.
    pub struct ThreadSettings {
        /// Model.
        model: String,
        /// Provider of the model.
        model_provider_id: String,
        /// Working directory.
        cwd: String,
        /// When to ask for approval.
        approval_policy: Value,
        /// What commands may touch.
        permission_profile: Value,
        /// Reasoning effort.
        effort: String ["reasoning_effort"],
        /// How the agent works with the user; its `settings` name model and effort again.
        collaboration_mode: Value,
    }
}

open_object! {
    /// The thread's goal was changed.
    pub struct ThreadGoalUpdatedEvent ("thread_goal_updated") {
        /// The goal: an object with its `objective`.
        goal: Value,
    }
}

open_object! {
    /// An item is done.
    pub struct ItemCompletedEvent ("item_completed") {
        /// The turn that it belongs to.
        turn_id: TurnId,
        /// The item.
        item: CompletedItem,
        /// When it began, in milliseconds since 1970.
        started_at_ms: i64,
        /// When it was done, in milliseconds since 1970.
        completed_at_ms: i64,
    }
}

open_object! {
    /// A review begins.
    pub struct EnteredReviewModeEvent ("entered_review_mode") {
        /// What is reviewed, in words.
        user_facing_hint: String,
    }
}

open_object! {
    /// A review ends.
    pub struct ExitedReviewModeEvent ("exited_review_mode") {
        /// What it found.
        review_output: Value,
    }
}

open_object! {
    /// A tool of an MCP server answered.
    pub struct McpToolCallEndEvent ("mcp_tool_call_end") {
        /// The call.
        call_id: String,
        /// Server, tool and arguments.
        invocation: Value,
        /// How long it took.
        duration: Value,
        /// `{"Ok": …}` or `{"Err": …}`.
        result: Value,
    }
}

open_object! {
    /// Files were changed.
    pub struct PatchApplyEndEvent ("patch_apply_end") {
        /// The call.
        call_id: String,
        /// The turn.
        turn_id: TurnId,
        /// Whether it went well.
        success: bool,
        /// How it ended, in newer files.
        status: String,
        /// The changes by path.
        changes: Value,
        /// What the patch program said.
        stdout: String,
        /// What it complained about.
        stderr: String,
    }
}

open_object! {
    /// A web search is done.
    pub struct WebSearchEndEvent ("web_search_end") {
        /// The call.
        call_id: String,
        /// What was searched for.
        query: String,
        /// What was done.
        action: Value,
    }
}

open_object! {
    /// An image was made.
    pub struct ImageGenerationEndEvent ("image_generation_end") {
        /// The call.
        call_id: String,
        /// How it ended.
        status: String,
        /// The prompt as the model rewrote it.
        revised_prompt: String,
        /// Where the image was saved.
        saved_path: String,
    }
}

open_object! {
    /// Something went wrong.
    pub struct ErrorEvent ("error") {
        /// What.
        message: String,
    }
}

/// The item of an [`ItemCompletedEvent`]: its kind (`UserMessage`, `CommandExecution`, …) and its JSON text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct CompletedItem(OpenItem);

impl CompletedItem {
    /// The item that `value` describes; nothing when it is no object.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::from_json(serde_json::value::to_raw_value(value).ok()?)
    }

    fn from_json(json: Box<RawValue>) -> Option<Self> {
        json.get().starts_with('{').then(|| Self(OpenItem::new(kind_of(&json).unwrap_or_default(), json)))
    }

    /// The item's kind, as the log spells it.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.kind()
    }

    /// The item's JSON text.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        self.0.json()
    }
}

impl<'de> Deserialize<'de> for CompletedItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(json).ok_or_else(|| serde::de::Error::custom("a completed item is a JSON object"))
    }
}
