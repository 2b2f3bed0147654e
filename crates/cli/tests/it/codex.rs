//! Threads that Codex knows: what Codex would not notice is refused before anything is changed, or forced.
//!
//! The database is one that Codex 0.171.0 made (`samples/databases-0.171.0`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Home, PLAIN169, RunResult, T144, run, samples};

/// Threads of `story-0.171.0-rows`, all of them paginated.
const NAMED: &str = "01a222c1-1e9f-7e70-a6be-b5044bd0be43";
const PLAIN: &str = "01a222c1-1f46-71e3-8484-f0bf8c201f16";
const ARCHIVED: &str = "01a222c1-1efb-7572-ae93-e7f325d94a83";
const PARENT: &str = "01a222c1-1f90-7853-819c-1311133584b2";
const SUB_AGENT: &str = "01a222c1-2014-7b90-b2ac-008a9667ceb2";

/// Legacy threads of `story-0.144.6`, beside T, whose name Codex has in its database. F has its name from the name index.
const F144: &str = "01a1fd5d-c6c8-7a71-ac95-699c8dab1ede";
const ARCHIVED144: &str = "01a1fd5d-d016-74b2-9a71-e86411827f4b";

const ROWS: &str = "story-0.171.0-rows";

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

/// Runs a verb without a program of Codex.
fn alone(home: &Home, args: &[&str]) -> RunResult {
    run(home.command(args).env("SELVEDGE_CODEX", "off"))
}

/// Runs a verb that has to be refused, and checks that it changed nothing.
fn refused(home: &Home, args: &[&str]) -> String {
    let before = files(home);
    let refused = alone(home, args);
    assert_eq!((refused.code, refused.out.as_str()), (4, ""), "{args:?}: {}", refused.err);
    assert!(refused.err.contains("state_5.sqlite") && refused.err.contains("--force"), "{args:?}: {}", refused.err);
    assert!(files(home) == before, "{args:?}: something was written");
    refused.err
}

#[test]
fn a_paginated_rewind_that_codex_would_not_notice_is_refused() {
    let home = known_home(ROWS);
    let complaint = refused(&home, &["rewind", PLAIN, "--turns", "1"]);
    assert!(complaint.contains("goes on with the undone turns"), "{complaint}");

    let forced = alone(&home, &["rewind", PLAIN, "--turns", "1", "--force"]);
    assert_eq!((forced.code, forced.out), (0, format!("rewound {PLAIN} by 1 turn\n")), "{}", forced.err);
    assert!(forced.err.contains("Codex does not notice this change: "), "{}", forced.err);
    // From here on, the two programs are in different segments.
    let complaint = refused(&home, &["rewind", PLAIN, "--turns", "1"]);
    assert!(complaint.contains("Codex is in another segment"), "{complaint}");
}

#[test]
fn every_change_that_codex_would_not_notice_is_refused() {
    for (sample, args) in [
        (ROWS, &["rewind", NAMED, "--before", "1"][..]),
        (ROWS, &["archive", PLAIN]),
        (ROWS, &["unarchive", ARCHIVED]),
        (ROWS, &["rename", PLAIN, "A new name"]),
        (ROWS, &["rename", NAMED, "A new name"]),
        (ROWS, &["rename", NAMED, "--clear"]),
        (ROWS, &["delete", PLAIN, "--yes"]),
        ("story-0.144.6", &["unarchive", ARCHIVED144]),
        ("story-0.144.6", &["rename", T144, "A new name"]),
        ("story-0.144.6", &["rename", T144, "--clear"]),
        ("story-0.144.6", &["rename", F144, "--clear"]),
        ("story-0.144.6", &["delete", T144, "--yes"]),
    ] {
        let home = known_home(sample);
        refused(&home, args);
        let forced = alone(&home, &[args, &["--force"]].concat());
        assert_eq!(forced.code, 0, "{args:?}: {}", forced.err);
        assert!(forced.err.contains("Codex does not notice this change: Codex "), "{args:?}: {}", forced.err);
    }
}

