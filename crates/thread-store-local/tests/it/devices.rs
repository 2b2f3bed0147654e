//! Archiving to another file system and back: no step at which the process ends, and no error of a call, loses or doubles anything.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_faulty_files::{Call, Fault, FaultyFiles};
use selvedge_protocol::{
    ArchivedFilter, Durability, HistoryMode, RolloutLine, StatsKey, StatsQuery, ThreadQuery, TurnBoundary,
};
use selvedge_rollout::RolloutHome;
use selvedge_rollout::doctor::{FindingKind, diagnose, repair};
use selvedge_thread_store::{BatchId, RevertThread, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{continue_thread, id, record};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::faults::copy;
use crate::home::{TestHome, all_files};

/// A home whose archive is a link to a directory on another file system, with a reverted thread in it.
struct TwoDevices {
    home: TestHome,
    _archive: tempfile::TempDir,
}

impl TwoDevices {
    /// `None` if this machine has no second file system at `/dev/shm`.
    async fn new() -> Option<Self> {
        let home = TestHome::empty();
        let archive = tempfile::tempdir_in("/dev/shm").ok()?;
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        if device(archive.path()) == device(home.path()) {
            return None;
        }
        symlink(archive.path(), home.path().join("archived_sessions")).unwrap();
        record(&home.store, 1, HistoryMode::Paginated, &["a", "b"]).await;
        let to = TurnBoundary::BeforeNewest(1);
        home.store.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await.unwrap();
        continue_thread(&home.store, id(1), HistoryMode::Paginated, &["c"]).await;
        record(&home.store, 2, HistoryMode::Legacy, &["other"]).await;
        home.store.close().await;
        Some(Self { home, _archive: archive })
    }

    /// Returns another home with the same files.
    fn again(&self) -> Self {
        let home = TestHome::empty();
        let archive = tempfile::tempdir_in("/dev/shm").unwrap();
        symlink(archive.path(), home.path().join("archived_sessions")).unwrap();
        copy(&self.home.path().join("sessions"), &home.path().join("sessions"));
        Self { home, _archive: archive }
    }

    /// Opens the home without an index, on these files.
    fn store(&self, files: &FaultyFiles, durability: Durability) -> LocalThreadStore {
        let home =
            RolloutHome::new(self.home.path()).with_durability(durability).with_file_system(Arc::new(files.clone()));
        LocalThreadStore::of(home, IndexLocation::Disabled)
    }

    fn plain(&self) -> LocalThreadStore {
        LocalThreadStore::open_with(self.home.path(), IndexLocation::Disabled)
    }

    /// Returns the rollouts, temporary files included.
    fn rollouts(&self) -> Vec<PathBuf> {
        let dirs = ["sessions", "archived_sessions"].map(|dir| self.home.path().join(dir));
        let mut found: Vec<PathBuf> = dirs.iter().filter(|dir| dir.exists()).flat_map(|dir| all_files(dir)).collect();
        found.sort();
        found
    }
}

async fn lines(store: &LocalThreadStore) -> Vec<String> {
    let history = store.load_history(id(1)).await.unwrap();
    assert_eq!(history.damage, []);
    history.lines.iter().map(RolloutLine::text).map(str::to_owned).collect()
}

async fn set_archived(store: &LocalThreadStore, archived: bool) -> selvedge_thread_store::Result<()> {
    let thread = if archived { store.archive_thread(id(1)).await } else { store.unarchive_thread(id(1)).await };
    thread.map(drop)
}

fn faults(call: Call) -> &'static [Fault] {
    Fault::of(call)
}

#[tokio::test]
async fn archiving_to_another_file_system_survives_every_fault() {
    let Some(first) = TwoDevices::new().await else { return skip("there is no second file system at /dev/shm") };
    let expected = lines(&first.plain()).await;
    let mut tried = 0;
    for durability in [Durability::Written, Durability::Synced] {
        for archived in [true, false] {
            // Once without a fault, to count the calls.
            let files = FaultyFiles::new();
            if !archived {
                set_archived(&first.plain(), true).await.unwrap();
            }
            set_archived(&first.store(&files, durability), archived).await.unwrap();
            set_archived(&first.plain(), false).await.unwrap();
            let calls = files.calls();
            assert!(calls.contains(&Call::Write), "it is copied, not renamed: {calls:?}");

            for (at, call) in calls.iter().enumerate() {
                for fault in faults(*call) {
                    tried += 1;
                    let what = format!("{durability:?}, archived {archived}, call {at} {call:?}, {fault:?}");
                    let home = first.again();
                    if !archived {
                        set_archived(&home.plain(), true).await.unwrap();
                    }
                    let _ = set_archived(&home.store(&FaultyFiles::with_fault(at, *fault), durability), archived).await;
                    check(&home, &expected, archived, &what).await;
                }
            }
        }
    }
    assert_eq!(lines(&first.plain()).await, expected);
    println_tried(tried);
}

