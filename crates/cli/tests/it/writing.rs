//! The verbs that write.

use std::fs;
use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use crate::support::{ARCHIVED169, Home, PLAIN169, T144, T169, UNKNOWN, line, message, rollouts, user_message};

/// Returns a turn with one message of the user. Each history mode keeps one of the two events for it.
fn turn(id: &str, text: &str) -> String {
    let event = |payload: Value| format!("{}\n", json!({"type": "event_msg", "payload": payload}));
    let user = json!({"type": "UserMessage", "id": format!("{id}-item"), "content": [{"type": "text", "text": text}]});
    [
        event(json!({"type": "task_started", "turn_id": id})),
        message(text),
        user_message(text),
        event(json!({"type": "item_completed", "turn_id": id, "item": user})),
        event(json!({"type": "task_complete", "turn_id": id})),
    ]
    .concat()
}

fn turn_ids(home: &Home, id: &str) -> Vec<String> {
    let shown = home.json(&["show", id]);
    shown["turns"].as_array().unwrap().iter().map(|turn| turn["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_thread_is_visible_immediately() {
    let home = Home::missing();
    let id = home.new_thread(&[
        "--cwd",
        "/home/dev/proj",
        "--model",
        "m-1",
        "--provider",
        "p",
        "--name",
        "Yaks",
        "--source",
        "exec",
    ]);
    let thread = home.json(&["show", &id])["thread"].clone();
    assert_eq!(thread["id"], id);
    assert_eq!(thread["cwd"], "/home/dev/proj");
    assert_eq!(thread["model"], "m-1");
    assert_eq!(thread["model_provider"], "p");
    assert_eq!(thread["name"], "Yaks");
    assert_eq!(thread["source"], "exec");
    assert_eq!(thread["originator"], "selvedge");
    assert_eq!(thread["history_mode"], "paginated");
    assert_eq!(home.json(&["list"])[0]["id"], id);
    let context = home.json(&["context", &id]);
    assert_eq!(context["history"], json!([]));
    assert!(context["window"]["window_id"].is_string());
}

#[test]
fn a_new_thread_has_the_mode_id_and_source_that_were_given() {
    let home = Home::missing();
    let thread = home.json(&["new", "--mode", "legacy", "--id", UNKNOWN, "--source", r#"{"subagent":"review"}"#]);
    assert_eq!(thread["id"], UNKNOWN);
    assert_eq!(thread["history_mode"], "legacy");
    assert_eq!(thread["source"], json!({"subagent": "review"}));
    assert_eq!(thread["cwd"], home.folder().canonicalize().unwrap().to_str().unwrap());
    let again = home.run(&["new", "--id", UNKNOWN]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.err.contains(UNKNOWN), "{}", again.err);
}

#[test]
fn append_acknowledges_ordinals() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let first = home.ok(&["export", &id]).lines().count();
    let run = home.append(&id, [message("one"), message("two"), message("three")].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out, format!("{first}\n{}\n{}\n", first + 1, first + 2));
    let last: Value = serde_json::from_str(home.ok(&["export", &id]).lines().last().unwrap()).unwrap();
    assert_eq!(last["ordinal"], first + 2);
    assert_eq!(home.texts(&id), ["one", "two", "three"]);
}

#[test]
fn append_acknowledges_line_counts_of_legacy_threads() {
    let home = Home::missing();
    let id = home.new_thread(&["--mode", "legacy"]);
    let run = home.append(&id, [message("one"), user_message("two")].concat());
    assert_eq!((run.code, run.out.as_str()), (0, "2\n3\n"), "{}", run.err);
    assert_eq!(home.append(&id, message("three")).out, "4\n");
    assert_eq!(home.ok(&["export", &id]).lines().count(), 4);
}

#[test]
fn append_continues_recorded_threads() {
    for (sample, id) in [("story-0.144.6", T144), ("story-0.169.0", T169)] {
        let home = Home::sample(sample);
        let before = home.ok(&["export", id]);
        let run = home.append(id, message("and one more"));
        assert_eq!(run.code, 0, "{}", run.err);
        let after = home.ok(&["export", id]);
        let added = after.strip_prefix(&before).unwrap();
        assert_eq!(added.lines().count(), 1);
        let reached = if sample == "story-0.144.6" { after.lines().count() } else { after.lines().count() - 1 };
        assert_eq!(run.out, format!("{reached}\n"));
        let context = home.json(&["context", id]);
        assert_eq!(context["history"].as_array().unwrap().last().unwrap()["content"][0]["text"], "and one more");
    }
}

#[test]
fn append_accepts_exported_lines() {
    let home = Home::sample("story-0.169.0");
    let export = home.ok(&["export", PLAIN169]);
    let items: String = export.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let id = home.new_thread(&[]);
    let run = home.append(&id, &items);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(home.texts(&id), home.texts(PLAIN169));
    assert_eq!(turn_ids(&home, &id), turn_ids(&home, PLAIN169));
}

#[test]
fn items_that_are_not_kept_do_not_change_the_number() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let delta = "{\"type\":\"event_msg\",\"payload\":{\"type\":\"agent_message_delta\",\"delta\":\"x\"}}\n";
    let run = home.append(&id, [delta, &message("one"), delta, delta, &message("two")].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.out, "0 dropped 1\n1\n1 dropped 1\n1 dropped 1\n2\n");
}

#[test]
fn an_array_of_items_is_one_batch_and_what_is_left_out_is_counted() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let batch =
        |items: &[String]| format!("[{}]\n", items.iter().map(|item| item.trim()).collect::<Vec<_>>().join(","));
    let delta = line("event_msg", &json!({"type": "agent_message_delta", "delta": "x"}));
    let legacy = line("event_msg", &json!({"type": "user_message", "message": "of the other mode"}));
    let input = [batch(&[message("one"), message("two")]), batch(&[delta, legacy, message("three")]), message("four")];
    let run = home.append(&id, input.concat());
    assert_eq!((run.code, run.out.as_str()), (0, "2\n3 dropped 2\n4\n"), "{run:?}");
    let run = home.append_with(&id, &["--json"], batch(&[message("five"), message("six")]));
    assert_eq!(run.out, "{\"number\":6,\"lines\":2,\"dropped\":0}\n");
    // A batch with a bad item is not recorded at all.
    assert_eq!(home.append(&id, batch(&[message("seven"), "{}".to_owned()])).code, 1);
    assert_eq!(home.append(&id, message("eight")).out, "7\n");
}

#[test]
fn a_type_that_is_not_known_is_refused_unless_it_is_allowed() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let misspelt = line("response_item", &json!({"type": "mesage", "role": "user", "content": "lost?"}));
    let run = home.append(&id, [message("one"), misspelt.clone(), message("two")].concat());
    assert_eq!((run.code, run.out.as_str()), (1, "1\n"), "{run:?}");
    assert!(
        run.err.contains("line 2") && run.err.contains("`mesage`") && run.err.contains("--allow-unknown"),
        "{run:?}"
    );
    let run = home.append_with(&id, &["--allow-unknown"], misspelt);
    assert_eq!((run.code, run.out.as_str()), (0, "2\n"), "{run:?}");
    // The same for a field that a known type needs.
    let misspelt = line("response_item", &json!({"type": "message", "role": "user", "contents": []}));
    let run = home.append(&id, &misspelt);
    assert!(run.code == 1 && run.err.contains("`content`") && run.err.contains("--allow-unknown"), "{run:?}");
    assert_eq!(home.append_with(&id, &["--allow-unknown"], misspelt).out, "3\n");
}

