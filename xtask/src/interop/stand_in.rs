//! A stand-in for the model: answers `POST /v1/responses` on loopback with server-sent events and keeps every request body.
//!
//! It answers with plain text. If the last user text starts with `tool:` it calls the shell tool with the rest of it first.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A running stand-in. It serves until the process ends.
pub(super) struct StandIn {
    address: SocketAddr,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<Value>>>;

impl StandIn {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let requests = Requests::default();
        let shared = Arc::clone(&requests);
        std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self { address, requests })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came so far.
    pub(super) fn count(&self) -> usize {
        lock(&self.requests).len()
    }

    /// The `input` of the first request that came after `count`.
    pub(super) fn input_after(&self, count: usize) -> Result<Vec<Value>> {
        let requests = lock(&self.requests);
        let request = requests.get(count).context("the model was not asked")?;
        let input = request["input"].as_array().context("the model request has no input")?;
        Ok(input.clone())
    }
}

fn lock(requests: &Requests) -> std::sync::MutexGuard<'_, Vec<Value>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, requests: &Requests) {
    for stream in listener.incoming().flatten() {
        let requests = Arc::clone(requests);
        // A request that cannot be answered shows as a failed turn on the other side.
        std::thread::spawn(move || serve(stream, &requests));
    }
}

/// One request, one answer, and the connection is closed.
fn serve(mut stream: TcpStream, requests: &Requests) -> Result<()> {
    let request = read_request(&stream)?;
    let answer = match request {
        Request { method, path, body } if method == "POST" && path.ends_with("/responses") => {
            let body: Value = serde_json::from_slice(&body).context("the request is no JSON")?;
            let events = events(&body, keep(requests, &body));
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{}", with_length(&events))
        }
        // Says that there are no web sockets here, so that the client goes on with plain requests at once.
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

/// Keeps the body and says the how-manieth it is.
fn keep(requests: &Requests, body: &Value) -> usize {
    let mut requests = lock(requests);
    requests.push(body.clone());
    requests.len()
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

fn events(body: &Value, number: usize) -> String {
    let id = format!("resp_{number}");
    let usage = json!({
        "input_tokens": 1000 + number, "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 1020 + number,
    });
    let events = [
        json!({"type": "response.created", "response": {"id": id}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": answer(body, number)}),
        json!({"type": "response.completed", "response": {"id": id, "usage": usage}}),
    ];
    let mut text = String::new();
    for event in events {
        let kind = event["type"].as_str().unwrap_or_default();
        text.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }
    text
}

fn answer(body: &Value, number: usize) -> Value {
    let input = body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    if input.last().is_some_and(|item| item["type"] == "function_call_output") {
        return message(number, &format!("Tool finished (answer {number})."));
    }
    let question = last_user_text(input);
    match question.strip_prefix("tool:") {
        Some(command) => json!({
            "type": "function_call", "id": format!("fc_m{number}"), "call_id": format!("call_m{number}"),
            "name": "exec_command", "arguments": json!({"cmd": command.trim()}).to_string(),
        }),
        None => message(number, &format!("Answer {number} to: {question}")),
    }
}

fn message(number: usize, text: &str) -> Value {
    json!({
        "type": "message", "id": format!("msg_m{number}"), "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    })
}

fn last_user_text(input: &[Value]) -> &str {
    let user = input.iter().rfind(|item| item["role"] == "user");
    let parts = user.and_then(|item| item["content"].as_array());
    parts.and_then(|parts| parts.last()).and_then(|part| part["text"].as_str()).unwrap_or_default()
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
    fn it_answers_text_and_tool_calls_and_keeps_the_input() {
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
