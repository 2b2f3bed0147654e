//! Every kind of damage: intact lines are read, forward and backward, and the thread can be continued.

use std::fs;
use std::io::Write;
use std::path::Path;

use selvedge_protocol::log::Entry;
use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, SegmentId, SessionMeta, ThreadId};
use selvedge_rollout::{BackwardEntry, ResolvedHistory, ReverseReader, RolloutHome, RolloutReader};
use selvedge_thread_store::{BatchId, ThreadHistory, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::faults::scratch_dir;
use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id, second};

/// Line `n` of a paginated thread.
pub(crate) fn line(n: u64) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-21T09:06:39.000Z\",\"ordinal\":{n},\"type\":\"response_item\",\"payload\":{{\"type\":\
         \"message\",\"role\":\"user\",\"content\":[{{\"type\":\"input_text\",\"text\":\"äöü {n}\"}}]}}}}\n"
    )
}

pub(crate) fn lines(ordinals: std::ops::Range<u64>) -> String {
    ordinals.map(line).collect()
}

pub(crate) fn head_line(meta: SessionMeta, ordinal: u64) -> String {
    let mut bytes = Vec::new();
    selvedge_protocol::RolloutLine::encode(&mut bytes, second(0), Some(ordinal), &RolloutItem::from(meta));
    String::from_utf8(bytes).unwrap()
}

fn own_head() -> String {
    head_line(head(1, HistoryMode::Paginated), 0)
}

/// Returns a head with a base: the history of `base` before `ordinal` and `byte`.
pub(crate) fn based_head(n: u32, base: SegmentId, ordinal: u64, byte: u64) -> String {
    let base = selvedge_protocol::HistoryBase {
        thread_id: Some(base),
        end_ordinal_exclusive: Some(ordinal),
        end_byte_offset: Some(byte),
        ..Default::default()
    };
    head_line(SessionMeta { history_base: Some(base), ..head(n, HistoryMode::Paginated) }, ordinal)
}

/// One kind of damage to a file.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// The ordinals of the intact lines; `-` for a line without one.
    read: &'static str,
    /// The ordinal that the next line gets.
    next: Option<u64>,
    /// Whether the reader reports damage.
    is_damage: bool,
}

