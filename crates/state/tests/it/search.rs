//! A search by the index of words finds what a search through all logs finds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use selvedge_history::{TextSearch, item_texts};
use selvedge_protocol::{
    ArchivedFilter, Cursor, HistoryMode, ItemsView, SearchHit, SearchOrder, SearchQuery, SortDirection, StoredThread,
    ThreadId, ThreadQuery, Turn, TurnQuery,
};
use selvedge_rollout::{NameIndex, now};
use selvedge_state::{IndexError, StateIndex};
use serde_json::json;

use crate::homes::{Home, append, dump, event, everything, rebuilt, recorded, rows, says, story, truth};

/// What the logs contain: the record of each thread with its turns, in the order of a list.
pub(crate) struct Logs(Vec<(StoredThread, Vec<Turn>)>);

impl Logs {
    pub(crate) async fn read(index: &StateIndex, home: &Home) -> Self {
        let threads = index.list_threads(&everything()).await.unwrap().items;
        Self(threads.into_iter().map(|thread| (thread.clone(), truth(&home.home, thread.id).0)).collect())
    }

    /// Returns all hits of a search, thread by thread in the order of the query.
    async fn scan(&self, index: &StateIndex, query: &SearchQuery) -> Vec<SearchHit> {
        let search = TextSearch::new(&query.text).unwrap();
        let threads = ThreadQuery { limit: usize::MAX, cursor: None, ..query.threads.clone() };
        let mut found = Vec::new();
        for thread in index.list_threads(&threads).await.unwrap().items {
            let (_, turns) = self.0.iter().find(|(known, _)| known.id == thread.id).unwrap();
            found.extend(search.hits(&thread, turns, query.order, query.hits_per_thread).hits);
        }
        found
    }
}

/// Returns all hits, which it requests page by page. `None` if the index cannot search.
async fn walked(index: &StateIndex, mut query: SearchQuery) -> Option<Vec<SearchHit>> {
    let mut found = Vec::new();
    loop {
        let page = index.search_threads(&query).await.unwrap()?;
        let threads: BTreeSet<ThreadId> = page.items.iter().map(|hit| hit.thread.id).collect();
        assert!(threads.len() <= query.threads.limit);
        assert!(page.next_cursor.is_none() || threads.len() == query.threads.limit);
        found.extend(page.items);
        query.threads.cursor = page.next_cursor;
        if query.threads.cursor.is_none() {
            return Some(found);
        }
    }
}

fn keys(hits: &[SearchHit]) -> BTreeSet<String> {
    hits.iter().map(|hit| serde_json::to_string(hit).unwrap()).collect()
}

