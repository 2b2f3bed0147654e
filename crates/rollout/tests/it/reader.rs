//! The forward reader: every intact line, and every range that is none.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use selvedge_protocol::log::{DamageKind, Entry, MAX_LINE_BYTES};
use selvedge_protocol::{LineFormat, RolloutItem};
use selvedge_rollout::{RolloutError, RolloutReader};

use crate::support::{basic, check_tiling, damage, ordinals, read_bytes, read_file, recordings, texts};

const A: &str =
    r#"{"timestamp":"2026-11-21T09:08:56.680Z","ordinal":0,"type":"event_msg","payload":{"type":"a","x":"ä"}}"#;
const B: &str =
    r#"{"timestamp":"2026-11-21T09:08:56.681Z","ordinal":1,"type":"novelty","payload":[1.50,null],"metadata":{}}"#;
const C: &str = r#"{"timestamp":"2026-11-21T09:08:56.682Z","ordinal":2,"type":"event_msg","payload":{"type":"c"}}"#;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn not_json(kind: &DamageKind) -> bool {
    matches!(kind, DamageKind::NotJson { .. })
}

#[test]
fn every_line_of_every_recording_is_read_with_its_bytes() {
    for path in recordings() {
        let bytes = fs::read(&path).unwrap();
        let entries = read_file(&path);
        assert!(damage(&entries).is_empty(), "{}", path.display());
        let wanted: Vec<_> = str::from_utf8(&bytes).unwrap().lines().collect();
        assert_eq!(texts(&entries), wanted, "{}", path.display());

        let mut end = 0;
        for (index, entry) in entries.iter().enumerate() {
            let Entry::Line(record) = entry else { panic!("{entry:?}") };
            assert_eq!(record.range.start, end, "each line begins where the one before ends");
            assert_eq!(record.number, index as u64 + 1);
            end = record.range.end;
            assert_eq!(bytes[usize::try_from(end).unwrap() - 1], b'\n', "a range holds its newline");
        }
        assert_eq!(end, bytes.len() as u64);
    }
}

#[test]
fn an_empty_file_and_blank_lines_yield_nothing() {
    assert_eq!(read_bytes(""), []);
    assert_eq!(read_bytes("\n\n \t\r\n\n  "), []);
    let entries = read_bytes(format!("\n\n{A}\n \n\r\n{B}\n\n"));
    assert_eq!(texts(&entries), [A, B]);
    let Entry::Line(second) = &entries[1] else { panic!() };
    assert_eq!(second.number, 6, "blank lines count as lines");
}

#[test]
fn a_torn_last_line_is_damage_and_an_intact_one_without_newline_is_a_line() {
    let whole = format!("{A}\n{B}");
    assert_eq!(texts(&read_bytes(whole.clone())), [A, B]);

    let torn = &whole.as_bytes()[..whole.len() - 1];
    let entries = read_bytes(torn);
    assert_eq!(texts(&entries), [A]);
    assert_eq!(damage(&entries), [(A.len() as u64 + 1..torn.len() as u64, &DamageKind::Torn)]);
}

#[test]
fn a_line_torn_within_a_character_is_torn() {
    let cut = A.find('ä').unwrap() + 1;
    let bytes = join(&[B.as_bytes(), b"\n", &A.as_bytes()[..cut]]);
    let entries = read_bytes(bytes);
    assert_eq!(texts(&entries), [B]);
    assert_eq!(damage(&entries)[0].1, &DamageKind::Torn);
}

#[test]
fn a_line_spliced_on_a_torn_one_is_read() {
    for cut in 1..A.len() {
        let bytes = join(&[&A.as_bytes()[..cut], B.as_bytes(), b"\n", C.as_bytes(), b"\n"]);
        let entries = read_bytes(bytes.clone());
        assert_eq!(texts(&entries), [B, C], "torn at {cut}");
        assert_eq!(entries[0].range(), &(0..cut as u64));
        assert_eq!(entries[1].range(), &(cut as u64..(cut + B.len() + 1) as u64), "the newline belongs to the line");
        check_tiling(&bytes, &entries);
    }
}

