//! All recordings: model input, turns and metadata of the recorded programs, compared with ours.
//!
//! [`KNOWN`] names every difference. `docs/interop.md` lists the same names, with the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use selvedge_history::replay_lines;
use selvedge_protocol::{ItemContent, RolloutItem, RolloutLine, Timestamp, Turn, TurnItem};
use serde_json::{Value, json};

use crate::metadata_fold::folded_record;
use crate::recordings::{self, Recorded};
use crate::replay::{comparable, is_base_instructions};
use crate::story::{project, told_by_events};

/// A known difference between ours and the recordings, under the name that the documentation uses.
///
/// Every thread must have the differences that are listed for it, so that no entry outlives its difference.
struct Known {
    name: &'static str,
    differences: &'static [(&'static str, &'static [&'static str])],
}

const KNOWN: &[Known] = &[
    Known {
        name: "a rollback behind a compaction",
        differences: &[("model input", CUT_COMPACTIONS), ("turns", CUT_COMPACTIONS)],
    },
    Known { name: "a rollback behind a command of the user", differences: &[("turns", &["story-0.144.6-shell/V"])] },
    Known { name: "words and summary in one message", differences: &[("model input", &["story-0.36.0-exec/M"])] },
    Known {
        name: "surroundings told anew in front",
        differences: &[(
            "front of the model input",
            &["story-0.36.0-exec/M", "story-0.58.0-exec/M", "story-0.98.0-compactions/C", "story-0.98.0-compactions/M"],
        )],
    },
    Known {
        name: "compactions that do not show",
        differences: &[("turns", &["story-0.98.0-compactions/C", "story-0.98.0-compactions/M"])],
    },
    Known { name: "an archived thread that is not read", differences: &[("read", &["story-0.98.0-rows/A"])] },
    Known {
        name: "the session of a sub-agent",
        differences: &[(
            "sessionId",
            &["story-0.144.6-rows/S1", "story-0.169.0-rows/S1", "story-0.171.0-rows/S1", "story-0.171.0-kinds/S1"],
        )],
    },
    Known {
        name: "the preview of a fork by reference",
        differences: &[
            (
                "preview",
                &["story-0.150.1-undo/G", "story-0.150.1-undo/H", "story-0.155.1-undo/G", "story-0.155.1-undo/H"],
            ),
            ("listed preview", &["story-0.150.1-undo/G", "story-0.155.1-undo/G"]),
        ],
    },
    Known {
        name: "the preview of what was reverted",
        differences: &[(
            "preview",
            &[
                "story-0.150.1-undo/X",
                "story-0.155.1-undo/X",
                "story-0.169.0-undo/X",
                "story-0.171.0-undo/X",
                "story-0.171.0-migrated/X",
            ],
        )],
    },
    Known {
        name: "the times of the newest segment",
        differences: &[
            ("createdAt", &["story-0.155.1-undo/R", "story-0.155.1-undo/Z", "story-0.169.0/T"]),
            ("recencyAt", &["story-0.155.1-undo/Z"]),
            ("listed recencyAt", &["story-0.155.1-undo/Z"]),
        ],
    },
    Known {
        name: "the times of copied files",
        differences: &[
            ("updatedAt", COPIED_FILES),
            ("listed updatedAt", COPIED_FILES),
            ("recencyAt", COPIED_FILES),
            ("listed recencyAt", COPIED_FILES),
        ],
    },
    Known { name: "a row for each segment", differences: &[("rows", REVERTED)] },
    Known { name: "forks that the list does not call so", differences: &[("listed forkedFromId", LISTED_FORKS)] },
    Known { name: "where a thread began, in the list", differences: &[("listed cwd", &["story-0.144.6/T"])] },
];

/// Threads of an older recording, which the recorded program found in its home.
const COPIED_FILES: &[&str] = &[
    "story-0.171.0-migrated/G",
    "story-0.171.0-migrated/H",
    "story-0.171.0-migrated/P",
    "story-0.171.0-migrated/R",
    "story-0.171.0-migrated/X",
    "story-0.171.0-migrated/Z",
];

