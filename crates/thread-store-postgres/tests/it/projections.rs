//! Projections: answers by rows of turns and by keys of words are those of the whole histories, rows that are missing or older are made
//! again, and nobody waits for that.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_history::{TextSearch, TurnProjection};
use selvedge_protocol::{
    Cursor, HistoryMode, ItemQuery, Page, ResponseItem, RolloutItem, SearchOrder, SearchQuery, SegmentId, SessionMeta,
    SortDirection, StatsCounts, StatsQuery, ThreadId, ThreadMetadataPatch, ThreadQuery, Timestamp, Turn, TurnBoundary,
    TurnItemEntry, TurnQuery, TurnSelector,
};
use selvedge_thread_store::implement::{page_hits, page_items, page_turns};
use selvedge_thread_store::{
    BatchId, ForkThread, InMemoryThreadStore, LineQuery, LineStart, MetadataOrigin, RevertThread, SegmentInfo,
    SegmentPart, StoreError, ThreadReader, ThreadStore,
};
use selvedge_thread_store_conformance::fixtures::{agent, complete, head, id, record, started, turn, user};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::place::{PostgresPlace, new_place};

const MODE: HistoryMode = HistoryMode::Paginated;

/// How long the background work may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Imports the recordings of `samples/` that build on no other one, or every `step`th of them.
async fn import_recordings(store: &dyn ThreadStore, step: usize) -> Vec<ThreadId> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples")];
    let (mut threads, mut found) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with("rollout-") || !name.ends_with(".jsonl") {
                continue;
            }
            let Some(thread_id) = name.len().checked_sub(42).and_then(|at| name[at..at + 36].parse().ok()) else {
                continue;
            };
            let bytes = std::fs::read(&path).unwrap();
            let is_fork = bytes.windows(14).take(4096).any(|window| window == b"\"history_base\"");
            if is_fork || threads.contains(&thread_id) {
                continue;
            }
            found += 1;
            if found % step != 0 {
                continue;
            }
            let (id, created) = (SegmentId::from(thread_id), Timestamp::from_millis(0));
            let info = SegmentInfo { thread_id, id, created, file_name: None, base: None, bytes: 0, is_current: true };
            let part = SegmentPart { info: &info, at: 0, bytes: &bytes, is_last: true };
            store.import_segment(part).await.unwrap();
            threads.push(thread_id);
        }
    }
    assert!(found > 40, "{found} recordings");
    threads
}

/// Waits until the projections of all threads have every line.
pub(crate) async fn projected(place: &PostgresPlace) {
    none_left(place, "projection_version = 0").await;
}

/// Waits until the projections of all threads have every line. Of a live thread they may be behind, and say so.
async fn projected_to_the_end(place: &PostgresPlace) {
    let is_behind = "NOT EXISTS (SELECT 1 FROM @.projections p WHERE p.namespace = $1 AND p.thread_id = t.thread_id
        AND p.projected_to = (SELECT max(l.start_byte + octet_length(l.bytes)) FROM @.lines l
            WHERE l.namespace = $1 AND l.thread_id = t.thread_id AND l.segment_id = t.segment_id))";
    none_left(place, is_behind).await;
}

