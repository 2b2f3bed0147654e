//! Administration of the files of a home.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use selvedge_faulty_files::{Call, FaultyFiles};
use selvedge_protocol::{ArchivedFilter, Durability, HistoryMode, ThreadId, ThreadQuery, TurnBoundary};
use selvedge_rollout::RolloutHome;
use selvedge_thread_store::{ForkThread, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{
    CheckScope, CodexChange, CompressionScope, FindingKind, HomeAdmin, HomeOptions, IndexFindingKind, IndexLocation,
    LocalThreadStore,
};

use crate::damage::{head_line, line, lines};
use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id, record, second};

use HistoryMode::Paginated;

fn without_index(home: &Path) -> HomeAdmin {
    LocalThreadStore::open_with(home, IndexLocation::Disabled).admin()
}

async fn listed(store: &LocalThreadStore) -> usize {
    store.list_threads(&ThreadQuery::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn an_admin_has_the_options_of_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = HomeOptions { durability: Durability::Synced, index: IndexLocation::At(dir.path().join("other")) };
    let admin = LocalThreadStore::open_with(dir.path(), options).admin();
    assert_eq!((admin.home(), admin.durability()), (dir.path(), Durability::Synced));
    assert_eq!(admin.index_path(), Some(&*dir.path().join("other")));
    let admin = LocalThreadStore::open(dir.path()).admin();
    assert_eq!(admin.durability(), Durability::Written);
    assert_eq!(admin.index_path(), Some(&*dir.path().join("selvedge-index.sqlite")));
}

#[tokio::test]
async fn a_damaged_thread_is_diagnosed_and_repaired() {
    let home = TestHome::empty();
    let path = home.put(id(1), head_line(head(1, Paginated), 0) + &lines(1..4) + &line(4)[..20]);
    home.put(id(2), head_line(head(2, Paginated), 0) + &lines(1..3));
    let files = FaultyFiles::new();
    let faulty = RolloutHome::new(home.path()).with_file_system(Arc::new(files.clone()));
    let admin = LocalThreadStore::of(faulty, IndexLocation::default()).admin();

    let reported = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reported);
    let progress = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let diagnosis = admin.diagnose(Some([id(1)].into()), progress).await.unwrap();
    assert!(diagnosis.findings.iter().any(|finding| finding.kind == FindingKind::Torn), "{diagnosis:?}");
    assert_eq!((diagnosis.checked.files, reported.load(Ordering::Relaxed)), (1, 1));

    let before = fs::read(&path).unwrap();
    let steps = admin.repair(&diagnosis, true).await.unwrap();
    assert!(!steps.is_empty() && fs::read(&path).unwrap() == before, "a dry run changes nothing");
    assert!(!files.calls().contains(&Call::Rename));
    let steps = admin.repair(&diagnosis, false).await.unwrap();
    assert!(steps.iter().all(|step| step.error.is_none()), "{steps:?}");
    let after = fs::read(&path).unwrap();
    assert!(before.starts_with(&after) && after.len() < before.len());
    assert!(files.calls().contains(&Call::Rename), "a repair uses the file system of the store");
}

#[tokio::test]
async fn a_plan_of_a_compression_lists_the_uncompressed_files() {
    let home = TestHome::empty();
    for n in 1..=3 {
        record(&home.store, n, Paginated, &["some words"]).await;
    }
    let admin = home.store.admin();
    admin.compress(id(2)).await.unwrap();
    let named = CompressionScope::Threads(vec![id(3), id(2), id(3), id(1)]);
    let plan = admin.plan_compression(&named).await.unwrap();
    assert_eq!(
        plan.iter().map(|thread| thread.thread_id).collect::<Vec<_>>(),
        [id(3), id(2), id(1)],
        "each thread is listed once"
    );
    assert_eq!((plan[1].files.len(), plan[1].bytes()), (0, 0), "a named thread is listed without files, too");
    for thread in [&plan[0], &plan[2]] {
        let [file] = &thread.files[..] else { panic!("{thread:?}") };
        let bytes = fs::metadata(&file.path).unwrap().len();
        assert!(bytes > 0 && thread.bytes() == bytes && file.bytes == bytes, "{thread:?}");
    }
    let unknown = CompressionScope::Threads(vec![id(1), id(9)]);
    let error = admin.plan_compression(&unknown).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { thread_id, .. } if thread_id == id(9)), "{error:?}");

    home.store.archive_thread(id(3)).await.unwrap();
    let before = |time, archived| CompressionScope::UpdatedBefore { time, archived };
    let (past, future) = (second(0), "2999-01-01T00:00:00Z".parse().unwrap());
    for (scope, wanted) in [
        (before(past, ArchivedFilter::All), vec![]),
        (before(future, ArchivedFilter::Active), vec![id(1)]),
        (before(future, ArchivedFilter::Archived), vec![id(3)]),
    ] {
        let plan = admin.plan_compression(&scope).await.unwrap();
        assert_eq!(plan.iter().map(|thread| thread.thread_id).collect::<Vec<_>>(), wanted, "{scope:?}");
    }
}

#[tokio::test]
async fn an_index_that_is_disabled_or_missing_is_none() {
    let home = TestHome::empty();
    home.put(id(1), head_line(head(1, Paginated), 0));
    let admin = without_index(home.path());
    assert_eq!((admin.index_path(), admin.index_progress()), (None, None));
    assert!(admin.open_index().await.unwrap().is_none());
    assert!(admin.fill_index().await.unwrap().is_none());
    assert!(admin.check_index(&CheckScope::default()).await.unwrap().is_none());

    let admin = home.store.admin();
    assert!(admin.check_index(&CheckScope::default()).await.unwrap().is_none(), "there is no index yet");
    assert!(!admin.index_path().unwrap().exists(), "a check creates no index");
    assert_eq!(admin.fill_index().await.unwrap().unwrap().read_whole, 1);
    assert_eq!(admin.check_index(&CheckScope::default()).await.unwrap().unwrap().findings, []);
}

