//! What was said and done is shown and found: in every recorded home, with and without the index.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Home, samples};

const MESSAGES: &str = "01a1fd5d-0000-7000-8000-00000000000a";

/// How often each call and message is in lines, or shown.
type Counts = BTreeMap<(String, String), usize>;

fn add(counts: &mut Counts, kind: &str, what: &str) {
    *counts.entry((kind.to_owned(), what.to_owned())).or_default() += 1;
}

/// The texts of a content, without the tags that the program puts around images.
fn text(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    parts.filter(|text| !text.starts_with("<image ") && *text != "</image>").collect()
}

/// Counts what items of the model and events tell. What both tell counts once.
fn counts_of_lines(lines: &str) -> Counts {
    let (mut counts, mut events) = (Counts::new(), Counts::new());
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let bare = line.get("payload").is_none();
        let item = if bare { &line } else { &line["payload"] };
        if line["type"] == "event_msg" {
            match (item["type"].as_str().unwrap(), item["item"]["type"].as_str()) {
                (kind @ ("user_message" | "agent_message"), _) => {
                    add(&mut events, kind, item["message"].as_str().unwrap());
                }
                (_, Some("UserMessage")) => add(&mut events, "user_message", &text(&item["item"]["content"])),
                (_, Some("AgentMessage")) => add(&mut events, "agent_message", &text(&item["item"]["content"])),
                (_, Some("CommandExecution")) if item["item"]["source"] == "user_shell" => {
                    let command = item["item"]["command"].as_array().unwrap().last().unwrap();
                    add(&mut events, "ran by the user", command.as_str().unwrap());
                }
                _ => {}
            }
        }
        if !bare && line["type"] != "response_item" {
            continue;
        }
        let said = text(&item["content"]);
        if let Some(ran) = said.strip_prefix("<user_shell_command>\n<command>\n") {
            add(&mut counts, "ran by the user", ran.split("\n</command>").next().unwrap());
        }
        match (item["type"].as_str().unwrap_or_default(), item["role"].as_str()) {
            ("message", Some("user")) if !said.starts_with('<') && !said.starts_with("# AGENTS.md") => {
                add(&mut counts, "user_message", &said);
            }
            ("message", Some("assistant")) => add(&mut counts, "agent_message", &said),
            // Not all of them have an id.
            ("web_search_call", _) => add(&mut counts, "web_search", item["action"]["query"].as_str().unwrap()),
            (kind, _) if kind.ends_with("_call") => add(&mut counts, "call", item["call_id"].as_str().unwrap()),
            _ => {}
        }
    }
    for (what, count) in events {
        let counted = counts.entry(what).or_default();
        *counted = count.max(*counted);
    }
    counts
}

/// `by_user` are the commands that the user ran: an item does not tell who did. An event has the shell, too.
fn counts_of_turns(turns: &Value, by_user: &[&str]) -> Counts {
    let mut counts = Counts::new();
    for item in turns.as_array().unwrap().iter().flat_map(|turn| turn["items"].as_array().unwrap()) {
        let field = |name: &str| item[name].as_str().unwrap();
        match field("type") {
            kind @ ("user_message" | "agent_message") => add(&mut counts, kind, field("text")),
            "web_search" => add(&mut counts, "web_search", field("query")),
            "command_execution"
                if let Some(ran) = by_user
                    .iter()
                    .find(|ran| field("command") == **ran || field("command").ends_with(&format!("'{ran}'"))) =>
            {
                add(&mut counts, "ran by the user", ran);
            }
            "command_execution" | "file_change" | "tool_call" | "collab_agent_tool_call" | "dynamic_tool_call" => {
                add(&mut counts, "call", field("id"));
            }
            // An event with the id of the call that started a sub-agent.
            "sub_agent_activity" if item.get("tool").is_some() => add(&mut counts, "call", field("id")),
            _ => {}
        }
    }
    counts
}

/// Checks every thread of every recorded home. Returns the number of calls that are shown.
fn check_recordings(index: &[&str]) -> usize {
    let mut calls = 0;
    for folder in fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap()) {
        if !folder.path().join("home").is_dir() {
            continue;
        }
        let name = folder.file_name().into_string().unwrap();
        let home = Home::sample(&name);
        for thread in home.json(&[&["list", "--all"], index].concat()).as_array().unwrap() {
            let id = thread["id"].as_str().unwrap();
            let lines = home.ok(&["export", id]);
            // A sub-agent begins with lines that were copied from its parent.
            let head: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
            let copied = head["payload"]["subagent_history_start_ordinal"].as_u64().unwrap_or(0);
            let own: String = lines.split_inclusive('\n').skip(usize::try_from(copied).unwrap()).collect();
            let recorded = counts_of_lines(&own);
            let by_user: Vec<&str> =
                recorded.keys().filter(|(kind, _)| kind == "ran by the user").map(|(_, ran)| ran.as_str()).collect();
            let shown = counts_of_turns(&home.json(&[&["show", id], index].concat())["turns"], &by_user);
            if lines.contains("thread_rolled_back") {
                // What was undone is not shown.
                for (what, count) in &shown {
                    assert!(recorded.get(what).is_some_and(|recorded| count <= recorded), "{name} {id}: {what:?}");
                }
            } else {
                assert_eq!(shown, recorded, "{name} {id}");
            }
            calls += shown.iter().filter(|((kind, _), _)| kind == "call").map(|(_, count)| count).sum::<usize>();
        }
    }
    calls
}

