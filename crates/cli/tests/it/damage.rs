//! Damaged files: they are read as far as possible, and reading does not change them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Home, RunResult, T144, line, message, meta_line, rollouts, small_log};

const ID: &str = "01a1fd5d-bbbb-7000-8000-000000000000";

/// Reads the thread with every verb. Returns the JSON of `show` and its notes.
fn read(home: &Home, name: &str) -> (Value, String) {
    let before = fs::read(home.file(ID)).unwrap();
    let listed = home.json(&["list"]);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|thread| thread["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [ID], "{name}");
    for verb in [&["list"][..], &["show", ID], &["context", ID], &["search", "yaks"], &["search", "yaks", "--json"]] {
        let RunResult { code, err, .. } = home.run(verb);
        assert_eq!(code, 0, "{name} {verb:?}: {err}");
    }
    let export = home.command(&["export", ID]).output().unwrap();
    assert!(export.status.success() && export.stdout == before, "{name}: the export differs");
    let run = home.run(&["show", ID, "--json"]);
    assert_eq!(run.code, 0, "{name}: {}", run.err);
    assert_eq!(fs::read(home.file(ID)).unwrap(), before, "{name}: reading changed the file");
    (serde_json::from_str(&run.out).unwrap(), run.err)
}

/// Returns the messages of users and agents.
fn messages(shown: &Value) -> Vec<&str> {
    let turns = shown["turns"].as_array().unwrap().iter();
    turns.flat_map(|turn| turn["items"].as_array().unwrap()).filter_map(|item| item["text"].as_str()).collect()
}

/// Checks that the thread can be continued.
fn check_it_can_be_continued(home: &Home, name: &str) {
    let run = home.append(ID, message("continued"));
    assert_eq!(run.code, 0, "{name}: {}", run.err);
    assert_eq!(home.texts(ID).last().unwrap(), "continued", "{name}");
}

#[test]
fn intact_lines_are_read_whatever_is_between_them() {
    let log = small_log(ID);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let between = |bytes: &[u8]| [lines[..3].concat().as_bytes(), bytes, lines[3..].concat().as_bytes()].concat();
    let cases: [(&str, Vec<u8>, bool); 9] = [
        ("blank lines", between(b"\n\n  \n"), false),
        ("no json", between(b"no json at all\n"), true),
        ("invalid UTF-8", between(b"{\"type\":\"event_msg\",\"payload\":\"\xff\xfe\"}\n"), true),
        ("NUL block", between(&[0; 4096]), true),
        ("NUL line", between(&[&[0; 4096][..], b"\n"].concat()), true),
        ("torn line", between(b"{\"timestamp\":\"2026-11-21T09:00:01.000Z\",\"type\":\"resp\n"), true),
        ("torn tail", [log.as_bytes(), b"{\"timestamp\":\"2026-11-21T09"].concat(), true),
        ("byte order mark", ["\u{feff}".as_bytes(), log.as_bytes()].concat(), true),
        ("CRLF", log.replace('\n', "\r\n").into_bytes(), false),
    ];
    for (name, bytes, is_damage) in cases {
        let home = Home::with_file(ID, &bytes);
        let (shown, notes) = read(&home, name);
        assert_eq!(shown["thread"]["preview"], "how are the yaks", "{name}");
        assert_eq!(messages(&shown), ["how are the yaks", "woolly"], "{name}");
        assert_eq!(notes.contains("note: damaged: "), is_damage, "{name}: {notes}");
        check_it_can_be_continued(&home, name);
    }
}

#[test]
fn unknown_kinds_are_not_damage() {
    let log = small_log(ID)
        + &line("of_tomorrow", &json!({"type": "x"}))
        + &line("event_msg", &json!({"type": "of_tomorrow"}));
    let home = Home::with_file(ID, log.as_bytes());
    let (shown, notes) = read(&home, "unknown kinds");
    assert_eq!((messages(&shown).len(), notes.as_str()), (2, ""));
    check_it_can_be_continued(&home, "unknown kinds");
}

#[test]
fn a_thread_without_a_readable_first_line_has_the_id_in_its_file_name() {
    let log = small_log(ID);
    let rest = log.split_once('\n').unwrap().1;
    for (name, first) in [
        ("missing", ""),
        ("broken", "{\"timestamp\":\"2026-11-2\n"),
        ("of another kind", "{}\n"),
        ("NUL", "\0\0\0\0\n"),
    ] {
        let home = Home::with_file(ID, format!("{first}{rest}").as_bytes());
        let (shown, _) = read(&home, name);
        assert_eq!(shown["thread"]["id"], ID, "{name}");
        assert_eq!(messages(&shown), ["how are the yaks", "woolly"], "{name}");
        check_it_can_be_continued(&home, name);
    }
}

#[test]
fn a_rollout_without_content_is_an_error_or_can_be_continued() {
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("newline", b"\n"),
        ("one NUL", b"\0"),
        ("NUL block", &[0; 8192]),
        ("not text", b"\xff\xfe\xfd"),
        ("torn head", b"{\"timest"),
    ] {
        let home = Home::with_file(ID, bytes);
        for verb in [&["list"][..], &["list", "--json"], &["search", "x"]] {
            assert_eq!(home.run(verb).code, 0, "{name} {verb:?}");
        }
        for verb in [
            &["show", ID][..],
            &["show", ID, "--json"],
            &["context", ID],
            &["export", ID],
            &["fork", ID],
            &["rename", ID, "x"],
        ] {
            let run = home.run(verb);
            assert!(run.code == 0 || run.err.starts_with("error: "), "{name} {verb:?}: {run:?}");
        }
        let run = home.append(ID, message("continued"));
        assert!(run.code == 0 || run.err.starts_with("error: "), "{name}: {run:?}");
        if run.code == 0 {
            assert_eq!(home.texts(ID), ["continued"], "{name}");
        }
        assert_eq!(home.run(&["list"]).code, 0, "{name}");
    }
}

