//! A conversation with the app server of Codex: JSON-RPC over its standard streams, one object a line.
//!
//! ```text
//!   start ─▶ initialize ─▶ call, call, … ─▶ end: close the input, wait for the program
//!     │          │            │               │
//!     └──────────┴────────────┴───────────────┴──▶ an error: kill the program with its process group
//! ```
//!
//! The server ends by itself when its input is closed, so that it does not outlive this program either.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::timing::LAST_WORDS_LIMIT;

/// How many bytes of the end of the program's messages are kept for an error.
const MESSAGE_TAIL: usize = 600;

/// The code of JSON-RPC for a method that does not exist.
const METHOD_NOT_FOUND: i64 = -32601;

/// A running app server.
#[derive(Debug)]
pub(super) struct Conversation {
    child: Child,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    inbox: Receiver<Value>,
    /// Gets the end of what the program wrote to its standard error, when that is closed.
    messages: Receiver<String>,
    patience: Duration,
    last_id: u64,
    /// The version that the server reports.
    pub(super) version: String,
}

/// Why a conversation failed.
#[derive(Debug)]
pub(super) enum ConversationError {
    /// The program could not be started.
    NotStarted(io::Error),
    /// The program ended, and this is the end of what it said.
    Ended(String),
    /// The program did not answer in time, and was killed.
    TimedOut(Duration),
    /// The program does not know the method.
    UnknownMethod(String),
    /// The program refused the request.
    Refused(String),
}

impl fmt::Display for ConversationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(out, "cannot be started: {error}"),
            Self::Ended(messages) if messages.is_empty() => out.write_str("ended without an answer"),
            Self::Ended(messages) => write!(out, "ended without an answer: {messages}"),
            Self::TimedOut(patience) => write!(out, "did not answer for {} s and was ended", patience.as_secs()),
            Self::UnknownMethod(method) => write!(out, "is too old: it does not know {method}"),
            Self::Refused(reason) => write!(out, "refuses: {reason}"),
        }
    }
}

impl Conversation {
    /// Starts the app server of a program on a home, and greets it. `settings` are settings of its configuration for this run.
    pub(super) fn start(
        program: &Path,
        home: &Path,
        settings: &[String],
        patience: Duration,
    ) -> Result<Self, ConversationError> {
        let mut command = Command::new(program);
        // In the home, so that the configuration of whatever project is here does not count.
        command.env("CODEX_HOME", home).current_dir(home).arg("app-server");
        command.args(settings.iter().flat_map(|setting| [OsString::from("-c"), setting.into()]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own, it can be killed together with the programs that it started.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(ConversationError::NotStarted)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, inbox) = channel();
        if let Some(stdout) = stdout {
            std::thread::spawn(move || forward(stdout, &sender));
        }
        let (said, messages) = channel();
        if let Some(stderr) = stderr {
            // If the receiver is gone, nobody needs the messages.
            std::thread::spawn(move || said.send(tail(stderr)));
        }
        let mut server = Self { child, stdin, inbox, messages, patience, last_id: 0, version: String::new() };
        let client = json!({"name": "selvedge", "version": env!("CARGO_PKG_VERSION")});
        // `thread/revert` is experimental in some releases.
        let hello = json!({"clientInfo": client, "capabilities": {"experimentalApi": true}});
        let answer = server.call("initialize", &hello)?;
        server.version = version(&answer);
        server.send(&json!({"method": "initialized"}))?;
        Ok(server)
    }

    /// Sends a request and returns its result.
    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value, ConversationError> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"id": id, "method": method, "params": params}))?;
        let end = Instant::now() + self.patience;
        loop {
            let mut message = self.receive(end)?;
            if message.get("method").is_some() {
                self.decline(&message)?;
            } else if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(refusal(method, error)),
                    None => Ok(message["result"].take()),
                };
            }
        }
    }

    /// Closes the input and waits for the end of the program, so that it holds no lock any more.
    pub(super) fn end(mut self) -> Result<(), ConversationError> {
        self.stdin = None;
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return Ok(()),
            }
        }
        Err(self.give_up())
    }

    /// A request of the server is refused, because nobody is here to answer it. Notifications need no answer.
    fn decline(&mut self, message: &Value) -> Result<(), ConversationError> {
        let Some(id) = message.get("id") else { return Ok(()) };
        let error = json!({"code": METHOD_NOT_FOUND, "message": "this client answers no requests"});
        self.send(&json!({"id": id, "error": error}))
    }

    fn send(&mut self, message: &Value) -> Result<(), ConversationError> {
        let sent =
            self.stdin.as_mut().map_or(Ok(()), |stdin| writeln!(stdin, "{message}").and_then(|()| stdin.flush()));
        sent.map_err(|_| self.ended())
    }

    fn receive(&mut self, end: Instant) -> Result<Value, ConversationError> {
        match self.inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => Err(self.give_up()),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn give_up(&mut self) -> ConversationError {
        self.kill();
        ConversationError::TimedOut(self.patience)
    }

    /// Returns the error of a program that closed its streams.
    fn ended(&mut self) -> ConversationError {
        self.kill();
        ConversationError::Ended(self.messages.recv_timeout(LAST_WORDS_LIMIT).unwrap_or_default())
    }

    /// Kills the program and the programs that it started, and waits for its end.
    fn kill(&mut self) {
        self.stdin = None;
        // What has ended already cannot be killed.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// Returns the version in the answer to `initialize`: `client/0.171.0 (system) …`.
fn version(answer: &Value) -> String {
    let agent = answer["userAgent"].as_str().unwrap_or_default();
    let version = agent.split_once('/').and_then(|(_, rest)| rest.split_whitespace().next());
    version.unwrap_or("of an unknown version").to_owned()
}

fn refusal(method: &str, error: &Value) -> ConversationError {
    let reason = error["message"].as_str().unwrap_or("without a reason");
    // Codex answers a method that it does not know with a failure to parse the request, which names the methods that it knows.
    if error["code"] == METHOD_NOT_FOUND || reason.contains(&format!("unknown variant `{method}`")) {
        return ConversationError::UnknownMethod(method.to_owned());
    }
    ConversationError::Refused(reason.to_owned())
}

/// Forwards each line that is a JSON object, until the stream or the receiver ends.
fn forward(stdout: ChildStdout, sender: &Sender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str(&line) else { continue };
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// Reads a stream to its end and returns its last characters on one line.
fn tail(mut stderr: ChildStderr) -> String {
    let (mut kept, mut block) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stderr.read(&mut block) {
        kept.extend_from_slice(&block[..read]);
        kept.drain(..kept.len().saturating_sub(MESSAGE_TAIL));
    }
    String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")
}
