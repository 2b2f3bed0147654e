//! Events: what a program reported to its clients while the thread ran.
//!
//! A *legacy* log contains an event of its own for each thing that a client shows, such as `user_message` or
//! `patch_apply_end`. A *paginated* log has a single event for all of them, `item_completed`, which contains the whole
//! item. The events that begin and end turns are in both.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::lone_surrogates::readable;
use crate::open_item::kind_of;
use crate::open_object::open_object;
use crate::{CompletedItem, OpenItem, ThreadId, TokenUsageInfo, TurnId};

/// Declares [`EventMsg`]: each event with its payload type, the kind that is written, and the aliases that are also
/// read.
macro_rules! events {
    ($( $(#[$meta:meta])* $name:ident($ty:ident) = $text:literal $(| $alias:literal)* ),* $(,)?) => {
        /// Payload of an `event_msg` line, by its `type`.
        ///
        /// An event of a known kind has a typed view. That view keeps the fields that it does not name.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum EventMsg {
            $( $(#[$meta])* $name($ty), )*
            /// An event of which no rule needs a field, a kind that this version does not know, or a known kind of an
            /// unexpected shape. It is kept as it was read.
            Other(OpenItem),
        }

        impl EventMsg {
            /// Returns the kind of the event. An alias is returned as the usual name: `task_started` for
            /// `turn_started`.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$name(_) => $text, )*
                    Self::Other(item) => item.kind(),
                }
            }

            /// Creates the event with this JSON text. If an event of a known kind has an unexpected shape, it is
            /// [`EventMsg::Other`].
            ///
            /// U+FFFD replaces each lone surrogate escape
            /// ([`without_lone_surrogates`](crate::without_lone_surrogates)).
            #[must_use]
            pub fn from_json(json: Box<RawValue>) -> Self {
                let json = readable(json);
                let kind = kind_of(&json).unwrap_or_default();
                match kind.as_str() {
                    // Any object parses, because all fields of a view are optional. So this fails for other values
                    // only.
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
    // Turns, in both modes.
    /// A turn begins. Its alias is `turn_started`.
    TaskStarted(TaskStartedEvent) = "task_started" | "turn_started",
    /// A turn ends. Its alias is `turn_complete`.
    TaskComplete(TaskCompleteEvent) = "task_complete" | "turn_complete",
    /// A turn is interrupted.
    TurnAborted(TurnAbortedEvent) = "turn_aborted",

    // The state of the thread, in both modes.
    /// Tokens were counted.
    TokenCount(TokenCountEvent) = "token_count",
    /// The settings of the thread changed.
    ThreadSettingsApplied(ThreadSettingsAppliedEvent) = "thread_settings_applied",
    /// The goal of the thread changed.
    ThreadGoalUpdated(ThreadGoalUpdatedEvent) = "thread_goal_updated",
    /// An error occurred.
    Error(ErrorEvent) = "error",

    // What a client shows, in paginated mode.
    /// An item is complete. The event contains the whole item (paginated mode; in legacy mode only plans).
    ItemCompleted(ItemCompletedEvent) = "item_completed",

    // What a client shows, in legacy mode: one kind of event for each kind of item.
    /// The user wrote a message (legacy mode).
    UserMessage(UserMessageEvent) = "user_message",
    /// The agent wrote a message (legacy mode).
    AgentMessage(AgentMessageEvent) = "agent_message",
    /// The agent produced a summary of its reasoning (legacy mode).
    AgentReasoning(AgentReasoningEvent) = "agent_reasoning",
    /// The agent produced its reasoning in full (legacy mode).
    AgentReasoningRawContent(AgentReasoningRawContentEvent) = "agent_reasoning_raw_content",
    /// A tool call was answered by an MCP server (legacy mode).
    McpToolCallEnd(McpToolCallEndEvent) = "mcp_tool_call_end",
    /// Files were changed (legacy mode).
    PatchApplyEnd(PatchApplyEndEvent) = "patch_apply_end",
    /// A web search is complete (legacy mode).
    WebSearchEnd(WebSearchEndEvent) = "web_search_end",
    /// An image was generated (legacy mode).
    ImageGenerationEnd(ImageGenerationEndEvent) = "image_generation_end",
    /// A review begins (legacy mode).
    EnteredReviewMode(EnteredReviewModeEvent) = "entered_review_mode",
    /// A review ends (legacy mode).
    ExitedReviewMode(ExitedReviewModeEvent) = "exited_review_mode",
    /// The context was compacted (legacy mode).
    ContextCompacted(ContextCompactedEvent) = "context_compacted",

    // A rewind, in legacy mode. In paginated mode it is a new segment.
    /// A rollback: the newest turns no longer count (legacy mode).
    ThreadRolledBack(ThreadRolledBackEvent) = "thread_rolled_back",
}

impl<'de> Deserialize<'de> for EventMsg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_json(Box::<RawValue>::deserialize(deserializer)?))
    }
}

open_object! {
    /// Payload of a `task_started` event: a turn begins.
    pub struct TaskStartedEvent ("task_started") {
        /// The turn.
        turn_id: TurnId,
        /// The time at which the turn began, in seconds since 1970.
        started_at: i64,
        /// The size of the model's context window, in tokens.
        model_context_window: u64,
    }
}

open_object! {
    /// Payload of a `task_complete` event: a turn ends.
    pub struct TaskCompleteEvent ("task_complete") {
        /// The turn.
        turn_id: TurnId,
        /// The last message of the agent in the turn.
        last_agent_message: String,
        /// The time at which the turn began, in seconds since 1970.
        started_at: i64,
        /// The time at which the turn ended, in seconds since 1970.
        completed_at: i64,
        /// The duration of the turn, in milliseconds.
        duration_ms: i64,
        /// The error that ended the turn, if there was one.
        error: Value,
    }
}

open_object! {
    /// Payload of a `turn_aborted` event: a turn is interrupted.
    pub struct TurnAbortedEvent ("turn_aborted") {
        /// The turn. Old files do not contain it.
        turn_id: TurnId,
        /// The reason: `interrupted`, `replaced`, …
        reason: String,
        /// The time at which the turn began, in seconds since 1970.
        started_at: i64,
        /// The time at which the turn ended, in seconds since 1970.
        completed_at: i64,
        /// The duration of the turn, in milliseconds.
        duration_ms: i64,
    }
}

open_object! {
    /// Payload of a `user_message` event: the user wrote a message.
    pub struct UserMessageEvent ("user_message") {
        /// The text of the message.
        message: String,
        /// The images of the message, as URLs.
        images: Vec<Value>,
        /// The images of the message, as paths.
        local_images: Vec<Value>,
    }
}

open_object! {
    /// Payload of an `agent_message` event: the agent wrote a message.
    pub struct AgentMessageEvent ("agent_message") {
        /// The text of the message.
        message: String,
        /// The phase of the answer to which the message belongs.
        phase: String,
    }
}

open_object! {
    /// Payload of an `agent_reasoning` event: a summary of the agent's reasoning.
    pub struct AgentReasoningEvent ("agent_reasoning") {
        /// The text of the summary.
        text: String,
    }
}

open_object! {
    /// Payload of an `agent_reasoning_raw_content` event: the agent's reasoning in full.
    pub struct AgentReasoningRawContentEvent ("agent_reasoning_raw_content") {
        /// The text of the reasoning.
        text: String,
    }
}

open_object! {
    /// Payload of a `token_count` event: tokens were counted.
    pub struct TokenCountEvent ("token_count") {
        /// The counts. Missing if the event reports only rate limits.
        info: TokenUsageInfo,
    }
}

open_object! {
    /// Payload of a `thread_rolled_back` event: the newest turns no longer count.
    ///
    /// Their lines remain in the log. A reader of the history leaves them out.
    pub struct ThreadRolledBackEvent ("thread_rolled_back") {
        /// The number of user turns that no longer count: of turns that a message of the user or of another agent
        /// began. The `history` crate has the exact rule.
        num_turns: u64,
    }
}

open_object! {
    /// Payload of a `context_compacted` event: the context was compacted. It has no fields; a `compacted` line has the
    /// details.
    pub struct ContextCompactedEvent ("context_compacted") {}
}

open_object! {
    /// Payload of a `thread_settings_applied` event: the settings of the thread changed.
    pub struct ThreadSettingsAppliedEvent ("thread_settings_applied") {
        /// The settings after the change.
        thread_settings: ThreadSettings,
    }
}

open_object! {
    /// The settings of a thread.
    pub struct ThreadSettings {
        /// The model.
        model: String,
        /// The provider of the model.
        model_provider_id: String,
        /// The working directory.
        cwd: String,
        /// When the agent asks the user for approval.
        approval_policy: Value,
        /// What commands may access.
        permission_profile: Value,
        /// The reasoning effort. Some files call it `reasoning_effort`.
        effort: String ["reasoning_effort"],
        /// How the agent works with the user, as an object. Its `settings` contain model and effort again.
        collaboration_mode: Value,
    }
}

open_object! {
    /// Payload of a `thread_goal_updated` event: the goal of the thread changed.
    pub struct ThreadGoalUpdatedEvent ("thread_goal_updated") {
        /// The goal, as an object with an `objective`.
        goal: Value,
    }
}

open_object! {
    /// Payload of an `item_completed` event: an item of a turn is complete.
    pub struct ItemCompletedEvent ("item_completed") {
        /// The thread.
        thread_id: ThreadId,
        /// The turn to which the item belongs.
        turn_id: TurnId,
        /// The item.
        item: CompletedItem,
        /// The time at which the item began, in milliseconds since 1970.
        started_at_ms: i64,
        /// The time at which the item was complete, in milliseconds since 1970.
        completed_at_ms: i64,
    }
}

open_object! {
    /// Payload of an `entered_review_mode` event: a review begins.
    pub struct EnteredReviewModeEvent ("entered_review_mode") {
        /// A description of what is reviewed, for the user.
        user_facing_hint: String,
    }
}

open_object! {
    /// Payload of an `exited_review_mode` event: a review ends.
    pub struct ExitedReviewModeEvent ("exited_review_mode") {
        /// The findings of the review.
        review_output: Value,
    }
}

open_object! {
    /// Payload of an `mcp_tool_call_end` event: an MCP server answered a tool call.
    pub struct McpToolCallEndEvent ("mcp_tool_call_end") {
        /// The id of the call.
        call_id: String,
        /// The server, the tool and the arguments, as an object.
        invocation: Value,
        /// The duration of the call, as `{"secs": …, "nanos": …}`.
        duration: Value,
        /// The result, as `{"Ok": …}` or `{"Err": …}`.
        result: Value,
    }
}

open_object! {
    /// Payload of a `patch_apply_end` event: files were changed.
    pub struct PatchApplyEndEvent ("patch_apply_end") {
        /// The id of the call.
        call_id: String,
        /// The turn.
        turn_id: TurnId,
        /// Whether the patch was applied.
        success: bool,
        /// The outcome, in newer files.
        status: String,
        /// The changes, as an object with a member for each path.
        changes: Value,
        /// The standard output of the patch program.
        stdout: String,
        /// The standard error of the patch program.
        stderr: String,
    }
}

open_object! {
    /// Payload of a `web_search_end` event: a web search is complete.
    pub struct WebSearchEndEvent ("web_search_end") {
        /// The id of the call.
        call_id: String,
        /// The search text.
        query: String,
        /// The action that was performed, as an object.
        action: Value,
    }
}

open_object! {
    /// Payload of an `image_generation_end` event: an image was generated.
    pub struct ImageGenerationEndEvent ("image_generation_end") {
        /// The id of the call.
        call_id: String,
        /// The outcome.
        status: String,
        /// The prompt after the model revised it.
        revised_prompt: String,
        /// The path at which the image was saved.
        saved_path: String,
    }
}

open_object! {
    /// Payload of an `error` event: an error occurred.
    pub struct ErrorEvent ("error") {
        /// The error message.
        message: String,
    }
}
