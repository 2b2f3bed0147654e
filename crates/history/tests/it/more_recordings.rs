//! Recordings of further releases and rarer stories, by the same comparisons: model input, turns, metadata.

use std::collections::BTreeMap;

use selvedge_protocol::RolloutItem;
use serde_json::Value;

use crate::facts::recorded_row;
use crate::recordings::{self, Recorded};
use crate::replay::{comparable, is_base_instructions, replay_lines};
use crate::story::project;
use crate::turns::{recorded, told};

/// The recordings that `cargo xtask record` made.
const FOLDERS: [&str; 20] = [
    "story-0.36.0-exec",
    "story-0.58.0-exec",
    "story-0.98.0-compactions",
    "story-0.98.0-rows",
    "story-0.137.0-undo",
    "story-0.137.0-tools",
    "story-0.144.6-compactions",
    "story-0.144.6-undo",
    "story-0.144.6-crash",
    "story-0.144.6-rows",
    "story-0.144.6-tools",
    "story-0.150.1-undo",
    "story-0.150.1-undo-legacy",
    "story-0.155.1-undo",
    "story-0.155.1-crash",
    "story-0.169.0-compactions",
    "story-0.169.0-undo",
    "story-0.169.0-crash",
    "story-0.169.0-rows",
    "story-0.169.0-tools",
];

/// Where ours and the recording differ: the threads, in what, and why.
///
/// Every one of them must differ, so that none stays here longer than it is true.
struct Known {
    threads: &'static [&'static str],
    what: &'static str,
    why: &'static str,
}

/// Threads in which a rollback reaches behind a compaction, or one that was forked from such a thread.
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

const KNOWN: &[Known] = &[
    Known {
        threads: CUT_COMPACTIONS,
        what: "model input",
        why: "once a rollback reaches behind a compaction, these releases forget all that was said before it; 0.98 keeps it, as we do",
    },
    Known {
        threads: CUT_COMPACTIONS,
        what: "turns",
        why: "the listing undoes the newest turns of any kind, so one that only compacts counts for one of the person",
    },
    Known {
        threads: &["story-0.36.0-exec/M"],
        what: "model input",
        why: "the release packs the person's words and the summary into one message, in words of its own",
    },
    Known {
        threads: &["story-0.58.0-exec/M"],
        what: "model input",
        why: "summaries of this release have nothing in front of them that tells them from the person's words, so it keeps the older ones",
    },
    Known {
        threads: &["story-0.98.0-compactions/C", "story-0.98.0-compactions/M"],
        what: "turns",
        why: "the release does not show compactions, though it records them; later ones do",
    },
    Known {
        threads: &["story-0.144.6-rows/S1", "story-0.169.0-rows/S1"],
        what: "sessionId",
        why: "the release gives a sub-agent that is not loaded its own id, and not the session that its file names",
    },
    Known {
        threads: &["story-0.150.1-undo/G", "story-0.150.1-undo/H", "story-0.155.1-undo/G", "story-0.155.1-undo/H"],
        what: "preview",
        why: "a fork by reference shows the first words of its own file; 0.169 shows those that it inherited, as we do",
    },
    Known {
        threads: &["story-0.150.1-undo/X", "story-0.155.1-undo/X", "story-0.169.0-undo/X"],
        what: "preview",
        why: "the database keeps the words of a turn that was reverted",
    },
];

