//! Converts an item of the log to an item of a turn. In the log, an item has several forms.

use selvedge_protocol::{
    EventMsg, ImageGenerationEndEvent, ItemContent, ItemStatus, McpToolCallEndEvent, OtherTurnItem, PatchApplyEndEvent,
    TurnId, TurnItem, WebSearchEndEvent,
};
use serde_json::{Map, Value};

use crate::user_input::UserInput;

/// Converts a completed item of kind `kind` with these fields.
pub(crate) fn from_completed(kind: &str, fields: Map<String, Value>) -> ItemContent {
    let fields = Fields(fields);
    match kind {
        "UserMessage" => {
            let input = UserInput::from_content(fields.get("content"));
            user_message(input, fields.string("client_id"))
        }
        "AgentMessage" => agent_message(&fields),
        "Reasoning" => {
            ItemContent::Reasoning { summary: fields.strings("summary_text"), content: fields.strings("raw_content") }
        }
        "CommandExecution" => command_execution(&fields),
        "FileChange" => ItemContent::FileChange { status: fields.status(), changes: fields.get("changes").clone() },
        "McpToolCall" | "DynamicToolCall" | "ToolCall" => tool_call(&fields),
        "WebSearch" => ItemContent::WebSearch {
            query: fields.string("query").unwrap_or_default(),
            action: fields.value("action"),
            results: fields.value("results"),
        },
        "ImageGeneration" => ItemContent::ImageGeneration {
            status: fields.string("status").unwrap_or_default(),
            revised_prompt: fields.string("revised_prompt"),
            saved_path: fields.string("saved_path"),
        },
        "ContextCompaction" => ItemContent::ContextCompaction,
        "Plan" => ItemContent::Plan { text: fields.string("text").unwrap_or_default() },
        "EnteredReviewMode" => ItemContent::EnteredReviewMode { review: fields.review() },
        "ExitedReviewMode" => ItemContent::ExitedReviewMode { review: fields.review() },
        _ => other(kind, fields.0),
    }
}

/// Returns the command, if the user ran it in the client and the agent did not. `fields` are those of a command before they are
/// converted.
pub(crate) fn command_of_user(fields: &Map<String, Value>) -> Option<String> {
    // Programs run `bash -lc COMMAND`.
    let is_of_user = fields.get("source").and_then(Value::as_str) == Some("user_shell");
    let command = if is_of_user { fields.get("command")?.as_array()?.last()?.as_str() } else { None };
    command.map(str::to_owned)
}

/// Converts the input of the user.
pub(crate) fn user_message(input: UserInput, client_id: Option<String>) -> ItemContent {
    let UserInput { text, images, attachments, .. } = input;
    ItemContent::UserMessage { text, images, attachments, client_id }
}

/// Converts an item of kind `kind` that has started.
pub(crate) fn from_started(kind: &str, mut fields: Map<String, Value>) -> ItemContent {
    fields.entry("status").or_insert_with(|| "in_progress".into());
    from_completed(kind, fields)
}

/// Returns whether an event of this kind records a step of the agent.
pub(crate) fn is_step(event: &str) -> bool {
    matches!(
        event,
        "exec_command_begin"
            | "exec_command_end"
            | "patch_apply_begin"
            | "web_search_begin"
            | "mcp_tool_call_begin"
            | "dynamic_tool_call_request"
            | "dynamic_tool_call_response"
    )
}

/// Converts an event that records a step of the agent. Only few programs recorded these events: one at the start of a step, one at
/// its end.
pub(crate) fn from_step(event: &str, fields: Map<String, Value>) -> Option<ItemContent> {
    Some(match event {
        "exec_command_begin" => from_started("CommandExecution", fields),
        "exec_command_end" => from_completed("CommandExecution", fields),
        "patch_apply_begin" => from_started("FileChange", fields),
        "web_search_begin" => from_started("WebSearch", fields),
        "dynamic_tool_call_request" => from_started("DynamicToolCall", fields),
        "dynamic_tool_call_response" => from_completed("DynamicToolCall", fields),
        "mcp_tool_call_begin" => {
            let invocation = fields.get("invocation").and_then(Value::as_object).cloned().unwrap_or_default();
            from_started("McpToolCall", invocation)
        }
        _ => return None,
    })
}

