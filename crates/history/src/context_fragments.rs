//! Recognizes context fragments: messages of role `user` or `developer` that the program wrote, and not the user.
//!
//! Programs describe the environment to the model in such messages. Their texts identify them. No other file lists the markers.
//!
//! # Where the rules come from
//!
//! Codex 0.169.0 and 0.171.0 were given threads that contain a message with each tag that occurs in the text of seven releases,
//! before or after the newest prompt, and then a rollback of one turn. What the model got next shows which of them the
//! program takes for fragments:
//!
//! - A rollback does not count a fragment of role `user`, and removes fragments of both roles just before its cut.
//! - In role `user`, the end of the text matters as much as its beginning. In role `developer`, only the beginning matters.
//! - Not fragments in any role, although the programs contain these tags: `<context_window_reminder>`, `<model_catalog>`,
//!   `<startup_context>`, `<side_conversation>`, `<image_resize_notice>`, `<user_verification_notice>`, `<codex_delegation>`,
//!   `<realtime_delegation>`, `<user_instructions>`, `<user_action>`; and `<environment_context>` in role `developer`.
//!
//! `cargo xtask interop` repeats the experiment for each marker (`docs/interop.md`, "markers of context fragments").

use selvedge_protocol::{ResponseItem, ResponseItemKind};

/// Tags of fragments of role `user`: the text begins with the tag and ends with its end tag, in any case.
///
/// The comments name the releases whose text contains the tag, of 0.141.0, 0.142.2, 0.144.6, 0.169.0 and 0.171.0. Codex 0.169.0
/// and 0.171.0 treat each of them as a fragment, whether they still write it or not.
const USER_TAGS: [&str; 8] = [
    "environment_context",              // 0.141.0 to 0.171.0; recorded from 0.20 on
    "skill",                            // 0.141.0 to 0.171.0
    "turn_aborted",                     // 0.141.0 to 0.171.0; recorded
    "user_shell_command",               // 0.141.0 to 0.171.0
    "subagent_notification",            // 0.141.0 to 0.171.0
    "recommended_plugins",              // 0.142.2 to 0.171.0
    "goal_context",                     // in none of them
    "agent_message_board_notification", // 0.169.0, 0.171.0
];

/// Beginning and end of the fragment with the instructions of a directory. Recorded from 0.58 on.
const DIRECTORY_INSTRUCTIONS: (&str, &str) = ("# AGENTS.md instructions", "</INSTRUCTIONS>");

/// Beginnings of warnings to the model, in role `user`. No release from 0.141.0 on contains their words, but 0.144.6 to 0.171.0
/// treat them as fragments.
const WARNINGS: [&str; 2] = [
    "Warning: The maximum number of unified exec processes you can keep open is",
    "Warning: Your account was flagged for potentially high-risk cyber activity",
];

/// A warning that is a fragment only as a whole.
const PATCH_WARNING: &str =
    "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead of exec_command.";

/// Tag of the fragment in which a program repeats what a hook asks for. It has the attribute [`HOOK_RUN`].
const HOOK_PROMPT: &str = "hook_prompt";
const HOOK_RUN: &str = "hook_run_id=";

/// Markers of the two forms of [`TokenBudget`](crate::TokenBudget).
pub(crate) const TOKEN_BUDGET: &str = "<token_budget>";
pub(crate) const CONTEXT_WINDOW: &str = "<context_window>";

/// Beginnings of fragments of role `developer`, in any case. The comments are as for [`USER_TAGS`].
const DEVELOPER_MARKERS: [&str; 21] = [
    "<permissions instructions>",       // 0.141.0 to 0.171.0; recorded
    "<collaboration_mode>",             // 0.141.0 to 0.171.0
    "<skills_instructions>",            // 0.141.0 to 0.171.0; recorded
    "<apps_instructions>",              // 0.141.0 to 0.171.0
    "<catalog_apps_instructions>",      // 0.171.0, and only 0.171.0 treats it as a fragment
    "<plugins_instructions>",           // 0.141.0 to 0.171.0
    "<model_switch>",                   // 0.141.0 to 0.171.0
    "<personality_spec>",               // 0.141.0 to 0.171.0
    "<realtime_conversation>",          // 0.141.0 to 0.171.0
    TOKEN_BUDGET,                       // 0.141.0 to 0.171.0; recorded in 0.141.0
    CONTEXT_WINDOW,                     // 0.142.2 to 0.171.0; recorded
    "<context_window_guidance>",        // 0.144.6 to 0.171.0
    "<rollout_budget>",                 // 0.142.2 to 0.171.0
    "<multi_agent_mode>",               // 0.142.2 to 0.171.0
    "<multi_agent_role>",               // 0.169.0, 0.171.0
    "<managed_developer_instructions>", // 0.169.0, 0.171.0
    "<git_attribution>",                // 0.169.0, 0.171.0
    "<persistent_mode>",                // 0.169.0, 0.171.0
    "<environments_instructions>",      // 0.169.0, 0.171.0
    "<tools>",                          // 0.169.0, 0.171.0
    "Approved command prefix saved:",   // 0.155.1 to 0.171.0, by behaviour
];