/// Threads with more than one segment that contains a turn.
const REVERTED: &[&str] = &[
    "story-0.150.1-undo/H",
    "story-0.150.1-undo/R",
    "story-0.150.1-undo/X",
    "story-0.155.1-undo/H",
    "story-0.155.1-undo/R",
    "story-0.155.1-undo/X",
    "story-0.169.0-undo/H",
    "story-0.169.0-undo/R",
    "story-0.169.0-undo/X",
    "story-0.169.0/T",
    "story-0.171.0-undo/H",
    "story-0.171.0-undo/R",
    "story-0.171.0-undo/X",
    "story-0.171.0-shell/V",
];

/// Forks of which the list has one row.
const LISTED_FORKS: &[&str] = &[
    "story-0.137.0-undo/G",
    "story-0.137.0-undo/H",
    "story-0.144.6/F",
    "story-0.144.6/FF",
    "story-0.144.6-undo/G",
    "story-0.144.6-undo/H",
    "story-0.150.1-undo-legacy/G",
    "story-0.150.1-undo-legacy/H",
    "story-0.150.1-undo/G",
    "story-0.155.1-undo/G",
    "story-0.169.0/F",
    "story-0.169.0/FF",
    "story-0.169.0-undo/G",
    "story-0.171.0-migrated/G",
    "story-0.171.0-migrated/H",
    "story-0.171.0-undo/G",
];

/// Threads with a rollback past a compaction, and forks of such threads.
const CUT_COMPACTIONS: &[&str] = &[
    "story-0.137.0-undo/R",
    "story-0.137.0-undo/G",
    "story-0.137.0-undo/Z",
    "story-0.144.6-undo/R",
    "story-0.144.6-undo/G",
    "story-0.144.6-undo/Z",
    "story-0.150.1-undo-legacy/R",
    "story-0.150.1-undo-legacy/G",
    "story-0.150.1-undo-legacy/Z",
];

/// Differences in all threads, by thread and by what differs.
#[derive(Default)]
struct Differences(BTreeMap<(String, String), String>);

impl Differences {
    fn add(&mut self, thread: &Recorded, what: &str, text: String) {
        self.0.insert((thread.name.clone(), what.to_owned()), text);
    }

    /// Fails with a list of all unknown differences, or if a known difference no longer exists.
    fn check(mut self, checked: &[&str]) {
        for Known { name, differences } in KNOWN {
            for (what, threads) in differences.iter().filter(|(what, _)| checked.contains(what)) {
                for thread in *threads {
                    let found = self.0.remove(&((*thread).to_owned(), (*what).to_owned()));
                    assert!(found.is_some(), "{thread} does not differ in {what} any more: {name}");
                }
            }
        }
        let unknown: Vec<String> =
            self.0.iter().map(|((thread, what), text)| format!("{thread}, {what}: {text}")).collect();
        assert!(unknown.is_empty(), "{} differences:\n{}", unknown.len(), unknown.join("\n"));
    }
}

fn threads() -> impl Iterator<Item = Recorded> {
    recordings::folders().into_iter().flat_map(|folder| recordings::threads_of(&folder))
}

/// The recorded model input of a thread, without the items that belong to the start of the program.
///
/// First the context fragments that the program repeats at the front. It does that after a compaction without a replacement
/// history. Then the other items.
fn recorded_model_input(thread: &Recorded) -> Option<(Vec<Value>, Vec<Value>)> {
    let mut input = &thread.model_input.as_ref()?[..];
    if is_base_instructions(&input[0], thread) {
        input = &input[1..];
    }
    let mut compactions = thread.lines.iter().filter_map(|line| match line.item() {
        RolloutItem::Compacted(compacted) => Some(compacted),
        _ => None,
    });
    let is_left_open = compactions.next_back().is_some_and(|compacted| compacted.replacement_history.is_none());
    let in_front = if is_left_open { input.iter().take_while(|item| is_fragment(item)).count() } else { 0 };
    let (front, input) = input.split_at(in_front);
    Some((front.to_vec(), input.iter().map(comparable).collect()))
}

