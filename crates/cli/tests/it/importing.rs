//! `selvedge import`, and what `doctor` says about rollouts that no command reads.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Home, T144, T169, message, rollouts_below};

/// The place of a rollout that no command reads, below the home of the case, sorted.
const STRAYS: [&str; 22] = [
    "archived_sessions/2026/09/10/rollout-2026-09-10T08-09-00-01a10009-003f-7000-8009-0002c1a5fbdf.jsonl",
    "sessions/01a1000c-0054-7000-800c-0003acdd4fd4/rollout.jsonl",
    "sessions/2026/09/10/01a1000d-005b-7000-800d-0003fb45167b.jsonl",
    "sessions/2026/09/10/extra/deep/rollout-2026-09-10T08-07-00-01a10007-0031-7000-8007-000224d66e91.jsonl",
    "sessions/2026/09/10/rollout-01a1000b-004d-7000-800b-00035e75892d.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e (1).jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e (Kim's conflicted copy 2026-09-11).jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e 2.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e-DESKTOP-KIM.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e.jsonl.bak",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e.jsonl.gz",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e.jsonl.tmp",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e.jsonl~",
    "sessions/2026/09/10/rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e.sync-conflict-20260911-101500-ABCDEFG.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-14-00-01A1000E-0062-7000-800E-000449ACDD22.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-16-00Z-01a10010-0070-7000-8010-0004e67c6a70.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-17-00.123-01a10011-0077-7000-8011-000534e43117.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-19-00-session-nineteen.jsonl",
    "sessions/2026/09/10/rollout-2026-09-10T08-20-00-new.jsonl",
    "sessions/2026/rollout-2026-09-10T08-05-00-01a10005-0023-7000-8005-00018806e143.jsonl",
    "sessions/myproject/rollout-2026-09-10T08-08-00-01a10008-0038-7000-8008-0002733e3538.jsonl",
    "sessions/rollout-2026-09-10T08-04-00-01a10004-001c-7000-8004-0001399f1a9c.jsonl",
];

fn case() -> Home {
    let home = Home::empty();
    crate::support::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/foreign-files/home"), &home.path());
    home
}

/// Returns the paths, below the home, of the findings of a kind.
fn found(home: &Home, kind: &str) -> Vec<String> {
    let run = home.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let of_kind = |one: &&Value| one["kind"] == kind;
    let paths = report["findings"].as_array().unwrap().iter().filter(of_kind).map(|one| {
        let path = PathBuf::from(one["path"].as_str().unwrap());
        path.strip_prefix(home.path()).unwrap().to_string_lossy().into_owned()
    });
    paths.collect()
}

