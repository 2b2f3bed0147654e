//! `selvedge index`, the options for the index, and the background process that fills it.

use std::fs;
use std::time::Duration;

use crate::support::{Home, message, rollouts, small_log};

fn id(number: usize) -> String {
    format!("01a1fd5d-0000-7000-8000-{number:012}")
}

fn with_threads(count: usize) -> Home {
    let home = Home::empty();
    (1..=count).for_each(|number| home.write(&id(number), small_log(&id(number)).as_bytes()));
    home
}

#[test]
fn the_index_is_created_shown_and_rebuilt() {
    let home = with_threads(3);
    let status = home.json(&["index", "status"]);
    assert_eq!((&status["threads"], &status["changed"], &status["checked_at"]), (&0.into(), &3.into(), &().into()));
    let report = home.json(&["index", "sync"]);
    assert_eq!((&report["threads"], &report["read_whole"]), (&3.into(), &3.into()));
    fs::remove_file(home.file(&id(1))).unwrap();
    let status = home.json(&["index", "status"]);
    assert_eq!((&status["threads"], &status["threads_in_home"], &status["gone"]), (&3.into(), &2.into(), &1.into()));
    let report = home.json(&["index", "rebuild"]);
    assert_eq!((&report["threads"], &report["read_whole"], &report["removed"]), (&2.into(), &2.into(), &0.into()));
    let printed = home.ok(&["index", "status"]);
    assert!(printed.contains("2 of 2") && printed.contains("selvedge-index.sqlite"), "{printed}");
}

#[test]
fn a_file_that_is_not_an_index_is_kept_and_reported() {
    let home = with_threads(1);
    fs::write(home.path().join("selvedge-index.sqlite"), "my notes").unwrap();
    let run = home.run(&["index", "sync"]);
    assert!(run.code == 0 && run.err.contains("is kept as"), "{run:?}");
    let kept = fs::read_dir(home.path())
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("selvedge-index.sqlite.set-aside-"));
    assert_eq!(fs::read_to_string(kept.unwrap().path()).unwrap(), "my notes");
}

#[test]
fn the_index_can_be_elsewhere_or_switched_off() {
    let home = with_threads(2);
    assert_eq!(home.json(&["list", "--index", "off"]).as_array().unwrap().len(), 2);
    let in_home = home.path().join("selvedge-index.sqlite");
    assert!(!in_home.exists());
    let run = home.run(&["index", "status", "--index", "off"]);
    assert!(run.code == 2 && run.err.contains("switched off"), "{run:?}");
    let elsewhere = home.folder().join("elsewhere.sqlite");
    let mut list = home.command(&["list", "--json"]);
    let listed = list.env("SELVEDGE_INDEX", &elsewhere).output().unwrap();
    assert!(listed.status.success() && elsewhere.exists() && !in_home.exists());
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 2);
    assert!(in_home.exists());
}

#[test]
fn a_large_home_is_indexed_by_a_background_process() {
    let home = with_threads(500);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 500);
    for _ in 0..600 {
        let status = home.json(&["index", "status"]);
        if !status["checked_at"].is_null() {
            assert_eq!((&status["threads"], &status["changed"]), (&500.into(), &0.into()));
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the index was not filled");
}

#[test]
fn the_next_list_shows_what_another_process_appended() {
    let home = with_threads(1);
    home.ok(&["list"]);
    home.append(&id(1), message("more"));
    let listed = home.json(&["list"]);
    let (_, _, path) = &rollouts(&home.path())[0];
    let last = fs::read_to_string(path).unwrap().lines().last().unwrap().to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(listed[0]["updated_at"], last["timestamp"]);
}
