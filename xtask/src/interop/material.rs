//! Items that are appended to threads: the recorded story, and more turns like those of the story.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::codex::thread_mode::ThreadMode;
use crate::workspace::root;

/// Returns the recording of the story in a mode.
fn story_in(mode: ThreadMode) -> RecordedStory {
    let folder = match mode {
        ThreadMode::Legacy => "story-0.144.6",
        ThreadMode::Paginated => "story-0.169.0",
    };
    RecordedStory(folder.to_owned())
}

/// A recorded home with the output of the program that recorded it.
pub(super) struct RecordedStory(pub(super) String);

impl RecordedStory {
    /// Returns every recording that has the output of its program, those of the newest release first.
    pub(super) fn all() -> Result<Vec<Self>> {
        let samples = root().join("samples");
        let mut stories = Vec::new();
        for entry in std::fs::read_dir(&samples).with_context(|| format!("cannot list {}", samples.display()))? {
            let story = Self(entry?.file_name().to_string_lossy().into_owned());
            if story.folder().join("expected.json").exists() {
                stories.push(story);
            }
        }
        stories.sort_by_key(|story| (Reverse(story.release()), story.0.clone()));
        Ok(stories)
    }

    /// Returns the releases that made recordings, the newest first.
    pub(super) fn versions() -> Result<Vec<String>> {
        let releases = Self::all()?.into_iter().map(|story| story.release());
        let mut versions: Vec<String> =
            releases.map(|numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")).collect();
        versions.dedup();
        Ok(versions)
    }

    /// Returns the numbers of the release that made the recording.
    pub(super) fn release(&self) -> Vec<u32> {
        version_of(&self.0)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// `expected.json`.
    pub(super) fn expected(&self) -> Result<Value> {
        let path = self.folder().join("expected.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
    }

    fn folder(&self) -> PathBuf {
        root().join("samples").join(&self.0)
    }
}

/// Returns the numbers of the version in a name like `story-0.169.0-undo`.
pub(super) fn version_of(name: &str) -> Vec<u32> {
    let version = name.split('-').find(|part| part.starts_with(|sign: char| sign.is_ascii_digit()));
    version.unwrap_or_default().split('.').filter_map(|number| number.parse().ok()).collect()
}

/// Returns the items of the main thread of the recorded story, changed to items of `thread` in the directory `cwd`.
pub(super) fn story(mode: ThreadMode, thread: &str, cwd: &Path) -> Result<Vec<Value>> {
    let story = story_in(mode);
    let expected = story.expected()?;
    let recorded = expected["threads"]["T"].as_str().context("the story has no main thread")?;
    let file =
        first_segment(&story.home().join("sessions"), recorded)?.context("the story's main thread has no file")?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let folder = json!(cwd).to_string();
    let text = text.replace(recorded, thread).replace("/home/dev/proj1", folder.trim_matches('"'));
    let lines = parsed(&text)?;
    let items = lines.into_iter().filter(|line| line["type"] != "session_meta");
    Ok(items.map(|line| json!({"type": line["type"], "payload": line["payload"]})).collect())
}

/// Returns the lines of the first file of a thread.
pub(super) fn lines_of(home: &Path, thread: &str) -> Result<Vec<Value>> {
    let path = first_segment(&home.join("sessions"), thread)?.context("the thread has no file")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parsed(&text)
}

/// Returns the lines of a rollout.
pub(super) fn parsed(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("a line is not JSON: {line}"))).collect()
}

/// Returns the file of the first segment of a thread.
pub(super) fn first_segment(folder: &Path, thread: &str) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = first_segment(&path, thread)? {
                return Ok(Some(found));
            }
        } else if path.to_string_lossy().ends_with(&format!("-{thread}.jsonl")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Returns the files of a home with their content, by their paths in the home.
pub(super) fn home_files(home: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![home.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(home)?.to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(files)
}

/// Returns a complete turn: a message of the user and an answer.
pub(super) fn turn(mode: ThreadMode, thread: &str, text: &str) -> Vec<Value> {
    let turn = fresh_id();
    let now = since_epoch_ms();
    let answer = format!("Recorded answer to: {text}");
    let mut items = vec![
        event(json!({
            "type": "task_started", "turn_id": turn, "started_at": now / 1000,
            "model_context_window": 258_400, "collaboration_mode_kind": "default",
        })),
        message("user", "input_text", text),
    ];
    items.extend(shown(mode, thread, &turn, SpokenText::ByUser(text)));
    items.push(message("assistant", "output_text", &answer));
    items.extend(shown(mode, thread, &turn, SpokenText::ByModel(&answer)));
    items.push(event(json!({
        "type": "task_complete", "turn_id": turn, "last_agent_message": answer,
        "started_at": now / 1000, "completed_at": now / 1000, "duration_ms": 1,
    })));
    items
}

#[derive(Clone, Copy)]
enum SpokenText<'a> {
    ByUser(&'a str),
    ByModel(&'a str),
}

/// Returns the event that shows a message to a client.
fn shown(mode: ThreadMode, thread: &str, turn: &str, said: SpokenText) -> Option<Value> {
    let item = match (mode, said) {
        (ThreadMode::Legacy, SpokenText::ByUser(text)) => {
            return Some(event(json!({"type": "user_message", "message": text, "images": [], "local_images": []})));
        }
        (ThreadMode::Legacy, SpokenText::ByModel(text)) => {
            return Some(event(json!({"type": "agent_message", "message": text, "phase": null})));
        }
        (ThreadMode::Paginated, SpokenText::ByUser(text)) => json!({
            "type": "UserMessage", "id": fresh_id(), "content": [{"type": "text", "text": text, "text_elements": []}],
        }),
        (ThreadMode::Paginated, SpokenText::ByModel(text)) => json!({
            "type": "AgentMessage", "id": fresh_id(), "content": [{"type": "Text", "text": text}],
        }),
    };
    let now = since_epoch_ms();
    Some(event(json!({
        "type": "item_completed", "thread_id": thread, "turn_id": turn, "item": item,
        "started_at_ms": now, "completed_at_ms": now,
    })))
}

fn message(role: &str, part: &str, text: &str) -> Value {
    let payload = json!({"type": "message", "role": role, "content": [{"type": part, "text": text}]});
    json!({"type": "response_item", "payload": payload})
}

fn event(payload: Value) -> Value {
    json!({"type": "event_msg", "payload": payload})
}

/// Returns a new UUID of version 7.
pub(super) fn fresh_id() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let time = since_epoch_ms() & 0xffff_ffff_ffff;
    format!("{:08x}-{:04x}-7000-8000-{number:012x}", time >> 16, time & 0xffff)
}

fn since_epoch_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_story_gets_the_ids_of_the_new_thread() {
        let thread = fresh_id();
        for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
            let items = story(mode, &thread, Path::new("/somewhere/else")).unwrap();
            assert!(items.len() > 50, "{} items", items.len());
            assert!(items.iter().all(|item| item["type"] != "session_meta"));
            let text = json!(items).to_string();
            assert!(text.contains("/somewhere/else/sub") && !text.contains("/home/dev"));
            assert_eq!(text.contains(&thread), mode == ThreadMode::Paginated);
        }
    }

    #[test]
    fn every_recording_with_output_is_found() {
        let stories = RecordedStory::all().unwrap();
        let names: Vec<&str> = stories.iter().map(|story| story.0.as_str()).collect();
        assert_eq!(names.last(), Some(&"story-0.36.0-exec"), "{names:?}");
        assert!(names.contains(&"story-0.150.1-undo-legacy") && !names.contains(&"basic-0.36.0"), "{names:?}");
        assert_eq!(stories[0].release(), [0, 171, 0]);
        let versions = RecordedStory::versions().unwrap();
        assert_eq!((versions[0].as_str(), versions.last().unwrap().as_str()), ("0.171.0", "0.36.0"));
    }

    #[test]
    fn made_ids_are_different() {
        assert_ne!(fresh_id(), fresh_id());
        assert_eq!(fresh_id().len(), 36);
    }
}