#[test]
fn damage_is_reported_with_its_location() {
    let log = small_log(ID) + &"broken\n".repeat(20);
    let home = Home::with_file(ID, log.as_bytes());
    let notes = home.run(&["show", ID]).err;
    let first = notes.lines().next().unwrap();
    assert!(first.starts_with("note: damaged: ") && first.contains(&format!("{ID}.jsonl, line 6, bytes ")), "{notes}");
    assert!(notes.ends_with("note: everything else was read; nothing was changed\n"), "{notes}");
    assert!(notes.lines().count() <= 7, "{notes}");
}

/// Returns how many bytes a line has that is longer than every buffer. `SELVEDGE_LINE_MB=100` is the whole test, which takes a minute.
fn long_line() -> usize {
    std::env::var("SELVEDGE_LINE_MB").map_or(20, |text| text.parse().unwrap()) << 20
}

#[test]
fn a_line_of_many_megabytes_is_read() {
    let log = small_log(ID);
    let (head, rest) = log.split_once('\n').unwrap();
    let long = line(
        "response_item",
        &json!({"type": "function_call_output", "call_id": "c", "output": "x".repeat(long_line())}),
    );
    let home = Home::with_file(ID, [head, "\n", &long, rest].concat().as_bytes());
    assert_eq!(home.json(&["list"])[0]["preview"], "how are the yaks");
    let shown = home.json(&["show", ID]);
    assert_eq!(messages(&shown), ["how are the yaks", "woolly"]);
    let context = home.command(&["context", ID]).output().unwrap();
    assert!(context.status.success() && context.stdout.len() > long_line());
    let export = home.command(&["export", ID]).output().unwrap();
    assert!(
        export.status.success()
            && export.stdout.len() == usize::try_from(fs::metadata(home.file(ID)).unwrap().len()).unwrap()
    );
    check_it_can_be_continued(&home, "a long line");
}

#[test]
fn a_line_of_many_megabytes_is_appended() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let run = home.append(&id, message(&"x".repeat(long_line())) + &message("after"));
    assert_eq!((run.code, run.out.lines().count()), (0, 2), "{}", run.err);
    let export = home.command(&["export", &id]).output().unwrap();
    assert!(export.stdout.len() > long_line());
}

