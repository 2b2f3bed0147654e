//! Converts an item of the model's input or output to what a turn shows of it, for logs in which no event tells of it.

use selvedge_protocol::{ItemContent, ItemStatus, OtherTurnItem};
use serde_json::{Map, Value};

use crate::payload_fields;
use crate::turn_item::command_line;

/// A step of the agent that the model asked for.
#[derive(Debug)]
pub(crate) struct ModelCall {
    /// The id of the call, which its output and its events repeat.
    pub(crate) id: Option<String>,
    pub(crate) content: ItemContent,
}

/// Returns whether response items of this kind contain nothing that was said or done.
pub(crate) fn is_silent(kind: &str) -> bool {
    matches!(
        kind,
        "ghost_snapshot"
            | "additional_tools"
            | "compaction"
            | "compaction_summary"
            | "compaction_trigger"
            | "context_compaction"
            | "configuration_update"
    )
}

/// Returns whether response items of this kind answer a call.
pub(crate) fn is_output(kind: &str) -> bool {
    matches!(kind, "function_call_output" | "custom_tool_call_output" | "tool_search_output")
}

/// Returns whether response items of this kind are calls.
pub(crate) fn is_call(kind: &str) -> bool {
    matches!(
        kind,
        "function_call"
            | "local_shell_call"
            | "custom_tool_call"
            | "tool_search_call"
            | "web_search_call"
            | "image_generation_call"
    )
}

/// Converts a call. `payload` is the response item.
pub(crate) fn call(kind: &str, payload: &Map<String, Value>) -> ModelCall {
    let text = |name: &str| payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let value = |name: &str| payload.get(name).cloned().unwrap_or_default();
    let (id, content) = match kind {
        "web_search_call" => (text("id"), web_search(payload.get("action"))),
        "image_generation_call" => {
            let (status, prompt) = (text("status").unwrap_or_default(), text("revised_prompt"));
            let content = ItemContent::ImageGeneration {
                status: status.to_owned(),
                revised_prompt: prompt.map(str::to_owned),
                saved_path: None,
            };
            (text("id"), content)
        }
        "local_shell_call" => {
            let action = payload.get("action").unwrap_or(&Value::Null);
            let cwd = action["working_directory"].as_str();
            let status =
                if text("status") == Some("completed") { ItemStatus::Completed } else { ItemStatus::InProgress };
            (text("call_id").or_else(|| text("id")), command(&action["command"], cwd, status))
        }
        "custom_tool_call" => (text("call_id"), tool(text("namespace"), text("name"), value("input"))),
        "tool_search_call" => (text("call_id"), tool(None, Some("tool_search"), value("arguments"))),
        _ => (text("call_id"), function(text("namespace"), text("name"), &value("arguments"))),
    };
    ModelCall { id: id.map(str::to_owned), content }
}

/// Applies the output of a call. `payload` is the response item of the output.
pub(crate) fn answer(content: &mut ItemContent, payload: &mut Map<String, Value>) {
    let output = payload.remove("output").or_else(|| payload.remove("tools")).unwrap_or_default();
    let succeeded = output["success"].as_bool().or_else(|| payload.get("success")?.as_bool());
    let by_success = if succeeded == Some(false) { ItemStatus::Failed } else { ItemStatus::Completed };
    match content {
        ItemContent::CommandExecution { status, output: shown, exit_code, duration_ms, .. } => {
            let report = CommandReport::parse(&output);
            *status = if report.exit_code.unwrap_or(0) == 0 { by_success } else { ItemStatus::Failed };
            *exit_code = report.exit_code;
            *duration_ms = report.duration_ms;
            *shown = Some(report.output);
        }
        ItemContent::ToolCall { status, result, .. } => {
            *status = by_success;
            *result = Some(output);
        }
        ItemContent::Other(item) => _ = item.fields.entry("result").or_insert(output),
        _ => {}
    }
}

/// Returns an output whose call is not in its turn.
pub(crate) fn orphan_output(kind: &str, mut payload: Map<String, Value>) -> ItemContent {
    payload.remove("type");
    payload.remove("id");
    ItemContent::Other(OtherTurnItem::new(kind, payload))
}

