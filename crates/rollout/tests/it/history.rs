//! Histories that go through several segments.

use std::fmt::Write;
use std::fs;

use selvedge_protocol::log::Entry;
use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{
    BackwardEntry, HistoryEntry, ResolvedHistory, RolloutFile, RolloutFileName, RolloutHome, read_head,
};
use serde_json::{Value, json};

use crate::support::{TestHome, sample_home, samples, segment, thread};

const BEGINNING: &str = r#"{"timestamp":"2026-11-21T09:08:56.680Z""#;

fn resolve(home: &RolloutHome, id: ThreadId) -> ResolvedHistory {
    ResolvedHistory::resolve(&home.files().unwrap(), id).unwrap().unwrap()
}

fn entries(history: &ResolvedHistory) -> Vec<HistoryEntry> {
    let entries: Vec<HistoryEntry> = history.reader().collect::<Result<_, _>>().unwrap();
    check_backwards(history, &entries);
    entries
}

/// Reads the history from its end, which must yield the same lines. Returns whether no forward read was needed.
fn check_backwards(history: &ResolvedHistory, entries: &[HistoryEntry]) -> bool {
    let forwards = entries.iter().filter_map(|entry| match entry {
        HistoryEntry::Entry { part, entry: Entry::Line(record) } => Some((*part, record.line.text())),
        _ => None,
    });
    let forwards: Vec<_> = forwards.collect();
    let mut left = forwards.len();
    let mut damaged = Vec::new();
    for entry in history.backwards() {
        match entry.unwrap() {
            BackwardEntry::Line { part, record } => {
                left = left.checked_sub(1).expect("no more lines than there are");
                assert_eq!((part, record.line.text()), forwards[left]);
            }
            BackwardEntry::Damage { part, damage } => damaged.push((part, damage.range)),
            BackwardEntry::NeedsForwardRead => return false,
        }
    }
    assert_eq!(left, 0, "no line is missing");
    damaged.reverse();
    let wanted = entries.iter().filter_map(|entry| match entry {
        HistoryEntry::Entry { part, entry: Entry::Damage(damage) } => Some((*part, damage.range.clone())),
        _ => None,
    });
    assert_eq!(damaged, wanted.collect::<Vec<_>>());
    true
}

/// Returns the ordinals of a history as `part:ordinal`, and what is wrong with it.
fn outline(history: &ResolvedHistory) -> String {
    let mut out = String::new();
    for entry in entries(history) {
        match entry {
            HistoryEntry::Entry { part, entry: Entry::Line(record) } => match record.line.ordinal() {
                Some(ordinal) => write!(out, "{part}:{ordinal} ").unwrap(),
                None => write!(out, "{part}:- ").unwrap(),
            },
            HistoryEntry::Entry { part, entry: Entry::Damage(_) } => write!(out, "{part}:damage ").unwrap(),
            HistoryEntry::Short { part, len } => write!(out, "{part}:short@{len} ").unwrap(),
        }
    }
    out.trim_end().to_owned()
}

fn texts(history: &ResolvedHistory) -> String {
    let mut out = String::new();
    for entry in entries(history) {
        let HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry else { panic!("{entry:?}") };
        out.push_str(record.line.text());
        out.push('\n');
    }
    out
}

