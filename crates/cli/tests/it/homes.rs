//! How the home is found, and homes that cannot be used.

use std::fs;
use std::process::Stdio;

use crate::support::{ARCHIVED169, Home, T169, run};

/// Returns the home in which `new` creates a thread when these variables are set.
fn home_of(home: &Home, variables: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = home.bare();
    command.args(args).args(["new", "--json"]).envs(variables.iter().copied()).stdin(Stdio::null());
    let run = run(&mut command);
    assert_eq!(run.code, 0, "{}", run.err);
    let thread: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let path = thread["location"].as_str().unwrap();
    let home = home.folder().canonicalize().unwrap().display().to_string();
    let inside = path.strip_prefix(&home).or_else(|| path.strip_prefix("./")).unwrap_or(path);
    inside.trim_start_matches('/').split("/sessions/").next().unwrap().to_owned()
}

#[test]
fn the_option_and_the_variables_that_name_the_home_have_an_order() {
    let home = Home::missing();
    let at = |name: &str| home.folder().canonicalize().unwrap().join(name).display().to_string();
    let (selvedge, codex, option) = (at("selvedge"), at("codex"), at("option"));
    let both = [("SELVEDGE_HOME", selvedge.as_str()), ("CODEX_HOME", codex.as_str())];
    assert_eq!(home_of(&home, &both, &["--home", &option]), "option");
    assert_eq!(home_of(&home, &both, &[]), "selvedge");
    assert_eq!(home_of(&home, &both[1..], &[]), "codex");
    assert_eq!(home_of(&home, &[("SELVEDGE_HOME", ""), both[1]], &[]), "codex");
    assert_eq!(home_of(&home, &[], &[]), "user/.selvedge");
    fs::create_dir(home.user().join(".codex")).unwrap();
    assert_eq!(home_of(&home, &[], &[]), "user/.codex");
}

#[test]
fn paths_of_threads_are_absolute() {
    let home = Home::missing();
    let file = home.folder().canonicalize().unwrap().join("here/sessions").display().to_string();
    for (variable, args) in [("", &["--home", "here"][..]), ("SELVEDGE_HOME", &[]), ("CODEX_HOME", &[])] {
        let mut command = home.bare();
        command.args(args).args(["new", "--json"]).stdin(Stdio::null());
        if !variable.is_empty() {
            command.env(variable, "here");
        }
        let run = run(&mut command);
        let thread: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert!(thread["location"].as_str().unwrap().starts_with(&file), "{variable}: {}", run.out);
    }
}

#[test]
fn a_missing_home_is_reported_with_its_path() {
    let home = Home::missing();
    for verb in [
        &["list"][..],
        &["show", T169],
        &["append", T169],
        &["search", "x"],
        &["list", "--json"],
        &["delete", T169, "-y"],
    ] {
        let run = home.run(verb);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{verb:?}");
        assert!(
            run.err.starts_with(&format!("error: home {} does not exist\nhint: ", home.path().display())),
            "{}",
            run.err
        );
    }
    assert!(!home.path().exists());
}

#[test]
fn a_home_that_is_a_file_is_refused() {
    let home = Home::missing();
    fs::write(home.path(), "no home").unwrap();
    for verb in ["list", "new"] {
        let run = home.run(&[verb]);
        assert_eq!(run.code, 1);
        assert!(
            run.err.starts_with(&format!("error: home {} is not a directory\nhint: ", home.path().display())),
            "{}",
            run.err
        );
    }
    assert_eq!(fs::read_to_string(home.path()).unwrap(), "no home");
}

