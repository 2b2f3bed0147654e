//! A Tokio runtime that was built without timers and without I/O is enough for every call.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::time::Duration;

use selvedge_protocol::{
    HistoryMode, ItemQuery, SearchQuery, StatsQuery, ThreadMetadataPatch, ThreadQuery, TurnBoundary,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, MetadataOrigin, RevertThread, StoreError, ThreadLookup, ThreadReader,
};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use tokio::runtime::Builder;

use crate::support::{MODES, TestStores, head, id, model_prompts, paginated, shown_prompts, tokens, turn};
use crate::watched_store::WatchedStore;

/// Runs a scenario in runtimes of both kinds.
fn run(story: impl AsyncFn(TestStores)) {
    for make in [TestStores::memory, TestStores::local] {
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            builder.build().unwrap().block_on(story(make()));
        }
    }
}

async fn pause(time: Duration) {
    tokio::task::spawn_blocking(move || std::thread::sleep(time)).await.unwrap();
}

async fn use_every_store_method(stores: TestStores) {
    let (store, other) = (stores.store(), stores.store());
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        for name in ["one", "two", "three"] {
            store.append_items(id(n), BatchId::generate(), &turn(mode, name)).await.unwrap();
        }
        store.flush_thread(id(n)).await.unwrap();
        store.sync_thread(id(n)).await.unwrap();
    }
    for n in [1, 2] {
        assert_eq!(store.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 2);
        let threads = ThreadQuery { limit: 1, ..ThreadQuery::default() };
        let mut search = SearchQuery { threads, hits_per_thread: 1, ..SearchQuery::new("two") };
        let first = other.search_threads(&search).await.unwrap();
        search.threads.cursor = first.next_cursor;
        let second = other.search_threads(&search).await.unwrap();
        assert_ne!(first.items[0].thread.id, second.items[0].thread.id);
        assert_eq!(
            other.read_thread(id(n)).await.unwrap().history_mode,
            store.read_session_meta(id(n)).await.unwrap().unwrap().mode()
        );
        assert_eq!(shown_prompts(&*other, id(n)).await, ["one", "two", "three"]);
        assert!(!store.list_items(&ItemQuery::all(id(n))).await.unwrap().items.is_empty());
        assert_eq!(store.find_threads(&ThreadLookup::IdPrefix(id(n).to_string())).await.unwrap(), [id(n)]);
        store.distinct_prefix_len(&[id(n)]).await.unwrap();
    }
    store.thread_stats(&StatsQuery::default()).await.unwrap();

    let end = other.read_lines(&LineQuery::from(id(1), LineStart::End)).await.unwrap().next;
    let waiting = tokio::spawn({
        let other = stores.store();
        async move { other.wait_for_lines(id(1), &end).await }
    });
    pause(Duration::from_millis(100)).await;
    store.append_items(id(1), BatchId::generate(), &turn(HistoryMode::Legacy, "four")).await.unwrap();
    waiting.await.unwrap().unwrap();
    let changes = other.list_changes(None, 10).await.unwrap();
    assert_eq!(changes.changes.len(), 2);

    let to = TurnBoundary::BeforeNewest(1);
    for n in [1, 2] {
        let at = TurnBoundary::Latest;
        store.fork_thread(ForkThread { source: id(n), at, meta: paginated(n + 2) }).await.unwrap();
        let request = RevertThread { thread_id: id(n), to: to.clone(), batch: BatchId::generate() };
        assert_eq!(store.revert_thread(request).await.unwrap(), 1);
        let patch = ThreadMetadataPatch { name: Some(Some("called".to_owned())), ..ThreadMetadataPatch::default() };
        store.update_thread_metadata(id(n), &patch, MetadataOrigin::Explicit).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        store.resume_thread(id(n)).await.unwrap();
        store.discard_thread(id(n)).await.unwrap();
    }
    store.detach_thread(id(4)).await.unwrap();
    store.archive_thread(id(1)).await.unwrap();
    store.unarchive_thread(id(1)).await.unwrap();
    store.delete_thread(id(1)).await.unwrap();
    assert!(matches!(other.read_thread(id(1)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(shown_prompts(&*other, id(2)).await, ["one", "two"]);
}

#[test]
fn a_store_needs_no_timers_and_no_io() {
    run(use_every_store_method);
}

async fn use_every_manager_method(stores: TestStores) {
    let manager = stores.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    let mode = HistoryMode::Paginated;
    thread.compact("summary", Vec::new()).await.unwrap();
    for name in ["one", "two"] {
        thread.append(&turn(mode, name)).await.unwrap();
        thread.append(&[tokens(1)]).await.unwrap();
    }
    thread.flush().await.unwrap();
    thread.sync().await.unwrap();
    assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap(), 1);
    manager.fork(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: paginated(2) }).await.unwrap();
    thread.shutdown().await.unwrap();
    let resumed = manager.resume(id(1)).await.unwrap().live;
    resumed.append(&turn(mode, "three")).await.unwrap();
    drop(manager.begin(paginated(3)).await.unwrap());
    manager.resume(id(2)).await.unwrap();
    let report = manager.shutdown_all(Duration::from_secs(60)).await;
    assert!(report.is_clean() && report.closed == [id(1), id(2)], "{report:?}");
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["one", "three"]);
    manager.archive(id(1)).await.unwrap();
}

#[test]
fn a_manager_needs_no_timers_and_no_io() {
    run(use_every_manager_method);
}

#[test]
fn progress_is_stored_in_time() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let store = WatchedStore::new();
        let thread = store.manager().start(paginated(1)).await.unwrap();
        thread.append(&[tokens(1)]).await.unwrap();
        store.forget();
        thread.append(&[tokens(2)]).await.unwrap();
        assert_eq!(store.derived_patches(), []);
        for _ in 0..600 {
            if !store.derived_patches().is_empty() {
                return;
            }
            pause(Duration::from_millis(100)).await;
        }
        panic!("the token counts were not stored in time");
    });
}

#[test]
fn the_administration_of_a_home_needs_no_timers_and_no_io() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let stores = TestStores::local();
        let manager = stores.manager();
        manager.start(paginated(1)).await.unwrap().append(&turn(HistoryMode::Paginated, "one")).await.unwrap();
        manager.shutdown_all(Duration::from_secs(60)).await;
        let TestStores::Local(home) = &stores else { panic!("it is on files") };
        let admin = LocalThreadStore::open(home.path()).admin();
        admin.fill_index().await.unwrap().unwrap();
        let index = admin.open_index().await.unwrap().unwrap();
        assert_eq!(index.rebuild(|_| {}).await.unwrap().threads, 1);
        assert_eq!(index.update(|_| {}).await.unwrap().threads, 1);
        index.status().await.unwrap();
        index.close().await;
        let check = admin.check_index(&selvedge_thread_store_local::CheckScope::default()).await.unwrap().unwrap();
        admin.repair_index(&check).await.unwrap();
        admin.close().await;
        let logs = LocalThreadStore::open_with(home.path(), IndexLocation::Disabled);
        assert_eq!(logs.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);
    });
}