fn is_fragment(item: &Value) -> bool {
    item["content"][0]["text"].as_str().is_some_and(|text| text.starts_with(['<', '#']))
}

fn model_input_differs(thread: &Recorded) -> Option<String> {
    let Some((_, input)) = recorded_model_input(thread) else {
        // The program refuses input for a sub-agent that its parent started with the newer tools.
        let refused = thread.name.ends_with("/A") || thread.name == "story-0.171.0-kinds/S1";
        assert!(refused, "{}: only archived threads and sub-agents were not resumed", thread.name);
        return None;
    };
    let context = replay_lines(&thread.lines);
    let history: Vec<Value> =
        context.history.iter().map(|item| comparable(&serde_json::to_value(item).unwrap())).collect();
    let same = history.iter().zip(&input).take_while(|(ours, theirs)| ours == theirs).count();
    let added = input.get(history.len()..).and_then(<[Value]>::split_last);
    let probed = added.is_some_and(|(probe, news)| {
        probe["content"][0]["text"] == "probe after restart" && news.iter().all(is_fragment)
    });
    let fits = same == history.len() && probed && context.warnings.is_empty();
    let short = |items: &[Value]| items.iter().map(|item| format!("    {item:.150}")).collect::<Vec<_>>().join("\n");
    (!fits).then(|| {
        let (ours, theirs) = (short(&history[same..]), short(&input[same..]));
        format!("{same} items agree, then ours\n{ours}\n  theirs\n{theirs}\n  {:?}", context.warnings)
    })
}

#[test]
fn every_thread_has_the_recorded_model_input() {
    let mut found = Differences::default();
    for thread in threads() {
        if let Some(text) = model_input_differs(&thread) {
            found.add(&thread, "model input", text);
        }
        if let Some((front, _)) = recorded_model_input(&thread).filter(|(front, _)| !front.is_empty()) {
            found.add(&thread, "front of the model input", format!("{front:?}"));
        }
    }
    found.check(&["model input", "front of the model input"]);
}

#[test]
fn messages_after_an_undone_compaction_are_the_same() {
    for thread in threads().filter(|thread| CUT_COMPACTIONS.contains(&thread.name.as_str())) {
        let (_, input) = recorded_model_input(&thread).unwrap();
        let ours = replay_lines(&thread.lines).history;
        let ours = ours.iter().map(|item| comparable(&serde_json::to_value(item).unwrap()));
        let is_after_undo =
            |item: &Value| item["content"][0]["text"].as_str().is_some_and(|text| text.contains("after the undo"));
        let ours: Vec<Value> = ours.skip_while(|item| !is_after_undo(item)).collect();
        let theirs: Vec<Value> = input.into_iter().skip_while(|item| !is_after_undo(item)).collect();
        assert_eq!(ours.is_empty(), thread.name.ends_with("/Z"), "{}", thread.name);
        assert!(theirs.starts_with(&ours), "{}", thread.name);
    }
}

#[test]
fn every_thread_shows_the_recorded_turns() {
    let mut found = Differences::default();
    let nicknames = nicknames();
    for thread in threads() {
        if !thread.read.is_object() {
            // `codex exec` has no listing. A program with a listing that cannot read a thread is a difference.
            if !thread.listed.is_empty() {
                found.add(&thread, "read", "nothing was read".to_owned());
            }
            continue;
        }
        if let Some(text) = turns_differ(&thread, &nicknames) {
            found.add(&thread, "turns", text);
        }
    }
    found.check(&["turns", "read"]);
}

