//! What the fuzz targets do with any bytes: plain functions that panic when a promise is broken.
//!
//! The test suite calls each of them on a small corpus; `cargo xtask fuzz TARGET` lets libFuzzer look for worse.

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use selvedge_history::{MetadataFold, TurnProjection, replay, replay_lines};
use selvedge_protocol::{
    RolloutItem, RolloutLine, SegmentId, SortDirection, ThreadCursor, ThreadId, ThreadSortKey, Timestamp, WorldState,
    WorldStateRecord,
};
use selvedge_rollout::doctor::mend;
use selvedge_rollout::{Entry, ReverseReader, RolloutFile, RolloutFileName, RolloutReader};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("line", line),
    ("readers", readers),
    ("world_state", world_state),
    ("replay", replay_items),
    ("repair", repair),
    ("texts", texts),
    ("zst", zst),
];

/// One line: what is parsed keeps its text, and what is written anew says the same.
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
    assert!(newline && !rest.contains('\n'), "one line, and ended");
    let again = RolloutLine::parse(rest).expect("what was written is a line");
    assert_eq!(again.ordinal(), line.ordinal());
    // Of a field that is given twice one is kept, so that only what was written once is the same ever after.
    let mut twice = Vec::new();
    RolloutLine::encode(&mut twice, Timestamp::default(), again.ordinal(), &again.item());
    assert_eq!(std::str::from_utf8(&twice), Ok(written));
}

/// A whole file: the readers agree, and what they give is all of it.
pub fn readers(bytes: &[u8]) {
    let forwards = read(bytes);
    let mut end = 0;
    for entry in &forwards {
        let range = place(entry.range().start)..place(entry.range().end);
        assert!(range.start >= end && range.end >= range.start, "entries do not overlap");
        assert!(is_blank(&bytes[end..range.start]), "nothing is left out");
        if let Entry::Line(record) = entry {
            assert_eq!(record.line.text().as_bytes(), trim(&bytes[range.clone()]));
        }
        end = range.end;
    }
    assert!(is_blank(&bytes[end..]), "nothing is left out at the end");

    let file = temporary(bytes);
    let mut backwards: Vec<Entry> =
        ReverseReader::open(file.path()).expect("it was made").collect::<Result<_, _>>().expect("it can be read");
    backwards.reverse();
    assert_eq!(outline(&forwards), outline(&backwards));
}

/// Two values: the difference of two snapshots makes one of the other, also through the log.
pub fn world_state(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let (Some(Ok(old)), Some(Ok(next))) = (values.next(), values.next()) else { return };
    let (Ok(old), Ok(next)) = (WorldState::new(old), WorldState::new(next)) else { return };
    let mut patched = old.clone();
    match old.diff(&next) {
        None => assert_eq!(old, next),
        Some(patch) => {
            patched.apply(&patch);
            assert_eq!(patched, next);
            assert_ne!(old, next, "no patch is empty");
            let records = [WorldStateRecord::snapshot(&old), WorldStateRecord::patch(patch)];
            let items: Vec<RolloutItem> = records.into_iter().map(RolloutItem::WorldState).collect();
            let lines: Vec<RolloutLine> =
                items.iter().map(|item| RolloutLine::new(Timestamp::default(), None, item)).collect();
            assert_eq!(replay_lines(&lines).world_state, Some(next));
        }
    }
}

/// Any sequence of items: the folds take it.
pub fn replay_items(bytes: &[u8]) {
    let entries = read(bytes);
    let lines: Vec<&RolloutLine> = entries
        .iter()
        .filter_map(|entry| if let Entry::Line(record) = entry { Some(&record.line) } else { None })
        .collect();
    let items: Vec<RolloutItem> = lines.iter().map(|line| line.item()).collect();
    let context = replay(&items);
    assert_eq!(replay_lines(lines.iter().copied()).history, context.history);
    let mut turns = TurnProjection::new();
    let mut row = MetadataFold::new(name().thread_id, Timestamp::default());
    for (position, line) in (0..).zip(&lines) {
        turns.push(position, line);
        row.observe_line(line);
    }
    let _ = (turns.finish(), row.into_thread());
}

