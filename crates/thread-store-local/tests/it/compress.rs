//! Compressing threads: reading, writing and forking work afterwards as before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use selvedge_protocol::{HistoryMode, ThreadId, ThreadQuery, TurnBoundary};
use selvedge_rollout::doctor::{Severity, diagnose};
use selvedge_rollout::{RolloutHome, WriterLock};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{CompressionReport, LocalThreadStore};

use crate::home::{RECORDINGS, TestHome};
use selvedge_thread_store_conformance::fixtures::{MODES, continue_thread, head, id, record, shown_prompts};

use HistoryMode::Paginated;

/// Returns the rollout files of a thread, sorted.
fn rollouts(home: &TestHome, thread_id: ThreadId) -> Vec<PathBuf> {
    let name = thread_id.to_string();
    let is_wanted = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap();
        file.starts_with("rollout-") && file.contains(&name)
    };
    let mut found: Vec<PathBuf> = home.files().into_iter().filter(is_wanted).collect();
    found.sort();
    found
}

fn is_compressed(path: &Path) -> bool {
    path.extension().unwrap() == "zst"
}

async fn exported(store: &LocalThreadStore, thread_id: ThreadId) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.export(thread_id, &mut bytes).await.unwrap();
    bytes
}

/// Returns the findings of the doctor in a home.
fn faults(home: &TestHome) -> Vec<String> {
    let findings = diagnose(&RolloutHome::new(home.path()), None, &|_| {}).unwrap().findings;
    let faults = findings.into_iter().filter(|finding| finding.severity == Severity::Fault);
    faults.map(|finding| format!("{:?} {}", finding.kind, finding.path.display())).collect()
}

/// Returns a thread of two segments, and a fork that builds on the older one.
async fn reverted_and_forked(home: &TestHome) -> (ThreadId, ThreadId) {
    record(&home.store, 1, Paginated, &["one", "two"]).await;
    let request = ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, Paginated) };
    let fork = home.store.fork_thread(request).await.unwrap();
    let request = RevertThread { thread_id: id(1), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
    assert_eq!(home.store.revert_thread(request).await.unwrap(), 1);
    (id(1), fork)
}

#[tokio::test]
async fn every_recorded_thread_comes_back_byte_for_byte() {
    let mut threads = 0;
    for folder in RECORDINGS {
        let home = TestHome::recorded(folder);
        let files = RolloutHome::new(home.path()).files().unwrap();
        let ids: Vec<ThreadId> = files.threads().map(|(id, _)| id).collect();
        let mut before: Vec<Vec<u8>> = Vec::new();
        for id in &ids {
            before.push(exported(&home.store, *id).await);
        }
        let listed = home.store.list_threads(&ThreadQuery::default()).await.unwrap().items;
        for thread_id in &ids {
            home.store.admin().compress(*thread_id).await.unwrap();
            assert!(rollouts(&home, *thread_id).iter().all(|path| is_compressed(path)), "{folder}: {thread_id}");
        }
        for (thread_id, before) in ids.iter().zip(&before) {
            assert!(exported(&home.other(), *thread_id).await == *before, "{folder}: {thread_id}");
        }
        let compressed = home.store.list_threads(&ThreadQuery::default()).await.unwrap().items;
        let without_location = |mut thread: selvedge_protocol::StoredThread| {
            thread.location = None;
            thread
        };
        let [listed, compressed] =
            [listed, compressed].map(|listed| listed.into_iter().map(without_location).collect::<Vec<_>>());
        assert_eq!(compressed, listed, "{folder}");
        for (thread_id, before) in ids.iter().zip(&before) {
            home.store.resume_thread(*thread_id).await.unwrap();
            home.store.shutdown_thread(*thread_id).await.unwrap();
            assert!(exported(&home.store, *thread_id).await == *before, "{folder}: {thread_id} is resumed");
            threads += 1;
        }
    }
    assert!(threads > 15, "{threads}");
}

