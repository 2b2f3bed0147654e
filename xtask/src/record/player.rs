//! Plays the steps of a story: through the app server, or in old releases through `codex exec`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::codex::app_server::AppServer;
use crate::codex::exec::{ExecTurn, TurnSetting};
use crate::codex::stand_in::Reply;
use crate::codex::thread_mode::ThreadMode;
use crate::workspace::root;

/// The originator of the threads of a recording.
const CLIENT: &str = "sample";

/// How long a program has to write what it received before it is killed.
const BREATH: Duration = Duration::from_millis(500);

/// The threads of a story, and notes about its course.
#[derive(Default)]
pub(super) struct Cast {
    /// The id of each letter.
    pub(super) threads: BTreeMap<String, String>,
    pub(super) archived: BTreeSet<String>,
    /// Steps that differ between releases.
    pub(super) log: Vec<Value>,
    /// Whether the release has an app server that can be asked afterwards.
    pub(super) served: bool,
}

impl Cast {
    /// Returns the id of a thread.
    pub(super) fn id(&self, letter: &str) -> Result<&str> {
        self.threads.get(letter).map(String::as_str).with_context(|| format!("there is no thread {letter}"))
    }
}

/// Starts the app server of a stage.
pub(super) fn serve(stage: &Stage) -> Result<AppServer> {
    AppServer::start_for(stage.codex, &stage.home, CLIENT)
}

/// Plays through the app server.
pub(super) struct Player<'a> {
    pub(super) stage: &'a Stage<'a>,
    mode: ThreadMode,
    server: AppServer,
    /// Letters of the threads that the running server holds.
    loaded: BTreeSet<String>,
    cast: Cast,
}

