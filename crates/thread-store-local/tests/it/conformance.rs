//! The rules of the contract, in a home directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, ThreadStore};
use selvedge_thread_store_conformance::{MemoryPlace, NotApplicable, StorePlace, compare_stores};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

/// A home directory that each host opens as another process would. Claims are locks of the kernel, which end with their holder.
struct Home {
    dir: tempfile::TempDir,
    index: IndexLocation,
}

async fn new_place() -> Home {
    Home { dir: tempfile::tempdir().unwrap(), index: IndexLocation::default() }
}

/// A home whose hosts have no index, so that the logs answer everything. In a build without the feature `index` every home is one: `cargo xtask ci`
/// runs all rules there.
async fn place_without_index() -> Home {
    Home { index: IndexLocation::Disabled, ..new_place().await }
}

impl Home {
    fn open(&self) -> LocalThreadStore {
        LocalThreadStore::open_with(self.dir.path(), self.index.clone())
    }
}

#[async_trait]
impl StorePlace for Home {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(self.open())
    }

    async fn damage(&self, thread_id: ThreadId, at: &LinePosition, bytes: &[u8]) -> Result<(), NotApplicable> {
        let store = self.open();
        let line = LineQuery { max_lines: 1, ..LineQuery::from(thread_id, LineStart::At(at.clone())) };
        let line =
            selvedge_thread_store::ThreadReader::read_lines(&store, &line).await.unwrap().entries.remove(0).bytes;
        let is_replaced = replace(self.dir.path(), &line, bytes);
        assert!(is_replaced, "no file contains the line");
        Ok(())
    }

    /// Only the hosts run, so there is nothing to restart.
    async fn restart(&self) -> Result<(), NotApplicable> {
        Ok(())
    }
}

/// Replaces the beginning of a line, in the log that contains it. Returns whether one does.
fn replace(dir: &Path, line: &[u8], bytes: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return replace(&path, line, bytes);
        }
        let mut content = fs::read(&path).unwrap();
        let is_log = path.extension().is_some_and(|extension| extension == "jsonl");
        let Some(at) = content.windows(line.len()).position(|window| window == line).filter(|_| is_log) else {
            return false;
        };
        content[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, content).unwrap();
        true
    })
}

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(super::super::new_place);
}

#[test]
fn answers_are_those_of_the_reference() {
    if let Err(difference) = compare_stores(new_place, async || MemoryPlace::new(), 200) {
        panic!("{difference}");
    }
}

#[test]
fn answers_without_an_index_are_those_of_the_reference() {
    if let Err(difference) = compare_stores(place_without_index, async || MemoryPlace::new(), 100) {
        panic!("{difference}");
    }
}
