//! The history as Codex sends it. Every expectation was observed in Codex 0.169.0 and 0.171.0: a thread with these items was resumed, and
//! the request to the model was read.

use std::convert::Infallible;

use selvedge_history::{ModelContext, OutputLimit, Replay, ReplayOptions};
use selvedge_protocol::RolloutItem;
use serde_json::{Value, json};

use crate::recordings;
use crate::story::{item, rolled_back, turn, user};

/// The limit of a model that Codex does not know.
const BYTES: OutputLimit = OutputLimit::Bytes(10_000);
/// The limit of a model that it knows.
const TOKENS: OutputLimit = OutputLimit::Tokens(10_000);

fn sent_with(items: &[RolloutItem], output_limit: Option<OutputLimit>) -> Vec<Value> {
    let options = ReplayOptions { as_sent: true, output_limit };
    let context = Replay::whole(options, |replay| {
        items.iter().for_each(|item| replay.push(item));
        Ok::<_, Infallible>(())
    });
    values(&context.unwrap())
}

fn sent(items: &[Value]) -> Vec<Value> {
    sent_with(&items.iter().map(response).collect::<Vec<_>>(), None)
}

fn values(context: &ModelContext) -> Vec<Value> {
    context.history.iter().map(|item| serde_json::to_value(item).unwrap()).collect()
}

fn response(payload: &Value) -> RolloutItem {
    item(json!({"type": "response_item", "payload": payload}))
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": id})
}

fn output(id: &str, output: impl Into<Value>) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": output.into()})
}

fn custom(id: &str) -> Value {
    json!({"type": "custom_tool_call", "name": "apply_patch", "input": "x", "call_id": id, "status": "completed"})
}

fn custom_output(id: &str, output: &str) -> Value {
    json!({"type": "custom_tool_call_output", "call_id": id, "output": output})
}

fn shell(id: Option<&str>) -> Value {
    let action = json!({"type": "exec", "command": ["ls"]});
    json!({"type": "local_shell_call", "call_id": id, "status": "completed", "action": action})
}

fn search(id: &str, execution: &str) -> Value {
    json!({"type": "tool_search_call", "call_id": id, "execution": execution, "arguments": {}})
}

fn found(id: Option<&str>, execution: &str) -> Value {
    json!({"type": "tool_search_output", "call_id": id, "status": "completed", "execution": execution, "tools": []})
}

#[test]
fn a_call_without_an_output_gets_one() {
    assert_eq!(sent(&[call("a"), output("a", "ok")]), [call("a"), output("a", "ok")]);
    assert_eq!(sent(&[call("a"), call("b"), output("b", "ok")])[..3], [call("a"), output("a", "aborted"), call("b")]);
    assert_eq!(sent(&[custom("a")]), [custom("a"), custom_output("a", "aborted")]);
    assert_eq!(sent(&[shell(Some("a"))]), [shell(Some("a")), output("a", "aborted")]);
    assert_eq!(sent(&[shell(None)]), [shell(None)]);
    for execution in ["client", "server"] {
        let call = search("a", execution);
        assert_eq!(sent(std::slice::from_ref(&call)), [call, found(Some("a"), "client")]);
    }
    // Each of two calls with the same id.
    assert_eq!(sent(&[call("a"), call("a")]), [call("a"), output("a", "aborted"), call("a"), output("a", "aborted")]);
}

#[test]
fn an_output_answers_every_call_with_its_id_wherever_it_stands() {
    for items in [
        vec![output("a", "before"), call("a")],
        vec![call("a"), output("a", "first"), output("a", "second")],
        vec![call("a"), call("a"), output("a", "one for two")],
        vec![shell(Some("a")), output("a", "ok")],
    ] {
        assert_eq!(sent(&items), items);
    }
}