/// Waits until no row of `threads` meets a condition.
async fn none_left(place: &PostgresPlace, condition: &str) {
    let began = Instant::now();
    // Setting a column to itself counts rows.
    let count = format!("UPDATE @.threads t SET epoch = epoch WHERE namespace = $1 AND {condition}");
    loop {
        let left = place.execute(&count).await;
        if left == 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{left} threads are behind");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the turns that the lines of a thread result in.
async fn turns_of(store: &PostgresThreadStore, thread_id: ThreadId, is_live: bool) -> Vec<Turn> {
    let mut turns = TurnProjection::new().live(is_live);
    for (position, line) in (0..).zip(&store.load_history(thread_id).await.unwrap().lines) {
        turns.push(position, line);
    }
    turns.finish()
}

/// Returns whether two answers are the same: equal values, or errors with the same text.
fn is_same<T: PartialEq>(one: &Result<T, StoreError>, other: &Result<T, StoreError>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => format!("{one:?}") == format!("{other:?}"),
        _ => false,
    }
}

/// Compares pages of turns and items with those of the whole history.
async fn compare(store: &PostgresThreadStore, thread_id: ThreadId, is_live: bool) {
    let all = turns_of(store, thread_id, is_live).await;
    let mut selectors = vec![
        (None, 7),
        (None, 1000),
        (Some(TurnSelector::Number(2)), 2),
        (Some(TurnSelector::NumberFromEnd(1)), 1000),
        (Some(TurnSelector::Number(all.len() as u64 + 1)), 1),
        (Some(TurnSelector::Id("no such turn".into())), 1),
    ];
    selectors.extend(all.last().map(|turn| (Some(turn.id.clone().into()), 3)));
    for (selector, limit) in selectors {
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            let mut cursor: Option<Cursor> = None;
            // The first pages, which meet in the middle of most threads.
            for _ in 0..4 {
                let query = TurnQuery { turn: selector.clone(), direction, limit, cursor, ..TurnQuery::all(thread_id) };
                let (page, expected) = (store.list_turns(&query).await, page_turns(&query, all.clone()));
                assert!(is_same(&page, &expected), "{query:?}\n{page:?}\n{expected:?}");
                cursor = page.ok().and_then(|page: Page<Turn>| page.next_cursor);
                if cursor.is_none() {
                    break;
                }
            }
            cursor = None;
            for _ in 0..4 {
                let query = ItemQuery { turn: selector.clone(), direction, limit, cursor, ..ItemQuery::all(thread_id) };
                let (page, expected) = (store.list_items(&query).await, page_items(&query, all.clone()));
                assert!(is_same(&page, &expected), "{query:?}\n{page:?}\n{expected:?}");
                cursor = page.ok().and_then(|page: Page<TurnItemEntry>| page.next_cursor);
                if cursor.is_none() {
                    break;
                }
            }
        }
    }
    // Lines from a turn on are those of the whole history from its first line on.
    let lines = store.load_history(thread_id).await.unwrap().lines;
    let ends = all.iter().take(3).chain(all.last());
    for turn in ends {
        let newest = all.iter().rfind(|other| other.id == turn.id).unwrap();
        let query = LineQuery::from(thread_id, LineStart::Turn(turn.id.clone()));
        let page = store.read_lines(&query).await.unwrap();
        let first = page.entries.iter().find(|entry| entry.bytes.starts_with(b"{")).unwrap();
        let expected = &lines[usize::try_from(newest.lines.start).unwrap()];
        assert!(String::from_utf8_lossy(&first.bytes).contains(expected.text()), "{thread_id} {}", turn.id);
    }
    let query = LineQuery::from(thread_id, LineStart::Turn("no such turn".into()));
    assert!(matches!(store.read_lines(&query).await, Err(StoreError::TurnNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_by_rows_are_those_of_the_whole_history() {
    let place = new_place().await;
    let store = place.open().await;
    let mut threads = import_recordings(&store, 3).await;
    projected(&place).await;
    for (number, thread_id) in (1..).zip(threads.clone()) {
        compare(&store, thread_id, false).await;
        let turns = turns_of(&store, thread_id, false).await;
        // A fork of every fourth thread is enough for histories of several segments.
        if let Some(middle) = turns.get(turns.len() / 2).filter(|_| number % 4 == 0) {
            let at = TurnBoundary::After(middle.id.clone());
            let fork = ForkThread { source: thread_id, at, meta: head(number, MODE) };
            threads.push(store.fork_thread(fork).await.unwrap());
        }
    }
    projected(&place).await;
    for (number, thread_id) in (0..).zip(threads.iter().copied()) {
        store.resume_thread(thread_id).await.unwrap();
        let mut open = turn(MODE, "more");
        open.truncate(2);
        store.append_items(thread_id, BatchId::generate(), &turn(MODE, "again")).await.unwrap();
        store.append_items(thread_id, BatchId::generate(), &open).await.unwrap();
        compare(&store, thread_id, true).await;
        store.shutdown_thread(thread_id).await.unwrap();
        if number % 3 == 0 {
            let revert = RevertThread { thread_id, to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
            let outcome = store.revert_thread(revert).await;
            assert!(outcome.is_ok() || matches!(outcome, Err(StoreError::InvalidRequest { .. })), "{outcome:?}");
        }
    }
    projected(&place).await;
    for thread_id in threads {
        compare(&store, thread_id, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_by_keys_find_what_a_search_of_all_turns_finds() {
    let place = new_place().await;
    let store = place.open().await;
    import_recordings(&store, 1).await;
    projected(&place).await;
    let query = ThreadQuery { limit: 1000, ..ThreadQuery::default() };
    let records = store.list_threads(&query).await.unwrap().items;
    let mut turns = HashMap::new();
    for thread in &records {
        turns.insert(thread.id, turns_of(&store, thread.id, false).await);
    }
    // Parts of what was said, which begin and end anywhere.
    let mut texts: Vec<String> = ["the", "a", "-> ", "\"a f\"", "会", "zzzz", "e*", "x y"].map(str::to_owned).into();
    for turn in turns.values().flatten() {
        let said = turn.items.iter().flat_map(selvedge_history::item_texts).next().unwrap_or_default();
        let words: Vec<char> = said.chars().skip(turn.items.len() * 3).take(7).collect();
        texts.push(words.iter().collect());
        texts.push(format!("\"{}\"", words.iter().collect::<String>().replace('"', "")));
    }
    texts.sort();
    texts.dedup();
    let mut found = 0;
    for text in texts.iter().step_by(4).filter(|text| TextSearch::new(text).is_ok()) {
        let search = TextSearch::new(text).unwrap();
        for order in [SearchOrder::Sorted, SearchOrder::Best] {
            let query = SearchQuery {
                order,
                hits_per_thread: 3,
                threads: ThreadQuery { limit: 4, ..query.clone() },
                ..SearchQuery::new(text.as_str())
            };
            let page = store.search_threads(&query).await.unwrap();
            let expected =
                page_hits(&query, records.clone(), |thread| Ok(search.hits(thread, &turns[&thread.id], order, 3)));
            assert_eq!(page, expected.unwrap(), "{text:?} {order:?}");
            found += page.items.len();
        }
    }
    assert!(texts.len() > 100 && found > 200, "{} texts, {found} hits", texts.len());
    // The keys decide what is read: without them nothing is found.
    place.execute("DELETE FROM @.search_blocks WHERE namespace = $1").await;
    assert!(store.search_threads(&SearchQuery::new("the")).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_found_by_its_block() {
    let place = new_place().await;
    let store = place.open().await;
    for number in [1, 2] {
        record(&store, number, MODE, &["a"]).await;
    }
    let found = async |text: &str| -> Vec<ThreadId> {
        let page = store.search_threads(&SearchQuery::new(text)).await.unwrap();
        page.items.into_iter().map(|hit| hit.thread.id).collect()
    };
    for (name, word, other) in [("Zebra crossing", "zebra", "lion"), ("The lion cage", "lion", "zebra")] {
        let patch = ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..Default::default() };
        store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
        // At once, and by the block that follows.
        for _ in 0..2 {
            assert_eq!((found(word).await, found(other).await), (vec![id(1)], vec![]));
            projected(&place).await;
        }
    }
    assert_eq!(place.execute("DELETE FROM @.search_blocks WHERE namespace = $1 AND first_turn < 0").await, 1);
    assert!(found("lion").await.is_empty());
    // Without a name there is no block.
    let patch = ThreadMetadataPatch { name: Some(None), ..Default::default() };
    store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
    projected(&place).await;
    assert_eq!(place.execute("DELETE FROM @.search_blocks WHERE namespace = $1 AND first_turn < 0").await, 0);
}

/// A thread that goes on has lines that came after its projections. Of the earlier ones, a search reads the blocks with its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_reads_the_blocks_of_a_live_thread() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &[]).await;
    store.resume_thread(id(1)).await.unwrap();
    for (name, text) in [("a", "alpha rays"), ("b", "beta rays"), ("c", "gamma rays")] {
        let mut items = vec![started(name)];
        items.extend(user(MODE, name, text));
        // Each turn is a block of its own.
        items.extend(agent(MODE, name, &"long ".repeat(15_000)));
        items.push(complete(name));
        store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    }
    store.shutdown_thread(id(1)).await.unwrap();
    projected_to_the_end(&place).await;
    store.resume_thread(id(1)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "gamma")).await.unwrap();
    let search = SearchQuery { hits_per_thread: 10, ..SearchQuery::new("gamma") };
    let found = async || -> Vec<(Option<u64>, Option<u64>, String)> {
        let page = store.search_threads(&search).await.unwrap();
        page.items.into_iter().map(|hit| (hit.turn_number, hit.position, hit.snippet)).collect()
    };
    let hits = found().await;
    assert!(hits.len() > 2, "{hits:?}");
    // Without the lines of the first turn, the others have other numbers in the whole history.
    let damaged = place.execute(
        "UPDATE @.lines SET bytes = convert_to(repeat('x', octet_length(bytes) - 1) || E'\\n', 'UTF8')
        WHERE namespace = $1 AND ordinal BETWEEN 1 AND 6",
    );
    assert_eq!(damaged.await, 6);
    assert_eq!(found().await, hits);
    let first = store.search_threads(&SearchQuery::new("alpha")).await.unwrap();
    assert!(first.items.is_empty(), "{first:?}");
}

/// Returns the page of the newest turns.
async fn newest_turns(store: &PostgresThreadStore, limit: usize) -> Vec<Turn> {
    let query = TurnQuery { direction: SortDirection::Descending, limit, ..TurnQuery::all(id(1)) };
    store.list_turns(&query).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_reads_its_own_lines() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &["a", "b", "c", "d"]).await;
    projected(&place).await;
    let before = newest_turns(&store, 2).await;
    // The lines of the first turn are damaged, which would move all others.
    let damaged = place.execute(
        "UPDATE @.lines SET bytes = convert_to(repeat('x', octet_length(bytes) - 1) || E'\\n', 'UTF8')
        WHERE namespace = $1 AND ordinal BETWEEN 1 AND 3",
    );
    assert_eq!(damaged.await, 3);
    assert_eq!(newest_turns(&store, 2).await, before);
    // A page with that turn is read from the whole history.
    let all = turns_of(&store, id(1), false).await;
    assert_eq!(store.list_turns(&TurnQuery::all(id(1))).await.unwrap().items, all);
}

/// Returns a text for an outcome and the newest head of a thread, and for what can be compared of its own lines: kind and payload.
async fn branched(store: &dyn ThreadStore, outcome: String, thread_id: ThreadId) -> String {
    let head = store.read_session_meta(thread_id).await.unwrap_or_default().map(|mut head| {
        // Ids of segments are random, and a revert stamps its head with the time.
        if let Some(base) = &mut head.history_base {
            base.thread_id = base.thread_id.filter(|id| *id == SegmentId::from(thread_id));
        }
        SessionMeta { timestamp: None, ..head }
    });
    let lines = store.load_history(thread_id).await.map(|history| {
        let line = |line: &selvedge_protocol::RolloutLine| (line.ordinal(), line.kind().to_owned());
        let metadata = |line: &&selvedge_protocol::RolloutLine| line.kind() == "thread_metadata";
        let explicit: Vec<String> =
            history.lines.iter().filter(metadata).map(|line| line.payload().to_owned()).collect();
        (history.inherited, history.lines.iter().map(line).collect::<Vec<_>>(), explicit)
    });
    format!("{outcome}\n{head:?}\n{lines:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_and_reverts_by_rows_are_those_of_the_whole_history() {
    let place = new_place().await;
    let (store, memory) = (place.open().await, InMemoryThreadStore::new());
    let stores: [&dyn ThreadStore; 2] = [&store, &memory];
    let mut threads = import_recordings(&store, 4).await;
    import_recordings(&memory, 4).await;
    let mut paginated = Vec::new();
    for thread_id in &threads {
        if memory.load_history(*thread_id).await.unwrap().mode == MODE {
            paginated.push(*thread_id);
        }
    }
    assert!(paginated.len() > 3, "{} paginated recordings", paginated.len());
    let fork = |source, at, number| {
        // With a window of its own. Without one the store would generate a random id.
        let mut meta = head(number, MODE);
        meta.context_window.get_or_insert_default().window_id = Some(id(98).to_string().parse().unwrap());
        ForkThread { source, at, meta }
    };
    // Forks have several segments, and explicit metadata in what is undone is carried over.
    for (number, source) in (1..4).zip(paginated) {
        for store in stores {
            store.fork_thread(fork(source, TurnBoundary::BeforeNewest(1), number)).await.unwrap();
            store.resume_thread(id(number)).await.unwrap();
            for name in ["x", "y"] {
                store.append_items(id(number), BatchId::generate(), &turn(MODE, name)).await.unwrap();
                let patch = ThreadMetadataPatch { model: Some(Some(name.to_owned())), ..Default::default() };
                store.update_thread_metadata(id(number), &patch, MetadataOrigin::Explicit).await.unwrap();
            }
            store.shutdown_thread(id(number)).await.unwrap();
        }
        threads.push(id(number));
    }
    projected(&place).await;
    for thread_id in threads {
        let turns = memory.list_turns(&TurnQuery { limit: 1000, ..TurnQuery::all(thread_id) }).await.unwrap().items;
        let step = turns.len() / 4 + 1;
        let mut boundaries = vec![
            TurnBoundary::Latest,
            TurnBoundary::After("no such turn".into()),
            TurnBoundary::BeforeNewest(0),
            TurnBoundary::BeforeNewest(u64::MAX),
        ];
        for (turn, newest) in turns.iter().rev().zip(1..).step_by(step) {
            boundaries.push(TurnBoundary::BeforeNewest(newest));
            boundaries.push(TurnBoundary::After(turn.id.clone()));
            boundaries.push(TurnBoundary::Before(turn.id.clone()));
        }
        for at in &boundaries {
            let mut answers = Vec::new();
            for store in stores {
                let outcome = store.fork_thread(fork(thread_id, at.clone(), 99)).await;
                answers.push(branched(store, format!("{outcome:?}"), id(99)).await);
                if outcome.is_ok() {
                    store.delete_thread(id(99)).await.unwrap();
                }
            }
            assert_eq!(answers[0], answers[1], "a fork of {thread_id} {at:?}");
        }
        // From the end on, so that each one has something to undo.
        for (turn, is_before) in turns.iter().rev().step_by(step).zip([true, false].into_iter().cycle()) {
            let to = match is_before {
                true => TurnBoundary::Before(turn.id.clone()),
                false => TurnBoundary::After(turn.id.clone()),
            };
            let mut answers = Vec::new();
            let batch = BatchId::generate();
            for store in stores {
                let undone = store.revert_thread(RevertThread { thread_id, to: to.clone(), batch }).await;
                answers.push(branched(store, format!("{undone:?}"), thread_id).await);
            }
            assert_eq!(answers[0], answers[1], "a revert of {thread_id} {to:?}");
            projected(&place).await;
        }
    }
    let [by_rows, whole] =
        [store.thread_stats(&StatsQuery::default()).await, memory.thread_stats(&StatsQuery::default()).await];
    // Not the bytes: stores may write the same facts with different bytes.
    let [by_rows, whole] = [by_rows, whole].map(|stats| StatsCounts { bytes: 0, ..stats.unwrap().total });
    assert!(by_rows.turns > 50 && by_rows.total_tokens > 0, "{by_rows:?}");
    assert_eq!(by_rows, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_and_a_revert_read_near_their_boundary() {
    let place = new_place().await;
    let store = place.open().await;
    for number in [1, 2] {
        record(&store, number, MODE, &["a", "b", "c", "d"]).await;
    }
    projected(&place).await;
    let second = newest_turns(&store, 3).await.remove(2).id;
    // Without its lines, the second turn is in the rows only.
    let count = turn(MODE, "a").len();
    let damage = format!(
        "UPDATE @.lines SET bytes = convert_to(repeat('x', octet_length(bytes) - 1) || E'\\n', 'UTF8')
        WHERE namespace = $1 AND ordinal BETWEEN {} AND {}",
        count + 1,
        2 * count
    );
    assert_eq!(place.execute(&damage).await, 2 * count as u64);
    let at = TurnBoundary::After(second);
    let fork = |number| ForkThread { source: id(1), at: at.clone(), meta: head(number, MODE) };
    let revert = |thread_id| RevertThread { thread_id, to: at.clone(), batch: BatchId::generate() };
    assert_eq!(store.fork_thread(fork(3)).await.unwrap(), id(3));
    assert_eq!(store.revert_thread(revert(id(1))).await.unwrap(), 2);
    // The whole history has no such turn.
    place.execute("DELETE FROM @.projections WHERE namespace = $1").await;
    let fork = ForkThread { source: id(2), ..fork(4) };
    assert!(matches!(store.fork_thread(fork).await, Err(StoreError::TurnNotFound { .. })));
    place.execute("DELETE FROM @.projections WHERE namespace = $1").await;
    assert!(matches!(store.revert_thread(revert(id(2))).await, Err(StoreError::TurnNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_older_projections_are_made_again() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &["alpha", "beta", "gamma"]).await;
    projected(&place).await;
    let before = newest_turns(&store, 2).await;
    let search = SearchQuery::new("beta");
    let hits = store.search_threads(&search).await.unwrap();
    assert!(!hits.items.is_empty());
    for forget in [
        "DELETE FROM @.projections WHERE namespace = $1",
        "UPDATE @.projections SET version = 9, chain = 'other' WHERE namespace = $1",
    ] {
        for asks_for_turns in [true, false] {
            place.execute("DELETE FROM @.turns WHERE namespace = $1").await;
            place.execute("DELETE FROM @.search_blocks WHERE namespace = $1").await;
            assert_eq!(place.execute(forget).await, 1);
            assert_eq!(place.execute("UPDATE @.threads SET projection_version = 9 WHERE namespace = $1").await, 1);
            if asks_for_turns {
                assert_eq!(newest_turns(&store, 2).await, before);
            } else {
                assert_eq!(store.search_threads(&search).await.unwrap(), hits);
            }
            let began = Instant::now();
            let current = "UPDATE @.threads SET epoch = epoch WHERE namespace = $1 AND projection_version = 2";
            while place.execute(current).await == 0 {
                assert!(began.elapsed() < PATIENCE, "the projections were not made again: {forget} {asks_for_turns}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(place.execute("UPDATE @.turns SET turn_id = turn_id WHERE namespace = $1").await, 3);
            assert_eq!(newest_turns(&store, 2).await, before);
            assert_eq!(store.search_threads(&search).await.unwrap(), hits);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_do_not_wait_for_projections() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &["a"]).await;
    projected(&place).await;
    store.resume_thread(id(1)).await.unwrap();
    // Whoever writes projections hangs in the middle of it.
    let mut connection = place.connection().await;
    let lock = place.sql("BEGIN; LOCK TABLE @.projections, @.turns, @.search_blocks IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(&lock).execute(&mut connection).await.unwrap();
    let long: RolloutItem = ResponseItem::user_text(&"long ".repeat(20_000)).into();
    let began = Instant::now();
    // For longer than until the background work begins with a live thread.
    while began.elapsed() < Duration::from_secs(5) {
        let append = store.append_items(id(1), BatchId::generate(), std::slice::from_ref(&long));
        tokio::time::timeout(Duration::from_secs(2), append).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::timeout(Duration::from_secs(10), store.shutdown_thread(id(1))).await.unwrap().unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
    projected(&place).await;
    compare(&store, id(1), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_live_thread_is_projected_while_it_grows() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let long: RolloutItem = ResponseItem::user_text(&"long ".repeat(20_000)).into();
    store.append_items(id(1), BatchId::generate(), &[long]).await.unwrap();
    let began = Instant::now();
    let is_long = "UPDATE @.projections SET turns = turns WHERE namespace = $1 AND projected_to > 100000";
    while place.execute(is_long).await == 0 {
        assert!(began.elapsed() < PATIENCE, "the live thread was not projected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    compare(&store, id(1), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_for_projections_have_indexes() {
    let place = new_place().await;
    let mut connection = place.connection().await;
    let filled = place.sql(
        "INSERT INTO @.threads (namespace, thread_id, epoch, is_unsettled, revision, segment_id, created_at, archived, record,
            record_version, folded_segment, folded_to, reverts, projection_version)
            SELECT 'n', id, 1, false, 1, id, 0, false, '{}', 1, id, 0, '[]', 2
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 20000)) ids;
        INSERT INTO @.search_blocks SELECT 'n', gen_random_uuid(), 0, 1,
            ARRAY(SELECT (random() * 100000)::integer FROM generate_series(1, 100 + block % 2)) FROM generate_series(1, 8000) block;
        INSERT INTO @.projections SELECT 'n', gen_random_uuid(), gen_random_uuid(), 1, '{}', 0, 0 FROM generate_series(1, 8000);
        INSERT INTO @.turns SELECT 'n', gen_random_uuid(), 0, 't', 0, 1, 0, 0, 0, 1, 0, true, true, '\\x00' FROM generate_series(1, 8000);
        ANALYZE;
        SET plan_cache_mode = force_generic_plan",
    );
    sqlx::raw_sql(&filled).execute(&mut connection).await.unwrap();
    let thread = "'n', '01a1fd5d-ba9e-7000-8000-000000000001'";
    for (number, (statement, types, values, index, partitions)) in [
        (
            "turns WHERE namespace = $1 AND thread_id = $2 AND turn_index BETWEEN $3 AND $4 ORDER BY turn_index",
            "text, uuid, bigint, bigint",
            &*format!("{thread}, 3, 22"),
            "turns_p",
            1,
        ),
        ("projections WHERE namespace = $1 AND thread_id = $2", "text, uuid", thread, "projections_p", 1),
        ("search_blocks WHERE namespace = $1 AND keys @> '{1,2,3}'", "text", "'n'", "keys_idx", 8),
        (
            "threads WHERE namespace = $1 AND (projection_version < 2 OR projection_version > 2)",
            "text",
            "'n'",
            "projection_version_idx",
            16,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let schema = &place.options.schema;
        let prepared = format!("PREPARE q{number}({types}) AS SELECT FROM {schema}.{statement}");
        sqlx::raw_sql(&prepared).execute(&mut connection).await.unwrap();
        let explained = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE q{number}({values})");
        let plan: Vec<String> = sqlx::query_scalar(&explained).fetch_all(&mut connection).await.unwrap();
        let scans = plan
            .iter()
            .filter(|line| line.contains("Scan") && line.contains(index) && !line.contains("never executed"));
        assert_eq!(scans.count(), partitions, "{statement}\n{}", plan.join("\n"));
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{}", plan.join("\n"));
    }
}
