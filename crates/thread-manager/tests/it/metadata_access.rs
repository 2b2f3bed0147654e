//! Reading and changing the metadata of all threads through the manager: lazy, live and cold.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{GitInfoPatch, HistoryMode, ThreadMetadataPatch, ThreadQuery, TurnBoundary};
use selvedge_thread_store::StoreError;

use crate::support::{
    MODES, TestStores, fork, head, id, is_not_found, is_not_live, kinds, message, model, paginated, record, start,
    tokens, tokens_used, without_update_time,
};

fn name(name: &str) -> ThreadMetadataPatch {
    ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..Default::default() }
}

async fn reads_a_lazy_thread(stores: TestStores) {
    let manager = stores.manager();
    manager.start(paginated(1)).await.unwrap();
    let stored = manager.thread(id(1)).await.unwrap();
    assert_eq!((stored.id, stored.cwd.as_deref()), (id(1), Some("/srv")));
    assert!(is_not_found(&stores.manager().thread(id(1)).await), "no other process sees it");
}

async fn reads_a_live_thread_as_the_store_does(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[tokens(5)]).await.unwrap();
        let stored = manager.thread(id(n)).await.unwrap();
        assert_eq!(tokens_used(&stored), Some(5));
        thread.flush().await.unwrap();
        assert_eq!(without_update_time(stored), without_update_time(stores.store().read_thread(id(n)).await.unwrap()));
    }
}

async fn reads_a_cold_thread(stores: TestStores) {
    record(&stores.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    let stored = stores.manager().thread(id(1)).await.unwrap();
    assert_eq!(stored, stores.store().read_thread(id(1)).await.unwrap());
    assert!(is_not_found(&stores.manager().thread(id(2)).await));
}

async fn naming_a_lazy_thread_makes_it_visible(stores: TestStores) {
    let manager = stores.manager();
    manager.start(paginated(1)).await.unwrap();
    let stored = manager.update_metadata(id(1), &name("new")).await.unwrap();
    assert_eq!(stored.name.as_deref(), Some("new"));
    assert_eq!(stores.store().read_thread(id(1)).await.unwrap(), stored);
    assert_eq!(manager.thread(id(1)).await.unwrap(), stored);
}

async fn an_empty_patch_leaves_a_lazy_thread_lazy(stores: TestStores) {
    let manager = stores.manager();
    manager.start(paginated(1)).await.unwrap();
    let stored = manager.update_metadata(id(1), &ThreadMetadataPatch::default()).await.unwrap();
    assert_eq!(stored, manager.thread(id(1)).await.unwrap());
    assert!(is_not_found(&stores.store().read_thread(id(1)).await));
}

async fn names_a_live_thread(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        manager.update_metadata(id(n), &name("new")).await.unwrap();
        thread.append(&[message("more")]).await.unwrap();
        assert_eq!(manager.thread(id(n)).await.unwrap().name.as_deref(), Some("new"));
        assert_eq!(stores.store().read_thread(id(n)).await.unwrap().name.as_deref(), Some("new"));
    }
}

