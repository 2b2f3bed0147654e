//! Homes in temporary folders, and ways to run the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Thread T of the recorded stories: named, with tool calls, compacted, and rewound by some turns.
pub(crate) const T169: &str = "01a1fd5d-aacb-7641-837d-630af077ebd5";
pub(crate) const T144: &str = "01a1fd5d-c3f2-7313-862d-a0ba485d5b31";
/// Archived in the recording.
pub(crate) const ARCHIVED169: &str = "01a1fd5d-ba49-7d22-be9f-dbbc8754e1c2";
/// Neither forked nor rewound.
pub(crate) const PLAIN169: &str = "01a1fd5d-ba9e-7a91-89fe-30bc9e36e105";
/// A thread that no home has.
pub(crate) const UNKNOWN: &str = "01a1fd5d-0000-7000-8000-000000000000";

pub(crate) const SAMPLES: [&str; 6] =
    ["basic-0.20.0", "basic-0.36.0", "basic-0.58.0", "basic-0.118.0", "story-0.144.6", "story-0.169.0"];

/// A home in a temporary folder, with the home directory of a user beside it.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// Creates a folder without a home.
    pub(crate) fn missing() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("user")).unwrap();
        Self { folder }
    }

    /// Creates a home without threads.
    pub(crate) fn empty() -> Self {
        let home = Self::missing();
        fs::create_dir(home.path()).unwrap();
        home
    }

    /// Creates a copy of a recorded home.
    pub(crate) fn sample(name: &str) -> Self {
        let home = Self::empty();
        copy(&samples().join(name).join("home"), &home.path());
        home
    }

    /// Creates a home with one thread, whose file contains these bytes.
    pub(crate) fn with_file(id: &str, bytes: &[u8]) -> Self {
        let home = Self::empty();
        home.write(id, bytes);
        home
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn user(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the file of a thread that `write` created.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.path().join(format!("sessions/2026/11/21/rollout-2026-11-21T09-00-00-{id}.jsonl"))
    }

    pub(crate) fn write(&self, id: &str, bytes: &[u8]) {
        let path = self.file(id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Returns a command that runs the program, without a home.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        command.env_clear().env("HOME", self.user()).env("TZ", "UTC").current_dir(self.folder());
        command
    }

    /// Returns a command that runs the program on this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare();
        command.arg("--home").arg(self.path()).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> RunResult {
        run(self.command(args).stdin(Stdio::null()))
    }

    /// Runs a verb that has to succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        run.out
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// Runs `append` on this input.
    pub(crate) fn append(&self, id: &str, input: impl AsRef<[u8]>) -> RunResult {
        let mut child = self.spawn_append(id);
        let mut stdin = child.stdin.take().unwrap();
        // The program may end before it has read everything.
        let _ = stdin.write_all(input.as_ref());
        drop(stdin);
        RunResult::from(child.wait_with_output().unwrap())
    }

    pub(crate) fn spawn_append(&self, id: &str) -> Child {
        let mut command = self.command(&["append", id]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a thread, and returns its id.
    pub(crate) fn new_thread(&self, args: &[&str]) -> String {
        self.ok(&[&["new"], args].concat()).trim().to_owned()
    }

    /// Returns the texts of the messages in the history of a thread.
    pub(crate) fn texts(&self, id: &str) -> Vec<String> {
        texts(&self.ok(&["export", id]))
    }
}

/// Returns the texts of the messages on these lines.
pub(crate) fn texts(lines: &str) -> Vec<String> {
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["payload"]["content"][0]["text"].as_str().map(str::to_owned)).collect()
}

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for RunResult {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        // No input may make the program panic.
        assert!(!err.contains("panicked at") && !err.contains("RUST_BACKTRACE"), "{err}");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out, err }
    }
}

pub(crate) fn run(command: &mut Command) -> RunResult {
    RunResult::from(command.output().unwrap())
}

pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples")
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns every rollout of a home, sorted: the id of the thread, whether the name has a segment id, and the path.
pub(crate) fn rollouts(home: &Path) -> Vec<(String, bool, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![home.join("sessions"), home.join("archived_sessions")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let name = entry.file_name().into_string().unwrap();
            let ids = &name["rollout-2026-11-21T09-00-00-".len()..name.find(".jsonl").unwrap()];
            found.push((ids[..36].to_owned(), ids.len() > 36, entry.path()));
        }
    }
    found.sort();
    found
}

/// Returns an input line for `append`: a message to the model with this text.
pub(crate) fn message(text: &str) -> String {
    let content = json!([{"type": "input_text", "text": text}]);
    let item = json!({"type": "response_item", "payload": {"type": "message", "role": "user", "content": content}});
    format!("{item}\n")
}

/// Returns an input line for `append`: an event that `show` displays as a message of the user.
pub(crate) fn user_message(text: &str) -> String {
    format!("{}\n", json!({"type": "event_msg", "payload": {"type": "user_message", "message": text, "images": []}}))
}

/// Returns a line of a legacy log.
pub(crate) fn line(kind: &str, payload: &Value) -> String {
    format!("{}\n", json!({"timestamp": "2026-11-21T09:00:01.000Z", "type": kind, "payload": payload}))
}

pub(crate) fn meta_line(id: &str) -> String {
    line(
        "session_meta",
        &json!({"id": id, "timestamp": "2026-11-21T09:00:00.000Z", "cwd": "/home/dev/proj", "originator": "test", "cli_version": "0.0.0", "source": "cli"}),
    )
}

/// Returns a legacy log with one short turn.
pub(crate) fn small_log(id: &str) -> String {
    [
        meta_line(id),
        line("event_msg", &json!({"type": "user_message", "message": "how are the yaks"})),
        line("response_item", &json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "how are the yaks"}]})),
        line("response_item", &json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "woolly"}]})),
        line("event_msg", &json!({"type": "agent_message", "message": "woolly"})),
    ]
    .concat()
}
