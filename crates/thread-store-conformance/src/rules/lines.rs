//! Rules about reading a history line by line, and following it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{HistoryMode, RolloutLine, SortDirection, ThreadId, TurnBoundary};
use selvedge_thread_store::{
    BatchId, EntryKind, ForkThread, LineEntry, LinePage, LinePosition, LineQuery, LineSelect, LineStart,
    MetadataOrigin, RevertThread, StoreError, ThreadStore,
};

use crate::fixtures::{MODES, continue_thread, head, id, is_invalid, is_missing, record, turn, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Reads one page in ascending order.
async fn read(store: &dyn ThreadStore, thread_id: ThreadId, start: LineStart) -> LinePage {
    store.read_lines(&LineQuery::from(thread_id, start)).await.unwrap()
}

/// Reads all entries in a direction, on pages of `limit`.
async fn walk(store: &dyn ThreadStore, thread_id: ThreadId, direction: SortDirection, limit: usize) -> Vec<LineEntry> {
    walk_short(store, thread_id, direction, limit, None).await
}

/// Reads all entries, with texts that may be shortened.
async fn walk_short(
    store: &dyn ThreadStore,
    thread_id: ThreadId,
    direction: SortDirection,
    limit: usize,
    max_text: Option<usize>,
) -> Vec<LineEntry> {
    let start = match direction {
        SortDirection::Ascending => LineStart::Beginning,
        SortDirection::Descending => LineStart::End,
    };
    let limits = LineQuery { max_lines: limit, max_bytes: usize::MAX, max_text, ..LineQuery::from(thread_id, start) };
    let mut query = LineQuery { direction, ..limits };
    let mut found = Vec::new();
    loop {
        let page = store.read_lines(&query).await.unwrap();
        assert!(page.entries.len() <= limit && page.rewound_to.is_none());
        assert!(page.is_end || page.entries.len() == limit, "a page that is followed by another is full");
        found.extend(page.entries);
        if page.is_end {
            return found;
        }
        query.start = LineStart::At(page.next);
    }
}

/// Returns the intact lines of entries.
fn lines(entries: &[LineEntry]) -> Vec<RolloutLine> {
    entries.iter().filter_map(LineEntry::line).collect()
}

/// Records a thread and a fork of it. The fork is continued, reverted by one turn, and continued again:
///
/// ```text
///  source: a b
///  fork:   a (of source) c d          d is undone
///                          e
/// ```
async fn family(store: &dyn ThreadStore, mode: HistoryMode, n: u32) -> [ThreadId; 2] {
    let source = record(store, n, mode, &["a", "b"]).await;
    let request = ForkThread { source, at: TurnBoundary::After(turn_id("a")), meta: head(n + 1, mode) };
    let fork = store.fork_thread(request).await.unwrap();
    continue_thread(store, fork, mode, &["c", "d"]).await;
    let to = TurnBoundary::After(turn_id("c"));
    store.revert_thread(RevertThread { thread_id: fork, to, batch: BatchId::generate() }).await.unwrap();
    continue_thread(store, fork, mode, &["e"]).await;
    [source, fork]
}

pub(super) async fn contain_the_history(store: Arc<dyn ThreadStore>) {
    for (n, mode) in [(1, MODES[0]), (11, MODES[1])] {
        for thread_id in family(&*store, mode, n).await {
            let history = store.load_history(thread_id).await.unwrap();
            let mut exported = Vec::new();
            store.export(thread_id, &mut exported).await.unwrap();
            for limit in [1, 2, 3, 1000] {
                let entries = walk(&*store, thread_id, SortDirection::Ascending, limit).await;
                assert_eq!(lines(&entries), history.lines);
                let inherited = entries.iter().filter(|entry| entry.inherited && entry.kind == EntryKind::Line).count();
                assert_eq!(inherited, history.inherited);
                let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes.clone()).collect();
                assert!(bytes == exported, "the entries contain every byte");
                let mut back = walk(&*store, thread_id, SortDirection::Descending, limit).await;
                back.reverse();
                assert_eq!(back, entries, "descending pages contain the same entries");
            }
        }
    }
}