/// Returns an item of a kind that is not known. `payload` is an object, or another value. Its `type` is left out if it is the kind.
pub(crate) fn unknown(kind: &str, payload: &str) -> ItemContent {
    let fields = match payload_fields::parse(payload).unwrap_or_default() {
        Value::Object(mut fields) => {
            if fields.get("type").and_then(Value::as_str) == Some(kind) {
                fields.remove("type");
            }
            fields
        }
        other => Map::from_iter([("payload".to_owned(), other)]),
    };
    ItemContent::Other(OtherTurnItem::new(kind, fields))
}

fn web_search(action: Option<&Value>) -> ItemContent {
    let text = |name: &str| action.and_then(|action| action.get(name)?.as_str());
    // The other actions open a page, or search a text in one.
    let query = text("query").or_else(|| text("pattern")).or_else(|| text("url")).unwrap_or_default();
    ItemContent::WebSearch { query: query.to_owned(), action: action.cloned(), results: None }
}

fn function(namespace: Option<&str>, name: Option<&str>, arguments: &Value) -> ItemContent {
    // The model writes arguments as JSON text. If they do not parse, the text itself is shown.
    let parsed = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
    let arguments = parsed.unwrap_or_else(|| arguments.clone());
    if namespace.is_none() && matches!(name, Some("shell" | "shell_command" | "exec_command" | "container.exec")) {
        let line =
            [&arguments["command"], &arguments["cmd"]].into_iter().find(|line| line.is_string() || line.is_array());
        if let Some(line) = line {
            let cwd = arguments["workdir"].as_str().or_else(|| arguments["cwd"].as_str());
            return command(line, cwd, ItemStatus::InProgress);
        }
    }
    tool(namespace, name, arguments)
}

fn command(line: &Value, cwd: Option<&str>, status: ItemStatus) -> ItemContent {
    ItemContent::CommandExecution {
        command: command_line(line),
        cwd: cwd.map(str::to_owned),
        command_actions: Vec::new(),
        status,
        output: None,
        exit_code: None,
        duration_ms: None,
    }
}

fn tool(namespace: Option<&str>, name: Option<&str>, arguments: Value) -> ItemContent {
    let name = name.unwrap_or_default();
    // The name of a tool of an MCP server contains that of the server.
    let of_server = name.strip_prefix("mcp__").and_then(|name| name.split_once("__"));
    let (server, tool) = of_server.map_or((namespace, name), |(server, tool)| (Some(server), tool));
    ItemContent::ToolCall {
        server: server.map(str::to_owned),
        tool: tool.to_owned(),
        arguments,
        status: ItemStatus::InProgress,
        result: None,
        error: None,
        duration_ms: None,
    }
}

/// Returns the command that the user ran, and its item, if a message is the fragment that tells the model of it:
///
/// ```text
/// <user_shell_command>
/// <command>
/// ls
/// </command>
/// <result>
/// Exit code: 0
/// Duration: 0.0100 seconds
/// Output:
/// nest.txt
///
/// </result>
/// </user_shell_command>
/// ```
pub(crate) fn user_command(message: &str) -> Option<(String, ItemContent)> {
    let inner = message.trim().strip_prefix("<user_shell_command>")?.strip_suffix("</user_shell_command>")?;
    // What has another form is shown as it is, as the output of an unnamed command.
    let split = || {
        let (command, rest) = inner.trim().strip_prefix("<command>\n")?.split_once("\n</command>")?;
        Some((command, rest.trim_start().strip_prefix("<result>\n")?.strip_suffix("\n</result>")?))
    };
    let (command, result) = split().unwrap_or(("", inner.trim()));
    let report = CommandReport::parse_text(result);
    let content = ItemContent::CommandExecution {
        command: command.to_owned(),
        cwd: None,
        command_actions: Vec::new(),
        status: if report.exit_code.unwrap_or(0) == 0 { ItemStatus::Completed } else { ItemStatus::Failed },
        output: Some(report.output),
        exit_code: report.exit_code,
        duration_ms: report.duration_ms,
    };
    Some((command.to_owned(), content))
}

