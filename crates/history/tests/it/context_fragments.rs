//! Context fragments: which messages the program wrote. Every expectation was observed in Codex 0.169.0 and 0.171.0: a thread with
//! the message, a rollback of one turn, and what the model got next (see the module's documentation).

use selvedge_history::context_fragments::{
    is_context_fragment, is_developer_fragment, is_typed_message, is_user_fragment, is_user_message,
};
use selvedge_history::{replay, upgrade_bare_item};
use selvedge_protocol::{ResponseItem, RolloutItem, RolloutLine};
use serde_json::json;

use crate::story::{
    assistant, compacted, fragment, item, project, replayed, rolled_back, texts, turn, user, user_event,
};

const EXEC_WARNING: &str = "Warning: The maximum number of unified exec processes you can keep open is 60 and more.";
const FLAG_WARNING: &str = "Warning: Your account was flagged for potentially high-risk cyber activity and so on.";
const PATCH_WARNING: &str =
    "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead of exec_command.";

/// Texts of role `user` that are fragments.
fn user_fragments() -> Vec<String> {
    let tags = [
        "environment_context",
        "skill",
        "turn_aborted",
        "user_shell_command",
        "subagent_notification",
        "recommended_plugins",
        "goal_context",
        "agent_message_board_notification",
        "external_",
        "external_a-b",
        "external_a b",
        "external_é",
    ];
    let tagged = tags.iter().map(|tag| format!("<{tag}>\nx\n</{tag}>"));
    let others = [
        "  \n<environment_context>x</environment_context> \n ",
        "<ENVIRONMENT_CONTEXT>x</environment_Context>",
        "<environment_context></environment_context>",
        "# AGENTS.md instructions for /tmp\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>",
        "# agents.md instructions</instructions>",
        "<hook_prompt hook_run_id=\"r\">x</hook_prompt>",
        "<HOOK_PROMPT hook_run_id='r' other=\"2\">x <b>y</b></HOOK_PROMPT> more",
        "<codex_internal_context source=\"goal\">x</codex_internal_context>",
        " <codex_internal_context source=\"a_b1\"></codex_internal_context> ",
        EXEC_WARNING,
        FLAG_WARNING,
        PATCH_WARNING,
    ];
    tagged.chain(others.map(str::to_owned)).collect()
}

/// Texts of role `user` that are no fragments, so a rollback counts them.
const NO_USER_FRAGMENTS: [&str; 30] = [
    "<environment_context>x",
    "<environment_context>",
    "</environment_context>",
    "<environment_context/>",
    "<environment_contextx>x</environment_context>",
    "<environment_context>x</environment_context> and words",
    "<environment_context>x</turn_aborted>",
    "<skill name=\"x\">x</skill>",
    "# AGENTS.md instructions\n\nx",
    "# AGENTS.md instructions for /tmp\n\n<INSTRUCTIONS>\nx",
    "<user_instructions>\n\nx\n\n</user_instructions>",
    "<user_action>x</user_action>",
    "<startup_context>x</startup_context>",
    "<side_conversation>x</side_conversation>",
    "<codex_delegation>x</codex_delegation>",
    "<realtime_delegation>x</realtime_delegation>",
    "<user_verification_notice>x</user_verification_notice>",
    "<image_resize_notice>x</image_resize_notice>",
    "<hook_prompt>x</hook_prompt>",
    "<hook_prompt hook_run_id=\"\">x</hook_prompt>",
    "<hook_prompt hook_run_id=\"r\"> </hook_prompt>",
    "<codex_internal_context>x</codex_internal_context>",
    "<codex_internal_context source=\"a-b\">x</codex_internal_context>",
    "<codex_internal_context source=\"1\">x</codex_internal_context>",
    "<codex_internal_context source=\"goal\" y=\"1\">x</codex_internal_context>",
    "<external_a>x</external_b>",
    "<external_a b=\"1\">x</external_a>",
    "<permissions instructions>x</permissions instructions>",
    "Warning: The maximum number of unified exec processes",
    "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead of exec_command. Now.",
];