/// Returns the lines of all files, heads not counted.
fn all_lines(paths: &[PathBuf]) -> BTreeSet<String> {
    let texts = paths.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts
        .flat_map(|text| {
            text.lines().filter(|line| !line.contains("\"session_meta\"")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_rollout_that_no_command_reads_is_named_and_can_be_taken_in() {
    let home = case();
    let before = rollouts_below(&home.path());
    assert_eq!(found(&home, "stray_rollout"), STRAYS);
    assert_eq!(found(&home, "stray_copy"), [""; 0], "a file of another program holds no line");
    let (listed, bytes): (Vec<Value>, Vec<Vec<u8>>) = (
        home.json(&["list", "--all", "--limit", "100"]).as_array().unwrap().clone(),
        before.iter().map(|path| fs::read(path).unwrap()).collect(),
    );
    assert_eq!(listed.len(), 5);

    let paths: Vec<String> = STRAYS.iter().map(|path| home.path().join(path).to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = ["import"].into_iter().chain(paths.iter().map(String::as_str)).chain(["--json"]).collect();
    let run = home.run(&args);
    let imported: Value = serde_json::from_str(&run.out).unwrap();
    let imported = imported.as_array().unwrap();

    // Each line of each file is in a thread now, and the files themselves are as they were.
    assert_eq!(found(&home, "stray_rollout"), [""; 0]);
    assert_eq!(found(&home, "stray_copy"), STRAYS);
    for (path, bytes) in before.iter().zip(&bytes) {
        assert_eq!(&fs::read(path).unwrap(), bytes, "{}", path.display());
    }
    let mut exported = BTreeSet::new();
    for thread in home.json(&["list", "--all", "--limit", "100"]).as_array().unwrap() {
        let text = home.ok(&["export", thread["id"].as_str().unwrap()]);
        exported.extend(text.lines().map(str::to_owned));
    }
    let missing: Vec<String> =
        all_lines(&before).into_iter().filter(|line| line.starts_with('{') && !exported.contains(line)).collect();
    assert_eq!(missing, [""; 0]);

    // A thread that the home did not have keeps its id and its bytes.
    let of = |place: &str| imported.iter().find(|one| one["file"].as_str().unwrap().ends_with(place)).unwrap();
    for (place, id) in
        [(STRAYS[1], "01a1000c-0054-7000-800c-0003acdd4fd4"), (STRAYS[14], "01a1000e-0062-7000-800e-000449acdd22")]
    {
        let one = of(place);
        assert_eq!((&one["thread_id"], &one["forked_from_id"]), (&id.into(), &Value::Null), "{one}");
        assert_eq!(fs::read(one["path"].as_str().unwrap()).unwrap(), fs::read(home.path().join(place)).unwrap());
    }
    // An archived one is archived, and a copy of a conflict is a fork of its thread.
    assert!(of(STRAYS[0])["path"].as_str().unwrap().contains("/archived_sessions/rollout-2026-09-10T08-09-00-"));
    assert_eq!(of(STRAYS[5])["forked_from_id"], "01a10002-000e-7000-8002-00009ccf8d4e");
    // An id that is none becomes a new one.
    assert_eq!(of("session-nineteen.jsonl")["forked_from_id"], Value::Null);

    // A second time there is nothing new, and nothing changes.
    let files = rollouts_below(&home.path());
    let again = home.run(&args);
    assert_eq!((again.code, again.out.trim()), (1, "[]"), "{}", again.err);
    assert!(
        again.err.contains("22 of 22 files were not taken in") && again.err.contains("holds nothing new"),
        "{}",
        again.err
    );
    assert_eq!(rollouts_below(&home.path()), files);
}

#[test]
fn a_conflict_copy_of_a_thread_in_either_mode_becomes_a_fork_with_all_of_its_lines() {
    let home = Home::sample("story-0.169.0");
    home.ok(&["list", "--all"]);
    let variants = [("legacy", false), ("paginated", false), ("paginated", true), ("legacy", true)];
    for (number, (mode, compress)) in variants.into_iter().enumerate() {
        let there = format!("there {number}");
        let id = home.new_thread(&["--mode", mode]);
        assert_eq!(home.append(&id, message("both")).code, 0);
        let (_, _, path) =
            crate::support::rollouts(&home.path()).into_iter().find(|(thread, ..)| *thread == id).unwrap();
        let mut copy = path.with_extension("sync-conflict-20261121-090000-ABCDEFG.jsonl");
        fs::copy(&path, &copy).unwrap();
        assert_eq!(found(&home, "stray_copy").len(), 1, "{mode}");
        // Two machines go on with it.
        assert_eq!(home.append(&id, message("here")).code, 0);
        let both = fs::read_to_string(&copy).unwrap();
        let mut other = message(&there);
        if mode == "paginated" {
            let ordinal = format!("\"ordinal\":{},\"type\"", both.lines().count());
            other = other.replacen("\"type\":\"response_item\"", &format!("{ordinal}:\"response_item\""), 1);
        }
        let other = other.replacen('{', "{\"timestamp\":\"2026-11-21T10:00:00.000Z\",", 1);
        fs::write(&copy, [both, other].concat()).unwrap();
        if compress {
            let frame = zstd::encode_all(&fs::read(&copy).unwrap()[..], 3).unwrap();
            fs::remove_file(&copy).unwrap();
            copy = path.with_extension("jsonl (1).zst");
            fs::write(&copy, frame).unwrap();
        }
        assert_eq!(found(&home, "stray_rollout").len(), 1, "{mode} {compress}");
        let fork = home.ok(&["import", copy.to_str().unwrap()]).trim().to_owned();
        assert_ne!(fork, id);
        assert_eq!(home.texts(&id), ["both", "here"], "{mode}: the thread itself is as it was");
        assert_eq!(home.texts(&fork), ["both", &there], "{mode}");
        let record = &home.json(&["list", "--all", "--limit", "100"]);
        let record = record.as_array().unwrap().iter().find(|one| one["id"] == *fork).unwrap();
        assert_eq!(record["forked_from_id"], *id);
        // It goes on like any other thread.
        assert_eq!(home.append(&fork, message("further")).code, 0);
        assert_eq!(home.texts(&fork), ["both", &there, "further"], "{mode}");
        assert_eq!(found(&home, "stray_rollout"), [""; 0]);
        fs::remove_file(&copy).unwrap();
    }
    let doctor = home.run(&["doctor"]);
    assert!(!doctor.out.contains("foreign_head") && !doctor.out.contains("ordinal"), "{}", doctor.out);
}

#[test]
fn a_rollout_beside_the_home_or_in_it_becomes_its_thread() {
    let from = Home::sample("story-0.144.6");
    let home = Home::sample("story-0.169.0");
    let (_, _, path) = crate::support::rollouts(&from.path()).into_iter().find(|(thread, ..)| thread == T144).unwrap();
    let beside = home.path().join(path.file_name().unwrap());
    fs::copy(&path, &beside).unwrap();
    assert_eq!(found(&home, "stray_rollout").len(), 1);
    assert_eq!(home.ok(&["import", path.to_str().unwrap()]).trim(), T144);
    assert_eq!(home.ok(&["export", T144]), from.ok(&["export", T144]));
    assert_eq!(found(&home, "stray_rollout"), [""; 0]);
}

#[test]
fn what_is_no_rollout_or_holds_nothing_new_is_refused() {
    let home = Home::sample("story-0.169.0");
    let (_, _, own) = crate::support::rollouts(&home.path()).into_iter().find(|(thread, ..)| thread == T169).unwrap();
    let junk = home.folder().join("junk.jsonl");
    fs::write(&junk, b"\0\0 no line\n").unwrap();
    let missing = home.folder().join("missing.jsonl");
    for (path, why) in [
        (&own, "holds nothing new"),
        (&junk, "holds no line"),
        (&missing, "cannot read"),
        (&home.folder().to_owned(), "no regular file"),
    ] {
        let before = rollouts_below(&home.path());
        let run = home.run(&["import", path.to_str().unwrap()]);
        assert!(run.code == 1 && run.err.contains(why), "{}: {}", path.display(), run.err);
        assert_eq!(rollouts_below(&home.path()), before);
    }
}
