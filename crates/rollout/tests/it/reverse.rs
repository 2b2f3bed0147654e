//! The backward reader: the same entries, last one first.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use proptest::prelude::*;
use selvedge_protocol::log::{DamageKind, Entry, MAX_LINE_BYTES};
use selvedge_rollout::ReverseReader;
use tempfile::NamedTempFile;

use crate::support::{damage, read_bytes, read_file, recordings, texts};

/// Returns the entries as a backward reader yields them, without line numbers.
pub(crate) fn without_numbers(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        match entry {
            Entry::Line(record) => record.number = 0,
            Entry::Damage(damage) => damage.number = 0,
        }
    }
    entries
}

fn backwards(bytes: &[u8]) -> Vec<Entry> {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    ReverseReader::open(file.path()).unwrap().collect::<Result<_, _>>().unwrap()
}

#[track_caller]
fn check(bytes: &[u8]) {
    let mut found = backwards(bytes);
    found.reverse();
    assert!(found == without_numbers(read_bytes(bytes)), "{} bytes", bytes.len());
}

fn line(len: usize) -> String {
    let frame = r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"t","payload":""}"#;
    let text = "y".repeat(len - frame.len());
    format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"t","payload":"{text}"}}"#)
}

#[test]
fn recordings_have_the_same_entries_backwards() {
    for path in recordings() {
        let mut found: Vec<_> = ReverseReader::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        found.reverse();
        assert_eq!(found, without_numbers(read_file(&path)), "{}", path.display());
    }
}

#[test]
fn short_and_blank_files_have_the_same_entries_backwards() {
    for text in ["", "\n", "\n\n", "x", "x\n", "\nx", "{}", "{}\n", "\n{}\n\n", "\u{feff}{}\n{}", "\u{feff}"] {
        check(text.as_bytes());
    }
}

#[test]
fn newlines_around_block_boundaries_are_found() {
    // The first blocks are 16, 32 and 64 kB long, counted from the end.
    for block in [1 << 14, 3 << 14, 7 << 14] {
        for last in block - 3..block + 4 {
            for ending in ["", "\n"] {
                let text = format!("{}\n{}\n{}{ending}", line(100), line(70_000), line(last));
                check(text.as_bytes());
                // Two lines that are read as one are not valid, so that the check notices them.
                check(text.replace('{', "x").as_bytes());
            }
        }
    }
}

#[test]
fn long_and_short_lines_alternate() {
    let sizes = [80, 200_000, 80, 80, 5_000_000, 90, 16_384, 16_383, 65_536, 300_000];
    let text: String = sizes.iter().map(|size| line(*size) + "\n").collect();
    check(text.as_bytes());
    check(&text.as_bytes()[..text.len() - 5]);
}

#[test]
fn a_reader_starts_before_a_position_and_reads_no_more_than_needed() {
    let file = NamedTempFile::new().unwrap();
    let text: String = (0..5000).map(|_| line(200) + "\n").collect();
    fs::write(file.path(), &text).unwrap();
    let mut reader = ReverseReader::open(file.path()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().range(), &(4999 * 201..5000 * 201));
    assert!(reader.unread() > 900_000, "{} bytes were not read", reader.unread());

    let mut reader = ReverseReader::open_before(file.path(), 2 * 201).unwrap();
    let rest: Vec<_> = reader.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!(rest.iter().map(|entry| entry.range().start).collect::<Vec<_>>(), [201, 0]);
    assert_eq!(reader.unread(), 0);

    let within = ReverseReader::open_before(file.path(), 201 + 50).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(damage(&within), [(201..251, &DamageKind::Torn)]);
}

#[test]
fn a_line_beyond_the_limit_is_the_same_damage_backwards() {
    let mut file = NamedTempFile::new().unwrap();
    let (first, last) = (line(100), line(90));
    writeln!(file, "{first}").unwrap();
    // A sparse file takes no space on the disk.
    let end = 101 + MAX_LINE_BYTES as u64 + 5000;
    file.seek(SeekFrom::Start(end)).unwrap();
    write!(file, "\n{last}").unwrap();
    let found: Vec<_> = ReverseReader::open(file.path()).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(texts(&found), [last, first]);
    assert_eq!(damage(&found), [(101..end + 1, &DamageKind::TooLong)]);
}

#[test]
fn a_reader_ends_after_a_failure() {
    let file = NamedTempFile::new().unwrap();
    let text: String = (0..5000).map(|_| line(200) + "\n").collect();
    fs::write(file.path(), text).unwrap();
    let mut reader = ReverseReader::open(file.path()).unwrap();
    // The bytes that the reader would read next are removed from the file.
    File::options().write(true).open(file.path()).unwrap().set_len(0).unwrap();
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

/// Bytes in which newlines, lines and junk are about equally likely, long enough for several blocks.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        3 => (70_usize..300).prop_map(|len| line(len).into_bytes()),
        1 => (9_000_usize..40_000).prop_map(|len| line(len).into_bytes()),
        1 => (1_usize..20_000).prop_map(|len| vec![0; len]),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(b"\xef\xbb\xbf".to_vec()),
        1 => Just(br#"{"timestamp":"2026"#.to_vec()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_bytes_have_the_same_entries_backwards(bytes in any_bytes()) {
        check(&bytes);
    }
}
