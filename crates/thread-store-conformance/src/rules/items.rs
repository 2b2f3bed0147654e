//! Rules about pages of items.

use std::sync::Arc;

use selvedge_protocol::{
    Cursor, EventMsg, HistoryMode, ItemContent, ItemQuery, RolloutItem, SortDirection, Turn, TurnItem, TurnItemEntry,
    TurnQuery, TurnSelector,
};
use selvedge_thread_store::{BatchId, StoreError, ThreadStore};
use serde_json::json;

use crate::fixtures::{MODES, completed, continue_thread, id, is_invalid, is_missing, record, turn_id};

/// Reads all pages of a query.
async fn walk(store: &dyn ThreadStore, query: ItemQuery) -> Vec<TurnItemEntry> {
    let page = async |cursor| store.list_items(&ItemQuery { cursor, ..query.clone() }).await.unwrap();
    crate::fixtures::collect_pages(query.limit, query.cursor.clone(), page).await
}

/// Formats the turn and the text of each entry.
fn described(entries: &[TurnItemEntry]) -> Vec<String> {
    let text = |entry: &'_ TurnItemEntry| match &entry.item.content {
        ItemContent::UserMessage { text, .. } | ItemContent::AgentMessage { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(|entry| format!("{}: {}", entry.turn_id, text(entry))).collect()
}

pub(super) async fn pages(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b", "c"]).await;
        let page = store.list_items(&ItemQuery::all(id(n))).await.unwrap();
        assert_eq!(page.next_cursor, None);
        let mut all = page.items;
        assert_eq!(described(&all), ["a: ask a", "a: answer a", "b: ask b", "b: answer b", "c: ask c", "c: answer c"]);
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            for limit in 1..=7 {
                let query = ItemQuery { direction, limit, ..ItemQuery::all(id(n)) };
                assert_eq!(walk(&*store, query).await, all, "{direction:?} {limit}");
            }
            all.reverse();
        }
    }
}

pub(super) async fn of_one_turn(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b", "c"]).await;
        for (direction, wanted) in [
            (SortDirection::Ascending, ["b: ask b", "b: answer b"]),
            (SortDirection::Descending, ["b: answer b", "b: ask b"]),
        ] {
            for limit in 1..=3 {
                let query = ItemQuery { turn: Some(turn_id("b").into()), direction, limit, ..ItemQuery::all(id(n)) };
                assert_eq!(described(&walk(&*store, query).await), wanted);
            }
        }
    }
}

pub(super) async fn cursors_while_the_thread_grows(store: Arc<dyn ThreadStore>) {
    // Between the first page and the second, the first turn gets another item and the thread gets another turn.
    //
    //      a: ask, answer    b: ask, answer
    //      a: ask, answer, late    b: ask, answer    c: ask, answer
    //
    // Both first pages have already passed the position of the late item, so that neither second page contains it.
    let mode = HistoryMode::Paginated;
    record(&*store, 1, mode, &["a", "b"]).await;
    let newest = ItemQuery { direction: SortDirection::Descending, limit: 3, ..ItemQuery::all(id(1)) };
    let oldest = ItemQuery { limit: 3, ..ItemQuery::all(id(1)) };
    let down = store.list_items(&newest).await.unwrap().next_cursor;
    let up = store.list_items(&oldest).await.unwrap().next_cursor;
    store.resume_thread(id(1)).await.unwrap();
    let late: EventMsg =
        completed("a", json!({"type": "AgentMessage", "id": "late", "content": [{"type": "Text", "text": "late"}]}));
    store.append_items(id(1), BatchId::generate(), &[RolloutItem::EventMsg(late)]).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    continue_thread(&*store, id(1), mode, &["c"]).await;
    let rest = walk(&*store, ItemQuery { cursor: down, ..newest }).await;
    assert_eq!(described(&rest), ["a: ask a"]);
    let rest = walk(&*store, ItemQuery { cursor: up, ..oldest }).await;
    assert_eq!(described(&rest), ["b: answer b", "c: ask c", "c: answer c"]);
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.list_items(&ItemQuery::all(id(1))).await, false));
    record(&*store, 1, HistoryMode::Paginated, &["a"]).await;
    assert!(is_invalid(store.list_items(&ItemQuery { limit: 0, ..ItemQuery::all(id(1)) }).await));
    let cursor = Some(Cursor::from("p1.one".to_owned()));
    assert!(is_invalid(store.list_items(&ItemQuery { cursor, ..ItemQuery::all(id(1)) }).await));
    let unknown = ItemQuery { turn: Some(turn_id("z").into()), ..ItemQuery::all(id(1)) };
    match store.list_items(&unknown).await {
        Err(StoreError::TurnNotFound { thread_id, turn }) => {
            assert_eq!((thread_id, turn), (id(1), turn_id("z").into()));
        }
        other => panic!("{other:?}"),
    }
}

pub(super) async fn one_turn_by_number(store: Arc<dyn ThreadStore>) {
    // Selects one turn in each way, with both `list_turns` and `list_items`.
    let names = ["a", "b", "c"];
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &names).await;
        // Returns the id of the selected turn. Both methods must agree on the turn, or on the error.
        let select = async |turn: TurnSelector| {
            let page = store.list_turns(&TurnQuery { turn: Some(turn.clone()), ..TurnQuery::all(id(n)) }).await;
            let items = store.list_items(&ItemQuery { turn: Some(turn), ..ItemQuery::all(id(n)) }).await;
            match (page, items) {
                (Ok(page), Ok(items)) => {
                    assert_eq!((page.next_cursor, items.next_cursor), (None, None));
                    let [turn] = <[Turn; 1]>::try_from(page.items).unwrap();
                    let items: Vec<TurnItem> = items.items.into_iter().map(|entry| entry.item).collect();
                    assert_eq!(turn.items, items);
                    Some(turn.id.to_string())
                }
                (
                    Err(StoreError::TurnNotFound { thread_id: one, turn: named }),
                    Err(StoreError::TurnNotFound { thread_id: other, turn: again }),
                ) => {
                    assert_eq!((one, other, named), (id(n), id(n), again));
                    None
                }
                outcome => panic!("{outcome:?}"),
            }
        };
        for (number, name) in (1..).zip(names) {
            assert_eq!(select(TurnSelector::Number(number)).await.as_deref(), Some(name));
            assert_eq!(select(TurnSelector::NumberFromEnd(4 - number)).await.as_deref(), Some(name));
            assert_eq!(select(TurnSelector::Id(turn_id(name))).await.as_deref(), Some(name));
        }
        for number in [0, 4, u64::MAX] {
            assert_eq!(select(TurnSelector::Number(number)).await, None);
            assert_eq!(select(TurnSelector::NumberFromEnd(number)).await, None);
        }
        assert_eq!(select(TurnSelector::Id(turn_id("z"))).await, None);
        continue_thread(&*store, id(n), mode, &["d"]).await;
        assert_eq!(select(TurnSelector::NumberFromEnd(1)).await.as_deref(), Some("d"));
        assert_eq!(select(TurnSelector::Number(4)).await.as_deref(), Some("d"));
    }
}