#[test]
fn a_bad_line_ends_append_and_keeps_what_came_before() {
    let home = Home::missing();
    let bad: [&[u8]; 9] = [
        b"no json\n",
        b"{\"type\":\"response_item\"}\n",
        b"{\"payload\":{}}\n",
        b"[1]\n",
        b"{\"type\":1,\"payload\":{}}\n",
        b"\xff\xfe\n",
        b"{\"type\":\"response_item\",\"payload\":{\"type\":\"mess",
        b"\0\0\0\n",
        b"null\n",
    ];
    for line in bad {
        let id = home.new_thread(&[]);
        let input = [message("one").as_bytes(), b"\n", line, message("never").as_bytes()].concat();
        let run = home.append(&id, input);
        assert_eq!(run.code, 1, "{line:?}");
        assert_eq!(run.out.lines().count(), 1);
        assert!(run.err.starts_with("error: line 3 of the input is not an item: "), "{}", run.err);
        assert_eq!(home.texts(&id), ["one"]);
        assert_eq!(home.append(&id, message("two")).code, 0);
    }
}

#[test]
fn append_accepts_a_bom_crlf_blank_lines_and_a_missing_last_newline() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let input = format!("\u{feff}{}\r\n\r\n  \n{}", message("one").trim_end(), message("two").trim_end());
    let run = home.append(&id, input);
    assert_eq!((run.code, run.out.lines().count()), (0, 2), "{}", run.err);
    assert_eq!(home.texts(&id), ["one", "two"]);
    let run = home.append(&id, "");
    assert_eq!((run.code, run.out.as_str()), (0, ""));
}