pub(super) async fn positions(store: Arc<dyn ThreadStore>) {
    // Reads from every position in both directions, and from the end after another append.
    for (n, mode) in [(1, MODES[0]), (11, MODES[1])] {
        let [_, fork] = family(&*store, mode, n).await;
        let entries = walk(&*store, fork, SortDirection::Ascending, 1000).await;
        let positions: HashSet<&LinePosition> = entries.iter().map(|entry| &entry.at).collect();
        assert_eq!(positions.len(), entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let rest = read(&*store, fork, LineStart::At(entry.at.clone())).await;
            assert_eq!((rest.entries.as_slice(), rest.rewound_to), (&entries[number..], None));
            let direction = SortDirection::Descending;
            let query = LineQuery { direction, ..LineQuery::from(fork, LineStart::At(entry.at.clone())) };
            let mut before = store.read_lines(&query).await.unwrap();
            before.entries.reverse();
            assert_eq!(before.entries, &entries[..number]);
            // The beginning of the history is the end of a descending read. Before the first entry there is nothing to read.
            assert!(before.is_end && before.next == entries[0].at || number == 0);
        }
        let end = read(&*store, fork, LineStart::End).await;
        assert!(end.entries.is_empty() && end.is_end);
        continue_thread(&*store, fork, mode, &["f"]).await;
        let more = lines(&read(&*store, fork, LineStart::At(end.next)).await.entries);
        let history = store.load_history(fork).await.unwrap();
        assert_eq!(more, history.lines[history.lines.len() - more.len()..]);
        assert_eq!(more.len(), turn(mode, "f").len());
    }
}

pub(super) async fn starts(store: Arc<dyn ThreadStore>) {
    let [_, fork] = family(&*store, MODE, 1).await;
    let history = store.load_history(fork).await.unwrap();
    for (number, line) in history.lines.iter().enumerate() {
        let page = read(&*store, fork, LineStart::Ordinal(line.ordinal().unwrap())).await;
        assert_eq!(lines(&page.entries), history.lines[number..]);
    }
    // An ordinal beyond the end means the end.
    let page = read(&*store, fork, LineStart::Ordinal(u64::MAX)).await;
    assert!(page.entries.is_empty() && page.is_end);
    for (turn, lines_before) in [("a", 1), ("c", 8), ("e", 15)] {
        let page = read(&*store, fork, LineStart::Turn(turn_id(turn))).await;
        assert_eq!(lines(&page.entries), history.lines[lines_before..], "{turn}");
    }
    let undone = store.read_lines(&LineQuery::from(fork, LineStart::Turn(turn_id("d")))).await;
    assert!(matches!(undone, Err(StoreError::TurnNotFound { .. })));
}

pub(super) async fn pages_end_by_bytes(store: Arc<dyn ThreadStore>) {
    // Reads with byte limits from 0 on, which is below the length of any line.
    let thread_id = record(&*store, 1, MODE, &["a", "b"]).await;
    let all = walk(&*store, thread_id, SortDirection::Ascending, 1000).await;
    for max_bytes in [0, 1, 300, 1000] {
        let mut query = LineQuery { max_bytes, ..LineQuery::from(thread_id, LineStart::Beginning) };
        let mut found = Vec::new();
        loop {
            let page = store.read_lines(&query).await.unwrap();
            let bytes: usize = page.entries.iter().map(|entry| entry.bytes.len()).sum();
            assert!(bytes <= max_bytes || page.entries.len() == 1);
            found.extend(page.entries);
            if page.is_end {
                break;
            }
            query.start = LineStart::At(page.next);
        }
        assert_eq!(found, all);
    }
    let select = LineSelect::DamageOnly;
    let query = LineQuery { select, ..LineQuery::from(thread_id, LineStart::Beginning) };
    let page = store.read_lines(&query).await.unwrap();
    assert!(page.entries.is_empty() && page.is_end, "nothing is damaged");
}