fn story_thread(letter: &str) -> ThreadId {
    let text = fs::read_to_string(samples().join("story-0.169.0/expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    expected["threads"][letter].as_str().unwrap().parse().unwrap()
}

fn head_line(id: ThreadId, ordinal: u64, base: Option<Value>) -> String {
    let mut payload = json!({"id": id, "timestamp": "2026-11-21T09:08:56.660Z", "history_mode": "paginated"});
    if let Some(base) = base {
        payload["history_base"] = base;
    }
    format!("{BEGINNING},\"ordinal\":{ordinal},\"type\":\"session_meta\",\"payload\":{payload}}}\n")
}

fn line(ordinal: u64) -> String {
    format!("{BEGINNING},\"ordinal\":{ordinal},\"type\":\"event_msg\",\"payload\":{{}}}}\n")
}

fn lines(ordinals: std::ops::Range<u64>) -> String {
    ordinals.map(line).collect()
}

fn base(segment: impl Into<SegmentId>, ordinal: u64, byte: usize) -> Option<Value> {
    Some(json!({"thread_id": segment.into(), "end_ordinal_exclusive": ordinal, "end_byte_offset": byte}))
}

/// Returns a home with a thread of lines 0 to 5, and the position at which line `cut` begins.
fn home_with_base(cut: u64) -> (TestHome, usize) {
    let test = TestHome::new();
    let text = head_line(thread(1), 0, None) + &lines(1..6);
    let byte = head_line(thread(1), 0, None).len() + lines(1..cut).len();
    test.put_thread(thread(1), text);
    (test, byte)
}

#[test]
fn the_recorded_story_resolves() {
    let home = sample_home("story-0.169.0");
    let read = |history: &ResolvedHistory, part: usize| fs::read_to_string(&history.parts[part].file.path).unwrap();

    for (letter, parts, count) in [("T", 2, 128), ("F", 2, 42), ("FF", 3, 55), ("I", 1, 21), ("A", 1, 15), ("U", 1, 24)]
    {
        let history = resolve(&home, story_thread(letter));
        assert_eq!(history.parts.len(), parts, "{letter}");
        assert_eq!(history.missing, None, "{letter}");
        let mut found = Vec::new();
        for entry in entries(&history) {
            let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry else { panic!("{letter}: {entry:?}") };
            assert_eq!(history.is_inherited(part), letter.starts_with('F') && part + 1 < parts, "{letter} {part}");
            found.push(record.line.ordinal().unwrap());
        }
        assert_eq!(found, (0..count).collect::<Vec<_>>(), "{letter}: in order, none twice, none missing");
    }

    let reverted = resolve(&home, story_thread("T"));
    assert!(reverted.newest().name.later_segment.is_some());
    assert_eq!(
        texts(&reverted),
        read(&reverted, 0)[..61157].to_owned() + &read(&reverted, 1),
        "the bytes lead to the same history"
    );

    let fork_of_fork = resolve(&home, story_thread("FF"));
    let [one, two, three] = [0, 1, 2].map(|part| read(&fork_of_fork, part));
    assert_eq!(texts(&fork_of_fork), one[..17735].to_owned() + &two + &three);
}

#[test]
fn the_history_of_a_legacy_thread_is_its_file() {
    let home = sample_home("story-0.144.6");
    let files = home.files().unwrap();
    for (id, segments) in files.threads() {
        let history = resolve(&home, id);
        assert_eq!(history.parts.len(), 1);
        assert_eq!(texts(&history), fs::read_to_string(&segments[0].path).unwrap());
    }
}

#[test]
fn a_thread_that_does_not_exist_has_no_history() {
    let test = TestHome::new();
    assert_eq!(ResolvedHistory::resolve(&test.files(), thread(1)).unwrap(), None);
}

#[test]
fn a_base_can_be_compressed_or_archived() {
    let (test, byte) = home_with_base(4);
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, byte)) + &lines(5..7));
    let plain = test.files().segments(thread(1))[0].clone();
    let compressed = plain.path.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all(&fs::read(&plain.path).unwrap()[..], 3).unwrap()).unwrap();
    fs::remove_file(&plain.path).unwrap();
    let wanted = "0:0 0:1 0:2 0:3 1:4 1:5 1:6";
    assert_eq!(outline(&resolve(&test.home, thread(2))), wanted);

    let archived = test.home.archived_path(&RolloutFileName { compressed: true, ..plain.name });
    fs::create_dir_all(archived.parent().unwrap()).unwrap();
    fs::rename(compressed, archived).unwrap();
    assert_eq!(outline(&resolve(&test.home, thread(2))), wanted);
}

#[test]
fn a_missing_base_is_reported_and_the_rest_is_read() {
    let test = TestHome::new();
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, 999)) + &lines(5..7));
    let history = resolve(&test.home, thread(2));
    let missing = history.missing.clone().unwrap();
    assert_eq!((missing.segment_id, missing.end.ordinal, missing.end.byte), (thread(1).into(), Some(4), Some(999)));
    assert_eq!(outline(&history), "0:4 0:5 0:6");
}

