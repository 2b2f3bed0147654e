//! The threads of the recordings, in copies of their homes.

use std::path::Path;

use selvedge_protocol::{ArchivedFilter, StoredThread, ThreadQuery, Turn, TurnQuery};
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::LocalThreadStore;

/// A thread with its turns.
pub(crate) struct RecordedThread {
    pub(crate) thread: StoredThread,
    pub(crate) turns: Vec<Turn>,
}

/// Returns all threads of all recordings.
pub(crate) async fn all() -> Vec<RecordedThread> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let mut found = Vec::new();
    for folder in std::fs::read_dir(samples).unwrap() {
        let home = folder.unwrap().path().join("home");
        if !home.join("sessions").is_dir() {
            continue;
        }
        let copy = tempfile::tempdir().unwrap();
        copy_all(&home, copy.path());
        let store = LocalThreadStore::open(copy.path());
        let query = ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() };
        for thread in store.list_threads(&query).await.unwrap().items {
            let turns = store.list_turns(&TurnQuery::all(thread.id)).await.unwrap().items;
            found.push(RecordedThread { thread, turns });
        }
        store.close().await;
    }
    assert!(found.len() > 50, "{}", found.len());
    found
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