impl<'a> Player<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, mode: ThreadMode) -> Result<Self> {
        let cast = Cast { served: true, ..Cast::default() };
        Ok(Self { stage, mode, server: serve(stage)?, loaded: BTreeSet::new(), cast })
    }

    /// Ends the story.
    pub(super) fn finish(self) -> Result<Cast> {
        self.server.stop()?;
        Ok(self.cast)
    }

    /// Starts a thread with its first turn.
    pub(super) fn start(&mut self, letter: &str, text: &str) -> Result<()> {
        self.start_with(letter, text, json!({}))
    }

    /// Starts a thread with these further parameters, and its first turn.
    pub(super) fn start_with(&mut self, letter: &str, text: &str, mut params: Value) -> Result<()> {
        params["historyMode"] = self.mode.name().into();
        params["cwd"] = json!(self.stage.project);
        params["baseInstructions"] = "You are a careful assistant.".into();
        let answer = self.server.call("thread/start", params)?;
        self.enter(letter, &answer)?;
        self.say(letter, text)
    }

    /// Runs a turn with the default answer.
    pub(super) fn say(&mut self, letter: &str, text: &str) -> Result<()> {
        self.scripted(letter, text, vec![Reply::say()])
    }

    /// Runs a turn with these answers of the model.
    pub(super) fn scripted(&mut self, letter: &str, text: &str, replies: Vec<Reply>) -> Result<()> {
        self.send(letter, &json!([{"type": "text", "text": text}]), replies)
    }

    /// Runs a turn with these parts of a prompt.
    pub(super) fn send(&mut self, letter: &str, input: &Value, replies: Vec<Reply>) -> Result<()> {
        let thread = self.load(letter)?;
        self.stage.model.plan(replies);
        self.server.start_turn(&thread, input)?;
        self.server.end_turn(&thread).with_context(|| format!("thread {letter}: {input}"))
    }

    /// Runs a turn that begins with context that the client adds, under a name.
    pub(super) fn say_with_context(&mut self, letter: &str, text: &str, name: &str, context: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.stage.model.plan(vec![Reply::say()]);
        let input = json!([{"type": "text", "text": text}]);
        let added = json!({name: {"value": context, "kind": "untrusted"}});
        self.server.start_turn_with(&thread, &input, json!({"additionalContext": added}))?;
        self.server.end_turn(&thread)
    }

    /// Sets what the client answers when the program asks it.
    pub(super) fn reply_to(&mut self, method: &'static str, result: Value) {
        self.server.reply_to(method, result);
    }

    /// Adds items to the history of the model.
    pub(super) fn inject(&mut self, letter: &str, items: &Value) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.call("thread/inject_items", json!({"threadId": thread, "items": items})).map(drop)
    }

    /// Waits until the program has done what it does between turns.
    pub(super) fn wait(&self) {
        std::thread::sleep(BREATH);
    }

    /// Starts a voice session. The thread must have been started with the URL of the stand-in.
    pub(super) fn pick_up(&mut self, letter: &str) -> Result<()> {
        let thread = self.load(letter)?;
        // The program opens the session with the key of an account, and not with that of the environment.
        self.server.call("account/login/start", json!({"type": "apiKey", "apiKey": "none"}))?;
        let session = json!({
            "threadId": thread, "outputModality": "text", "version": "v2", "transport": {"type": "websocket"},
            "flushTranscriptTailOnSessionEnd": true,
        });
        self.server.call("thread/realtime/start", session)?;
        self.server.wait_for("thread/realtime/started", &thread)?;
        self.wait();
        Ok(())
    }

    /// Waits for the end of a turn that the voice session started.
    pub(super) fn end_turn(&mut self, letter: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.end_turn(&thread)
    }

    /// Runs a command as the user, without the model, and waits for its end.
    pub(super) fn run_command(&mut self, letter: &str, command: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.call("thread/shellCommand", json!({"threadId": thread, "command": command}))?;
        self.server.end_turn(&thread)
    }

    /// Ends the voice session.
    pub(super) fn hang_up(&mut self, letter: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.call("thread/realtime/stop", json!({"threadId": thread}))?;
        self.server.wait_for("thread/realtime/closed", &thread).map(drop)
    }

    /// Adds the threads of another recording, and then makes paginated threads of all legacy ones.
    pub(super) fn migrate_with(mut self, recording: &str) -> Result<Self> {
        self.server.stop()?;
        let folder = root().join("samples").join(recording);
        self.stage.borrow_home(&folder)?;
        // The program migrates only threads that are in its database. A list adds them.
        let mut server = serve(self.stage)?;
        server.list()?;
        server.stop()?;
        let text = std::fs::read(folder.join("expected.json")).with_context(|| format!("cannot read {recording}"))?;
        let expected: Value = serde_json::from_slice(&text).with_context(|| format!("{recording} has no threads"))?;
        for (letter, id) in expected["threads"].as_object().context("no threads")? {
            self.cast.threads.insert(letter.clone(), id.as_str().context("a thread without id")?.to_owned());
        }
        self.cast.log.push(json!(["migrate", "together with", recording]));
        for outcome in self.stage.migrate()? {
            self.cast.log.push(json!(["migrate", outcome["thread_id"], outcome["status"]]));
        }
        Ok(Self { server: serve(self.stage)?, loaded: BTreeSet::new(), ..self })
    }

    /// Compacts on request.
    pub(super) fn compact(&mut self, letter: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.compact(&thread).with_context(|| format!("compacting {letter}"))
    }

    /// Undoes a number of turns of the user, or all of them: in a legacy thread by a rollback, in a paginated one by a revert.
    pub(super) fn undo(&mut self, letter: &str, turns: usize) -> Result<()> {
        let thread = self.load(letter)?;
        if self.mode == ThreadMode::Legacy {
            self.cast.log.push(json!(["undo", letter, "rollback", turns]));
            return self.server.call("thread/rollback", json!({"threadId": thread, "numTurns": turns})).map(drop);
        }
        let first = self.turn_from_the_end(&thread, turns)?;
        self.cast.log.push(json!(["undo", letter, "revert", first]));
        self.server.revert(&thread, &first)
    }

    /// Returns a turn of the user, counted from the end, or the first one.
    fn turn_from_the_end(&mut self, thread: &str, turns: usize) -> Result<String> {
        let shown = self.server.turns(thread)?;
        let has_prompt = |turn: &&Value| {
            let items = turn["items"].as_array();
            items.is_some_and(|items| items.iter().any(|item| item["type"] == "userMessage"))
        };
        let asked: Vec<&Value> = shown.iter().filter(has_prompt).collect();
        let turn = asked.get(asked.len().saturating_sub(turns)).context("no turn to undo")?;
        Ok(turn["id"].as_str().context("a turn without id")?.to_owned())
    }

    /// Forks a thread at its end.
    pub(super) fn fork(&mut self, letter: &str, from: &str) -> Result<()> {
        let thread = self.load(from)?;
        let answer = self.server.call("thread/fork", json!({"threadId": thread}))?;
        self.enter(letter, &answer)
    }

    pub(super) fn rename(&mut self, letter: &str, name: &str) -> Result<()> {
        let thread = self.load(letter)?;
        self.server.call("thread/name/set", json!({"threadId": thread, "name": name})).map(drop)
    }

    pub(super) fn archive(&mut self, letter: &str) -> Result<()> {
        let thread = self.cast.id(letter)?.to_owned();
        self.server.call("thread/archive", json!({"threadId": thread}))?;
        self.loaded.remove(letter);
        self.cast.archived.insert(letter.to_owned());
        Ok(())
    }

    pub(super) fn unarchive(&mut self, letter: &str) -> Result<()> {
        let thread = self.cast.id(letter)?.to_owned();
        self.server.call("thread/unarchive", json!({"threadId": thread}))?;
        self.cast.archived.remove(letter);
        Ok(())
    }

    /// Interrupts a turn that the model does not answer.
    pub(super) fn interrupt(&mut self, letter: &str, text: &str) -> Result<()> {
        let (thread, turn) = self.begin(letter, text, vec![Reply::hang()])?;
        self.server.call("turn/interrupt", json!({"threadId": thread, "turnId": turn}))?;
        self.server.wait_for_turn(&thread).map(drop)
    }

    /// Kills the program in a turn after it has requested the last of these answers, and starts it again.
    pub(super) fn kill(mut self, letter: &str, text: &str, replies: Vec<Reply>) -> Result<Self> {
        self.begin(letter, text, replies)?;
        self.server.kill()?;
        Ok(Self { server: serve(self.stage)?, loaded: BTreeSet::new(), ..self })
    }

    /// Starts a turn and waits until the program has requested all these answers.
    fn begin(&mut self, letter: &str, text: &str, replies: Vec<Reply>) -> Result<(String, String)> {
        let thread = self.load(letter)?;
        let count = self.stage.model.count() + replies.len();
        self.stage.model.plan(replies);
        let turn = self.server.start_turn(&thread, &json!([{"type": "text", "text": text}]))?;
        self.stage.model.wait_for(count)?;
        std::thread::sleep(BREATH);
        Ok((thread, turn))
    }

    /// Assigns letters to threads that the program started itself.
    pub(super) fn adopt(&mut self, letter: &str) -> Result<()> {
        std::thread::sleep(BREATH);
        let found = strangers(self.stage, &self.cast)?;
        if found.is_empty() {
            self.cast.log.push(json!(["adopt", letter, "no further thread was started"]));
        }
        for (number, id) in (1..).zip(found) {
            self.cast.threads.insert(format!("{letter}{number}"), id);
        }
        Ok(())
    }

    fn enter(&mut self, letter: &str, answer: &Value) -> Result<()> {
        let id = answer["thread"]["id"].as_str().context("no thread id in the answer")?;
        self.cast.threads.insert(letter.to_owned(), id.to_owned());
        self.loaded.insert(letter.to_owned());
        Ok(())
    }

    /// Returns the id of a thread and notes that the server holds it.
    fn load(&mut self, letter: &str) -> Result<String> {
        let id = self.cast.id(letter)?.to_owned();
        if self.loaded.insert(letter.to_owned()) {
            self.server.resume(&id)?;
        }
        Ok(id)
    }
}