/// Tags of what the program writes in role `user` without taking it for a fragment: a rollback counts it like a message of the
/// user, but nobody typed it.
const PROGRAM_TAGS: [&str; 2] = [
    "user_instructions", // 0.36.0, 0.39.0
    "user_action",       // 0.39.0 to 0.171.0
];

/// Beginning of the text of a summary that the program wrote, and the minimum length of its first line in bytes. Codex 0.169.0
/// compares the whole line, which has 399 bytes.
const SUMMARY_BEGIN: &str = "Another language model started to solve this problem";
const MIN_SUMMARY_LINE: usize = 200;

/// Returns whether `text`, from a message of role `user`, is a context fragment.
#[must_use]
pub fn is_user_fragment(text: &str) -> bool {
    let text = text.trim();
    USER_TAGS.iter().any(|tag| is_tagged(text, tag))
        || is_between(text, DIRECTORY_INSTRUCTIONS)
        || WARNINGS.iter().any(|warning| text.starts_with(warning))
        || text == PATCH_WARNING
        || is_hook_prompt(text)
        || is_internal_context(text)
        || is_external_context(text)
}

/// Returns whether `text`, from a message of role `developer`, is a context fragment.
#[must_use]
pub fn is_developer_fragment(text: &str) -> bool {
    DEVELOPER_MARKERS.iter().any(|marker| begins_with(text.trim_start(), marker))
}

/// Returns whether an item is a message that a rollback counts: of role `user`, without a context fragment or the summary of a
/// compaction among its parts. A message of another agent counts as one: it has the same function in a conversation.
#[must_use]
pub fn is_user_message(item: &ResponseItem) -> bool {
    match item.kind() {
        ResponseItemKind::AgentMessage => true,
        ResponseItemKind::Message => {
            item.role().as_deref() == Some("user") && item.texts().iter().all(|text| is_counted_text(text))
        }
        _ => false,
    }
}

