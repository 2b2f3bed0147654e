//! The recordings in `samples/`, with resolved histories.

use std::path::{Path, PathBuf};

use selvedge_protocol::{RolloutItem, RolloutLine, SegmentId, SessionMeta, ThreadId};
use serde_json::Value;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples");

/// A recorded thread with its history, inherited lines first.
pub(crate) struct Recorded {
    /// Folder of the recording and letter of the thread, for failure messages.
    pub(crate) name: String,
    pub(crate) id: ThreadId,
    pub(crate) lines: Vec<RolloutLine>,
    /// The thread as the recorded program returned it.
    pub(crate) read: Value,
    /// The rows of its listing for the thread.
    pub(crate) listed: Vec<Value>,
    /// The model input when it resumed the thread. `None` for an archived thread, which was not resumed.
    pub(crate) model_input: Option<Vec<Value>>,
}

/// A file of a recorded home.
struct Segment {
    id: SegmentId,
    /// Sorts segments by age.
    name: String,
    lines: Vec<(u64, RolloutLine)>,
}

impl Segment {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut end = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            end += line.len() as u64;
            (end, RolloutLine::parse(line).unwrap())
        });
        let lines = lines.collect();
        Self { id: name[name.len() - 36..].parse().unwrap(), name, lines }
    }

    fn head(&self) -> SessionMeta {
        match self.lines[0].1.item() {
            RolloutItem::SessionMeta(meta) => *meta,
            other => panic!("{} begins with {other:?}", self.name),
        }
    }

    fn resolved(&self, all: &[Self]) -> Vec<RolloutLine> {
        let mut lines = Vec::new();
        if let Some(base) = self.head().history_base {
            let id = base.thread_id.unwrap();
            let found = all.iter().find(|segment| segment.id == id).unwrap();
            lines = found.resolved(all);
            let behind = found.lines.iter().filter(|(end, _)| *end > base.end_byte_offset.unwrap());
            lines.truncate(lines.len() - behind.count());
        }
        lines.extend(self.lines.iter().map(|(_, line)| line.clone()));
        lines
    }
}

/// The folders of all recorded stories.
pub(crate) fn folders() -> Vec<String> {
    let names = std::fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut folders: Vec<String> = names.filter(|name| name.starts_with("story-")).collect();
    folders.sort();
    folders
}

/// The two recorded stories.
pub(crate) fn stories() -> Vec<Recorded> {
    ["story-0.144.6", "story-0.169.0"].into_iter().flat_map(threads_of).collect()
}

/// The recorded thread of this letter.
pub(crate) fn story(folder: &str, letter: &str) -> Recorded {
    let name = format!("{folder}/{letter}");
    threads_of(folder).into_iter().find(|thread| thread.name == name).unwrap()
}

/// The lines of the only thread in a `basic-…` recording.
pub(crate) fn basic(version: &str) -> Vec<RolloutLine> {
    let segments = segments_of(&format!("basic-{version}"));
    assert_eq!(segments.len(), 1);
    segments[0].resolved(&segments)
}

pub(crate) fn threads_of(folder: &str) -> Vec<Recorded> {
    let text = std::fs::read_to_string(Path::new(SAMPLES).join(folder).join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let segments = segments_of(folder);
    let letters = expected["threads"].as_object().unwrap();
    letters
        .iter()
        .map(|(letter, id)| {
            let id = id.as_str().unwrap();
            let newest =
                segments.iter().filter(|segment| segment.name.contains(id)).max_by_key(|segment| &segment.name);
            Recorded {
                name: format!("{folder}/{letter}"),
                id: id.parse().unwrap(),
                lines: newest.unwrap().resolved(&segments),
                read: expected["read"][letter].clone(),
                listed: listed(&expected, id),
                model_input: expected["model_input_after_resume"][letter].as_array().cloned(),
            }
        })
        .collect()
}

/// The resolved lines of every recorded thread, with its name.
pub(crate) fn all_threads() -> Vec<(String, Vec<RolloutLine>)> {
    let stories = folders().into_iter().flat_map(|folder| threads_of(&folder));
    let stories = stories.map(|thread| (thread.name, thread.lines));
    let basics = ["0.20.0", "0.36.0", "0.58.0", "0.118.0"].map(|version| (format!("basic-{version}"), basic(version)));
    stories.chain(basics).collect()
}

fn listed(expected: &Value, id: &str) -> Vec<Value> {
    let rows = ["list", "list_archived"].into_iter().flat_map(|list| expected[list].as_array().into_iter().flatten());
    rows.filter(|row| row["id"] == id).cloned().collect()
}

/// The lines of a thread before the program migrated it.
pub(crate) fn before_migration(id: ThreadId) -> Vec<RolloutLine> {
    let homes = ["story-0.171.0-migrated/before", "story-0.144.6-undo/home"];
    let segments: Vec<Segment> = homes.into_iter().flat_map(segments_in).collect();
    let found = segments.iter().find(|segment| segment.name.ends_with(&id.to_string())).unwrap();
    found.resolved(&segments)
}

fn segments_of(folder: &str) -> Vec<Segment> {
    segments_in(&format!("{folder}/home"))
}

fn segments_in(home: &str) -> Vec<Segment> {
    let mut paths = Vec::new();
    walk(&Path::new(SAMPLES).join(home), &mut paths);
    paths.iter().map(|path| Segment::read(path)).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.file_name().unwrap().to_str().unwrap().starts_with("rollout-") {
            found.push(path);
        }
    }
}
