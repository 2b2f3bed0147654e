//! The persistence policy: which items are written to the log.

use selvedge_protocol::{EventMsg, HistoryMode, ItemCompletedEvent, ResponseItem, ResponseItemKind, RolloutItem};

/// Returns whether an item is written to the log of a thread with this mode.
///
/// Only a live thread applies this policy, when it appends. A recorder and a store write every item that they get. Items of
/// kinds that this version does not know are written.
#[must_use]
pub fn is_persisted(item: &RolloutItem, mode: HistoryMode) -> bool {
    match item {
        RolloutItem::ResponseItem(item) => is_persisted_response(item),
        RolloutItem::EventMsg(event) => is_persisted_event(event, mode),
        _ => true,
    }
}

/// Returns whether a response item is written: all except those that are part of a single request only.
fn is_persisted_response(item: &ResponseItem) -> bool {
    !matches!(item.kind(), ResponseItemKind::AdditionalTools | ResponseItemKind::CompactionTrigger)
}

fn is_persisted_event(event: &EventMsg, mode: HistoryMode) -> bool {
    match event {
        // Each mode records a step once: paginated threads as a completed item, legacy threads as one of the events below. Plans
        // are the exception: they are completed items in both.
        EventMsg::ItemCompleted(event) => mode == HistoryMode::Paginated || is_plan(event),
        EventMsg::UserMessage(_)
        | EventMsg::AgentMessage(_)
        | EventMsg::AgentReasoning(_)
        | EventMsg::AgentReasoningRawContent(_)
        | EventMsg::EnteredReviewMode(_)
        | EventMsg::ExitedReviewMode(_)
        | EventMsg::PatchApplyEnd(_)
        | EventMsg::ContextCompacted(_)
        | EventMsg::McpToolCallEnd(_)
        | EventMsg::WebSearchEnd(_)
        | EventMsg::ImageGenerationEnd(_) => mode == HistoryMode::Legacy,
        EventMsg::Error(_) => false,
        EventMsg::Other(event) => !is_transient(event.kind()),
        _ => true,
    }
}

fn is_plan(event: &ItemCompletedEvent) -> bool {
    event.item.as_ref().is_some_and(|item| item.kind() == "Plan")
}

/// Returns whether an event is transient: an event that is written repeats its content as a whole, or no later reader needs it.
pub(crate) fn is_transient(kind: &str) -> bool {
    const SUFFIXES: [&str; 6] = ["_delta", "_begin", "_started", "_approval_request", "_update", "_warning"];
    const PREFIXES: [&str; 4] = ["mcp_startup_", "hook_", "realtime_conversation_", "undo_"];
    const KINDS: [&str; 26] = [
        "agent_reasoning_section_break",
        "background_event",
        "deprecation_notice",
        "dynamic_tool_call_request",
        "elicitation_request",
        "exec_command_end",
        "get_history_entry_response",
        "guardian_assessment",
        "list_custom_prompts_response",
        "list_skills_response",
        "mcp_list_tools_response",
        "model_reroute",
        "model_verification",
        "patch_apply_updated",
        "raw_response_item",
        "request_permissions",
        "request_user_input",
        "safety_buffering",
        "session_configured",
        "shutdown_complete",
        "skills_update_available",
        "stream_error",
        "stream_info",
        "terminal_interaction",
        "turn_diff",
        "warning",
    ];
    KINDS.contains(&kind)
        || SUFFIXES.iter().any(|suffix| kind.ends_with(suffix))
        || PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
}
