//! A driver for `codex app-server`: JSON-RPC, one object a line, over its standard streams.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Codex, exec::kill_group};

/// Timeout for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Timeout for the end of the program after its input was closed.
const FAREWELL: Duration = Duration::from_secs(10);

/// A running app server over one home.
pub(crate) struct AppServer {
    child: Child,
    stdin: Option<ChildStdin>,
    inbox: Receiver<Value>,
    /// Notifications that the server sent.
    notices: Vec<Value>,
    /// The results for requests of the server, by method.
    replies: BTreeMap<&'static str, Value>,
    last_id: u64,
}

/// An error response: the server refused a request.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Codex refuses: {}", self.0)
    }
}

impl std::error::Error for Refusal {}

impl AppServer {
    /// Starts the server and does the handshake.
    pub(crate) fn start(codex: &Codex, home: &Path) -> Result<Self> {
        Self::start_for(codex, home, "selvedge-interop")
    }

    /// Starts the server for a client, whose name becomes the originator of its threads.
    pub(crate) fn start_for(codex: &Codex, home: &Path, client: &str) -> Result<Self> {
        let mut command = codex.command(home)?;
        command.arg("app-server").stdin(Stdio::piped()).stdout(Stdio::piped());
        // A process group of its own, so that it can be killed together with its launcher.
        command.process_group(0);
        let mut child = command.spawn().context("cannot start the app server")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the app server has no output")?;
        let (sender, inbox) = channel();
        std::thread::spawn(move || forward(stdout, &sender));
        let mut server = Self { child, stdin, inbox, notices: Vec::new(), replies: BTreeMap::new(), last_id: 0 };
        let hello = json!({
            "clientInfo": {"name": client, "version": env!("CARGO_PKG_VERSION")},
            "capabilities": {"experimentalApi": true},
        });
        server.call("initialize", hello)?;
        server.send(&json!({"method": "initialized"}))?;
        Ok(server)
    }

    /// Sets the result for each later request of the server with this method. Without one, such a request stays open.
    pub(crate) fn reply_to(&mut self, method: &'static str, result: Value) {
        self.replies.insert(method, result);
    }

    /// Returns the rows of `thread/list` without archived threads. An empty list of providers means all providers.
    pub(crate) fn list(&mut self) -> Result<Vec<Value>> {
        self.pages("thread/list", &json!({"limit": 100, "modelProviders": []}))
    }

    /// Loads a thread for writing and returns the thread object.
    pub(crate) fn resume(&mut self, thread: &str) -> Result<Value> {
        let mut answer = self.call("thread/resume", json!({"threadId": thread, "excludeTurns": true}))?;
        Ok(answer["thread"].take())
    }

    /// Returns all turns of `thread/turns/list`, oldest first.
    pub(crate) fn turns(&mut self, thread: &str) -> Result<Vec<Value>> {
        let params = json!({"threadId": thread, "limit": 100, "sortDirection": "asc", "itemsView": "full"});
        self.pages("thread/turns/list", &params)
    }

    /// Forks a thread, after a turn if one is given, and returns the new id.
    pub(crate) fn fork(&mut self, thread: &str, last_turn: &str) -> Result<String> {
        let params = json!({"threadId": thread, "lastTurnId": last_turn, "excludeTurns": true});
        id_of_thread(&self.call("thread/fork", params)?)
    }

    /// Makes Codex read every segment that a thread builds on. A fork at a turn does this; an ephemeral fork leaves no trace.
    pub(crate) fn project(&mut self, thread: &str, turn: &str) -> Result<()> {
        let params = json!({"threadId": thread, "lastTurnId": turn, "ephemeral": true, "excludeTurns": true});
        self.call("thread/fork", params).map(drop)
    }

    /// Starts a thread.
    pub(crate) fn start_thread(&mut self, mode: &str, cwd: &Path) -> Result<String> {
        id_of_thread(&self.call("thread/start", json!({"historyMode": mode, "cwd": cwd}))?)
    }

    /// Undoes a turn and all later ones.
    pub(crate) fn revert(&mut self, thread: &str, before_turn: &str) -> Result<()> {
        self.call("thread/revert", json!({"threadId": thread, "beforeTurnId": before_turn})).map(drop)
    }

    /// Sends a prompt and waits until its turn has completed.
    pub(crate) fn run_turn(&mut self, thread: &str, text: &str) -> Result<()> {
        self.start_turn(thread, &json!([{"type": "text", "text": text}]))?;
        self.end_turn(thread)
    }