#[test]
fn an_unreadable_base_is_missing() {
    let (test, byte) = home_with_base(4);
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, byte)));
    let files = test.files();
    fs::remove_file(&files.segments(thread(1))[0].path).unwrap();
    let history = ResolvedHistory::resolve(&files, thread(2)).unwrap().unwrap();
    assert_eq!(history.missing.as_ref().unwrap().reason, "the segment cannot be read");
    assert_eq!(outline(&history), "0:4");
    fs::remove_file(&files.segments(thread(2))[0].path).unwrap();
    ResolvedHistory::resolve(&files, thread(2)).unwrap_err();
}

#[test]
fn a_base_that_ends_too_early_is_short() {
    let (test, byte) = home_with_base(6);
    test.put_thread(thread(2), head_line(thread(2), 9, base(thread(1), 9, byte + 300)) + &lines(10..11));
    assert_eq!(outline(&resolve(&test.home, thread(2))), format!("0:0 0:1 0:2 0:3 0:4 0:5 0:short@{byte} 1:9 1:10"));

    // A base that is exactly as long as it must be.
    test.put_thread(thread(2), head_line(thread(2), 6, base(thread(1), 6, byte)));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:1 0:2 0:3 0:4 0:5 1:6");

    for empty in [base(thread(3), 2, 100), Some(json!({"thread_id": thread(3), "end_ordinal_exclusive": 2}))] {
        test.put_thread(thread(3), "");
        test.put_thread(thread(2), head_line(thread(2), 2, empty));
        assert_eq!(outline(&resolve(&test.home, thread(2))), "0:short@0 1:2");
    }
}

#[test]
fn a_base_whose_last_lines_are_skipped_is_not_short() {
    let (test, byte) = home_with_base(4);
    let skip = |line: &[u8]| !line.windows(12).any(|part| part == b"session_meta");
    let outline = || {
        let history = resolve(&test.home, thread(2));
        let entries: Vec<_> = history.reader_skipping(skip).collect::<Result<_, _>>().unwrap();
        let short = entries.iter().filter(|entry| matches!(entry, HistoryEntry::Short { .. })).count();
        (entries.len() - short, short)
    };
    for (ordinal, byte) in [(4, byte), (6, byte + 2 * line(4).len())] {
        test.put_thread(thread(2), head_line(thread(2), ordinal, base(thread(1), ordinal, byte)) + &lines(7..9));
        assert_eq!(outline(), (2, 0), "up to {ordinal}");
    }
    test.put_thread(thread(2), head_line(thread(2), 9, base(thread(1), 9, byte * 3)));
    assert_eq!(outline(), (2, 1), "but one that does end too early is");
}

#[test]
fn the_ordinal_decides_if_the_byte_contradicts_it() {
    let (test, byte) = home_with_base(4);
    for wrong in [0, 1, byte - 1, byte + 1, byte * 2] {
        test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, wrong)));
        assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:1 0:2 0:3 1:4", "byte {wrong} instead of {byte}");
    }
    let ordinal_only = json!({"thread_id": thread(1), "end_ordinal_exclusive": 4});
    test.put_thread(thread(2), head_line(thread(2), 4, Some(ordinal_only)));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:1 0:2 0:3 1:4");
}

#[test]
fn a_line_that_took_the_ordinal_of_a_lost_one_is_not_inherited() {
    // The fork inherits up to line 3, which is damaged now. The next writer of the base gave its ordinal again.
    for lost in ["x".repeat(line(3).len() - 1) + "\n", " ".repeat(line(3).len() - 1) + "\n", "\0".repeat(line(3).len())]
    {
        let (test, byte) = home_with_base(4);
        let start = head_line(thread(1), 0, None) + &lines(1..3);
        test.put_thread(thread(1), start + &lost + &lines(3..6));
        test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, byte)));
        let found = outline(&resolve(&test.home, thread(2)));
        assert_eq!(found.replace("0:damage ", ""), "0:0 0:1 0:2 1:4", "{lost:?}");
        assert_eq!(outline(&resolve(&test.home, thread(1))).replace("0:damage ", ""), "0:0 0:1 0:2 0:3 0:4 0:5");
    }
}

