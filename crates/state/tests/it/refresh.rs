//! What a refresh finds, and what it leaves to an update.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use selvedge_protocol::ThreadId;
use selvedge_rollout::WriterLock;
use selvedge_state::{RefreshOutcome, StateIndex, UpdateReport};

use crate::homes::{Home, append, dump, mumbles, rebuilt, rows, says};

/// More files than a refresh stats.
const MANY: usize = 100;

/// Returns a home of many threads that have not changed for a long time, oldest first, and its index.
async fn old_home() -> (Home, Vec<(ThreadId, PathBuf)>, StateIndex) {
    let home = Home::new();
    let threads: Vec<_> = (0..MANY).map(|_| home.thread()).collect();
    for (age, (_, path)) in threads.iter().rev().enumerate() {
        let hours = Duration::from_secs(3600 * (1 + age as u64));
        File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - hours).unwrap();
    }
    let index = home.index().await;
    assert_eq!(index.refresh(u64::MAX).await.unwrap(), RefreshOutcome::Unfilled);
    assert_eq!(index.checked_at().await.unwrap(), None);
    index.update(|_| {}).await.unwrap();
    assert!(index.checked_at().await.unwrap().is_some());
    (home, threads, index)
}

async fn refreshed(index: &StateIndex) -> UpdateReport {
    match index.refresh(1 << 20).await.unwrap() {
        RefreshOutcome::Fresh(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refresh_without_changes_reads_nothing() {
    let (home, _, index) = old_home().await;
    assert_eq!(refreshed(&index).await, UpdateReport::default());
    assert_eq!(refreshed(&home.index().await).await, UpdateReport::default());
}

#[tokio::test]
async fn files_that_grew_last_or_have_a_writer_are_statted() {
    let (home, threads, index) = old_home().await;
    let (_, newest) = threads.last().unwrap();
    append(newest, &says("new"));
    let report = refreshed(&index).await;
    assert_eq!((report.read_tail, report.bytes_read), (1, says("new").len() as u64));

    let (oldest_id, oldest) = &threads[0];
    let lock = WriterLock::acquire(&home.home, *oldest_id).unwrap();
    append(oldest, &says("old"));
    assert_eq!(refreshed(&index).await.read_tail, 1);
    drop(lock);
    append(oldest, &mumbles());
    assert_eq!(refreshed(&index).await.read_tail, 1, "now it is one of the files that grew last");
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

#[tokio::test]
async fn files_that_are_added_and_removed_are_found_by_every_process() {
    let (home, threads, index) = old_home().await;
    for is_another_process in [false, true] {
        let at = usize::from(is_another_process) * 10;
        let (came, _) = home.thread();
        fs::remove_file(&threads[at].1).unwrap();
        fs::create_dir_all(home.home.archived_dir()).unwrap();
        let archived = home.home.archived_dir().join(threads[at + 1].1.file_name().unwrap());
        fs::rename(&threads[at + 1].1, archived).unwrap();
        let other = home.index().await;
        let looks = if is_another_process { &other } else { &index };
        let report = refreshed(looks).await;
        assert_eq!((report.read_whole, report.removed), (2, 1), "{report:?}");
        let rows = rows(looks).await;
        assert!(rows.iter().any(|row| row.id == came));
        assert!(rows.iter().all(|row| row.id != threads[at].0));
        assert!(rows.iter().any(|row| row.id == threads[at + 1].0 && row.archived));
        assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
    }
}

#[tokio::test]
async fn a_change_that_a_refresh_cannot_see_is_found_by_an_update() {
    let (home, threads, index) = old_home().await;
    append(&threads[0].1, &says("unlocked"));
    let old = SystemTime::now() - Duration::from_secs(3600 * 24 * 365);
    File::options().append(true).open(&threads[0].1).unwrap().set_modified(old).unwrap();
    assert_eq!(refreshed(&index).await, UpdateReport::default());
    let before = index.checked_at().await.unwrap();
    assert_eq!(index.update(|_| {}).await.unwrap().read_tail, 1);
    assert!(index.checked_at().await.unwrap() > before);
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

#[tokio::test]
async fn a_large_change_is_left_to_an_update() {
    let (home, _, index) = old_home().await;
    let (_, path) = home.thread();
    append(&path, &says(&"long ".repeat(1000)));
    let bytes = fs::metadata(&path).unwrap().len();
    assert_eq!(index.refresh(bytes - 1).await.unwrap(), RefreshOutcome::Behind { bytes });
    assert_eq!(rows(&index).await.len(), MANY);
    assert!(matches!(index.refresh(bytes).await.unwrap(), RefreshOutcome::Fresh(_)));
    assert_eq!(rows(&index).await.len(), MANY + 1);
}

/// Several processes update one index, each of which sees some of the appends first. None replaces newer rows with older ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_update_at_the_same_time() {
    let (home, threads, _) = old_home().await;
    let mut following = Vec::new();
    for _ in 0..4 {
        let index = home.index().await;
        following.push(tokio::spawn(async move {
            for round in 0..20 {
                if round % 5 == 0 {
                    index.update(|_| {}).await.unwrap();
                } else {
                    index.refresh(u64::MAX).await.unwrap();
                }
            }
        }));
    }
    for round in 0..200 {
        append(&threads[MANY - 1 - round % 7].1, &says("more"));
        if round % 10 == 0 {
            home.thread();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for follower in following {
        follower.await.unwrap();
    }
    let index = home.index().await;
    refreshed(&index).await;
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

/// An update that began before the index was cleared does not complete a generation.
#[tokio::test]
async fn an_index_that_is_cleared_during_an_update_is_not_filled() {
    let (home, _, index) = old_home().await;
    let (other, generation) = (home.index().await, index.generation().await.unwrap());
    let mut clearing = None;
    home.thread();
    index
        .update(|progress| {
            if progress.threads_done == 0 && clearing.is_none() {
                let other = other.clone();
                clearing = Some(tokio::spawn(async move { other.clear().await.unwrap() }));
            }
        })
        .await
        .unwrap();
    clearing.unwrap().await.unwrap();
    assert_eq!(index.generation().await.unwrap(), None);
    index.update(|_| {}).await.unwrap();
    assert_ne!(index.generation().await.unwrap(), generation);
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}