/// Returns how the turns of a thread differ from the recorded ones.
fn turns_differ(thread: &Recorded, nicknames: &BTreeMap<String, String>) -> Option<String> {
    let theirs = thread.read["turns"].as_array().unwrap().iter().map(|turn| recorded_turn(turn, nicknames));
    let theirs: Vec<Value> = theirs.collect();
    // Older releases return no times of turns, and 0.171 does not return when a turn of a migrated thread began.
    let has = |time: &str| theirs.iter().any(|turn| turn.get(time).is_some());
    let times = ["started_at", "completed_at"].into_iter().filter(|time| has(time)).collect::<Vec<_>>();
    let ours = told_by_events(project(&thread.lines));
    let ours: Vec<Value> = ours.iter().map(|turn| our_turn(turn, &times)).collect();
    let different = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    (ours != theirs).then(|| format!("{} and {} turns, {different:#?}", ours.len(), theirs.len()))
}

/// The program that made these files of legacy ones removed an undone turn, but left its compaction between two other turns.
#[test]
fn a_compaction_outside_any_turn_begins_no_turn() {
    for letter in ["G", "R", "Z"] {
        let thread = recordings::story("story-0.171.0-migrated", letter);
        assert_eq!(turns_differ(&thread, &BTreeMap::new()), None, "{letter}");
    }
}

/// A migration changes the form of the lines and leaves out what was undone, but not what a client shows.
#[test]
fn a_migrated_thread_shows_the_turns_that_it_had() {
    for thread in recordings::threads_of("story-0.171.0-migrated") {
        let before = recordings::before_migration(thread.id);
        assert!(before.iter().all(|line| line.ordinal().is_none()), "{}", thread.name);
        assert!(thread.lines.iter().all(|line| line.ordinal().is_some()), "{}", thread.name);
        let shown = |lines: &[RolloutLine]| {
            let turns = project(lines).into_iter().map(|turn| (turn.id, turn.status, said(&turn.items)));
            turns.collect::<Vec<_>>()
        };
        assert_eq!(shown(&thread.lines), shown(&before), "{}", thread.name);
    }
}

/// The kinds of items and what was said in them.
fn said(items: &[TurnItem]) -> Vec<(String, Option<String>)> {
    let said = |item: &TurnItem| match &item.content {
        ItemContent::UserMessage { text, .. } | ItemContent::AgentMessage { text, .. } => Some(text.clone()),
        _ => None,
    };
    items.iter().map(|item| (item.kind().to_owned(), said(item))).collect()
}

/// The file begins with lines of the parent, which are no turns of the sub-agent.
#[test]
fn a_sub_agent_with_a_copied_history_shows_only_its_own_turns() {
    let thread = recordings::story("story-0.171.0-kinds", "S1");
    assert_eq!(turns_differ(&thread, &BTreeMap::new()), None);
}

/// One of our turns as JSON, with only these times.
fn our_turn(turn: &Turn, times: &[&str]) -> Value {
    let seconds = |name: &str, at: Option<Timestamp>| at.filter(|_| times.contains(&name)).map(|at| at.as_seconds());
    let mut turn = json!({
        "id": turn.id, "status": turn.status, "error": turn.error, "duration_ms": turn.duration_ms,
        "started_at": seconds("started_at", turn.started_at),
        "completed_at": seconds("completed_at", turn.completed_at), "items": turn.items,
    });
    for item in turn["items"].as_array_mut().unwrap() {
        let item_fields = item.as_object_mut().unwrap();
        item_fields.remove("command_actions");
        // What the call said is added to these.
        let added: &[&str] = match item_fields["type"].as_str().unwrap() {
            "sub_agent_activity" => &["tool", "arguments", "result"],
            "collab_agent_tool_call" => &["arguments", "result"],
            _ => &[],
        };
        item_fields.retain(|name, _| !added.contains(&name.as_str()));
        for image in item.get_mut("images").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(path) = image.get("path") {
                *image = path.clone();
            }
        }
    }
    without_nulls(turn)
}

/// The names of the sub-agents of all recordings. An item that started one has no name in the output of the program.
fn nicknames() -> BTreeMap<String, String> {
    let name = |thread: Recorded| {
        let (id, name) = (thread.read["id"].as_str()?, thread.read["agentNickname"].as_str()?);
        Some((id.to_owned(), name.to_owned()))
    };
    threads().filter_map(name).collect()
}

