//! Many tasks on one thread, and many threads at the same time.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_protocol::HistoryMode;

use crate::support::{
    MODES, TestStores, id, message, model_prompts, paginated, shown_prompts, start, tokens, tokens_used, turn,
};

const TASKS: u64 = 16;
const BATCHES: u64 = 25;

async fn batches_of_many_tasks_are_whole(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let thread = Arc::clone(&thread);
                tokio::spawn(async move {
                    for batch in 0..BATCHES {
                        let items = ["x", "y", "z"].map(|part| message(&format!("{task} {batch} {part}")));
                        assert_eq!(thread.append(&items).await.unwrap().lines, 3);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let texts = model_prompts(&*stores.store(), id(n)).await;
        assert_eq!(texts.len() as u64, TASKS * BATCHES * 3);
        let mut next: HashMap<String, u64> = HashMap::new();
        for batch in texts.chunks(3) {
            let (task, _) = batch[0].split_once(' ').unwrap();
            let number = next.entry(task.to_owned()).or_default();
            assert_eq!(batch, ["x", "y", "z"].map(|part| format!("{task} {number} {part}")), "contiguous, in order");
            *number += 1;
        }
    }
}

async fn many_threads_are_written_at_the_same_time(stores: TestStores) {
    let manager = stores.manager();
    let tasks: Vec<_> = (1..=32)
        .map(|n| {
            let manager = manager.clone();
            tokio::spawn(async move {
                let thread = manager.start(paginated(n)).await.unwrap();
                for name in ["a", "b", "c"] {
                    thread.append(&turn(HistoryMode::Paginated, name)).await.unwrap();
                    thread.append(&[tokens(n.into())]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let report = manager.shutdown_all(std::time::Duration::from_secs(60)).await;
    assert!(report.is_clean());
    assert_eq!(report.closed.len(), 32);
    for n in 1..=32 {
        assert_eq!(shown_prompts(&*stores.store(), id(n)).await, ["a", "b", "c"]);
        assert_eq!(tokens_used(&manager.thread(id(n)).await.unwrap()), Some(n.into()));
    }
}

async fn appends_race_with_a_shutdown(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let thread = Arc::clone(&thread);
            tokio::spawn(async move {
                let mut count = 0;
                while thread.append(&[message("x")]).await.is_ok() {
                    count += 1;
                    tokio::task::yield_now().await;
                }
                count
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    thread.shutdown().await.unwrap();
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += task.await.unwrap();
    }
    assert_eq!(model_prompts(&*stores.store(), id(1)).await.len(), acknowledged);
}

crate::over_both_stores! {
    batches_of_many_tasks_are_whole, many_threads_are_written_at_the_same_time, appends_race_with_a_shutdown,
}

/// A task that waits for an fsync does not block the appends of other tasks.
#[tokio::test]
async fn other_tasks_append_while_a_sync_waits() {
    let store = crate::watched_store::WatchedStore::new();
    let thread = start(&store.manager(), 1, HistoryMode::Paginated, &[]).await;
    let gate = store.hang_before(crate::watched_store::Op::Sync, None);
    let syncing = {
        let thread = Arc::clone(&thread);
        tokio::spawn(async move { thread.sync().await })
    };
    gate.reached().await;
    let items = turn(HistoryMode::Paginated, "a");
    let append = thread.append(&items);
    tokio::time::timeout(std::time::Duration::from_secs(10), append).await.unwrap().unwrap();
    gate.open();
    syncing.await.unwrap().unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}
