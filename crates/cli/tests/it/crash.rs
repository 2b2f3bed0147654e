//! Writers that are killed, and writers that compete for a thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Home, message, texts};

/// How often a writer is killed. `SELVEDGE_KILL_RUNS` sets another number.
const RUNS: u64 = 20;
/// How often a writer of the same thread is killed. Every resume reads the whole thread, so a thread must not grow
/// forever.
const PER_THREAD: usize = 10;

fn runs() -> u64 {
    std::env::var("SELVEDGE_KILL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// Writes items until the reader is gone.
fn write_items(mut stdin: ChildStdin, round: u64) {
    for number in 1.. {
        if stdin.write_all(message(&format!("item {round} {number}")).as_bytes()).is_err() {
            break;
        }
    }
}

/// Collects what a writer acknowledges, and reports the first acknowledgement.
fn collect_acknowledgements(stdout: ChildStdout, first: &Sender<()>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        // A torn last line acknowledges nothing.
        let Some(number) = String::from_utf8(line).ok().and_then(|line| line.parse().ok()) else { break };
        acknowledged.push(number);
        let _ = first.send(());
    }
    acknowledged
}

/// When to kill a writer.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// This long after its start.
    AfterStart(Duration),
    /// This long after its first acknowledgement.
    AtWork(Duration),
}

impl Kill {
    /// Spreads the kills from before the first item to far into the stream, in an irregular order.
    fn in_round(round: u64) -> Self {
        let delay = Duration::from_micros(round * 7_919 % 25_000);
        if round.is_multiple_of(4) { Self::AfterStart(delay) } else { Self::AtWork(delay) }
    }
}