const DEVELOPER_FRAGMENTS: [&str; 25] = [
    "<permissions instructions>x",
    " \n<PERMISSIONS INSTRUCTIONS>x",
    "<collaboration_mode>x",
    "<skills_instructions>x",
    "<apps_instructions>x",
    "<catalog_apps_instructions>x",
    "<plugins_instructions>x",
    "<model_switch>x</model_switch>",
    "<model_switch>x</model_switch> and words",
    "<personality_spec>x",
    "<realtime_conversation>x",
    "<token_budget>x",
    "<context_window>",
    "<context_window_guidance>x",
    "<rollout_budget>x",
    "<multi_agent_mode>x",
    "<multi_agent_role>x",
    "<managed_developer_instructions>x",
    "<git_attribution>x",
    "<persistent_mode>x",
    "<environments_instructions>x",
    "<tools>x",
    "Approved command prefix saved:\n- [\"ls\"]",
    "approved command prefix saved:",
    "\tApproved command prefix saved: ls",
];

const NO_DEVELOPER_FRAGMENTS: [&str; 14] = [
    "words",
    "<environment_context>x</environment_context>",
    "# AGENTS.md instructions for /tmp\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>",
    "<context_window_reminder>x</context_window_reminder>",
    "<context_window",
    "<model_catalog>x</model_catalog>",
    "<image_resize_notice>x</image_resize_notice>",
    "<user_verification_notice>x</user_verification_notice>",
    "<tools x=\"y\">",
    "<codex_internal_context source=\"goal\">x</codex_internal_context>",
    "<external_a>x</external_a>",
    "<hook_prompt hook_run_id=\"r\">x</hook_prompt>",
    "Approved command prefix saved",
    "Allowed network rule saved in execpolicy (allowlist): example.com",
];

/// Whether the rollback of a turn leaves a message of role `user` just before the prompt, and counts it after the last turn.
fn is_kept_and_counted(text: &str) -> (bool, bool) {
    let (first, mut second) = (turn("t1", "one", "re one"), turn("t2", "two", "re two"));
    second.insert(2, user(text));
    let before = replayed(&[first.clone(), second, vec![rolled_back(1)]]);
    let after = replayed(&[first, turn("t2", "two", "re two"), vec![user(text), rolled_back(1)]]);
    (texts(&before).last().is_some_and(|last| last == text), texts(&after).contains(&"two".to_owned()))
}

#[test]
fn a_rollback_neither_counts_a_fragment_of_the_user_nor_leaves_it_before_its_cut() {
    for text in user_fragments() {
        assert!(is_user_fragment(&text), "{text:?}");
        assert!(is_context_fragment(&ResponseItem::user_text(&text)), "{text:?}");
        assert_eq!(is_kept_and_counted(&text), (false, false), "{text:?}");
    }
}

#[test]
fn a_message_with_half_a_marker_is_a_message_of_the_user() {
    for text in NO_USER_FRAGMENTS {
        assert!(!is_user_fragment(text), "{text:?}");
        assert_eq!(is_kept_and_counted(text), (true, true), "{text:?}");
    }
}

#[test]
fn a_fragment_of_the_developer_just_before_the_cut_is_removed_with_the_turn() {
    for (texts_of_role, is_fragment) in [(&DEVELOPER_FRAGMENTS[..], true), (&NO_DEVELOPER_FRAGMENTS[..], false)] {
        for text in texts_of_role {
            let mut second = turn("t2", "two", "re two");
            second.insert(2, ResponseItem::message("developer", text).into());
            let context = replayed(&[turn("t1", "one", "re one"), second, vec![rolled_back(1)]]);
            let kept = if is_fragment { vec!["one", "re one"] } else { vec!["one", "re one", text] };
            assert_eq!(texts(&context), kept, "{text:?}");
            assert_eq!(is_developer_fragment(text), is_fragment, "{text:?}");
        }
    }
}

#[test]
fn one_part_makes_a_message_a_fragment() {
    let message = |role: &str, parts: [&str; 2]| {
        let parts = parts.map(|text| json!({"type": "input_text", "text": text}));
        ResponseItem::from_value(&json!({"type": "message", "role": role, "content": parts})).unwrap()
    };
    for parts in [["words", "<skill>x</skill>"], ["<skill>x</skill>", "words"]] {
        assert!(is_context_fragment(&message("user", parts)) && !is_user_message(&message("user", parts)));
    }
    for parts in [["words", "<tools>"], ["<tools>", "words"]] {
        assert!(is_context_fragment(&message("developer", parts)));
    }
}