/// Returns whether an item is a message of role `user` that somebody wrote: with words, possibly behind context fragments, or with an
/// image alone.
///
/// The messages that a rollback counts ([`is_user_message`]) are nearly the same. `<user_instructions>`, in which programs of 2025 put
/// the instructions of a directory, and `<user_action>`, the result of a review, are counted, but nobody wrote them.
#[must_use]
pub fn is_typed_message(item: &ResponseItem) -> bool {
    if *item.kind() != ResponseItemKind::Message || item.role().as_deref() != Some("user") {
        return false;
    }
    let texts = item.texts();
    let text = texts.concat();
    let has_image = || item.json().get().contains("\"input_image\"");
    !texts.iter().any(|text| is_program_summary(text))
        && (text.trim().is_empty() || !without_leading_fragments(&text).is_empty() || has_image())
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

/// How many blocks at the beginning of a text are left out. Programs write a few; each is searched in the whole rest of the text.
const MAX_BLOCKS: usize = 32;

/// Returns a text of role `user` without the context fragments at its beginning, and without what else the program writes there.
/// Empty if the text contains nothing else.
///
/// The whole text is a message of the user as soon as words follow the fragments. New programs write blocks that this version does
/// not know. So a block in a tag with an underscore in its name is left out, too, as no markup language has such tags, unless the
/// text contains nothing else.
pub(crate) fn without_leading_fragments(text: &str) -> &str {
    let known = without_known_fragments(text);
    let mut typed = known;
    for _ in 0..MAX_BLOCKS {
        match after_block(typed, |name| name.contains('_') && !is_known_tag(name)) {
            Some("") => return known,
            Some(after) => typed = after,
            None => break,
        }
    }
    typed
}

/// As [`without_leading_fragments`], but leaves out only what this version knows.
pub(crate) fn without_known_fragments(text: &str) -> &str {
    let mut rest = text.trim();
    for _ in 0..MAX_BLOCKS {
        if is_user_fragment(rest) || is_by_program(rest) {
            return "";
        }
        match after_block(rest, is_known_tag) {
            Some(after) => rest = after,
            None => break,
        }
    }
    rest
}

fn is_known_tag(name: &str) -> bool {
    let is_known = |tag: &&str| name.eq_ignore_ascii_case(tag);
    USER_TAGS.iter().chain(&PROGRAM_TAGS).any(is_known)
        || name == HOOK_PROMPT
        || name == "codex_internal_context"
        || name.starts_with("external_")
}

/// Returns what follows the block at the beginning of a text, if the block has such a tag and ends.
fn after_block(text: &str, has_tag: impl Fn(&str) -> bool) -> Option<&str> {
    let (begin, end) = DIRECTORY_INSTRUCTIONS;
    if begins_with(text, begin) {
        return text.split_once(end).map(|(_, after)| after.trim_start());
    }
    // `<hook_prompt hook_run_id="…">` ends with `</hook_prompt>`.
    let rest = text.strip_prefix('<')?;
    let name = &rest[..rest.find(|sign: char| sign == '>' || sign.is_ascii_whitespace())?];
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let end = (is_name && has_tag(name)).then(|| format!("</{name}>"))?;
    rest.split_once(&end).map(|(_, after)| after.trim_start())
}

/// Returns whether a rollback counts a message of role `user` with this text.
pub(crate) fn is_counted_text(text: &str) -> bool {
    !is_user_fragment(text) && !is_program_summary(text)
}

/// Returns whether `text`, from a message of role `user`, is the summary of a compaction with the sentence that Codex puts
/// before it. It is no fragment, so a rollback does not remove it with the message after it. Programs up to 0.58 wrote no such
/// sentence; their summaries count as messages of the user.
pub(crate) fn is_program_summary(text: &str) -> bool {
    text.starts_with(SUMMARY_BEGIN) && text.find('\n').is_some_and(|end| end >= MIN_SUMMARY_LINE)
}

/// Returns whether `text`, from a message of role `user`, was written by the program although it is no fragment.
fn is_by_program(text: &str) -> bool {
    PROGRAM_TAGS.iter().any(|tag| is_tagged(text.trim(), tag))
}

/// Returns whether a text is the prompt of a hook: the tag with the id of the hook's run, and a text in it.
fn is_hook_prompt(text: &str) -> bool {
    let Some((tag, rest)) = after_tag_name(text, HOOK_PROMPT).and_then(|rest| rest.split_once('>')) else {
        return false;
    };
    let run = tag.find(HOOK_RUN).map_or("", |start| &tag[start + HOOK_RUN.len()..]);
    let run = run.strip_prefix(['"', '\'']).unwrap_or_default();
    if run.is_empty() || run.starts_with(['"', '\'']) {
        return false;
    }
    // Unlike the other fragments, this one may have more text after its end tag.
    let end = rest.to_ascii_lowercase().rfind("</hook_prompt>");
    end.is_some_and(|end| !rest[..end].trim().is_empty())
}

/// Returns whether a text is `<codex_internal_context source="name">…</codex_internal_context>`.
fn is_internal_context(text: &str) -> bool {
    let inner = text.strip_prefix("<codex_internal_context source=\"");
    let inner = inner.and_then(|inner| inner.strip_suffix("</codex_internal_context>"));
    let Some((source, _)) = inner.and_then(|inner| inner.split_once("\">")) else { return false };
    source.starts_with(|first: char| first.is_ascii_lowercase())
        && source.chars().all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_')
}

/// Returns whether a text is `<external_name>…</external_name>`, with any name.
fn is_external_context(text: &str) -> bool {
    let Some((name, rest)) = text.strip_prefix("<external_").and_then(|rest| rest.split_once('>')) else {
        return false;
    };
    rest.strip_suffix('>').and_then(|rest| rest.strip_suffix(name)).is_some_and(|rest| rest.ends_with("</external_"))
}

/// Returns whether a text begins with a tag and ends with its end tag, without regard to case.
fn is_tagged(text: &str, tag: &str) -> bool {
    let rest = after_tag_name(text, tag).and_then(|rest| rest.strip_prefix('>'));
    let rest = rest.and_then(|rest| rest.strip_suffix('>'));
    rest.and_then(|rest| before_end(rest, tag)).is_some_and(|rest| rest.ends_with("</"))
}

/// Returns the text after `<` and the name of a tag.
fn after_tag_name<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let rest = text.strip_prefix('<')?;
    begins_with(rest, tag).then(|| &rest[tag.len()..])
}

fn is_between(text: &str, (begin, end): (&str, &str)) -> bool {
    begins_with(text, begin) && before_end(&text[begin.len()..], end).is_some()
}

/// Returns the text before an end, which is compared without regard to case.
fn before_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let start = text.len().checked_sub(end.len())?;
    text.as_bytes()[start..].eq_ignore_ascii_case(end.as_bytes()).then(|| &text[..start])
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
            ("<environment_context>\nnever ends", "<environment_context>\nnever ends"),
            ("<user_instructions>\nBe brief.\n</user_instructions>", ""),
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