async fn names_a_cold_thread(stores: TestStores) {
    record(&stores.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    let stored = stores.manager().update_metadata(id(1), &name("new")).await.unwrap();
    assert_eq!(stored.name.as_deref(), Some("new"));
    let resumed = stores.manager().resume(id(1)).await.unwrap();
    assert_eq!(resumed.live.metadata().await.name.as_deref(), Some("new"));
}

async fn clears_a_name(stores: TestStores) {
    let manager = stores.manager();
    start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    manager.update_metadata(id(1), &name("new")).await.unwrap();
    let clear = ThreadMetadataPatch { name: Some(None), ..Default::default() };
    assert_eq!(manager.update_metadata(id(1), &clear).await.unwrap().name, None);
    assert_eq!(stores.store().read_thread(id(1)).await.unwrap().name, None);
}

async fn explicit_metadata_stays_until_a_later_line_changes_it(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    thread.append(&[model("one")]).await.unwrap();
    let set = ThreadMetadataPatch {
        model: Some(Some("set".to_owned())),
        git: Some(Some(GitInfoPatch { branch: Some(Some("main".to_owned())), ..Default::default() })),
        ..Default::default()
    };
    manager.update_metadata(id(1), &set).await.unwrap();
    thread.append(&[tokens(1)]).await.unwrap();
    thread.shutdown().await.unwrap();
    let resumed = stores.manager().resume(id(1)).await.unwrap().live;
    assert_eq!(resumed.metadata().await.model.as_deref(), Some("set"));
    resumed.append(&[model("two")]).await.unwrap();
    let stored = resumed.metadata().await;
    assert_eq!(stored.model.as_deref(), Some("two"));
    assert_eq!(stored.git.unwrap().branch.as_deref(), Some("main"));
}

async fn archive_and_unarchive_close_the_writer(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    assert!(manager.archive(id(1)).await.unwrap().archived);
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(is_not_live(&thread.flush().await));
    assert!(manager.live(id(1)).is_none());
    let thread = manager.resume(id(1)).await.unwrap().live;
    assert!(thread.metadata().await.archived);
    assert!(!manager.unarchive(id(1)).await.unwrap().archived);
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(manager.live(id(1)).is_none());
}

async fn archiving_a_lazy_thread_makes_it_visible(stores: TestStores) {
    let manager = stores.manager();
    manager.start(paginated(1)).await.unwrap();
    assert!(manager.archive(id(1)).await.unwrap().archived);
    let page = stores.store().list_threads(&ThreadQuery::default()).await.unwrap();
    assert_eq!(page.items, []);
}

async fn delete_closes_the_writer(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    manager.delete(id(1)).await.unwrap();
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(manager.live(id(1)).is_none());
    assert!(is_not_found(&stores.store().read_thread(id(1)).await));
    assert!(is_not_found(&manager.delete(id(1)).await));
}

async fn deletes_a_lazy_thread(stores: TestStores) {
    let manager = stores.manager();
    manager.start(paginated(1)).await.unwrap();
    manager.delete(id(1)).await.unwrap();
    manager.start(paginated(1)).await.unwrap();
}

async fn does_not_delete_a_thread_that_others_build_on(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    let outcome = manager.delete(id(1)).await;
    assert!(matches!(outcome, Err(StoreError::HasDependents { dependents, .. }) if dependents == [id(2)]));
    assert_eq!(kinds(&*stores.store(), id(1)).await.len(), 5);
    assert!(is_not_live(&thread.flush().await), "its writer was closed in any case");
}

async fn gives_a_new_thread_an_id_and_refuses_a_base(stores: TestStores) {
    let manager = stores.manager();
    let meta = selvedge_protocol::SessionMeta { id: None, ..head(1, HistoryMode::Legacy) };
    let (one, two) = (manager.start(meta.clone()).await.unwrap(), manager.start(meta.clone()).await.unwrap());
    assert_ne!(one.id(), two.id());
    let meta = selvedge_protocol::SessionMeta { history_base: Some(Default::default()), ..meta };
    assert!(matches!(manager.start(meta).await, Err(StoreError::InvalidRequest { .. })));
}

crate::over_both_stores! {
    reads_a_lazy_thread, reads_a_live_thread_as_the_store_does, reads_a_cold_thread,
    naming_a_lazy_thread_makes_it_visible, an_empty_patch_leaves_a_lazy_thread_lazy, names_a_live_thread,
    names_a_cold_thread, clears_a_name, explicit_metadata_stays_until_a_later_line_changes_it,
    archive_and_unarchive_close_the_writer, archiving_a_lazy_thread_makes_it_visible, delete_closes_the_writer,
    deletes_a_lazy_thread, does_not_delete_a_thread_that_others_build_on, gives_a_new_thread_an_id_and_refuses_a_base,
}
