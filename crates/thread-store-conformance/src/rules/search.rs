//! Rules about searches.

use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, Cursor, HistoryMode, Relation, RolloutItem, SearchHit, SearchOrder, SearchQuery, SessionMeta,
    SortDirection, ThreadMetadataPatch, ThreadQuery, ThreadSortKey,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, ThreadStore};
use serde_json::json;

use crate::fixtures::{MODES, agent, completed, head, id, is_invalid, record, started, turn, user};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Returns a query in a fixed order, so that a rule can compare all hits.
fn query(text: &str) -> SearchQuery {
    let threads =
        ThreadQuery { sort: ThreadSortKey::CreatedAt, direction: SortDirection::Ascending, ..ThreadQuery::default() };
    SearchQuery { text: text.into(), threads, order: SearchOrder::Sorted, hits_per_thread: 10 }
}

/// Returns all hits of a text.
async fn hits(store: &dyn ThreadStore, text: &str) -> Vec<SearchHit> {
    let page = store.search_threads(&query(text)).await.unwrap();
    assert_eq!(page.next_cursor, None);
    page.items
}

/// Returns the only highlighted text of a hit.
fn marked(hit: &SearchHit) -> &str {
    assert_eq!(hit.highlights.len(), 1);
    all_marked(hit)[0]
}

/// Returns the highlighted texts of a hit. Asserts that they are in order and do not touch.
fn all_marked(hit: &SearchHit) -> Vec<&str> {
    assert!(hit.highlights.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", hit.highlights);
    hit.highlights.iter().map(|(start, end)| &hit.snippet[*start..*end]).collect()
}

async fn rename(store: &dyn ThreadStore, n: u32, name: &str) {
    let name = ThreadMetadataPatch { name: Some(Some(name.into())), ..Default::default() };
    store.update_thread_metadata(id(n), &name, MetadataOrigin::Explicit).await.unwrap();
}

/// Records a thread with one turn of these items.
async fn record_items(store: &dyn ThreadStore, n: u32, mode: HistoryMode, items: Vec<RolloutItem>) {
    store.create_thread(head(n, mode)).await.unwrap();
    store.append_items(id(n), BatchId::generate(), &[vec![started("t")], items].concat()).await.unwrap();
    store.shutdown_thread(id(n)).await.unwrap();
}

pub(super) async fn in_names_and_items(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["needle", "b"]).await;
    }
    let command = completed(
        "t",
        json!({"type": "CommandExecution", "id": "c", "command": ["grep", "haystack"], "status": "completed",
            "aggregated_output": "found one Needle", "exit_code": 0}),
    );
    let thought = completed("t", json!({"type": "Reasoning", "id": "r", "summary_text": ["a needle, then"]}));
    record_items(&*store, 3, MODE, vec![command.into(), thought.into()]).await;
    record(&*store, 4, MODE, &["none"]).await;
    rename(&*store, 4, "The NEEDLE").await;

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
    store.archive_thread(id(4)).await.unwrap();
    assert!(
        hits(&*store, "needle").await.iter().all(|hit| hit.thread.id != id(4)),
        "the thread query excludes archived threads"
    );
}

