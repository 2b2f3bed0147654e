//! The fuzz targets: functions that take any bytes and panic if a promise is broken.
//!
//! The test suite calls each of them with a small corpus. `cargo xtask fuzz TARGET` runs one with libFuzzer, which
//! searches for inputs that break it. Inputs that did are kept in `fuzz/found`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use selvedge_history::{MetadataFold, TurnProjection, replay, replay_lines};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    CwdFilter, DirectoryFilter, DirectoryPath, RolloutItem, RolloutLine, SegmentId, SortDirection, ThreadCursor,
    ThreadId, ThreadSortKey, Timestamp, WorldState, WorldStateRecord,
};
use selvedge_rollout::doctor;
use selvedge_rollout::{ReverseReader, RolloutFile, RolloutFileName, RolloutReader};

/// A target with its name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("line", line),
    ("readers", readers),
    ("world_state", world_state),
    ("replay", replay_items),
    ("repair", repair),
    ("texts", texts),
    ("zst", zst),
];

/// Input: one line. A parsed line keeps its text, and a line that is written from its item has the same content.
pub fn line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(line) = RolloutLine::parse(text) else { return };
    assert_eq!(line.text(), text.trim_matches([' ', '\t', '\r', '\n']));
    let item = line.item();
    let _ = (line.extra(), line.as_copied_head());
    let mut written = Vec::new();
    RolloutLine::encode(&mut written, Timestamp::default(), line.ordinal(), &item);
    let written = std::str::from_utf8(&written).expect("a line is UTF-8");
    let (newline, rest) = (written.ends_with('\n'), &written[..written.len() - 1]);
    assert!(newline && !rest.contains('\n'), "exactly one line with its newline");
    let again = RolloutLine::parse(rest).expect("a written line can be parsed");
    assert_eq!(again.ordinal(), line.ordinal());
    // An input can contain a field twice, of which one is kept. So the first writing can differ from the input, and
    // only the second one must equal the first.
    let mut twice = Vec::new();
    RolloutLine::encode(&mut twice, Timestamp::default(), again.ordinal(), &again.item());
    assert_eq!(std::str::from_utf8(&twice), Ok(written));
}

/// Input: a whole file. The forward and the backward reader agree, and their entries cover all bytes that are not
/// blank.
pub fn readers(bytes: &[u8]) {
    let forwards = read(bytes);
    // Entries are in order, do not overlap, and leave out only white space. `end` is the end of the entry before.
    let mut end = 0;
    for entry in &forwards {
        let range = index(entry.range().start)..index(entry.range().end);
        assert!(range.start >= end && range.end >= range.start, "entries do not overlap");
        assert!(is_blank(&bytes[end..range.start]), "only white space is between entries");
        if let Entry::Line(record) = entry {
            assert_eq!(record.line.text().as_bytes(), trim(&bytes[range.clone()]));
        }
        end = range.end;
    }
    assert!(is_blank(&bytes[end..]), "only white space is at the end");

    let file = temporary(bytes);
    let mut backwards: Vec<Entry> = ReverseReader::open(file.path())
        .expect("the file was created")
        .collect::<Result<_, _>>()
        .expect("the file can be read");
    backwards.reverse();
    assert_eq!(outline(&forwards), outline(&backwards));
}

/// Input: two JSON values. As snapshots, their difference changes one to the other, also when both go through a log.
pub fn world_state(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The input has both values one after the other, so that the fuzzer can mutate them together.
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let (Some(Ok(old)), Some(Ok(next))) = (values.next(), values.next()) else { return };
    let (Ok(old), Ok(next)) = (WorldState::new(old), WorldState::new(next)) else { return };
    let mut patched = old.clone();
    match old.diff(&next) {
        None => assert_eq!(old, next),
        Some(patch) => {
            patched.apply(&patch);
            assert_eq!(patched, next);
            assert_ne!(old, next, "a patch changes something");
            let records = [WorldStateRecord::snapshot(&old), WorldStateRecord::patch(patch)];
            let items: Vec<RolloutItem> = records.into_iter().map(RolloutItem::WorldState).collect();
            let lines: Vec<RolloutLine> =
                items.iter().map(|item| RolloutLine::new(Timestamp::default(), None, item)).collect();
            assert_eq!(replay_lines(&lines).world_state, Some(next));
        }
    }
}