/// Drops the texts of an item. What it is stays: its id, kind and state, who told of it, and whether it has an output.
pub(crate) fn drop_texts(item: &mut TurnItem) {
    let nothing = |value: &mut Option<Value>| *value = value.is_some().then_some(Value::Null);
    match &mut item.content {
        ItemContent::UserMessage { text, images, attachments, .. } => {
            (*text, *images, *attachments) = (String::new(), Vec::new(), Vec::new());
        }
        ItemContent::AgentMessage { text, memory_citation, .. } => {
            *text = String::new();
            nothing(memory_citation);
        }
        ItemContent::Reasoning { summary, content } => (*summary, *content) = (Vec::new(), Vec::new()),
        ItemContent::CommandExecution { command, command_actions, output, .. } => {
            (*command, *command_actions) = (String::new(), Vec::new());
            *output = output.is_some().then(String::new);
        }
        ItemContent::FileChange { changes, .. } => *changes = Value::Null,
        ItemContent::ToolCall { arguments, result, error, .. } => {
            *arguments = Value::Null;
            nothing(result);
            nothing(error);
        }
        ItemContent::WebSearch { query, action, results } => {
            *query = String::new();
            nothing(action);
            nothing(results);
        }
        ItemContent::ImageGeneration { revised_prompt: text, .. } => *text = text.is_some().then(String::new),
        ItemContent::Plan { text }
        | ItemContent::EnteredReviewMode { review: text }
        | ItemContent::ExitedReviewMode { review: text }
        | ItemContent::Transcript { text, .. }
        | ItemContent::InterAgentMessage { text, .. } => *text = String::new(),
        ItemContent::Other(other) => other.fields.values_mut().for_each(|value| *value = Value::Null),
        _ => {}
    }
}

