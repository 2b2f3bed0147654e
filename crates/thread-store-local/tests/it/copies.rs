//! Copies of every recorded home by the methods of the contract: into an empty home, and into memory and back.

use std::collections::BTreeMap;
use std::path::Path;

use selvedge_rollout::{RolloutHome, open_bytes};
use selvedge_thread_store::{InMemoryThreadStore, SegmentPart, ThreadLookup, ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;

use crate::home::{TestHome, all_recordings};

/// Copies every segment of every thread, in parts of `step` bytes.
async fn copy(from: &dyn ThreadStore, to: &dyn ThreadStore, step: usize) {
    for thread_id in from.find_threads(&ThreadLookup::IdPrefix(String::new())).await.unwrap() {
        for info in from.list_segments(thread_id).await.unwrap() {
            let mut at = 0;
            loop {
                let bytes = from.read_segment(thread_id, info.id, at, step).await.unwrap();
                let is_last = at + bytes.len() as u64 == info.bytes;
                at = to.import_segment(SegmentPart { info: &info, at, bytes: &bytes, is_last }).await.unwrap();
                if is_last {
                    break;
                }
            }
        }
    }
}

/// Returns the names and decompressed bytes of the rollout files of a home, without shadowed duplicates.
fn rollouts(home: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = RolloutHome::new(home).files().unwrap();
    let all = files.threads().flat_map(|(_, segments)| segments);
    all.map(|file| {
        let mut bytes = Vec::new();
        let _ = std::io::copy(&mut open_bytes(&file.path, 0..u64::MAX).unwrap().0, &mut bytes);
        (file.name.plain().to_string(), bytes)
    })
    .collect()
}

#[tokio::test]
async fn every_recorded_home_is_copied_byte_for_byte() {
    let mut files = 0;
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder);
        let wanted = rollouts(home.path());
        files += wanted.len();
        let copied = tempfile::tempdir().unwrap();
        copy(&home.store, &LocalThreadStore::open(copied.path()), 1 << 16).await;
        assert!(rollouts(copied.path()) == wanted, "{folder}");

        let memory = InMemoryThreadStore::new();
        copy(&home.store, &memory, 1 << 20).await;
        let back = tempfile::tempdir().unwrap();
        copy(&memory, &LocalThreadStore::open(back.path()), 10_000).await;
        assert!(rollouts(back.path()) == wanted, "{folder}: through memory");

        for thread_id in home.store.find_threads(&ThreadLookup::IdPrefix(String::new())).await.unwrap() {
            let here = home.store.load_history(thread_id).await.unwrap();
            let there = memory.load_history(thread_id).await.unwrap();
            assert_eq!(there.lines, here.lines, "{folder}: {thread_id}");
            assert_eq!((there.inherited, there.mode), (here.inherited, here.mode), "{folder}: {thread_id}");
            let context = memory.load_model_context(thread_id).await.unwrap();
            assert_eq!(context.history, home.store.load_model_context(thread_id).await.unwrap().history, "{folder}");
        }
    }
    assert!(files > 100, "{files}");
}
