//! The name index.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use selvedge_protocol::Durability;
use selvedge_rollout::NameIndex;

use crate::support::{TestHome, WatchedFiles, at, put, sample_home, thread};

fn load(text: impl AsRef<[u8]>) -> NameIndex {
    let test = TestHome::new();
    put(&test.home.name_index_path(), text.as_ref());
    NameIndex::load(&test.home).unwrap()
}

fn line(n: u16, name: &str) -> String {
    format!(r#"{{"id":"{}","thread_name":"{name}","updated_at":"2026-11-21T09:08:57.426249449Z"}}"#, thread(n))
}

fn name(index: &NameIndex, n: u16) -> Option<&str> {
    index.get(thread(n)).map(|entry| entry.name.as_str())
}

#[test]
fn the_recorded_indexes_are_read() {
    for home in ["story-0.144.6", "story-0.169.0"] {
        let index = NameIndex::load(&sample_home(home)).unwrap();
        assert_eq!(index.iter().count(), 3, "{home}");
        assert!(index.iter().all(|(_, entry)| entry.name == "Thread on zebras" && entry.updated_at.is_some()));
    }
}

#[test]
fn a_missing_index_is_empty_and_a_directory_at_its_path_is_an_error() {
    let test = TestHome::new();
    assert_eq!(NameIndex::load(&test.home).unwrap().iter().count(), 0);
    assert!(!test.home.root().exists(), "looking makes nothing");
    fs::create_dir_all(test.home.name_index_path()).unwrap();
    NameIndex::load(&test.home).unwrap_err();
}

#[test]
fn the_last_line_of_a_thread_counts_and_an_empty_name_clears() {
    let index =
        load([line(1, "old"), line(2, "two"), line(1, "new"), line(3, "x"), line(3, ""), line(4, " n ")].join("\n"));
    assert_eq!(name(&index, 1), Some("new"));
    assert_eq!(name(&index, 2), Some("two"));
    assert_eq!((name(&index, 3), name(&index, 4)), (None, Some(" n ")), "a name is what was given");
    assert_eq!(index.iter().count(), 3);
    let again = load([line(3, "x"), line(3, ""), line(3, "y")].join("\n"));
    assert_eq!(name(&again, 3), Some("y"));
}

#[test]
fn lines_that_are_not_understood_are_skipped() {
    let text = [
        line(1, "one").into_bytes(),
        b"not json".to_vec(),
        b"".to_vec(),
        b"\0\0\0".to_vec(),
        b"[]".to_vec(),
        br#"{"id":"x","thread_name":"y"}"#.to_vec(),
        format!(r#"{{"id":"{}","thread_name":7}}"#, thread(1)).into_bytes(),
        format!(r#"{{"id":"{}"}}"#, thread(1)).into_bytes(),
        [b"\xff", line(1, "broken").as_bytes()].concat(),
        line(2, "two").into_bytes(),
        line(1, "torn")[..40].into(),
    ];
    let index = load(text.join(&b'\n'));
    assert_eq!((name(&index, 1), name(&index, 2)), (Some("one"), Some("two")));
}

#[test]
fn a_byte_order_mark_and_crlf_cost_no_name() {
    let index = load(format!("\u{feff}{}\r\n{}\r\n", line(1, "one"), line(2, "two")));
    assert_eq!((name(&index, 1), name(&index, 2)), (Some("one"), Some("two")));
}

#[test]
fn times_have_nanoseconds_and_an_invalid_time_costs_no_name() {
    let index = load(line(1, "one"));
    assert_eq!(index.get(thread(1)).unwrap().updated_at, Some(at("2026-11-21T09:08:57.426Z")));
    for time in [r#""unknown""#, "17", "null", "{}"] {
        let index = load(format!(r#"{{"id":"{}","thread_name":"n","updated_at":{time},"new":1}}"#, thread(1)));
        assert_eq!(name(&index, 1), Some("n"), "{time}");
        assert_eq!(index.get(thread(1)).unwrap().updated_at, None);
    }
    let index = load(format!(r#"{{"thread_name":"n","id":"{}"}}"#, thread(1)));
    assert_eq!(name(&index, 1), Some("n"));
}

#[test]
fn a_torn_last_line_does_not_swallow_the_next() {
    let test = TestHome::new();
    put(&test.home.name_index_path(), format!("{}\n{}", line(1, "one"), &line(2, "two")[..50]).as_bytes());
    NameIndex::set(&test.home, thread(3), Some("three"), at("2026-11-21T10:00:00Z")).unwrap();
    let index = NameIndex::load(&test.home).unwrap();
    assert_eq!((name(&index, 1), name(&index, 2), name(&index, 3)), (Some("one"), None, Some("three")));
    // An intact last line that lacks its newline still counts.
    let whole = TestHome::new();
    put(&whole.home.name_index_path(), line(1, "one").as_bytes());
    NameIndex::set(&whole.home, thread(3), Some("three"), at("2026-11-21T10:00:00Z")).unwrap();
    let index = NameIndex::load(&whole.home).unwrap();
    assert_eq!((name(&index, 1), name(&index, 3)), (Some("one"), Some("three")));
}

#[test]
fn written_lines_have_the_form_of_the_recordings() {
    let test = TestHome::new();
    let time = at("2026-11-21T10:00:00Z");
    NameIndex::set(&test.home, thread(1), Some("a \"name\"\n日本"), time).unwrap();
    NameIndex::set(&test.home, thread(1), None, time).unwrap();
    let id = thread(1);
    let wanted = format!(
        "{{\"id\":\"{id}\",\"thread_name\":\"a \\\"name\\\"\\n日本\",\"updated_at\":\"2026-11-21T10:00:00.000Z\"}}\n\
         {{\"id\":\"{id}\",\"thread_name\":\"\",\"updated_at\":\"2026-11-21T10:00:00.000Z\"}}\n"
    );
    assert_eq!(fs::read_to_string(test.home.name_index_path()).unwrap(), wanted);
    assert_eq!(NameIndex::load(&test.home).unwrap().iter().count(), 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(test.home.name_index_path()), 0o600);
        assert_eq!(mode(test.home.root().to_owned()), 0o700);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn names_go_round(names in prop::collection::vec((0_u16..4, proptest::option::of("\\PC{0,12}|[\n\"\\\\\u{0}]{1,3}")), 1..12)) {
        let test = TestHome::new();
        let mut wanted = std::collections::HashMap::new();
        for (n, name) in &names {
            NameIndex::set(&test.home, thread(*n), name.as_deref(), at("2026-11-21T10:00:00Z")).unwrap();
            wanted.insert(thread(*n), name.as_deref().filter(|name| !name.is_empty()));
        }
        let index = NameIndex::load(&test.home).unwrap();
        for (id, name) in &wanted {
            prop_assert_eq!(index.get(*id).map(|entry| entry.name.as_str()), *name);
        }
        prop_assert_eq!(index.iter().count(), wanted.values().flatten().count());
    }
}

/// Other programs wait for the lock of the name index, and must not wait for an fsync.
#[test]
fn no_fsync_runs_under_the_lock_of_the_name_index() {
    let test = TestHome::new();
    let lock = test.home.name_index_path().with_extension("jsonl.lock");
    let synced = Arc::new(AtomicUsize::new(0));
    let files = WatchedFiles::new({
        let (lock, synced) = (lock.clone(), Arc::clone(&synced));
        move |what, _| {
            if matches!(what, "sync" | "sync_dir") && lock.exists() {
                let file = File::open(&lock).unwrap();
                file.try_lock().expect("the lock is free while something is synced");
                synced.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    let home = files.of(&test.home.clone().with_durability(Durability::Synced));
    NameIndex::set(&home, thread(1), Some("one"), at("2026-11-21T10:00:00Z")).unwrap();
    assert!(synced.load(Ordering::Relaxed) >= 2, "the file and its directory");
    assert_eq!(name(&NameIndex::load(&home).unwrap(), 1), Some("one"));

    // A line that could not be made durable is removed.
    let files =
        WatchedFiles::new(|what, _| if what == "sync" { Err(io::Error::other("the medium is gone")) } else { Ok(()) });
    let broken = files.of(&test.home.clone().with_durability(Durability::Synced));
    NameIndex::set(&broken, thread(1), Some("two"), at("2026-11-21T10:00:01Z")).unwrap_err();
    assert_eq!(name(&NameIndex::load(&home).unwrap(), 1), Some("one"));
}
