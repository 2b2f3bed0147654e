//! Input as it is sent: threads with calls and outputs that do not fit together, with items that Codex does not know, and with long outputs. What
//! Codex sends must be what `selvedge context --as-sent` prints.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::by_selvedge::probe;
use super::compare::only_history;
use super::material::{fresh_id, turn};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

/// The limit of a model that Codex does not know, such as the one in the configuration of a run.
const OUTPUT_LIMIT: &str = "bytes=10000";

/// What Codex allows with that limit.
const ALLOWED: usize = 12_000;

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    let home = bench.home("sent-input")?;
    let selvedge = Selvedge::new(program, &home);
    let mut threads = Vec::new();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        for (name, items) in subjects() {
            let thread = selvedge.create(mode, &bench.folder)?;
            selvedge.append(&thread, &turn(mode, &thread, "before"))?;
            selvedge.append(&thread, &items)?;
            selvedge.append(&thread, &turn(mode, &thread, "after"))?;
            threads.push((format!("{}, {name}", mode.name()), thread));
        }
    }
    let mut server = AppServer::start(&bench.codex, &home)?;
    for (name, id) in &threads {
        section.record(name, "model input", sends(bench, &mut server, &selvedge, id));
    }
    server.stop()?;
    Ok(section)
}

fn sends(bench: &InteropSetup, server: &mut AppServer, selvedge: &Selvedge, id: &str) -> CheckOutcome {
    let history = selvedge.context_as_sent(id, OUTPUT_LIMIT)?;
    server.resume(id)?;
    only_history(&history, &probe(bench, server, id, PROBE)?, PROBE)?;
    Ok(None)
}

fn subjects() -> Vec<(&'static str, Vec<Value>)> {
    let response = |items: Vec<Value>| items.into_iter().map(response).collect();
    vec![
        ("calls and outputs", response(calls())),
        ("unknown items", response(unknown())),
        ("long outputs", response(long_outputs())),
        ("a replacement history", vec![replacement()]),
        ("a summary alone", summary_alone()),
    ]
}

fn calls() -> Vec<Value> {
    let shell = |id: Option<&str>| {
        let action = json!({"type": "exec", "command": ["ls"]});
        json!({"type": "local_shell_call", "call_id": id, "status": "completed", "action": action})
    };
    let custom = |id: &str| json!({"type": "custom_tool_call", "name": "apply_patch", "input": "x", "call_id": id});
    let custom_output = |id: &str| json!({"type": "custom_tool_call_output", "call_id": id, "output": "x"});
    let search =
        |id: &str, by: &str| json!({"type": "tool_search_call", "call_id": id, "execution": by, "arguments": {}});
    let found = |id: &str, by: &str| json!({"type": "tool_search_output", "call_id": id, "status": "completed", "execution": by, "tools": []});
    vec![
        call("answered"),
        output("answered", &json!("ok")),
        call("alone"),
        call("twice"),
        call("twice"),
        output("early", &json!("before its call")),
        call("early"),
        call("two outputs"),
        output("two outputs", &json!("first")),
        output("two outputs", &json!("second")),
        output("orphan", &json!("x")),
        custom("custom alone"),
        custom_output("custom orphan"),
        call("other kind"),
        custom_output("other kind"),
        custom("kind of other"),
        output("kind of other", &json!("x")),
        shell(Some("shell")),
        shell(Some("shell answered")),
        output("shell answered", &json!("ok")),
        shell(None),
        search("searched", "client"),
        search("on the server", "server"),
        found("by nobody", "client"),
        found("by the server", "server"),
    ]
}