#[tokio::test]
async fn a_compressed_thread_can_be_resumed() {
    for mode in MODES {
        let home = TestHome::empty();
        record(&home.store, 1, mode, &["one"]).await;
        let [plain] = &rollouts(&home, id(1))[..] else { panic!("one file") };
        let at = SystemTime::now() - Duration::from_secs(86_400);
        fs::File::options().append(true).open(plain).unwrap().set_modified(at).unwrap();
        let size = fs::metadata(plain).unwrap().len();

        let done = home.store.admin().compress(id(1)).await.unwrap();
        let [compressed] = &rollouts(&home, id(1))[..] else { panic!("one file") };
        let metadata = fs::metadata(compressed).unwrap();
        assert_eq!(done, CompressionReport { files: 1, bytes_before: size, bytes_after: metadata.len() });
        assert!(is_compressed(compressed) && metadata.modified().unwrap() == at, "{mode:?}");
        let frame = fs::read(compressed).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(size));
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        assert_eq!(
            home.store.admin().compress(id(1)).await.unwrap(),
            CompressionReport::default(),
            "there is nothing left to do"
        );
        assert_eq!(faults(&home), Vec::<String>::new());

        continue_thread(&home.store, id(1), mode, &["two"]).await;
        assert_eq!(shown_prompts(&home.other(), id(1)).await, ["one", "two"]);
        assert!(!is_compressed(&rollouts(&home, id(1))[0]));
        assert_eq!(faults(&home), Vec::<String>::new());
    }
}

#[tokio::test]
async fn forks_of_a_compressed_thread_can_be_resumed() {
    let home = TestHome::empty();
    let (thread, fork) = reverted_and_forked(&home).await;
    let before = [exported(&home.store, thread).await, exported(&home.store, fork).await];
    assert_eq!(home.store.admin().compress(thread).await.unwrap().files, 2);
    for store in [&home.store, &home.other()] {
        assert_eq!([exported(store, thread).await, exported(store, fork).await], before);
        assert_eq!(shown_prompts(store, fork).await, ["one", "two"]);
        assert_eq!(shown_prompts(store, thread).await, ["one"]);
    }
    let request = ForkThread { source: thread, at: TurnBoundary::Latest, meta: head(3, Paginated) };
    let other = home.store.fork_thread(request).await.unwrap();
    home.store.admin().compress(fork).await.unwrap();
    for (thread_id, expected) in
        [(thread, &["one", "new"][..]), (fork, &["one", "two", "new"]), (other, &["one", "new"])]
    {
        continue_thread(&home.store, thread_id, Paginated, &["new"]).await;
        assert_eq!(shown_prompts(&home.store, thread_id).await, expected);
        assert_eq!(shown_prompts(&home.other(), thread_id).await, expected);
    }
    assert!(is_compressed(&rollouts(&home, thread)[0]), "only the file that is appended to is decompressed");
    assert_eq!(faults(&home), Vec::<String>::new());
}