/// What the output of a command says.
#[derive(Debug, Default, PartialEq)]
struct CommandReport {
    output: String,
    exit_code: Option<i64>,
    duration_ms: Option<i64>,
}

impl CommandReport {
    /// Reads an output: a text, an object with a text, or a list of parts.
    fn parse(output: &Value) -> Self {
        match output {
            Value::String(text) => Self::parse_text(text),
            Value::Object(fields) => {
                let text = ["content", "body", "output"].into_iter().find_map(|name| fields.get(name));
                text.map(Self::parse).unwrap_or_default()
            }
            Value::Array(parts) => {
                Self::parse_text(&parts.iter().filter_map(|part| part["text"].as_str()).collect::<String>())
            }
            _ => Self::default(),
        }
    }

    /// Reads the text that a program gave to the model. There are two forms:
    ///
    /// ```text
    /// {"output":"from the tool\n","metadata":{"exit_code":0,"duration_seconds":0.1}}
    ///
    /// Wall time: 0.1000 seconds          lines about the command, of which there can be others,
    /// Process exited with code 3         or `Exit code: 3`, or `Duration: 0.1000 seconds`,
    /// Output:                            up to this one
    /// from the tool
    /// ```
    fn parse_text(text: &str) -> Self {
        if let Ok(Value::Object(report)) = serde_json::from_str::<Value>(text)
            && let Some(output) = report.get("output").and_then(Value::as_str)
        {
            let metadata = report.get("metadata").unwrap_or(&Value::Null);
            return Self {
                output: output.to_owned(),
                exit_code: metadata["exit_code"].as_i64(),
                duration_ms: metadata["duration_seconds"].as_f64().and_then(to_millis),
            };
        }
        let (mut report, mut rest) = (Self::default(), text);
        // More lines than any known program writes.
        for _ in 0..16 {
            let Some((line, after)) = rest.split_once('\n') else { break };
            rest = after;
            if line == "Output:" {
                report.output = rest.to_owned();
                return report;
            }
            let code = line.strip_prefix("Process exited with code ").or_else(|| line.strip_prefix("Exit code: "));
            report.exit_code = report.exit_code.or_else(|| code?.trim().parse().ok());
            let time = line.strip_prefix("Wall time: ").or_else(|| line.strip_prefix("Duration: "));
            let seconds = time.and_then(|time| time.strip_suffix(" seconds"));
            report.duration_ms = report.duration_ms.or_else(|| to_millis(seconds?.trim().parse().ok()?));
        }
        Self { output: text.to_owned(), ..Self::default() }
    }
}

/// Converts seconds to milliseconds. `None` for numbers that are no duration.
fn to_millis(seconds: f64) -> Option<i64> {
    let millis = std::time::Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    i64::try_from(millis).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(output: &str, exit_code: Option<i64>, duration_ms: Option<i64>) -> CommandReport {
        CommandReport { output: output.to_owned(), exit_code, duration_ms }
    }

    #[test]
    fn outputs_of_every_form_are_read() {
        let cases = [
            (json!("no form"), report("no form", None, None)),
            (json!("Output: of a program\nExit code: 3\n"), report("Output: of a program\nExit code: 3\n", None, None)),
            (json!({"content": "aborted", "success": false}), report("aborted", None, None)),
            (
                json!([{"type": "input_text", "text": "a"}, {"type": "input_image"}, {"text": "b"}]),
                report("ab", None, None),
            ),
            (
                json!("{\"output\":\"o\\n\",\"metadata\":{\"exit_code\":1,\"duration_seconds\":0.5}}"),
                report("o\n", Some(1), Some(500)),
            ),
            (
                json!(
                    "Chunk ID: 5\nWall time: 0.2500 seconds\nProcess exited with code 3\nOriginal token count: 1\nOutput:\nno\n"
                ),
                report("no\n", Some(3), Some(250)),
            ),
            (json!("Exit code: 0\nWall time: 1 seconds\nOutput:\n"), report("", Some(0), Some(1000))),
            (json!("Wall time: NaN seconds\nOutput:\nx"), report("x", None, None)),
            (json!(null), report("", None, None)),
        ];
        for (output, expected) in cases {
            assert_eq!(CommandReport::parse(&output), expected, "{output}");
        }
    }
}
