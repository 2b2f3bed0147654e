//! A stand-in for the model: it answers `POST /v1/responses` on loopback with server-sent events and records every request body.
//!
//! It answers with plain text. If the last user text starts with `tool:`, it first calls the shell tool with the rest of the text. Other
//! answers can be queued. A request for a summary gets a summary, whatever is in the queue.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A running stand-in. It serves until the process ends.
pub(crate) struct StandIn {
    address: SocketAddr,
    shared: Arc<StandInState>,
}

/// State that the serving threads share.
#[derive(Default)]
struct StandInState {
    /// The bodies of all requests.
    requests: Mutex<Vec<Value>>,
    /// The answers to the next requests.
    script: Mutex<VecDeque<Reply>>,
}

/// One answer of the model.
pub(crate) struct Reply {
    what: What,
    /// How many tokens of its context the model reports as used. A large number makes the program compact.
    tokens: usize,
}

enum What {
    /// Reasoning, and an answer to the last question.
    Say,
    /// A call of the shell tool.
    Tool(String),
    /// A call of another tool with these arguments.
    Call(String, Value),
    /// An output item that is sent unchanged.
    Item(Value),
    /// No answer; the connection stays open.
    Hang,
}

impl Reply {
    pub(crate) fn say() -> Self {
        Self { what: What::Say, tokens: USED }
    }

    pub(crate) fn tool(command: &str) -> Self {
        Self { what: What::Tool(command.to_owned()), tokens: USED }
    }

    pub(crate) fn call(tool: &str, arguments: Value) -> Self {
        Self { what: What::Call(tool.to_owned(), arguments), tokens: USED }
    }

    pub(crate) fn item(item: Value) -> Self {
        Self { what: What::Item(item), tokens: USED }
    }

    pub(crate) fn hang() -> Self {
        Self { what: What::Hang, tokens: USED }
    }

    /// Returns the same answer with a full context.
    pub(crate) fn full(self) -> Self {
        Self { tokens: FULL, ..self }
    }
}

/// Beginning of the prompt for a summary, in releases that can configure it.
pub(crate) const SUMMARISE: &str = "compact: say what matters";

/// Beginning of a summary.
const SUMMARY: &str = "SUMMARY ";

/// Tokens that a normal answer reports.
const USED: usize = 1000;

/// Tokens that fill the context.
const FULL: usize = 250_000;

/// How long a connection without an answer stays open.
const HANG: Duration = Duration::from_secs(120);

/// Timeout for a request.
const PATIENCE: Duration = Duration::from_secs(60);

impl StandIn {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::<StandInState>::default();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &served));
        Ok(Self { address, shared })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of requests so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// Replaces the queue by answers to the next requests.
    pub(crate) fn plan(&self, replies: Vec<Reply>) {
        *lock(&self.shared.script) = replies.into();
    }

    /// Waits until the model has received this number of requests.
    pub(crate) fn wait_for(&self, count: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.count() < count {
            if Instant::now() > end {
                bail!("the model was asked {} times, not {count}", self.count());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Returns the `input` of the first request after the first `count` ones.
    pub(crate) fn input_after(&self, count: usize) -> Result<Vec<Value>> {
        let requests = lock(&self.shared.requests);
        let request = requests.get(count).context("the model was not asked")?;
        let input = request["input"].as_array().context("the model request has no input")?;
        Ok(input.clone())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<StandInState>) {
    for stream in listener.incoming().flatten() {
        let shared = Arc::clone(shared);
        // If a request cannot be answered, the turn of the program fails.
        std::thread::spawn(move || serve(stream, &shared));
    }
}

/// Serves one request and closes the connection.
fn serve(mut stream: TcpStream, shared: &StandInState) -> Result<()> {
    let request = read_request(&stream)?;
    let answer = match request {
        Request { method, path, body } if method == "POST" && path.ends_with("/responses") => {
            let body: Value = serde_json::from_slice(&body).context("the request is no JSON")?;
            let events = events(&body, keep(shared, &body), next_reply(shared, &body));
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{}", with_length(&events))
        }
        // Refuses web sockets, so that the client uses plain requests immediately.
        Request { method, path, .. } if method == "GET" && path.ends_with("/responses") => {
            format!("HTTP/1.1 426 Upgrade Required\r\n{}", with_length(""))
        }
        _ => format!("HTTP/1.1 404 Not Found\r\n{}", with_length("")),
    };
    stream.write_all(answer.as_bytes())?;
    Ok(stream.flush()?)
}

fn with_length(body: &str) -> String {
    format!("Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Records the body and returns its number.
fn keep(shared: &StandInState, body: &Value) -> usize {
    let mut requests = lock(&shared.requests);
    requests.push(body.clone());
    requests.len()
}

/// Returns the next answer of the queue, or a summary if the request asks for one.
fn next_reply(shared: &StandInState, body: &Value) -> Option<Reply> {
    if asks_for_summary(body) { None } else { lock(&shared.script).pop_front() }
}

/// Returns whether a request asks for a summary. Releases that cannot configure the prompt offer no tools in such a request.
fn asks_for_summary(body: &Value) -> bool {
    let no_tools = body["tools"].as_array().is_some_and(Vec::is_empty);
    no_tools || last_question(input_of(body)).starts_with(SUMMARISE)
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { bail!("no HTTP request: {line:?}") };
    let mut body = vec![0; content_length(&mut reader)?];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, body })
}

/// Reads the headers up to the empty line.
fn content_length(reader: &mut impl BufRead) -> Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().with_context(|| format!("a bad length: {}", value.trim()))?;
        }
    }
}