#[test]
fn an_item_is_acknowledged_as_soon_as_it_can_be_read() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let mut child = home.spawn_append(&id);
    let mut stdin = child.stdin.take().unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["one", "two"] {
        stdin.write_all(message(text).as_bytes()).unwrap();
        acknowledged.next().unwrap().unwrap();
        assert_eq!(home.texts(&id).last().unwrap(), text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_fork_shares_the_history_up_to_its_turn() {
    for mode in ["paginated", "legacy"] {
        let home = Home::missing();
        let id = home.new_thread(&["--mode", mode]);
        home.append(&id, [turn("turn-a", "one"), turn("turn-b", "two"), turn("turn-c", "three")].concat());
        let before = home.ok(&["export", &id]);
        for (args, texts) in [
            (&[][..], &["one", "two", "three"][..]),
            (&["--after", "2"], &["one", "two"]),
            (&["--before", "turn-b"], &["one"]),
            (&["--before", "1"], &[]),
            (&["--after", "turn-c"], &["one", "two", "three"]),
        ] {
            let fork = home.ok(&[&["fork", &id], args].concat()).trim().to_owned();
            assert_eq!(home.texts(&fork), texts, "{mode} {args:?}");
            assert_eq!(home.json(&["show", &fork])["thread"]["forked_from_id"], id);
            assert_eq!(home.append(&fork, message("of the fork")).code, 0);
            assert_eq!(home.texts(&fork).last().unwrap(), "of the fork");
        }
        assert_eq!(home.ok(&["export", &id]), before);
        assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 6);
        let named = home.json(&["fork", &id, "--name", "Another way"]);
        assert_eq!(named["name"], "Another way");
        assert_eq!(named["forked_from_id"], id);
    }
}

#[test]
fn a_rewind_undoes_turns() {
    for mode in ["paginated", "legacy"] {
        for (args, left) in [
            (["--turns", "1"], &["turn-a", "turn-b"][..]),
            (["--turns", "2"], &["turn-a"]),
            (["--before", "turn-b"], &["turn-a"]),
            (["--after", "2"], &["turn-a", "turn-b"]),
            (["--before", "1"], &[]),
        ] {
            let home = Home::missing();
            let id = home.new_thread(&["--mode", mode]);
            home.append(&id, [turn("turn-a", "one"), turn("turn-b", "two"), turn("turn-c", "three")].concat());
            let out = home.ok(&["rewind", &id, args[0], args[1]]);
            assert_eq!(turn_ids(&home, &id), left, "{mode} {args:?}");
            let undone = if left.len() == 2 { "1 turn".to_owned() } else { format!("{} turns", 3 - left.len()) };
            assert_eq!(out, format!("rewound {id} by {undone}\n"));
            let history = home.json(&["context", &id])["history"].as_array().unwrap().len();
            assert_eq!(history, left.len(), "{mode} {args:?}");
            assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 1);
            assert_eq!(home.append(&id, turn("turn-d", "four")).code, 0);
            assert_eq!(turn_ids(&home, &id), [left, &["turn-d"]].concat());
        }
    }
}