pub(super) async fn short_texts(store: Arc<dyn ThreadStore>) {
    // Texts of 300 kB, one within a line of 1.2 MB, among short ones.
    let long = "a \"long\" text\né\u{10ffff} ".repeat(12_000);
    let thread_id = record(&*store, 1, MODE, &["a", &long, "b", &long.repeat(4), "c"]).await;
    let whole = walk(&*store, thread_id, SortDirection::Ascending, 1000).await;
    assert!(whole.iter().all(|entry| entry.left_out == 0));
    for (limit, max) in [(1, 0), (1000, 5_000)] {
        let short = walk_short(&*store, thread_id, SortDirection::Ascending, limit, Some(max)).await;
        let mut back = walk_short(&*store, thread_id, SortDirection::Descending, limit, Some(max)).await;
        back.reverse();
        assert_eq!(back, short, "descending pages contain the same entries");
        assert_eq!(short.len(), whole.len());
        for (short, whole) in short.iter().zip(&whole) {
            assert_eq!((&short.at, short.segment, short.inherited), (&whole.at, whole.segment, whole.inherited));
            assert_eq!((&short.kind, short.stored_len()), (&whole.kind, whole.stored_len()));
            let (line, expected) = (short.line().unwrap(), whole.line().unwrap());
            assert_eq!((line.ordinal(), line.kind()), (expected.ordinal(), expected.kind()));
            assert!(short.left_out > 0 || short.bytes == whole.bytes);
            assert!(
                whole.bytes.len() > 5_000 || max == 0 || short.bytes == whole.bytes,
                "short texts stay as they are"
            );
        }
    }
}

pub(super) async fn positions_stay_valid(store: Arc<dyn ThreadStore>) {
    // Keeps all positions of a fork, and reads from each of them after each change of the thread.
    let [source, fork] = family(&*store, MODE, 1).await;
    let entries = walk(&*store, fork, SortDirection::Ascending, 1000).await;
    let end = read(&*store, fork, LineStart::End).await.next;
    let items = |entries: &[LineEntry]| lines(entries).iter().map(|line| line.item()).collect::<Vec<_>>();
    let check = async |what: &str| {
        for (number, entry) in entries.iter().enumerate() {
            let page = read(&*store, fork, LineStart::At(entry.at.clone())).await;
            assert_eq!(page.rewound_to, None, "{what}: entry {number}");
            assert_eq!(items(&page.entries)[..], items(&entries)[number..], "{what}: entry {number}");
        }
        let page = read(&*store, fork, LineStart::At(end.clone())).await;
        assert!(page.entries.is_empty() && page.is_end && page.rewound_to.is_none(), "{what}");
    };
    store.archive_thread(fork).await.unwrap();
    check("archived").await;
    store.archive_thread(source).await.unwrap();
    store.unarchive_thread(fork).await.unwrap();
    check("unarchived").await;
    store.detach_thread(fork).await.unwrap();
    // A detach replaces the first line by the head of the copy. The lines after it are the same.
    let entries = &entries[1..];
    for (number, entry) in entries.iter().enumerate() {
        let page = read(&*store, fork, LineStart::At(entry.at.clone())).await;
        assert_eq!((page.rewound_to, lines(&page.entries).len()), (None, entries.len() - number), "entry {number}");
    }
    assert!(read(&*store, fork, LineStart::At(end.clone())).await.entries.is_empty());
    store.delete_thread(source).await.unwrap();
    assert!(read(&*store, fork, LineStart::At(end.clone())).await.entries.is_empty());
    continue_thread(&*store, fork, MODE, &["f"]).await;
    assert_eq!(lines(&read(&*store, fork, LineStart::At(end)).await.entries).len(), turn(MODE, "f").len());
}