fn cases() -> Vec<Case> {
    let whole = own_head() + &lines(1..5);
    let torn = |n: u64, cut: usize| line(n).as_bytes()[..line(n).len() - cut].to_vec();
    let join = |parts: &[&[u8]]| parts.concat();
    let no_ordinal = |n: u64| line(n).replace(&format!("\"ordinal\":{n},"), "");
    let foreign = head_line(head(9, HistoryMode::Paginated), 0);
    let case = |name, bytes: Vec<u8>, read, next, is_damage| Case { name, bytes, read, next, is_damage };
    vec![
        case("nothing is wrong", whole.clone().into(), "0 1 2 3 4", Some(5), false),
        case("last line torn", join(&[whole.as_bytes(), &torn(5, 9)]), "0 1 2 3 4", Some(5), true),
        case(
            "last line torn within a character",
            {
                let at = line(5).find('ö').unwrap() + 1;
                join(&[whole.as_bytes(), &line(5).as_bytes()[..at]])
            },
            "0 1 2 3 4",
            Some(5),
            true,
        ),
        case("last line without its newline", whole.trim_end().into(), "0 1 2 3 4", Some(5), false),
        case(
            "torn line with another spliced on",
            join(&[whole.as_bytes(), &torn(5, 9), line(6).as_bytes()]),
            "0 1 2 3 4 6",
            Some(7),
            true,
        ),
        case(
            "torn line, then a newline",
            join(&[whole.as_bytes(), &torn(5, 9), b"\n", line(6).as_bytes()]),
            "0 1 2 3 4 6",
            Some(7),
            true,
        ),
        case(
            "two lines without a newline between",
            (whole.clone() + line(5).trim_end() + &line(6)).into(),
            "0 1 2 3 4 5 6",
            Some(7),
            false,
        ),
        case(
            "NUL block inside",
            join(&[whole.as_bytes(), &[0; 4096], line(5).as_bytes()]),
            "0 1 2 3 4 5",
            Some(6),
            true,
        ),
        case("NUL tail", join(&[whole.as_bytes(), &[0; 4096]]), "0 1 2 3 4", Some(5), true),
        case(
            "NUL tail after a torn line",
            join(&[whole.as_bytes(), &torn(5, 9), &[0; 512]]),
            "0 1 2 3 4",
            Some(5),
            true,
        ),
        case("nothing but NULs", vec![0; 4096], "", None, true),
        case(
            "invalid UTF-8",
            {
                let mut bytes = (whole.clone() + &line(5)).into_bytes();
                let at = own_head().len() + line(1).len() + 150;
                bytes[at] = 0xff;
                bytes
            },
            "0 1 3 4 5",
            Some(6),
            true,
        ),
        case("last line without ordinal", (whole.clone() + &no_ordinal(5)).into(), "0 1 2 3 4 -", Some(5), false),
        case("repeated ordinal", (whole.clone() + &line(4) + &line(5)).into(), "0 1 2 3 4 4 5", Some(6), false),
        case("repeated ordinal at the end", (whole.clone() + &line(4)).into(), "0 1 2 3 4 4", Some(5), false),
        case("an older block again at the end", (whole.clone() + &lines(2..4)).into(), "0 1 2 3 4 2 3", Some(5), false),
        case("gap in the ordinals", (whole.clone() + &lines(8..10)).into(), "0 1 2 3 4 8 9", Some(10), false),
        case("missing first line", lines(1..5).into(), "1 2 3 4", Some(5), false),
        case(
            "broken first line",
            join(&[b"{\"timestamp\":\"2026-11\n", lines(1..5).as_bytes()]),
            "1 2 3 4",
            Some(5),
            true,
        ),
        case("first line of another thread", (foreign.clone() + &lines(1..5)).into(), "0 1 2 3 4", Some(5), false),
        case("first line of another kind", ("{}\n".to_owned() + &lines(1..5)).into(), "- 1 2 3 4", Some(5), false),
        case("byte order mark", join(&[b"\xef\xbb\xbf", whole.as_bytes()]), "0 1 2 3 4", Some(5), true),
        case("CRLF", whole.replace('\n', "\r\n").into(), "0 1 2 3 4", Some(5), false),
        case("blank lines", whole.replace('\n', "\n\n \t\n").into(), "0 1 2 3 4", Some(5), false),
        case("empty file", Vec::new(), "", None, false),
        case(
            "unknown kinds",
            (whole.clone() + &line(5).replace("response_item", "of_tomorrow")).into(),
            "0 1 2 3 4 5",
            Some(6),
            false,
        ),
        case("the lines of another thread under this name", (foreign + &lines(1..3)).into(), "0 1 2", Some(3), false),
    ]
}

