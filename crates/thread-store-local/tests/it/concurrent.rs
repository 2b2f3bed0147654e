//! Several tasks, stores and processes at the same time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use selvedge_protocol::{HistoryMode, TurnBoundary};
use selvedge_rollout::{FileSystem, OpenFile, OpenMode, RolloutHome, SystemFiles};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id, record, shown_prompts, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

/// A fork finds its base and then refers to it. A deletion searches for forks and then deletes. The two must not interleave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fork_refers_to_a_thread_that_is_being_deleted() {
    let home = TestHome::empty();
    let (mut forked, mut deleted) = (0, 0);
    for n in 0..80 {
        let source = record(&home.store, n * 2 + 1, MODE, &["a", "b"]).await;
        let meta = head(n * 2 + 2, MODE);
        let fork = id(n * 2 + 2);
        let (forking, deleting) = (home.other(), home.other());
        let request = ForkThread { source, at: TurnBoundary::Latest, meta };
        // Vary which one is first, and how far it is when the other begins.
        let lead = Duration::from_micros(u64::from(n) * u64::from(n) * 5);
        let (fork_after, delete_after) = if n % 2 == 0 { (lead, Duration::ZERO) } else { (Duration::ZERO, lead) };
        let forking = tokio::spawn(async move {
            tokio::time::sleep(fork_after).await;
            forking.fork_thread(request).await
        });
        let deleting = tokio::spawn(async move {
            tokio::time::sleep(delete_after).await;
            deleting.delete_thread(source).await
        });
        match (forking.await.unwrap(), deleting.await.unwrap()) {
            (Ok(made), Err(StoreError::HasDependents { dependents, .. })) => {
                assert_eq!((made, dependents), (fork, vec![fork]));
                let history = home.store.load_history(fork).await.unwrap();
                assert!(history.damage.is_empty() && history.inherited > 0);
                forked += 1;
            }
            (Err(StoreError::NotFound { .. }), Ok(())) => deleted += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(forked > 0 && deleted > 0, "{forked} forked, {deleted} deleted");
}

/// The real file system, with a gate: the call that gives a file its final name waits until the test lets it pass.
#[derive(Debug, Default)]
struct GatedFiles(Mutex<Option<Gate>>);

#[derive(Debug)]
struct Gate {
    reached: mpsc::Sender<()>,
    open: mpsc::Receiver<()>,
}

impl GatedFiles {
    /// Closes the gate for the next call. Returns a channel that reports its arrival, and one that lets it pass.
    fn close_gate(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((reached, is_reached), (may_open, open)) = (mpsc::channel(), mpsc::channel());
        *self.0.lock().unwrap() = Some(Gate { reached, open });
        (is_reached, may_open)
    }
}

impl selvedge_rollout::sealed::Sealed for GatedFiles {}

impl FileSystem for GatedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        SystemFiles.open(path, mode)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        SystemFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        let gate = self.0.lock().unwrap().take();
        if let Some(Gate { reached, open }) = gate {
            reached.send(()).unwrap();
            open.recv().unwrap();
        }
        SystemFiles.hard_link(original, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        SystemFiles.sync_dir(path)
    }
}