pub(super) async fn after_a_rewind(store: Arc<dyn ThreadStore>) {
    // Reverts a fork step by step, at last into its inherited history, and reads from every position that was valid before:
    //
    //      before:  0 1 2 3 4 5 6        `common` = 4 entries survive the revert
    //      now:     0 1 2 3 h            h is the head of the new segment
    //
    // A position up to 4 still leads to the rest of the history. A later one leads to position 4, and the page reports that as
    // `rewound_to`.
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let request = ForkThread { source, at: TurnBoundary::Latest, meta: head(2, MODE) };
    let fork = store.fork_thread(request).await.unwrap();
    continue_thread(&*store, fork, MODE, &["c", "d"]).await;
    for keep in ["d", "c", "b", "a"] {
        let before = walk(&*store, fork, SortDirection::Ascending, 1000).await;
        let end = read(&*store, fork, LineStart::End).await.next;
        let to = TurnBoundary::Before(turn_id(keep));
        store.revert_thread(RevertThread { thread_id: fork, to, batch: BatchId::generate() }).await.unwrap();
        let now = walk(&*store, fork, SortDirection::Ascending, 1000).await;
        let common = before.iter().zip(&now).take_while(|(before, now)| before == now).count();
        for (held, entry) in before.iter().enumerate() {
            let page = read(&*store, fork, LineStart::At(entry.at.clone())).await;
            // `held` entries are before this position.
            let expected = &now[held.min(common)..];
            assert_eq!(page.entries, expected, "before {keep}, held {held}");
            assert_eq!(page.rewound_to.is_some(), held > common, "before {keep}, held {held}");
        }
        let page = read(&*store, fork, LineStart::At(end)).await;
        let to = page.rewound_to.unwrap();
        assert_eq!(page.entries, now[common..]);
        let after_common = if common == now.len() { page.next } else { now[common].at.clone() };
        assert_eq!(to, after_common);
    }
}

pub(super) async fn after_a_legacy_rewind(store: Arc<dyn ThreadStore>) {
    // The position at the old end stays valid, and the rewind is the next line.
    let thread_id = record(&*store, 1, HistoryMode::Legacy, &["a", "b"]).await;
    let end = read(&*store, thread_id, LineStart::End).await.next;
    let to = TurnBoundary::After(turn_id("a"));
    store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
    let page = read(&*store, thread_id, LineStart::At(end)).await;
    assert_eq!((page.entries.len(), page.rewound_to), (1, None));
}

pub(super) async fn following(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // One host continues, archives, unarchives and reverts the thread. A client of the other host keeps its own copy of the entries.
    // It appends each page, and after a rewind first removes the entries from `rewound_to` on.
    let thread_id = record(&*store, 1, MODE, &["a"]).await;
    let follow = tokio::spawn(follow_thread(other, thread_id));
    for round in 0..6 {
        let name = format!("b{round}");
        continue_thread(&*store, thread_id, MODE, &[&name, &format!("c{round}")]).await;
        store.archive_thread(thread_id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        store.unarchive_thread(thread_id).await.unwrap();
        let to = TurnBoundary::Before(turn_id(&format!("c{round}")));
        store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
    }
    continue_thread(&*store, thread_id, MODE, &["the end"]).await;
    let held = tokio::time::timeout(Duration::from_secs(60), follow).await.unwrap().unwrap();
    let all = walk(&*store, thread_id, SortDirection::Ascending, 1000).await;
    // The client stops at the first line of the last turn that it looks for, so that it may not have the lines after it.
    assert!(
        held.len() > all.len() - turn(MODE, "x").len() && held[..] == all[..held.len()],
        "{} {}",
        held.len(),
        all.len()
    );
}

/// Follows a thread until the turn `the end`, and returns the entries that the client has then.
async fn follow_thread(store: Arc<dyn ThreadStore>, thread_id: ThreadId) -> Vec<LineEntry> {
    let mut held: Vec<LineEntry> = Vec::new();
    let mut query = LineQuery { max_lines: 3, ..LineQuery::from(thread_id, LineStart::Beginning) };
    loop {
        let page = store.read_lines(&query).await.unwrap();
        if let Some(to) = &page.rewound_to {
            let kept = held.iter().position(|entry| entry.at == *to).unwrap_or(held.len());
            held.truncate(kept);
        }
        held.extend(page.entries);
        query.start = LineStart::At(page.next.clone());
        if !page.is_end {
            continue;
        }
        let is_done = |entry: &LineEntry| String::from_utf8_lossy(&entry.bytes).contains("ask the end");
        if held.iter().any(is_done) {
            return held;
        }
        store.wait_for_lines(thread_id, &page.next).await.unwrap();
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.read_lines(&LineQuery::from(id(1), LineStart::Beginning)).await, false));
    let one = record(&*store, 1, MODE, &["a"]).await;
    let other = record(&*store, 2, MODE, &["a"]).await;
    let none = LineQuery { max_lines: 0, ..LineQuery::from(one, LineStart::Beginning) };
    assert!(is_invalid(store.read_lines(&none).await));
    for text in ["", "l1", "somewhere"] {
        let start = LineStart::At(LinePosition::from(text.to_owned()));
        assert!(is_invalid(store.read_lines(&LineQuery::from(one, start)).await));
    }
    let end = read(&*store, other, LineStart::End).await.next;
    assert!(
        is_invalid(store.read_lines(&LineQuery::from(one, LineStart::At(end.clone()))).await),
        "a position of another thread"
    );
    assert!(is_invalid(store.wait_for_lines(one, &end).await));
    assert!(is_missing(store.wait_for_lines(id(9), &end).await, false));
}

