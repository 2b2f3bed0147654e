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

/// Returns a text of role `user` without the context fragments at its beginning.
///
/// New programs write fragments that this version does not know. So a block in a tag with an underscore in its name counts as one,
/// as no markup language has such tags, unless the text contains nothing else.
pub(crate) fn without_leading_fragments(text: &str) -> &str {
    let mut rest = text.trim();
    while is_user_fragment(rest) {
        let Some(after) = after_fragment(rest) else { return "" };
        rest = after.trim_start();
    }
    let mut typed = rest;
    while begins_with_unknown_tag(typed) {
        match after_fragment(typed).map(str::trim_start) {
            Some(after) if !after.is_empty() => typed = after,
            _ => return rest,
        }
    }
    typed
}

fn begins_with_unknown_tag(text: &str) -> bool {
    let name = text.strip_prefix('<').and_then(|text| text.split_once('>')).map(|(tag, _)| tag);
    name.is_some_and(|name| {
        name.contains('_')
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Returns what follows the fragment at the beginning of a text. `None` if the fragment does not end.
fn after_fragment(text: &str) -> Option<&str> {
    const INSTRUCTIONS: &str = "</INSTRUCTIONS>";
    if text.starts_with('#') {
        return text.split_once(INSTRUCTIONS).map(|(_, after)| after);
    }
    // `<hook_prompt hook_run_id="…">` ends with `</hook_prompt>`.
    let name_end = text.find(|c: char| c == '>' || c.is_ascii_whitespace())?;
    let end = format!("</{}>", &text[1..name_end]);
    let start = text.find(&end)?;
    Some(&text[start + end.len()..])
}

fn begins_with_any(text: &str, markers: &[&str]) -> bool {
    markers.iter().any(|marker| begins_with(text.trim_start(), marker))
}

/// Returns whether a text begins with a marker, without regard to case.
pub(crate) fn begins_with(text: &str, marker: &str) -> bool {
    text.as_bytes().get(..marker.len()).is_some_and(|head| head.eq_ignore_ascii_case(marker.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_words_of_the_user_is_left_out() {
        let cases = [
            ("question", "question"),
            ("<recommended_plugins>\n- foo\n</recommended_plugins>\n\nquestion", "question"),
            ("# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nBe brief.\n</INSTRUCTIONS>", ""),
            (
                "# AGENTS.md instructions\n\n<INSTRUCTIONS>\na\n</INSTRUCTIONS>\n<environment_context>\nb\n</environment_context>\nq",
                "q",
            ),
            ("<hook_prompt hook_run_id=\"1\">stop</hook_prompt>", ""),
            ("<environment_context>\nnever ends", ""),
            ("<of_tomorrow>\nx\n</of_tomorrow>\nquestion", "question"),
            ("<of_tomorrow>\nx\n</of_tomorrow>", "<of_tomorrow>\nx\n</of_tomorrow>"),
            ("<of_tomorrow> never ends", "<of_tomorrow> never ends"),
            ("<div> is not centred, why?", "<div> is not centred, why?"),
            ("<div></div> why?", "<div></div> why?"),
            ("# AGENTS.md is too long, please shorten it", "# AGENTS.md is too long, please shorten it"),
            ("", ""),
        ];
        for (text, typed) in cases {
            assert_eq!(without_leading_fragments(text), typed, "{text}");
        }
    }
}
