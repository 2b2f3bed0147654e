//! Threads that several callers open at the same moment.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;

use selvedge_protocol::HistoryMode;
use selvedge_thread_store::StoreError;

use crate::support::{TestStores, id, record, turn};

async fn is_opened_once_by_any_number_of_callers(stores: TestStores) {
    let manager = stores.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    for _ in 0..5 {
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let manager = manager.clone();
                tokio::spawn(async move { manager.open(id(1)).await })
            })
            .collect();
        let mut handles = Vec::new();
        for task in tasks {
            handles.push(task.await.unwrap().unwrap());
        }
        assert!(handles.iter().all(|handle| Arc::ptr_eq(handle, &handles[0])));
        handles[0].shutdown().await.unwrap();
    }
}

async fn is_opened_again_after_it_was_closed(stores: TestStores) {
    let manager = stores.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let first = manager.open(id(1)).await.unwrap();
    // A shutdown that runs at the same time is waited for.
    let (closed, second) = tokio::join!(first.shutdown(), manager.open(id(1)));
    closed.unwrap();
    let second = match second.unwrap() {
        same if Arc::ptr_eq(&same, &first) => manager.open(id(1)).await.unwrap(),
        other => other,
    };
    second.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    second.shutdown().await.unwrap();
}

async fn is_a_conflict_while_another_process_writes_it(stores: TestStores) {
    let (manager, other) = (stores.manager(), stores.manager());
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let writer = other.open(id(1)).await.unwrap();
    assert!(matches!(manager.open(id(1)).await, Err(StoreError::Conflict { .. })));
    writer.shutdown().await.unwrap();
    manager.open(id(1)).await.unwrap();
    assert!(matches!(manager.open(id(2)).await, Err(StoreError::NotFound { .. })));
    let record = manager.rename(id(1), "a name").await.unwrap();
    assert_eq!(record.name.as_deref(), Some("a name"));
    assert_eq!(manager.rename(id(1), "").await.unwrap().name, None);
}

crate::over_both_stores! {
    is_opened_once_by_any_number_of_callers, is_opened_again_after_it_was_closed,
    is_a_conflict_while_another_process_writes_it,
}
