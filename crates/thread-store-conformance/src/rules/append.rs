//! Rules about appends: order, ordinals, atomicity.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, OpenItem, ResponseItem, RolloutItem};
use selvedge_thread_store::{BatchId, ThreadStore};
use serde_json::value::RawValue;

use crate::fixtures::{MODES, assert_consecutive_ordinals, continue_thread, head, id, record, turn};

pub(super) async fn items_are_kept_as_they_are(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let items: Vec<_> = ["a", "b"].iter().flat_map(|name| turn(mode, name)).collect();
        // The batches do not end where turns end.
        let (first, rest) = items.split_at(3);
        store.append_items(id(n), BatchId::generate(), first).await.unwrap();
        store.append_items(id(n), BatchId::generate(), rest).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        assert_eq!(history.mode, mode);
        assert_eq!(history.damage, []);
        assert_eq!(history.lines[0].item(), head(n, mode).into());
        let written: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert_eq!(written, items);
        assert!(history.lines.iter().all(|line| line.timestamp().is_some()));
    }
}

pub(super) async fn ordinals_are_consecutive(store: Arc<dyn ThreadStore>) {
    let mode = HistoryMode::Paginated;
    store.create_thread(head(1, mode)).await.unwrap();
    let appended = store.append_items(id(1), BatchId::generate(), &turn(mode, "a")).await.unwrap();
    assert_eq!(appended.last_ordinal, Some(appended.lines - 1));
    let again = store.append_items(id(1), BatchId::generate(), &turn(mode, "b")).await.unwrap();
    assert_eq!(again.last_ordinal, Some(appended.lines + again.lines - 1));
    store.shutdown_thread(id(1)).await.unwrap();
    continue_thread(&*store, id(1), mode, &["c"]).await;
    assert_consecutive_ordinals(&store.load_history(id(1)).await.unwrap());
}

pub(super) async fn legacy_has_no_ordinals(store: Arc<dyn ThreadStore>) {
    let mode = HistoryMode::Legacy;
    store.create_thread(head(1, mode)).await.unwrap();
    let appended = store.append_items(id(1), BatchId::generate(), &turn(mode, "a")).await.unwrap();
    assert_eq!(appended.last_ordinal, None);
    store.shutdown_thread(id(1)).await.unwrap();
    let history = store.load_history(id(1)).await.unwrap();
    assert!(history.lines.iter().all(|line| line.ordinal().is_none()));
}

pub(super) async fn empty_batch(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, HistoryMode::Paginated)).await.unwrap();
    assert_eq!(store.append_items(id(1), BatchId::generate(), &[]).await.unwrap().lines, 0);
    assert!(store.read_thread(id(1)).await.is_err(), "an empty batch makes nothing visible");
    store.persist_thread(id(1)).await.unwrap();
    assert_eq!(store.append_items(id(1), BatchId::generate(), &[]).await.unwrap().lines, 0);
    assert_eq!(store.load_history(id(1)).await.unwrap().lines.len(), 1);
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn concurrent_batches(store: Arc<dyn ThreadStore>) {
    // Many tasks append to one thread, and read it in between.
    const TASKS: usize = 16;
    const BATCHES: usize = 10;
    const SIZE: usize = 4;
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for batch in 0..BATCHES {
                        let items: Vec<_> = (0..SIZE).map(|item| numbered_item(task, batch, item)).collect();
                        store.append_items(id(n), BatchId::generate(), &items).await.unwrap();
                        store.load_history(id(n)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        store.shutdown_thread(id(n)).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        if mode == HistoryMode::Paginated {
            assert_consecutive_ordinals(&history);
        }
        // Each item contains its task, batch and number. So the order of batches between tasks is free, but any torn, lost, repeated
        // or reordered batch of one task is found.
        let items: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert_eq!(items.len(), TASKS * BATCHES * SIZE);
        let mut next = [0; TASKS];
        for batch in items.chunks(SIZE) {
            let task = (0..TASKS).find(|task| batch[0] == numbered_item(*task, next[*task], 0)).unwrap();
            let whole: Vec<_> = (0..SIZE).map(|item| numbered_item(task, next[task], item)).collect();
            assert_eq!(batch, whole);
            next[task] += 1;
        }
    }
}

fn numbered_item(task: usize, batch: usize, item: usize) -> RolloutItem {
    ResponseItem::user_text(&format!("{task}/{batch}/{item}")).into()
}

pub(super) async fn unknown_items_are_kept(store: Arc<dyn ThreadStore>) {
    // A parser that writes values again would change the number, the order of the members and the escape.
    let payload = r#"{"b":1.50,"a":[null,"\u00e9"]}"#;
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let raw = RawValue::from_string(payload.to_owned()).unwrap();
        store
            .append_items(id(n), BatchId::generate(), &[RolloutItem::Other(OpenItem::new("of_tomorrow", raw))])
            .await
            .unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        let line = history.lines.last().unwrap();
        assert_eq!((line.kind(), line.payload()), ("of_tomorrow", payload));
    }
}
