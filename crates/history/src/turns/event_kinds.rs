//! Which kinds of events and items matter for turns.

use selvedge_protocol::EventMsg;
use serde_json::Value;

use crate::persistence_policy::is_transient;
use crate::turn_events::is_turn_start;
use crate::turn_item;

/// Returns whether an event of this kind can change turns. The payloads of other events are not parsed.
pub(super) fn can_change_turns(kind: &str) -> bool {
    is_turn_start(kind)
        || turn_item::is_step(kind)
        || kind == "error"
        || kind == "item_started"
        || !is_silent_event(kind)
}

/// Returns whether events of this kind contain nothing that was said or done: counts, settings, and what only concerns a client
/// that is connected.
fn is_silent_event(kind: &str) -> bool {
    matches!(kind, "token_count" | "thread_settings_applied" | "thread_goal_updated" | "thread_name_updated" | "")
        || is_transient(kind)
}

/// Returns whether lines of this kind contain nothing that was said or done.
pub(super) fn is_silent_line(kind: &str) -> bool {
    matches!(
        kind,
        "turn_context"
            | "world_state"
            | "thread_metadata"
            | "token_usage_record"
            | "dynamic_tools_updated"
            | "security_risk_score"
            | "inter_agent_communication_metadata"
    )
}

/// Returns whether an event shows a message of the user, in either history mode.
pub(super) fn shows_user_message(event: &EventMsg) -> bool {
    match event {
        EventMsg::UserMessage(_) => true,
        EventMsg::ItemCompleted(event) => event.item.as_ref().is_some_and(|item| item.kind() == "UserMessage"),
        _ => false,
    }
}

/// Returns whether an event begins an item that is shown only when it is completed, so that the event shows nothing.
pub(super) fn is_silent_start(event: &EventMsg) -> bool {
    let EventMsg::Other(event) = event else { return false };
    let kind = || {
        let fields: Value = serde_json::from_str(event.json().get()).unwrap_or_default();
        fields["item"]["type"].as_str().is_some_and(is_shown_when_completed)
    };
    event.kind() == "item_started" && kind()
}

/// Returns whether an error with this `codex_error_info` fails its turn. The two exceptions only refuse a request that came
/// while the turn was running.
pub(super) fn fails_turn(info: &Value) -> bool {
    let name = info.as_str().or_else(|| info.as_object()?.keys().next().map(String::as_str));
    !matches!(name, Some("thread_rollback_failed" | "active_turn_not_steerable"))
}

/// Returns whether a legacy thread has an event of its own for items of this kind. A completed item would repeat it there.
pub(super) fn has_legacy_event(kind: &str) -> bool {
    matches!(
        kind,
        "UserMessage"
            | "AgentMessage"
            | "Reasoning"
            | "ContextCompaction"
            | "FileChange"
            | "McpToolCall"
            | "WebSearch"
            | "ImageGeneration"
            | "EnteredReviewMode"
            | "ExitedReviewMode"
    )
}

/// Returns whether an item of this kind is shown only when it is completed.
pub(super) fn is_shown_when_completed(kind: &str) -> bool {
    matches!(kind, "UserMessage" | "AgentMessage" | "Reasoning" | "Plan" | "ContextCompaction" | "HookPrompt")
}