/// Compares a search by the index with one through the logs, in all orders.
pub(crate) async fn compare(index: &StateIndex, logs: &Logs, text: &str) {
    let threads = everything();
    for direction in [SortDirection::Ascending, SortDirection::Descending] {
        for (limit, hits_per_thread) in [(1, 2), (usize::MAX, 1000)] {
            let threads = ThreadQuery { direction, limit, ..threads.clone() };
            let query = SearchQuery { threads, order: SearchOrder::Sorted, hits_per_thread, ..SearchQuery::new(text) };
            let expected = logs.scan(index, &query).await;
            if let Some(found) = walked(index, query).await {
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }
    for limit in [2, usize::MAX] {
        let threads = ThreadQuery { limit, ..threads.clone() };
        let query = SearchQuery { threads, order: SearchOrder::Best, hits_per_thread: 1000, ..SearchQuery::new(text) };
        let expected = logs.scan(index, &query).await;
        if let Some(found) = walked(index, query).await {
            assert_eq!(found.len(), expected.len(), "{text:?}: no hit twice");
            assert_eq!(keys(&found), keys(&expected), "{text:?}");
        }
    }
}

/// Returns search terms from the texts of the items: words, parts and beginnings of words, phrases, and terms without hits.
fn terms(logs: &Logs) -> Vec<String> {
    let items = logs.0.iter().flat_map(|(_, turns)| turns).flat_map(|turn| &turn.items);
    let names = logs.0.iter().filter_map(|(thread, _)| thread.name.as_deref());
    let texts: Vec<&str> = items.flat_map(item_texts).chain(names).collect();
    let mut found = BTreeSet::new();
    for (number, text) in texts.iter().enumerate() {
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some(word) = words.get(number * 7 % words.len().max(1)) else { continue };
        let letters: Vec<char> = word.chars().collect();
        let piece: String = letters.iter().skip(1).take(5).collect();
        let beginning: String = letters.iter().take(2).collect();
        let phrase = words.iter().skip(number % 3).take(3).copied().collect::<Vec<_>>().join(" ");
        found.extend([(*word).to_owned(), piece, beginning.clone(), format!("{beginning}*")]);
        found.insert(format!("\"{}\"", phrase.replace('"', "\"\"")));
        found.insert(format!("{word} {}", words[0]));
    }
    found.extend(["nowhere-to-be-found".to_owned(), "->".to_owned(), "Ä".to_owned()]);
    found.into_iter().filter(|text| TextSearch::new(text).is_ok()).collect()
}

#[tokio::test]
async fn recorded_threads_are_found_as_in_their_logs() {
    for (at, (_, home)) in recorded().into_iter().enumerate() {
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        let logs = Logs::read(&index, &home).await;
        // A sample is enough: many of these homes have the same content.
        for text in terms(&logs).iter().skip(at % 7).step_by(7).take(3) {
            compare(&index, &logs, text).await;
        }
    }
}

/// Returns a home with several threads, one of them compressed, one archived, one named.
async fn stories() -> (Home, StateIndex) {
    let home = Home::new();
    for number in 0..8 {
        let mode = if number % 2 == 0 { HistoryMode::Legacy } else { HistoryMode::Paginated };
        let (id, path) = home.thread_with(|meta| meta.history_mode = Some(mode));
        for step in 0..6 {
            append(&path, &story(number * 17 + step * 5));
        }
        match number {
            3 => {
                let frame = zstd::encode_all(&*fs::read(&path).unwrap(), 1).unwrap();
                fs::write(path.with_extension("jsonl.zst"), frame).unwrap();
                fs::remove_file(&path).unwrap();
            }
            4 => {
                fs::create_dir_all(home.home.archived_dir()).unwrap();
                fs::rename(&path, home.home.archived_dir().join(path.file_name().unwrap())).unwrap();
            }
            5 => NameIndex::set(&home.home, id, Some("The question of Straße"), now()).unwrap(),
            _ => {}
        }
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    (home, index)
}

const TEXTS: [&str; 14] = [
    "question",
    "estio",
    "qu",
    "answer words",
    "\"the answer\"",
    "\"he answer 2\"",
    "cargo",
    "test'",
    "STRASSE",
    "a.rs",
    "thoughts",
    "output 1",
    "who goes",
    "said so",
];

#[tokio::test]
async fn made_up_threads_are_found_as_in_their_logs() {
    let (home, index) = stories().await;
    let logs = Logs::read(&index, &home).await;
    for text in TEXTS {
        compare(&index, &logs, text).await;
    }
    let query = SearchQuery::new("question");
    let page = index.search_threads(&query).await.unwrap().unwrap();
    assert!(page.items.len() > 6);
    assert_eq!(page.items[0].kind, "name", "the thread with that name comes first");
}

#[tokio::test]
async fn filters_exclude_threads() {
    let (home, index) = stories().await;
    let logs = Logs::read(&index, &home).await;
    for archived in [ArchivedFilter::Active, ArchivedFilter::Archived] {
        for named in [None, Some(true), Some(false)] {
            let threads = ThreadQuery { archived, named, limit: 3, ..ThreadQuery::default() };
            let query = SearchQuery { threads, order: SearchOrder::Sorted, ..SearchQuery::new("answer") };
            assert_eq!(walked(&index, query.clone()).await.unwrap(), logs.scan(&index, &query).await);
        }
    }
}

#[tokio::test]
async fn new_items_are_found_and_removed_ones_are_not() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &story(4));
    let (other, other_path) = home.legacy_thread();
    append(&other_path, &(story(0) + &story(7)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    // So many updates that small runs are merged.
    for step in 0..40 {
        append(&path, &event(&json!({"type": "agent_message", "message": format!("word{step} again")})));
        if step % 10 == 5 {
            append(&path, &story(14 + 16));
            append(&path, &story(4));
        }
        index.update(|_| {}).await.unwrap();
    }
    let logs = Logs::read(&index, &home).await;
    for text in ["word3", "word39", "again", "word1*", "\"word38 again\"", "who goes", "answer"] {
        compare(&index, &logs, text).await;
    }
    fs::remove_file(&other_path).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("again", "once more")).unwrap();
    index.update(|_| {}).await.unwrap();
    let logs = Logs::read(&index, &home).await;
    for text in ["again", "answer", "once", "word2"] {
        compare(&index, &logs, text).await;
    }
    let hits = walked(&index, SearchQuery::new("word39 once")).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.thread.id).collect::<Vec<_>>(), [id]);
    assert_ne!(id, other);
}