    /// Sends the parts of a prompt without waiting for an answer. Returns the id of the turn.
    pub(crate) fn start_turn(&mut self, thread: &str, input: &Value) -> Result<String> {
        self.start_turn_with(thread, input, json!({}))
    }

    /// Sends the parts of a prompt and further parameters.
    pub(crate) fn start_turn_with(&mut self, thread: &str, input: &Value, mut params: Value) -> Result<String> {
        self.notices.clear();
        params["threadId"] = thread.into();
        params["input"] = input.clone();
        let answer = self.call("turn/start", params)?;
        Ok(answer["turn"]["id"].as_str().context("a turn without id")?.to_owned())
    }

    /// Makes the thread compact its history and waits for the end.
    pub(crate) fn compact(&mut self, thread: &str) -> Result<()> {
        self.notices.clear();
        self.call("thread/compact/start", json!({"threadId": thread}))?;
        self.end_turn(thread)
    }

    /// Waits until the running turn has completed.
    pub(crate) fn end_turn(&mut self, thread: &str) -> Result<()> {
        let turn = self.wait_for_turn(thread)?;
        if turn["status"] != "completed" {
            bail!("the turn ended as {}: {}", turn["status"], turn["error"]);
        }
        Ok(())
    }

    /// Closes the input and waits for the end of the server, so that everything is written and no lock is held.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.stdin = None;
        if !self.ended_within(FAREWELL)? {
            bail!("the app server does not end when its input is closed");
        }
        Ok(())
    }

    /// Sends one request. An error response is a [`Refusal`].
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"id": id, "method": method, "params": params})).with_context(|| method.to_owned())?;
        self.answer(id).with_context(|| method.to_owned())
    }

    fn answer(&mut self, id: u64) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut message = self.receive(end)?;
            if message["id"] != id || message.get("method").is_some() {
                self.notices.push(message);
                continue;
            }
            if let Some(error) = message.get("error") {
                let text = error["message"].as_str().unwrap_or_default();
                return Err(Refusal(text.to_owned()).into());
            }
            return Ok(message["result"].take());
        }
    }

    /// Returns all rows of a method that responds in pages.
    pub(crate) fn pages(&mut self, method: &str, params: &Value) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut params = params.clone();
        loop {
            let page = self.call(method, params.clone())?;
            rows.extend(page["data"].as_array().context("a page without data")?.iter().cloned());
            match page.get("nextCursor") {
                Some(cursor) if cursor.is_string() => params["cursor"] = cursor.clone(),
                _ => return Ok(rows),
            }
        }
    }

    /// Kills the program and its child processes immediately.
    pub(crate) fn kill(mut self) -> Result<()> {
        kill_group(&mut self.child)
    }

    /// Waits for the end of a turn, with any status.
    pub(crate) fn wait_for_turn(&mut self, thread: &str) -> Result<Value> {
        Ok(self.wait_for("turn/completed", thread)?["turn"].take())
    }

    /// Waits for a notification about a thread and returns its parameters.
    pub(crate) fn wait_for(&mut self, method: &str, thread: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let fits = |notice: &Value| notice["method"] == method && notice["params"]["threadId"] == thread;
            if let Some(at) = self.notices.iter().position(fits) {
                return Ok(self.notices.swap_remove(at)["params"].take());
            }
            let notice = self.receive(end).with_context(|| format!("waiting for {method}"))?;
            self.notices.push(notice);
        }
    }

    /// Returns the next message of the server. If it is a request with a known result, sends that first.
    fn receive(&mut self, end: Instant) -> Result<Value> {
        let left = end.saturating_duration_since(Instant::now());
        let message = self.inbox.recv_timeout(left).context("the app server does not answer")?;
        let result = message["method"].as_str().and_then(|method| self.replies.get(method));
        if let (Some(id), Some(result)) = (message.get("id"), result) {
            let reply = json!({"id": id, "result": result});
            self.send(&reply)?;
        }
        Ok(message)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the app server is closed")?;
        writeln!(stdin, "{message}")?;
        Ok(stdin.flush()?)
    }

    fn ended_within(&mut self, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        self.stdin = None;
        if !self.ended_within(FAREWELL).unwrap_or(false) {
            // If the program cannot be killed, nothing more can be done.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns the error response of the server if it is the root cause of the error.
pub(crate) fn refusal(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.0.as_str())
}

fn forward(stdout: ChildStdout, sender: &Sender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str(&line) else { continue };
        if sender.send(message).is_err() {
            return;
        }
    }
}

fn id_of_thread(answer: &Value) -> Result<String> {
    let id = answer["thread"]["id"].as_str().context("no thread id in the answer")?;
    Ok(id.to_owned())
}