#[test]
fn recorded_threads_fork_and_rewind() {
    for (sample, id) in [("story-0.144.6", T144), ("story-0.169.0", T169)] {
        let home = Home::sample(sample);
        let turns = turn_ids(&home, id);
        let fork = home.ok(&["fork", id]).trim().to_owned();
        assert_eq!(turn_ids(&home, &fork), turns);
        assert_eq!(home.json(&["context", &fork])["history"], home.json(&["context", id])["history"]);
        assert_eq!(home.json(&["rewind", id, "--turns", "1"])["id"], id);
        assert_eq!(turn_ids(&home, id), turns[..turns.len() - 1]);
        assert_eq!(turn_ids(&home, &fork), turns);
        assert_eq!(home.append(id, message("continued")).code, 0);
        assert_eq!(home.texts(id).last().unwrap(), "continued");
    }
}

#[test]
fn names_are_set_and_removed() {
    let home = Home::sample("story-0.169.0");
    let name = |home: &Home| home.json(&["show", PLAIN169])["thread"]["name"].clone();
    assert_eq!(name(&home), Value::Null);
    let out = home.ok(&["rename", PLAIN169, " naïve 日本 "]);
    assert_eq!(out, format!("renamed {PLAIN169} to \"naïve 日本\"\n"));
    assert_eq!(name(&home), "naïve 日本");
    assert_eq!(home.json(&["rename", PLAIN169, "other"])["name"], "other");
    home.ok(&["rename", PLAIN169, "--clear"]);
    assert_eq!(name(&home), Value::Null);
    home.ok(&["rename", PLAIN169, "again"]);
    home.ok(&["rename", PLAIN169, ""]);
    assert_eq!(name(&home), Value::Null);
}

#[test]
fn archiving_moves_a_thread_between_lists() {
    let home = Home::sample("story-0.169.0");
    assert_eq!(home.ok(&["archive", T169]), format!("archived {T169}\n"));
    // To archive it again is not an error.
    assert_eq!(home.json(&["archive", T169])["archived"], true);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 4);
    assert_eq!(home.json(&["list", "--archived"]).as_array().unwrap().len(), 2);
    assert!(!home.json(&["show", T169])["turns"].as_array().unwrap().is_empty());
    assert_eq!(home.json(&["unarchive", ARCHIVED169])["archived"], false);
    home.ok(&["unarchive", T169]);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 6);
}

#[test]
fn deleting_needs_a_confirmation() {
    let home = Home::sample("story-0.169.0");
    let run = home.run(&["delete", PLAIN169]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("--yes"), "{}", run.err);
    assert_eq!(home.ok(&["delete", PLAIN169, "--yes"]), format!("deleted {PLAIN169}\n"));
    assert_eq!(home.run(&["show", PLAIN169]).code, 3);
    assert_eq!(home.run(&["delete", PLAIN169, "--yes"]).code, 3);
    assert_eq!(home.json(&["delete", ARCHIVED169, "-y"]), json!({"id": ARCHIVED169, "deleted": true}));
}

#[test]
fn a_thread_that_forks_depend_on_is_not_deleted() {
    let home = Home::sample("story-0.169.0");
    let run = home.run(&["delete", T169, "--yes"]);
    assert_eq!((run.code, run.out.as_str()), (4, ""), "{}", run.err);
    assert!(run.err.contains("selvedge archive"), "{}", run.err);
    assert!(run.err.contains("01a1fd5d-add7-7c40-912f-9130719f1691, 01a1fd5d-ae48-"), "{}", run.err);
    assert!(run.err.contains(&format!("`selvedge delete {T169} --detach`")), "{}", run.err);
    assert!(!home.json(&["show", T169])["turns"].as_array().unwrap().is_empty());
    // A copied fork does not depend on its source.
    let home = Home::sample("story-0.144.6");
    home.ok(&["delete", T144, "--yes"]);
    assert_eq!(home.json(&["list", "--all"]).as_array().unwrap().len(), 5);
}