pub(super) async fn unicode(store: Arc<dyn ThreadStore>) {
    // A store that searches in a folded copy of a text must map the match back. Folding changes lengths here: `ß` becomes `ss`, and
    // `İ` becomes two characters.
    let long = format!("{}İstanbul, straße, ПРИВЕТ, \u{1f9f5}x{}", "日本".repeat(300), "é\u{301}".repeat(300));
    for (n, mode) in (1..).zip(MODES) {
        record_items(&*store, n, mode, [user(mode, "t", &long), agent(mode, "t", "nothing")].concat()).await;
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

pub(super) async fn pages(store: Arc<dyn ThreadStore>) {
    for n in 1..=7 {
        // Every third thread has no hit.
        let names = if n % 3 == 0 { ["x", "y", "z"] } else { ["one", "and one", "more one"] };
        store.create_thread(head(n, MODE)).await.unwrap();
        for name in names {
            store.append_items(id(n), BatchId::generate(), &turn(MODE, name)).await.unwrap();
        }
        store.shutdown_thread(id(n)).await.unwrap();
    }
    let all = hits(&*store, "one").await;
    // Five threads with three turns each. A turn has two hits: the prompt and the answer.
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
            // Each thread keeps its first hits, up to the limit.
            let wanted: Vec<_> = all.chunks(6).flat_map(|hits| &hits[..hits_per_thread]).cloned().collect();
            assert_eq!(found, wanted, "{limit} {hits_per_thread}");
        }
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    for text in ["", " \t", "\"", "\"\"", " \" \" \"\" "] {
        assert!(is_invalid(store.search_threads(&query(text)).await), "{text:?}");
        assert!(is_invalid(store.search_threads(&SearchQuery::new(text)).await), "{text:?}");
    }
    assert!(is_invalid(store.search_threads(&SearchQuery { hits_per_thread: 0, ..query("a") }).await));
    let mut no_room = query("a");
    no_room.threads.limit = 0;
    assert!(is_invalid(store.search_threads(&no_room).await));
    record(&*store, 2, MODE, &["a"]).await;
    let page = async |order, cursor: Option<Cursor>, threads: fn(ThreadQuery) -> ThreadQuery| {
        let threads = threads(ThreadQuery { limit: 1, cursor, ..ThreadQuery::default() });
        store.search_threads(&SearchQuery { threads, order, ..SearchQuery::new("a") }).await
    };
    for order in [SearchOrder::Best, SearchOrder::Sorted] {
        for text in ["nonsense", "", "b1", "b1.0.1", "b1.2.1.t1.ud.1.x", "b1.0.-1.x", "t1", "p1.3"] {
            assert!(is_invalid(page(order, Some(text.to_owned().into()), |query| query).await), "{text:?}");
        }
        // A cursor is valid only for its order and sort key.
        let cursor = page(order, None, |query| query).await.unwrap().next_cursor;
        assert!(page(order, cursor.clone(), |query| query).await.is_ok());
        let other = if order == SearchOrder::Best { SearchOrder::Sorted } else { SearchOrder::Best };
        assert!(is_invalid(page(other, cursor.clone(), |query| query).await));
        let by_creation = |query| ThreadQuery { sort: ThreadSortKey::CreatedAt, ..query };
        assert!(is_invalid(page(order, cursor, by_creation).await));
    }
}

/// Each search text with the parts that it highlights, or `None` if it matches nothing.
const LANGUAGE: &[(&str, Option<&[&str]>)] = &[
    // All terms, in any order and case. Every occurrence is highlighted.
    ("connection RESET", Some(&["Connection", "reset", "reset"])),
    ("reset connection", Some(&["Connection", "reset", "reset"])),
    ("reset nowhere", None),
    // A term of three characters or more matches anywhere. A shorter one matches at the beginning of a word.
    ("onnect", Some(&["onnect"])),
    ("ion", Some(&["ion"])),
    ("on", None),
    ("co", Some(&["Co"])),
    ("v2", Some(&["v2"])),
    ("2", None),
    ("3", Some(&["3"])),
    ("é", Some(&["É"])),
    ("ée", None),
    // A term without a letter or digit matches anywhere.
    ("->", Some(&["->"])),
    ("-", Some(&["-", "-"])),
    // A star: the term matches at the beginning of a word.
    ("res*", Some(&["res", "res"])),
    ("RESET*", Some(&["reset", "reset"])),
    ("set*", None),
    ("nnection*", None),
    ("by*", Some(&["by"])),
    ("*", Some(&["*"])),
    // A phrase matches its exact text, with any white space between the words.
    ("\"reset by peer\"", Some(&["reset by\n\t peer"])),
    ("\"reset  by   peer", Some(&["reset by\n\t peer"])),
    ("\"by reset\"", None),
    ("\"eset by\"", Some(&["eset by"])),
    ("\"on\"", Some(&["on", "on"])),
    ("\"said \"\"no\"\" twice\"", Some(&["said \"no\" twice"])),
    ("\"\"\"no\"\"\"", Some(&["\"no\""])),
    ("\"*\"", Some(&["*"])),
    ("\"by peer\" again* 'peer", None),
    ("again' \"by peer\"", Some(&["by\n\t peer", "again'"])),
    // A quote inside a term is part of the term. Overlapping matches are highlighted as one.
    ("d\"no", None),
    ("'reset", Some(&["'reset"])),
    ("connect nection", Some(&["Connection"])),
];

/// A text in several scripts, and searches in it as in [`LANGUAGE`].
const SCRIPTS_TEXT: &str = "三点开会议v7 한국어로 검색이 ไม่มีช่อง テスト重跑gen50条 cafe\u{301} ＡＢＣ";
const SCRIPTS: &[(&str, Option<&[&str]>)] = &[
    // Without spaces between words, a term of any length matches anywhere.
    ("会议", Some(&["会议"])),
    ("会", Some(&["会"])),
    ("会议*", Some(&["会议"])),
    ("会三", None),
    ("มี", Some(&["มี"])),
    ("มี*", Some(&["มี"])),
    ("スト", Some(&["スト"])),
    ("ﾃｽﾄ", Some(&["テスト"])),
    ("\"重跑gen\"", Some(&["重跑gen"])),
    // So does a Korean term, but its words have a beginning.
    ("색", Some(&["색"])),
    ("국어", Some(&["국어"])),
    ("검색*", Some(&["검색"])),
    ("색이*", None),
    // Words begin where the script changes.
    ("v7", Some(&["v7"])),
    ("ge", Some(&["ge"])),
    ("en", None),
    ("7会", None),
    ("议v", Some(&["议v"])),
    // Equal texts of Unicode.
    ("café", Some(&["cafe\u{301}"])),
    ("cafe*", None),
    ("abc", Some(&["ＡＢＣ"])),
];

pub(super) async fn language(store: Arc<dyn ThreadStore>) {
    let text = "Connection reset by\n\t peer, v2.3 -> x2 ÉCOLE - * said \"no\" twice 'reset again'";
    matches_as(&*store, 1, text, LANGUAGE).await;
    matches_as(&*store, 3, SCRIPTS_TEXT, SCRIPTS).await;
}

/// Checks searches in a text that is the name of one thread, and an item of it and of the next one.
async fn matches_as(store: &dyn ThreadStore, first: u32, text: &str, searches: &[(&str, Option<&[&str]>)]) {
    for (n, mode) in (first..).zip(MODES) {
        record_items(store, n, mode, user(mode, "t", text)).await;
    }
    rename(store, first, &text.replace(char::is_whitespace, " ")).await;
    for (query, wanted) in searches {
        let found = hits(store, query).await;
        let kinds: Vec<_> = found.iter().map(|hit| (hit.thread.id, &*hit.kind)).collect();
        let Some(wanted) = wanted else {
            assert_eq!(kinds, [], "{query}");
            continue;
        };
        let (named, next) = (id(first), id(first + 1));
        assert_eq!(kinds, [(named, "name"), (named, "user_message"), (next, "user_message")], "{query}");
        for hit in &found {
            // A snippet is one line.
            let wanted: Vec<_> = wanted.iter().map(|text| text.replace(char::is_control, " ")).collect();
            assert_eq!(all_marked(hit), wanted, "{query}");
        }
    }
}

pub(super) async fn terms_match_one_item(store: Arc<dyn ThreadStore>) {
    // An item can have several texts, such as the command and its output. The terms may be in different texts of one item.
    let command = completed(
        "t",
        json!({"type": "CommandExecution", "id": "c", "command": ["grep", "haystack"], "status": "completed",
            "aggregated_output": "a needle\nand another needle", "exit_code": 0}),
    );
    record_items(&*store, 1, MODE, vec![command.into()]).await;
    record_items(&*store, 2, MODE, [user(MODE, "t", "haystack"), agent(MODE, "t", "needle")].concat()).await;
    // Here each term is in another message, and the name contains only a part of one.
    rename(&*store, 2, "Some hay").await;
    let found = hits(&*store, "haystack needle").await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].thread.id, &*found[0].kind), (id(1), "command_execution"));
    // The command matches more terms than the output, so that the snippet comes from it.
    let found = hits(&*store, "grep haystack needle").await;
    assert_eq!(found.iter().map(all_marked).collect::<Vec<_>>(), [["grep", "haystack"]]);
    assert_eq!(hits(&*store, "\"haystack needle\"").await, []);
}

