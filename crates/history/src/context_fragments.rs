//! Recognizes context fragments: messages of role `user` or `developer` that the program wrote, and not the user.
//!
//! Programs describe the environment to the model in such messages. The marker at the beginning of the text identifies them. No
//! other file lists the markers.

use selvedge_protocol::{ResponseItem, ResponseItemKind};

/// Marker of the fragment that [`TokenBudget`](crate::TokenBudget) reads and writes.
pub(crate) const TOKEN_BUDGET: &str = "<token_budget>";

/// Markers of context fragments of role `user`.
const USER_MARKERS: [&str; 12] = [
    "<environment_context>",
    "# AGENTS.md instructions",
    "<user_instructions>",
    "<turn_aborted>",
    "<user_shell_command>",
    "<skill>",
    "<subagent_notification>",
    "<recommended_plugins>",
    "<hook_prompt",
    "<goal_context>",
    "<codex_internal_context",
    "<user_action>",
];

/// Markers of context fragments of role `developer`.
const DEVELOPER_MARKERS: [&str; 10] = [
    "<permissions instructions>",
    "<collaboration_mode>",
    "<skills_instructions>",
    "<apps_instructions>",
    "<plugins_instructions>",
    "<model_switch>",
    "<personality_spec>",
    "<realtime_conversation>",
    TOKEN_BUDGET,
    "<environment_context>",
];

/// Returns whether `text`, from a message of role `user`, is a context fragment.
#[must_use]
pub fn is_user_fragment(text: &str) -> bool {
    begins_with_any(text, &USER_MARKERS)
}

/// Returns whether `text`, from a message of role `developer`, is a context fragment.
#[must_use]
pub fn is_developer_fragment(text: &str) -> bool {
    begins_with_any(text, &DEVELOPER_MARKERS)
}

/// Returns whether an item is a message of the user: of role `user`, without a context fragment among its parts. A message of
/// another agent counts as one: it has the same function in a conversation.
#[must_use]
pub fn is_user_message(item: &ResponseItem) -> bool {
    match item.kind() {
        ResponseItemKind::AgentMessage => true,
        ResponseItemKind::Message => {
            item.role().as_deref() == Some("user") && !item.texts().iter().any(|text| is_user_fragment(text))
        }
        _ => false,
    }
}

/// Returns whether an item is a context fragment.
#[must_use]
pub fn is_context_fragment(item: &ResponseItem) -> bool {
    if *item.kind() != ResponseItemKind::Message {
        return false;
    }
    match item.role().as_deref() {
        Some("user") => item.texts().iter().any(|text| is_user_fragment(text)),
        Some("developer") => item.texts().iter().any(|text| is_developer_fragment(text)),
        _ => false,
    }
}

fn begins_with_any(text: &str, markers: &[&str]) -> bool {
    markers.iter().any(|marker| begins_with(text.trim_start(), marker))
}

/// Returns whether a text begins with a marker, without regard to case.
pub(crate) fn begins_with(text: &str, marker: &str) -> bool {
    text.as_bytes().get(..marker.len()).is_some_and(|head| head.eq_ignore_ascii_case(marker.as_bytes()))
}
