//! Rules about segments as bytes: read from a store, and imported into it.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, SegmentId, StoredThread, ThreadId, TurnBoundary};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, SegmentInfo, SegmentPart, StoreError, ThreadStore};

use crate::fixtures::{
    MODES, assert_consecutive_ordinals, continue_thread, head, id, is_conflict, is_invalid, is_missing, record, second,
    shown_prompts, turn, turn_id,
};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Reads all bytes of a segment, in parts of at most `step` bytes.
async fn read(store: &dyn ThreadStore, info: &SegmentInfo, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = store.read_segment(info.thread_id, info.id, bytes.len() as u64, step).await.unwrap();
        assert!(more.len() <= step);
        if more.is_empty() {
            return bytes;
        }
        bytes.extend(more);
    }
}

/// Copies a thread's own segments out of a store, oldest first.
async fn copy_segments(store: &dyn ThreadStore, thread: ThreadId) -> Vec<(SegmentInfo, Vec<u8>)> {
    let mut copies = Vec::new();
    for info in store.list_segments(thread).await.unwrap() {
        let bytes = read(store, &info, 1 << 20).await;
        copies.push((info, bytes));
    }
    copies
}

/// Imports a segment in parts of `step` bytes.
async fn import(store: &dyn ThreadStore, info: &SegmentInfo, bytes: &[u8], step: usize) {
    let mut at = 0;
    loop {
        let end = (at + step).min(bytes.len());
        let part = SegmentPart { info, at: at as u64, bytes: &bytes[at..end], is_last: end == bytes.len() };
        assert!(store.import_segment(part).await.unwrap() >= end as u64);
        if end == bytes.len() {
            return;
        }
        at = end;
    }
}

/// Records a thread that was reverted twice, and a fork of it. The thread has three segments, of which the second is abandoned:
///
/// ```text
///  segment 1: a b c                  base of both others
///  segment 2: a b (of segment 1)     abandoned by the second revert
///  segment 3: a (of segment 1) d     current
///  fork:      a d (of the thread) e
/// ```
async fn family(store: &dyn ThreadStore) -> [ThreadId; 2] {
    let thread = record(store, 1, MODE, &["a", "b", "c"]).await;
    for turn in ["c", "b"] {
        let to = TurnBoundary::Before(turn_id(turn));
        store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    }
    continue_thread(store, thread, MODE, &["d"]).await;
    let request = ForkThread { source: thread, at: TurnBoundary::Latest, meta: head(2, MODE) };
    let fork = store.fork_thread(request).await.unwrap();
    continue_thread(store, fork, MODE, &["e"]).await;
    [thread, fork]
}

pub(super) async fn contain_the_written_bytes(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let thread_id = record(&*store, n, mode, &["a", "b"]).await;
        let infos = store.list_segments(thread_id).await.unwrap();
        let [info] = &infos[..] else { panic!("{infos:?}") };
        assert_eq!((info.thread_id, info.id, info.is_current), (thread_id, thread_id.into(), true));
        let mut exported = Vec::new();
        store.export(thread_id, &mut exported).await.unwrap();
        assert_eq!(info.bytes, exported.len() as u64);
        for step in [1000, 1 << 20] {
            assert!(read(&*store, info, step).await == exported);
        }
    }
}

pub(super) async fn abandoned_segments(store: Arc<dyn ThreadStore>) {
    let [thread, fork] = family(&*store).await;
    let infos = store.list_segments(thread).await.unwrap();
    assert_eq!(infos.iter().map(|info| info.is_current).collect::<Vec<_>>(), [true, false, true]);
    assert!(infos[0].base.is_none() && infos[1].base.is_some() && infos[2].base.is_some());
    assert_eq!(store.list_segments(fork).await.unwrap().len(), 1, "a fork has only its own segments");
}

pub(super) async fn copies_are_equal(store: Arc<dyn ThreadStore>) {
    // Copies all segments out, deletes the threads, and imports the segments in reverse order: the fork first, then its source. Small
    // parts and large parts are both tried.
    for step in [1000, 1 << 20] {
        let threads = family(&*store).await;
        let mut copies = Vec::new();
        let mut before = Vec::new();
        for thread in threads {
            copies.extend(copy_segments(&*store, thread).await);
            before.push(store.load_history(thread).await.unwrap());
        }
        for thread in threads.into_iter().rev() {
            store.delete_thread(thread).await.unwrap();
        }
        for (info, bytes) in copies.iter().rev() {
            import(&*store, info, bytes, step).await;
            // A repeated import changes nothing.
            import(&*store, info, bytes, 777).await;
        }
        for (thread, before) in threads.into_iter().zip(before) {
            let mut infos = store.list_segments(thread).await.unwrap();
            let mut copied: Vec<SegmentInfo> = copies.iter().map(|(info, _)| info.clone()).collect();
            copied.retain(|info| info.thread_id == thread);
            for info in infos.iter_mut().chain(&mut copied) {
                // Each store determines these two.
                info.created = second(0);
                info.file_name = None;
            }
            assert_eq!(infos, copied);
            assert_eq!(store.load_history(thread).await.unwrap().lines, before.lines);
        }
        assert_eq!(shown_prompts(&*store, threads[1]).await, ["a", "d", "e"]);
        continue_thread(&*store, threads[1], MODE, &["f"]).await;
        assert_eq!(shown_prompts(&*store, threads[1]).await, ["a", "d", "e", "f"]);
        for thread in threads.into_iter().rev() {
            store.delete_thread(thread).await.unwrap();
        }
    }
}

