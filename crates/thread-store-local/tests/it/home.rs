//! Homes for tests: recordings and hand-made files.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_protocol::ThreadId;
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples");

/// A home that is removed with the test.
pub(crate) struct TestHome {
    dir: tempfile::TempDir,
    pub(crate) store: LocalThreadStore,
}

impl TestHome {
    /// Creates a home without threads.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalThreadStore::open(dir.path());
        Self { dir, store }
    }

    /// Creates a copy of a recorded home.
    pub(crate) fn recorded(folder: &str) -> Self {
        let home = Self::empty();
        copy_dir(&Path::new(SAMPLES).join(folder).join("home"), home.path());
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Opens a second store of the same home, as another process would.
    pub(crate) fn other(&self) -> LocalThreadStore {
        LocalThreadStore::open(self.path())
    }

    /// Writes a rollout file with this content at the path of an active thread.
    pub(crate) fn put(&self, thread_id: ThreadId, content: impl AsRef<[u8]>) -> PathBuf {
        let dir = self.path().join("sessions/2026/11/21");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("rollout-2026-11-21T09-09-03-{thread_id}.jsonl"));
        fs::write(&path, content).unwrap();
        path
    }

    /// Opens a store of the same home without an index.
    pub(crate) fn without_index(self) -> Self {
        let store = LocalThreadStore::open_with(self.path(), IndexLocation::Disabled);
        Self { store, ..self }
    }

    /// Returns every file of the home, except the permanent lock files and the index.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = all_files(self.path());
        found.retain(|path| !is_lasting_lock(path) && !is_index(path));
        found.sort();
        found
    }
}

fn is_lasting_lock(path: &Path) -> bool {
    [".coordination.lock", "selvedge-references.lock", "rollout-maintenance.lock"]
        .iter()
        .any(|name| path.ends_with(name))
}

fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("selvedge-index.sqlite"))
}

/// Returns the folders of the recordings.
pub(crate) const RECORDINGS: [&str; 8] = [
    "basic-0.20.0",
    "basic-0.36.0",
    "basic-0.58.0",
    "basic-0.118.0",
    "story-0.144.6",
    "story-0.169.0",
    "story-0.171.0-kinds",
    "story-0.171.0-migrated",
];

/// Returns what the recording program reported about a recording.
pub(crate) fn expected(folder: &str) -> serde_json::Value {
    let path = Path::new(SAMPLES).join(folder).join("expected.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns every file below a directory, in no order.
pub(crate) fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(dir, &mut found);
    found
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}

/// Returns the folders of all recordings, including those that test one thing each.
pub(crate) fn all_recordings() -> Vec<String> {
    let folders = fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().join("home").is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
