//! `selvedge doctor`: its findings, its repairs and its exit codes.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Home, T169, UNKNOWN, message, small_log};

const ID: &str = "01a1fd5d-bbbb-7000-8000-000000000000";

/// Narrows the permissions of a new home, so that only its content is left to find.
fn narrow_permissions(home: &Home) {
    home.run(&["doctor", "--repair"]);
}

fn kinds(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["severity"] == "fault").map(|finding| finding["kind"].as_str().unwrap()).collect()
}

fn report(home: &Home, args: &[&str]) -> (i32, Value) {
    let run = home.run(&[&["doctor", "--json"], args].concat());
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}")))
}

#[test]
fn damage_is_found_and_repaired_and_then_the_home_is_clean() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    narrow_permissions(&home);
    let clean = home.run(&["doctor"]);
    assert_eq!(clean.code, 0, "{clean:?}");
    assert!(clean.out.ends_with("0 faults, 0 notices\n"), "{clean:?}");

    let whole = fs::read(home.file(ID)).unwrap();
    let damaged = [&whole[..], b"junk\n\0\0\0\0", &whole[..30]].concat();
    fs::write(home.file(ID), &damaged).unwrap();
    let (code, found) = report(&home, &[]);
    assert_eq!((code, kinds(&found)), (1, vec!["not_json", "torn"]), "{found}");
    let first = &found["findings"][0];
    assert_eq!(first["range"]["start"], whole.len());
    assert_eq!((&first["line"], &first["thread_id"], &first["mendable"]), (&6.into(), &ID.into(), &true.into()));
    assert_eq!(found["checked"]["files"], 1);
    let text = home.run(&["doctor", &ID[..13]]);
    assert!(text.out.contains("not_json, line 6, bytes ") && text.err.contains("--repair"), "{text:?}");

    let (code, planned) = report(&home, &["--repair", "--dry-run"]);
    assert_eq!((code, planned["repairs"][0]["action"].as_str()), (1, Some("rewrite_file")), "{planned}");
    assert_eq!(fs::read(home.file(ID)).unwrap(), damaged);

    let (code, repaired) = report(&home, &["--repair"]);
    assert_eq!((code, &repaired["left"]), (0, &Value::Array(Vec::new())), "{repaired}");
    assert_eq!(fs::read(home.file(ID)).unwrap(), whole);
    let kept = repaired["repairs"][0]["kept"].as_str().unwrap();
    assert_eq!(fs::read(kept).unwrap(), damaged);
    assert_eq!(home.run(&["doctor"]).code, 0);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn only_the_named_threads_are_checked() {
    let home = Home::with_file(ID, b"junk\n");
    home.write(T169, small_log(T169).as_bytes());
    narrow_permissions(&home);
    home.write(ID, b"junk\n");
    assert_eq!(home.run(&["doctor", T169]).code, 0);
    assert_eq!(home.run(&["doctor", ID]).code, 1);
    assert_eq!(home.run(&["doctor", UNKNOWN]).code, 3);
}

#[test]
fn a_thread_that_another_process_writes_is_not_repaired() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    narrow_permissions(&home);
    let mut writer = home.spawn_append(ID);
    std::io::Write::write_all(writer.stdin.as_mut().unwrap(), message("one").as_bytes()).unwrap();
    let mut answer = [0; 2];
    std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut answer).unwrap();
    let bytes = [&b"junk\n"[..], &fs::read(home.file(ID)).unwrap()].concat();
    fs::write(home.file(ID), &bytes).unwrap();
    let run = home.run(&["doctor", "--repair"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains(&format!("being written by process {}", writer.id())), "{run:?}");
    assert_eq!(fs::read(home.file(ID)).unwrap(), bytes);
    drop(writer.stdin.take());
    writer.wait().unwrap();
    assert_eq!(home.run(&["doctor", "--repair"]).code, 0);
}

