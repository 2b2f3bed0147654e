//! Trees of forks and sub-agents.

use std::fs;

use serde_json::{Value, json};

use crate::support::{ARCHIVED169, Home, PLAIN169, T144, T169, UNKNOWN, line, rollouts, small_log};

fn id(n: u32) -> String {
    format!("01a1fd5d-0000-7000-8000-{n:012x}")
}

/// Returns a log whose first line has these fields, too.
fn log(n: u32, fields: Value) -> String {
    let mut meta = json!({
        "id": id(n), "timestamp": format!("2026-11-21T09:00:{n:02}.000Z"), "cwd": "/home/dev/proj", "originator": "test",
        "cli_version": "0.0.0", "source": "cli",
    });
    for (key, value) in fields.as_object().unwrap() {
        meta[key] = value.clone();
    }
    let message = line("event_msg", &json!({"type": "user_message", "message": format!("thread {n}")}));
    line("session_meta", &meta) + &message
}

fn home_with(threads: &[(u32, Value)]) -> Home {
    let home = Home::empty();
    for (n, fields) in threads {
        home.write(&id(*n), log(*n, fields.clone()).as_bytes());
    }
    home
}

/// Returns the shape of a tree: `[id, relation, [children]]`.
fn shape(tree: &Value) -> Value {
    let children: Vec<Value> = tree["children"].as_array().unwrap().iter().map(shape).collect();
    json!([tree["id"], tree["relation"], children])
}

fn shapes(trees: &Value) -> Vec<Value> {
    trees.as_array().unwrap().iter().map(shape).collect()
}

#[test]
fn forks_are_drawn_below_their_sources() {
    for (sample, thread, ids) in [
        ("story-0.169.0", T169, ["01a1fd5d-aacb", "01a1fd5d-add7", "01a1fd5d-ae48"]),
        ("story-0.144.6", T144, ["01a1fd5d-c3f2", "01a1fd5d-c6c8", "01a1fd5d-c755"]),
    ] {
        let home = Home::sample(sample);
        let [first, second, third] = ids;
        let run = home.run(&["tree"]);
        let title = "Thread on zebras";
        let drawn = format!("{first}  {title}\n└─ {second}  fork: {title}\n   └─ {third}  fork: {title}\n");
        assert_eq!((run.code, &run.out), (0, &drawn), "{}", run.err);
        assert_eq!(run.err, "and 3 threads without forks and sub-agents\n");
        for one in [thread, second, third] {
            assert_eq!(home.ok(&["tree", one]), drawn, "the family of {one}");
        }
        let ascii = drawn.replace("└─", "`-");
        assert_eq!(home.ok(&["tree", "--ascii"]), ascii);
        assert!(home.ok(&["tree", "--color", "always"]).contains('\u{1b}'));
    }
}

#[test]
fn json_contains_every_thread_record_once() {
    for sample in ["basic-0.20.0", "basic-0.118.0", "story-0.144.6", "story-0.169.0"] {
        fn collect<'a>(tree: &'a Value, out: &mut Vec<&'a Value>) {
            out.push(tree);
            tree["children"].as_array().unwrap().iter().for_each(|child| collect(child, out));
        }
        let home = Home::sample(sample);
        let trees = home.json(&["tree"]);
        let mut nodes = Vec::new();
        trees.as_array().unwrap().iter().for_each(|tree| collect(tree, &mut nodes));
        let rows = home.json(&["list", "--all"]);
        assert_eq!(nodes.len(), rows.as_array().unwrap().len(), "{sample}");
        for row in rows.as_array().unwrap() {
            assert!(nodes.iter().any(|node| node["thread"] == *row && node["id"] == row["id"]), "{sample}");
        }
        for tree in trees.as_array().unwrap() {
            assert_eq!(home.json(&["tree", tree["id"].as_str().unwrap()]), *tree);
        }
    }
}