#[test]
fn an_empty_home_has_no_threads() {
    let home = Home::empty();
    let run = home.run(&["list"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert!(run.err.starts_with("no such threads in "), "{}", run.err);
    assert_eq!(home.ok(&["list", "--json"]), "[]\n");
    assert_eq!(home.ok(&["search", "x", "--json"]), "[]\n");
    // Reading creates no file.
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

/// Returns a file of the time zone database for a zone that is always nine hours ahead.
#[cfg(unix)]
fn nine_hours_ahead() -> Vec<u8> {
    let mut block = b"TZif2".to_vec();
    block.extend([0; 15]);
    // No indicators, leap seconds or transitions; one type, and an abbreviation of four bytes.
    block.extend([0_u32, 0, 0, 0, 1, 4].iter().flat_map(|count| count.to_be_bytes()));
    block.extend(32_400_i32.to_be_bytes());
    block.extend(b"\0\0NHA\0");
    [&block, &block[..], b"\nNHA-9\n"].concat()
}

#[cfg(unix)]
#[test]
fn file_names_use_local_time_also_with_a_named_time_zone() {
    let home = Home::missing();
    let zones = home.folder().join("zones");
    fs::create_dir_all(zones.join("Made")).unwrap();
    fs::write(zones.join("Made/Up"), nine_hours_ahead()).unwrap();
    let hour_of = |zone: &str| {
        let mut command = home.command(&["new", "--json"]);
        let run = run(command.env("TZDIR", &zones).env("TZ", zone).stdin(Stdio::null()));
        let thread: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let (path, created) = (thread["location"].as_str().unwrap(), thread["created_at"].as_str().unwrap());
        let name = path.rsplit_once("rollout-").unwrap().1;
        let hour = |text: &str| text["2026-11-21T".len()..][..2].parse::<u32>().unwrap();
        (24 + hour(name) - hour(created)) % 24
    };
    assert_eq!(hour_of("UTC"), 0);
    assert_eq!(hour_of("NHA-9"), 9);
    assert_eq!(hour_of("Made/Up"), 9);
}

#[cfg(unix)]
#[test]
fn new_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::missing();
    let thread: serde_json::Value = home.json(&["new", "--name", "secret"]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = std::path::PathBuf::from(thread["location"].as_str().unwrap());
    assert_eq!(mode(&file), 0o600);
    for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(home.path())) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    let copy = home.folder().join("copy.jsonl");
    home.ok(&["export", thread["id"].as_str().unwrap(), "-o", copy.to_str().unwrap()]);
    assert_eq!(mode(&copy), 0o600);
}

#[test]
fn a_directory_in_place_of_a_file_is_skipped_or_an_error() {
    let home = Home::sample("story-0.169.0");
    let day = home.path().join("sessions/2026/11/21");
    let id = "01a1fd5d-dddd-7000-8000-000000000000";
    fs::create_dir(day.join(format!("rollout-2026-11-21T09-00-00-{id}.jsonl"))).unwrap();
    let threads = home.json(&["list"]);
    assert!(threads.as_array().unwrap().iter().all(|thread| thread["id"] != id));
    for verb in [&["show", id][..], &["context", id], &["export", id], &["append", id]] {
        let run = home.run(verb);
        assert!(matches!(run.code, 1 | 3) && run.err.contains("error: "), "{verb:?}: {run:?}");
        assert!(run.err.contains("(a directory in the place of a rollout)"), "{verb:?}: {run:?}");
    }
    // If the name index is a directory, the list has no names or is an error.
    fs::remove_file(home.path().join("session_index.jsonl")).unwrap();
    fs::create_dir(home.path().join("session_index.jsonl")).unwrap();
    let run = home.run(&["list", "--json"]);
    assert!(run.code == 0 || (run.code == 1 && run.err.contains("session_index.jsonl")), "{run:?}");
    let run = home.run(&["rename", ARCHIVED169, "name"]);
    assert!(run.code == 1 && run.err.contains("session_index.jsonl"), "{run:?}");
}

#[test]
fn a_file_in_place_of_the_sessions_is_named_and_an_error_of_a_write() {
    let home = Home::empty();
    fs::write(home.path().join("sessions"), "").unwrap();
    let run = home.run(&["list"]);
    assert!(run.code == 0 && run.err.contains("/sessions (Not a directory)"), "{run:?}");
    let run = home.run(&["doctor"]);
    assert!(run.code == 1 && run.out.contains("unreadable"), "{run:?}");
    let run = home.run(&["new"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("error: ") && run.err.contains("sessions"), "{}", run.err);
}

#[test]
fn a_home_whose_path_is_not_unicode_is_listed() {
    use std::os::unix::ffi::OsStrExt;

    let outer = Home::empty();
    let path = outer.folder().join(std::ffi::OsStr::from_bytes(b"\xff"));
    let new = outer.bare().arg("--home").arg(&path).args(["new", "--json"]).output().unwrap();
    assert!(new.status.success(), "{new:?}");
    let thread: serde_json::Value = serde_json::from_slice(&new.stdout).unwrap();
    assert!(thread["location"].as_str().unwrap().contains('\u{fffd}'));
}

#[test]
fn an_unreadable_name_index_hides_no_thread() {
    let home = Home::empty();
    let id = home.run(&["new"]).out.trim().to_owned();
    fs::create_dir(home.path().join("session_index.jsonl")).unwrap();
    let run = home.run(&["list"]);
    assert!(run.code == 0 && run.out.contains(&id[..8]), "{run:?}");
    assert!(run.err.contains("names are not shown"), "{}", run.err);
    assert_eq!(home.run(&["archive", &id]).code, 0);
    assert_eq!(home.run(&["rename", &id, "a name"]).code, 1);
}