#[test]
fn lines_that_lost_their_newlines_are_read() {
    for separator in ["", " ", "\r", "\0", "\0\0\0"] {
        let bytes = format!("{A}{separator}{B}{separator}{C}\n");
        let entries = read_bytes(bytes.clone());
        assert_eq!(texts(&entries), [A, B, C], "{separator:?}");
        check_tiling(bytes.as_bytes(), &entries);
    }
}

#[test]
fn a_file_that_lost_all_its_newlines_is_read() {
    for version in ["0.36.0", "0.58.0", "0.118.0"] {
        let text = String::from_utf8(basic(version)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let thrice = [lines.clone(), lines.clone(), lines].concat();
        for separator in ["", "\r"] {
            let entries = read_bytes(thrice.join(separator));
            assert_eq!(texts(&entries), thrice);
            assert_eq!(damage(&entries), []);
        }
    }
}

#[test]
fn a_torn_line_that_ends_with_a_newline_costs_no_other_line() {
    let torn = &A[..A.len() - 9];
    let entries = read_bytes(format!("{B}\n{torn}\n{C}\n"));
    assert_eq!(texts(&entries), [B, C]);
    let start = B.len() as u64 + 1;
    assert_eq!(entries[1].range(), &(start..start + torn.len() as u64 + 1));
    assert!(not_json(damage(&entries)[0].1));
}

#[test]
fn blocks_of_nuls_cost_no_line() {
    let nuls = [0; 4096];
    let before = join(&[&nuls, A.as_bytes(), b"\n", B.as_bytes(), b"\n"]);
    let entries = read_bytes(before);
    assert_eq!(texts(&entries), [A, B]);
    assert_eq!(damage(&entries), [(0..4096, &DamageKind::Nul)]);

    let after = join(&[A.as_bytes(), &nuls, b"\n", B.as_bytes(), b"\n"]);
    let entries = read_bytes(after);
    assert_eq!(texts(&entries), [A, B]);
    assert_eq!(damage(&entries)[0].1, &DamageKind::Nul);

    let own_line = join(&[A.as_bytes(), b"\n", &nuls, b"\n", B.as_bytes(), b"\n"]);
    let entries = read_bytes(own_line);
    assert_eq!(texts(&entries), [A, B]);
    assert_eq!(damage(&entries)[0].1, &DamageKind::Nul);

    let tail = join(&[A.as_bytes(), b"\n", &nuls]);
    let entries = read_bytes(tail);
    assert_eq!(texts(&entries), [A]);
    assert_eq!(damage(&entries), [(A.len() as u64 + 1..A.len() as u64 + 1 + 4096, &DamageKind::Nul)]);

    let inside =
        join(&[A.as_bytes(), b"\n", &B.as_bytes()[..60], &nuls, &B.as_bytes()[60..], b"\n", C.as_bytes(), b"\n"]);
    let entries = read_bytes(inside);
    assert_eq!(texts(&entries), [A, C]);
}

#[test]
fn invalid_utf8_costs_its_own_line_only() {
    let mut broken = B.as_bytes().to_vec();
    broken[70] = 0xff;
    let bytes = join(&[A.as_bytes(), b"\n", &broken, b"\n", C.as_bytes(), b"\n"]);
    let entries = read_bytes(bytes);
    assert_eq!(texts(&entries), [A, C]);
    assert_eq!(damage(&entries)[0].1, &DamageKind::InvalidUtf8);

    let spliced = join(&[&broken, C.as_bytes(), b"\n"]);
    assert_eq!(texts(&read_bytes(spliced)), [C]);
}

#[test]
fn a_byte_order_mark_costs_no_line() {
    let entries = read_bytes(format!("\u{feff}{A}\n{B}\n"));
    assert_eq!(texts(&entries), [A, B]);
    assert_eq!(damage(&entries), [(0..3, &DamageKind::ByteOrderMark)]);
    assert_eq!(entries[1].range(), &(3..A.len() as u64 + 4));
    assert_eq!(texts(&read_bytes(format!("{A}\n\u{feff}{B}\n"))), [A, B], "also where two files were joined");
    assert_eq!(damage(&read_bytes("\u{feff}")), [(0..3, &DamageKind::ByteOrderMark)]);
}

#[test]
fn crlf_belongs_to_the_range_and_not_to_the_text() {
    let bytes = format!("{A}\r\n{B}\r\n");
    let entries = read_bytes(bytes.clone());
    assert_eq!(texts(&entries), [A, B]);
    assert_eq!(entries[0].range(), &(0..A.len() as u64 + 2));
    assert_eq!(entries[1].range().end, bytes.len() as u64);
}

#[test]
fn a_line_that_is_no_object_is_damage() {
    for junk in ["[]", "null", "12", "\"text\"", "hello", "{", "}", "{]", "{\"a\":1}{\"b\":2}", "{\"a\":\"\u{1}\"}"] {
        let entries = read_bytes(format!("{A}\n{junk}\n{B}\n"));
        assert_eq!(texts(&entries), [A, B], "{junk:?}");
        let start = A.len() as u64 + 1;
        let range = start..start + junk.len() as u64 + 1;
        let found = damage(&entries);
        assert!(found.len() == 1 && found[0].0 == range && not_json(found[0].1), "{junk:?}: {found:?}");
    }
}

#[test]
fn unknown_kinds_and_shapes_are_lines() {
    let lines = [
        r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"from_the_future","payload":{"k":[1,{"é":1.0e2}]},"new":true}"#,
        r#"{"type":"event_msg","payload":null}"#,
        r#"{"timestamp":17,"ordinal":"seven","type":["x"],"payload":{}}"#,
        "{}",
        r#"{"record_type":"state"}"#,
    ];
    let entries = read_bytes(lines.join("\n"));
    assert_eq!(texts(&entries), lines);
}

