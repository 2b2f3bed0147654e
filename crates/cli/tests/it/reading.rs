//! The verbs that read, and the help.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::{ARCHIVED169, Home, PLAIN169, SAMPLES, T144, T169, line, message, rollouts, samples};

fn ids(threads: &Value) -> Vec<&str> {
    threads.as_array().unwrap().iter().map(|thread| thread["id"].as_str().unwrap()).collect()
}

#[test]
fn every_recorded_thread_is_listed_once_and_opens() {
    for sample in SAMPLES {
        let home = Home::sample(sample);
        let files = rollouts(&home.path());
        let expected: BTreeSet<&str> = files.iter().map(|(id, ..)| id.as_str()).collect();
        let threads = home.json(&["list", "--all"]);
        let listed = ids(&threads);
        assert_eq!(listed.len(), expected.len(), "{sample}: {listed:?}");
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), expected, "{sample}");
        for id in listed {
            let shown = home.json(&["show", id]);
            assert_eq!(shown["thread"]["id"], id);
            assert!(!shown["turns"].as_array().unwrap().is_empty(), "{sample} {id}");
            assert!(home.ok(&["show", id]).contains("── turn 1"), "{sample} {id}");
            assert!(!home.json(&["context", id])["history"].as_array().unwrap().is_empty(), "{sample} {id}");
            assert!(!home.ok(&["export", id]).is_empty());
        }
    }
}