fn ordinals<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let lines = entries.into_iter().filter_map(|entry| match entry {
        Entry::Line(record) => {
            Some(record.line.ordinal().map_or_else(|| "-".to_owned(), |ordinal| ordinal.to_string()))
        }
        Entry::Damage(_) => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn ranges(entries: &[Entry]) -> Vec<(bool, std::ops::Range<u64>)> {
    entries.iter().map(|entry| (matches!(entry, Entry::Line(_)), entry.range().clone())).collect()
}

/// Reads a file forward and backward, which must return the same.
fn read_both_ways(path: &Path, name: &str) -> Vec<Entry> {
    let forwards: Vec<Entry> = RolloutReader::open(path).unwrap().collect::<Result<_, _>>().unwrap();
    let mut backwards: Vec<Entry> = ReverseReader::open(path).unwrap().collect::<Result<_, _>>().unwrap();
    backwards.reverse();
    assert_eq!(ranges(&forwards), ranges(&backwards), "{name}");
    forwards
}

fn texts(history: &ThreadHistory) -> Vec<&str> {
    history.lines.iter().map(selvedge_protocol::RolloutLine::text).collect()
}

/// Appends to a thread and checks that old and new lines can be read. Returns the ordinal of the new line.
async fn append_and_check(store: &LocalThreadStore, thread_id: ThreadId, name: &str) -> Option<u64> {
    let before = store.load_history(thread_id).await.unwrap();
    store.resume_thread(thread_id).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let item = RolloutItem::from(ResponseItem::user_text("goes on"));
    let appended = store.append_items(thread_id, BatchId::generate(), std::slice::from_ref(&item)).await.unwrap();
    store.shutdown_thread(thread_id).await.unwrap();
    let after = store.load_history(thread_id).await.unwrap();
    let (last, rest) = after.lines.split_last().unwrap();
    assert!(last.text().contains("goes on") && last.ordinal() == appended.last_ordinal, "{name}: {last:?}");
    let heads = usize::try_from(appended.lines).unwrap() - 1;
    assert_eq!(texts(&before), texts(&after)[..rest.len() - heads], "{name}");
    assert_eq!(after.damage.len(), before.damage.len(), "{name}: the tail is sealed and swallows nothing");
    appended.last_ordinal
}

#[tokio::test]
async fn every_kind_of_damage_is_skipped_and_the_thread_can_be_continued() {
    for Case { name, bytes, read, next, is_damage } in cases() {
        let home = TestHome::empty();
        let path = home.put(id(1), &bytes);
        let entries = read_both_ways(&path, name);
        assert_eq!(ordinals(&entries), read, "{name}");
        assert_eq!(entries.iter().any(|entry| matches!(entry, Entry::Damage(_))), is_damage, "{name}");
        let history = home.store.load_history(id(1)).await.unwrap();
        assert_eq!(history.lines.len(), read.split_whitespace().count(), "{name}");
        assert_eq!(!history.damage.is_empty(), is_damage, "{name}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}: reading changed the file");

        assert_eq!(append_and_check(&home.store, id(1), name).await, next, "{name}");
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&bytes), "{name}: what was there stays");
        read_both_ways(&path, name);

        // The same bytes compressed: they are decompressed before the append.
        let home = TestHome::empty();
        let path = home.put(id(1), b"");
        fs::remove_file(&path).unwrap();
        fs::write(path.with_extension("jsonl.zst"), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
        assert_eq!(home.store.load_history(id(1)).await.unwrap().lines, history.lines, "{name}, compressed");
        assert_eq!(append_and_check(&home.store, id(1), name).await, next, "{name}, compressed");
    }
}

/// Puts a file of thread 1 into an empty home, reads its history, and continues it. Returns the lines that were read, whether
/// damage was reported, and the ordinal of the next line.
async fn read_and_continue(root: &Path, extension: &str, bytes: &[u8]) -> (Vec<String>, bool, Option<u64>) {
    let _ = fs::remove_dir_all(root);
    let day = root.join("sessions/2026/11/21");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join(format!("rollout-2026-11-21T09-09-03-{}.{extension}", id(1))), bytes).unwrap();
    let store = LocalThreadStore::open_with(root, IndexLocation::Disabled);
    let history = store.load_history(id(1)).await.unwrap();
    let read: Vec<String> = texts(&history).into_iter().map(str::to_owned).collect();
    store.resume_thread(id(1)).await.unwrap_or_else(|error| panic!("{} bytes: {error}", bytes.len()));
    let appended =
        store.append_items(id(1), BatchId::generate(), &[ResponseItem::user_text("goes on").into()]).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    let after = store.load_history(id(1)).await.unwrap();
    let after = texts(&after);
    let heads = usize::from(read.is_empty() && appended.lines > 1);
    assert_eq!(after[..after.len() - 1 - heads], read, "{} bytes", bytes.len());
    assert!(after[after.len() - 1].contains("goes on"), "{} bytes", bytes.len());
    (read, !history.damage.is_empty(), appended.last_ordinal)
}