#[test]
fn lines_before_the_envelope_are_read() {
    let entries = read_bytes(basic("0.20.0"));
    assert_eq!(damage(&entries), []);
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Line(record) => {
                assert_eq!(record.line.format(), LineFormat::Bare);
                record.line.kind().to_owned()
            }
            Entry::Damage(_) => unreachable!(),
        })
        .collect();
    assert_eq!(kinds[0], "session_meta");
    assert!(kinds.iter().any(|kind| kind == "response_item"), "{kinds:?}");
}

#[test]
fn a_missing_or_foreign_first_line_costs_no_other_line() {
    let text = String::from_utf8(basic("0.58.0")).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    let wanted: Vec<_> = rest.lines().collect();
    assert_eq!(texts(&read_bytes(rest)), wanted);
    let foreign = format!("#!/bin/sh\n{rest}");
    let entries = read_bytes(foreign);
    assert_eq!(texts(&entries), wanted);
    assert_eq!(entries[0].range(), &(0..10));
}

#[test]
fn json_ten_thousand_deep_is_a_line() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(10_000), close.repeat(10_000));
        let in_payload =
            format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{{"d":{deep}}}}}"#);
        let beside = format!(r#"{{"x":{deep},"type":"event_msg","payload":{{"type":"error"}}}}"#);
        let entries = read_bytes(format!("{A}\n{in_payload}\n{beside}\n{B}\n"));
        assert_eq!(texts(&entries), [A, &in_payload, &beside, B]);
        for entry in &entries {
            let Entry::Line(record) = entry else { panic!() };
            let _: RolloutItem = record.line.item();
        }
        let torn = &in_payload[..in_payload.len() - 5000];
        assert_eq!(texts(&read_bytes(format!("{A}\n{torn}{B}\n"))), [A, B]);
    }
}

