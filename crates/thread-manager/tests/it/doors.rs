//! One door to all threads: lazy, live and cold.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::{GitInfoPatch, HistoryMode, ThreadMetadataPatch, ThreadQuery};
use selvedge_thread_store::{StoreError, TurnBoundary};

use crate::support::{
    MODES, Place, fork, head, id, is_missing, is_not_live, kinds, message, model, paginated, record, start, timeless,
    tokens, used,
};

fn name(name: &str) -> ThreadMetadataPatch {
    ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..Default::default() }
}

async fn reads_a_lazy_thread(place: Place) {
    let manager = place.manager();
    manager.start(paginated(1)).await.unwrap();
    let row = manager.thread(id(1)).await.unwrap();
    assert_eq!((row.id, row.cwd.as_deref()), (id(1), Some("/srv")));
    assert!(is_missing(&place.manager().thread(id(1)).await), "nobody else sees it");
}

async fn reads_a_live_thread_as_the_store_does(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[tokens(5)]).await.unwrap();
        let row = manager.thread(id(n)).await.unwrap();
        assert_eq!(used(&row), Some(5));
        thread.flush().await.unwrap();
        assert_eq!(timeless(row), timeless(place.store().read_thread(id(n)).await.unwrap()));
    }
}

async fn reads_a_cold_thread(place: Place) {
    record(&place.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    let row = place.manager().thread(id(1)).await.unwrap();
    assert_eq!(row, place.store().read_thread(id(1)).await.unwrap());
    assert!(is_missing(&place.manager().thread(id(2)).await));
}

async fn naming_a_lazy_thread_makes_it_visible(place: Place) {
    let manager = place.manager();
    manager.start(paginated(1)).await.unwrap();
    let row = manager.update_metadata(id(1), &name("new")).await.unwrap();
    assert_eq!(row.name.as_deref(), Some("new"));
    assert_eq!(place.store().read_thread(id(1)).await.unwrap(), row);
    assert_eq!(manager.thread(id(1)).await.unwrap(), row);
}

async fn an_empty_patch_leaves_a_lazy_thread_lazy(place: Place) {
    let manager = place.manager();
    manager.start(paginated(1)).await.unwrap();
    let row = manager.update_metadata(id(1), &ThreadMetadataPatch::default()).await.unwrap();
    assert_eq!(row, manager.thread(id(1)).await.unwrap());
    assert!(is_missing(&place.store().read_thread(id(1)).await));
}

async fn names_a_live_thread(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        manager.update_metadata(id(n), &name("new")).await.unwrap();
        thread.append(&[message("more")]).await.unwrap();
        assert_eq!(manager.thread(id(n)).await.unwrap().name.as_deref(), Some("new"));
        assert_eq!(place.store().read_thread(id(n)).await.unwrap().name.as_deref(), Some("new"));
    }
}

async fn names_a_cold_thread(place: Place) {
    record(&place.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    let row = place.manager().update_metadata(id(1), &name("new")).await.unwrap();
    assert_eq!(row.name.as_deref(), Some("new"));
    let resumed = place.manager().resume(id(1)).await.unwrap();
    assert_eq!(resumed.live.metadata().await.name.as_deref(), Some("new"));
}

async fn takes_a_name_away(place: Place) {
    let manager = place.manager();
    start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    manager.update_metadata(id(1), &name("new")).await.unwrap();
    let clear = ThreadMetadataPatch { name: Some(None), ..Default::default() };
    assert_eq!(manager.update_metadata(id(1), &clear).await.unwrap().name, None);
    assert_eq!(place.store().read_thread(id(1)).await.unwrap().name, None);
}

async fn what_was_set_stays_until_the_log_says_otherwise(place: Place) {
    let manager = place.manager();
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
    let resumed = place.manager().resume(id(1)).await.unwrap().live;
    assert_eq!(resumed.metadata().await.model.as_deref(), Some("set"));
    resumed.append(&[model("two")]).await.unwrap();
    let row = resumed.metadata().await;
    assert_eq!(row.model.as_deref(), Some("two"));
    assert_eq!(row.git.unwrap().branch.as_deref(), Some("main"));
}

async fn archive_and_unarchive_close_the_writer(place: Place) {
    let manager = place.manager();
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

async fn archiving_a_lazy_thread_keeps_it(place: Place) {
    let manager = place.manager();
    manager.start(paginated(1)).await.unwrap();
    assert!(manager.archive(id(1)).await.unwrap().archived);
    let page = place.store().list_threads(&ThreadQuery::default()).await.unwrap();
    assert_eq!(page.items, []);
}

async fn delete_closes_the_writer(place: Place) {
    let manager = place.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    manager.delete(id(1)).await.unwrap();
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(manager.live(id(1)).is_none());
    assert!(is_missing(&place.store().read_thread(id(1)).await));
    assert!(is_missing(&manager.delete(id(1)).await));
}

async fn deletes_a_lazy_thread(place: Place) {
    let manager = place.manager();
    manager.start(paginated(1)).await.unwrap();
    manager.delete(id(1)).await.unwrap();
    manager.start(paginated(1)).await.unwrap();
}

async fn does_not_delete_what_others_build_on(place: Place) {
    let manager = place.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    let outcome = manager.delete(id(1)).await;
    assert!(matches!(outcome, Err(StoreError::HasDependents { dependents, .. }) if dependents == [id(2)]));
    assert_eq!(kinds(&*place.store(), id(1)).await.len(), 5);
    assert!(is_not_live(&thread.flush().await), "its writer was closed all the same");
}

async fn needs_an_id(place: Place) {
    let meta = selvedge_protocol::SessionMeta { id: None, ..head(1, HistoryMode::Legacy) };
    assert!(matches!(place.manager().start(meta).await, Err(StoreError::InvalidRequest { .. })));
}

crate::over_both_stores! {
    reads_a_lazy_thread, reads_a_live_thread_as_the_store_does, reads_a_cold_thread,
    naming_a_lazy_thread_makes_it_visible, an_empty_patch_leaves_a_lazy_thread_lazy, names_a_live_thread,
    names_a_cold_thread, takes_a_name_away, what_was_set_stays_until_the_log_says_otherwise,
    archive_and_unarchive_close_the_writer, archiving_a_lazy_thread_keeps_it, delete_closes_the_writer,
    deletes_a_lazy_thread, does_not_delete_what_others_build_on, needs_an_id,
}