/// Checks that nothing is lost and nothing counts twice after a fault, and that the call can be repeated.
async fn check(home: &TwoDevices, expected: &[String], archived: bool, what: &str) {
    let store = home.plain();
    assert_eq!(lines(&store).await, expected, "{what}");
    let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
    assert_eq!(store.list_threads(&all).await.unwrap().items.len(), 2, "{what}");
    let query = StatsQuery { threads: all.clone(), by: StatsKey::Source, offsets: Vec::new() };
    assert_eq!(store.thread_stats(&query).await.unwrap().total.threads, 2, "{what}");

    // The doctor knows both kinds of leftovers, and its repair loses nothing.
    let rollout_home = RolloutHome::new(home.home.path());
    let found = diagnose(&rollout_home, None, &|_| {}).unwrap();
    let known = [FindingKind::Duplicate, FindingKind::Leftover, FindingKind::StaleLock, FindingKind::WideMode];
    for finding in &found.findings {
        assert!(known.contains(&finding.kind), "{what}: {finding:?}");
    }
    if found.findings.iter().any(|finding| finding.kind == FindingKind::Duplicate) {
        let _ = repair(&rollout_home, &found, false);
        assert_eq!(lines(&home.plain()).await, expected, "{what}, repaired");
        assert!(!home.rollouts().iter().any(|path| path.to_string_lossy().contains("damaged")), "{what}: equal files");
    }
    // Repeating the call completes it.
    set_archived(&home.plain(), archived).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!(lines(&home.plain()).await, expected, "{what}, repeated");
    let rollouts = home.rollouts();
    assert_eq!(rollouts.len(), 3, "{what}: {rollouts:?}");
    let moved = rollouts.iter().filter(|path| path.starts_with(home.home.path().join("archived_sessions"))).count();
    assert_eq!(moved, if archived { 2 } else { 0 }, "{what}: {rollouts:?}");
}

#[tokio::test]
async fn a_thread_that_was_continued_after_an_interrupted_move_can_be_archived() {
    let Some(home) = TwoDevices::new().await else { return skip("there is no second file system at /dev/shm") };
    // What a process left that ended between the copy and the removal.
    for path in home.rollouts().iter().filter(|path| path.to_string_lossy().contains(&id(1).to_string())) {
        let copy = home.home.path().join("archived_sessions").join(path.file_name().unwrap());
        fs::copy(path, copy).unwrap();
    }
    let store = home.plain();
    continue_thread(&store, id(1), HistoryMode::Paginated, &["d"]).await;
    let expected = lines(&store).await;
    for archived in [true, false, true] {
        set_archived(&store, archived).await.unwrap();
        assert_eq!(lines(&home.plain()).await, expected);
        assert_eq!(home.rollouts().len(), 3);
    }
    // Times are kept: the list without an index orders by them.
    let newest = home.rollouts().into_iter().map(|path| fs::metadata(path).unwrap().mtime()).max().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(i64::try_from(now).unwrap() - newest < 600);
}

#[tokio::test]
async fn other_content_at_the_new_path_is_never_replaced() {
    let Some(home) = TwoDevices::new().await else { return skip("there is no second file system at /dev/shm") };
    let path = home.rollouts().into_iter().find(|path| path.to_string_lossy().contains(&id(2).to_string())).unwrap();
    let taken = home.home.path().join("archived_sessions").join(path.file_name().unwrap());
    fs::write(&taken, "{\"something\":\"else\"}\n").unwrap();
    assert!(home.plain().archive_thread(id(2)).await.is_err());
    assert_eq!(fs::read_to_string(&taken).unwrap(), "{\"something\":\"else\"}\n");
    assert!(path.exists());
}

#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[expect(clippy::print_stderr, reason = "the number says how much was tried")]
fn println_tried(tried: usize) {
    eprintln!("tried {tried} pairs of a call and a fault");
}