/// Kills a writer while it appends, and returns the numbers that it acknowledged.
fn kill_while_appending(home: &Home, id: &str, round: u64) -> Vec<u64> {
    let mut child = home.spawn_append(id);
    let stdin = child.stdin.take().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (first, is_at_work) = channel();
    let feeder = thread::spawn(move || write_items(stdin, round));
    let listener = thread::spawn(move || collect_acknowledgements(stdout, &first));
    match Kill::in_round(round) {
        Kill::AfterStart(delay) => thread::sleep(delay),
        Kill::AtWork(delay) => {
            is_at_work.recv_timeout(Duration::from_secs(30)).unwrap();
            thread::sleep(delay);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    feeder.join().unwrap();
    listener.join().unwrap()
}

/// Returns the items on these lines in order, by round.
fn items(lines: &str) -> BTreeMap<u64, Vec<u64>> {
    let mut rounds: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for text in texts(lines) {
        let mut words = text.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
        rounds.entry(words.next().unwrap()).or_default().push(words.next().unwrap());
    }
    rounds
}

fn nothing_is_lost_or_repeated(mode: &str) {
    let home = Home::missing();
    let rounds: Vec<u64> = (1..=runs()).collect();
    let at_work: u64 = rounds.chunks(PER_THREAD).map(|rounds| kill_often(&home, mode, rounds)).sum();
    assert!(at_work * 2 >= runs(), "only {at_work} writers were killed at work");
}

/// Kills the writers of one thread one after another. Returns how many of them had acknowledged an item.
fn kill_often(home: &Home, mode: &str, rounds: &[u64]) -> u64 {
    let id = home.new_thread(&["--mode", mode]);
    let (mut at_work, mut read) = (0, 0);
    for &round in rounds {
        let acknowledged = kill_while_appending(home, &id, round);
        let history = home.ok(&["export", &id]);
        let mut added = items(&history[read..]);
        read = history.len();
        let found = added.remove(&round).unwrap_or_default();
        assert!(added.is_empty(), "round {round}: items of other rounds: {:?}", added.keys());
        assert!(found.iter().copied().eq(1..=found.len() as u64), "round {round}: missing or twice: {found:?}");
        assert!(found.len() >= acknowledged.len(), "round {round}: {} acknowledged", acknowledged.len());
        assert!(acknowledged.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}: {acknowledged:?}");
        at_work += u64::from(!acknowledged.is_empty());
    }
    check_it_can_be_continued(home, &id, mode);
    at_work
}

fn check_it_can_be_continued(home: &Home, id: &str, mode: &str) {
    assert_eq!(home.append(id, message("item 0 1")).code, 0);
    let history = home.ok(&["export", id]);
    assert_eq!(items(&history)[&0], [1]);
    if mode == "paginated" {
        let lines = history.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ordinals: Vec<u64> = lines.map(|line| line["ordinal"].as_u64().unwrap()).collect();
        assert!(ordinals.iter().copied().eq(0..ordinals.len() as u64));
    }
    assert_eq!(home.run(&["show", id]).code, 0);
    assert!(home.json(&["context", id])["history"].as_array().unwrap().len() > 1);
}

#[test]
fn a_killed_writer_of_a_paginated_thread_loses_nothing() {
    nothing_is_lost_or_repeated("paginated");
}

#[test]
fn a_killed_writer_of_a_legacy_thread_loses_nothing() {
    nothing_is_lost_or_repeated("legacy");
}

#[test]
fn only_one_of_two_writers_can_write() {
    for mode in ["paginated", "legacy"] {
        let home = Home::missing();
        let id = home.new_thread(&["--mode", mode]);
        let mut first = home.spawn_append(&id);
        let mut stdin = first.stdin.take().unwrap();
        let mut acknowledged = BufReader::new(first.stdout.take().unwrap()).lines();
        stdin.write_all(message("item 1 1").as_bytes()).unwrap();
        acknowledged.next().unwrap().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let writer = thread::spawn(move || {
            let mut last = 1;
            while !stop.load(Ordering::Relaxed) {
                last += 1;
                stdin.write_all(message(&format!("item 1 {last}")).as_bytes()).unwrap();
                acknowledged.next().unwrap().unwrap();
            }
            last
        });
        for _ in 0..5 {
            let second = home.append(&id, message("item 2 1"));
            assert_eq!((second.code, second.out.as_str()), (4, ""), "{}", second.err);
            assert!(second.err.contains(&format!("is being written by process {}", first.id())), "{}", second.err);
            assert!(second.err.contains("\nhint: "), "{}", second.err);
        }
        is_over.store(true, Ordering::Relaxed);
        let last = writer.join().unwrap();
        assert!(first.wait().unwrap().success());
        let rounds = items(&home.ok(&["export", &id]));
        assert_eq!(rounds.len(), 1);
        assert!(rounds[&1].iter().copied().eq(1..=last));
        let path = home.json(&["show", &id])["thread"]["location"].as_str().unwrap().to_owned();
        for line in fs::read_to_string(path).unwrap().lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        assert_eq!(home.append(&id, message("item 2 1")).code, 0);
    }
}

#[test]
fn many_concurrent_writers_leave_intact_lines() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let runs: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (1..=6)
            .map(|round| {
                let (home, id) = (&home, &id);
                let input: String = (1..=50).map(|number| message(&format!("item {round} {number}"))).collect();
                scope.spawn(move || (round, home.append(id, input)))
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let rounds = items(&home.ok(&["export", &id]));
    for (round, run) in runs {
        assert!(matches!(run.code, 0 | 4), "{}", run.err);
        let found = rounds.get(&round).map_or(0, Vec::len);
        assert_eq!(found, if run.code == 0 { 50 } else { 0 });
    }
}

#[test]
fn only_one_process_can_start_a_thread_with_a_given_id() {
    let home = Home::missing();
    let id = "01a1fd5d-cccc-7000-8000-000000000000";
    let codes: Vec<i32> = thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(|| home.run(&["new", "--id", id]).code)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 0 | 1 | 4)), "{codes:?}");
    assert_eq!(home.ok(&["export", id]).lines().count(), 1);
}