/// A file and how many of its first bytes others refer to: what is repaired holds every intact line, in its place where it
/// has to be.
pub fn repair(bytes: &[u8]) {
    let Some((keep, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let keep = u64::from(u16::from_le_bytes(*keep));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = RolloutFile { path: folder.path().join(NAME), name: name(), archived: false };
    fs::write(&file.path, bytes).expect("it can be written");
    for keep in [0, keep] {
        let mut mended = Vec::new();
        let plan = mend(&file, keep, &mut mended).expect("it can be read");
        let (before, after) = (read(bytes), read(&mended));
        let new_head = usize::from(plan.new_head);
        assert_eq!(lines(&after)[new_head..], lines(&before));
        if plan.left.is_empty() {
            assert!(after.iter().all(|entry| matches!(entry, Entry::Line(_))), "no damage is left");
        }
        for (before, after) in kept_places(&before, bytes, keep).zip(places(&after, &mended).skip(new_head)) {
            assert_eq!(before, after, "it stays where it is");
        }
        // What was mended needs no mending.
        if plan.left.is_empty() {
            fs::write(&file.path, &mended).expect("it can be written");
            let again = mend(&file, keep, &mut std::io::sink()).expect("it can be read");
            assert!(!again.changes_anything(), "{again:?} after {plan:?}");
            fs::write(&file.path, bytes).expect("it can be written");
        }
    }
}

/// Texts that people and files give: each is refused, or has one spelling.
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

/// A compressed file, made of these bytes or of a cut frame of them: what decompresses is read.
pub fn zst(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path: PathBuf = folder.path().join("x.jsonl.zst");
    fs::write(&path, bytes).expect("it can be written");
    let read_file = || -> Vec<Entry> {
        RolloutReader::open(&path).expect("it was made").collect::<Result<_, _>>().expect("it can be read")
    };
    let _ = read_file();
    let frame = zstd::encode_all(bytes, 1).expect("memory can be compressed");
    fs::write(&path, &frame).expect("it can be written");
    assert_eq!(read_file(), read(bytes));
    fs::write(&path, &frame[..frame.len() / 2]).expect("it can be written");
    let whole = read(bytes);
    let (whole, cut) = (lines(&whole), read_file());
    // The last line of a cut file may be the beginning of one that only looks whole.
    let cut = lines(&cut);
    let sure = cut.len().saturating_sub(1);
    assert_eq!(cut[..sure], whole[..sure.min(whole.len())]);
}

const NAME: &str = "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl";

fn name() -> RolloutFileName {
    RolloutFileName::parse(NAME).expect("it is a name")
}

fn read(bytes: &[u8]) -> Vec<Entry> {
    let reader = RolloutReader::from_bytes(Cursor::new(bytes.to_vec()));
    reader.collect::<Result<_, _>>().expect("memory can be read")
}

fn temporary(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(bytes).expect("it can be written");
    file
}

fn lines(entries: &[Entry]) -> Vec<&str> {
    let lines = entries.iter().filter_map(|entry| match entry {
        Entry::Line(record) => Some(record.line.text()),
        Entry::Damage(_) => None,
    });
    lines.collect()
}

/// Where the texts of the lines begin.
fn places<'a>(entries: &'a [Entry], bytes: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
    entries.iter().filter_map(|entry| match entry {
        Entry::Line(record) => {
            let text = &bytes[place(record.range.start)..place(record.range.end)];
            let indent = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            Some(record.range.start + indent as u64)
        }
        Entry::Damage(_) => None,
    })
}

/// The same of those that begin before a byte.
fn kept_places<'a>(entries: &'a [Entry], bytes: &'a [u8], keep: u64) -> impl Iterator<Item = u64> + 'a {
    let kept = entries.iter().take_while(move |entry| entry.range().start < keep);
    let count = kept.filter(|entry| matches!(entry, Entry::Line(_))).count();
    places(entries, bytes).take(count)
}

/// What entries are, without line numbers, which the backward reader does not know.
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

fn place(at: u64) -> usize {
    usize::try_from(at).expect("it is a place in memory")
}
