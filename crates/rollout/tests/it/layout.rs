//! Names and paths of the files of a home, and the scan that finds them.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use selvedge_protocol::{SegmentId, ThreadId, Timestamp};
use selvedge_rollout::{RolloutFileName, RolloutHome};

use crate::support::{TestHome, at, helper, put, recordings, sample_home, segment, thread};

const NAME: &str = "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl";
const LATER: &str =
    "rollout-2026-11-21T09-08-58-01a1fd5d-aacb-7641-837d-630af077ebd5_01a1fd5d-b04b-76f0-9534-302120bdec6d.jsonl";

#[test]
fn the_names_of_recordings_are_parsed() {
    for path in recordings() {
        let text = path.file_name().unwrap().to_str().unwrap();
        let name = RolloutFileName::parse(text).unwrap();
        assert_eq!(name.to_string(), text);
        assert!(!name.compressed);
    }
    let name = RolloutFileName::parse(LATER).unwrap();
    assert_eq!(name.thread_id.to_string(), "01a1fd5d-aacb-7641-837d-630af077ebd5");
    assert_eq!(name.segment_id().to_string(), "01a1fd5d-b04b-76f0-9534-302120bdec6d");
    assert_eq!(name.created.to_string(), "2026-11-21T09:08:58");
    let first = RolloutFileName::parse(&format!("{NAME}.zst")).unwrap();
    assert!(first.compressed);
    assert_eq!(first.segment_id(), first.thread_id.into());
    assert_eq!(first.plain().to_string(), NAME);
}