pub(super) async fn positions(store: Arc<dyn ThreadStore>) {
    // The position of a hit is the index of a line of the history. In a paginated log that is its ordinal.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["one", "two"]).await;
        let found = hits(&*store, "\"answer two\" ").await;
        let hit = found.iter().find(|hit| hit.thread.id == id(n)).unwrap();
        assert_eq!((hit.turn_id.as_ref().unwrap().as_str(), hit.turn_number), ("two", Some(2)));
        let history = store.load_history(id(n)).await.unwrap();
        let position = hit.position.unwrap();
        let line = &history.lines[usize::try_from(position).unwrap()];
        assert!(line.payload().contains("answer two"), "{}", line.text());
        if mode == HistoryMode::Paginated {
            assert_eq!(line.ordinal(), Some(position));
        }
    }
    rename(&*store, 1, "answer two").await;
    let found = hits(&*store, "\"answer two\"").await;
    assert_eq!((&found[0].turn_id, found[0].turn_number, found[0].position), (&None, None, None));
}

pub(super) async fn best_match_first(store: Arc<dyn ThreadStore>) {
    // Nine threads contain the word a different number of times. One also has it in its name, one is archived, and one does not have
    // it at all.
    for n in 1..=9_u32 {
        store.create_thread(head(n, MODE)).await.unwrap();
        // How many turns of each thread contain the word.
        let times = [1, 1, 4, 12, 0, 1, 4, 1, 30][n as usize - 1];
        for turn_name in (0..times).map(|time| format!("zebra {n} {time}")) {
            store.append_items(id(n), BatchId::generate(), &turn(MODE, &turn_name)).await.unwrap();
        }
        store.append_items(id(n), BatchId::generate(), &turn(MODE, "yak")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
    }
    rename(&*store, 5, "On zebras").await;
    store.archive_thread(id(6)).await.unwrap();
    let threads = ThreadQuery { sort: ThreadSortKey::CreatedAt, ..ThreadQuery::default() };
    let best = SearchQuery { threads, hits_per_thread: 4, ..SearchQuery::new("zebra") };
    let all = store.search_threads(&best).await.unwrap();
    assert_eq!(all.next_cursor, None);
    let mut threads: Vec<_> = all.items.iter().map(|hit| hit.thread.id).collect();
    threads.dedup();
    assert_eq!(threads, [5, 9, 4, 7, 3, 8, 2, 1].map(id), "a match in the name, then more matches, then newer threads");
    for (thread, hits) in [(9, 4), (4, 4), (7, 4), (3, 4), (8, 2), (5, 1)] {
        assert_eq!(all.items.iter().filter(|hit| hit.thread.id == id(thread)).count(), hits);
    }
    for limit in 1..=9 {
        let mut query = best.clone();
        query.threads.limit = limit;
        let mut found = Vec::new();
        loop {
            let page = store.search_threads(&query).await.unwrap();
            assert!(!page.items.is_empty());
            found.extend(page.items);
            query.threads.cursor = page.next_cursor;
            if query.threads.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, all.items, "pages of {limit}");
    }
    // Within a thread, items with more matches come first as well.
    record_items(&*store, 20, MODE, [user(MODE, "t", "gnu"), agent(MODE, "t", "gnu, gnu and gnu")].concat()).await;
    let found = store.search_threads(&SearchQuery::new("gnu")).await.unwrap().items;
    assert_eq!(found.iter().map(|hit| &*hit.kind).collect::<Vec<_>>(), ["agent_message", "user_message"]);
}

pub(super) async fn obeys_the_thread_query(store: Arc<dyn ThreadStore>) {
    // Searches among the descendants of a thread, with and without the archived one.
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, None)] {
        let meta = SessionMeta { parent_thread_id: parent.map(id), ..head(n, MODE) };
        store.create_thread(meta).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &turn(MODE, "zebra")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
    }
    store.archive_thread(id(2)).await.unwrap();
    for order in [SearchOrder::Best, SearchOrder::Sorted] {
        for (archived, wanted) in [(ArchivedFilter::Active, &[3][..]), (ArchivedFilter::All, &[2, 3])] {
            let mut query = SearchQuery { order, hits_per_thread: 1, ..query("zebra") };
            query.threads.relation = Some(Relation::DescendantOf(id(1)));
            query.threads.archived = archived;
            let mut found: Vec<_> =
                store.search_threads(&query).await.unwrap().items.iter().map(|hit| hit.thread.id).collect();
            found.sort_unstable();
            assert_eq!(found, wanted.iter().copied().map(id).collect::<Vec<_>>());
        }
    }
}
