//! Threads that Codex knows: what Codex would not notice is refused before anything is changed, or forced.
//!
//! The database is one that Codex 0.171.0 made (`samples/databases-0.171.0`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Home, T144, samples};

/// Threads of `story-0.171.0-rows`, all of them paginated. N has a name.
const NAMED: &str = "01a222c1-1e9f-7e70-a6be-b5044bd0be43";
const PLAIN: &str = "01a222c1-1f46-71e3-8484-f0bf8c201f16";

/// Returns a copy of a recorded home, together with the database of a Codex that knows its threads.
fn known_home(sample: &str) -> Home {
    let home = Home::sample(sample);
    let database = fs::read(samples().join("databases-0.171.0/state_5.sqlite.zst")).unwrap();
    fs::write(home.path().join("state_5.sqlite"), zstd::decode_all(&database[..]).unwrap()).unwrap();
    home
}

/// Returns the content of every file of a home, except the index of this program.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.path()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("selvedge-");
            if path.is_dir() {
                folders.push(path);
            } else if !is_ours(&path) {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_paginated_rewind_that_codex_would_not_notice_is_refused() {
    let home = known_home("story-0.171.0-rows");
    let before = files(&home);
    let run = home.run(&["rewind", PLAIN, "--turns", "1"]);
    assert_eq!((run.code, run.out.as_str()), (4, ""), "{}", run.err);
    assert!(run.err.contains("state_5.sqlite") && run.err.contains("goes on with the undone turns"), "{}", run.err);
    assert!(run.err.contains("--force"), "{}", run.err);
    assert!(files(&home) == before, "something was written");

    let forced = home.run(&["rewind", PLAIN, "--turns", "1", "--force"]);
    assert_eq!((forced.code, forced.out), (0, format!("rewound {PLAIN} by 1 turn\n")), "{}", forced.err);
    assert!(forced.err.contains("goes on with the undone turns"), "{}", forced.err);
}

#[test]
fn a_legacy_rewind_reaches_codex_through_the_file() {
    let home = known_home("story-0.144.6");
    let run = home.run(&["rewind", T144, "--turns", "1"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn a_thread_that_codex_does_not_know_is_rewound() {
    let home = known_home("story-0.169.0");
    let run = home.run(&["rewind", crate::support::PLAIN169, "--turns", "1"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let _ = NAMED;
}