#[test]
fn every_recorded_call_and_message_is_shown_once_with_the_index() {
    assert!(check_recordings(&[]) > 30);
}

#[test]
fn every_recorded_call_and_message_is_shown_once_without_the_index() {
    assert!(check_recordings(&["--index", "off"]) > 30);
}

#[test]
fn commands_of_legacy_threads_are_found() {
    let home = Home::sample("story-0.144.6-tools");
    let id = home.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    for index in [&[][..], &["--index", "off"]] {
        // A command, what it printed, a tool that does not exist, and the arguments of a call.
        for words in ["\"echo no\"", "update_plan", "leap"] {
            let found = home.json(&[&["search", words], index].concat());
            assert_eq!(found[0]["thread"]["id"], id.as_str(), "{words}: {found}");
        }
    }
}

#[test]
fn the_item_that_the_help_of_append_shows_makes_a_turn() {
    let home = Home::empty();
    let help = home.ok(&["append", "--help"]);
    let item = help.split_once("item='").unwrap().1.split_once('\'').unwrap().0;
    for mode in ["legacy", "paginated"] {
        let id = home.new_thread(&["--mode", mode]);
        let run = home.append(&id, format!("{{\"type\":\"response_item\",\"payload\":{item}}}\n"));
        assert_eq!(run.code, 0, "{}", run.err);
        for index in [&[][..], &["--index", "off"]] {
            let listed = home.json(&[&["list"], index].concat());
            let thread = listed.as_array().unwrap().iter().find(|thread| thread["id"] == id.as_str()).unwrap();
            assert_eq!(thread["preview"], "hello");
            let turns = &home.json(&[&["show", &id], index].concat())["turns"];
            assert_eq!(turns[0]["items"][0]["text"], "hello", "{turns}");
            assert_eq!(turns[0]["items"][0]["origin"], "model");
            let found = home.json(&[&["search", "hello"], index].concat());
            assert!(found.to_string().contains(&id), "{found}");
        }
        assert!(home.ok(&["show", &id]).contains("user\n  hello"));
    }
}

/// First messages as people wrote them, and what a list shows.
#[test]
fn a_list_shows_the_words_of_the_user_and_not_what_stands_before_them() {
    let user =
        |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    let image = json!({"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]});
    let file = json!({"type": "message", "role": "user", "content": [{"type": "input_file", "filename": "a.pdf"}]});
    let instructions = "# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nBe brief.\n</INSTRUCTIONS>";
    let environment = "<environment_context>\n  <cwd>/w</cwd>\n</environment_context>";
    let editor = "# Context from my IDE setup:\n\n## Open tabs:\n- main.rs\n\n## My request for Codex:\nfix it";
    let plugins = "<recommended_plugins>\n- foo\n</recommended_plugins>\n\nreal question";
    let cases = [
        (vec![user(instructions), user(environment), user("real question")], Some("real question")),
        (
            vec![user("<user_instructions>\n\nBe brief.\n\n</user_instructions>"), user("real question")],
            Some("real question"),
        ),
        (vec![user(instructions)], None),
        (vec![user(editor)], Some("fix it")),
        (vec![user("## My request for Codex:\n"), user("real question")], Some("real question")),
        (vec![image, user("real question")], Some("[Image]")),
        (vec![file, user("real question")], Some("[Attachment]")),
        (vec![user(plugins)], Some("real question")),
        (vec![user("<div> is not centred, why?")], Some("<div> is not centred, why?")),
        (vec![user("# AGENTS.md is too long, please shorten it")], Some("# AGENTS.md is too long, please shorten it")),
    ];
    for (items, preview) in cases {
        let line =
            |item: Value| json!({"timestamp": "2026-11-21T09:00:00.000Z", "type": "response_item", "payload": item});
        let head = json!({
            "timestamp": "2026-11-21T09:00:00.000Z", "type": "session_meta",
            "payload": {"id": MESSAGES, "timestamp": "2026-11-21T09:00:00.000Z", "cwd": "/w"},
        });
        let lines: Vec<String> =
            [head].into_iter().chain(items.into_iter().map(line)).map(|line| format!("{line}\n")).collect();
        let home = Home::with_file(MESSAGES, lines.concat().as_bytes());
        for index in [&[][..], &["--index", "off"]] {
            let listed = home.json(&[&["list"], index].concat());
            assert_eq!(listed[0]["preview"].as_str(), preview, "{lines:?}");
        }
        // What was attached shows, too.
        if preview == Some("[Attachment]") {
            assert!(home.ok(&["show", MESSAGES]).contains("a.pdf"));
        }
    }
}
