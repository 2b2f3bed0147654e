//! `selvedge copy`: threads in another store, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{ARCHIVED169, Home, PLAIN169, T169, message, rollouts_below};

/// Returns the places of the rollouts of a home, below it, with their bytes.
fn files(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let below = |path: &PathBuf| path.strip_prefix(home).unwrap().to_path_buf();
    rollouts_below(home).iter().map(|path| (below(path), fs::read(path).unwrap())).collect()
}

/// Returns what a list shows of each thread, without the file.
fn listed(home: &Home) -> Value {
    let mut threads = home.json(&["list", "--all", "--limit", "1000", "--sort", "created"]);
    for thread in threads.as_array_mut().unwrap() {
        thread.as_object_mut().unwrap().remove("location");
    }
    threads
}

fn copy<'a>(from: &Home, to: &'a Home, args: &[&'a str]) -> crate::support::RunResult {
    from.run(&[&["copy", "--to", to.path().to_str().unwrap()], args].concat())
}

#[test]
fn every_thread_has_its_bytes_its_name_and_its_place() {
    for sample in ["basic-0.20.0", "story-0.144.6", "story-0.169.0"] {
        let (from, to) = (Home::sample(sample), Home::missing());
        let wanted = files(&from.path());
        let run = copy(&from, &to, &[]);
        assert!(run.code == 0 && run.out.contains(" copied, "), "{run:?}");
        assert!(files(&to.path()) == wanted, "{sample}");
        assert_eq!(listed(&to), listed(&from), "{sample}");
        let count = listed(&from).as_array().unwrap().len();
        let run = copy(&from, &to, &["--json"]);
        let report: Value = serde_json::from_str(&run.out).unwrap();
        let bytes: usize = wanted.values().map(Vec::len).sum();
        let numbers = ["threads", "new", "grown", "unchanged", "bytes", "new_bytes"].map(|key| report[key].clone());
        assert_eq!(numbers, [count, 0, 0, count, bytes, 0].map(Value::from), "{report}");
        assert!(files(&to.path()) == wanted && run.code == 0, "{sample}");
    }
}

#[test]
fn a_fork_brings_the_threads_in_which_its_history_begins() {
    let (from, to) = (Home::sample("story-0.169.0"), Home::missing());
    let fork = from.ok(&["fork", T169]).trim().to_owned();
    let fork_of_fork = from.ok(&["fork", &fork]).trim().to_owned();
    let run = copy(&from, &to, &[&fork_of_fork[..]]);
    assert!(run.code == 0 && run.out.contains("3 threads copied"), "{run:?}");
    for id in [&*fork_of_fork, &fork, T169] {
        assert_eq!(to.ok(&["export", id]), from.ok(&["export", id]), "{id}");
    }
    // A thread that begins by itself comes alone.
    let to = Home::missing();
    let run = copy(&from, &to, &[PLAIN169]);
    assert!(run.out.contains("1 thread copied"), "{run:?}");
    let run = copy(&from, &to, &["no such name"]);
    assert_eq!(run.code, 3, "{run:?}");
}

#[test]
fn a_copy_is_completed() {
    let (from, to) = (Home::sample("story-0.169.0"), Home::missing());
    assert_eq!(copy(&from, &to, &[]).code, 0);
    assert_eq!(from.append(PLAIN169, message("one more")).code, 0);
    from.ok(&["archive", T169, "--force"]);
    to.ok(&["rename", PLAIN169, "the name over there", "--force"]);
    from.ok(&["rename", PLAIN169, "the name over here", "--force"]);
    let run = copy(&from, &to, &[]);
    assert!(run.code == 0 && run.out.contains("0 threads copied, 1 completed"), "{run:?}");
    assert_eq!(to.ok(&["export", PLAIN169]), from.ok(&["export", PLAIN169]));
    // What a person wrote there stays.
    assert!(to.ok(&["show", PLAIN169]).starts_with("the name over there\n"));
    assert!(to.ok(&["list", "--archived"]).contains(&T169[..13]));
}

#[test]
fn a_history_that_went_on_in_both_stays_as_it_is() {
    let (from, to) = (Home::sample("story-0.169.0"), Home::missing());
    assert_eq!(copy(&from, &to, &[]).code, 0);
    assert_eq!(from.append(PLAIN169, message("in the first")).code, 0);
    assert_eq!(to.append(PLAIN169, message("in the copy!")).code, 0);
    assert_eq!(from.append(T169, message("only in the first")).code, 0);
    let kept = to.ok(&["export", PLAIN169]);
    let run = copy(&from, &to, &["--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&report["grown"], &report["refused"][0]["id"]), (&1.into(), &PLAIN169.into()), "{report}");
    assert_eq!(to.ok(&["export", PLAIN169]), kept);
    assert_eq!(to.ok(&["export", T169]), from.ok(&["export", T169]));
    let run = copy(&from, &to, &[]);
    assert!(run.err.contains("has the thread with a different history"), "{run:?}");
    assert!(run.err.contains("1 thread not copied completely"), "{run:?}");
}

#[test]
fn a_thread_that_is_written_there_is_a_conflict() {
    let (from, to) = (Home::sample("story-0.169.0"), Home::missing());
    assert_eq!(copy(&from, &to, &[]).code, 0);
    assert_eq!(from.append(ARCHIVED169, message("one more")).code, 0);
    assert_eq!(from.append(PLAIN169, message("one more")).code, 0);
    let mut writer = to.spawn_append(PLAIN169);
    writer.stdin.as_mut().unwrap().write_all(message("written there").as_bytes()).unwrap();
    let mut acknowledged = String::new();
    BufReader::new(writer.stdout.as_mut().unwrap()).read_line(&mut acknowledged).unwrap();
    let run = copy(&from, &to, &[ARCHIVED169, PLAIN169]);
    assert!(run.out.contains("1 completed"), "{run:?}");
    // The other history is found before the writer matters.
    assert!(run.code == 1 && run.err.contains(PLAIN169), "{run:?}");
    // With the same history, the writer is what is in the way.
    let third = Home::missing();
    assert_eq!(copy(&to, &third, &[PLAIN169]).code, 0);
    assert_eq!(third.append(PLAIN169, message("behind the writer")).code, 0);
    let run = copy(&third, &to, &[PLAIN169]);
    assert!(run.code == 4 && run.err.contains(PLAIN169), "{run:?}");
    writer.kill().unwrap();
    writer.wait().unwrap();
}

#[test]
fn a_store_is_not_copied_onto_itself() {
    let home = Home::sample("story-0.169.0");
    let run = copy(&home, &home, &[]);
    assert!(run.code == 2 && run.err.contains("--to is the store that is copied from"), "{run:?}");
    let run = home.run(&["copy"]);
    assert!(run.code == 2 && run.err.contains("--to"), "{run:?}");
}