/// A recorded turn in the form of ours.
fn recorded_turn(turn: &Value, nicknames: &BTreeMap<String, String>) -> Value {
    let items: Vec<Value> =
        turn["items"].as_array().unwrap().iter().map(|item| recorded_item(item, nicknames)).collect();
    without_nulls(json!({
        "id": turn["id"], "status": snake_case(turn["status"].as_str().unwrap()), "error": turn["error"],
        "duration_ms": turn["durationMs"], "started_at": turn["startedAt"], "completed_at": turn["completedAt"],
        "items": items,
    }))
}

fn recorded_item(item: &Value, nicknames: &BTreeMap<String, String>) -> Value {
    let (id, kind) = (&item["id"], snake_case(item["type"].as_str().unwrap()));
    match kind.as_str() {
        "user_message" => {
            let content = item["content"].as_array().unwrap();
            let texts: String = content.iter().filter_map(|part| part["text"].as_str()).collect();
            let images: Vec<&Value> =
                content.iter().filter(|part| part["type"] != "text").map(|part| &part["path"]).collect();
            json!({"type": kind, "id": id, "text": texts, "images": images})
        }
        "agent_message" => json!({"type": kind, "id": id, "text": item["text"], "phase": item["phase"]}),
        "reasoning" => json!({"type": kind, "id": id, "summary": item["summary"], "content": item["content"]}),
        "command_execution" => json!({
            "type": kind, "id": id, "command": item["command"], "cwd": item["cwd"], "status": item["status"],
            "output": item["aggregatedOutput"], "exit_code": item["exitCode"], "duration_ms": item["durationMs"],
        }),
        "file_change" => {
            let changes = item["changes"].as_array().unwrap().iter();
            let change = |change: &Value| {
                assert_eq!(change["kind"]["type"], "add", "only additions were recorded");
                (change["path"].as_str().unwrap().to_owned(), json!({"type": "add", "content": change["diff"]}))
            };
            let changes: serde_json::Map<String, Value> = changes.map(change).collect();
            json!({"type": kind, "id": id, "status": item["status"], "changes": changes})
        }
        "web_search" => json!({"type": kind, "id": id, "query": item["query"], "action": item["action"]}),
        "context_compaction" => json!({"type": kind, "id": id}),
        "collab_agent_tool_call" => json!({
            "type": kind, "id": id, "tool": snake_case(item["tool"].as_str().unwrap()), "status": item["status"],
            "prompt": item["prompt"], "model": item["model"], "reasoning_effort": item["reasoningEffort"],
            "sender_thread_id": item["senderThreadId"], "receiver_thread_ids": item["receiverThreadIds"],
            // State and name of the agent come from its own thread.
            "agents_states": {(item["receiverThreadIds"][0].as_str().unwrap()): "pending_init"},
            "receiver_agents": [{
                "thread_id": item["receiverThreadIds"][0],
                "agent_nickname": nicknames[item["receiverThreadIds"][0].as_str().unwrap()],
            }],
        }),
        "dynamic_tool_call" => json!({
            "type": "tool_call", "id": id, "server": item["namespace"], "tool": item["tool"],
            "arguments": item["arguments"], "status": item["status"], "result": item["contentItems"],
            "duration_ms": item["durationMs"],
        }),
        "sub_agent_activity" => json!({
            "type": kind, "id": id, "kind": item["kind"], "agent_thread_id": item["agentThreadId"],
            "agent_path": item["agentPath"], "model": item["model"], "reasoning_effort": item["reasoningEffort"],
        }),
        kind => panic!("a kind of item that was never recorded: {kind}"),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, without_nulls(value))).collect::<serde_json::Map<_, _>>().into()
        }
        value => value,
    }
}

