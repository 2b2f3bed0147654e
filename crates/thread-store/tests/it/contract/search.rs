//! Searching.

use std::sync::Arc;

use selvedge_protocol::{
    HistoryMode, RolloutItem, SearchHit, SearchQuery, SortDirection, ThreadMetadataPatch, ThreadQuery, ThreadSortKey,
};
use selvedge_thread_store::{PatchOrigin, ThreadStore};
use serde_json::json;

use super::{MODES, agent, completed, head, id, is_invalid, record, started, turn, user};

const MODE: HistoryMode = HistoryMode::Paginated;

fn query(text: &str) -> SearchQuery {
    let threads =
        ThreadQuery { sort: ThreadSortKey::CreatedAt, direction: SortDirection::Ascending, ..ThreadQuery::default() };
    SearchQuery { text: text.into(), threads, hits_per_thread: 10 }
}

async fn hits(store: &dyn ThreadStore, text: &str) -> Vec<SearchHit> {
    let page = store.search_threads(&query(text)).await.unwrap();
    assert_eq!(page.next_cursor, None);
    page.items
}

/// What is highlighted in a hit.
fn marked(hit: &SearchHit) -> &str {
    &hit.snippet[hit.highlight.0..hit.highlight.1]
}

async fn say(store: &dyn ThreadStore, n: u32, mode: HistoryMode, items: Vec<RolloutItem>) {
    store.create_thread(head(n, mode)).await.unwrap();
    store.append_items(id(n), &[vec![started("t")], items].concat()).await.unwrap();
    store.shutdown(id(n)).await.unwrap();
}

pub(crate) async fn check_search_in_names_and_items(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["needle", "b"]).await;
    }
    let command = completed(
        "t",
        json!({"type": "CommandExecution", "id": "c", "command": ["grep", "haystack"], "status": "completed",
            "aggregated_output": "found one Needle", "exit_code": 0}),
    );
    let thought = completed("t", json!({"type": "Reasoning", "id": "r", "summary_text": ["a needle, then"]}));
    say(&*store, 3, MODE, vec![command.into(), thought.into()]).await;
    record(&*store, 4, MODE, &["none"]).await;
    let name = ThreadMetadataPatch { name: Some(Some("The NEEDLE".into())), ..Default::default() };
    store.update_metadata(id(4), &name, PatchOrigin::Explicit).await.unwrap();

    let found = hits(&*store, "nEEdLE").await;
    let found: Vec<_> = found
        .iter()
        .map(|hit| (hit.thread.id, hit.turn_id.as_ref().map(|id| id.as_str()), &*hit.kind, marked(hit)))
        .collect();
    assert_eq!(
        found,
        [
            (id(1), Some("needle"), "user_message", "needle"),
            (id(1), Some("needle"), "agent_message", "needle"),
            (id(2), Some("needle"), "user_message", "needle"),
            (id(2), Some("needle"), "agent_message", "needle"),
            (id(3), Some("t"), "command_execution", "Needle"),
            (id(3), Some("t"), "reasoning", "needle"),
            (id(4), None, "name", "NEEDLE"),
        ]
    );
    assert_eq!(hits(&*store, "haystack").await.len(), 1);
    assert_eq!(hits(&*store, "nowhere").await, []);
    store.archive(id(4)).await.unwrap();
    assert!(hits(&*store, "needle").await.iter().all(|hit| hit.thread.id != id(4)), "the query for threads counts");
}

pub(crate) async fn check_search_unicode(store: Arc<dyn ThreadStore>) {
    let long = format!("{}İstanbul, straße, ПРИВЕТ, \u{1f9f5}x{}", "日本".repeat(300), "é\u{301}".repeat(300));
    for (n, mode) in (1..).zip(MODES) {
        say(&*store, n, mode, [user(mode, "t", &long), agent(mode, "t", "nothing")].concat()).await;
        for (text, wanted) in
            [("STRASSE", "straße"), ("привет", "ПРИВЕТ"), ("STANBUL", "stanbul"), ("\u{1f9f5}X", "\u{1f9f5}x")]
        {
            let found = hits(&*store, text).await;
            let hit = found.iter().find(|hit| hit.thread.id == id(n)).unwrap();
            assert_eq!(marked(hit), wanted);
            assert!(hit.snippet.len() < long.len() && !hit.snippet.contains('\n'));
        }
    }
}

pub(crate) async fn check_search_pages(store: Arc<dyn ThreadStore>) {
    for n in 1..=7 {
        // Every third thread has no hit.
        let names = if n % 3 == 0 { ["x", "y", "z"] } else { ["one", "and one", "more one"] };
        store.create_thread(head(n, MODE)).await.unwrap();
        for name in names {
            store.append_items(id(n), &turn(MODE, name)).await.unwrap();
        }
        store.shutdown(id(n)).await.unwrap();
    }
    let all = hits(&*store, "one").await;
    assert_eq!(all.len(), 5 * 6);
    for limit in 1..=6 {
        for hits_per_thread in [1, 4, 6] {
            let mut query = query("one");
            query.threads.limit = limit;
            query.hits_per_thread = hits_per_thread;
            let mut found: Vec<SearchHit> = Vec::new();
            loop {
                let page = store.search_threads(&query).await.unwrap();
                assert!(page.items.len() <= limit * hits_per_thread);
                assert!(!page.items.is_empty(), "no page is empty");
                found.extend(page.items);
                query.threads.cursor = page.next_cursor;
                if query.threads.cursor.is_none() {
                    break;
                }
            }
            let wanted: Vec<_> = all.chunks(6).flat_map(|hits| &hits[..hits_per_thread]).cloned().collect();
            assert_eq!(found, wanted, "{limit} {hits_per_thread}");
        }
    }
}

pub(crate) async fn check_search_refuses(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    assert!(is_invalid(store.search_threads(&query("")).await));
    assert!(is_invalid(store.search_threads(&SearchQuery { hits_per_thread: 0, ..query("a") }).await));
    let mut no_room = query("a");
    no_room.threads.limit = 0;
    assert!(is_invalid(store.search_threads(&no_room).await));
    let mut astray = query("a");
    astray.threads.cursor = Some("nonsense".to_owned().into());
    assert!(is_invalid(store.search_threads(&astray).await));
}
