//! A reader of threads that shares no code with the crates. It follows `docs/rollout-format.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The rollout files of a home, by segment.
pub(super) struct Files {
    by_segment: HashMap<String, PathBuf>,
    /// The newest segment of each thread.
    newest: HashMap<String, String>,
}

impl Files {
    pub(super) fn of(home: &Path) -> Result<Self> {
        let mut files = Self { by_segment: HashMap::new(), newest: HashMap::new() };
        for path in all_files(home)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(ids) = name.strip_prefix("rollout-").and_then(|name| name.strip_suffix(".jsonl")) else {
                continue;
            };
            let ids = ids
                .get("YYYY-MM-DDTHH-MM-SS-".len()..)
                .with_context(|| format!("{name} is not the name of a rollout file"))?;
            let (thread, segment) = ids.split_once('_').map_or((ids, None), |(thread, id)| (thread, Some(id)));
            files.by_segment.insert(segment.unwrap_or(thread).to_owned(), path);
            // Ids begin with their time, so they sort by age. The first segment has no id of its own.
            let newest = files.newest.entry(thread.to_owned()).or_insert_with(|| thread.to_owned());
            if let Some(segment) = segment
                && (newest == thread || segment > newest.as_str())
            {
                *newest = segment.to_owned();
            }
        }
        Ok(files)
    }

    /// Returns the stored state of a thread; `None` if the thread does not exist.
    pub(super) fn thread(&self, thread: &str) -> Result<Option<ExpectedThread>> {
        let Some(segment) = self.newest.get(thread) else { return Ok(None) };
        let lines = self.lines(segment, None)?;
        let mut found = ExpectedThread { is_legacy: true, turns: Vec::new() };
        for line in &lines {
            found.is_legacy &= line["payload"]["history_mode"] != "paginated";
            found.follow(line);
        }
        Ok(Some(found))
    }

    /// Returns the lines of the history of a segment, up to a byte of its file if one is given. A torn line is
    /// ignored.
    fn lines(&self, segment: &str, end: Option<u64>) -> Result<Vec<Value>> {
        let path = self.by_segment.get(segment).with_context(|| format!("segment {segment} is not there"))?;
        let mut bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(end) = end {
            let end = usize::try_from(end)?;
            if bytes.len() < end {
                bail!("{} has {} bytes, and {end} of them are built on", path.display(), bytes.len());
            }
            bytes.truncate(end);
        }
        let own: Vec<Value> =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let base = own.first().map(|head| head["payload"]["history_base"].clone()).unwrap_or_default();
        let mut lines = match base["thread_id"].as_str() {
            Some(base_segment) => self.lines(base_segment, base["end_byte_offset"].as_u64())?,
            None => Vec::new(),
        };
        lines.extend(own);
        Ok(lines)
    }
}

/// The turns of a thread, in order, without undone ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExpectedThread {
    pub(super) is_legacy: bool,
    /// The number of the item in each turn; `None` for a turn that had only begun when its writer died.
    pub(super) turns: Vec<Option<u64>>,
}

impl ExpectedThread {
    /// Returns the numbers of the items.
    pub(super) fn items(&self) -> Vec<u64> {
        self.turns.iter().flatten().copied().collect()
    }

    /// Undoes the newest turns. A legacy thread counts messages: a turn without one before the first undone message stays.
    pub(super) fn rewind(&mut self, turns: usize) {
        let kept = self.turns.len().saturating_sub(turns);
        let first_message = || self.turns[kept..].iter().position(Option::is_some).map(|at| kept + at);
        let end = if self.is_legacy { first_message().unwrap_or(self.turns.len()) } else { kept };
        self.turns.truncate(end);
    }