/// Fills fields that an update of an item leaves empty from the earlier item with the same id: some programs record the command or
/// the changes only when a step starts.
pub(crate) fn fill_from(item: &mut TurnItem, earlier: TurnItem) {
    item.started_at = item.started_at.or(earlier.started_at);
    match (earlier.content, &mut item.content) {
        (
            ItemContent::CommandExecution { command: earlier_command, cwd: earlier_cwd, .. },
            ItemContent::CommandExecution { command, cwd, .. },
        ) => {
            if command.is_empty() {
                *command = earlier_command;
            }
            if cwd.is_none() {
                *cwd = earlier_cwd;
            }
        }
        (ItemContent::FileChange { changes: earlier, .. }, ItemContent::FileChange { changes, .. })
            if changes.is_null() =>
        {
            *changes = earlier;
        }
        // Some events have the id of a call, but do not tell what it said: for example, that a sub-agent was started.
        (ItemContent::ToolCall { tool, arguments, result, .. }, ItemContent::Other(other)) => {
            add_call(other, &tool, &arguments);
            if let Some(result) = result {
                other.fields.entry("result").or_insert(result);
            }
        }
        (ItemContent::CommandExecution { command, output, .. }, ItemContent::Other(other)) => {
            other.fields.entry("command").or_insert_with(|| command.into());
            if let Some(output) = output {
                other.fields.entry("result").or_insert_with(|| output.into());
            }
        }
        (ItemContent::Other(mut earlier), ItemContent::Other(other)) => {
            for name in ["tool", "arguments", "command", "result"] {
                if let Some(value) = earlier.fields.remove(name) {
                    other.fields.entry(name).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

/// Adds what a call says to an item that has its id.
pub(crate) fn add_call(item: &mut OtherTurnItem, tool: &str, arguments: &Value) {
    item.fields.entry("tool").or_insert_with(|| tool.into());
    item.fields.entry("arguments").or_insert_with(|| arguments.clone());
}

/// Converts an event of a legacy thread that contains a whole item. Also returns the id of its call, if there is one.
pub(crate) fn from_legacy(event: &EventMsg) -> Option<(Option<&str>, ItemContent)> {
    Some(match event {
        EventMsg::ContextCompacted(_) => (None, ItemContent::ContextCompaction),
        EventMsg::EnteredReviewMode(event) => {
            (None, ItemContent::EnteredReviewMode { review: event.user_facing_hint.clone().unwrap_or_default() })
        }
        EventMsg::ExitedReviewMode(event) => {
            (None, ItemContent::ExitedReviewMode { review: review_text(event.review_output.as_ref()) })
        }
        EventMsg::PatchApplyEnd(event) => (event.call_id.as_deref(), patch_applied(event)),
        EventMsg::McpToolCallEnd(event) => (event.call_id.as_deref(), mcp_tool_called(event)),
        EventMsg::WebSearchEnd(event) => (event.call_id.as_deref(), web_searched(event)),
        EventMsg::ImageGenerationEnd(event) => (event.call_id.as_deref(), image_generated(event)),
        _ => return None,
    })
}

/// Returns the id of the turn that an event of a legacy thread names.
pub(crate) fn turn_of(event: &EventMsg) -> Option<TurnId> {
    let extra = match event {
        EventMsg::PatchApplyEnd(event) => return event.turn_id.clone(),
        EventMsg::McpToolCallEnd(event) => &event.extra,
        EventMsg::WebSearchEnd(event) => &event.extra,
        EventMsg::ImageGenerationEnd(event) => &event.extra,
        _ => return None,
    };
    serde_json::from_str(extra.get("turn_id")?.get()).ok()
}

fn patch_applied(event: &PatchApplyEndEvent) -> ItemContent {
    let by_success = if event.success == Some(false) { ItemStatus::Failed } else { ItemStatus::Completed };
    let status = event.status.as_deref().and_then(status_named).unwrap_or(by_success);
    ItemContent::FileChange { status, changes: event.changes.clone().unwrap_or_default() }
}

fn mcp_tool_called(event: &McpToolCallEndEvent) -> ItemContent {
    let invocation = event.invocation.clone().unwrap_or_default();
    let text = |name: &str| invocation[name].as_str().map(str::to_owned);
    let outcome = event.result.clone().unwrap_or_default();
    let result = outcome.get("Ok").cloned();
    let error = outcome.get("Err").cloned();
    let is_error = result.as_ref().is_some_and(|result| result["is_error"] == true || result["isError"] == true);
    ItemContent::ToolCall {
        server: text("server"),
        tool: text("tool").unwrap_or_default(),
        arguments: invocation["arguments"].clone(),
        status: if error.is_some() || is_error { ItemStatus::Failed } else { ItemStatus::Completed },
        result,
        error,
        duration_ms: event.duration.as_ref().and_then(millis),
    }
}

fn web_searched(event: &WebSearchEndEvent) -> ItemContent {
    ItemContent::WebSearch {
        query: event.query.clone().unwrap_or_default(),
        action: event.action.clone(),
        results: event.extra.get("results").and_then(|results| serde_json::from_str(results.get()).ok()),
    }
}

fn image_generated(event: &ImageGenerationEndEvent) -> ItemContent {
    ItemContent::ImageGeneration {
        status: event.status.clone().unwrap_or_default(),
        revised_prompt: event.revised_prompt.clone(),
        saved_path: event.saved_path.clone(),
    }
}

/// Returns the result of a review as a text.
fn review_text(output: Option<&Value>) -> String {
    match output {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(output) => match output["overall_explanation"].as_str() {
            Some(text) => text.to_owned(),
            None => output.to_string(),
        },
    }
}

fn agent_message(fields: &Fields) -> ItemContent {
    let parts = fields.get("content").as_array().into_iter().flatten();
    let text = parts.filter_map(|part| part["text"].as_str()).collect();
    ItemContent::AgentMessage { text, phase: fields.string("phase"), memory_citation: fields.value("memory_citation") }
}

fn command_execution(fields: &Fields) -> ItemContent {
    // Some programs write the directory as a `file://` URL.
    let cwd = fields.string("cwd").map(|cwd| cwd.strip_prefix("file://").unwrap_or(&cwd).to_owned());
    ItemContent::CommandExecution {
        command: command_line(fields.get("command")),
        cwd,
        command_actions: fields.array(&["parsed_cmd", "command_actions"]),
        status: fields.status(),
        output: fields.string("aggregated_output").or_else(|| fields.streams()),
        exit_code: fields.get("exit_code").as_i64(),
        duration_ms: fields.duration_ms(),
    }
}

fn tool_call(fields: &Fields) -> ItemContent {
    // A tool of an MCP server has `server` and `result`. A tool of the client has `namespace` and `content_items` instead.
    ItemContent::ToolCall {
        server: fields.string("server").or_else(|| fields.string("namespace")),
        tool: fields.string("tool").unwrap_or_default(),
        arguments: fields.get("arguments").clone(),
        status: fields.status(),
        result: fields.value("result").or_else(|| fields.value("content_items")),
        error: fields.value("error"),
        duration_ms: fields.duration_ms(),
    }
}

fn other(kind: &str, fields: Map<String, Value>) -> ItemContent {
    ItemContent::Other(OtherTurnItem::new(snake_case(kind), fields))
}

/// The fields of an item. Each of them can be missing or have an unexpected type.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn value(&self, name: &str) -> Option<Value> {
        Some(self.get(name)).filter(|value| !value.is_null()).cloned()
    }

    /// Returns the array in the first of these fields that has one.
    fn array(&self, names: &[&str]) -> Vec<Value> {
        names.iter().find_map(|name| self.get(name).as_array()).cloned().unwrap_or_default()
    }

    fn string(&self, name: &str) -> Option<String> {
        self.get(name).as_str().map(str::to_owned)
    }

    fn strings(&self, name: &str) -> Vec<String> {
        // Each part is a string, or an object with a text.
        let parts = self.get(name).as_array().into_iter().flatten();
        parts.filter_map(|part| part.as_str().or_else(|| part["text"].as_str())).map(str::to_owned).collect()
    }

    /// Returns the status. If there is none, the outcome decides: an item is completed unless a field shows a failure.
    fn status(&self) -> ItemStatus {
        let exit_code = self.get("exit_code").as_i64().unwrap_or(0);
        let has_failed = self.get("success") == false || exit_code != 0;
        let by_outcome = if has_failed { ItemStatus::Failed } else { ItemStatus::Completed };
        self.get("status").as_str().and_then(status_named).unwrap_or(by_outcome)
    }

    /// Returns the output of a command, from programs that recorded its two streams separately.
    fn streams(&self) -> Option<String> {
        let (out, err) = (self.string("stdout"), self.string("stderr"));
        (out.is_some() || err.is_some()).then(|| out.unwrap_or_default() + &err.unwrap_or_default())
    }

    fn duration_ms(&self) -> Option<i64> {
        self.get("duration_ms").as_i64().or_else(|| millis(self.get("duration")))
    }

    fn review(&self) -> String {
        self.string("review").unwrap_or_else(|| review_text(Some(self.get("review_output"))))
    }
}

fn status_named(name: &str) -> Option<ItemStatus> {
    match name {
        "in_progress" | "inProgress" => Some(ItemStatus::InProgress),
        "completed" => Some(ItemStatus::Completed),
        "failed" => Some(ItemStatus::Failed),
        "declined" => Some(ItemStatus::Declined),
        _ => None,
    }
}

/// Converts a duration of the log, `{"secs", "nanos"}`, to milliseconds.
fn millis(duration: &Value) -> Option<i64> {
    let nanos = duration["nanos"].as_i64().unwrap_or(0);
    duration["secs"].as_i64()?.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

/// Returns a command as one line that a shell splits into the same words.
pub(crate) fn command_line(command: &Value) -> String {
    match command {
        Value::String(line) => line.clone(),
        Value::Array(words) => {
            let words = words.iter().filter_map(Value::as_str).map(shell_word);
            words.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Converts `SubAgentActivity` to `sub_agent_activity`.
fn snake_case(kind: &str) -> String {
    let mut snake = String::with_capacity(kind.len() + 4);
    for c in kind.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
