//! Calls the `selvedge` program on a home.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::compare::{TurnShape, turn_shapes};
use crate::codex::thread_mode::ThreadMode;
use crate::codex::{Codex, MODEL, PROVIDER};
use crate::workspace::cargo;

/// Exit code if another writer holds the thread.
pub(super) const CONFLICT: i32 = 4;

/// Timeout for the acknowledgement of an append.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program and its home.
pub(super) struct Selvedge {
    program: PathBuf,
    home: PathBuf,
    /// The program of Codex that Selvedge may use, or `off`.
    codex: PathBuf,
}

impl Selvedge {
    pub(super) fn new(program: &Path, home: &Path) -> Self {
        Self { program: program.to_path_buf(), home: home.to_path_buf(), codex: "off".into() }
    }

    /// Lets Codex make the changes that it would not notice.
    pub(super) fn with_codex(self, codex: &Codex) -> Self {
        Self { codex: codex.program().to_path_buf(), ..self }
    }

    /// Builds the program and returns its path.
    pub(super) fn build() -> Result<PathBuf> {
        let mut command = cargo(&["build", "-p", "selvedge-cli", "--message-format", "json-render-diagnostics"]);
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo build")?;
        ensure!(output.status.success(), "selvedge-cli does not build");
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let mut programs = messages.filter(|message| message["target"]["name"] == "selvedge");
        let program = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
        program.context("cargo built no program called selvedge")
    }

    /// Creates a thread with the model in the configuration of Codex and returns its id.
    pub(super) fn create(&self, mode: ThreadMode, cwd: &Path) -> Result<String> {
        self.create_with(mode, cwd, &["--model", MODEL, "--provider", PROVIDER])
    }

    /// Creates a thread without naming a model and a provider.
    pub(super) fn create_with_defaults(&self, mode: ThreadMode, cwd: &Path) -> Result<String> {
        self.create_with(mode, cwd, &[])
    }

    fn create_with(&self, mode: ThreadMode, cwd: &Path, more: &[&str]) -> Result<String> {
        let cwd = cwd.to_str().context("the name of the directory is not UTF-8")?;
        let args = ["new", "--json", "--mode", mode.name(), "--cwd", cwd];
        let thread = self.json(&[&args, more].concat())?;
        let id = thread["id"].as_str().context("selvedge new --json printed no id")?;
        Ok(id.to_owned())
    }

    /// Appends items and checks that each was acknowledged.
    pub(super) fn append(&self, thread: &str, items: &[Value]) -> Result<()> {
        let output = self.try_append(thread, items)?;
        let text = printed(&["append", thread], &output)?;
        let acknowledged = text.lines().count();
        ensure!(acknowledged == items.len(), "{acknowledged} of {} items acknowledged", items.len());
        Ok(())
    }

    /// Appends items and returns the output, whether it succeeds or not.
    pub(super) fn try_append(&self, thread: &str, items: &[Value]) -> Result<Output> {
        let mut child = self.spawn_append(thread)?;
        let mut stdin = child.stdin.take().context("no input")?;
        for item in items {
            // A program that refuses the thread does not read all of its input.
            if writeln!(stdin, "{item}").is_err() {
                break;
            }
        }
        drop(stdin);
        Ok(child.wait_with_output()?)
    }

