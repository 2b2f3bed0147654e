//! Markers of context fragments: messages that the program takes for its own, and others that look like them. A prompt follows each of them, and
//! a rollback undoes the turn: what the model gets then must be what Selvedge says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::by_selvedge::probe;
use super::compare::only_history;
use super::material::{first_segment, fresh_id, turn};
use super::report::Section;
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

/// The first release that takes `<catalog_apps_instructions>` for a fragment.
const WITH_CATALOG_APPS: [u32; 2] = [0, 171];
const CATALOG_APPS: &str = "<catalog_apps_instructions>";

/// Tags that any of the releases contains. Each is tried with and without its end tag, in both roles.
const TAGS: [&str; 42] = [
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
    "user_instructions",
    "user_action",
    "hook_prompt",
    "codex_internal_context",
    "permissions instructions",
    "collaboration_mode",
    "skills_instructions",
    "apps_instructions",
    "catalog_apps_instructions",
    "plugins_instructions",
    "model_switch",
    "personality_spec",
    "realtime_conversation",
    "token_budget",
    "context_window",
    "context_window_guidance",
    "context_window_reminder",
    "rollout_budget",
    "model_catalog",
    "multi_agent_mode",
    "multi_agent_role",
    "managed_developer_instructions",
    "git_attribution",
    "persistent_mode",
    "environments_instructions",
    "tools",
    "startup_context",
    "side_conversation",
    "image_resize_notice",
    "user_verification_notice",
    "codex_delegation",
    "realtime_delegation",
];

/// Other texts, tried in both roles.
const TEXTS: [&str; 24] = [
    "  \n<environment_context>x</environment_context> \n ",
    "<ENVIRONMENT_CONTEXT>x</environment_Context>",
    "<environment_context>x</environment_context> and words",
    "<environment_context>x</turn_aborted>",
    "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>",
    "# AGENTS.md instructions\n\nx",
    "<hook_prompt hook_run_id=\"r\">x</hook_prompt>",
    "<hook_prompt hook_run_id=\"\">x</hook_prompt>",
    "<hook_prompt hook_run_id='r' other=\"2\">x <b>y</b></hook_prompt> more",
    "<codex_internal_context source=\"goal\">x</codex_internal_context>",
    "<codex_internal_context source=\"a_b1\"></codex_internal_context>",
    "<codex_internal_context source=\"a-b\">x</codex_internal_context>",
    "<codex_internal_context source=\"goal\" y=\"1\">x</codex_internal_context>",
    "<external_a>x</external_b>",
    "<external_a b=\"1\">x</external_a>",
    "<skill name=\"x\">x</skill>",
    "Warning: The maximum number of unified exec processes you can keep open is 60",
    "Warning: The maximum number of unified exec processes",
    "Warning: Your account was flagged for potentially high-risk cyber activity, so x",
    "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead of exec_command.",
    "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead of exec_command. x",
    "Approved command prefix saved:\n- [\"ls\"]",
    "Approved command prefix saved",
    " <TOOLS>x",
];

/// Stands for the text in the thread that the others are copied from.
const PLACEHOLDER: &str = "the text to try";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    let home = bench.home("fragments")?;
    let selvedge = Selvedge::new(program, &home);
    let texts = texts(&bench.codex.release());
    let mut threads = Vec::new();
    for role in ["user", "developer"] {
        let original = make(&selvedge, &home, &bench.folder, role)?;
        let copies = texts.iter().map(|text| Ok((text, original.copy(text)?))).collect::<Result<Vec<_>>>()?;
        threads.push((format!("role {role}"), copies));
    }
    let mut server = AppServer::start(&bench.codex, &home)?;
    for (name, copies) in &threads {
        let heard: Result<()> = copies.iter().try_for_each(|(text, id)| hears(bench, &mut server, &selvedge, id, text));
        section.record(name, "model input", heard.map(|()| None));
    }
    server.stop()?;
    Ok(section)
}

fn texts(release: &[u32]) -> Vec<String> {
    let tagged = TAGS.iter().flat_map(|tag| [format!("<{tag}>\nx\n</{tag}>"), format!("<{tag}>\nx")]);
    let all = tagged.chain(TEXTS.iter().map(|text| (*text).to_owned()));
    all.filter(|text| *release >= WITH_CATALOG_APPS[..] || !text.starts_with(CATALOG_APPS)).collect()
}

/// The file of a thread with a placeholder.
struct Original {
    id: String,
    path: PathBuf,
    text: String,
}

/// Makes a legacy thread of two turns. The second one begins with the placeholder, before its prompt, and is undone.
fn make(selvedge: &Selvedge, home: &Path, cwd: &Path, role: &str) -> Result<Original> {
    let id = selvedge.create(ThreadMode::Legacy, cwd)?;
    let payload = json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": PLACEHOLDER}]});
    let mut items = turn(ThreadMode::Legacy, &id, "one");
    let mut second = turn(ThreadMode::Legacy, &id, "two");
    second.insert(1, json!({"type": "response_item", "payload": payload}));
    items.extend(second);
    items.push(json!({"type": "event_msg", "payload": {"type": "thread_rolled_back", "num_turns": 1}}));
    selvedge.append(&id, &items)?;
    let path = first_segment(&home.join("sessions"), &id)?.context("the thread has no file")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Original { id, path, text })
}

impl Original {
    /// Copies the thread with another id and this text. Returns the id.
    fn copy(&self, text: &str) -> Result<String> {
        let id = fresh_id();
        let lines = self.text.replace(&self.id, &id).replace(&json!(PLACEHOLDER).to_string(), &json!(text).to_string());
        let path = self.path.to_string_lossy().replace(&self.id, &id);
        std::fs::write(&path, lines).with_context(|| format!("cannot write {path}"))?;
        Ok(id)
    }
}

fn hears(bench: &InteropSetup, server: &mut AppServer, selvedge: &Selvedge, id: &str, text: &str) -> Result<()> {
    let context: Vec<Value> = selvedge.context(id)?;
    server.resume(id)?;
    let input = probe(bench, server, id, PROBE)?;
    // A message that looks like a fragment and is left over must not pass for one that the new turn brought.
    let own = input.iter().filter(|item| item["content"][0]["text"] == text).count();
    let kept = context.iter().filter(|item| item["content"][0]["text"] == text).count();
    ensure!(own == kept, "{text:?} is {own} times in the model input and {kept} times in the context");
    only_history(&context, &input, PROBE).with_context(|| format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_tried_with_and_without_its_end() {
        let newest = texts(&[0, 171, 0]);
        assert_eq!(newest.len(), 2 * TAGS.len() + TEXTS.len());
        assert_eq!(texts(&[0, 169, 0]).len(), newest.len() - 2);
        assert!(newest.contains(&"<tools>\nx".to_owned()) && newest.contains(&"<tools>\nx\n</tools>".to_owned()));
    }
}
