//! A cached home has the same files as a new scan.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use selvedge_rollout::{CachedHome, HomeFiles, RolloutFile, RolloutFileName};

use crate::support::{TestHome, put, segment, thread};

/// A change to a file.
#[derive(Clone, Debug)]
enum Op {
    /// The file is written, in the directory of this day.
    Put(u8),
    /// The file is written into the archive.
    PutArchived,
    Remove(u8),
    RemoveArchived,
    /// The directory of a day is removed.
    RemoveDay(u8),
    /// The file moves from the directory of this day to the archive.
    Archive(u8),
}

fn ops() -> impl Strategy<Value = Vec<(u8, Op)>> {
    let day = || 1_u8..4;
    let op = prop_oneof![
        4 => day().prop_map(Op::Put),
        1 => Just(Op::PutArchived),
        2 => day().prop_map(Op::Remove),
        1 => Just(Op::RemoveArchived),
        1 => day().prop_map(Op::RemoveDay),
        2 => day().prop_map(Op::Archive),
    ];
    prop::collection::vec((0_u8..12, op), 1..30)
}

/// Returns the name of one of the segments of three threads, plain or compressed.
fn name_of(which: u8) -> RolloutFileName {
    let text = match which % 6 {
        0 | 1 => format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(1)),
        2 => format!("rollout-2026-11-21T09-08-57-{}_{}.jsonl", thread(1), segment(1)),
        3 => format!("rollout-2026-11-21T09-08-58-{}_{}.jsonl", thread(1), segment(2)),
        4 => format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(2)),
        _ => format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(3)),
    };
    RolloutFileName { compressed: which >= 6, ..RolloutFileName::parse(&text).unwrap() }
}

fn apply(test: &TestHome, which: u8, op: &Op) {
    let name = name_of(which).to_string();
    let day = |day: &u8| test.home.sessions_dir().join(format!("2026/11/{day:02}"));
    let archived = test.home.archived_dir().join(&name);
    // A file that does not exist cannot be removed or moved, which is no error here.
    match op {
        Op::Put(on) => drop(put(&day(on).join(name), b"{}\n")),
        Op::PutArchived => drop(put(&archived, b"{}\n")),
        Op::Remove(on) => drop(fs::remove_file(day(on).join(name))),
        Op::RemoveArchived => drop(fs::remove_file(archived)),
        Op::RemoveDay(on) => drop(fs::remove_dir_all(day(on))),
        Op::Archive(on) => {
            fs::create_dir_all(test.home.archived_dir()).unwrap();
            drop(fs::rename(day(on).join(name), archived));
        }
    }
}

/// Returns everything that a set of files contains: the segments of each thread in their order, and all of its files.
fn content(files: &HomeFiles) -> Vec<(Vec<RolloutFile>, Vec<PathBuf>)> {
    let threads = (1..=3).map(thread).map(|id| {
        let mut all: Vec<PathBuf> = files.all_files(id).map(|file| file.path.clone()).collect();
        all.sort();
        for file in files.segments(id) {
            assert_eq!(files.segment(file.name.segment_id()), Some(file));
        }
        (files.segments(id).to_vec(), all)
    });
    let threads: Vec<_> = threads.collect();
    let listed = files.threads().map(|(_, segments)| segments.len()).sum::<usize>();
    assert_eq!(listed, threads.iter().map(|(segments, _)| segments.len()).sum::<usize>());
    for n in 1..=2 {
        let is_there = threads.iter().flat_map(|(files, _)| files).any(|file| file.name.segment_id() == segment(n));
        assert_eq!(files.segment(segment(n)).is_some(), is_there);
    }
    threads
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_cached_home_follows_every_change(ops in ops()) {
        let test = TestHome::new();
        let cached_home = CachedHome::new(test.home.clone());
        let mut held = Vec::new();
        for (which, op) in &ops {
            apply(&test, *which, op);
            let files = cached_home.files().unwrap();
            prop_assert_eq!(content(&files), content(&test.home.files().unwrap()), "after {:?} of {:?}", op, name_of(*which));
            held.push((content(&files), files));
        }
        // A set of files that a caller holds does not change.
        for (was, files) in held {
            prop_assert_eq!(content(&files), was);
        }
    }
}

#[test]
fn concurrent_callers_find_the_same_files() {
    let test = TestHome::new();
    for n in 1..=3 {
        test.put_thread(thread(n), "{}\n");
    }
    let cached_home = CachedHome::new(test.home.clone());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(cached_home.files().unwrap().threads().count(), 3)));
        }
    });
}

#[test]
fn a_missing_home_is_empty_and_a_file_in_the_place_of_a_directory_is_left_out() {
    let test = TestHome::new();
    let cached_home = CachedHome::new(test.home.clone());
    assert_eq!(cached_home.files().unwrap().threads().count(), 0);
    test.put_thread(thread(1), "{}\n");
    assert_eq!(cached_home.files().unwrap().threads().count(), 1);
    fs::remove_dir_all(test.home.sessions_dir()).unwrap();
    fs::write(test.home.sessions_dir(), "a file where days should be").unwrap();
    let files = cached_home.files().unwrap();
    assert_eq!((files.threads().count(), files.left_out()[0].reason.as_str()), (0, "Not a directory"));
    assert_eq!(cached_home.left_out(), files.left_out());
    fs::remove_file(test.home.sessions_dir()).unwrap();
    assert_eq!(cached_home.files().unwrap().threads().count(), 0);
    assert_eq!(cached_home.left_out(), []);
    fs::remove_dir_all(test.home.root()).unwrap();
    fs::write(test.home.root(), "a file where the home should be").unwrap();
    assert_eq!(cached_home.files().unwrap_err().io_kind(), Some(std::io::ErrorKind::NotADirectory));
}

#[test]
fn a_thread_that_is_moved_during_a_scan_is_found() {
    let test = TestHome::new();
    let active = test.put_thread(thread(1), "{}\n");
    for n in 2..20 {
        test.put_thread(thread(n), "{}\n");
    }
    let archived = test.home.archived_dir().join(active.file_name().unwrap());
    fs::create_dir_all(test.home.archived_dir()).unwrap();
    let cached_home = CachedHome::new(test.home.clone());
    // Each round is one scan and one move, at another moment of the scan.
    let round = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                round.wait();
                let (start, delay) = (Instant::now(), Duration::from_micros(n * 7 % 300));
                while start.elapsed() < delay {}
                let (from, to) = if n % 2 == 0 { (&active, &archived) } else { (&archived, &active) };
                fs::rename(from, to).unwrap();
                round.wait();
            }
        });
        let mut missed = [0, 0];
        for n in 0..ROUNDS {
            round.wait();
            let is_new_scan = n / 2 % 2 == 0;
            let files = if is_new_scan { Arc::new(test.files()) } else { cached_home.files().unwrap() };
            missed[usize::from(is_new_scan)] += usize::from(files.segments(thread(1)).is_empty());
            round.wait();
        }
        assert_eq!(missed, [0, 0], "by the cache and by a new scan");
    });
}

/// The number of scans during which a file is moved.
const ROUNDS: u64 = 4000;