#[test]
fn a_file_truncated_at_any_byte_yields_its_intact_lines_and_no_other() {
    for version in ["0.20.0", "0.36.0"] {
        let bytes = basic(version);
        let text = str::from_utf8(&bytes).unwrap();
        let ends: Vec<_> = text.lines().scan(0, |at, line| Some((*at + line.len(), *at += line.len() + 1).0)).collect();
        for cut in 0..=bytes.len() {
            let entries = read_bytes(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(texts(&entries), text.lines().take(whole).collect::<Vec<_>>(), "{version} cut at {cut}");
            let torn = damage(&entries);
            let start = if whole == 0 { 0 } else { ends[whole - 1] + 1 };
            if cut > start {
                assert_eq!(torn, [(start as u64..cut as u64, &DamageKind::Torn)], "{version} cut at {cut}");
            } else {
                assert_eq!(torn, [], "{version} cut at {cut}");
            }
        }
    }
}

#[test]
fn an_object_inside_a_torn_line_is_no_line() {
    let nested = [
        r#"{"timestamp":"2026-11-21T09:00:00.000Z","level":"info"}"#,
        r#"{"timestamp":12}"#,
        r#"{"timestamp":"2026-11-21T09:00:00.000Z","type":"event_msg"}"#,
        // A complete envelope, as the output of a tool that reads logs may contain it.
        r#"{"timestamp":"2026-11-21T09:00:00.000Z","type":"event_msg","payload":{"type":"x"}}"#,
    ];
    for inner in nested {
        let outer = format!(
            r#"{{"timestamp":"2026-11-21T09:08:56.682Z","type":"event_msg","payload":{{"q":"\"{{\\","r":{inner},"l":[{inner},{inner}]}}}}"#
        );
        for cut in 1..outer.len() {
            let torn = &outer[..cut];
            assert_eq!(texts(&read_bytes(format!("{A}\n{torn}"))), [A], "cut at {cut}: {torn}");
        }
        assert_eq!(texts(&read_bytes(format!("{A}\n{outer}"))), [A, &outer]);
    }
}

#[test]
fn many_objects_inside_a_torn_line_do_not_hide_the_line_behind_it() {
    let inner = r#"{"timestamp":"2026-11-21T09:00:00.000Z","level":"info"},"#.repeat(500);
    let torn = format!(r#"{{"timestamp":"2026-11-21T09:08:56.682Z","type":"event_msg","payload":{{"log":[{inner}"#);
    assert_eq!(texts(&read_bytes(format!("{torn}{B}\n{C}\n"))), [B, C]);
}

#[test]
fn a_range_full_of_line_beginnings_takes_no_quadratic_time() {
    // Only at the end of the range is it known that none of the beginnings is a line.
    let mut bytes = br#"{"timestamp":"#.repeat(40_000);
    bytes.extend_from_slice(format!("\n{A}\n").as_bytes());
    let begun = std::time::Instant::now();
    assert_eq!(texts(&read_bytes(bytes)), [A]);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn skipped_lines_are_not_yielded() {
    let text = format!("{A}\n{B}\njunk\n{C}\n");
    let skip_b = |line: &[u8]| line.ends_with(b"\"metadata\":{}}\n") || line == b"junk\n";
    let reader = RolloutReader::from_bytes(io::Cursor::new(text.clone())).skipping(skip_b);
    let found: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    let all = read_bytes(text);
    assert_eq!(found, [all[0].clone(), all[3].clone()], "positions and numbers are the same");
}

#[test]
fn the_beginning_of_a_long_line_is_enough_to_skip_it() {
    static LONGEST: AtomicUsize = AtomicUsize::new(0);
    fn skip_b(line: &[u8]) -> bool {
        LONGEST.fetch_max(line.len(), Ordering::Relaxed);
        line.starts_with(&B.as_bytes()[..50])
    }
    let long =
        |line: &str| line.replacen("\"metadata\":", &format!("\"x\":\"{}\",\"metadata\":", "y".repeat(5 << 20)), 1);
    for end in ["\n", ""] {
        let text = format!("{A}\n{}\n{C}\n{}{end}", long(B), long(B));
        let reader = RolloutReader::from_bytes(io::Cursor::new(text.clone())).skipping(skip_b);
        let found: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
        let all = read_bytes(text);
        assert_eq!(found, [all[0].clone(), all[2].clone()], "positions and numbers are the same");
    }
    let longest = LONGEST.load(Ordering::Relaxed);
    assert!(longest < 1 << 18, "{longest} bytes of a line were kept");
}

#[test]
fn a_range_of_a_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl");
    fs::write(&path, format!("{A}\n{B}\n{C}\n")).unwrap();
    let (b, c) = (A.len() as u64 + 1, (A.len() + B.len()) as u64 + 2);
    let read = |range| RolloutReader::open_range(&path, range).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let entries = read(b..c);
    assert_eq!(texts(&entries), [B]);
    assert_eq!(entries[0].range(), &(b..c), "positions are those of the file");
    assert_eq!(texts(&read(b..u64::MAX)), [B, C]);
    assert_eq!(read(1 << 40..u64::MAX), []);
}

#[test]
fn a_reader_fails_only_if_the_system_fails() {
    let dir = tempfile::tempdir().unwrap();
    let missing = RolloutReader::open(&dir.path().join("no such file")).unwrap_err();
    assert_eq!(missing.io_kind(), Some(io::ErrorKind::NotFound));
    let Ok(mut directory) = RolloutReader::open(dir.path()) else { return };
    assert!(matches!(directory.next(), Some(Err(RolloutError::Io { .. }))));
    assert!(directory.next().is_none(), "it ends after a failure");
}

/// Yields the same line again and again, and counts how much was read at a time and in total.
struct Tap {
    line: Vec<u8>,
    at: usize,
    left: u64,
    given: Arc<AtomicU64>,
    largest: Arc<AtomicU64>,
}

impl Read for Tap {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.largest.fetch_max(out.len() as u64, Ordering::Relaxed);
        let len = out.len().min(self.line.len() - self.at).min(usize::try_from(self.left).unwrap());
        out[..len].copy_from_slice(&self.line[self.at..self.at + len]);
        self.at = (self.at + len) % self.line.len();
        self.left -= len as u64;
        self.given.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

#[test]
fn memory_is_bounded_whatever_the_size_of_the_file() {
    let (given, largest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let line = format!("{A}\n").repeat(1000).into_bytes();
    let left = 50 * line.len() as u64;
    let tap = Tap { line, at: 0, left, given: given.clone(), largest: largest.clone() };
    let mut count = 0;
    for entry in RolloutReader::from_bytes(tap) {
        let ahead = given.load(Ordering::Relaxed) - entry.unwrap().range().end;
        assert!(ahead <= 1 << 18, "{ahead} bytes were read ahead");
        count += 1;
    }
    assert_eq!(count, 50_000);
    assert!(largest.load(Ordering::Relaxed) <= 1 << 18, "the buffer grew to {largest:?}");
}

#[test]
fn a_line_of_a_hundred_megabytes_is_read() {
    let text = "x".repeat(100 << 20);
    let long = format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{{"m":"{text}"}}}}"#);
    drop(text);
    let len = long.len() as u64;
    let bytes = format!("{A}\n{long}\n{B}\n");
    drop(long);
    let entries = read_bytes(bytes);
    assert_eq!(entries.len(), 3);
    assert!(matches!(&entries[1], Entry::Line(record) if record.line.text().len() as u64 == len));
    assert_eq!(texts(&entries[2..]), [B]);
}

#[test]
fn a_line_beyond_the_limit_is_damage_and_is_not_kept_in_memory() {
    let largest = Arc::new(AtomicU64::new(0));
    let size = MAX_LINE_BYTES as u64 + (1 << 20);
    let block = Tap { line: vec![b'x'; 1 << 20], at: 0, left: size, given: Arc::default(), largest: largest.clone() };
    let bytes = io::Cursor::new(format!("{A}\n")).chain(block).chain(io::Cursor::new(format!("\n{B}\n")));
    let entries: Vec<_> = RolloutReader::from_bytes(bytes).collect::<Result<_, _>>().unwrap();
    assert_eq!(texts(&entries), [A, B]);
    let start = A.len() as u64 + 1;
    assert_eq!(damage(&entries), [(start..start + size + 1, &DamageKind::TooLong)]);
    let Entry::Line(last) = &entries[2] else { panic!() };
    assert_eq!(last.number, 3);
    assert_eq!(ordinals(&entries), [Some(0), Some(1)]);
}