#[tokio::test]
async fn a_hit_has_the_position_of_its_item() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1) + &story(2)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let query = SearchQuery { hits_per_thread: 1, ..SearchQuery::new("\"question 2\"") };
    let hit = index.search_threads(&query).await.unwrap().unwrap().items.remove(0);
    let query = TurnQuery { items_view: ItemsView::Full, ..TurnQuery::all(id) };
    let turns = index.list_turns(&query, false).await.unwrap().unwrap().items;
    assert_eq!((hit.turn_number, hit.turn_id), (Some(3), Some(turns[2].id.clone())));
    assert_eq!(hit.position, Some(turns[2].item_positions[0]));
    assert_eq!(&hit.snippet[hit.highlights[0].0..hit.highlights[0].1], "question 2");
}

/// Changes the text of a file without changing its stamp.
fn change_invisibly(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let text = fs::read_to_string(path).unwrap();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    (&file).write_all(text.replace(from, to).as_bytes()).unwrap();
    file.set_modified(modified).unwrap();
}

#[tokio::test]
async fn only_proposed_items_are_read() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1) + &story(2)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let turns = truth(&home.home, id).0;
    // A search that reads the other turns would find the word there.
    change_invisibly(&path, "question 1", "answer 222");
    let query = SearchQuery { order: SearchOrder::Sorted, hits_per_thread: 9, ..SearchQuery::new("\"answer 2\"") };
    let page = index.search_threads(&query).await.unwrap().unwrap();
    assert_eq!(page.items.iter().map(|hit| hit.turn_number).collect::<Vec<_>>(), [Some(3)]);
    let oldest = TurnQuery { limit: 1, ..TurnQuery::all(id) };
    assert_eq!(index.list_turns(&oldest, false).await.unwrap().unwrap().items, turns[..1]);
}

#[tokio::test]
async fn an_interrupted_update_is_continued() {
    let home = Home::new();
    for number in 0..150 {
        let (_, path) = home.legacy_thread();
        append(&path, &event(&json!({"type": "user_message", "message": format!("needle{number} in the hay")})));
    }
    let index = home.index().await;
    let written = Arc::new(tokio::sync::Notify::new());
    tokio::select! {
        biased;
        () = written.notified() => {}
        report = index.update(|progress| if progress.threads_done > 0 { written.notify_one() }) => {
            report.unwrap();
        }
    }
    let known = rows(&index).await.len();
    let found = walked(&index, SearchQuery { hits_per_thread: 1, ..SearchQuery::new("hay") }).await.unwrap().len();
    // Each scanner sends its own batches, and one of them may have had all threads.
    assert!(known > 0 && known <= 150, "interrupted after a batch: {known}");
    assert_eq!(found, known, "the words of a thread are written with its row");
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!(report.read_whole as usize, 150 - known);
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
    for (text, count) in [("hay", 150), ("needle17", 1), ("edle149", 1)] {
        let query = SearchQuery { hits_per_thread: 1, ..SearchQuery::new(text) };
        assert_eq!(walked(&index, query).await.unwrap().len(), count, "{text}");
    }
}

#[tokio::test]
async fn the_best_threads_come_first_and_pages_have_each_thread_once() {
    let home = Home::new();
    let mut ids = Vec::new();
    // More items than one window has.
    for number in 0..60 {
        let (id, path) = home.legacy_thread();
        for step in 0..50 {
            let much = "needle ".repeat(1 + (number * 7 + step) % 5);
            append(&path, &event(&json!({"type": "user_message", "message": format!("{much} in thread {number}")})));
        }
        ids.push(id);
    }
    let (best, path) = home.legacy_thread();
    append(
        &path,
        &event(&json!({"type": "user_message", "message": "needle needle needle needle needle needle needle"})),
    );
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let threads = ThreadQuery { limit: 7, ..ThreadQuery::default() };
    let query = SearchQuery { threads, hits_per_thread: 1, ..SearchQuery::new("needle") };
    let mut seen: Vec<ThreadId> = Vec::new();
    let mut next = query.clone();
    loop {
        let page = index.search_threads(&next).await.unwrap().unwrap();
        seen.extend(page.items.iter().map(|hit| hit.thread.id));
        next.threads.cursor = page.next_cursor;
        if next.threads.cursor.is_none() {
            break;
        }
        // A thread that is created meanwhile moves no other thread past a page.
        let (_, path) = home.legacy_thread();
        append(&path, &event(&json!({"type": "user_message", "message": "needle, late"})));
        index.update(|_| {}).await.unwrap();
    }
    let known: Vec<ThreadId> = seen.iter().copied().filter(|id| ids.contains(id) || *id == best).collect();
    assert_eq!(known.len(), 61);
    assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), 61, "each once");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "each once");
}