#[test]
fn an_unforked_thread_is_exported_byte_for_byte() {
    let mut compared = 0;
    for sample in SAMPLES {
        let home = Home::sample(sample);
        let files = rollouts(&home.path());
        for (id, _, path) in &files {
            let bytes = fs::read_to_string(path).unwrap();
            let has_segments = files.iter().filter(|(other, ..)| other == id).count() > 1;
            if !has_segments && !bytes.lines().next().unwrap().contains("history_base") {
                assert_eq!(home.ok(&["export", id]), bytes, "{sample} {id}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 13);
}

#[test]
fn an_exported_fork_has_every_ordinal_once() {
    let home = Home::sample("story-0.169.0");
    for (id, ..) in rollouts(&home.path()) {
        let export = home.ok(&["export", &id]);
        let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ordinals: Vec<u64> = lines.map(|line| line["ordinal"].as_u64().unwrap()).collect();
        assert!(ordinals.iter().copied().eq(0..ordinals.len() as u64), "{id}: {ordinals:?}");
    }
}

#[test]
fn an_export_to_a_file_is_complete_or_does_not_happen() {
    let home = Home::sample("story-0.169.0");
    let file = home.folder().join("thread.jsonl");
    let run = home.run(&["export", T169, "-o", file.to_str().unwrap()]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), home.ok(&["export", T169, "-o", "-"]));
    assert!(run.err.starts_with("wrote "), "{}", run.err);
    let before = fs::read_dir(home.folder()).unwrap().count();
    assert_eq!(home.run(&["export", crate::support::UNKNOWN, "-o", file.to_str().unwrap()]).code, 3);
    assert_eq!(fs::read_dir(home.folder()).unwrap().count(), before);
    assert_eq!(fs::read_to_string(&file).unwrap(), home.ok(&["export", T169]));
    let run = home.run(&["export", T169, "-o", home.folder().to_str().unwrap()]);
    assert!(run.code == 1 && run.err.contains("is a directory"), "{run:?}");
    let run = home.run(&["export", T169, "-o", "no/such/folder/x"]);
    assert!(run.code == 1 && run.err.contains("no/such/folder/x"), "{run:?}");
}

#[test]
fn a_listed_thread_has_the_keys_that_scripts_rely_on() {
    let home = Home::sample("story-0.169.0");
    let threads = home.json(&["list", "--all"]);
    let keys = [
        "id",
        "session_id",
        "name",
        "preview",
        "created_at",
        "updated_at",
        "recency_at",
        "archived",
        "forked_from_id",
        "parent_thread_id",
        "cwd",
        "model",
        "model_provider",
        "source",
        "history_mode",
        "location",
        "token_usage",
        "git",
    ];
    for thread in threads.as_array().unwrap() {
        for key in keys {
            assert!(thread.get(key).is_some(), "{key} in {thread}");
        }
    }
    let thread = threads.as_array().unwrap().iter().find(|thread| thread["id"] == T169).unwrap();
    assert_eq!(thread["name"], "Thread on zebras");
    assert_eq!(thread["preview"], "first question about zebras");
    assert_eq!(thread["cwd"], "/home/dev/proj1/sub");
    assert_eq!(thread["model"], "mock-model");
    assert_eq!(thread["source"], "vscode");
    assert_eq!(thread["history_mode"], "paginated");
    assert_eq!(thread["git"]["branch"], "main");
    assert!(thread["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(thread["token_usage"]["total_tokens"].is_u64());
    let archived = threads.as_array().unwrap().iter().filter(|thread| thread["archived"] == true);
    assert_eq!(archived.map(|thread| thread["id"].as_str().unwrap()).collect::<Vec<_>>(), [ARCHIVED169]);
}

#[test]
fn threads_are_listed_with_the_newest_update_first() {
    for sample in SAMPLES {
        let threads = Home::sample(sample).json(&["list", "--all"]);
        let times: Vec<&str> =
            threads.as_array().unwrap().iter().map(|thread| thread["updated_at"].as_str().unwrap()).collect();
        assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{sample}: {times:?}");
    }
}

#[test]
fn the_list_is_filtered() {
    let home = Home::sample("story-0.169.0");
    let count = |args: &[&str]| home.json(&[&["list"], args].concat()).as_array().unwrap().len();
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--all"]), 6);
    assert_eq!(count(&["--archived"]), 1);
    assert_eq!(count(&["--limit", "2"]), 2);
    assert_eq!(count(&["--source", "vscode"]), 5);
    assert_eq!(count(&["--source", "exec"]), 0);
    assert_eq!(count(&["--source", "exec", "--source", "vscode"]), 5);
    assert_eq!(count(&["--model", "mock-model", "--provider", "mock"]), 5);
    assert_eq!(count(&["--cwd", "/home/dev/proj1/sub"]), 1);
    assert_eq!(count(&["--under", "/home/dev"]), 5);
    assert_eq!(count(&["--branch", "main"]), 5);
    assert_eq!(count(&["--named"]), 3);
    assert_eq!(count(&["--unnamed"]), 2);
    assert_eq!(count(&["--search", "ZEBRAS"]), 3);
    assert_eq!(count(&["--child-of", T169]), 1);
    assert_eq!(count(&["--since", "2100-01-01"]), 0);
    assert_eq!(count(&["--until", "2026-11-21T09:09:00Z", "--sort", "created"]), 4);
    let ascending = home.json(&["list", "--ascending"]);
    let descending = home.json(&["list"]);
    let mut ascending = ids(&ascending);
    ascending.reverse();
    assert_eq!(ascending, ids(&descending));
}

#[test]
fn pages_together_have_every_thread_once() {
    let home = Home::sample("story-0.144.6");
    let all = home.json(&["list", "--all"]);
    let mut joined: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut args = vec!["list", "--all", "--json", "--limit", "2"];
        if !cursor.is_empty() {
            args.extend(["--cursor", &cursor]);
        }
        let run = home.run(&args);
        assert_eq!(run.code, 0, "{}", run.err);
        let page: Value = serde_json::from_str(&run.out).unwrap();
        joined.extend(ids(&page).into_iter().map(str::to_owned));
        match run.err.trim().strip_prefix("more with --cursor ") {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(joined, ids(&all));
}

#[test]
fn a_broken_cursor_is_an_error() {
    let home = Home::sample("story-0.144.6");
    for cursor in ["", "x", "t1.ud.1", "t1.ua.1795252136705.01a1fd5daacb7641837d630af077ebd5", "\u{1b}[31m"] {
        for verb in [&["list"][..], &["search", "zebras"]] {
            let run = home.run(&[verb, &["--cursor", cursor]].concat());
            assert_eq!((run.code, run.out.as_str()), (1, ""), "{cursor}: {}", run.err);
            assert!(run.err.starts_with("error: invalid request: not a cursor"), "{}", run.err);
        }
    }
}

#[test]
fn usage_errors_have_exit_code_two() {
    let home = Home::sample("basic-0.118.0");
    for args in [
        &["list", "--limit", "0"][..],
        &["list", "--limit", "x"],
        &["list", "--since", "yesterday"],
        &["list", "--sort", "name"],
        &["list", "--all", "--archived"],
        &["show"],
        &["no-such-verb"],
        &["search", ""],
        &["rewind", T169],
        &["rewind", T169, "--turns", "1", "--after", "1"],
        &["rewind", T169, "--turns", "0"],
        &["new", "--id", "x"],
        &["new", "--mode", "x"],
        &["rename", T169],
        &["rename", T169, "x", "--clear"],
        &["rename", T169, "two\nlines"],
        &["fork", T169, "--after", "1", "--before", "1"],
        &["list", "--color", "blue"],
        &["delete", T169, "--no"],
        &["new", "--source", "{broken"],
        &["new", "--source", ""],
        &["completions", "nosuchshell"],
        &["completions", "bash", "--json"],
    ] {
        let run = home.run(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}: {}", run.err);
    }
    assert_eq!(run_without_verb(&home), 2);
}

fn run_without_verb(home: &Home) -> i32 {
    crate::support::run(&mut home.bare()).code
}

#[test]
fn show_and_context_print_json() {
    let home = Home::sample("story-0.144.6");
    let shown = home.json(&["show", T144]);
    let turn = &shown["turns"][0];
    assert_eq!(turn["status"], "completed");
    assert!(turn["started_at"].is_string() && turn["completed_at"].is_string());
    assert_eq!(turn["items"][0]["type"], "user_message");
    assert_eq!(turn["items"][0]["text"], "first question about zebras");
    let context = home.json(&["context", T144]);
    let keys: Vec<&String> = context.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in ["number", "first_window_id", "previous_window_id", "window_id"] {
        assert!(context["window"].get(key).is_some(), "{key}");
    }
    assert!(context["world_state"].is_object() || context["world_state"].is_null());
    assert!(context["history"].as_array().unwrap().iter().all(Value::is_object));
    // A pipe gets the same without --json.
    assert_eq!(home.ok(&["context", T144]), home.ok(&["context", T144, "--json"]));
}

#[test]
fn items_of_the_context_are_verbatim() {
    let home = Home::sample("basic-0.118.0");
    let (id, _, path) = rollouts(&home.path()).remove(0);
    let context = home.ok(&["context", &id]);
    for line in fs::read_to_string(path).unwrap().lines().filter(|line| line.contains(r#""type":"response_item""#)) {
        let payload = line.split_once(r#""payload":"#).unwrap().1.strip_suffix('}').unwrap();
        assert!(context.contains(payload), "{payload}");
    }
}

/// Compares the turns with those that the recording has.
#[test]
fn turns_are_those_that_codex_recorded() {
    for sample in ["story-0.144.6", "story-0.169.0"] {
        let home = Home::sample(sample);
        let expected = fs::read_to_string(samples().join(sample).join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        for (letter, id) in expected["threads"].as_object().unwrap() {
            // The list of 0.144 counts a turn of T that its own replay does not have.
            if (sample, letter.as_str()) == ("story-0.144.6", "T") {
                continue;
            }
            let shown = home.json(&["show", id.as_str().unwrap()]);
            let ours: Vec<&str> =
                shown["turns"].as_array().unwrap().iter().map(|turn| turn["id"].as_str().unwrap()).collect();
            let theirs: Vec<&str> = expected["read"][letter]["turns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|turn| turn["id"].as_str().unwrap())
                .collect();
            assert_eq!(ours, theirs, "{sample} {letter}");
        }
    }
}

#[test]
fn a_transcript_has_facts_and_turns() {
    let home = Home::sample("story-0.169.0");
    let text = home.ok(&["show", T169]);
    let (head, body) = text.split_once("── turn 1 ").unwrap();
    assert!(head.starts_with("Thread on zebras\nid          01a1fd5d-aacb-"), "{head}");
    assert!(head.contains("\nabout       first question about zebras\n"), "{head}");
    for part in [
        "· completed · 2026-11-21 09:08:56 · 127 ms · 01a1fd5d-aada-",
        "\nuser\n  first question about zebras\nthinking\n  **Thinking** step 1\nagent\n  Answer 1 to: first question",
        "\n$ /bin/bash -lc 'echo hello yaks' (exit 0",
        "\n(the context was compacted here)\n",
    ] {
        assert!(body.contains(part), "{part:?} in {text}");
    }
    let last = home.ok(&["show", T169, "--last", "1"]);
    assert!(!last.contains("── turn 9 ") && last.contains("── turn 10 "), "{last}");
}

#[test]
fn long_texts_are_shortened_unless_full_is_given() {
    let home = Home::sample("story-0.169.0");
    let short = home.ok(&["show", PLAIN169]);
    let full = home.ok(&["show", PLAIN169, "--full"]);
    assert!(short.len() < 20_000 && short.contains("more characters"), "{}", short.len());
    assert!(full.len() > 60_000 && !full.contains("more characters"), "{}", full.len());
}

#[test]
fn search_finds_messages_commands_and_names() {
    let home = Home::sample("story-0.169.0");
    let hits = home.json(&["search", "YAKS"]);
    let hits = hits.as_array().unwrap();
    assert!(!hits.is_empty());
    for hit in hits {
        for highlight in hit["highlights"].as_array().unwrap() {
            let [start, end] = [0, 1].map(|at| usize::try_from(highlight[at].as_u64().unwrap()).unwrap());
            let found = &hit["snippet"].as_str().unwrap()[start..end];
            assert_eq!(found.to_lowercase(), "yaks");
        }
        assert!(hit["thread"]["id"].is_string() && hit["kind"].is_string());
        assert!(hit["turn_number"].as_u64() >= Some(1) && hit["position"].is_u64());
    }
    let named = home.json(&["search", "thread on zebras", "--hits", "50"]);
    assert!(named.as_array().unwrap().iter().any(|hit| hit["kind"] == "name" && hit["turn_id"].is_null()));
    let table = home.ok(&["search", "yaks"]);
    assert!(table.starts_with("01a1fd5d-"), "each thread has a heading: {table}");
    assert!(table.contains("01a1fd5d-aacb") && table.contains("\n  turn 2  user message"), "{table}");
    let run = home.run(&["search", "no thread holds this text"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
}

#[test]
fn search_takes_terms_filters_and_orders() {
    let home = Home::sample("story-0.169.0");
    let found = |args: &[&str]| {
        let hits = home.json(&[&["search"], args].concat());
        let hits = hits.as_array().unwrap().clone();
        hits.iter().map(|hit| hit["thread"]["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let yaks = found(&["yaks"]);
    assert!(yaks.len() > 1);
    assert_eq!(found(&["yaks ECHO hel*"]), yaks);
    assert_eq!(found(&["\"echo hello yaks\""]), yaks);
    assert!(found(&["\"yaks echo\""]).is_empty());
    assert!(found(&["yak*", "--repository", "owner/nowhere"]).is_empty());
    let below = found(&["yaks", "--descendant-of", T169]);
    assert!(!below.is_empty() && below.len() < yaks.len() && !below.contains(T169), "{below:?}");
    let listed = home.json(&["list", "--descendant-of", T169]);
    let listed: BTreeSet<_> =
        listed.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert!(
        below.is_subset(&listed) && listed.len() >= home.json(&["list", "--child-of", T169]).as_array().unwrap().len()
    );

    // Each order has its own cursors, and --sort selects the order `sorted`.
    let cursor = |args: &[&str]| {
        let run = home.run(&[&["search", "yaks", "-n", "1", "--json"], args].concat());
        run.err.trim().trim_start_matches("more with --cursor ").to_owned()
    };
    let sorted = cursor(&["--sort", "created"]);
    assert_eq!(cursor(&["--order", "sorted", "--sort", "created"]), sorted);
    assert_ne!(cursor(&[]), sorted);
    assert_eq!(home.run(&["search", "yaks", "--cursor", &sorted]).code, 1);
    for text in ["", " ", "\"\""] {
        assert_eq!(home.run(&["search", text]).code, 2, "{text:?}");
    }
}

#[test]
fn search_opens_the_turn_of_the_first_hit() {
    let home = Home::sample("story-0.169.0");
    let hit = home.json(&["search", "\"echo hello yaks\"", "--hits", "1", "-n", "1"])[0].clone();
    let opened = home.json(&["search", "\"echo hello yaks\"", "--open"]);
    assert_eq!(opened["thread"], hit["thread"]);
    assert_eq!(opened["turns"].as_array().unwrap().len(), 1);
    assert_eq!(opened["turns"][0]["id"], hit["turn_id"]);
    let text = home.ok(&["search", "\"echo hello yaks\"", "--open"]);
    let shown = home.ok(&["show", hit["thread"]["id"].as_str().unwrap()]);
    let number = hit["turn_number"].as_u64().unwrap();
    let turn = text.split_once("\n\n").unwrap().1.trim_end();
    assert!(turn.starts_with(&format!("── turn {number} ")) && shown.contains(turn), "{text}");
    // A hit in a name belongs to no turn.
    let named = home.json(&["search", "\"thread on zebras\"", "--open"]);
    let turns = home.json(&["show", named["thread"]["id"].as_str().unwrap(), "--last", "1"])["turns"].clone();
    assert_eq!(named["turns"], turns);
    assert_eq!(home.ok(&["search", "nowhere at all", "--open"]), "");
}

#[test]
fn compressed_threads_read_like_others() {
    let home = Home::sample("story-0.169.0");
    let before = home.json(&["show", PLAIN169]);
    let export = home.ok(&["export", PLAIN169]);
    let (_, _, path) = rollouts(&home.path()).into_iter().find(|(id, ..)| id == PLAIN169).unwrap();
    let compressed = zstd::encode_all(fs::read(&path).unwrap().as_slice(), 3).unwrap();
    fs::write(format!("{}.zst", path.display()), compressed).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(home.ok(&["export", PLAIN169]), export);
    assert_eq!(home.json(&["show", PLAIN169])["turns"], before["turns"]);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 5);
}

#[test]
fn every_shell_has_completions() {
    let home = Home::missing();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = crate::support::run(home.bare().args(["completions", shell]));
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.out.contains("selvedge") && run.out.contains("unarchive"), "{shell}");
    }
}

#[test]
fn every_verb_has_help() {
    let home = Home::missing();
    let help = crate::support::run(home.bare().arg("--help")).out;
    let verbs = [
        "list",
        "show",
        "context",
        "export",
        "tail",
        "new",
        "append",
        "fork",
        "rewind",
        "rename",
        "archive",
        "unarchive",
        "delete",
        "search",
        "pick",
        "tree",
        "stats",
        "index",
        "doctor",
        "demo",
        "completions",
    ];
    for verb in verbs {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} in {help}");
        let run = crate::support::run(home.bare().args([verb, "--help"]));
        assert_eq!(run.code, 0);
        assert!(run.out.contains("Usage: selvedge "), "{}", run.out);
    }
    for words in ["SELVEDGE_HOME", "CODEX_HOME", "Exit codes"] {
        assert!(help.contains(words), "{words}");
    }
}

/// Clap wraps the help at 100 columns. A line break in the source would break a line twice.
#[test]
fn help_is_wrapped_once_and_its_examples_can_be_copied() {
    let home = Home::missing();
    let help = crate::support::run(home.bare().arg("--help")).out;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        let help = crate::support::run(home.bare().args([verb, "--help"])).out;
        let (text, examples) = help.split_once("\nExamples:\n").unwrap_or((&help, ""));
        for example in examples.lines() {
            assert!(example.starts_with("  ") && !example.starts_with("   "), "{verb}: {example}");
        }
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| !line.is_empty())) {
            let next = pair[1].split(' ').next().unwrap_or_default();
            assert!(pair[0].chars().count() + 1 + next.chars().count() > 100, "{verb}: {pair:?}");
        }
    }
}

#[test]
fn a_context_as_sent_has_an_output_for_each_call_and_short_outputs() {
    let home = Home::empty();
    let id = home.new_thread(&[]);
    let item = |payload: Value| line("response_item", &payload);
    let call = |id: &str| item(json!({"type": "function_call", "name": "n", "arguments": "{}", "call_id": id}));
    let output = |id: &str, text: &str| item(json!({"type": "function_call_output", "call_id": id, "output": text}));
    let long = "x".repeat(60_000);
    let orphan = output("orphan", "x");
    let unknown = item(json!({"type": "mystery"}));
    let items = [message("q"), call("a"), output("a", &long), call("b"), orphan, unknown].concat();
    assert_eq!(home.append_with(&id, &["--allow-unknown"], items).code, 0);

    let outputs = |args: &[&str]| -> Vec<String> {
        let context = home.json(&[&["context", &id], args].concat());
        let history = context["history"].as_array().unwrap().iter();
        history.filter_map(|item| item["output"].as_str()).map(str::to_owned).collect()
    };
    let half = |bytes: usize| "x".repeat(bytes / 2);
    assert_eq!(outputs(&[]), [long.as_str(), "x"], "verbatim by default");
    let tokens = format!("{0}…3000 tokens truncated…{0}", half(48_000));
    assert_eq!(outputs(&["--as-sent"]), [tokens.as_str(), "aborted"]);
    let bytes = format!("{0}…48000 chars truncated…{0}", half(12_000));
    assert_eq!(outputs(&["--as-sent", "--output-limit", "bytes=10000"]), [bytes.as_str(), "aborted"]);
    for wrong in [&["--output-limit", "bytes=1"][..], &["--as-sent", "--output-limit", "5"]] {
        assert_eq!(home.run(&[&["context", &id], wrong].concat()).code, 2, "{wrong:?}");
    }
}
