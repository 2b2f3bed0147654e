//! Levels of durability, writers that lose their file, and leftovers of dead processes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use selvedge_faulty_files::{Call, Fault, FaultyFiles};
use selvedge_protocol::{Durability, HistoryMode};
use selvedge_rollout::{FileSystem, OpenFile, OpenMode, RolloutHome, SystemFiles, WriterLock};
use selvedge_thread_store::{BatchId, Recovery, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{continue_thread, head, id, record, shown_prompts, turn};

use HistoryMode::Paginated;

fn store(home: &Path, files: &FaultyFiles, level: Durability) -> LocalThreadStore {
    let home = RolloutHome::new(home).with_durability(level).with_file_system(Arc::new(files.clone()));
    LocalThreadStore::of(home, IndexLocation::default())
}

fn count(files: &FaultyFiles, call: Call) -> usize {
    files.calls().into_iter().filter(|other| *other == call).count()
}

#[tokio::test]
async fn appends_wait_for_an_fsync_only_at_level_synced() {
    for (level, syncs) in [(Durability::Written, [0, 0, 1]), (Durability::Synced, [1, 2, 2])] {
        let (dir, files) = (tempfile::tempdir().unwrap(), FaultyFiles::new());
        let store = store(dir.path(), &files, level);
        assert_eq!(store.durability(), level);
        store.create_thread(head(1, Paginated)).await.unwrap();
        store.append_items(id(1), BatchId::generate(), &turn(Paginated, "one")).await.unwrap();
        let first = count(&files, Call::Sync);
        store.append_items(id(1), BatchId::generate(), &turn(Paginated, "two")).await.unwrap();
        store.flush_thread(id(1)).await.unwrap();
        let second = count(&files, Call::Sync);
        store.sync_thread(id(1)).await.unwrap();
        store.sync_thread(id(1)).await.unwrap();
        assert_eq!([first, second, count(&files, Call::Sync)], syncs, "{level}");
    }
}

/// Checks that the error asks to discard the writer and to resume the thread.
fn assert_unsynced(error: &StoreError) {
    assert!(matches!(error, StoreError::Unsynced { thread_id, .. } if *thread_id == id(1)), "{error:?}");
    assert_eq!(error.recovery(), Recovery::Resume);
    let message = error.to_string();
    assert!(message.contains("could not be synced and is not written any more"), "{message}");
}

#[tokio::test]
async fn a_failed_sync_is_never_repeated() {
    let (dir, files) = (tempfile::tempdir().unwrap(), FaultyFiles::new());
    let run = async |files: &FaultyFiles, home: &str| {
        let store = store(&dir.path().join(home), files, Durability::Synced);
        store.create_thread(head(1, Paginated)).await.unwrap();
        store.append_items(id(1), BatchId::generate(), &turn(Paginated, "one")).await.unwrap();
        let before = files.calls().len();
        (before, store.append_items(id(1), BatchId::generate(), &turn(Paginated, "two")).await, store)
    };
    let (before, outcome, _) = run(&files, "whole").await;
    outcome.unwrap();
    let calls = files.calls();
    let at = before + calls[before..].iter().position(|call| *call == Call::Sync).unwrap();
    let files = FaultyFiles::with_fault(at, Fault::Io);
    let (_, outcome, store) = run(&files, "failing").await;
    let error = outcome.unwrap_err();
    assert_unsynced(&error);
    assert_eq!(shown_prompts(&store, id(1)).await, ["one"], "an append that was not acknowledged is not there");
    let syncs = count(&files, Call::Sync);
    for _ in 0..2 {
        let error = store.append_items(id(1), BatchId::generate(), &turn(Paginated, "two")).await.unwrap_err();
        assert_unsynced(&error);
    }
    assert_eq!(count(&files, Call::Sync), syncs);
    store.discard_thread(id(1)).await.unwrap();
    continue_thread(&store, id(1), Paginated, &["two"]).await;
    assert_eq!(shown_prompts(&store, id(1)).await, ["one", "two"]);
}

/// The real file system, with a slow fsync.
#[derive(Clone, Debug, Default)]
struct SlowFiles(Arc<AtomicUsize>);

impl selvedge_rollout::sealed::Sealed for SlowFiles {}

impl FileSystem for SlowFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(SlowFile(SystemFiles.open(path, mode)?, self.clone())))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        SystemFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        SystemFiles.hard_link(original, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove_file(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct SlowFile(Arc<dyn OpenFile>, SlowFiles);

impl OpenFile for SlowFile {
    fn file(&self) -> &File {
        self.0.file()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.0.set_modified(at)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.0.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    }

    fn lock(&self) -> io::Result<()> {
        self.0.lock()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }

    fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.0.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_wait_for_one_thread_share_a_sync() {
    const TASKS: usize = 16;
    const BATCHES: usize = 5;
    let (dir, files) = (tempfile::tempdir().unwrap(), SlowFiles::default());
    let home =
        RolloutHome::new(dir.path()).with_durability(Durability::Synced).with_file_system(Arc::new(files.clone()));
    let store = LocalThreadStore::of(home, IndexLocation::default());
    store.create_thread(head(1, Paginated)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    store
                        .append_items(id(1), BatchId::generate(), &turn(Paginated, &format!("{task} {batch}")))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let syncs = files.0.load(Ordering::Relaxed);
    assert!(syncs < TASKS * BATCHES / 3, "{syncs} syncs for {} batches", TASKS * BATCHES);
    let all = shown_prompts(&store, id(1)).await;
    assert_eq!(all.len(), TASKS * BATCHES);
    // The lines of each task are in the order of its appends.
    for task in 0..TASKS {
        let own: Vec<&String> = all.iter().filter(|text| text.starts_with(&format!("{task} "))).collect();
        assert!(own.is_sorted() && own.len() == BATCHES, "{own:?}");
    }
    store.shutdown_thread(id(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_future_is_dropped_is_written_as_a_whole() {
    let (dir, files) = (tempfile::tempdir().unwrap(), SlowFiles::default());
    let home = RolloutHome::new(dir.path()).with_durability(Durability::Synced).with_file_system(Arc::new(files));
    let store = LocalThreadStore::of(home, IndexLocation::default());
    store.create_thread(head(1, Paginated)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    for number in 0..10 {
        let items = turn(Paginated, &number.to_string());
        let append = store.append_items(id(1), BatchId::generate(), &items);
        let _ = tokio::time::timeout(Duration::from_millis(1), append).await;
    }
    store.append_items(id(1), BatchId::generate(), &turn(Paginated, "last")).await.unwrap();
    assert_eq!(shown_prompts(&store, id(1)).await.len(), 11);
}

async fn path_of(store: &LocalThreadStore, n: u32) -> PathBuf {
    store.read_thread(id(n)).await.unwrap().location.unwrap().into()
}

#[tokio::test]
async fn a_writer_that_has_lost_its_file_fails_before_it_writes() {
    type TakeAway = fn(&Path);
    let cases: [(&str, TakeAway); 3] = [
        ("was moved or deleted", |path| fs::remove_file(path).unwrap()),
        ("was moved or deleted", |path| fs::rename(path, path.with_extension("elsewhere")).unwrap()),
        ("was replaced", |path| {
            fs::copy(path, path.with_extension("copy")).unwrap();
            fs::rename(path.with_extension("copy"), path).unwrap();
        }),
    ];
    for (what, take_away) in cases {
        let home = TestHome::empty();
        record(&home.store, 1, Paginated, &["one"]).await;
        home.store.resume_thread(id(1)).await.unwrap();
        home.store.append_items(id(1), BatchId::generate(), &turn(Paginated, "two")).await.unwrap();
        let path = path_of(&home.store, 1).await;
        take_away(&path);
        let before: Vec<_> = home.files().into_iter().map(|path| fs::read(path).unwrap()).collect();
        for _ in 0..2 {
            let error =
                home.store.append_items(id(1), BatchId::generate(), &turn(Paginated, "three")).await.unwrap_err();
            assert!(matches!(error, StoreError::Lost { thread_id, .. } if thread_id == id(1)), "{error:?}");
            assert!(error.to_string().contains(what) && error.to_string().contains("nothing was written"), "{error}");
        }
        let after: Vec<_> = home.files().into_iter().map(|path| fs::read(path).unwrap()).collect();
        assert_eq!(before, after, "{what}");
    }
}

#[tokio::test]
async fn a_thread_that_was_archived_under_its_writer_can_be_continued_in_the_archive() {
    let home = TestHome::empty();
    record(&home.store, 1, Paginated, &["one"]).await;
    home.store.resume_thread(id(1)).await.unwrap();
    let path = path_of(&home.store, 1).await;
    let archive = home.path().join("archived_sessions");
    fs::create_dir(&archive).unwrap();
    fs::rename(&path, archive.join(path.file_name().unwrap())).unwrap();
    assert!(home.store.append_items(id(1), BatchId::generate(), &turn(Paginated, "two")).await.is_err());
    home.store.shutdown_thread(id(1)).await.unwrap();
    continue_thread(&home.store, id(1), Paginated, &["two"]).await;
    assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two"]);
    assert!(home.store.read_thread(id(1)).await.unwrap().archived);
}

#[tokio::test]
async fn leftovers_of_dead_processes_are_removed_and_files_of_live_ones_stay() {
    let home = TestHome::empty();
    record(&home.store, 1, Paginated, &["one"]).await;
    let dir = path_of(&home.store, 1).await.parent().unwrap().to_owned();
    let put = |name: &str| {
        fs::write(dir.join(name), "half").unwrap();
        dir.join(name)
    };
    let dead = put(".rollout-x.jsonl.tmp-0123456789abcdef0123456789abcdef");
    let held = put(".rollout-y.jsonl.tmp-0123456789abcdef0123456789abcdef");
    let other = put(".rollout-z.jsonl.tmp-note");
    let lock = File::open(&held).unwrap();
    lock.lock().unwrap();
    let locks = RolloutHome::new(home.path()).locks_dir();
    fs::write(locks.join(format!("{}.lock", id(7))), "").unwrap();
    let held_lock = WriterLock::acquire(&RolloutHome::new(home.path()), id(8)).unwrap();
    continue_thread(&home.other(), id(1), Paginated, &["two"]).await;
    assert!(!dead.exists() && held.exists() && other.exists());
    assert!(!locks.join(format!("{}.lock", id(7))).exists() && locks.join(format!("{}.lock", id(8))).exists());
    drop((lock, held_lock));
    continue_thread(&home.other(), id(1), Paginated, &["three"]).await;
    assert!(!held.exists());
    assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn an_interrupted_decompression_is_finished() {
    let home = TestHome::empty();
    record(&home.store, 1, Paginated, &["one"]).await;
    let plain = path_of(&home.store, 1).await;
    let compressed = plain.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all(&fs::read(&plain).unwrap()[..], 3).unwrap()).unwrap();
    continue_thread(&home.store, id(1), Paginated, &["two"]).await;
    assert!(!compressed.exists());
    // A compressed file that is not the beginning of the plain one is data, and stays.
    fs::write(&compressed, zstd::encode_all(&b"{}\n"[..], 3).unwrap()).unwrap();
    continue_thread(&home.store, id(1), Paginated, &["three"]).await;
    assert!(compressed.exists());
    // The compressed file moves with the thread, and readers still ignore it.
    home.store.archive_thread(id(1)).await.unwrap();
    assert!(home.store.read_thread(id(1)).await.unwrap().archived);
    assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two", "three"]);
    home.store.unarchive_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&home.store, id(1)).await, ["one", "two", "three"]);
    home.store.delete_thread(id(1)).await.unwrap();
    assert!(!compressed.exists());
}
