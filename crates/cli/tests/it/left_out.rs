//! What cannot be read, and what does not belong among the rollouts, costs only itself, and the program names it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::other_user::{as_plain_user, give_to_plain_user, lock, unlock};
use crate::support::{Home, RunResult, T169, run};

const OLD: &str = "01a1fd5d-1111-7000-8000-000000000001";
const NEW: &str = "01a1fd5d-2222-7000-8000-000000000002";

fn head(id: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-21T09:00:00.000Z\",\"type\":\"session_meta\",\"payload\":{{\"id\":\"{id}\",\
         \"timestamp\":\"2026-11-21T09:00:00.000Z\",\"cwd\":\"/srv/work\",\"originator\":\"codex_cli_rs\",\
         \"cli_version\":\"0.144.6\",\"source\":\"cli\"}}}}\n{{\"timestamp\":\"2026-11-21T09:00:01.000Z\",\"type\":\
         \"event_msg\",\"payload\":{{\"type\":\"user_message\",\"message\":\"zebra of {id}\"}}}}\n"
    )
}

/// Creates a home with a thread on each of two days. The second one is the directory to be locked.
fn two_days() -> (Home, PathBuf) {
    let home = Home::empty();
    let day = |day: &str, id: &str| {
        let dir = home.path().join("sessions/2026/11").join(day);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).unwrap();
        let file = dir.join(format!("rollout-2026-11-{day}T09-00-00-{id}.jsonl"));
        fs::write(&file, head(id)).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        dir
    };
    day("21", OLD);
    let locked = day("22", NEW);
    give_to_plain_user(&home);
    (home, locked)
}

fn run_plain(home: &Home, args: &[&str]) -> RunResult {
    run(as_plain_user(home, &mut home.command(args)))
}