#[tokio::test]
async fn an_index_is_updated_and_rebuilt() {
    let home = TestHome::empty();
    home.put(id(1), head_line(head(1, Paginated), 0));
    let admin = home.store.admin();
    fs::write(admin.index_path().unwrap(), "no database").unwrap();
    let index = admin.open_index().await.unwrap().unwrap();
    assert_eq!(fs::read(&index.set_aside().unwrap().kept).unwrap(), b"no database");
    let status = index.status().await.unwrap();
    assert_eq!((status.threads, status.threads_in_home, status.changed, status.checked_at), (0, 1, 1, None));

    let mut reported = Vec::new();
    let report = index.update(|progress| reported.push(progress)).await.unwrap();
    assert_eq!((report.read_whole, reported.last().unwrap().threads_done), (1, 1));
    let status = index.status().await.unwrap();
    assert_eq!((status.threads, status.changed, status.checked_at.is_some()), (1, 0, true));
    assert_eq!(index.update(|_| {}).await.unwrap().read_whole, 0);
    assert_eq!(index.rebuild(|_| {}).await.unwrap().read_whole, 1);
    index.close().await;
    assert!(admin.open_index().await.unwrap().unwrap().set_aside().is_none());
}

#[tokio::test]
async fn a_store_uses_the_index_that_a_repair_has_created() {
    let home = TestHome::empty();
    home.put(id(1), head_line(head(1, Paginated), 0));
    let admin = home.store.admin();
    assert_eq!(listed(&home.store).await, 1);
    let path = admin.index_path().unwrap().to_owned();
    // The file is not an index now, while the store still has the old file open.
    fs::rename(&path, path.with_extension("moved")).unwrap();
    fs::write(&path, "no database").unwrap();
    let check = admin.check_index(&CheckScope::default()).await.unwrap().unwrap();
    assert_eq!(check.findings[0].kind, IndexFindingKind::UnusableIndex);
    let repair = admin.repair_index(&check).await.unwrap();
    assert_eq!(fs::read(repair.set_aside.unwrap().kept).unwrap(), b"no database");

    home.put(id(2), head_line(head(2, Paginated), 0));
    assert_eq!(listed(&home.store).await, 2);
    home.store.close().await;
    let check = admin.check_index(&CheckScope::default()).await.unwrap().unwrap();
    assert_eq!((check.threads, check.findings), (2, vec![]), "the store has updated the new index");
}

/// Returns a recorded home, together with the database of a Codex 0.171.0 that knows its threads.
fn known_to_codex() -> TestHome {
    let home = TestHome::recorded("story-0.171.0-rows");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/databases-0.171.0/state_5.sqlite.zst");
    let database = zstd::decode_all(&fs::read(sample).unwrap()[..]).unwrap();
    fs::write(home.path().join("state_5.sqlite"), database).unwrap();
    home
}

#[tokio::test]
async fn what_codex_would_not_notice_is_known_before_a_change() {
    let home = known_to_codex();
    let admin = home.store.admin();
    let [named, archived, unknown]: [ThreadId; 3] = [
        "01a222c1-1e9f-7e70-a6be-b5044bd0be43",
        "01a222c1-1efb-7572-ae93-e7f325d94a83",
        "01a222c1-0000-7000-8000-000000000000",
    ]
    .map(|id| id.parse().unwrap());
    let judge = async |id, change| admin.unnoticed_by_codex(id, &change).await.unwrap();
    let rewind = judge(named, CodexChange::Rewind).await.unwrap();
    assert_eq!((rewind.obstacle, rewind.record.name.as_deref()), (None, Some("A name of Codex")));
    assert!(rewind.consequence.starts_with("Codex "), "{}", rewind.consequence);
    assert!(judge(named, CodexChange::Rename(None)).await.unwrap().obstacle.is_some(), "Codex cannot remove a name");
    assert!(judge(named, CodexChange::Rename(Some("A name of Codex".to_owned()))).await.is_none());
    assert!(judge(archived, CodexChange::Archive).await.is_none(), "it is archived already");
    assert!(judge(archived, CodexChange::Unarchive).await.unwrap().obstacle.is_none());
    assert!(judge(archived, CodexChange::Rewind).await.unwrap().obstacle.is_some(), "only after it is unarchived");
    let missing = admin.unnoticed_by_codex(unknown, &CodexChange::Rewind).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_deletion_by_codex_is_guarded_like_one_of_the_store() {
    let home = TestHome::empty();
    let admin = home.store.admin();
    home.put(id(1), head_line(head(1, Paginated), 0) + &lines(1..4));
    let fork = ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, Paginated) };
    let fork = home.store.fork_thread(fork).await.unwrap();
    let refused = admin.guard_deletion(vec![id(1)]).await;
    assert!(
        matches!(&refused, Err(StoreError::HasDependents { dependents, .. }) if *dependents == [fork]),
        "{refused:?}"
    );
    // Threads that are deleted together may depend on each other.
    let guard = admin.guard_deletion(vec![id(1), fork]).await.unwrap();
    assert!(home.path().join("archived_sessions").is_dir(), "Codex needs it for a deletion");
    drop(guard);
    assert!(admin.guard_deletion(vec![fork]).await.is_ok());
}