#[test]
fn other_names_are_rejected() {
    let bad = [
        "",
        "rollout-.jsonl",
        "rollout-2026-11-21T09-08-56.jsonl",
        "notes.jsonl",
        &NAME[1..],
        &format!("x{NAME}"),
        &format!(" {NAME}"),
        &NAME.replace(".jsonl", ""),
        &NAME.replace(".jsonl", ".json"),
        &NAME.replace(".jsonl", ".JSONL"),
        &format!("{NAME}.gz"),
        &format!("{NAME}.zst.zst"),
        &format!(".{NAME}.tmp-1"),
        &NAME.replace("T09-08-56", "T09:08:56"),
        &NAME.replace("T09-08-56", "T24-08-56"),
        &NAME.replace("T09-08-56", "T09-08-60"),
        &NAME.replace("2026-11-21", "2026-13-21"),
        &NAME.replace("2026-11-21", "2026-02-30"),
        &NAME.replace("2026-11-21", "+026-11-21"),
        &NAME.replace("2026-11-21", "-026-11-21"),
        &NAME.replace("2026-11-21T09", "2026-11-2éT9"),
        &NAME.replace("01a1fd5d", "01A1FD5D"),
        &NAME.replace("01a1fd5d", "01a1fd5g"),
        &NAME.replace("01a1fd5d-aacb-7641-837d-630af077ebd5", "01a1fd5daacb7641837d630af077ebd5"),
        &NAME.replace("01a1fd5d-aacb-7641-837d-630af077ebd5", "{01a1fd5d-aacb-7641-837d-630af077ebd5}"),
        &LATER.replace('_', "-"),
        &LATER.replace("_01a1fd5d", "_"),
        &LATER.replace(".jsonl", "_01a1fd5d-b04b-76f0-9534-302120bdec6d.jsonl"),
    ];
    for text in bad {
        assert_eq!(RolloutFileName::parse(text), None, "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_go_round(
        millis in 0..253_402_207_200_000_i64,
        thread_id in any::<u128>(),
        later in proptest::option::of(any::<u128>()),
        compressed: bool,
    ) {
        let thread_id = ThreadId::from_uuid(uuid::Uuid::from_u128(thread_id));
        let later = later.map(|id| SegmentId::from_uuid(uuid::Uuid::from_u128(id)));
        let mut name = RolloutFileName::new(Timestamp::from_millis(millis), thread_id, later);
        name.compressed = compressed;
        let again = RolloutFileName::parse(&name.to_string()).unwrap();
        // Names have whole seconds.
        prop_assert_eq!(again.to_string(), name.to_string());
        prop_assert_eq!((again.thread_id, again.later_segment, again.compressed), (thread_id, later, compressed));
    }

    #[test]
    fn a_parsed_name_has_one_spelling(text in "(rollout-)?[-+0-9T]{17,21}-[0-9a-fA-F-]{36}(_[0-9a-f-]{36})?\\.jsonl(\\.zst)?") {
        if let Some(name) = RolloutFileName::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}

#[test]
fn paths_are_those_of_the_recordings() {
    for name in ["story-0.144.6", "story-0.169.0"] {
        let home = sample_home(name);
        for (_, segments) in home.files().unwrap().threads() {
            for file in segments {
                let wanted = if file.archived { home.archived_path(&file.name) } else { home.active_path(&file.name) };
                assert_eq!(wanted, file.path);
            }
        }
    }
}

#[test]
#[ignore = "a helper of another test, run in a process of its own"]
fn an_active_path_has_year_month_and_day() {
    let Some(out) = std::env::var_os("SELVEDGE_TEST_OUT") else { return };
    let name = RolloutFileName::new(at("2026-12-31T20:30:15.999Z"), thread(1), None);
    let path = RolloutHome::new("/h").active_path(&name);
    fs::write(out, path.to_str().unwrap()).unwrap();
}

#[test]
fn dates_are_in_local_time() {
    let dir = tempfile::tempdir().unwrap();
    for (zone, date, time) in [
        ("UTC0", "2026/12/31", "2026-12-31T20-30-15"),
        ("TST-5:45", "2027/01/01", "2027-01-01T02-15-15"),
        ("TST+9", "2026/12/31", "2026-12-31T11-30-15"),
    ] {
        let out = dir.path().join("path");
        let status = helper("layout::an_active_path_has_year_month_and_day")
            .env("TZ", zone)
            .env("SELVEDGE_TEST_OUT", &out)
            .status()
            .unwrap();
        assert!(status.success());
        let wanted = format!("/h/sessions/{date}/rollout-{time}-{}.jsonl", thread(1));
        assert_eq!(fs::read_to_string(&out).unwrap(), wanted, "{zone}");
    }
}

#[test]
fn a_missing_home_is_empty() {
    let test = TestHome::new();
    assert_eq!(test.files().threads().count(), 0);
    fs::write(test.home.root(), "a file where a home should be").unwrap();
    let error = test.home.files().unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::NotADirectory), "it is no empty home");
    assert!(!test.home.sessions_dir().exists(), "looking makes nothing");
}

#[test]
fn every_thread_of_a_recorded_home_is_found() {
    let files = sample_home("story-0.169.0").files().unwrap();
    assert_eq!(files.threads().count(), 6);
    let reverted: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
    let segments = files.segments(reverted);
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].name.later_segment, None, "the first segment comes first");
    assert_eq!(files.segment(segments[1].name.segment_id()), Some(&segments[1]));
    assert_eq!(files.segment(reverted.into()), Some(&segments[0]));
    assert_eq!(files.segment(segment(7)), None);
    assert!(files.threads().all(|(id, segments)| segments.iter().all(|file| file.name.thread_id == id)));
    assert_eq!(files.threads().filter(|(_, segments)| segments[0].archived).count(), 1);
    assert_eq!(files.segments(thread(1)), []);
}