fn events(body: &Value, number: usize, reply: Option<Reply>) -> String {
    let id = format!("resp_{number}");
    let tokens = reply.as_ref().map_or(USED, |reply| reply.tokens);
    let usage = json!({
        "input_tokens": tokens + number, "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": tokens + 20 + number,
    });
    let items = match reply.map(|reply| reply.what) {
        None => vec![answer(body, number)],
        Some(What::Say) => vec![thought(number), answer(body, number)],
        Some(What::Tool(command)) => vec![shell_call(body, number, &command)],
        Some(What::Call(tool, arguments)) => vec![call(body, number, &tool, &arguments)],
        Some(What::Item(item)) => vec![item],
        Some(What::Hang) => {
            std::thread::sleep(HANG);
            Vec::new()
        }
    };
    let mut events = vec![json!({"type": "response.created", "response": {"id": id}})];
    events.extend((0..).zip(items).map(
        |(index, item): (usize, Value)| json!({"type": "response.output_item.done", "output_index": index, "item": item}),
    ));
    events.push(json!({"type": "response.completed", "response": {"id": id, "usage": usage}}));
    let mut text = String::new();
    for event in events {
        let kind = event["type"].as_str().unwrap_or_default();
        text.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }
    text
}

fn answer(body: &Value, number: usize) -> Value {
    let input = input_of(body);
    if input.last().is_some_and(|item| item["type"] == "function_call_output") {
        return message(number, &format!("Tool finished (answer {number})."));
    }
    let question = last_question(input);
    match question.strip_prefix("tool:") {
        _ if asks_for_summary(body) => message(number, &format!("{SUMMARY}{number}: the work so far.")),
        Some(command) => shell_call(body, number, command.trim()),
        None => message(number, &format!("Answer {number} to: {question}")),
    }
}

/// A call of the shell tool that the program offers.
fn shell_call(body: &Value, number: usize, command: &str) -> Value {
    let (name, arguments) = match tools_of(body).iter().filter_map(|tool| tool["name"].as_str()).find(is_shell) {
        Some("shell_command") => ("shell_command", json!({"command": command})),
        Some("shell") => ("shell", json!({"command": ["bash", "-lc", command]})),
        _ => ("exec_command", json!({"cmd": command})),
    };
    call(body, number, name, &arguments)
}

fn is_shell(name: &&str) -> bool {
    matches!(*name, "shell_command" | "shell" | "exec_command")
}

/// Makes a call of a tool, in the namespace in which the program offers it.
fn call(body: &Value, number: usize, name: &str, arguments: &Value) -> Value {
    let holds =
        |space: &&Value| space["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == name));
    let mut call = json!({
        "type": "function_call", "id": format!("fc_m{number}"), "call_id": format!("call_m{number}"),
        "name": name, "arguments": arguments.to_string(),
    });
    if let Some(space) = tools_of(body).iter().find(holds) {
        call["namespace"] = space["name"].clone();
    }
    call
}

fn tools_of(body: &Value) -> &[Value] {
    body["tools"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn thought(number: usize) -> Value {
    json!({
        "type": "reasoning", "id": format!("rs_m{number}"), "encrypted_content": "ZW5jcnlwdGVk",
        "summary": [{"type": "summary_text", "text": format!("**Thinking** step {number}")}],
    })
}

fn input_of(body: &Value) -> &[Value] {
    body["input"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn message(number: usize, text: &str) -> Value {
    json!({
        "type": "message", "id": format!("msg_m{number}"), "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    })
}

/// Returns the last text of the user. Text that the program adds in the role of the user is ignored. Of the summary before a
/// compacted history, only the text of the model is returned.
fn last_question(input: &[Value]) -> &str {
    let user = input.iter().rev().filter(|item| item["role"] == "user");
    let parts = user.filter_map(|item| item["content"].as_array()).flat_map(|parts| parts.iter().rev());
    let mut texts = parts.filter_map(|part| part["text"].as_str()).filter(|text| !text.starts_with(['<', '#']));
    let text = texts.next().unwrap_or_default();
    text.find(SUMMARY).map_or(text, |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, body: &str, address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_with_text_and_tool_calls_and_records_the_input() {
        let model = StandIn::start().unwrap();
        let user =
            |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
        let plain = ask("/v1/responses", &json!({"input": [user("hello")]}).to_string(), model.address());
        assert!(plain.contains("Answer 1 to: hello") && plain.contains("event: response.completed"), "{plain}");
        let tool = ask("/v1/responses", &json!({"input": [user("tool: ls")]}).to_string(), model.address());
        assert!(tool.contains("function_call") && tool.contains("exec_command"), "{tool}");
        assert!(ask("/v1/else", "", model.address()).starts_with("HTTP/1.1 404"));
        assert_eq!(model.count(), 2);
        assert_eq!(model.input_after(1).unwrap(), [user("tool: ls")]);
        assert!(model.input_after(2).is_err());
    }
}