/// Input: a file. All folds accept any sequence of its items, and a replay of lines equals a replay of items.
pub fn replay_items(bytes: &[u8]) {
    let entries = read(bytes);
    let lines: Vec<&RolloutLine> = entries
        .iter()
        .filter_map(|entry| if let Entry::Line(record) = entry { Some(&record.line) } else { None })
        .collect();
    let items: Vec<RolloutItem> = lines.iter().map(|line| line.item()).collect();
    let context = replay(&items);
    assert_eq!(replay_lines(lines.iter().copied()).history, context.history);
    // These folds have no result to compare with; they must only not panic.
    let mut turns = TurnProjection::new();
    let mut row = MetadataFold::new(name().thread_id, Timestamp::default());
    for (position, line) in (0..).zip(&lines) {
        turns.push(position, line);
        row.observe_line(line);
    }
    let _ = (turns.finish(), row.into_thread());
}

/// Input: the length of a prefix to which other files refer (two bytes, little endian), and a file. The repaired file
/// contains every intact line, and the lines of the prefix are still at their offsets.
pub fn repair(bytes: &[u8]) {
    let Some((keep, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let keep = u64::from(u16::from_le_bytes(*keep));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = RolloutFile { path: folder.path().join(NAME), name: name(), archived: false };
    fs::write(&file.path, bytes).expect("the file can be written");
    for keep in [0, keep] {
        // Once without references, when lines can move, and once with the prefix of the input.
        let mut repaired = Vec::new();
        let plan = doctor::write_repaired(&file, keep, &mut repaired).expect("the file can be read");
        let (before, after) = (read(bytes), read(&repaired));
        let new_head = usize::from(plan.new_head);
        assert_eq!(lines(&after)[new_head..], lines(&before));
        if plan.left.is_empty() {
            assert!(after.iter().all(|entry| matches!(entry, Entry::Line(_))), "all damage is repaired");
        }
        for (before, after) in kept_offsets(&before, bytes, keep).zip(text_offsets(&after, &repaired).skip(new_head)) {
            assert_eq!(before, after, "a line of the prefix keeps its offset");
        }
        // A repaired file needs no repair.
        if plan.left.is_empty() {
            fs::write(&file.path, &repaired).expect("the file can be written");
            let again = doctor::write_repaired(&file, keep, &mut std::io::sink()).expect("the file can be read");
            assert!(!again.changes_anything(), "{again:?} after {plan:?}");
            fs::write(&file.path, bytes).expect("the file can be written");
        }
    }
}

/// Input: a text that a user or a file contains. Each parser refuses it, or accepts it and writes it back in its only
/// spelling.
pub fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<ThreadId>() {
        assert_eq!(id.to_string().parse::<ThreadId>().ok(), Some(id));
    }
    if let Ok(id) = text.parse::<SegmentId>() {
        let _ = id.made_at();
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        assert_eq!(at.to_string().parse::<Timestamp>().ok(), Some(at));
    }
    if let Some(name) = RolloutFileName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(directory) = DirectoryPath::new(text) {
        let short = directory.to_string();
        assert_eq!(
            DirectoryPath::new(&short).map(|again| (again.key(), again.to_string())),
            Some((directory.key(), short))
        );
        assert!(DirectoryFilter::new(&[CwdFilter::Under(text.to_owned())]).matches(text));
    }
    let cursor = selvedge_protocol::Cursor::from(text.to_owned());
    let _ = cursor.position();
    for sort in [ThreadSortKey::UpdatedAt, ThreadSortKey::CreatedAt, ThreadSortKey::RecencyAt] {
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            if let Ok(decoded) = ThreadCursor::decode(&cursor, sort, direction) {
                let again = ThreadCursor::decode(&decoded.encode(sort, direction), sort, direction);
                assert_eq!(again.ok(), Some(decoded));
            }
        }
    }
}