#[test]
fn an_output_without_a_call_of_its_kind_is_left_out() {
    let none: [Value; 0] = [];
    for item in [output("a", "x"), custom_output("a", "x"), found(Some("a"), "client")] {
        assert_eq!(sent(&[item]), none);
    }
    for item in [found(Some("a"), "server"), found(None, "client")] {
        assert_eq!(sent(std::slice::from_ref(&item)), [item]);
    }
    assert_eq!(sent(&[call("a"), custom_output("a", "x")]), [call("a"), output("a", "aborted")]);
    assert_eq!(sent(&[custom("a"), output("a", "x")]), [custom("a"), custom_output("a", "aborted")]);
}

#[test]
fn what_codex_does_not_understand_is_left_out() {
    let part = json!({"type": "input_text", "text": "x"});
    let skipped = [
        json!({"type": "mystery", "text": "x"}),
        json!({"role": "user"}),
        json!({"type": "configuration_update"}),
        json!({"type": "compaction_trigger"}),
        json!({"type": "ghost_snapshot", "ghost_commit": {}}),
        json!({"type": "message", "role": "system", "content": [part]}),
        json!({"type": "message", "content": [part]}),
        json!({"type": "message", "role": "user"}),
        json!({"type": "message", "role": "user", "content": "x"}),
        json!({"type": "message", "role": "user", "content": [part, {"type": "mystery", "text": "x"}]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
        json!({"type": "function_call", "arguments": "{}", "call_id": "a"}),
        json!({"type": "function_call", "name": "n", "call_id": "a"}),
        json!({"type": "function_call", "name": "n", "arguments": "{}"}),
        json!({"type": "function_call", "name": "n", "arguments": {"a": 1}, "call_id": "a"}),
        json!({"type": "custom_tool_call", "name": "n", "call_id": "a"}),
        json!({"type": "local_shell_call", "call_id": "a", "action": {"type": "exec", "command": ["ls"]}}),
        json!({"type": "tool_search_call", "call_id": "a", "arguments": {}}),
        json!({"type": "tool_search_output", "call_id": "a", "status": "completed", "execution": "server"}),
        json!({"type": "reasoning", "encrypted_content": "x"}),
        json!({"type": "image_generation_call"}),
        json!({"type": "compaction"}),
        json!({"type": "agent_message"}),
    ];
    for item in skipped {
        assert_eq!(sent(&[user_message("q"), item.clone()]), [user_message("q")], "{item}");
    }
    let kept = [
        json!({"type": "message", "role": "tool", "content": [part]}),
        json!({"type": "message", "role": "user", "content": []}),
        json!({"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]}),
        json!({"type": "reasoning", "summary": []}),
        json!({"type": "web_search_call"}),
        json!({"type": "image_generation_call", "status": "completed", "result": "x"}),
        json!({"type": "compaction", "encrypted_content": "x"}),
        json!({"type": "context_compaction"}),
        json!({"type": "additional_tools", "role": "developer", "tools": []}),
        json!({"type": "agent_message", "author": "/a", "recipient": "/b", "content": [part]}),
    ];
    assert_eq!(sent(&kept), kept);
}

#[test]
fn an_output_of_another_shape_is_left_out_and_its_call_answered() {
    let part = json!({"type": "input_text", "text": "x"});
    for shape in [json!({"content": "x", "success": true}), json!([part, {"type": "mystery"}]), json!(null)] {
        assert_eq!(sent(&[call("a"), output("a", shape)]), [call("a"), output("a", "aborted")]);
    }
    let parts = json!([part, {"type": "encrypted_content", "encrypted_content": "x"}, {"type": "input_image"}]);
    assert_eq!(sent(&[call("a"), output("a", parts.clone())])[1]["output"], parts);
}

fn user_message(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

#[test]
fn a_replacement_history_keeps_all_but_outputs_without_calls() {
    let long = "x".repeat(50_000);
    let system = json!({"type": "message", "role": "system", "content": []});
    let history =
        [call("a"), output("a", long.as_str()), call("b"), output("c", "orphan"), json!({"type": "mystery"}), system];
    let compaction = json!({"type": "compacted", "payload": {"message": "s", "replacement_history": history}});
    let items = [item(compaction), response(&call("d")), response(&output("d", long.as_str()))];
    let sent = sent_with(&items, Some(BYTES));
    let expected =
        [&history[0], &history[1], &history[2], &output("b", "aborted"), &json!({"type": "other"}), &history[5]];
    assert_eq!(sent[..6].iter().collect::<Vec<_>>(), expected);
    let shortened = sent[7]["output"].as_str().unwrap();
    assert_eq!(shortened.len(), 12_000 + "…38000 chars truncated…".len());
    // Without the compaction, the limit is for both.
    let undone = [turn("t", "q", "a"), items.to_vec(), vec![user("x"), rolled_back(9)]].concat();
    assert_eq!(sent_with(&undone, Some(BYTES)).len(), 0);
}

/// An output with a limit, as text or as a list of texts (`None`: an image).
fn limited(value: impl Into<Value>, limit: OutputLimit) -> Value {
    let sent = sent_with(&[response(&call("a")), response(&output("a", value.into()))], Some(limit));
    sent[1]["output"].clone()
}

fn limited_list(texts: &[Option<&str>], limit: OutputLimit) -> Vec<Option<String>> {
    let part = |text: &Option<&str>| match text {
        Some(text) => json!({"type": "input_text", "text": text}),
        None => json!({"type": "input_image", "image_url": "data:"}),
    };
    let list = limited(texts.iter().map(part).collect::<Vec<_>>(), limit);
    list.as_array().unwrap().iter().map(|part| part["text"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_long_output_keeps_both_ends() {
    for (limit, bytes, unit) in [(BYTES, 12_000, "chars"), (TOKENS, 48_000, "tokens")] {
        assert_eq!(limited("x".repeat(bytes), limit), "x".repeat(bytes));
        let half = "x".repeat(bytes / 2);
        assert_eq!(limited("x".repeat(bytes + 1), limit), format!("{half}…1 {unit} truncated…{half}"));
        let excess = if unit == "chars" { 1_000 } else { 250 };
        assert_eq!(limited("x".repeat(bytes + 1_000), limit), format!("{half}…{excess} {unit} truncated…{half}"));
    }
    // The cut is between characters. Bytes: characters that are gone; tokens: bytes above the limit.
    let text = format!("x{}", "é".repeat(6_050));
    assert_eq!(limited(text, BYTES), format!("x{}…51 chars truncated…{}", "é".repeat(2_999), "é".repeat(3_000)));
    let text = format!("x{}", "é".repeat(24_050));
    assert_eq!(limited(text, TOKENS), format!("x{}…26 tokens truncated…{}", "é".repeat(11_999), "é".repeat(12_000)));
}

#[test]
fn a_fifth_is_added_to_the_limit_and_rounded_up() {
    let sizes = [(1_332, 1_599), (1_336, 1_604), (404, 485), (28, 34)];
    for (limit, allowed) in sizes {
        assert_eq!(limited("x".repeat(allowed), OutputLimit::Bytes(limit)), "x".repeat(allowed));
        assert_ne!(limited("x".repeat(allowed + 1), OutputLimit::Bytes(limit)), "x".repeat(allowed + 1));
    }
    for (limit, allowed) in [(333, 400), (334, 401), (101, 122), (7, 9)] {
        assert_eq!(limited("x".repeat(allowed * 4), OutputLimit::Tokens(limit)), "x".repeat(allowed * 4));
        assert_ne!(limited("x".repeat(allowed * 4 + 1), OutputLimit::Tokens(limit)), "x".repeat(allowed * 4 + 1));
    }
}

#[test]
fn the_parts_of_a_list_share_the_limit() {
    let long = |bytes: usize| "x".repeat(bytes);
    let list = |texts: &[Option<&str>]| limited_list(texts, BYTES);
    let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    let eight = long(8_000);
    let shortened = format!("{0}…4000 chars truncated…{0}", long(2_000));
    assert_eq!(list(&[Some(&eight), Some(&eight)]), some(&[&eight, &shortened]));
    let omitted = "[omitted 2 text items ...]";
    assert_eq!(list(&[Some(&eight), Some(&eight), Some(&eight), Some("short")]), some(&[&eight, &shortened, omitted]));
    // Exactly the limit: nothing is left for the rest. Images stay, and empty texts are gone and not counted.
    let full = long(12_000);
    let kept = [Some(full.clone()), None, Some("[omitted 1 text items ...]".to_owned())];
    assert_eq!(list(&[Some(&full), Some(""), None, Some(""), Some("x"), Some("")]), kept);
    assert_eq!(list(&[Some(""), Some("a"), Some("")]), some(&["a"]));
    // What is left of the limit is for the next text, and only for that.
    let cases = [
        (11_999, "ab", "…1 chars truncated…b"),
        (11_997, "abcde", "a…2 chars truncated…de"),
        (11_995, "éééééé", "é…4 chars truncated…é"),
        (11_996, "日日日", "…3 chars truncated…"),
    ];
    for (bytes, text, cut) in cases {
        let one = "[omitted 1 text items ...]";
        assert_eq!(list(&[Some(&long(bytes)), Some(text), Some("x")]), some(&[&long(bytes), cut, one]), "{text}");
    }
}

#[test]
fn a_list_is_counted_in_tokens_of_four_bytes_rounded_up() {
    let long = |bytes: usize| "x".repeat(bytes);
    let cases = [
        (47_990, "01234567890123456789", Some("0123…3 tokens truncated…6789")),
        (47_995, "éééééé", Some("é…2 tokens truncated…é")),
        (47_994, "abcde", Some("ab…1 tokens truncated…de")),
        (47_997, "abcde", None),
        (47_999, "ab", None),
        (47_996, "日日日", Some("…2 tokens truncated…")),
    ];
    for (bytes, text, cut) in cases {
        let texts = limited_list(&[Some(&long(bytes)), Some(text)], TOKENS);
        let last = cut.unwrap_or("[omitted 1 text items ...]");
        assert_eq!(texts, [Some(long(bytes)), Some(last.to_owned())], "{text}");
    }
}

#[test]
fn only_outputs_are_shortened() {
    let long = "x".repeat(60_000);
    let tools = json!([{"name": long}]);
    let items = [
        user_message(&long),
        json!({"type": "function_call", "name": "n", "arguments": long, "call_id": "a"}),
        output("a", "ok"),
        search("b", "client"),
        json!({"type": "tool_search_output", "call_id": "b", "status": "completed", "execution": "client", "tools": tools}),
    ];
    let responses: Vec<_> = items.iter().map(response).collect();
    assert_eq!(sent_with(&responses, Some(BYTES)), items);
    assert_eq!(
        sent_with(&[response(&custom("c")), response(&custom_output("c", &long))], Some(BYTES))[1]["output"]
            .as_str()
            .unwrap()
            .len(),
        12_027
    );
}

#[test]
fn limits_are_read_as_they_are_written() {
    for limit in [OutputLimit::Bytes(0), TOKENS] {
        assert_eq!(limit.to_string().parse(), Ok(limit));
    }
    for text in ["", "10000", "tokens=", "tokens=-1", "words=5", "bytes=1 "] {
        assert!(text.parse::<OutputLimit>().is_err(), "{text}");
    }
}

/// The recorded programs sent what they recorded, so a recorded history stays as it is.
#[test]
fn a_recorded_history_is_sent_as_it_is() {
    for thread in recordings::folders().iter().flat_map(|folder| recordings::threads_of(folder)) {
        let verbatim = selvedge_history::replay_lines(&thread.lines);
        let options = ReplayOptions { as_sent: true, output_limit: Some(BYTES) };
        let sent = verbatim.clone().with_options(options);
        // A killed turn leaves a call without an output.
        let aborted = |item: &&Value| item["output"] == "aborted";
        let added = values(&sent).iter().filter(aborted).count() - values(&verbatim).iter().filter(aborted).count();
        assert_eq!(sent.history.len(), verbatim.history.len() + added, "{}", thread.name);
    }
}
