//! Reading files line by line: damage, torn ends, compressed files, and changed bytes.

use std::fs;
use std::io::Write;

use selvedge_protocol::{HistoryMode, SortDirection, ThreadId};
use selvedge_thread_store::{
    BatchId, EntryKind, LineEntry, LineQuery, LineSelect, LineStart, StoreError, ThreadLookup, ThreadReader,
    ThreadStore,
};
use selvedge_thread_store_local::LocalThreadStore;

use crate::home::{TestHome, all_recordings};
use selvedge_thread_store_conformance::fixtures::{continue_thread, head, id, record, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

async fn walk(store: &LocalThreadStore, thread_id: ThreadId, direction: SortDirection, limit: usize) -> Vec<LineEntry> {
    let start = match direction {
        SortDirection::Ascending => LineStart::Beginning,
        SortDirection::Descending => LineStart::End,
    };
    let mut query = LineQuery { direction, max_lines: limit, ..LineQuery::from(thread_id, start) };
    let mut found = Vec::new();
    loop {
        let page = store.read_lines(&query).await.unwrap();
        found.extend(page.entries);
        if page.is_end {
            return found;
        }
        query.start = LineStart::At(page.next);
    }
}

fn file_of(home: &TestHome, thread_id: ThreadId) -> std::path::PathBuf {
    home.files().into_iter().find(|path| path.to_string_lossy().contains(&thread_id.to_string())).unwrap()
}

#[tokio::test]
async fn the_entries_of_every_recording_are_its_bytes() {
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder).without_index();
        for thread_id in home.store.find_threads(&ThreadLookup::IdPrefix(String::new())).await.unwrap() {
            let mut exported = Vec::new();
            let outcome = home.store.export(thread_id, &mut exported).await;
            let entries = walk(&home.store, thread_id, SortDirection::Ascending, 50).await;
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes.clone()).collect();
            assert!(bytes == exported, "{folder}: {thread_id}");
            let is_missing = |entry: &LineEntry| matches!(entry.kind, EntryKind::Missing { .. });
            assert_eq!(entries.iter().any(is_missing), outcome.is_err(), "{folder}: {thread_id}");
            let mut back = walk(&home.store, thread_id, SortDirection::Descending, 33).await;
            back.reverse();
            assert!(back == entries, "{folder}: {thread_id}: from the end");
            let history = home.store.load_history(thread_id).await.unwrap();
            let lines: Vec<_> = entries.iter().filter_map(LineEntry::line).collect();
            assert!(lines == history.lines, "{folder}: {thread_id}");
            let select = LineSelect::DamageOnly;
            let query = LineQuery { select, ..LineQuery::from(thread_id, LineStart::Beginning) };
            let damage = home.store.read_lines(&query).await.unwrap().entries;
            assert_eq!(damage.len(), history.damage.len(), "{folder}: {thread_id}: {damage:?}");
        }
    }
}

/// Positions in a plain file are valid in its compressed form, from either end.
#[tokio::test]
async fn a_compressed_file_has_the_same_positions() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a", "b", "c"]).await;
    let plain = walk(&home.store, id(1), SortDirection::Ascending, 1000).await;
    home.store.admin().compress(id(1)).await.unwrap();
    assert_eq!(walk(&home.store, id(1), SortDirection::Ascending, 4).await, plain);
    let mut back = walk(&home.store, id(1), SortDirection::Descending, 3).await;
    back.reverse();
    assert_eq!(back, plain);
}

/// Changing a line invalidates the positions after it, and no others.
#[tokio::test]
async fn a_position_after_a_changed_line_is_invalid() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a", "b"]).await;
    let entries = walk(&home.store, id(1), SortDirection::Ascending, 1000).await;
    let path = file_of(&home, id(1));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("answer a", "XXXXXX X", 2)).unwrap();
    let changed: Vec<usize> =
        (0..entries.len()).filter(|at| String::from_utf8_lossy(&entries[*at].bytes).contains("answer a")).collect();
    assert!(!changed.is_empty());
    for (number, entry) in entries.iter().enumerate() {
        let outcome = home.store.read_lines(&LineQuery::from(id(1), LineStart::At(entry.at.clone()))).await;
        if number > 0 && changed.contains(&(number - 1)) {
            assert!(matches!(outcome, Err(StoreError::PositionGone { .. })), "{number}: {outcome:?}");
        } else {
            assert_eq!(outcome.unwrap().entries.len(), entries.len() - number);
        }
    }
}

/// A line without its newline is an entry only without a writer. The next writer ends it with a newline.
#[tokio::test]
async fn a_torn_last_line_is_no_entry_while_the_thread_has_a_writer() {
    let home = TestHome::empty();
    let writer = home.other();
    writer.create_thread(head(1, MODE)).await.unwrap();
    writer.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    let whole = walk(&home.store, id(1), SortDirection::Ascending, 1000).await;
    let path = file_of(&home, id(1));
    let torn = b"{\"timestamp\":\"2026-11-21T09:0";
    fs::File::options().append(true).open(&path).unwrap().write_all(torn).unwrap();
    assert_eq!(walk(&home.store, id(1), SortDirection::Ascending, 1000).await, whole);
    assert_eq!(walk(&home.store, id(1), SortDirection::Descending, 1000).await.len(), whole.len());
    writer.discard_thread(id(1)).await.unwrap();
    let after = walk(&home.store, id(1), SortDirection::Ascending, 1000).await;
    assert_eq!(after[..whole.len()], whole);
    let [last] = &after[whole.len()..] else { panic!("{:?}", &after[whole.len()..]) };
    assert!(matches!(last.kind, EntryKind::Damage { .. }) && last.bytes == torn);
    let end = home.store.read_lines(&LineQuery::from(id(1), LineStart::End)).await.unwrap().next;
    continue_thread(&home.store, id(1), MODE, &["b"]).await;
    let more = home.store.read_lines(&LineQuery::from(id(1), LineStart::At(end))).await.unwrap().entries;
    assert_eq!(
        (&more[0].kind, more[0].bytes.as_slice()),
        (&EntryKind::Blank, &b"\n"[..]),
        "the torn line has got its newline"
    );
    assert_eq!(more.len(), 1 + turn(MODE, "b").len());
}