#[test]
fn show_and_context_report_a_missing_base() {
    let home = Home::sample("story-0.169.0");
    for (id, _, path) in crate::support::rollouts(&home.path()) {
        if id == T169 {
            fs::remove_file(path).unwrap();
        }
    }
    narrow_permissions(&home);
    let (code, found) = report(&home, &[]);
    assert_eq!(code, 1);
    assert!(kinds(&found).iter().all(|kind| *kind == "missing_base") && !kinds(&found).is_empty(), "{found}");
    let fork = found["findings"][0]["thread_id"].as_str().unwrap();
    for verb in ["show", "context"] {
        let run = home.run(&[verb, fork]);
        assert_eq!(run.code, 0);
        assert!(run.err.contains("there is no such segment in this home"), "{verb}: {run:?}");
    }
}

/// Returns the exit code of the doctor, its report on the index, and the kinds of the findings in there.
fn index_report(home: &Home, args: &[&str]) -> (i32, Value, Vec<String>) {
    let (code, report) = report(home, args);
    let index = report["index"].clone();
    let kinds = index["findings"].as_array().into_iter().flatten();
    let kinds = kinds.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect();
    (code, index, kinds)
}

#[test]
fn an_index_is_checked_and_repaired() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    home.write(T169, small_log(T169).as_bytes());
    narrow_permissions(&home);
    assert_eq!(index_report(&home, &[]), (0, Value::Null, Vec::new()));
    assert!(home.ok(&["doctor"]).contains("index: none to check"));
    home.ok(&["index", "sync"]);
    assert_eq!(index_report(&home, &["--deep"]).2, Vec::<String>::new());

    // A change since the last update is only a notice.
    let mut log = fs::read(home.file(ID)).unwrap();
    log.extend(small_log(ID).lines().nth(1).unwrap().bytes().chain(*b"\n"));
    fs::write(home.file(ID), log).unwrap();
    let (code, index, kinds) = index_report(&home, &[]);
    assert_eq!((code, kinds), (0, vec!["changed".to_owned()]), "{index}");
    assert!(home.ok(&["doctor"]).contains("0 faults, 1 notice\n"));

    // Nor is it a fault that another program deletes a thread.
    fs::remove_file(home.file(T169)).unwrap();
    let (code, index, kinds) = index_report(&home, &[]);
    assert_eq!((code, kinds), (0, vec!["deleted".to_owned(), "changed".to_owned()]), "{index}");
    assert_eq!((&index["findings"][0]["detail"], &index["threads"]), (&"1 threads were deleted".into(), &2.into()));
    assert_eq!(home.run(&["doctor", "--index", "off"]).code, 0);
    assert!(home.ok(&["doctor", "--index", "off"]).contains("index: switched off"));
    assert_eq!(index_report(&home, &["--repair", "--dry-run"]).0, 0);

    let (code, index, _) = index_report(&home, &["--repair"]);
    assert_eq!(
        (code, &index["left"], &index["repair"]["report"]["removed"]),
        (0, &Value::Array(Vec::new()), &1.into())
    );
    assert_eq!(index_report(&home, &["--deep"]).2, Vec::<String>::new());
}

#[test]
fn a_file_that_is_not_an_index_is_found_and_set_aside() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    narrow_permissions(&home);
    let path = home.path().join("selvedge-index.sqlite");
    fs::write(&path, "my notes").unwrap();
    let (code, _, kinds) = index_report(&home, &[]);
    assert_eq!((code, kinds), (1, vec!["unusable_index".to_owned()]));
    assert_eq!(fs::read_to_string(&path).unwrap(), "my notes");
    let run = home.run(&["doctor", "--repair"]);
    assert!(run.code == 0 && run.out.contains("set aside the index"), "{run:?}");
    assert_eq!(home.run(&["doctor"]).code, 0);
    assert_eq!(home.json(&["index", "status"])["threads"], 1);
}