#[test]
fn a_scan_ignores_what_is_no_rollout() {
    let test = TestHome::new();
    let real = test.put_thread(thread(1), "{}\n");
    let day = real.parent().unwrap();
    fs::create_dir(day.join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(2)))).unwrap();
    fs::write(day.join("notes.txt"), "x").unwrap();
    fs::write(day.join(format!(".rollout-2026-11-21T09-08-56-{}.jsonl.tmp-1", thread(3))), "x").unwrap();
    put(&day.join("deeper").join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(4))), b"{}\n");
    put(&test.home.sessions_dir().join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(5))), b"{}\n");
    put(&test.home.sessions_dir().join("2026").join("11").join("stray"), b"a file among the days");
    put(
        &test.home.archived_dir().join("2026").join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(6))),
        b"{}\n",
    );
    #[cfg(unix)]
    {
        let link = day.join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(7)));
        std::os::unix::fs::symlink(&real, link).unwrap();
        std::os::unix::fs::symlink(day, test.home.sessions_dir().join("2026").join("11").join("22")).unwrap();
        let fifo = day.join(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(8)));
        assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
        use std::os::unix::ffi::OsStrExt;
        fs::write(day.join(std::ffi::OsStr::from_bytes(b"rollout-\xff.jsonl")), "x").unwrap();
    }
    let files = test.files();
    assert_eq!(files.threads().map(|(id, _)| id).collect::<Vec<_>>(), [thread(1)]);
    assert_eq!(files.segments(thread(1))[0].path, real);
}

#[test]
fn the_active_and_then_the_plain_file_of_a_segment_counts() {
    let test = TestHome::new();
    let name = RolloutFileName::parse(&format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(1))).unwrap();
    let zst = RolloutFileName { compressed: true, ..name.clone() };
    // An archived copy with an older time in its name does not count either.
    let older = RolloutFileName::parse(&format!("rollout-2025-11-21T09-08-56-{}.jsonl", thread(1))).unwrap();
    let paths = [
        test.home.active_path(&name),
        test.home.active_path(&zst),
        test.home.archived_path(&older),
        test.home.archived_path(&zst),
    ];
    for path in &paths {
        put(path, b"{}\n");
    }
    for winner in 0..paths.len() {
        let files = test.files();
        let found: Vec<_> = files.segments(thread(1)).iter().map(|file| &file.path).collect();
        assert_eq!(found, [&paths[winner]]);
        assert_eq!(files.segments(thread(1))[0].archived, winner >= 2);
        assert_eq!(files.all_files(thread(1)).count(), paths.len() - winner, "the others are known, too");
        fs::remove_file(&paths[winner]).unwrap();
    }
}

#[test]
fn segments_are_ordered_by_their_ids_and_not_by_local_time() {
    let test = TestHome::new();
    let id = thread(1);
    // The clock was set back between the segments.
    for (segment_id, time) in
        [(segment(1), "2026-11-21T12-00-00"), (segment(2), "2026-11-21T11-00-00"), (segment(3), "2026-11-20T23-00-00")]
    {
        test.put(&format!("rollout-{time}-{id}_{segment_id}.jsonl"), "{}\n");
    }
    test.put(&format!("rollout-2026-11-22T09-00-00-{id}.jsonl"), "{}\n");
    // A later copy of the same segment in another folder is no segment of its own.
    test.put(&format!("rollout-2026-11-23T09-00-00-{id}_{}.jsonl", segment(2)), "{}\n");
    let files = test.files();
    let order: Vec<_> = files.segments(id).iter().map(|file| file.name.segment_id()).collect();
    assert_eq!(order, [id.into(), segment(1), segment(2), segment(3)]);
}

#[test]
fn segments_whose_ids_have_no_time_are_ordered_by_their_names() {
    let test = TestHome::new();
    let id = thread(1);
    let random = |n: u8| format!("6c1959de-8bdf-489c-a664-0000000000{n:02x}").parse::<SegmentId>().unwrap();
    test.put(&format!("rollout-2026-11-21T12-00-00-{id}_{}.jsonl", random(1)), "{}\n");
    test.put(&format!("rollout-2026-11-21T11-00-00-{id}_{}.jsonl", random(2)), "{}\n");
    test.put(&format!("rollout-2026-11-21T13-00-00-{id}_{}.jsonl", random(2)), "{}\n");
    test.put_thread(id, "{}\n");
    let files = test.files();
    let order: Vec<_> = files.segments(id).iter().map(|file| file.name.segment_id()).collect();
    assert_eq!(order, [id.into(), random(2), random(1)]);
}