    /// Applies a line.
    fn follow(&mut self, line: &Value) {
        let payload = &line["payload"];
        match (line["type"].as_str(), payload["type"].as_str()) {
            (Some("event_msg"), Some("task_started")) => self.turns.push(None),
            (Some("response_item"), Some("message")) => {
                let text = payload["content"][0]["text"].as_str().unwrap_or_default();
                let number = text.strip_prefix("item ").and_then(|rest| rest.split(' ').next()?.parse().ok());
                match self.turns.last_mut() {
                    Some(turn @ None) => *turn = number,
                    _ => self.turns.extend(number.map(Some)),
                }
            }
            (Some("event_msg"), Some("thread_rolled_back")) => {
                let undone = payload["num_turns"].as_u64().and_then(|turns| usize::try_from(turns).ok()).unwrap_or(0);
                let messages = self.turns.iter().enumerate().filter(|(_, turn)| turn.is_some());
                if let Some((at, _)) = messages.rev().take(undone).last() {
                    self.turns.truncate(at);
                }
            }
            _ => {}
        }
    }
}

/// Returns a file that does not belong in a home without writers.
pub(super) fn stray(home: &Path) -> Result<Option<PathBuf>> {
    let belongs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log_or_index = ["rollout-", "session_index.jsonl", "selvedge-index.sqlite"];
        let locks = [".coordination.lock", "selvedge-references.lock"];
        log_or_index.iter().any(|start| name.starts_with(start)) || locks.contains(&name.as_str())
    };
    Ok(all_files(home)?.into_iter().find(|path| !belongs(path)))
}

fn all_files(home: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![home.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bases_are_followed_and_rollbacks_are_applied() {
        let home = tempfile::tempdir().unwrap();
        let item = |number: u64| {
            let content = json!([{"type": "input_text", "text": format!("item {number} xx")}]);
            format!("{}\n", json!({"type": "response_item", "payload": {"type": "message", "content": content}}))
        };
        let first = [item(1), item(2), item(3)].concat();
        let base = json!({"thread_id": "aa", "end_byte_offset": item(1).len() + item(2).len()});
        let head = format!("{}\n", json!({"type": "session_meta", "payload": {"history_base": base}}));
        let undo = json!({"type": "event_msg", "payload": {"type": "thread_rolled_back", "num_turns": 1}});
        let put = |name: &str, text: String| std::fs::write(home.path().join(name), text).unwrap();
        put("rollout-2026-11-21T09-09-03-aa.jsonl", first);
        put("rollout-2026-11-21T09-09-03-aa_bb.jsonl", [head.clone(), item(4), "{\"torn".to_owned()].concat());
        put("rollout-2026-11-21T09-09-03-cc.jsonl", [head, item(5), format!("{undo}\n")].concat());
        let files = Files::of(home.path()).unwrap();
        let items = |thread| files.thread(thread).unwrap().map(|thread| thread.items());
        assert_eq!(items("aa"), Some(vec![1, 2, 4]));
        assert_eq!(items("cc"), Some(vec![1, 2]));
        assert_eq!(items("dd"), None);
    }

    #[test]
    fn a_turn_that_only_began_counts_as_a_turn() {
        let turns = || vec![None, Some(1), None, Some(2), None];
        let rewound = |is_legacy, count| {
            let mut thread = ExpectedThread { is_legacy, turns: turns() };
            thread.rewind(count);
            thread.turns
        };
        assert_eq!(rewound(false, 3), turns()[..2]);
        // An event that counts messages keeps the turn that has begun before the first of them, and cannot undo a turn without a message.
        assert_eq!(rewound(true, 3), turns()[..3]);
        assert_eq!(rewound(true, 1), turns());
        assert_eq!(rewound(true, 9), turns()[..1]);

        let line = |kind: &str, payload: Value| json!({"type": kind, "payload": payload});
        let started = || line("event_msg", json!({"type": "task_started"}));
        let says = |number: u64| {
            let content = json!([{"type": "input_text", "text": format!("item {number} xx")}]);
            line("response_item", json!({"type": "message", "content": content}))
        };
        let undo = line("event_msg", json!({"type": "thread_rolled_back", "num_turns": 1}));
        let mut thread = ExpectedThread { is_legacy: true, turns: Vec::new() };
        [started(), started(), says(1), started(), says(2), started()].iter().for_each(|line| thread.follow(line));
        assert_eq!(thread.turns, [None, Some(1), Some(2), None]);
        thread.follow(&undo);
        assert_eq!(thread.turns, [None, Some(1)]);
    }
}