#[test]
fn compress_and_repair_wait_for_a_program_that_maintains_the_rollouts() {
    let home = Home::with_file(ID, small_log(ID).as_bytes());
    home.write(T169, &[small_log(T169).as_bytes(), b"junk\n"].concat());
    // As Codex makes it.
    fs::create_dir_all(home.path().join(".tmp")).unwrap();
    let lock = fs::File::create(home.path().join(".tmp/rollout-maintenance.lock")).unwrap();
    let start = |args: &[&str]| {
        let mut command = home.command(args);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    lock.lock().unwrap();
    // Reading and plans wait for no one.
    assert_eq!(home.run(&["doctor", "--repair", "--dry-run"]).code, 1);
    home.ok(&["compress", ID, "--dry-run"]);
    let both = [start(&["compress", ID]), start(&["doctor", "--repair"])];
    for child in both {
        let run = crate::support::RunResult::from(child.wait_with_output().unwrap());
        let me = format!("waiting for process {}, which compresses, migrates or repairs", std::process::id());
        assert!(run.code == 4 && run.err.contains(&me), "{run:?}");
        assert!(run.err.contains("nothing was changed") && run.err.contains("hint: "), "{run:?}");
    }
    assert!(home.file(ID).exists());
    let mut waiting = start(&["compress", ID]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.try_wait().unwrap().is_none());
    lock.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
    assert!(!home.file(ID).exists());
    assert_eq!(home.run(&["doctor", "--repair"]).code, 0);
}

#[test]
fn a_home_is_healthy_after_any_thread_was_deleted() {
    let ids: Vec<String> =
        crate::support::rollouts(&Home::sample("story-0.169.0").path()).into_iter().map(|(id, ..)| id).collect();
    for id in ids.into_iter().collect::<std::collections::BTreeSet<_>>() {
        for (index, prepare) in [("on", ""), ("on", "compress"), ("off", ""), ("on", "rewind"), ("on", "archive")] {
            let home = Home::sample("story-0.169.0");
            narrow_permissions(&home);
            home.ok(&["rename", &id, "a name"]);
            home.ok(&["index", "sync"]);
            // A lock file that a dead writer left.
            fs::create_dir_all(home.path().join("thread-writer-locks")).unwrap();
            fs::write(home.path().join(format!("thread-writer-locks/{id}.lock")), "").unwrap();
            match prepare {
                "" => {}
                "rewind" => drop(home.run(&["rewind", &id, "--turns", "1"])),
                verb => drop(home.run(&[verb, &id])),
            }
            let options: &[&str] = if index == "off" { &["--index", "off"] } else { &[] };
            home.ok(&[&["delete", &id, "--yes", "--detach"], options].concat());
            let (code, report) = report(&home, &["--deep"]);
            assert_eq!((code, kinds(&report)), (0, Vec::new()), "{id}, index {index}, {prepare}: {report}");
            assert!(!home.ok(&["list", "--all"]).contains(&id[..13]));
        }
    }
}

/// Appends a turn to the first segment of a thread, as a program does that did not notice a rewind.
fn go_on_in_first_segment(home: &Home, id: &str, text: &str) {
    let (_, _, path) =
        crate::support::rollouts(&home.path()).into_iter().find(|(of, later, _)| of == id && !later).unwrap();
    let mut log = fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let line = |ordinal: u64, kind: &str, payload: Value| {
        let ordinal = last["ordinal"].as_u64().unwrap() + ordinal;
        format!(
            "{}\n",
            json!({"timestamp": "2099-01-01T00:00:00.000Z", "ordinal": ordinal, "type": kind, "payload": payload})
        )
    };
    log += &line(1, "event_msg", json!({"type": "task_started", "turn_id": text}));
    let content = json!([{"type": "text", "text": text}]);
    let item = json!({"type": "UserMessage", "id": text, "content": content});
    log += &line(2, "event_msg", json!({"type": "item_completed", "thread_id": id, "turn_id": text, "item": item}));
    log += &line(3, "event_msg", json!({"type": "task_complete", "turn_id": text}));
    fs::write(path, log).unwrap();
}

#[test]
fn a_diverged_history_is_reported_and_kept_as_a_fork() {
    let home = Home::sample("story-0.169.0");
    narrow_permissions(&home);
    assert!(home.json(&["show", T169]).get("diverged").is_none());
    let before = home.ok(&["export", T169]);
    go_on_in_first_segment(&home, T169, "behind your back");

    let shown = home.run(&["show", T169, "--json"]);
    let diverged: Value = serde_json::from_str(&shown.out).unwrap();
    let diverged = &diverged["diverged"][0];
    assert_eq!((&diverged["segment_id"], &diverged["turns"], &diverged["lines"]), (&T169.into(), &1.into(), &3.into()));
    assert!(shown.err.contains("warning: the history has diverged") && shown.err.contains("doctor"), "{shown:?}");
    let appended = home.append(T169, message("more"));
    assert!(appended.code == 0 && appended.err.contains("warning: the history has diverged"), "{appended:?}");

    let (code, found) = report(&home, &[]);
    assert_eq!((code, kinds(&found)), (1, vec!["diverged_history"]), "{found}");
    assert!(found["findings"][0]["remedy"].as_str().unwrap().contains("fork"), "{found}");
    let (code, repaired) = report(&home, &["--repair"]);
    assert_eq!((code, &repaired["left"]), (0, &json!([])), "{repaired}");
    let step = &repaired["repairs"][0];
    let fork = step["new_thread_id"].as_str().unwrap();
    assert_eq!((&step["action"], &step["thread_id"]), (&"fork".into(), &T169.into()));

    assert!(home.ok(&["export", T169]).starts_with(&before));
    let turns = home.json(&["show", fork])["turns"].clone();
    assert_eq!(turns.as_array().unwrap().last().unwrap()["items"][0]["text"], "behind your back");
    let rows = home.json(&["list", "--all"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["id"] == fork).unwrap();
    assert_eq!(row["forked_from_id"], T169);
    assert!(row["name"].as_str().unwrap().ends_with("(diverged)"), "{row}");
    for id in [T169, fork] {
        assert_eq!(home.run(&["show", id]).err, "");
    }
    assert_eq!(report(&home, &["--deep"]).0, 0);
}

#[cfg(unix)]
#[test]
fn notices_of_one_kind_are_one_line_and_json_has_each_of_them() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::empty();
    let ids: Vec<String> = (1..=5).map(|number| format!("01a1fd5d-bbbb-7000-8000-00000000000{number}")).collect();
    for id in &ids {
        home.write(id, small_log(id).as_bytes());
    }
    narrow_permissions(&home);
    let open_to_others = |id: &String| fs::set_permissions(home.file(id), fs::Permissions::from_mode(0o644)).unwrap();
    open_to_others(&ids[0]);
    let one = home.run(&["doctor"]);
    assert!(one.out.contains("\n  wide_mode: ") && !one.out.contains("--json"), "{one:?}");

    ids.iter().for_each(open_to_others);
    let torn = [small_log(&ids[4]).as_bytes(), b"{\"torn"].concat();
    fs::write(home.file(&ids[4]), torn).unwrap();
    let run = home.run(&["doctor"]);
    let lines: Vec<&str> = run.out.lines().collect();
    let notices: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("wide_mode")).collect();
    let fault = lines.iter().position(|line| line.contains("torn, line 6")).unwrap();
    assert!(notices.len() == 1 && fault < notices[0], "{run:?}");
    let example = format!("wide_mode, 5 times, for example {}: its mode is 0644", home.file(&ids[0]).display());
    assert!(lines[notices[0]].starts_with(&example), "{run:?}");
    assert!(lines[notices[0] + 2].contains("--json"), "{run:?}");
    let (_, found) = report(&home, &[]);
    let modes = found["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "wide_mode");
    assert_eq!(modes.count(), 5, "{found}");
}
