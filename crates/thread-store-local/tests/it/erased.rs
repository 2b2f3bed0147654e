//! What is deleted leaves nothing in the files of the index.

use std::fs;
use std::path::PathBuf;

use selvedge_protocol::{SearchQuery, ThreadId, ThreadMetadataPatch, ThreadQuery};
use selvedge_rollout::RolloutHome;
use selvedge_state::StateIndex;
use selvedge_thread_store::{MetadataOrigin, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{CheckScope, IndexLocation, LocalThreadStore};
use serde_json::json;

use crate::home::{TestHome, all_files};

/// How many threads a home has. Several of them share a page and a block of words.
const THREADS: u32 = 40;

fn id(n: u32) -> ThreadId {
    format!("01a1000a-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// A word that is only in the prompt, the answers, the directory and the name of one thread. `part` distinguishes these.
fn word(n: u32, part: &str) -> String {
    format!("quokka{part}{n:04}x")
}

const PARTS: [&str; 4] = ["prompt", "answer", "place", "name"];

fn log(n: u32, turns: u32) -> String {
    let line = |kind: &str, payload: serde_json::Value| {
        format!("{}\n", json!({"timestamp": "2026-09-10T08:06:00.000Z", "type": kind, "payload": payload}))
    };
    let mut log = line(
        "session_meta",
        json!({"id": id(n), "timestamp": "2026-09-10T08:06:00.000Z", "cwd": format!("/srv/{}", word(n, "place")),
            "originator": "codex_cli_rs", "cli_version": "0.144.6", "source": "cli", "history_mode": "legacy"}),
    );
    for turn in 0..turns {
        let text = format!("{} in turn {turn} of {}", word(n, "prompt"), "many other words ".repeat(20));
        log += &line("event_msg", json!({"type": "task_started", "turn_id": format!("t{turn}")}));
        log += &line("event_msg", json!({"type": "user_message", "message": text}));
        log += &line("event_msg", json!({"type": "agent_message", "message": word(n, "answer").to_uppercase()}));
        log += &line("event_msg", json!({"type": "task_complete", "turn_id": format!("t{turn}")}));
    }
    log
}

/// Returns a home with named threads, an index of them, and an older index that was set aside.
async fn filled() -> TestHome {
    let home = TestHome::empty();
    for n in 0..THREADS {
        home.put(id(n), log(n, 3));
    }
    // Filled twice, so that the words are in several runs, some of them superseded.
    home.store.list_threads(&ThreadQuery::default()).await.unwrap();
    for n in 0..THREADS {
        home.put(id(n), log(n, 5));
        let patch = ThreadMetadataPatch { name: Some(Some(word(n, "name"))), ..ThreadMetadataPatch::default() };
        home.store.update_thread_metadata(id(n), &patch, MetadataOrigin::Explicit).await.unwrap();
    }
    let index = home.path().join("selvedge-index.sqlite");
    home.store.list_threads(&ThreadQuery::default()).await.unwrap();
    home.store.close().await;
    fs::copy(&index, home.path().join("selvedge-index.sqlite.set-aside-2026-01-01T00-00-00Z")).unwrap();
    fs::write(home.path().join("selvedge-index.sqlite.set-aside-2026-01-02T00-00-00Z"), "my notes").unwrap();
    home.store.list_threads(&ThreadQuery::default()).await.unwrap();
    home
}

/// Returns the files of the index in which a word is, in any case of its letters.
fn holders(home: &TestHome, word: &str) -> Vec<PathBuf> {
    let files = all_files(home.path()).into_iter();
    let index = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("selvedge-index"));
    let has = |path: &PathBuf| {
        // The log of the database goes when its last connection is closed.
        let bytes = fs::read(path).unwrap_or_default().to_ascii_lowercase();
        memchr::memmem::find(&bytes, word.as_bytes()).is_some()
    };
    index.filter(has).collect()
}

/// Checks that words of these threads are in no file of the index, and those of the others are.
fn check_erased(home: &TestHome, gone: &[u32], when: &str) {
    for n in 0..THREADS {
        for part in PARTS {
            let held = holders(home, &word(n, part));
            if gone.contains(&n) {
                assert_eq!(held, Vec::<PathBuf>::new(), "{part} of {n}, {when}");
            } else {
                assert!(!held.is_empty(), "{part} of {n}, {when}");
            }
        }
    }
}

/// Opens and closes the database, which moves the log into the file.
async fn checkpoint(home: &TestHome) {
    home.store.close().await;
    let rollouts = RolloutHome::new(home.path());
    let index = StateIndex::open(&rollouts, &StateIndex::path_in(&rollouts)).await.unwrap();
    index.checked_at().await.unwrap();
    index.close().await;
}

#[tokio::test]
async fn a_deleted_thread_leaves_no_word_in_the_index() {
    let home = filled().await;
    check_erased(&home, &[], "before");
    let mut gone = Vec::new();
    for n in [3, 0, THREADS - 1, 17] {
        home.store.delete_thread(id(n)).await.unwrap();
        gone.push(n);
        check_erased(&home, &gone, "before a checkpoint");
    }
    checkpoint(&home).await;
    check_erased(&home, &gone, "after a checkpoint");
    assert!(home.path().join("selvedge-index.sqlite.set-aside-2026-01-02T00-00-00Z").exists());
    assert!(!home.path().join("selvedge-index.sqlite.set-aside-2026-01-01T00-00-00Z").exists());
    // Everything else is found as before.
    for n in (0..THREADS).filter(|n| !gone.contains(n)) {
        let hits = home.store.search_threads(&SearchQuery::new(word(n, "answer"))).await.unwrap().items;
        assert!(!hits.is_empty() && hits.iter().all(|hit| hit.thread.id == id(n)), "{n}");
    }
    let scope = CheckScope { threads: None, deep: true };
    assert_eq!(home.store.admin().check_index(&scope).await.unwrap().unwrap().findings, []);
}

#[tokio::test]
async fn a_thread_that_another_program_deletes_leaves_no_word_after_the_next_query() {
    let home = filled().await;
    let path = all_files(home.path()).into_iter().find(|path| path.to_string_lossy().contains(&id(5).to_string()));
    fs::remove_file(path.unwrap()).unwrap();
    // The name index belongs to that program, too.
    let names = home.path().join("session_index.jsonl");
    let kept: String = fs::read_to_string(&names)
        .unwrap()
        .lines()
        .filter(|line| !line.contains(&id(5).to_string()))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::remove_file(&names).unwrap();
    fs::write(&names, kept).unwrap();
    home.store.list_threads(&ThreadQuery::default()).await.unwrap();
    home.store.close().await;
    check_erased(&home, &[5], "after a query");
}

#[tokio::test]
async fn a_rebuild_leaves_nothing_of_what_was_there_before() {
    let home = filled().await;
    for n in [1, 2] {
        let path = all_files(home.path()).into_iter().find(|path| path.to_string_lossy().contains(&id(n).to_string()));
        fs::remove_file(path.unwrap()).unwrap();
    }
    fs::remove_file(home.path().join("session_index.jsonl")).unwrap();
    let index = home.store.admin().open_index().await.unwrap().unwrap();
    index.rebuild(|_| {}).await.unwrap();
    for n in [1, 2] {
        for part in PARTS {
            assert_eq!(holders(&home, &word(n, part)), Vec::<PathBuf>::new(), "{part} of {n}");
        }
    }
    index.close().await;
}

/// A store may use another index, or none, and other processes the one in the home.
#[tokio::test]
async fn a_deletion_erases_also_the_index_that_the_store_does_not_use() {
    let home = filled().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let locations = [IndexLocation::Disabled, IndexLocation::At(elsewhere.path().join("other.sqlite"))];
    home.store.close().await;
    for (n, location) in [8, 9].into_iter().zip(locations) {
        let store = LocalThreadStore::open_with(home.path(), location);
        store.delete_thread(id(n)).await.unwrap();
        store.close().await;
        for part in PARTS {
            assert_eq!(holders(&home, &word(n, part)), Vec::<PathBuf>::new(), "{part} of {n}");
        }
    }
}