#[test]
fn a_fork_whose_base_is_missing_keeps_its_own_lines() {
    let home = Home::sample("story-0.169.0");
    let (fork, _, path) = rollouts(&home.path())
        .into_iter()
        .find(|(id, _, path)| id.starts_with("01a1fd5d-add7") && path.exists())
        .unwrap();
    let own = fs::read_to_string(&path).unwrap();
    for (id, _, path) in rollouts(&home.path()) {
        if id.starts_with("01a1fd5d-aacb") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 4);
    let run = home.run(&["show", &fork, "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("note: damaged: segment 01a1fd5d-aacb"), "{}", run.err);
    assert_eq!(home.run(&["export", &fork]).out, own);
}

#[test]
fn a_broken_name_index_costs_only_what_is_broken() {
    let home = Home::sample("story-0.144.6");
    let index = home.path().join("session_index.jsonl");
    let broken =
        [b"\xff\xfe\n\0\0\0\n{\"id\":\n[]\n".as_slice(), &fs::read(&index).unwrap(), b"{\"id\":\"torn"].concat();
    fs::write(&index, broken).unwrap();
    assert_eq!(home.json(&["show", T144])["thread"]["name"], "Thread on zebras");
    assert_eq!(home.json(&["rename", T144, "other"])["name"], "other");
    assert_eq!(home.json(&["show", T144])["thread"]["name"], "other");
}

#[test]
fn files_that_are_not_rollouts_are_skipped() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    let day = home.file(ID).parent().unwrap().to_path_buf();
    for name in [
        "rollout-2026-11-21T09-00-00-no-uuid.jsonl",
        "rollout-.jsonl",
        ".DS_Store",
        "notes.txt",
        "rollout-日本.jsonl",
        "x.zst",
    ] {
        fs::write(day.join(name), "{}").unwrap();
    }
    fs::write(home.path().join("sessions/2026/readme"), "").unwrap();
    read(&home, "strange names");
}

#[test]
fn a_torn_compressed_file_is_an_error_or_read_in_part() {
    let log = small_log(ID).repeat(50);
    let compressed = zstd::encode_all(log.as_bytes(), 3).unwrap();
    for bytes in [&compressed[..compressed.len() / 2], b"no zstd", b""] {
        let home = Home::empty();
        home.write(ID, b"");
        fs::remove_file(home.file(ID)).unwrap();
        fs::write(format!("{}.zst", home.file(ID).display()), bytes).unwrap();
        assert_eq!(home.run(&["list", "--json"]).code, 0);
        let show = home.run(&["show", ID]);
        assert_eq!(show.code, 0, "{show:?}");
        assert!(bytes.is_empty() || show.err.contains("note: damaged: "), "{show:?}");
        assert_eq!(home.run(&["context", ID]).code, 0);
        let export = home.run(&["export", ID]);
        assert!(export.code == 0 || export.err.starts_with("error: cannot export "), "{export:?}");
    }
}

#[test]
fn a_second_head_of_another_thread_changes_nothing() {
    let other = "01a1fd5d-ffff-7000-8000-000000000000";
    let home = Home::with_file(ID, (small_log(ID) + &meta_line(other)).as_bytes());
    let (shown, _) = read(&home, "two heads");
    assert_eq!(shown["thread"]["id"], ID);
    assert_eq!(home.run(&["show", other]).code, 3);
}

/// Runs as a user who can read every file but one. As root every file can be read.
#[cfg(unix)]
#[test]
fn an_unreadable_file_is_an_error_and_hides_no_other_thread() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let home = Home::sample("story-0.169.0");
    let program = home.folder().join("selvedge");
    fs::copy(env!("CARGO_BIN_EXE_selvedge"), &program).unwrap();
    home.write(ID, small_log(ID).as_bytes());
    fs::set_permissions(home.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.file(ID), fs::Permissions::from_mode(0o000)).unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command
            .env_clear()
            .env("HOME", home.user())
            .arg("--home")
            .arg(home.path())
            .args(args)
            .stdin(std::process::Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        crate::support::run(&mut command)
    };
    let listed = run(&["list", "--json"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let threads: Value = serde_json::from_str(&listed.out).unwrap();
    assert!(threads.as_array().unwrap().len() >= 5, "{threads}");
    assert_eq!(run(&["search", "yaks"]).code, 0);
    for verb in ["show", "context", "export", "append"] {
        let run = run(&[verb, ID]);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{verb}: {run:?}");
        // A writer fails earlier, because it cannot claim a thread in this home.
        let named = verb == "append" || run.err.contains(ID);
        assert!(run.err.contains("Permission denied") && named, "{verb}: {}", run.err);
    }
}