fn unknown() -> Vec<Value> {
    let part = json!({"type": "input_text", "text": "x"});
    vec![
        json!({"type": "mystery", "text": "x"}),
        json!({"type": "message", "role": "system", "content": [part]}),
        json!({"type": "message", "role": "tool", "content": [part]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
        json!({"type": "message", "role": "developer", "content": [part, {"type": "mystery"}]}),
        json!({"type": "message", "role": "developer", "content": "x"}),
        json!({"type": "message", "role": "developer"}),
        json!({"type": "function_call", "name": "n", "call_id": "a"}),
        json!({"type": "function_call", "name": "n", "arguments": {}, "call_id": "b"}),
        json!({"type": "custom_tool_call", "name": "n", "call_id": "c"}),
        json!({"type": "local_shell_call", "call_id": "d", "action": {"type": "exec", "command": ["ls"]}}),
        json!({"type": "tool_search_call", "call_id": "e", "arguments": {}}),
        json!({"type": "reasoning", "encrypted_content": "x"}),
        json!({"type": "reasoning", "summary": []}),
        json!({"type": "web_search_call"}),
        json!({"type": "image_generation_call"}),
        json!({"type": "image_generation_call", "status": "completed", "result": "x"}),
        json!({"type": "compaction"}),
        json!({"type": "compaction", "encrypted_content": "x"}),
        json!({"type": "context_compaction"}),
        json!({"type": "agent_message"}),
        call("object"),
        output("object", &json!({"content": "x", "success": true})),
        call("strange part"),
        output("strange part", &json!([part, {"type": "mystery"}])),
        call("no output"),
        json!({"type": "function_call_output", "call_id": "no output"}),
    ]
}

fn long_outputs() -> Vec<Value> {
    let digits = |bytes: usize| (0..=bytes / 10).map(|at| format!("{at:09}\n")).collect::<String>()[..bytes].to_owned();
    let list = |texts: &[&str]| {
        json!(texts.iter().map(|text| json!({"type": "input_text", "text": text})).collect::<Vec<_>>())
    };
    let (full, eight) = (digits(ALLOWED), digits(8_000));
    let outputs = [
        json!(full),
        json!(digits(ALLOWED + 1)),
        json!(digits(50_000)),
        json!(format!("x{}", "é".repeat(ALLOWED))),
        json!("日".repeat(ALLOWED)),
        list(&[&digits(50_000)]),
        list(&[&eight, &eight]),
        list(&[&eight, &eight, &eight, "short"]),
        list(&[&full, "", "x", ""]),
        list(&["", "a", ""]),
        list(&[&digits(ALLOWED - 1), "ab", "x"]),
        list(&[&digits(ALLOWED - 5), "éééééé", "x", "y"]),
        list(&[&digits(ALLOWED - 4), "日日日"]),
        json!([]),
        json!(""),
    ];
    let mut items = Vec::new();
    for (number, value) in outputs.iter().enumerate() {
        let id = format!("long {number}");
        items.extend([call(&id), output(&id, value)]);
    }
    items.push(json!({"type": "custom_tool_call", "name": "n", "input": digits(20_000), "call_id": "custom"}));
    items.push(json!({"type": "custom_tool_call_output", "call_id": "custom", "output": digits(20_000)}));
    items.push(json!({"type": "function_call", "name": "n", "arguments": digits(20_000), "call_id": "long arguments"}));
    items
}

fn replacement() -> Value {
    let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
    let history = json!([
        message("user", "before"),
        message("system", "kept"),
        {"type": "mystery", "text": "x"},
        call("long"),
        output("long", &json!("x".repeat(30_000))),
        call("alone"),
        output("orphan", &json!("x")),
        message("user", "SUMMARY"),
    ]);
    let window = json!({"window_number": 1, "first_window_id": fresh_id(), "window_id": fresh_id()});
    let mut payload = json!({"message": "SUMMARY", "replacement_history": history});
    for (name, value) in window.as_object().into_iter().flatten() {
        payload[name] = value.clone();
    }
    json!({"type": "compacted", "payload": payload})
}

/// A long message, and a compaction as until early 2026, which keeps a part of it.
fn summary_alone() -> Vec<Value> {
    let long: String = (0..10_000).map(|at| format!("{at:09}\n")).collect();
    let message = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": long}]});
    vec![response(message), json!({"type": "compacted", "payload": {"message": "SUMMARY"}})]
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": id})
}

fn output(id: &str, output: &Value) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": output})
}

fn response(payload: Value) -> Value {
    json!({"type": "response_item", "payload": payload})
}