pub(super) async fn records_of_copies(store: Arc<dyn ThreadStore>) {
    // Imports a thread and its fork in both orders, and compares the records. The fork inherits facts from a source that may be missing
    // at first.
    let threads = family(&*store).await;
    let mut copies = Vec::new();
    for thread in threads {
        copies.extend(copy_segments(&*store, thread).await);
    }
    let records = || async {
        let mut records = Vec::new();
        for thread in threads {
            records.push(StoredThread { location: None, ..store.read_thread(thread).await.unwrap() });
        }
        records
    };
    let mut answers = Vec::new();
    for source_first in [true, false] {
        for thread in threads.into_iter().rev() {
            store.delete_thread(thread).await.unwrap();
        }
        for (info, bytes) in &copies {
            import(&*store, info, bytes, 1 << 20).await;
        }
        answers.push(records().await);
        if source_first {
            copies.reverse();
        }
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][1].first_user_message.as_deref(), Some("ask a"), "an inherited fact");
}

pub(super) async fn imports_are_whole(store: Arc<dyn ThreadStore>) {
    // Imports a segment in parts that leave a gap, overlap, or differ.
    let thread = record(&*store, 1, MODE, &["a"]).await;
    let (info, bytes) = copy_segments(&*store, thread).await.remove(0);
    store.delete_thread(thread).await.unwrap();
    // The bytes from `at` to `end`.
    let part =
        |at: usize, end: usize, is_last| SegmentPart { info: &info, at: at as u64, bytes: &bytes[at..end], is_last };
    assert_eq!(store.import_segment(part(0, 100, false)).await.unwrap(), 100);
    assert!(is_missing(store.read_thread(thread).await, false));
    assert!(is_invalid(store.import_segment(part(101, 120, false)).await), "a gap");
    assert_eq!(store.import_segment(part(0, 0, false)).await.unwrap(), 100, "an empty part asks for the offset");
    assert_eq!(store.import_segment(part(50, 200, false)).await.unwrap(), 200, "known bytes are compared");
    let other = SegmentPart { bytes: b"something else", ..part(0, 0, false) };
    assert!(matches!(store.import_segment(other).await, Err(StoreError::AlreadyExists { .. })));
    store.import_segment(part(200, bytes.len(), true)).await.unwrap();
    assert_eq!(shown_prompts(&*store, thread).await, ["a"]);
}

pub(super) async fn imports_extend_segments(store: Arc<dyn ThreadStore>) {
    // The source of a copy has grown since the first import. The second import adds only the rest.
    let thread = record(&*store, 1, MODE, &["a", "b"]).await;
    let (info, bytes) = copy_segments(&*store, thread).await.remove(0);
    store.delete_thread(thread).await.unwrap();
    // The first six lines after the head are the turn `a`.
    let middle = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(6).unwrap().0 + 1;
    import(&*store, &info, &bytes[..middle], 1 << 20).await;
    assert_eq!(shown_prompts(&*store, thread).await, ["a"]);
    let rest = SegmentPart { info: &info, at: middle as u64, bytes: &bytes[middle..], is_last: true };
    store.resume_thread(thread).await.unwrap();
    assert!(is_conflict(store.import_segment(rest).await));
    store.shutdown_thread(thread).await.unwrap();
    assert_eq!(store.import_segment(rest).await.unwrap(), bytes.len() as u64);
    assert_eq!(shown_prompts(&*store, thread).await, ["a", "b"]);
    // The same length, other bytes: the source of the copy was changed, which an import must not accept.
    let text = String::from_utf8(bytes.clone()).unwrap().replace("ask a", "ASK A");
    let changed = SegmentPart { info: &info, at: 0, bytes: text.as_bytes(), is_last: true };
    assert!(matches!(store.import_segment(changed).await, Err(StoreError::AlreadyExists { .. })));
}

