//! `selvedge compress`: which threads it selects, what it prints, and what it skips.

use serde_json::{Value, json};

use crate::support::{ARCHIVED169, Home, PLAIN169, T169, UNKNOWN, message, rollouts, small_log};

/// Returns whether the files of a thread are compressed. Either all of them are, or none.
fn is_compressed(home: &Home, id: &str) -> bool {
    let files: Vec<bool> = rollouts(&home.path())
        .into_iter()
        .filter(|(thread, ..)| thread == id)
        .map(|(.., path)| path.extension().unwrap() == "zst")
        .collect();
    assert!(files.iter().all(|compressed| *compressed == files[0]), "{id}: {files:?}");
    files[0]
}

fn compressed(home: &Home) -> usize {
    rollouts(&home.path()).iter().filter(|(.., path)| path.extension().unwrap() == "zst").count()
}

fn ids(report: &Value) -> Vec<String> {
    report["threads"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn named_threads_are_compressed_and_can_be_continued() {
    let home = Home::sample("story-0.169.0");
    home.run(&["doctor", "--repair"]);
    let before = [T169, PLAIN169].map(|id| home.ok(&["export", id]));
    let printed = home.ok(&["compress", T169, &PLAIN169[..18], T169]);
    assert!(printed.starts_with("compressed: 2 threads (") && printed.contains(" KiB → "), "{printed}");
    assert!(is_compressed(&home, T169) && is_compressed(&home, PLAIN169) && !is_compressed(&home, ARCHIVED169));
    assert_eq!([T169, PLAIN169].map(|id| home.ok(&["export", id])), before);
    let doctor = home.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    assert_eq!(home.ok(&["compress", T169]), "compressed: 0 threads (0 files), 0 B → 0 B\n");

    let run = home.append(PLAIN169, message("more"));
    assert_eq!(run.code, 0, "{run:?}");
    let after = home.ok(&["export", PLAIN169]);
    assert!(after.starts_with(&before[1]) && after.contains("more") && !is_compressed(&home, PLAIN169));
    assert_eq!(home.run(&["doctor"]).code, 0);
}

#[test]
fn old_threads_are_compressed() {
    let home = Home::empty();
    let old = ["01a1fd5d-bbbb-7000-8000-000000000001", "01a1fd5d-bbbb-7000-8000-000000000002"];
    let [active, archived] = old;
    for id in old {
        home.write(id, (small_log(id).replace("2026-11-21", "2020-11-21") + "\n".repeat(4096).as_str()).as_bytes());
    }
    home.ok(&["archive", archived]);
    let young = home.new_thread(&[]);
    let planned = |args: &[&str]| {
        let plan = home.json(&[&["compress", "--dry-run"], args].concat());
        assert_eq!((&plan["total"]["bytes_after"], compressed(&home)), (&Value::Null, 0), "{plan}");
        ids(&plan)
    };
    assert_eq!(planned(&["--older-than", "30"]), [active]);
    assert_eq!(planned(&["--older-than", "2w", "--archived"]), [archived]);
    assert_eq!(planned(&["--older-than", "0"]), [&young, active]);
    assert_eq!(planned(&[&young]), [&*young]);
    let lines = home.ok(&["compress", "--older-than", "30", "--dry-run"]);
    assert!(lines.starts_with(active) && lines.contains("\nto compress: 1 thread (1 file), "), "{lines}");

    let done = home.json(&["compress", "--older-than", "12h", "--all"]);
    let mut found = ids(&done);
    found.sort_unstable();
    assert_eq!((found, &done["left"]), (old.map(str::to_owned).to_vec(), &json!([])));
    assert!(!is_compressed(&home, &young) && is_compressed(&home, active) && is_compressed(&home, archived));
    let total = |sum: &str| done["total"][sum].as_u64().unwrap();
    assert!(total("files") == 2 && total("bytes_after") < total("bytes_before") / 2, "{done}");
}

#[test]
fn a_thread_that_another_process_writes_is_skipped() {
    let home = Home::empty();
    let (busy, other) = (home.new_thread(&[]), home.new_thread(&[]));
    let mut writer = home.spawn_append(&busy);
    let mut acknowledged = String::new();
    {
        use std::io::{BufRead, BufReader, Write};
        writer.stdin.as_mut().unwrap().write_all(message("one").as_bytes()).unwrap();
        BufReader::new(writer.stdout.as_mut().unwrap()).read_line(&mut acknowledged).unwrap();
    }
    let named = home.run(&["compress", &busy, &other]);
    assert_eq!(named.code, 4, "{named:?}");
    assert!(named.err.contains("1 of 2 threads were not compressed") && named.err.contains(&busy), "{named:?}");
    assert!(is_compressed(&home, &other) && !is_compressed(&home, &busy));
    let all = home.run(&["compress", "--older-than", "0", "--json"]);
    let left: Value = serde_json::from_str(&all.out).unwrap();
    assert_eq!((all.code, &left["left"][0]["id"]), (0, &busy.as_str().into()), "{all:?}");
    drop(writer.stdin.take());
    writer.wait().unwrap();
    assert_eq!(home.run(&["compress", &busy]).code, 0);
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let home = Home::sample("story-0.169.0");
    for (args, code, wanted) in [
        (&["compress"][..], 2, "--older-than DAYS"),
        (&["compress", "--all"], 2, "--older-than DAYS"),
        (&["compress", "--dry-run"], 2, "--older-than DAYS"),
        (&["compress", T169, "--older-than", "3"], 2, "cannot be used with"),
        (&["compress", "--older-than", "soon"], 2, "neither a number of days nor an age"),
        (&["compress", "--older-than", "1", "--all", "--archived"], 2, "cannot be used with"),
        (&["compress", UNKNOWN], 3, "not found"),
    ] {
        let run = home.run(args);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{args:?}: {run:?}");
        assert!(run.err.contains(wanted), "{args:?}: {run:?}");
    }
    assert_eq!(compressed(&home), 0);
    let help = home.ok(&["compress", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("decompresses one before it appends"), "{help}");
}