#[tokio::test]
async fn a_thread_with_a_writer_is_not_compressed() {
    let home = TestHome::empty();
    record(&home.store, 1, Paginated, &["one"]).await;
    let before = rollouts(&home, id(1));
    home.store.resume_thread(id(1)).await.unwrap();
    for store in [&home.store, &home.other()] {
        let error = store.admin().compress(id(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    home.store.shutdown_thread(id(1)).await.unwrap();
    let lock = WriterLock::acquire(&RolloutHome::new(home.path()), id(1)).unwrap();
    assert!(matches!(home.store.admin().compress(id(1)).await, Err(StoreError::Conflict { .. })));
    drop(lock);
    assert_eq!(rollouts(&home, id(1)), before);
    assert!(matches!(home.store.admin().compress(id(7)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(home.store.admin().compress(id(1)).await.unwrap().files, 1);
}

#[tokio::test]
async fn compression_keeps_damage() {
    for damage in ["", "\n", "junk\n\0\0\0\0", "{\"timestamp\":"] {
        let home = TestHome::empty();
        record(&home.store, 1, Paginated, &["one"]).await;
        let path = rollouts(&home, id(1)).remove(0);
        let bytes = [fs::read(&path).unwrap(), damage.as_bytes().to_vec()].concat();
        fs::write(&path, &bytes).unwrap();
        home.store.admin().compress(id(1)).await.unwrap();
        assert_eq!(zstd::decode_all(&*fs::read(path.with_extension("jsonl.zst")).unwrap()).unwrap(), bytes);
        assert_eq!(shown_prompts(&home.store, id(1)).await, ["one"], "{damage:?}");
        continue_thread(&home.store, id(1), Paginated, &["two"]).await;
        assert!(fs::read(&path).unwrap().starts_with(&bytes), "{damage:?}");
        assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two"], "{damage:?}");
    }
}

#[tokio::test]
async fn an_empty_file_is_compressed_too() {
    let home = TestHome::empty();
    let path = home.put(id(1), "");
    assert_eq!(home.store.admin().compress(id(1)).await.unwrap().files, 1);
    home.store.resume_thread(id(1)).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), b"");
}

#[tokio::test]
async fn of_a_plain_and_a_compressed_file_the_plain_one_counts_and_the_other_is_removed() {
    let home = TestHome::empty();
    let (thread, fork) = reverted_and_forked(&home).await;
    let left: Vec<(PathBuf, Vec<u8>)> = rollouts(&home, thread)
        .into_iter()
        .map(|path| (path.with_extension("jsonl.zst"), zstd::encode_all(&*fs::read(path).unwrap(), 1).unwrap()))
        .collect();
    let leave = || left.iter().for_each(|(path, frame)| fs::write(path, frame).unwrap());
    // An append goes into the plain file. It removes compressed leftovers of an older state, of all segments.
    leave();
    continue_thread(&home.store, thread, Paginated, &["new"]).await;
    assert!(!rollouts(&home, thread).iter().any(|path| is_compressed(path)));
    // Compressing again replaces the leftover, although the compressed file is older than the plain one.
    leave();
    assert_eq!(home.store.admin().compress(thread).await.unwrap().files, 2);
    assert!(rollouts(&home, thread).iter().all(|path| is_compressed(path)));
    assert_eq!(shown_prompts(&home.store, thread).await, ["one", "new"]);
    assert_eq!(shown_prompts(&home.store, fork).await, ["one", "two"]);
    assert_eq!(faults(&home), Vec::<String>::new());
}

#[tokio::test]
async fn a_compressed_file_with_other_content_is_never_removed() {
    for other in [zstd::encode_all(&b"something else\n"[..], 1).unwrap(), b"no frame at all".to_vec()] {
        let home = TestHome::empty();
        record(&home.store, 1, Paginated, &["one"]).await;
        let path = rollouts(&home, id(1)).remove(0);
        let (before, compressed) = (fs::read(&path).unwrap(), path.with_extension("jsonl.zst"));
        fs::write(&compressed, &other).unwrap();
        let error = home.store.admin().compress(id(1)).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("holds something else"), "{error}: {source}");
        assert_eq!((fs::read(&path).unwrap(), fs::read(&compressed).unwrap()), (before, other));
        continue_thread(&home.store, id(1), Paginated, &["two"]).await;
        assert!(compressed.exists());
        assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two"]);
    }
}

#[tokio::test]
async fn archived_threads_are_compressed_in_the_archive() {
    let home = TestHome::empty();
    record(&home.store, 1, Paginated, &["one"]).await;
    home.store.archive_thread(id(1)).await.unwrap();
    home.store.admin().compress(id(1)).await.unwrap();
    let thread = home.store.read_thread(id(1)).await.unwrap();
    assert!(thread.archived && is_compressed(Path::new(thread.location.as_ref().unwrap())));
    home.store.unarchive_thread(id(1)).await.unwrap();
    continue_thread(&home.store, id(1), Paginated, &["two"]).await;
    assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two"]);
    home.store.admin().compress(id(1)).await.unwrap();
    home.store.delete_thread(id(1)).await.unwrap();
    assert_eq!(rollouts(&home, id(1)), Vec::<PathBuf>::new());
}
