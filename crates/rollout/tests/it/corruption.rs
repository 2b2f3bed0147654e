//! Random damage: every intact line is read, and no line is invented.
//!
//! Each byte of a damaged recording has its position in the recording. So the test knows exactly what must be read and what
//! must not:
//!
//! - An *intact* line is a range that holds all bytes of a recorded line in their order. It is at a position where a line can
//!   begin (the start of the file or behind a newline; an envelope anywhere) and end (the end of the file or before a
//!   newline; an envelope also before NULs or another line). Every intact line must be yielded, with its position.
//! - An *invented* line consists of bytes that are adjacent in the recording and are not a recorded line. None may be yielded.
//! - A line with a *seam* has a changed byte, or bytes that were not adjacent. It cannot be distinguished from a line that was
//!   written like that; it must be a JSON object.

use std::cell::Cell;
use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use selvedge_protocol::log::Entry;
use selvedge_rollout::ReverseReader;
use selvedge_rollout::doctor::{diagnose, repair};

use crate::support::{TestHome, check_tiling, read_bytes, read_file, recordings, texts, thread};

/// A byte and its position in the recording.
type Byte = (u8, Option<usize>);

#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, mask: u8 },
    Zero { range: Range<usize> },
    Cut { range: Range<usize> },
    Truncate { at: usize },
    Duplicate { range: Range<usize>, to: usize },
    Splice { to: usize, bytes: Vec<u8> },
}

impl Damage {
    fn apply(self, bytes: &mut Vec<Byte>) {
        let len = bytes.len();
        let clamp = |range: Range<usize>| range.start.min(len)..range.end.min(len);
        match self {
            Self::Flip { at, mask } if at < len => bytes[at] = (bytes[at].0 ^ mask, None),
            Self::Flip { .. } => {}
            Self::Zero { range } => bytes[clamp(range)].fill((0, None)),
            Self::Cut { range } => drop(bytes.drain(clamp(range))),
            Self::Truncate { at } => bytes.truncate(at),
            Self::Duplicate { range, to } => {
                let copy = bytes[clamp(range)].to_vec();
                let to = to.min(len);
                bytes.splice(to..to, copy);
            }
            Self::Splice { to, bytes: new } => {
                let to = to.min(len);
                bytes.splice(to..to, new.into_iter().map(|byte| (byte, None)));
            }
        }
    }
}

fn any_damage(len: usize) -> impl Strategy<Value = Damage> {
    let range = move || (0..len, 0..len / 3).prop_map(|(start, size)| start..start + size);
    prop_oneof![
        (0..len, 1..=u8::MAX).prop_map(|(at, mask)| Damage::Flip { at, mask }),
        range().prop_map(|range| Damage::Zero { range }),
        range().prop_map(|range| Damage::Cut { range }),
        (0..len).prop_map(|at| Damage::Truncate { at }),
        (range(), 0..len).prop_map(|(range, to)| Damage::Duplicate { range, to }),
        (0..len, any_splice()).prop_map(|(to, bytes)| Damage::Splice { to, bytes }),
    ]
}

fn any_splice() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        prop::sample::select(vec![
            b"\n".to_vec(),
            b"\r\n".to_vec(),
            b"{".to_vec(),
            b"\"".to_vec(),
            b"\\".to_vec(),
            b"}".to_vec(),
            b"\0\0\0\0".to_vec(),
            b"\xef\xbb\xbf".to_vec(),
            br#"{"timestamp":"#.to_vec(),
            br#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"#.to_vec(),
        ]),
    ]
}