#[tokio::test]
async fn a_file_cut_at_any_byte_can_be_continued() {
    let whole = own_head() + &lines(1..3);
    let dir = scratch_dir();
    for cut in 1..whole.len() {
        let left = &whole.as_bytes()[..cut];
        // A complete line counts without its newline, too.
        let wanted =
            (1..=3).rev().find(|n| whole.lines().take(*n).map(|line| line.len() + 1).sum::<usize>() <= cut + 1);
        let wanted: Vec<&str> = whole.lines().take(wanted.unwrap_or(0)).collect();
        let (read, is_damage, next) = read_and_continue(dir.path(), "jsonl", left).await;
        assert_eq!(read, wanted, "cut at {cut}");
        let is_torn = wanted.iter().map(|line| line.len() + 1).sum::<usize>() < cut;
        assert_eq!(is_damage, is_torn, "cut at {cut}");
        assert_eq!(next, (!wanted.is_empty()).then_some(wanted.len() as u64), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_compressed_file_cut_at_any_byte_continues_after_what_decompresses() {
    // Each line is a block of its own, as in a file that was flushed line by line.
    let whole = own_head() + &lines(1..4);
    let dir = scratch_dir();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut ends = Vec::new();
    for line in whole.split_inclusive('\n') {
        encoder.write_all(line.as_bytes()).unwrap();
        encoder.flush().unwrap();
        ends.push(encoder.get_ref().len());
    }
    let frame = encoder.finish().unwrap();
    // A file without a line cannot be continued.
    for cut in ends[0]..frame.len() {
        let wanted: Vec<&str> = whole.lines().take(ends.iter().filter(|end| **end <= cut).count()).collect();
        let (read, is_damage, next) = read_and_continue(dir.path(), "jsonl.zst", &frame[..cut]).await;
        assert_eq!(read, wanted, "cut at {cut}");
        assert!(is_damage, "cut at {cut}");
        assert_eq!(next, Some(wanted.len() as u64), "cut at {cut}");
    }
    for cut in 0..ends[0] {
        let home = TestHome::empty().without_index();
        let path = home.put(id(1), b"");
        fs::remove_file(&path).unwrap();
        fs::write(path.with_extension("jsonl.zst"), &frame[..cut]).unwrap();
        assert_eq!(home.store.load_history(id(1)).await.unwrap().lines, [], "cut at {cut}");
        assert!(home.store.resume_thread(id(1)).await.is_err(), "cut at {cut}");
        assert_eq!(fs::read(path.with_extension("jsonl.zst")).unwrap(), frame[..cut], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_large_compressed_file_that_is_cut_keeps_what_decompresses() {
    // Several blocks, so that some are complete before the cut.
    let text: String = (1..4000).map(|n| line(n).replace("äöü", &n.to_string().repeat(9))).collect();
    let whole = own_head() + &text;
    let frame = zstd::encode_all(whole.as_bytes(), 1).unwrap();
    let mut most = 0;
    for cut in (0..frame.len()).step_by(frame.len() / 23) {
        let home = TestHome::empty();
        let path = home.put(id(1), b"").with_extension("jsonl.zst");
        fs::remove_file(path.with_extension("")).unwrap();
        fs::write(&path, &frame[..cut]).unwrap();
        let history = home.store.load_history(id(1)).await.unwrap();
        let read = texts(&history).join("\n");
        assert!(whole.starts_with(&read), "cut at {cut}");
        assert!(cut == 0 || !history.damage.is_empty(), "cut at {cut}");
        most = most.max(history.lines.len());
        if history.lines.is_empty() {
            continue;
        }
        home.store.resume_thread(id(1)).await.unwrap();
        let item = RolloutItem::from(ResponseItem::user_text("goes on"));
        let appended = home.store.append_items(id(1), BatchId::generate(), &[item]).await.unwrap();
        assert_eq!(appended.last_ordinal, Some(history.lines.len() as u64), "cut at {cut}");
        home.store.shutdown_thread(id(1)).await.unwrap();
        let kept = home.files().into_iter().find(|path| path.to_string_lossy().contains(".zst.damaged-")).unwrap();
        assert_eq!(fs::read(kept).unwrap(), frame[..cut], "the damaged file is kept");
    }
    assert!(most > 2000, "{most} lines of a nearly whole file");
}

/// Returns a home in which thread 2 has thread 1 before ordinal 4 as its base.
fn fork_home(base: &[u8], byte: u64) -> TestHome {
    let home = TestHome::empty();
    home.put(id(1), base);
    home.put(id(2), based_head(2, id(1).into(), 4, byte) + &lines(5..7));
    home
}

/// Resolves a history and reads it both ways, backward as far as that is possible.
fn resolve(home: &TestHome, thread_id: ThreadId) -> ResolvedHistory {
    let files = RolloutHome::new(home.path()).files().unwrap();
    let resolved = ResolvedHistory::resolve(&files, thread_id).unwrap().unwrap();
    let mut forwards: Vec<String> = Vec::new();
    for entry in resolved.reader() {
        if let selvedge_rollout::HistoryEntry::Entry { entry: Entry::Line(record), .. } = entry.unwrap() {
            forwards.push(record.line.text().to_owned());
        }
    }
    let mut left = forwards.len();
    for entry in resolved.backwards() {
        match entry.unwrap() {
            BackwardEntry::Line { record, .. } => {
                left -= 1;
                assert_eq!(record.line.text(), forwards[left]);
            }
            BackwardEntry::Damage { .. } => {}
            BackwardEntry::NeedsForwardRead => return resolved,
        }
    }
    assert_eq!(left, 0);
    resolved
}

#[tokio::test]
async fn a_thread_with_a_damaged_base_reports_which_part_of_its_history_is_missing() {
    let start = own_head() + &lines(1..4);
    let byte = start.len() as u64;
    let broken = start.replacen("\"ordinal\":2", "\"ordinal\":#", 1);
    let cases: [(&str, Option<Vec<u8>>, usize, &str); 6] = [
        ("nothing is wrong", Some((start.clone() + &lines(4..6)).into()), 7, ""),
        ("no base", None, 3, "there is no such segment in this home"),
        (
            "base too short",
            Some((own_head() + &lines(1..3)).into()),
            6,
            "the file ends before the part of it that this thread builds on",
        ),
        ("base empty", Some(Vec::new()), 3, "the file ends before the part of it that this thread builds on"),
        ("base torn", Some(start.as_bytes()[..start.len() - 9].to_vec()), 6, "the file ends within the line"),
        ("base with a broken line", Some((broken + &lines(4..6)).into()), 6, "not a JSON object"),
    ];
    for (name, base, count, reason) in cases {
        let home = fork_home(&base.clone().unwrap_or_default(), byte);
        if base.is_none() {
            let base = home.files().into_iter().find(|path| path.to_string_lossy().contains(&id(1).to_string()));
            fs::remove_file(base.unwrap()).unwrap();
        }
        resolve(&home, id(2));
        let history = home.store.load_history(id(2)).await.unwrap();
        assert_eq!(history.lines.len(), count, "{name}");
        let reported: Vec<String> = history.damage.iter().map(ToString::to_string).collect();
        assert_eq!(!reported.is_empty(), !reason.is_empty(), "{name}: {reported:?}");
        assert!(reported.iter().all(|text| text.contains(&id(1).to_string())), "{name}: {reported:?}");
        assert!(reason.is_empty() || reported.iter().any(|text| text.contains(reason)), "{name}: {reported:?}");
        // The model context reports it, too.
        let context = home.store.load_model_context(id(2)).await.unwrap();
        assert_eq!(context.warnings.is_empty(), reason.is_empty(), "{name}: {:?}", context.warnings);
        assert!(reason.is_empty() || context.warnings.iter().any(|text| text.contains(reason)), "{name}");
        assert_eq!(append_and_check(&home.store, id(2), name).await, Some(7), "{name}");
        if base.is_some() {
            // The fork does not inherit what is appended to its base later.
            append_and_check(&home.store, id(1), name).await;
            let after = home.store.load_history(id(2)).await.unwrap();
            let inherited = texts(&after).iter().filter(|text| text.contains("goes on")).count();
            assert_eq!(
                inherited,
                if name == "base too short" || name == "base empty" { inherited } else { 1 },
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn a_context_that_does_not_reach_the_missing_part_does_not_report_it() {
    let compaction = "{\"timestamp\":\"2026-11-21T09:06:39.000Z\",\"ordinal\":6,\"type\":\"compacted\",\"payload\":{\"message\":\"s\",\
                      \"replacement_history\":[]}}\n";
    let started = "{\"timestamp\":\"2026-11-21T09:06:39.000Z\",\"ordinal\":5,\"type\":\"event_msg\",\"payload\":{\"type\":\
                   \"task_started\",\"turn_id\":\"t\"}}\n";
    let home = TestHome::empty();
    home.put(id(2), based_head(2, id(1).into(), 4, 900) + started + compaction + &lines(7..9));
    let history = home.store.load_history(id(2)).await.unwrap();
    assert_eq!(history.damage.len(), 1);
    let context = home.store.load_model_context(id(2)).await.unwrap();
    assert_eq!(context.history.len(), 2);
}

#[tokio::test]
async fn circles_of_bases_end_and_are_reported() {
    let home = TestHome::empty();
    home.put(id(1), based_head(1, id(2).into(), 4, 900) + &lines(5..7));
    home.put(id(2), based_head(2, id(1).into(), 4, 900) + &lines(5..7));
    for n in [1, 2] {
        resolve(&home, id(n));
        let history = home.store.load_history(id(n)).await.unwrap();
        assert!(history.damage[0].reason.contains("refer to each other in a circle"), "{:?}", history.damage);
        assert!(history.lines.len() >= 3);
        assert_eq!(append_and_check(&home.store, id(n), "circle").await, Some(7));
    }
}

#[tokio::test]
async fn of_two_files_of_one_segment_the_same_one_is_read_and_continued() {
    let home = TestHome::empty();
    let path = home.put(id(1), own_head() + &lines(1..4));
    let archived = home.path().join("archived_sessions").join(path.file_name().unwrap());
    fs::create_dir_all(archived.parent().unwrap()).unwrap();
    fs::write(&archived, own_head() + &lines(1..3)).unwrap();
    let compressed = path.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all((own_head() + &line(8)).as_bytes(), 1).unwrap()).unwrap();
    let others = [fs::read(&archived).unwrap(), fs::read(&compressed).unwrap()];
    assert_eq!(append_and_check(&home.store, id(1), "two files").await, Some(4));
    assert_eq!(home.store.list_threads(&Default::default()).await.unwrap().items.len(), 1);
    assert_eq!([fs::read(&archived).unwrap(), fs::read(&compressed).unwrap()], others);
}

#[tokio::test]
async fn the_name_of_a_file_determines_its_thread() {
    let home = TestHome::empty();
    home.put(id(1), head_line(head(9, HistoryMode::Paginated), 0) + &lines(1..4));
    let thread = home.store.read_thread(id(1)).await.unwrap();
    assert_eq!(thread.id, id(1));
    assert!(home.store.read_thread(id(9)).await.is_err());
    assert_eq!(append_and_check(&home.store, id(1), "foreign").await, Some(4));
}