fn snake_case(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

#[test]
fn every_thread_has_the_recorded_metadata() {
    let mut found = Differences::default();
    for thread in threads() {
        for (field, ours) in metadata(&thread) {
            // Older releases do not return all of these fields.
            if let Some(theirs) = thread.read.get(field).filter(|theirs| differ(&ours, theirs)) {
                found.add(&thread, field, format!("ours {ours}, theirs {theirs}"));
            }
        }
    }
    found.check(FIELDS);
}

#[test]
fn every_thread_is_listed_with_the_recorded_metadata() {
    let mut found = Differences::default();
    for thread in threads() {
        match &thread.listed[..] {
            [row] => {
                for (field, ours) in metadata(&thread) {
                    if let Some(theirs) = row.get(field).filter(|theirs| differ(&ours, theirs)) {
                        found.add(&thread, &format!("listed {field}"), format!("ours {ours}, theirs {theirs}"));
                    }
                }
            }
            // A listing without filters has no sub-agents.
            [] => assert!(thread.read.is_null() || thread.name.ends_with("/S1"), "{}", thread.name),
            rows => found.add(&thread, "rows", format!("{} rows", rows.len())),
        }
    }
    let listed: Vec<String> = FIELDS.iter().map(|field| format!("listed {field}")).collect();
    found.check(&listed.iter().map(String::as_str).chain(["rows"]).collect::<Vec<_>>());
}

/// Returns whether two values of a metadata field differ. An empty text, which Codex returns for a thread without a preview, is no text.
fn differ(ours: &Value, theirs: &Value) -> bool {
    ours != theirs && !(ours.is_null() && theirs == "")
}

/// Metadata fields that the recorded programs and we have in common, by their names.
const FIELDS: &[&str] = &[
    "agentNickname",
    "agentRole",
    "cliVersion",
    "createdAt",
    "cwd",
    "forkedFromId",
    "gitInfo",
    "historyMode",
    "id",
    "model",
    "modelProvider",
    "originator",
    "parentThreadId",
    "preview",
    "reasoningEffort",
    "recencyAt",
    "sessionId",
    "source",
    "threadSource",
    "updatedAt",
];

/// Our metadata of a thread, by the field names of the recorded programs.
fn metadata(thread: &Recorded) -> BTreeMap<&'static str, Value> {
    let record = folded_record(thread);
    let git = record.git.unwrap_or_default();
    let metadata = json!({
        "agentNickname": record.agent_nickname,
        "agentRole": record.agent_role,
        "cliVersion": record.cli_version,
        "createdAt": record.created_at.as_seconds(),
        "cwd": record.cwd,
        "forkedFromId": record.forked_from_id,
        "gitInfo": {"branch": git.branch, "originUrl": git.repository_url, "sha": git.commit_hash},
        "historyMode": record.history_mode,
        "id": record.id,
        "model": record.model,
        "modelProvider": record.model_provider,
        "originator": record.originator,
        "parentThreadId": record.parent_thread_id,
        "preview": record.preview,
        "reasoningEffort": record.reasoning_effort,
        "recencyAt": record.recency_at.as_seconds(),
        "sessionId": record.session_id,
        "source": with_recorded_spelling(record.source.unwrap_or_default()),
        "threadSource": record.thread_source,
        "updatedAt": record.updated_at.as_seconds(),
    });
    FIELDS.iter().map(|field| (*field, metadata[field].clone())).collect()
}

/// The log contains `subagent`, the program returns `subAgent`.
fn with_recorded_spelling(source: Value) -> Value {
    serde_json::from_str(&source.to_string().replace("\"subagent\"", "\"subAgent\"")).unwrap()
}

/// The names in the table of differences on a page of the documentation.
fn documented(page: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table = text.split("<!-- differences:begin -->").nth(1).unwrap_or_default();
    let table = table.split("<!-- differences:end -->").next().unwrap_or_default();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
    rows.map(str::trim).filter(|name| *name != "difference" && !name.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn the_documentation_lists_the_known_differences_and_no_others() {
    let known: BTreeSet<String> = KNOWN.iter().map(|known| known.name.to_owned()).collect();
    assert_eq!(known.len(), KNOWN.len());
    assert_eq!(documented("interop.md"), known);
}