#[test]
fn delete_with_detach_gives_forks_their_own_copy() {
    let forks = ["01a1fd5d-add7-7c40-912f-9130719f1691", "01a1fd5d-ae48-7320-8f6d-105eeac19055"];
    let home = Home::sample("story-0.169.0");
    let shown = |home: &Home| -> Vec<Value> {
        let threads = forks.iter().map(|fork| (home.json(&["show", fork]), home.json(&["context", fork])));
        threads
            .map(|(shown, context)| json!([shown["turns"], shown["thread"]["preview"], context["history"]]))
            .collect()
    };
    let before = shown(&home);
    let before_files = rollouts(&home.path()).len();
    let out = home.ok(&["delete", T169, "--detach", "--yes"]);
    assert_eq!(rollouts(&home.path()).len(), before_files - 2, "the forks are where they were");
    assert_eq!(out, format!("detached {}\ndetached {}\ndeleted {T169}\n", forks[0], forks[1]));
    assert_eq!(home.run(&["show", T169]).code, 3);
    assert_eq!(shown(&home), before);
    assert_eq!(home.append(forks[1], message("continued")).code, 0);
    assert_eq!(home.texts(forks[1]).last().unwrap(), "continued");
    // No thread depends on it any more, though its fork still names it as its source.
    let answer = home.json(&["delete", forks[0], "--detach", "--yes"]);
    assert_eq!(answer, json!({"id": forks[0], "deleted": true, "detached": []}));
    assert_eq!(home.json(&["list", "--all"]).as_array().unwrap().len(), 4);
}

#[test]
fn a_fork_that_is_being_written_is_not_detached() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    home.append(&id, turn("turn-a", "one"));
    let fork = home.ok(&["fork", &id]).trim().to_owned();
    let mut writer = home.spawn_append(&fork);
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(message("two").as_bytes()).unwrap();
    BufReader::new(writer.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let run = home.run(&["delete", &id, "--detach", "--yes"]);
    assert_eq!((run.code, run.out.as_str()), (4, ""));
    assert!(run.err.contains(&format!("{fork} still depends on it")), "{}", run.err);
    assert!(run.err.contains(&format!("process {}", writer.id())), "{}", run.err);
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    assert_eq!(home.json(&["delete", &id, "--detach", "--yes"])["detached"], json!([fork]));
    assert_eq!(home.texts(&fork), ["one", "two"]);
}

#[test]
fn a_thread_that_is_being_written_is_a_conflict() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let mut writer = home.spawn_append(&id);
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(message("one").as_bytes()).unwrap();
    let mut acknowledged = BufReader::new(writer.stdout.take().unwrap()).lines();
    acknowledged.next().unwrap().unwrap();
    for verb in [&["append", &id][..], &["archive", &id], &["delete", &id, "--yes"], &["rewind", &id, "--before", "1"]]
    {
        let run = home.run(verb);
        // The thread has no turn yet, and a rewind may find that first.
        let expected = if verb[0] == "rewind" && run.code == 3 { 3 } else { 4 };
        assert_eq!((run.code, run.out.as_str()), (expected, ""), "{verb:?}: {}", run.err);
        assert!(expected == 3 || run.err.contains(&format!("process {}", writer.id())), "{}", run.err);
    }
    // Reading needs no claim, and neither does a fork.
    assert_eq!(home.texts(&id), ["one"]);
    assert_eq!(home.run(&["fork", &id]).code, 0);
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    assert_eq!(home.append(&id, message("two")).code, 0);
    assert!(
        fs::read_dir(home.path().join("thread-writer-locks"))
            .unwrap()
            .all(|entry| entry.unwrap().file_name() == ".coordination.lock")
    );
}

#[test]
fn the_durability_level_is_an_option_or_a_variable() {
    let home = Home::missing();
    let id = home.new_thread(&["--durability", "synced"]);
    assert_eq!(home.append(&id, message("one")).code, 0);
    assert_eq!(home.run(&["--durability", "synced", "fork", &id]).code, 0);
    assert_eq!(home.run(&["--durability", "soon", "fork", &id]).code, 2);
    for (level, code) in [("synced", 0), ("", 0), ("soon", 2)] {
        let run = crate::support::run(home.command(&["fork", &id]).env("SELVEDGE_DURABILITY", level));
        assert_eq!(run.code, code, "{level}: {}", run.err);
        assert_eq!(run.err.contains("`written` or `synced`"), code == 2, "{}", run.err);
    }
}