/// Returns the ids that a list shows.
fn listed(home: &Home, args: &[&str]) -> Vec<String> {
    let run = run_plain(home, &[&["list", "--json"], args].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let threads: Value = serde_json::from_str(&run.out).unwrap();
    threads.as_array().unwrap().iter().map(|thread| thread["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_that_cannot_be_read_costs_only_itself_in_every_verb() {
    for filled in [false, true] {
        let (home, dir) = two_days();
        if filled {
            assert_eq!(listed(&home, &[]), [NEW, OLD]);
        }
        lock(&dir);
        for verb in [
            &["list"][..],
            &["list", "--json"],
            &["search", "zebra"],
            &["stats"],
            &["tree"],
            &["show", OLD],
            &["context", OLD],
            &["export", OLD],
            &["index", "status"],
            &["index", "sync"],
            &["compress", "--older-than", "1"],
            &["rename", OLD, "kept"],
            &["archive", "kept"],
            &["unarchive", "kept"],
            &["fork", OLD],
            &["new", "--name", "further"],
        ] {
            for index in [&[][..], &["--index", "off"]] {
                if index == ["--index", "off"] && verb[0] == "index" {
                    continue;
                }
                let run = run_plain(&home, &[index, verb].concat());
                let warnings: Vec<&str> = run.err.lines().filter(|line| line.contains("left out")).collect();
                assert!(run.code == 0, "{verb:?} {index:?}: {}", run.err);
                assert_eq!(warnings.len(), 1, "{verb:?} {index:?}: {}", run.err);
                let expected = format!("{} (Permission denied)", dir.display());
                assert!(warnings[0].contains(&expected), "{verb:?} {index:?}: {}", run.err);
                assert!(!run.out.contains(NEW), "{verb:?} {index:?}: {}", run.out);
            }
        }
        // The thread in it may build on this one.
        let run = run_plain(&home, &["delete", "--yes", OLD]);
        assert!(run.code == 1 && run.err.contains("cannot be read, and may hold threads"), "{}", run.err);
        let run = run_plain(&home, &["show", NEW]);
        assert!(run.code == 3 && run.err.contains(&*dir.to_string_lossy()), "{} {}", run.code, run.err);

        let doctor = run_plain(&home, &["doctor", "--json"]);
        assert_eq!(doctor.code, 1, "{}", doctor.err);
        let report: Value = serde_json::from_str(&doctor.out).unwrap();
        let found: Vec<&Value> =
            report["findings"].as_array().unwrap().iter().filter(|one| one["severity"] == "fault").collect();
        assert_eq!(found.len(), 1, "{}", doctor.out);
        assert_eq!((&found[0]["kind"], &found[0]["path"]), (&"unreadable".into(), &dir.to_string_lossy().into()));
        assert!(found[0]["detail"].as_str().unwrap().contains("Permission denied"));

        // It comes back by itself.
        unlock(&dir);
        let ids = listed(&home, &["--sort", "created"]);
        assert!(ids.contains(&NEW.to_owned()) && ids.contains(&OLD.to_owned()), "{ids:?}");
        assert!(!run_plain(&home, &["list"]).err.contains("left out"));
        let doctor = run_plain(&home, &["doctor", "--deep"]);
        assert_eq!(doctor.code, 0, "{} {}", doctor.out, doctor.err);
    }
}

#[test]
fn the_index_keeps_the_threads_of_a_directory_that_cannot_be_read_for_a_while() {
    let (home, dir) = two_days();
    assert_eq!(listed(&home, &[]), [NEW, OLD]);
    lock(&dir);
    assert_eq!(listed(&home, &[]), [OLD], "the index and the logs give the same answer");
    run_plain(&home, &["index", "sync"]);
    let status: Value = serde_json::from_str(&run_plain(&home, &["index", "status", "--json"]).out).unwrap();
    assert_eq!(status["threads"], 2, "{status}");
    unlock(&dir);
    let sync: Value = serde_json::from_str(&run_plain(&home, &["index", "sync", "--json"]).out).unwrap();
    assert_eq!((&sync["read_whole"], &sync["removed"]), (&0.into(), &0.into()), "{sync}");
    assert_eq!(listed(&home, &[]), [NEW, OLD]);
}

#[test]
fn a_file_that_cannot_be_read_costs_only_itself() {
    for index in [&[][..], &["--index", "off"]] {
        let (home, dir) = two_days();
        let file = dir.join(format!("rollout-2026-11-22T09-00-00-{NEW}.jsonl"));
        lock(&file);
        for verb in [&["list"][..], &["search", "zebra"], &["stats"], &["tree"]] {
            // Twice: the index must not take the home for read and forget to say so.
            for _ in 0..2 {
                let run = run_plain(&home, &[index, verb].concat());
                assert_eq!(run.code, 0, "{verb:?}: {}", run.err);
                let warnings: Vec<&str> = run.err.lines().filter(|line| line.contains("left out")).collect();
                assert_eq!(warnings.len(), 1, "{verb:?} {index:?}: {}", run.err);
                assert!(warnings[0].contains(&format!("{} (Permission denied)", file.display())), "{}", run.err);
            }
        }
        assert_eq!(listed(&home, index), [OLD]);
        let doctor = run_plain(&home, &["doctor", "--json"]);
        let report: Value = serde_json::from_str(&doctor.out).unwrap();
        let kinds: Vec<&Value> = report["findings"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        assert!(kinds.contains(&&"unreadable".into()) && doctor.code == 1, "{}", doctor.out);
        unlock(&file);
        assert_eq!(listed(&home, index), [NEW, OLD]);
    }
}

#[test]
fn foreign_folders_and_special_files_are_left_out_with_one_warning() {
    let home = Home::sample("story-0.169.0");
    let sessions = home.path().join("sessions");
    let before = home.ok(&["list", "--all", "--json"]);
    let day = fs::read_dir(sessions.join("2026/11")).unwrap().next().unwrap().unwrap().path();
    let foreign = [
        sessions.join("lost+found"),
        sessions.join(".Trash-0"),
        sessions.join("2026/node_modules"),
        sessions.join("2026/11/foo"),
        day.join("extra"),
        home.path().join("archived_sessions/2026"),
    ];
    for dir in &foreign {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("notes.jsonl"), "{\"a\":1}\n").unwrap();
    }
    let fifos = [sessions.join("pipe"), day.join(format!("rollout-2026-11-21T09-00-00-{NEW}.jsonl"))];
    for fifo in &fifos {
        assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    }
    let socket = sessions.join("2026/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();

    for (number, index) in [&[][..], &[], &["--index", "off"]].into_iter().enumerate() {
        let run = home.run(&[&["list", "--all", "--json"], index].concat());
        assert_eq!((run.code, &run.out), (0, &before), "{}", run.err);
        let warnings: Vec<&str> = run.err.lines().filter(|line| line.contains("left out")).collect();
        assert_eq!(warnings.len(), 1, "run {number}: {}", run.err);
        assert!(warnings[0].contains("and 6 more, which `selvedge doctor` names"), "{}", run.err);
    }
    let doctor = home.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&doctor.out).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for path in foreign.iter().chain(&fifos).chain([&socket]) {
        let is_of = |one: &&Value| one["path"] == *path.to_string_lossy();
        let found: Vec<&Value> = findings.iter().filter(is_of).collect();
        assert_eq!(found.len(), 1, "{}: {}", path.display(), doctor.out);
        assert_eq!((&found[0]["kind"], &found[0]["severity"]), (&"foreign".into(), &"notice".into()));
    }
    assert!(home.ok(&["show", T169]).contains("zebra"));
}

#[test]
fn a_home_without_anything_foreign_gets_no_warning() {
    let home = Home::sample("story-0.169.0");
    let dir = home.path().join("sessions");
    // What systems put into every directory is no reason for a warning.
    for name in [".DS_Store", "Thumbs.db", "desktop.ini"] {
        fs::write(dir.join(name), "x").unwrap();
        fs::write(home.path().join("archived_sessions").join(name), "x").unwrap();
    }
    for verb in [&["list"][..], &["stats"], &["doctor"]] {
        let run = home.run(verb);
        assert!(!run.err.contains("left out"), "{verb:?}: {}", run.err);
    }
}

#[test]
fn names_and_locks_that_cannot_be_read_cost_only_themselves() {
    for name in ["session_index.jsonl", "thread-writer-locks"] {
        let (home, _) = two_days();
        assert_eq!(run_plain(&home, &["rename", OLD, "kept"]).code, 0);
        let path = home.path().join(name);
        // The directory of locks is there while a thread is written.
        if name == "thread-writer-locks" {
            fs::create_dir_all(&path).unwrap();
        }
        lock(&path);
        for index in [&[][..], &["--index", "off"]] {
            assert_eq!(listed(&home, index).len(), 2, "{name}");
        }
        let doctor = run_plain(&home, &["doctor", "--json"]);
        let report: Value = serde_json::from_str(&doctor.out).unwrap_or_else(|error| panic!("{error}: {}", doctor.err));
        let is_reported = |one: &Value| one["kind"] == "unreadable" && one["path"] == *path.to_string_lossy();
        assert!(doctor.code == 1 && report["findings"].as_array().unwrap().iter().any(is_reported), "{}", doctor.out);
        unlock(&path);
    }
}

#[test]
fn a_file_that_the_index_knows_and_that_cannot_be_read_any_more_costs_only_its_hits() {
    let (home, dir) = two_days();
    assert_eq!(listed(&home, &[]), [NEW, OLD]);
    let file = dir.join(format!("rollout-2026-11-22T09-00-00-{NEW}.jsonl"));
    lock(&file);
    let search = run_plain(&home, &["search", "zebra", "--json"]);
    assert!(search.code == 0 && search.out.contains(OLD) && !search.out.contains(NEW), "{} {}", search.err, search.out);
    let expected = format!("{} (Permission denied)", file.display());
    assert!(search.err.lines().count() == 1 && search.err.contains(&expected), "{}", search.err);
    let show = run_plain(&home, &["show", NEW]);
    assert!(show.code == 1 && show.err.contains("Permission denied"), "{}", show.err);
    unlock(&file);
    assert!(run_plain(&home, &["search", "zebra", "--json"]).out.contains(NEW));
}