#[test]
fn a_change_that_codex_notices_is_made() {
    for (sample, args) in [
        ("story-0.144.6", &["rewind", T144, "--turns", "1"][..]),
        ("story-0.144.6", &["archive", T144]),
        // The name index is where Codex finds the name of this thread.
        ("story-0.144.6", &["rename", F144, "A new name"]),
        // Nothing changes for Codex.
        ("story-0.144.6", &["rename", T144, "A name of Codex"]),
        ("story-0.144.6", &["archive", ARCHIVED144]),
        (ROWS, &["rename", PLAIN, "--clear"]),
        (ROWS, &["archive", ARCHIVED]),
        (ROWS, &["unarchive", PLAIN]),
    ] {
        let done = alone(&known_home(sample), args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn threads_that_codex_does_not_know_are_changed() {
    let home = known_home("story-0.169.0");
    for args in [&["rewind", PLAIN169, "--turns", "1"][..], &["rename", PLAIN169, "A name"], &["archive", PLAIN169]] {
        let done = alone(&home, args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn the_json_answer_says_what_codex_does_not_notice() {
    let home = known_home(ROWS);
    for args in [&["rename", NAMED, "A new name"][..], &["rewind", PLAIN, "--turns", "1"], &["delete", PARENT, "--yes"]]
    {
        let answer = home.json(&[args, &["--force"]].concat());
        assert_eq!(answer["id"], args[1]);
        assert!(answer["unnoticed_by_codex"].as_str().unwrap().starts_with("Codex "), "{answer}");
    }
    assert_eq!(home.json(&["show", SUB_AGENT])["thread"]["id"], SUB_AGENT, "only the files of the thread are deleted");
}

#[test]
fn the_databases_are_found_where_codex_keeps_them() {
    let home = known_home(ROWS);
    let (rewind, folder) = (["rewind", PLAIN, "--turns", "1"], home.path().join("databases"));
    fs::create_dir(&folder).unwrap();
    fs::rename(home.path().join("state_5.sqlite"), folder.join("state_5.sqlite")).unwrap();
    let in_variable = run(home.command(&rewind).env("SELVEDGE_CODEX", "off").env("CODEX_SQLITE_HOME", &folder));
    assert_eq!(in_variable.code, 4, "{}", in_variable.err);
    fs::write(home.path().join("config.toml"), "sqlite_home = 'databases'\n").unwrap();
    refused(&home, &rewind);
}

#[test]
fn a_database_that_cannot_be_read_refuses_the_change() {
    let home = known_home(ROWS);
    fs::write(home.path().join("state_9.sqlite"), "not a database, but long enough for one to be suspected").unwrap();
    let (rewind, before) = (["rewind", PLAIN, "--turns", "1"], files(&home));
    let refused = alone(&home, &rewind);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("state_9.sqlite, the database of Codex"), "{}", refused.err);
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert!(files(&home) == before, "something was written");
    assert_eq!(alone(&home, &[&rewind[..], &["--force"]].concat()).code, 0);
}

#[test]
fn the_sub_agents_that_codex_would_delete_are_named_first() {
    let home = known_home(ROWS);
    let program = std::env::current_exe().unwrap();
    let before = files(&home);
    // The program is not started.
    let refused = home.run(&["delete", PARENT, "--yes", "--codex", program.to_str().unwrap()]);
    assert_eq!((refused.code, refused.out.as_str()), (4, ""));
    assert!(refused.err.contains(SUB_AGENT) && refused.err.contains("--sub-agents"), "{}", refused.err);
    assert!(files(&home) == before, "something was written");
}

#[test]
fn a_program_that_is_not_there_is_a_wrong_command_line() {
    let home = known_home(ROWS);
    for program in ["/nowhere/codex", "no-such-codex"] {
        let run = home.run(&["archive", PLAIN, "--codex", program]);
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(run.err.contains(program), "{}", run.err);
    }
}

/// Small programs in place of Codex, only for what the real one does not do when a test wants it. What the real one does is in `cargo
/// xtask interop`.
#[cfg(unix)]
mod stand_ins {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    /// Answers the greeting, and reads one request.
    const GREET: &str = r#"#!/bin/sh
read -r hello
echo 'no object'
echo '{"method": "some/notification", "params": {}}'
echo '{"id": 1, "result": {"userAgent": "selvedge/9.8.7 (Somewhere 1; x86_64)"}}'
read -r initialized
read -r request
"#;

    /// Writes a program, and returns its path.
    fn program(home: &Home, script: &str) -> String {
        let path = home.folder().join("codex");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a verb with a program that does nothing, and checks that nothing was changed.
    fn fails(script: &str, args: &[&str]) -> RunResult {
        let home = known_home(ROWS);
        let before = files(&home);
        let program = program(&home, script);
        let mut command = home.command(args);
        // The shell that runs the stand-in needs a PATH.
        command.env("PATH", "/usr/bin:/bin").env("SELVEDGE_CODEX", program).env("SELVEDGE_CODEX_TIMEOUT", "2");
        let failed = run(&mut command);
        assert_eq!(failed.out, "");
        assert!(
            failed.err.contains("the change was not made") || failed.err.contains("do not show it"),
            "{}",
            failed.err
        );
        assert!(files(&home) == before, "something was written");
        failed
    }

    #[test]
    fn a_refusal_is_passed_on() {
        let refuse = |reason: &str| {
            let error = json!({"id": 2, "error": {"code": -32600, "message": reason}});
            fails(&format!("{GREET}echo '{error}'\ncat > /dev/null\n"), &["rewind", PLAIN, "--turns", "1"])
        };
        let other = refuse("This chat uses a provider that is no longer configured.");
        assert_eq!(other.code, 4);
        assert!(other.err.contains("Codex 9.8.7") && other.err.contains("no longer configured"), "{}", other.err);
        assert!(other.err.contains("--force"), "{}", other.err);
        let held = refuse(&format!("thread {PLAIN} already has an active writer"));
        assert_eq!(held.code, 4);
        assert!(held.err.contains("wait until") && !held.err.contains("--force"), "{}", held.err);
        let old = refuse("Invalid request: unknown variant `thread/resume`, expected one of `initialize`");
        assert_eq!(old.code, 4);
        assert!(old.err.contains("is too old: it does not know thread/resume"), "{}", old.err);
        assert!(old.err.contains("--codex") && !old.err.contains("unknown variant"), "{}", old.err);
    }

    #[test]
    fn the_last_words_of_a_program_that_dies_are_reported() {
        for script in ["#!/bin/sh\n", GREET] {
            let died = fails(&format!("{script}echo 'the database is newer' >&2\nexit 3\n"), &["archive", PLAIN]);
            assert_eq!(died.code, 1);
            assert!(died.err.contains("ended without an answer: the database is newer"), "{}", died.err);
        }
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_what_it_started() {
        for script in ["#!/bin/sh\n", GREET] {
            let started = Instant::now();
            // Both ignore the end of their input. The second one stays in the group of the first.
            let hung = fails(&format!("{script}sleep 300 &\necho $! >&2\nwait\n"), &["archive", PLAIN]);
            assert_eq!(hung.code, 1);
            assert!(hung.err.contains("did not answer for 2 s and was ended"), "{}", hung.err);
            assert!(started.elapsed().as_secs() < 60);
        }
    }

    #[test]
    fn the_children_of_a_program_that_hangs_are_gone() {
        let home = known_home(ROWS);
        let noted = home.folder().join("child");
        let program = program(&home, &format!("#!/bin/sh\nsleep 300 &\necho $! > {}\nwait\n", noted.display()));
        let mut command = home.command(&["archive", PLAIN, "--codex", &program]);
        let hung = run(command.env("PATH", "/usr/bin:/bin").env("SELVEDGE_CODEX_TIMEOUT", "1"));
        assert_eq!(hung.code, 1, "{}", hung.err);
        let child: i32 = fs::read_to_string(noted).unwrap().trim().parse().unwrap();
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let end = Instant::now() + std::time::Duration::from_secs(20);
        // It may stay for a moment, until its parent takes its exit code.
        while rustix::process::test_kill_process(child).is_ok() && !is_zombie(child) {
            assert!(Instant::now() < end, "the child still runs");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn is_zombie(process: rustix::process::Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
        stat.contains(") Z ")
    }

    #[test]
    fn an_answer_counts_only_if_the_files_show_the_change() {
        let lies =
            fails(&format!("{GREET}echo '{{\"id\": 2, \"result\": {{}}}}'\ncat > /dev/null\n"), &["archive", PLAIN]);
        assert_eq!(lies.code, 1);
        assert!(lies.err.contains("Codex 9.8.7 reports that it made the change"), "{}", lies.err);
    }

    #[test]
    fn a_change_that_was_made_counts_also_without_an_answer() {
        let home = known_home(ROWS);
        let line = json!({"id": NAMED, "thread_name": "A new name", "updated_at": "2026-11-28T16:00:00Z"});
        let index = home.path().join("session_index.jsonl");
        let program = program(&home, &format!("{GREET}echo '{line}' >> {}\nexit 1\n", index.display()));
        let mut command = home.command(&["rename", NAMED, "A new name", "--json", "--codex", &program]);
        let done = run(command.env("PATH", "/usr/bin:/bin"));
        assert_eq!(done.code, 0, "{}", done.err);
        let answer: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&answer["name"], &answer["made_by"]), (&json!("A new name"), &json!("Codex 9.8.7")));
        assert!(done.err.contains("made the change, but then ended without an answer"), "{}", done.err);
    }

    #[test]
    fn requests_of_the_program_are_declined_and_no_tool_server_is_started() {
        let home = known_home(ROWS);
        let servers = "[mcp_servers.weather]\ncommand = 'a'\n[mcp_servers.'odd name']\ncommand = 'b'\n";
        fs::write(home.path().join("config.toml"), servers).unwrap();
        let noted = home.folder().join("noted");
        let note = format!("echo \"$@\" > {0}; echo \"$CODEX_HOME\" >> {0}; pwd >> {0}\n", noted.display());
        let asks = "echo '{\"id\": 77, \"method\": \"may/I\", \"params\": {}}'\nread -r declined\n";
        let ends = format!("echo \"$declined\" >> {}\nexit 1\n", noted.display());
        let script = GREET.replace("read -r hello\n", &format!("{note}read -r hello\n"));
        let program = program(&home, &format!("{script}{asks}{ends}"));
        let failed = run(home.command(&["archive", PLAIN, "--codex", &program]).env("PATH", "/usr/bin:/bin"));
        assert_eq!(failed.code, 1, "{}", failed.err);
        let noted = fs::read_to_string(noted).unwrap();
        let noted: Vec<&str> = noted.lines().collect();
        let home = home.path();
        assert_eq!(noted[..2], ["app-server -c mcp_servers.weather.enabled=false", home.to_str().unwrap()]);
        assert_eq!(Path::new(noted[2]), home.canonicalize().unwrap());
        let declined: Value = serde_json::from_str(noted[3]).unwrap();
        assert_eq!((&declined["id"], &declined["error"]["code"]), (&json!(77), &json!(-32601)));
    }

    #[test]
    fn the_program_is_found_on_the_path() {
        let home = known_home(ROWS);
        program(&home, "#!/bin/sh\necho 'found on the path' >&2\n");
        let path = format!("relative:{}:/usr/bin:/bin", home.folder().display());
        let found = run(home.command(&["archive", PLAIN]).env("PATH", &path));
        assert!(found.err.contains("found on the path"), "{}", found.err);
        let off = run(home.command(&["archive", PLAIN, "--codex", "off"]).env("PATH", &path));
        assert_eq!(off.code, 4, "{}", off.err);
    }
}