#[tokio::test]
async fn an_impossible_search_is_refused_or_left_to_the_logs() {
    let (_home, index) = stories().await;
    for text in ["", "  ", "->", "!!!"] {
        assert_eq!(index.search_threads(&SearchQuery::new(text)).await.unwrap(), None, "{text:?}");
    }
    let no_hits = SearchQuery { hits_per_thread: 0, ..SearchQuery::new("answer") };
    assert!(matches!(index.search_threads(&no_hits).await, Err(IndexError::ZeroLimit)));
    for order in [SearchOrder::Best, SearchOrder::Sorted] {
        let mut query = SearchQuery { order, ..SearchQuery::new("answer") };
        query.threads.cursor = Some(Cursor::from("x1/nonsense".to_owned()));
        assert!(matches!(index.search_threads(&query).await, Err(IndexError::Cursor(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_thread_is_found_once_while_the_index_is_written() {
    let home = Home::new();
    let mut wanted = Vec::new();
    for number in 0..60 {
        let (id, path) = home.legacy_thread();
        // Each thread has both words, and few have the phrase.
        let text = if number % 6 == 0 { "alpha beta" } else { "alpha and beta" };
        append(&path, &says(&format!("{text} {number}")));
        wanted.extend((number % 6 == 0).then_some(id));
    }
    wanted.sort_unstable();
    let (_, growing) = home.legacy_thread();
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let other = StateIndex::open(&home.home, &home.index_path()).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let writer = tokio::spawn(async move {
        while !over.load(Ordering::Relaxed) {
            append(&growing, &says("gamma"));
            other.update(|_| {}).await.unwrap();
        }
    });
    for order in [SearchOrder::Sorted, SearchOrder::Best] {
        for limit in [1, 4, 20] {
            let threads = ThreadQuery { limit, ..ThreadQuery::default() };
            let mut query = SearchQuery { threads, order, ..SearchQuery::new("\"alpha beta\"") };
            let mut found = Vec::new();
            loop {
                let page = index.search_threads(&query).await.unwrap().unwrap();
                found.extend(page.items.iter().map(|hit| hit.thread.id));
                query.threads.cursor = page.next_cursor;
                if query.threads.cursor.is_none() {
                    break;
                }
            }
            found.sort_unstable();
            assert_eq!(found, wanted, "{order:?}, {limit} at once");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

/// How many threads of a run are superseded in the test of their cost.
const SUPERSEDED: usize = 200_000;

#[tokio::test]
async fn superseded_threads_cost_a_search_nothing() {
    use sqlx::{Connection, SqliteConnection};

    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &says("a needle in the hay"));
    let (_, again) = home.legacy_thread();
    append(&again, &says("another needle"));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    fs::remove_file(again).unwrap();
    index.update(|_| {}).await.unwrap();
    let timed = async || {
        let mut times = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let hits = index.search_threads(&SearchQuery::new("needle")).await.unwrap().unwrap().items;
            times.push(begun.elapsed());
            assert_eq!(hits.iter().map(|hit| hit.thread.id).collect::<Vec<_>>(), [id]);
        }
        times.sort_unstable();
        times[3]
    };
    let before = timed().await;
    let url = format!("sqlite://{}", home.index_path().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let sql = "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?) \
        INSERT INTO search_threads (thread_id, run, until, docs) \
        SELECT randomblob(16), (SELECT max(run) FROM search_runs), 0, x'' FROM numbers";
    sqlx::query(sql).bind(SUPERSEDED as i64).execute(&mut connection).await.unwrap();
    let after = timed().await;
    // Loading all of them would take hundreds of milliseconds.
    assert!(after < before * 3 + Duration::from_millis(100), "{before:?} without and {after:?} with them");
    report(before, after);
}

#[expect(clippy::print_stderr, reason = "a measurement is there to be seen")]
fn report(before: Duration, after: Duration) {
    eprintln!("a search takes {before:?}, and {after:?} with {SUPERSEDED} superseded threads");
}
