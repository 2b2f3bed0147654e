//! The persistence policy: which items are written to the log.

use selvedge_history::is_persisted;
use selvedge_protocol::HistoryMode::{Legacy, Paginated};
use serde_json::json;

use crate::story::{completed_item, event, item};

#[test]
fn every_kind_of_line_is_written() {
    for kind in ["session_meta", "turn_context", "compacted", "world_state", "thread_metadata"] {
        let kept = item(json!({"type": kind, "payload": {}}));
        assert!(is_persisted(&kept, Legacy) && is_persisted(&kept, Paginated), "{kind}");
    }
    for kind in [
        "inter_agent_communication",
        "inter_agent_communication_metadata",
        "dynamic_tools_updated",
        "token_usage_record",
        "retained_context",
        "realtime_item",
        "security_risk_score",
        "brand_new_kind",
    ] {
        let kept = item(json!({"type": kind, "payload": {"a": 1}}));
        assert!(is_persisted(&kept, Legacy) && is_persisted(&kept, Paginated), "{kind}");
    }
}

#[test]
fn response_items_are_written_except_those_of_a_single_request() {
    let kept = [
        "message",
        "agent_message",
        "reasoning",
        "local_shell_call",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
        "image_generation_call",
        "compaction",
        "context_compaction",
        "configuration_update",
        "brand_new_kind",
    ];
    let dropped = ["additional_tools", "compaction_trigger"];
    for (kinds, expected) in [(&kept[..], true), (&dropped[..], false)] {
        for kind in kinds {
            let response = item(json!({"type": "response_item", "payload": {"type": kind}}));
            assert_eq!(is_persisted(&response, Legacy), expected, "{kind}");
            assert_eq!(is_persisted(&response, Paginated), expected, "{kind}");
        }
    }
}

#[test]
fn events_are_written_depending_on_the_mode() {
    let both = [
        "task_started",
        "turn_started",
        "task_complete",
        "turn_complete",
        "turn_aborted",
        "token_count",
        "thread_rolled_back",
        "thread_goal_updated",
        "thread_settings_applied",
        "brand_new_event",
    ];
    let legacy = [
        "user_message",
        "agent_message",
        "agent_reasoning",
        "agent_reasoning_raw_content",
        "entered_review_mode",
        "exited_review_mode",
        "patch_apply_end",
        "context_compacted",
        "mcp_tool_call_end",
        "web_search_end",
        "image_generation_end",
    ];
    let neither = [
        "agent_message_delta",
        "agent_message_content_delta",
        "agent_reasoning_delta",
        "plan_delta",
        "exec_command_begin",
        "exec_command_output_delta",
        "exec_command_end",
        "mcp_tool_call_begin",
        "web_search_begin",
        "patch_apply_begin",
        "exec_approval_request",
        "apply_patch_approval_request",
        "request_user_input",
        "warning",
        "guardian_warning",
        "error",
        "stream_error",
        "mcp_startup_update",
        "mcp_startup_complete",
        "hook_started",
        "hook_completed",
        "background_event",
        "realtime_conversation_started",
        "plan_update",
        "turn_diff",
        "shutdown_complete",
        "item_started",
    ];
    for (kinds, in_legacy, in_paginated) in
        [(&both[..], true, true), (&legacy[..], true, false), (&neither[..], false, false)]
    {
        for kind in kinds {
            let event = event(json!({"type": kind}));
            assert_eq!(is_persisted(&event, Legacy), in_legacy, "{kind}");
            assert_eq!(is_persisted(&event, Paginated), in_paginated, "{kind}");
        }
    }
}

#[test]
fn completed_items_are_written_in_paginated_threads_and_plans_in_all() {
    let plan = completed_item("t", json!({"type": "Plan", "id": "p"}));
    let message = completed_item("t", json!({"type": "AgentMessage", "id": "m"}));
    assert!(is_persisted(&plan, Legacy) && is_persisted(&plan, Paginated));
    assert!(!is_persisted(&message, Legacy) && is_persisted(&message, Paginated));
}