#[test]
fn instructions_of_0_39_count_as_a_message_of_the_user_at_a_rollback_to_the_start() {
    let instructions = "<user_instructions>\n\nbe careful\n\n</user_instructions>";
    let start = [vec![user(instructions), fragment("here")], turn("t1", "one", "re one")].concat();
    // With more turns to undo than there are, the cut is at the oldest message that counts, and these are the first words of all.
    for turns in [2, 9] {
        assert_eq!(texts(&replayed(&[start.clone(), vec![rolled_back(turns)]])), [""; 0], "{turns} turns");
    }
    assert_eq!(texts(&replayed(&[start.clone(), vec![rolled_back(1)]])), [instructions]);
    // A fragment at the start stays.
    let start = [vec![fragment("here")], turn("t1", "one", "re one"), vec![rolled_back(9)]].concat();
    assert_eq!(texts(&replay(&start)), ["<environment_context>here</environment_context>"]);
}

#[test]
fn what_nobody_typed_is_not_shown_as_a_message_of_the_user() {
    for text in ["<user_instructions>\n\nx\n\n</user_instructions>", "<user_action>\nx\n</user_action>"] {
        let message = ResponseItem::user_text(text);
        assert!(is_user_message(&message) && !is_typed_message(&message), "{text:?}");
        assert_eq!(upgrade_bare_item(message.into()).len(), 1, "no event shows it");
    }
    assert!(is_typed_message(&ResponseItem::user_text("words")));
}

#[test]
fn bare_instructions_open_no_turn() {
    let bare = |item: &RolloutItem| {
        let RolloutItem::ResponseItem(item) = item else { panic!("no message") };
        RolloutLine::parse(item.json().get()).unwrap()
    };
    let instructions = user("<user_instructions>\n\nx\n\n</user_instructions>");
    let turns = project(&[instructions, user("q"), assistant("a")].map(|item| bare(&item)));
    assert_eq!(turns.len(), 1);
    assert_eq!((turns[0].lines.clone(), turns[0].items.len()), (0..3, 2), "{:?}", turns[0].items);
}

/// A summary with a sentence of the program in front. The real one is as long.
fn marked_summary() -> String {
    let sentence =
        "Another language model started to solve this problem and produced a summary of its thinking process. ";
    format!("{sentence}{}\nSUMMARY", "x".repeat(399 - sentence.len()))
}

#[test]
fn a_rollback_does_not_count_a_summary_that_the_program_marked_as_one() {
    let old = |summary: &str| item(json!({"type": "compacted", "payload": {"message": summary}}));
    let story = |summary: &str, turns| {
        let turns = vec![old(summary), user("c"), user_event("c"), assistant("re c"), rolled_back(turns)];
        let story = [turn("t1", "a", "re a"), turn("t2", "b", "re b"), turns];
        (texts(&replayed(&story)), project(&crate::story::lines(story.concat())).len())
    };
    // One turn: the cut is at c. Two: at b, which stands before the summary. Three: at a.
    let summary = marked_summary();
    assert_eq!(story(&summary, 1).0, ["a", "b", &summary]);
    assert_eq!(story(&summary, 2), (vec!["a".to_owned()], 1));
    assert_eq!(story(&summary, 3), (vec![], 0));
    // Programs up to 0.58 put no sentence before the summary, and it counts.
    assert_eq!(story("SUMMARY", 2).0, ["a", "b"]);
    assert_eq!(story("SUMMARY", 3).0, ["a"]);
}

#[test]
fn a_marked_summary_stays_before_the_cut() {
    let summary = marked_summary();
    let story = [turn("t1", "a", "re a"), vec![compacted(&["a", &summary], 1)], turn("t2", "b", "re b")];
    let context = replayed(&[story.concat(), vec![rolled_back(1)]]);
    assert_eq!(texts(&context), ["a", &summary]);
}
