//! Rules about large items, batches and segments.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem};
use selvedge_thread_store::{BatchId, LineQuery, LineStart, ThreadStore};

use crate::fixtures::{MODES, agent, assert_consecutive_ordinals, complete, head, id, record, second, started, user};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Returns a text of a million bytes. Every part of it is different, so that exchanged or repeated parts are found.
fn megabyte() -> String {
    (0..125_000).map(|number| format!("{number:07} ")).collect()
}

pub(super) async fn items_of_a_megabyte(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let text = megabyte();
        store.create_thread(head(n, mode)).await.unwrap();
        let items =
            [vec![started("a")], user(mode, "a", &text), agent(mode, "a", "small"), vec![complete("a")]].concat();
        store.append_items(id(n), BatchId::generate(), &items).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        let written: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert!(written == items, "the items differ");
        let context = store.load_model_context(id(n)).await.unwrap();
        assert!(context.history[0].texts().concat() == text, "the text differs");
        // The large item is longer than the usual byte limit of a page. The page must contain it nevertheless.
        let mut query = LineQuery::from(id(n), LineStart::Beginning);
        let mut exported = Vec::new();
        store.export(id(n), &mut exported).await.unwrap();
        let mut read = Vec::new();
        loop {
            let page = store.read_lines(&query).await.unwrap();
            read.extend(page.entries.into_iter().flat_map(|entry| entry.bytes));
            if page.is_end {
                break;
            }
            query.start = LineStart::At(page.next);
        }
        assert!(read == exported, "the pages differ from the export");
    }
}

pub(super) async fn parts_of_segments(store: Arc<dyn ThreadStore>) {
    const MAX_BYTES: usize = 16 << 20;
    let thread = record(&*store, 1, MODE, &["a"]).await;
    let message: RolloutItem = ResponseItem::user_text(&megabyte()).into();
    store.resume_thread(thread).await.unwrap();
    store.append_items(thread, BatchId::generate(), &vec![message; 17]).await.unwrap();
    store.shutdown_thread(thread).await.unwrap();
    let info = store.list_segments(thread).await.unwrap().remove(0);
    // Otherwise the limit is not tested.
    assert!(info.bytes > MAX_BYTES as u64);
    let part = store.read_segment(thread, info.id, 0, usize::MAX).await.unwrap();
    assert!(!part.is_empty() && part.len() <= MAX_BYTES, "{} bytes", part.len());
    let rest = store.read_segment(thread, info.id, part.len() as u64, usize::MAX).await.unwrap();
    assert_eq!((part.len() + rest.len()) as u64, info.bytes);
}

pub(super) async fn batches_of_ten_thousand(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    let items: Vec<RolloutItem> =
        (0..10_000).map(|number| ResponseItem::user_text(&number.to_string()).into()).collect();
    let batch = BatchId::generate();
    let appended = store.append_items(id(1), batch, &items).await.unwrap();
    assert_eq!((appended.lines, appended.last_ordinal), (10_001, Some(10_000)));
    assert_eq!(store.append_items(id(1), batch, &items).await.unwrap(), appended, "a repeated batch takes effect once");
    store.shutdown_thread(id(1)).await.unwrap();
    let history = store.load_history(id(1)).await.unwrap();
    assert_consecutive_ordinals(&history);
    let written: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
    assert!(written == items, "the items differ");
    let query = LineQuery { max_lines: 10, ..LineQuery::from(id(1), LineStart::Ordinal(9_995)) };
    assert_eq!(store.read_lines(&query).await.unwrap().entries.len(), 6);
    assert_eq!(store.read_thread(id(1)).await.unwrap().created_at, second(1));
}