#[test]
fn an_unrelated_thread_is_drawn_only_if_it_is_named() {
    let home = Home::sample("story-0.169.0");
    assert_eq!(home.ok(&["tree", PLAIN169]).lines().count(), 1);
    assert!(home.ok(&["tree", ARCHIVED169]).contains("  [archived] "), "{}", home.ok(&["tree", ARCHIVED169]));
    let run = home.run(&["tree", UNKNOWN]);
    assert_eq!((run.code, run.out.as_str()), (3, ""));
    let home = Home::with_file(&id(1), small_log(&id(1)).as_bytes());
    let run = home.run(&["tree"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert_eq!(run.err, "1 thread here, none forked from or started by another\n");
    let run = Home::empty().run(&["tree"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    assert_eq!(Home::empty().json(&["tree"]), json!([]));
}

#[test]
fn sub_agents_and_missing_parents_are_marked() {
    let agent = |parent: u32, role: &str| json!({"parent_thread_id": id(parent), "agent_role": role});
    let home = home_with(&[
        (1, json!({})),
        (2, json!({"parent_thread_id": id(1), "agent_nickname": "Ada\u{1b}[31m", "agent_role": "explorer"})),
        (3, agent(2, "worker")),
        (4, json!({"forked_from_id": id(1)})),
        // A sub-agent that began with the history of its parent.
        (5, json!({"forked_from_id": id(1), "parent_thread_id": id(4)})),
        (6, json!({"forked_from_id": id(99)})),
        (7, agent(99, "worker")),
    ]);
    home.ok(&["archive", &id(3)]);
    let full = |n| id(n);
    let family = [
        format!("{}  thread 1", full(1)),
        format!("├─ {}  sub-agent Ada (explorer): thread 2", full(2)),
        format!("│  └─ {}  sub-agent worker: [archived] thread 3", full(3)),
        format!("└─ {}  fork: thread 4", full(4)),
        format!("   └─ {}  sub-agent: thread 5", full(5)),
    ];
    let lost = [
        format!("{}  (not in this home)", full(99)),
        format!("├─ {}  fork: thread 6", full(6)),
        format!("└─ {}  sub-agent worker: thread 7", full(7)),
    ];
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(home.ok(&["tree", &id(5)])), family);
    assert_eq!(lines(home.ok(&["tree", &id(7)])), lost);
    assert_eq!(lines(home.ok(&["tree", &id(99)])), lost, "a missing thread has a family, too");
    let all = lines(home.ok(&["tree"]));
    assert!(all == [&family[..], &lost[..]].concat() || all == [&lost[..], &family[..]].concat(), "{all:#?}");
    let ascii = home.ok(&["tree", &id(1), "--ascii"]);
    assert!(ascii.is_ascii() && ascii.contains("\n|  `- ") && ascii.contains("\n|- "), "{ascii}");
    let tree = home.json(&["tree", &id(1)]);
    let (sub, fork) = (json!("sub_agent"), json!("fork"));
    assert_eq!(
        shape(&tree),
        json!([id(1), null, [[id(2), sub, [[id(3), sub, []]]], [id(4), fork, [[id(5), sub, []]]]]])
    );
    let missing = home.json(&["tree", &id(99)]);
    assert_eq!(shape(&missing), json!([id(99), null, [[id(6), fork, []], [id(7), sub, []]]]));
    assert_eq!(missing["thread"], Value::Null);
    let mut command = home.command(&["tree", &id(1)]);
    let narrow = crate::support::run(command.env("COLUMNS", "60")).out;
    assert!(narrow.contains('…') && narrow.lines().count() == 5, "{narrow}");
}

#[test]
fn circles_are_cut() {
    let fork_of = |n: u32| json!({"forked_from_id": id(n)});
    let home = home_with(&[
        (1, fork_of(3)),
        (2, fork_of(1)),
        (3, json!({"parent_thread_id": id(2)})),
        (4, fork_of(2)),
        (5, fork_of(5)),
    ]);
    let mut found = shapes(&home.json(&["tree"]));
    found.sort_by_key(Value::to_string);
    let below = json!([id(2), "fork", [[id(3), "sub_agent", []], [id(4), "fork", []]]]);
    assert_eq!(found, [json!([id(1), "fork", [below]]), json!([id(5), "fork", []])]);
    let text = home.ok(&["tree", &id(3)]);
    assert!(text.starts_with(&format!("{}  fork of {}: thread 1\n", id(1), id(3))), "{text}");
    assert_eq!(text.lines().count(), 4);
    assert!(home.ok(&["tree", &id(5)]).contains(&format!("fork of {}", id(5))));
}

#[test]
fn a_tree_changes_nothing() {
    let home = Home::sample("story-0.169.0");
    let files = |home: &Home| -> Vec<(String, Vec<u8>)> {
        let files = rollouts(&home.path()).into_iter();
        files.map(|(_, _, path)| (path.display().to_string(), fs::read(path).unwrap())).collect()
    };
    let before = files(&home);
    home.ok(&["tree"]);
    assert_eq!(files(&home), before);
    let help = home.ok(&["tree", "--help"]);
    assert!(help.contains("Usage: selvedge tree ") && help.contains("--ascii"), "{help}");
}