pub(super) async fn appends_to_copies(store: Arc<dyn ThreadStore>) {
    let thread = record(&*store, 1, MODE, &["a"]).await;
    let (info, bytes) = copy_segments(&*store, thread).await.remove(0);
    let lines = store.load_history(thread).await.unwrap().lines.len() as u64;
    let last_line = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    // Cuts between lines, in all lines, and in the last line only. The newline of the last line can be missing.
    let unsealed = bytes.len() - 1;
    for (end, step) in [
        (bytes.len(), bytes.len()),
        (bytes.len(), 64),
        (bytes.len(), last_line),
        (bytes.len(), last_line + 1),
        (bytes.len(), last_line + 50),
        (bytes.len(), unsealed),
        (unsealed, unsealed),
        (unsealed, last_line + 1),
    ] {
        store.delete_thread(thread).await.unwrap();
        import(&*store, &info, &bytes[..end], step).await;
        store.resume_thread(thread).await.unwrap();
        let items = turn(MODE, "b");
        let appended = store.append_items(thread, BatchId::generate(), &items).await.unwrap();
        store.shutdown_thread(thread).await.unwrap();
        assert_eq!(appended.last_ordinal, Some(lines + items.len() as u64 - 1), "parts of {step} bytes up to {end}");
        assert_consecutive_ordinals(&store.load_history(thread).await.unwrap());
    }
}

pub(super) async fn imports_wait_for_the_writer(store: Arc<dyn ThreadStore>) {
    // A writer relies on the segments that it found. The new segment here would revert the thread under its writer.
    let thread = record(&*store, 1, MODE, &["a", "b"]).await;
    let to = TurnBoundary::After(turn_id("a"));
    store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    let copies = copy_segments(&*store, thread).await;
    store.delete_thread(thread).await.unwrap();
    let [(first, first_bytes), (second, second_bytes)] = &copies[..] else { panic!("{} segments", copies.len()) };
    import(&*store, first, first_bytes, 1 << 20).await;
    store.resume_thread(thread).await.unwrap();
    let whole = SegmentPart { info: second, at: 0, bytes: second_bytes, is_last: true };
    assert!(is_conflict(store.import_segment(whole).await));
    assert_eq!(shown_prompts(&*store, thread).await, ["a", "b"]);
    store.shutdown_thread(thread).await.unwrap();
    assert_eq!(store.import_segment(whole).await.unwrap(), second_bytes.len() as u64);
    assert_eq!(shown_prompts(&*store, thread).await, ["a"]);
}

pub(super) async fn empty_segments(store: Arc<dyn ThreadStore>) {
    // A writer can die after it has created a segment and before it has written the first line. That must not hide the history.
    let thread = record(&*store, 1, MODE, &["a", "b"]).await;
    let mut info = store.list_segments(thread).await.unwrap().remove(0);
    info.id = SegmentId::new(second(1_000_000));
    (info.created, info.file_name, info.base) = (second(1_000_000), None, None);
    for bytes in [&b""[..], b"\n"] {
        import(&*store, &info, bytes, 10).await;
        assert_eq!(shown_prompts(&*store, thread).await, ["a", "b"]);
    }
    continue_thread(&*store, thread, MODE, &["c"]).await;
    assert_eq!(shown_prompts(&*store, thread).await, ["a", "b", "c"]);
}

pub(super) async fn damaged_bytes_are_kept(store: Arc<dyn ThreadStore>) {
    // The imported segment has blank lines, bytes that are not text, null bytes, an unknown line type, and a torn last line.
    let thread = record(&*store, 1, MODE, &["a", "b"]).await;
    let (info, whole) = copy_segments(&*store, thread).await.remove(0);
    store.delete_thread(thread).await.unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut bytes = whole[..line].to_vec();
    bytes.extend_from_slice(b"\n  \nbroken \xff\xfe\n\0\0\0\0\n{\"type\":\"unheard_of\",\"payload\":7}\n");
    bytes.extend_from_slice(&whole[line..]);
    bytes.extend_from_slice(b"{\"timestamp\":\"2026-1");
    import(&*store, &info, &bytes, 100).await;
    assert!(read(&*store, &store.list_segments(thread).await.unwrap()[0], 100).await == bytes);
    let mut exported = Vec::new();
    store.export(thread, &mut exported).await.unwrap();
    assert!(exported == bytes);
    let history = store.load_history(thread).await.unwrap();
    assert_eq!(history.damage.len(), 3, "{:?}", history.damage);
    assert_eq!(shown_prompts(&*store, thread).await, ["a", "b"]);
    continue_thread(&*store, thread, MODE, &["c"]).await;
    assert_eq!(shown_prompts(&*store, thread).await, ["a", "b", "c"]);
    exported.clear();
    store.export(thread, &mut exported).await.unwrap();
    assert!(
        exported.starts_with(&bytes) && exported[bytes.len()] == b'\n',
        "the next append ends the torn line and keeps it"
    );
    assert_eq!(turn(MODE, "c").len() + history.lines.len(), store.load_history(thread).await.unwrap().lines.len());
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.list_segments(id(1)).await, false));
    let thread = record(&*store, 1, MODE, &["a"]).await;
    assert!(is_missing(store.read_segment(thread, id(2).into(), 0, 10).await, false));
    assert!(is_missing(store.read_segment(id(2), thread.into(), 0, 10).await, false));
    assert!(store.read_segment(thread, thread.into(), u64::MAX, 10).await.unwrap().is_empty());
}