/// Complaints about all threads, by thread and by what is different.
#[derive(Default)]
struct Complaints(BTreeMap<(String, &'static str), String>);

impl Complaints {
    fn add(&mut self, thread: &Recorded, what: &'static str, text: String) {
        self.0.insert((thread.name.clone(), what), text);
    }

    /// Fails with every complaint at once, and if a known difference is none any more.
    fn check(mut self, checked: &[&str]) {
        for known in KNOWN.iter().filter(|known| checked.contains(&known.what)) {
            for thread in known.threads {
                let found = self.0.remove(&((*thread).to_owned(), known.what));
                assert!(found.is_some(), "{thread} does not differ in {} any more: {}", known.what, known.why);
            }
        }
        let unknown: Vec<String> =
            self.0.iter().map(|((thread, what), text)| format!("{thread}, {what}: {text}")).collect();
        assert!(unknown.is_empty(), "{} differences:\n{}", unknown.len(), unknown.join("\n"));
    }
}

fn threads() -> impl Iterator<Item = Recorded> {
    FOLDERS.into_iter().flat_map(recordings::threads_of)
}

/// What the program told the model, without what belongs to the program's start and not to the thread.
fn told_to_the_model(thread: &Recorded) -> Option<Vec<Value>> {
    let mut input = &thread.model_input.as_ref()?[..];
    if is_base_instructions(&input[0], thread) {
        input = &input[1..];
    }
    let mut compactions = thread.lines.iter().filter_map(|line| match line.item() {
        RolloutItem::Compacted(compacted) => Some(compacted),
        _ => None,
    });
    // Where a record of a compaction does not say what is left, the program tells the surroundings anew in front of it.
    if compactions.next_back().is_some_and(|compacted| compacted.replacement_history.is_none()) {
        let told = input.iter().take_while(|item| is_fragment(item)).count();
        input = &input[told..];
    }
    Some(input.iter().map(comparable).collect())
}

fn is_fragment(item: &Value) -> bool {
    item["content"][0]["text"].as_str().is_some_and(|text| text.starts_with(['<', '#']))
}

fn model_input_differs(thread: &Recorded) -> Option<String> {
    let input = told_to_the_model(thread)?;
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
fn every_thread_gives_the_recorded_model_input() {
    let mut complaints = Complaints::default();
    for thread in threads() {
        if let Some(text) = model_input_differs(&thread) {
            complaints.add(&thread, "model input", text);
        }
    }
    complaints.check(&["model input"]);
}

#[test]
fn what_was_said_after_a_cut_compaction_is_the_same() {
    for thread in threads().filter(|thread| CUT_COMPACTIONS.contains(&thread.name.as_str())) {
        let input = told_to_the_model(&thread).unwrap();
        let ours = replay_lines(&thread.lines).history;
        let ours = ours.iter().map(|item| comparable(&serde_json::to_value(item).unwrap()));
        let said =
            |item: &Value| item["content"][0]["text"].as_str().is_some_and(|text| text.contains("after the undo"));
        let ours: Vec<Value> = ours.skip_while(|item| !said(item)).collect();
        let theirs: Vec<Value> = input.into_iter().skip_while(|item| !said(item)).collect();
        assert_eq!(ours.is_empty(), thread.name.ends_with("/Z"), "{}", thread.name);
        assert!(theirs.starts_with(&ours), "{}", thread.name);
    }
}

/// A turn's id, status and items, by id and type.
type Shape = (String, String, Vec<(String, String)>);

/// All calls of tools are of one kind, whichever program names them.
fn one_kind_of_call((id, status, mut items): Shape) -> Shape {
    for (_, kind) in items.iter_mut().filter(|(_, kind)| kind.ends_with("_tool_call")) {
        "tool_call".clone_into(kind);
    }
    (id, status, items)
}

#[test]
fn every_thread_shows_the_recorded_turns() {
    let mut complaints = Complaints::default();
    for thread in threads().filter(|thread| thread.read.is_object()) {
        let theirs: Vec<Shape> = thread.read["turns"].as_array().unwrap().iter().map(recorded).collect();
        let turns = project(&thread.lines);
        let ours: Vec<Shape> = turns.iter().map(told).map(one_kind_of_call).collect();
        if ours != theirs {
            complaints.add(&thread, "turns", format!("\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    complaints.check(&["turns"]);
}

#[test]
fn every_thread_has_the_recorded_facts() {
    let mut complaints = Complaints::default();
    let mut fields = Vec::new();
    for thread in threads().filter(|thread| thread.read.is_object()) {
        for (field, ours) in facts(&thread) {
            let theirs = &thread.read[field];
            if ours != *theirs && !is_time_of_a_segment(&thread, field, &ours) {
                complaints.add(&thread, field, format!("ours {ours}, theirs {theirs}"));
            }
            fields.push(field);
        }
    }
    complaints.check(&fields);
}

/// The recorded programs take the time of the newest segment, that is of the last revert, for that of the thread.
fn is_time_of_a_segment(thread: &Recorded, field: &str, ours: &Value) -> bool {
    let newest_segment = thread.read["path"].as_str().unwrap();
    let reverted = newest_segment.rsplit('/').next().unwrap().contains('_');
    reverted && matches!(field, "createdAt" | "recencyAt") && thread.read[field].as_i64() > ours.as_i64()
}

/// What we say of a thread, by the names that the recorded programs have for it.
fn facts(thread: &Recorded) -> BTreeMap<&'static str, Value> {
    let row = recorded_row(thread);
    let text = |text: Option<String>| text.map_or(Value::Null, Value::from);
    let mut facts = BTreeMap::from([
        ("preview", text(row.preview)),
        ("cwd", text(row.cwd)),
        ("cliVersion", text(row.cli_version)),
        ("modelProvider", text(row.model_provider)),
        ("source", in_their_spelling(row.source.unwrap_or_default())),
        ("createdAt", row.created_at.as_seconds().into()),
        ("updatedAt", row.updated_at.as_seconds().into()),
    ]);
    let optional = [
        ("forkedFromId", text(row.forked_from_id.map(|id| id.to_string()))),
        ("historyMode", row.history_mode.as_str().into()),
        ("sessionId", row.session_id.to_string().into()),
        ("recencyAt", row.recency_at.as_seconds().into()),
    ];
    // Older releases do not speak of these.
    facts.extend(optional.into_iter().filter(|(field, _)| thread.read.get(field).is_some()));
    facts
}

/// The file says `subagent`, the program `subAgent`.
fn in_their_spelling(source: Value) -> Value {
    serde_json::from_str(&source.to_string().replace("\"subagent\"", "\"subAgent\"")).unwrap()
}