/// Returns a store of this home whose files have a gate.
fn gated(home: &TestHome) -> (LocalThreadStore, Arc<GatedFiles>) {
    let files = Arc::new(GatedFiles::default());
    let home = RolloutHome::new(home.path()).with_file_system(Arc::clone(&files) as Arc<dyn FileSystem>);
    (LocalThreadStore::of(home, IndexLocation::default()), files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_waits_for_a_fork_that_has_read_its_base() {
    let home = TestHome::empty();
    let source = record(&home.store, 1, MODE, &["a", "b"]).await;
    let (forking, files) = gated(&home);
    let (reached, open) = files.close_gate();
    let request = ForkThread { source, at: TurnBoundary::Latest, meta: head(2, MODE) };
    let fork = tokio::spawn(async move { forking.fork_thread(request).await });
    tokio::task::spawn_blocking(move || reached.recv()).await.unwrap().unwrap();
    let deleting = home.other();
    let delete = tokio::spawn(async move { deleting.delete_thread(source).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waits = !delete.is_finished();
    open.send(()).unwrap();
    assert!(waits, "{:?}", delete.await);
    assert_eq!(fork.await.unwrap().unwrap(), id(2));
    let refused = delete.await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::HasDependents { .. }), "{refused:?}");
    assert_eq!(shown_prompts(&home.store, id(2)).await, ["a", "b"]);
}

/// Tasks that append to a thread during its revert wait without blocking their thread, however long the revert takes.
#[tokio::test(flavor = "current_thread")]
async fn a_revert_blocks_no_other_task() {
    let home = TestHome::empty();
    let (store, files) = gated(&home);
    record(&store, 1, MODE, &["a", "b", "c"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let (reached, open) = files.close_gate();
    let reverting = store.clone();
    let request = RevertThread { thread_id: id(1), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
    let revert = tokio::spawn(async move { reverting.revert_thread(request).await });
    // By now the history was read, and the writer is creating its next file.
    tokio::task::spawn_blocking(move || reached.recv()).await.unwrap().unwrap();
    let ticks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ticks);
    // A thread of its own ends the test, whatever happens to the tasks.
    let watching = std::thread::spawn(move || {
        let begun = Instant::now();
        while counted.load(Ordering::Relaxed) < 20 && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        open.send(()).unwrap();
        counted.load(Ordering::Relaxed)
    });
    let appending = store.clone();
    let append =
        tokio::spawn(async move { appending.append_items(id(1), BatchId::generate(), &turn(MODE, "d")).await });
    while !watching.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        ticks.fetch_add(1, Ordering::Relaxed);
    }
    assert!(watching.join().unwrap() >= 20, "an append that waits for a revert has blocked its runtime");
    assert_eq!(revert.await.unwrap().unwrap(), 1);
    append.await.unwrap().unwrap();
    assert_eq!(shown_prompts(&store, id(1)).await, ["a", "b", "d"]);
}

/// Another process holds the lock of the home's lock files, and hangs. Other tasks continue.
#[tokio::test(flavor = "current_thread")]
async fn a_first_append_blocks_no_other_task() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a"]).await;
    home.store.create_thread(head(2, MODE)).await.unwrap();
    let lock = File::options().write(true).open(home.path().join("thread-writer-locks/.coordination.lock")).unwrap();
    lock.lock().unwrap();
    let began = Instant::now();
    let batch = BatchId::generate();
    let items = turn(MODE, "a");
    let append = home.store.append_items(id(2), batch, &items);
    assert!(tokio::time::timeout(Duration::from_millis(200), append).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
    lock.unlock().unwrap();
    // The abandoned call may still be running: the same batch takes effect once.
    home.store.append_items(id(2), batch, &items).await.unwrap();
    assert_eq!(home.store.load_history(id(2)).await.unwrap().lines.len(), 1 + items.len());
    home.store.shutdown_thread(id(2)).await.unwrap();
}

/// Another process holds the lock of the home's lock files, and hangs. A store with live threads is dropped without a wait, and the
/// next one can resume them.
#[tokio::test(flavor = "current_thread")]
async fn a_dropped_store_blocks_no_other_task() {
    let home = TestHome::empty();
    let store = LocalThreadStore::open(home.path());
    for number in 1..=5 {
        record(&store, number, MODE, &["a"]).await;
        store.resume_thread(id(number)).await.unwrap();
    }
    let locks = home.path().join("thread-writer-locks");
    let lock = File::options().write(true).open(locks.join(".coordination.lock")).unwrap();
    lock.lock().unwrap();
    let began = Instant::now();
    drop(store);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    lock.unlock().unwrap();
    let store = LocalThreadStore::open(home.path());
    for number in 1..=5 {
        store.resume_thread(id(number)).await.unwrap();
    }
    drop(store);
    // The files of released locks are removed as soon as the other process allows it.
    let began = Instant::now();
    while std::fs::read_dir(&locks).unwrap().count() > 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "lock files stay");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