/// Input: the bytes of a compressed file, and also the bytes to compress. Whatever can be decompressed is read, also
/// from a frame that is cut off.
pub fn zst(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path: PathBuf = folder.path().join("x.jsonl.zst");
    fs::write(&path, bytes).expect("the file can be written");
    let read_file = || -> Vec<Entry> {
        RolloutReader::open(&path)
            .expect("the file was created")
            .collect::<Result<_, _>>()
            .expect("the file can be read")
    };
    // Not a valid frame as a rule; it must only not panic.
    let _ = read_file();
    let frame = zstd::encode_all(bytes, 1).expect("memory can be compressed");
    fs::write(&path, &frame).expect("the file can be written");
    assert_eq!(read_file(), read(bytes));
    fs::write(&path, &frame[..frame.len() / 2]).expect("the file can be written");
    let whole = read(bytes);
    let (whole, cut) = (lines(&whole), read_file());
    // The last line of a cut file can be the beginning of a longer one that looks complete, such as `{}` of `{}x`.
    let cut = lines(&cut);
    let certain = cut.len().saturating_sub(1);
    assert_eq!(cut[..certain], whole[..certain.min(whole.len())]);
}

/// The file name for targets that need a file with a name.
const NAME: &str = "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl";

/// The parsed [`NAME`].
fn name() -> RolloutFileName {
    RolloutFileName::parse(NAME).expect("the constant is a valid name")
}

/// Reads all entries of a file forwards.
fn read(bytes: &[u8]) -> Vec<Entry> {
    let reader = RolloutReader::from_bytes(Cursor::new(bytes.to_vec()));
    reader.collect::<Result<_, _>>().expect("memory can be read")
}

/// Writes bytes to a temporary file.
fn temporary(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(bytes).expect("the file can be written");
    file
}

/// Returns the texts of the intact lines.
fn lines(entries: &[Entry]) -> Vec<&str> {
    let lines = entries.iter().filter_map(|entry| match entry {
        Entry::Line(record) => Some(record.line.text()),
        Entry::Damage(_) => None,
    });
    lines.collect()
}

/// Returns the offsets at which the texts of the intact lines begin.
fn text_offsets<'a>(entries: &'a [Entry], bytes: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
    entries.iter().filter_map(|entry| match entry {
        Entry::Line(record) => {
            let text = &bytes[index(record.range.start)..index(record.range.end)];
            let indent = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            Some(record.range.start + indent as u64)
        }
        Entry::Damage(_) => None,
    })
}

/// Returns the offsets of the lines that begin before `keep`.
fn kept_offsets<'a>(entries: &'a [Entry], bytes: &'a [u8], keep: u64) -> impl Iterator<Item = u64> + 'a {
    let kept = entries.iter().take_while(move |entry| entry.range().start < keep);
    let count = kept.filter(|entry| matches!(entry, Entry::Line(_))).count();
    text_offsets(entries, bytes).take(count)
}

/// Returns the entries without their line numbers, which the backward reader does not know.
fn outline(entries: &[Entry]) -> Vec<(Option<&str>, std::ops::Range<u64>, String)> {
    entries
        .iter()
        .map(|entry| {
            let (text, kind) = match entry {
                Entry::Line(record) => (Some(record.line.text()), String::new()),
                Entry::Damage(damage) => (None, damage.kind.to_string()),
            };
            (text, entry.range().clone(), kind)
        })
        .collect()
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn trim(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Converts an offset to an index in memory.
fn index(at: u64) -> usize {
    usize::try_from(at).expect("the offset is in memory")
}