#[test]
fn the_byte_decides_if_there_are_no_ordinals() {
    let test = TestHome::new();
    let bare = |text: String| text.replace(r#""ordinal":"#, r#""was":"#);
    let start = bare(head_line(thread(1), 0, None) + &lines(1..4));
    test.put_thread(thread(1), start.clone() + &bare(lines(4..6)));
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, start.len())));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:- 0:- 0:- 0:- 1:4");

    // Also if the reference names no ordinal.
    let (test, byte) = home_with_base(3);
    let byte_only = json!({"thread_id": thread(1), "end_byte_offset": byte});
    test.put_thread(thread(2), head_line(thread(2), 3, Some(byte_only)));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:1 0:2 1:3");
}

#[test]
fn an_outer_base_ends_an_inner_one_earlier() {
    // Segment 1 inherits the first one up to 5. The fork inherits the history of segment 1 up to 3, before segment 1 itself begins.
    let (test, byte) = home_with_base(5);
    test.put_segment(thread(1), segment(1), head_line(thread(1), 5, base(thread(1), 5, byte)) + &lines(6..8));
    test.put_thread(thread(2), head_line(thread(2), 3, base(segment(1), 3, 0)) + &lines(4..5));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:1 0:2 2:3 2:4");
    assert_eq!(outline(&resolve(&test.home, thread(1))), "0:0 0:1 0:2 0:3 0:4 1:5 1:6 1:7");
}

#[test]
fn damage_in_a_base_is_reported_within_the_inherited_prefix_only() {
    let test = TestHome::new();
    let start = head_line(thread(1), 0, None) + "junk\n" + &lines(2..4);
    test.put_thread(thread(1), start.clone() + "more junk\n" + &lines(4..6));
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(1), 4, start.len())));
    assert_eq!(outline(&resolve(&test.home, thread(2))), "0:0 0:damage 0:2 0:3 1:4");
    assert_eq!(outline(&resolve(&test.home, thread(1))), "0:0 0:damage 0:2 0:3 0:damage 0:4 0:5");
}

#[test]
fn a_circle_of_bases_ends() {
    let test = TestHome::new();
    test.put_thread(thread(1), head_line(thread(1), 4, base(thread(1), 4, 9)));
    let own = resolve(&test.home, thread(1));
    assert_eq!((own.parts.len(), own.missing.unwrap().segment_id), (1, thread(1).into()));

    test.put_thread(thread(1), head_line(thread(1), 4, base(thread(2), 4, 9)));
    test.put_thread(thread(2), head_line(thread(2), 4, base(thread(3), 4, 9)));
    test.put_thread(thread(3), head_line(thread(3), 4, base(thread(2), 4, 9)));
    let history = resolve(&test.home, thread(1));
    assert_eq!((history.parts.len(), history.missing.as_ref().unwrap().segment_id), (3, thread(2).into()));
    assert_eq!(outline(&history).matches("2:4").count(), 1);
}

#[test]
fn a_chain_of_too_many_bases_is_cut_off() {
    // Longer than any real one. Each segment is based on the one before it.
    const COUNT: u64 = 10_003;
    let test = TestHome::new();
    let id = thread(1);
    let name = |n: u64| -> SegmentId { format!("01a1fd5d-{n:04x}-7641-837d-000000000000").parse().unwrap() };
    let mut wanted = String::new();
    let day = test.put_thread(id, head_line(id, 0, None)).parent().unwrap().to_owned();
    for n in 1..COUNT {
        let below = if n == 1 { id.into() } else { name(n - 1) };
        let text = head_line(id, n, base(below, n, 1 << 20));
        fs::write(day.join(format!("rollout-2026-11-21T09-08-56-{id}_{}.jsonl", name(n))), text).unwrap();
    }
    let history = resolve(&test.home, id);
    assert_eq!(history.parts.len(), 10_000);
    assert_eq!(history.missing.as_ref().unwrap().segment_id, name(2));
    for (part, ordinal) in (3..COUNT).enumerate() {
        write!(wanted, "{part}:{ordinal} ").unwrap();
    }
    assert!(outline(&history) == wanted.trim_end());
}