/// Plays through `codex exec`.
pub(super) struct ExecPlayer<'a> {
    pub(super) stage: &'a Stage<'a>,
    cast: Cast,
}

impl<'a> ExecPlayer<'a> {
    pub(super) fn new(stage: &'a Stage<'a>) -> Self {
        Self { stage, cast: Cast::default() }
    }

    pub(super) fn finish(self) -> Cast {
        self.cast
    }

    /// Runs a turn, which starts the thread if it does not exist yet.
    pub(super) fn say(&mut self, letter: &str, text: &str, replies: Vec<Reply>) -> Result<()> {
        self.begin(letter, text, None, replies)?.end().with_context(|| format!("thread {letter}: {text}"))?;
        self.enter(letter)
    }

    /// One turn with a picture, which starts a thread.
    pub(super) fn show(&mut self, letter: &str, text: &str, picture: &Path) -> Result<()> {
        self.begin(letter, text, Some(picture), vec![Reply::say()])?.end()?;
        self.enter(letter)
    }

    /// Kills the program in a turn, once it has asked the model for the last of these answers.
    pub(super) fn kill(&mut self, letter: &str, text: &str, replies: Vec<Reply>) -> Result<()> {
        let count = self.stage.model.count() + replies.len();
        let turn = self.begin(letter, text, None, replies)?;
        self.stage.model.wait_for(count)?;
        std::thread::sleep(BREATH);
        turn.kill()?;
        self.enter(letter)
    }

    fn begin(&self, letter: &str, text: &str, image: Option<&Path>, replies: Vec<Reply>) -> Result<ExecTurn> {
        self.stage.model.plan(replies);
        let place = TurnSetting { home: &self.stage.home, cwd: &self.stage.project, image };
        ExecTurn::start(self.stage.codex, place, self.cast.threads.get(letter).map(String::as_str), text)
    }

    /// The one thread without a letter gets this one.
    fn enter(&mut self, letter: &str) -> Result<()> {
        if !self.cast.threads.contains_key(letter) {
            let found = strangers(self.stage, &self.cast)?;
            ensure!(found.len() == 1, "{} new threads", found.len());
            self.cast.threads.extend(found.into_iter().map(|id| (letter.to_owned(), id)));
        }
        Ok(())
    }
}

/// Returns the ids of threads that have files but no letters.
fn strangers(stage: &Stage, cast: &Cast) -> Result<Vec<String>> {
    const ID: usize = 36;
    let mut found = Vec::new();
    for path in stage.rollouts()? {
        let name = path.file_stem().and_then(|name| name.to_str()).context("a file name is not UTF-8")?;
        let known = cast.threads.values().any(|id| name.contains(id.as_str()));
        let id = name.get(name.len().saturating_sub(ID)..).context("a file name has no id")?;
        if !known {
            found.push(id.to_owned());
        }
    }
    Ok(found)
}
