//! Rules about pages of turns.

use std::sync::Arc;

use selvedge_protocol::{
    Cursor, HistoryMode, ItemOrigin, ItemQuery, ItemsView, ResponseItem, RolloutItem, SearchQuery, SortDirection, Turn,
    TurnQuery, TurnStatus,
};
use selvedge_thread_store::{BatchId, ThreadStore};

use crate::fixtures::{
    MODES, all_turns, append_with_metadata, continue_thread, head, id, is_invalid, is_missing, record, started, turn,
    turn_id, user,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Reads all pages of a query.
async fn walk(store: &dyn ThreadStore, query: TurnQuery) -> Vec<Turn> {
    let page = async |cursor| store.list_turns(&TurnQuery { cursor, ..query.clone() }).await.unwrap();
    crate::fixtures::collect_pages(query.limit, query.cursor.clone(), page).await
}

pub(super) async fn pages(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &NAMES).await;
        let mut all = all_turns(&*store, id(n)).await;
        let ids: Vec<_> = all.iter().map(|turn| turn.id.as_str()).collect();
        assert_eq!(ids, NAMES);
        assert!(all.iter().all(|turn| turn.status == TurnStatus::Completed && turn.items.len() == 2));
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            for limit in 1..=6 {
                let query = TurnQuery { direction, limit, ..TurnQuery::all(id(n)) };
                assert_eq!(walk(&*store, query).await, all, "{direction:?} {limit}");
            }
            all.reverse();
        }
    }
    record(&*store, 9, HistoryMode::Paginated, &[]).await;
    assert_eq!(all_turns(&*store, id(9)).await, []);
}

pub(super) async fn cursors_while_the_thread_grows(store: Arc<dyn ThreadStore>) {
    // Both cursors stand before the last turn of their direction. New turns may only appear in the ascending walk.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b", "c"]).await;
        let newest = TurnQuery { direction: SortDirection::Descending, limit: 2, ..TurnQuery::all(id(n)) };
        let oldest = TurnQuery { limit: 2, ..TurnQuery::all(id(n)) };
        let cursors = [&newest, &oldest].map(|query| store.list_turns(query));
        let [down, up] = cursors;
        let (down, up) = (down.await.unwrap().next_cursor, up.await.unwrap().next_cursor);
        assert!(down.is_some() && up.is_some());
        continue_thread(&*store, id(n), mode, &["d", "e"]).await;
        let rest = walk(&*store, TurnQuery { cursor: down, ..newest.clone() }).await;
        assert_eq!(rest.iter().map(|turn| turn.id.as_str()).collect::<Vec<_>>(), ["a"]);
        let rest = walk(&*store, TurnQuery { cursor: up, ..oldest.clone() }).await;
        assert_eq!(rest.iter().map(|turn| turn.id.as_str()).collect::<Vec<_>>(), ["c", "d", "e"]);
    }
}

pub(super) async fn views(store: Arc<dyn ThreadStore>) {
    let mode = HistoryMode::Paginated;
    store.create_thread(head(1, mode)).await.unwrap();
    // A turn with two user messages and one agent message. The summary shows the first user message and the last agent message.
    let mut items = turn(mode, "a");
    let end = items.pop().unwrap();
    items.extend(user(mode, "a", "more"));
    items.push(end);
    store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    for (items_view, kinds) in [
        (ItemsView::None, &[][..]),
        (ItemsView::Summary, &["user_message", "agent_message"]),
        (ItemsView::Full, &["user_message", "agent_message", "user_message"]),
    ] {
        let page = store.list_turns(&TurnQuery { items_view, ..TurnQuery::all(id(1)) }).await.unwrap();
        let turn = &page.items[0];
        assert_eq!(turn.items_view, items_view);
        assert_eq!(turn.items.iter().map(|item| item.kind()).collect::<Vec<_>>(), kinds);
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.list_turns(&TurnQuery::all(id(1))).await, false));
    record(&*store, 1, HistoryMode::Paginated, &NAMES).await;
    assert!(is_invalid(store.list_turns(&TurnQuery { limit: 0, ..TurnQuery::all(id(1)) }).await));
    for text in ["", "p1.", "p1.-1", "p1.x", "p2.1", "p1.99999999999999999999", "t1.ca.1.2"] {
        let cursor = Some(Cursor::from(text.to_owned()));
        assert!(is_invalid(store.list_turns(&TurnQuery { cursor, ..TurnQuery::all(id(1)) }).await), "{text:?}");
    }
}

pub(super) async fn of_items_of_the_model(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        // No event tells of these messages and of this call.
        let items = [
            ResponseItem::user_text("where is the kestrel"),
            ResponseItem::function_call("c", "look_around", "{}"),
            ResponseItem::function_call_output("c", "above the barn"),
            ResponseItem::assistant_text("found it"),
        ];
        append_with_metadata(&*store, id(n), &items.map(RolloutItem::from)).await;
        store.shutdown_thread(id(n)).await.unwrap();
        let turns = all_turns(&*store, id(n)).await;
        let kinds: Vec<_> = turns.iter().flat_map(|turn| &turn.items).map(|item| (item.kind(), item.origin)).collect();
        let expected = ["user_message", "tool_call", "agent_message"].map(|kind| (kind, ItemOrigin::Model));
        assert_eq!((turns.len(), &kinds[..]), (1, &expected[..]), "{turns:?}");
        let page = store.list_items(&ItemQuery::all(id(n))).await.unwrap();
        let entries: Vec<_> = page.items.into_iter().map(|entry| entry.item).collect();
        assert_eq!(entries, turns[0].items);
        for words in ["kestrel", "look_around", "\"above the barn\"", "\"found it\""] {
            let hits = store.search_threads(&SearchQuery::new(words)).await.unwrap().items;
            assert!(hits.iter().any(|hit| hit.thread.id == id(n)), "{words}");
        }
        let record = store.read_thread(id(n)).await.unwrap();
        assert_eq!(record.preview.as_deref(), Some("where is the kestrel"));
    }
}

pub(super) async fn in_progress_elsewhere(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // The status must not depend on the host of the reader.
    store.create_thread(head(1, MODES[1])).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &[started("a")]).await.unwrap();
    assert_eq!(all_turns(&*other, id(1)).await[0].status, TurnStatus::InProgress);
    store.discard_thread(id(1)).await.unwrap();
    assert_eq!(all_turns(&*other, id(1)).await[0].status, TurnStatus::Interrupted);
}

pub(super) async fn in_progress(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let mut items = vec![started("a")];
        items.extend(user(mode, "a", "hello"));
        store.append_items(id(n), BatchId::generate(), &items).await.unwrap();
        let running = all_turns(&*store, id(n)).await;
        assert_eq!((&running[0].id, running[0].status), (&turn_id("a"), TurnStatus::InProgress));
        store.shutdown_thread(id(n)).await.unwrap();
        assert_eq!(all_turns(&*store, id(n)).await[0].status, TurnStatus::Interrupted);
    }
}