#[test]
fn a_later_segment_without_a_line_is_ignored() {
    let (test, byte) = home_with_base(4);
    let whole = head_line(thread(1), 4, base(thread(1), 4, byte));
    // Its writer died before the head was in the file.
    for begun in ["", "\n", "\0\0\0\0", &whole[..whole.len() / 2]] {
        test.put_segment(thread(1), segment(1), begun);
        let history = resolve(&test.home, thread(1));
        assert_eq!(history.newest().name.later_segment, None, "{begun:?}");
        assert_eq!(outline(&history), "0:0 0:1 0:2 0:3 0:4 0:5", "{begun:?}");
    }
    test.put_segment(thread(1), segment(1), whole);
    assert_eq!(outline(&resolve(&test.home, thread(1))), "0:0 0:1 0:2 0:3 1:4");

    // A revert to before the first turn has no base.
    test.put_segment(thread(1), segment(2), head_line(thread(1), 0, None));
    assert_eq!(outline(&resolve(&test.home, thread(1))), "0:0");

    // If no segment has a line, the newest one is used.
    let empty = TestHome::new();
    empty.put_thread(thread(5), "");
    assert_eq!(outline(&resolve(&empty.home, thread(5))), "");
    empty.put_segment(thread(5), segment(1), "");
    assert_eq!(resolve(&empty.home, thread(5)).newest().name.later_segment, Some(segment(1)));
}

#[test]
fn the_largest_ordinal_causes_no_panic() {
    let test = TestHome::new();
    test.put_thread(thread(1), head_line(thread(1), u64::MAX, None));
    test.put_thread(thread(2), head_line(thread(2), u64::MAX, base(thread(1), u64::MAX, 9999)));
    assert_eq!(outline(&resolve(&test.home, thread(2))), format!("1:{}", u64::MAX));
}

#[test]
fn a_head_behind_damage_is_found() {
    let test = TestHome::new();
    let id = thread(1);
    let head_of = |text: String| {
        let path = test.put_thread(id, text);
        let name = RolloutFileName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        read_head(&RolloutFile { path, name, archived: false }).unwrap().and_then(|head| head.id)
    };
    let own = head_line(id, 0, None);
    let other = head_line(thread(2), 0, None);
    assert_eq!(head_of(own.clone()), Some(id));
    assert_eq!(head_of(format!("\u{feff}{own}")), Some(id));
    assert_eq!(head_of(format!("\0\0\0{own}")), Some(id));
    assert_eq!(head_of(format!("\n\njunk\n{own}")), Some(id));
    assert_eq!(head_of(line(0) + &own), Some(id));
    assert_eq!(head_of(other.clone() + &own), Some(thread(2)), "a first line is the segment's own");
    assert_eq!(head_of(format!("junk\n{other}{own}")), Some(id), "a copied head is not");
    assert_eq!(head_of(format!("junk\n{other}")), None);
    assert_eq!(head_of(format!("junk{other}")), None, "what stood there may have been its own");
    assert_eq!(head_of(format!("\0\0{other}")), Some(thread(2)));
    assert_eq!(head_of(String::new()), None);
    assert_eq!(head_of(lines(0..100) + &own), None, "the head is not searched for in the whole file");
}

#[test]
fn plain_histories_can_be_read_backwards_and_others_need_a_forward_read() {
    let home = sample_home("story-0.169.0");
    for letter in ["T", "F", "FF", "I", "A", "U"] {
        let history = resolve(&home, story_thread(letter));
        assert!(check_backwards(&history, &entries(&history)), "{letter}");
    }
    // The byte and the ordinal of a reference contradict each other.
    for (ordinal, byte) in [(3, 1), (2, 2), (4, 0)] {
        let (test, at) = home_with_base(3);
        test.put_thread(thread(2), head_line(thread(2), ordinal, base(thread(1), ordinal, at + byte - 1)));
        let history = resolve(&test.home, thread(2));
        assert_eq!(check_backwards(&history, &entries(&history)), (ordinal, byte) == (3, 1), "{ordinal}, {byte}");
    }
}
