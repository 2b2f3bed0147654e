//! Compactions: the model's history is replaced with a shorter one.

use serde_json::Value;

use crate::open_object::open_object;
use crate::{ContextWindow, DynamicToolsUpdated, ResponseItem, TokenUsageRecord, TurnId, WindowId};

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
        /// What the items of `replacement_history` had beside their payloads, item by item.
        replacement_history_metadata: Vec<Option<HistoryItemMetadata>>,
        /// The resources of MCP servers from which the items came.
        mcp_resource_origins: Value,
        /// What must survive compactions: answers and messages, as in [`RetainedContext`](crate::RetainedContext).
        retained_context: Value,
        /// The id of the response of the model that is the summary.
        compaction_response_id: String,
        /// The newest record of tokens before the compaction.
        latest_token_usage_record: TokenUsageRecord,
        /// What a program needs to resume the thread from this line on.
        resume_metadata: ResumeMetadata,
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

open_object! {
    /// What a program records beside an item of the model's history.
    pub struct HistoryItemMetadata {
        /// The number of the item in the history of the thread.
        history_sequence: u64,
        /// The number of the newest item that the model had seen when the item was made.
        sampled_through_sequence: u64,
        /// Whether the client made the item, and not the user or the program.
        client_authored: bool,
        /// The place of the item among the inputs of the user.
        user_input_order: u64,
        /// The message that the item is, as compactions retain it: its id, its revision, and whether it is complete.
        retained_source: Value,
        /// Which MCP servers the content of the item comes from.
        mcp_attribution: Value,
        /// Whether the model used its own search for the item.
        model_search_state: Value,
    }
}

open_object! {
    /// What a program needs to resume a thread from a compaction on, without the lines before it.
    pub struct ResumeMetadata {
        /// The tools that the client offers.
        dynamic_tools: DynamicToolsUpdated,
        /// The version of the rules by which agents work together.
        multi_agent_version: String,
        /// The newest turn that has begun.
        last_started_turn_id: TurnId,
        /// The turn that compacts, and what started it.
        turn_attribution: Value,
        /// The settings of the turn before.
        previous_turn_settings: Value,
        /// The number of the next item in the history of the thread.
        next_item_ordinal: u64,
        /// The earliest time of the next observation, in milliseconds since the beginning of 1970.
        observation_clock_floor_ms: i64,
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
