//! Who is speaking: the user, or the program in the user's name.
//!
//! Programs tell the model about its surroundings in messages of role `user` and `developer`. Such a *context fragment*
//! is known by the marker that its text begins with. This is the one list of them.

use selvedge_protocol::{ResponseItem, ResponseItemKind};

/// What the fragment begins with that [`TokenBudget`](crate::TokenBudget) is.
pub(crate) const TOKEN_BUDGET: &str = "<token_budget>";

/// What context fragments of role `user` begin with.
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

/// What context fragments of role `developer` begin with.
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

/// Whether `text`, from a message of role `user`, was put there by the program.
#[must_use]
pub fn is_user_fragment(text: &str) -> bool {
    begins_with_any(text, &USER_MARKERS)
}

/// Whether `text`, from a message of role `developer`, tells the model about its surroundings.
#[must_use]
pub fn is_developer_fragment(text: &str) -> bool {
    begins_with_any(text, &DEVELOPER_MARKERS)
}

/// Whether an item is a message of the user: of role `user` and no part of it a context fragment, or a message from
/// another agent, which stands where a user's would.
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

/// Whether an item tells the model about its surroundings instead of carrying the conversation on.
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

/// Whether a text begins with a marker, in any case.
pub(crate) fn begins_with(text: &str, marker: &str) -> bool {
    text.as_bytes().get(..marker.len()).is_some_and(|head| head.eq_ignore_ascii_case(marker.as_bytes()))
}