/// The number of corruptions that are tried: `SELVEDGE_CORRUPTIONS`, or a few.
fn cases() -> u32 {
    std::env::var("SELVEDGE_CORRUPTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

fn damaged() -> impl Strategy<Value = (Vec<u8>, Vec<Byte>)> {
    // The check takes time with the square of the size of a recording.
    let small = recordings().into_iter().map(|path| std::fs::read(path).unwrap()).filter(|bytes| bytes.len() < 100_000);
    prop::sample::select(small.map(std::sync::Arc::new).collect::<Vec<_>>()).prop_flat_map(|recording| {
        let recording = recording.to_vec();
        prop::collection::vec(any_damage(recording.len()), 1..6).prop_map(move |damages| {
            let mut bytes: Vec<Byte> = recording.iter().enumerate().map(|(at, byte)| (*byte, Some(at))).collect();
            damages.into_iter().for_each(|damage| damage.apply(&mut bytes));
            (recording.clone(), bytes)
        })
    })
}

/// Returns the recorded lines, without their newlines.
fn line_ranges(recording: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut ranges = Vec::new();
    for line in recording.split_inclusive(|byte| *byte == b'\n') {
        ranges.push(start..start + line.len() - 1);
        start += line.len();
    }
    ranges
}

/// Returns the range of the recording that these bytes are, if they are adjacent there.
fn origin(bytes: &[Byte]) -> Option<Range<usize>> {
    let start = bytes.first()?.1?;
    let together = bytes.iter().enumerate().all(|(index, byte)| byte.1 == Some(start + index));
    together.then_some(start..start + bytes.len())
}

/// Returns the ranges of the damaged file that are intact lines.
fn intact(recording: &[u8], bytes: &[Byte]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for line in line_ranges(recording) {
        let envelope = recording[line.clone()].starts_with(br#"{"timestamp":"#);
        for start in (0..bytes.len()).filter(|at| bytes[*at].1 == Some(line.start)) {
            let end = start + line.len();
            if end > bytes.len() || origin(&bytes[start..end]).as_ref() != Some(&line) {
                continue;
            }
            let before = start.checked_sub(1).map(|at| bytes[at].0);
            let after = bytes.get(end).map(|byte| byte.0);
            let begins = matches!(before, None | Some(b'\n'));
            let ends = matches!(after, None | Some(b'\n'));
            // An envelope at the end of the file may also be a value within a torn line.
            let spliced = matches!(after, Some(b'\n' | b'\0' | b'{'));
            if (begins && ends) || (envelope && (begins || spliced)) {
                found.push(start..end);
            }
        }
    }
    found
}

/// Counts over all corruptions.
#[derive(Default)]
struct Seen {
    files: Cell<u64>,
    intact: Cell<u64>,
    given: Cell<u64>,
    seamed: Cell<u64>,
}

impl Seen {
    fn add(counter: &Cell<u64>, count: usize) {
        counter.set(counter.get() + count as u64);
    }
}

#[test]
fn intact_lines_are_read_and_none_is_invented() {
    let seen = Seen::default();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) };
    let outcome = TestRunner::new(config).run(&damaged(), |(recording, damaged)| check(&recording, &damaged, &seen));
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let Seen { files, intact, given, seamed } = &seen;
    let (files, intact, given, seamed) = (files.get(), intact.get(), given.get(), seamed.get());
    println!(
        "corruptions: {files} files, {intact} intact lines, all read; {given} lines given, 0 invented, {seamed} with a seam"
    );
}

fn check(recording: &[u8], damaged: &[Byte], seen: &Seen) -> Result<(), TestCaseError> {
    let bytes: Vec<u8> = damaged.iter().map(|byte| byte.0).collect();
    let entries = read_bytes(bytes.clone());
    check_tiling(&bytes, &entries);

    let lines = line_ranges(recording);
    let mut given = Vec::new();
    for entry in &entries {
        let Entry::Line(record) = entry else { continue };
        let range = usize::try_from(record.range.start).unwrap()..usize::try_from(record.range.end).unwrap();
        let text = &bytes[range.clone()];
        let start = range.start + (text.len() - text.trim_ascii_start().len());
        let range = start..start + record.line.text().len();
        match origin(&damaged[range.clone()]) {
            Some(origin) => prop_assert!(lines.contains(&origin), "invented: {}", record.line.text()),
            None => {
                let value: serde_json::Result<serde_json::Value> = serde_json::from_str(record.line.text());
                prop_assert!(value.is_ok_and(|value| value.is_object()), "no object: {}", record.line.text());
                Seen::add(&seen.seamed, 1);
            }
        }
        given.push(range);
    }
    let intact = intact(recording, damaged);
    for range in &intact {
        let line = String::from_utf8_lossy(&bytes[range.clone()]);
        prop_assert!(given.contains(range), "not read: {line}");
    }
    Seen::add(&seen.files, 1);
    Seen::add(&seen.intact, intact.len());
    Seen::add(&seen.given, given.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases() / 3) })]

    #[test]
    fn backwards_is_forwards_reversed_also_on_damage((_, damaged) in damaged()) {
        let bytes: Vec<u8> = damaged.iter().map(|byte| byte.0).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let mut backwards: Vec<_> = ReverseReader::open(file.path()).unwrap().collect::<Result<_, _>>().unwrap();
        backwards.reverse();
        prop_assert_eq!(crate::reverse::without_numbers(read_bytes(bytes)), backwards);
    }

    #[test]
    fn a_repaired_file_holds_every_line_and_no_damage((_, damaged) in damaged()) {
        let bytes: Vec<u8> = damaged.iter().map(|byte| byte.0).collect();
        let test = TestHome::new();
        let path = test.put_thread(thread(1), &bytes);
        let before = read_bytes(bytes.clone());
        let found = diagnose(&test.home, None, &|_| {}).unwrap();
        let steps = repair(&test.home, &found, false);
        prop_assert!(steps.iter().all(|step| step.error.is_none()), "{:?}", steps);
        let after = read_file(&path);
        let texts = texts(&after);
        let new_head = texts.len() - crate::support::texts(&before).len();
        prop_assert!(new_head <= 1);
        prop_assert_eq!(&texts[new_head..], crate::support::texts(&before));
        prop_assert!(after.iter().all(|entry| matches!(entry, Entry::Line(_))));
        let left = diagnose(&test.home, None, &|_| {}).unwrap().findings;
        let left: Vec<_> = left.iter().filter(|finding| finding.is_repairable).collect();
        prop_assert!(left.is_empty(), "{:?}", left);
    }
}