    /// Appends one item and keeps holding the thread.
    pub(super) fn hold(&self, thread: &str, item: &Value) -> Result<Held> {
        let mut child = self.spawn_append(thread)?;
        let mut stdin = child.stdin.take().context("no input")?;
        let stdout = child.stdout.take().context("no output")?;
        writeln!(stdin, "{item}")?;
        stdin.flush()?;
        let (sender, acknowledged) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The receiver is gone after the first line.
                let _ = sender.send(line);
            }
        });
        let held = Held { child, stdin: Some(stdin), acknowledged };
        held.acknowledged.recv_timeout(PATIENCE).context("selvedge append acknowledged nothing")?;
        Ok(held)
    }

    pub(super) fn turns(&self, thread: &str) -> Result<Vec<TurnShape>> {
        let shown = self.json(&["show", thread, "--json"])?;
        turn_shapes(shown["turns"].as_array().context("selvedge show --json printed no turns")?)
    }

    /// Returns the response items that the model would see.
    pub(super) fn context(&self, thread: &str) -> Result<Vec<Value>> {
        let context = self.json(&["context", thread, "--json"])?;
        Ok(context["history"].as_array().context("selvedge context --json printed no history")?.clone())
    }

    /// Returns the response items as Codex would send them, with this limit of tool outputs.
    pub(super) fn context_as_sent(&self, thread: &str, output_limit: &str) -> Result<Vec<Value>> {
        let context = self.json(&["context", thread, "--json", "--as-sent", "--output-limit", output_limit])?;
        Ok(context["history"].as_array().context("selvedge context --as-sent printed no history")?.clone())
    }

    /// Returns the name of a thread; empty if it has none.
    pub(super) fn name(&self, thread: &str) -> Result<String> {
        let shown = self.json(&["show", thread, "--json"])?;
        Ok(shown["thread"]["name"].as_str().unwrap_or_default().to_owned())
    }

    /// Forks a thread, after a turn if one is given, and returns the new id.
    pub(super) fn fork(&self, thread: &str, after: Option<&str>) -> Result<String> {
        let mut args = vec!["fork", thread];
        args.extend(after.iter().flat_map(|turn| ["--after", *turn]));
        args.push("--json");
        let fork = self.json(&args)?;
        Ok(fork["id"].as_str().context("selvedge fork --json printed no id")?.to_owned())
    }

    /// Undoes the newest turns.
    pub(super) fn rewind(&self, thread: &str, turns: usize) -> Result<()> {
        self.text(&["rewind", thread, "--turns", &turns.to_string()]).map(drop)
    }

    /// Undoes turns of a thread that Codex knows, behind its back.
    pub(super) fn rewind_unnoticed(&self, thread: &str, turns: usize) -> Result<()> {
        self.text(&["rewind", thread, "--turns", &turns.to_string(), "--force"]).map(drop)
    }

    /// Compresses the files of a thread.
    pub(super) fn compress(&self, thread: &str) -> Result<()> {
        let answer = self.json(&["compress", thread, "--json"])?;
        ensure!(answer["total"]["files"].as_u64().is_some_and(|files| files > 0), "it compressed nothing: {answer}");
        Ok(())
    }

    /// Deletes a thread after its dependents were detached. Returns the dependents.
    pub(super) fn delete_detached(&self, thread: &str) -> Result<Vec<String>> {
        let answer = self.json(&["delete", thread, "--yes", "--detach", "--json"])?;
        let detached = answer["detached"].as_array().context("selvedge delete --json detached nothing")?;
        Ok(detached.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect())
    }

    /// Calls a verb on a thread and returns the output, whether it succeeds or not.
    pub(super) fn attempt(&self, args: &[&str]) -> Result<Output> {
        self.command(args).output().with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// Returns the ids that `list` shows.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let rows = self.json(&["list", "--json"])?;
        let rows = rows.as_array().context("selvedge list --json printed no array")?;
        Ok(rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect())
    }

    /// Returns the ids of the turns of a thread.
    pub(super) fn turn_ids(&self, thread: &str) -> Result<Vec<String>> {
        let shown = self.json(&["show", thread, "--json"])?;
        let turns = shown["turns"].as_array().context("selvedge show --json printed no turns")?;
        Ok(turns.iter().filter_map(|turn| turn["id"].as_str().map(str::to_owned)).collect())
    }

    /// Returns how many turns `show` finds in abandoned segments that another program has continued.
    pub(super) fn diverged_turns(&self, thread: &str) -> Result<u64> {
        let shown = self.json(&["show", thread, "--json"])?;
        let diverged = shown["diverged"].as_array().into_iter().flatten();
        Ok(diverged.filter_map(|segment| segment["turns"].as_u64()).sum())
    }

    /// Returns the kinds of the doctor's findings.
    pub(super) fn finding_kinds(&self) -> Result<Vec<String>> {
        let report: Value = serde_json::from_slice(&self.attempt(&["doctor", "--json"])?.stdout)?;
        let findings = report["findings"].as_array().context("selvedge doctor --json printed no findings")?;
        Ok(findings.iter().filter_map(|finding| finding["kind"].as_str().map(str::to_owned)).collect())
    }

    /// Repairs the home and returns the forks that this made.
    pub(super) fn repair_forks(&self) -> Result<Vec<String>> {
        let report = self.json(&["doctor", "--repair", "--json"])?;
        let steps = report["repairs"].as_array().context("selvedge doctor --repair did nothing")?;
        Ok(steps.iter().filter_map(|step| step["new_thread_id"].as_str().map(str::to_owned)).collect())
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.text(args)?;
        serde_json::from_str(&text).with_context(|| format!("selvedge {}: no JSON", args.join(" ")))
    }

    fn text(&self, args: &[&str]) -> Result<String> {
        printed(args, &self.attempt(args)?)
    }

    fn spawn_append(&self, thread: &str) -> Result<Child> {
        let mut command = self.command(&["append", thread, "--allow-unknown"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("cannot run {}", self.program.display()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(&self.home).args(args).env("SELVEDGE_CODEX", &self.codex);
        command
    }
}

/// A running `selvedge append` that is the thread's writer.
pub(super) struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
    acknowledged: Receiver<String>,
}

impl Held {
    /// Closes the input, which ends the program and releases the thread.
    pub(super) fn release(mut self) -> Result<()> {
        self.stdin = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "selvedge append ended with {status}");
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stdin = None;
        // The program has ended already, or it ends with its input.
        let _ = self.child.wait();
    }
}

fn printed(args: &[&str], output: &Output) -> Result<String> {
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("selvedge {} ended with {}: {}", args.join(" "), output.status, complaint.trim());
    }
    String::from_utf8(output.stdout.clone()).context("the output of selvedge is not UTF-8")
}