pub(super) async fn positions_survive_every_change(store: Arc<dyn ThreadStore>) {
    // Keeps every position that the thread ever had. After each of 14 changes, it reads from all of them.
    //
    // A position has three correct answers: the rest of the history from its line on; a rewind with the position to which it leads;
    // or, for a former end, the current end.
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let request = ForkThread { source, at: TurnBoundary::Latest, meta: head(2, MODE) };
    let thread_id = store.fork_thread(request).await.unwrap();
    // Each position with the line that follows it. `None` for the end.
    let mut held: Vec<(LinePosition, Option<String>)> = Vec::new();
    for step in 0..14 {
        change_thread(&*store, thread_id, step).await;
        let now = walk(&*store, thread_id, SortDirection::Ascending, 1000).await;
        let line_at = |position: &LinePosition| now.iter().position(|entry| entry.at == *position);
        for (position, line) in &held {
            let page = read(&*store, thread_id, LineStart::At(position.clone())).await;
            // The page reaches to the end of the history, so that its length shows where it begins.
            let begins = now.len() - page.entries.len();
            assert_eq!(page.entries, now[begins..], "step {step}");
            match (&page.rewound_to, line_at(position)) {
                (Some(to), _) => assert_eq!(line_at(to).unwrap_or(now.len()), begins, "step {step}"),
                (None, Some(at)) => assert_eq!(at, begins, "step {step}"),
                // The position of a former end that is still the end.
                (None, None) => assert!(line.is_none() && begins == now.len(), "step {step}"),
            }
        }
        held.extend(
            now.iter().map(|entry| (entry.at.clone(), Some(String::from_utf8_lossy(&entry.bytes).into_owned()))),
        );
        held.push((read(&*store, thread_id, LineStart::End).await.next, None));
    }
}

/// Makes the change with this number. The changes include two reverts: one of a live thread, and one into the inherited history.
async fn change_thread(store: &dyn ThreadStore, thread_id: ThreadId, step: u32) {
    let revert = async |to| {
        let request = RevertThread { thread_id, to, batch: BatchId::generate() };
        store.revert_thread(request).await.unwrap();
    };
    match step {
        0 | 5 | 11 => continue_thread(store, thread_id, MODE, &[&format!("turn {step}")]).await,
        1 => store.resume_thread(thread_id).await.unwrap(),
        2 => _ = store.append_items(thread_id, BatchId::generate(), &turn(MODE, "live")).await.unwrap(),
        3 => revert(TurnBoundary::BeforeNewest(1)).await,
        4 => store.shutdown_thread(thread_id).await.unwrap(),
        6 => {
            let patch = serde_json::from_value(serde_json::json!({"model": "set", "name": "name"})).unwrap();
            store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.unwrap();
        }
        7 => _ = store.archive_thread(thread_id).await.unwrap(),
        8 => _ = store.unarchive_thread(thread_id).await.unwrap(),
        9 => {
            let request = ForkThread { source: thread_id, at: TurnBoundary::Latest, meta: head(3, MODE) };
            store.fork_thread(request).await.unwrap();
        }
        10 => store.delete_thread(id(3)).await.unwrap(),
        12 => revert(TurnBoundary::Before(turn_id("b"))).await,
        _ => continue_thread(store, thread_id, MODE, &["last"]).await,
    }
}
