//! Lines that only the model sees: anywhere in a recording, they leave unchanged what other lines tell of turns and metadata.

use std::sync::LazyLock;

use proptest::prelude::*;
use selvedge_history::{MetadataFold, has_no_later_metadata, has_no_metadata};
use selvedge_protocol::{ItemContent, ResponseItem, RolloutItem, RolloutLine, StoredThread, ThreadId, Turn};
use serde_json::{Value, json};

use crate::recordings::{self, Recorded};
use crate::story::{item, project, told_by_events};

const FOLDERS: [&str; 10] = [
    "story-0.98.0-compactions",
    "story-0.98.0-rows",
    "story-0.137.0-undo",
    "story-0.144.6",
    "story-0.144.6-tools",
    "story-0.144.6-undo",
    "story-0.150.1-undo",
    "story-0.169.0",
    "story-0.169.0-rows",
    "story-0.169.0-undo",
];

/// The recorded threads, including those of old programs.
static THREADS: LazyLock<Vec<Thread>> = LazyLock::new(|| {
    let stories = FOLDERS.into_iter().flat_map(recordings::threads_of);
    let stories = stories.map(|Recorded { name, id, lines, .. }| Thread::new(name, id, lines));
    let basics = ["0.20.0", "0.36.0", "0.58.0", "0.118.0"].map(|version| {
        let lines = recordings::basic(version);
        let RolloutItem::SessionMeta(head) = lines[0].item() else { panic!("{version} has no head") };
        Thread::new(version.to_owned(), head.id.unwrap(), lines)
    });
    stories.chain(basics).collect()
});

#[derive(Debug)]
struct Thread {
    name: String,
    id: ThreadId,
    lines: Vec<RolloutLine>,
    /// Whether it contains a rollback, which counts messages to the model.
    has_rollback: bool,
}

impl Thread {
    fn new(name: String, id: ThreadId, lines: Vec<RolloutLine>) -> Self {
        let has_rollback = lines.iter().any(|line| line.payload().contains("thread_rolled_back"));
        Self { name, id, lines, has_rollback }
    }

    /// Inserts items after the first line, each with the time and ordinal of the line before. Also returns the new positions of
    /// the recorded lines.
    fn with(&self, more: &[(prop::sample::Index, RolloutItem)]) -> (Vec<RolloutLine>, Vec<usize>) {
        let mut inserted: Vec<_> = more.iter().map(|(at, item)| (at.index(self.lines.len()), item)).collect();
        inserted.sort_by_key(|(at, _)| *at);
        let (mut lines, mut positions) = (Vec::new(), Vec::new());
        for (position, line) in self.lines.iter().enumerate() {
            positions.push(lines.len());
            lines.push(line.clone());
            let here = inserted.iter().filter(|(at, _)| *at == position);
            let at = line.timestamp().unwrap_or_default();
            lines.extend(here.map(|(_, item)| RolloutLine::new(at, line.ordinal(), item)));
        }
        (lines, positions)
    }
}

fn record(thread: &Thread, lines: &[RolloutLine]) -> StoredThread {
    let mut fold = MetadataFold::new(thread.id, crate::story::time(0));
    for line in lines {
        fold.observe_line(line);
    }
    fold.thread().clone()
}

/// The record without the time of the last update: bare lines have no times, but the inserted lines do.
fn without_update(record: StoredThread) -> StoredThread {
    StoredThread { updated_at: record.created_at, ..record }
}

/// The record without the fields that come from the settings of a turn.
fn without_settings(record: StoredThread) -> StoredThread {
    StoredThread {
        cwd: None,
        model: None,
        reasoning_effort: None,
        approval_mode: None,
        permission_profile: None,
        ..without_update(record)
    }
}

fn shown(lines: &[RolloutLine]) -> Vec<Turn> {
    project(lines).into_iter().map(|turn| Turn { lines: 0..0, item_positions: Vec::new(), ..turn }).collect()
}

/// What events tell, in order. An inserted message of the user begins an implicit turn, so turns are not compared.
fn contents(lines: &[RolloutLine]) -> Vec<ItemContent> {
    let contents = told_by_events(project(lines)).into_iter().flat_map(|turn| turn.items).map(|item| item.content);
    // An inserted call can be between two parts of a reasoning.
    let mut merged: Vec<ItemContent> = Vec::new();
    for content in contents {
        match (merged.last_mut(), content) {
            (
                Some(ItemContent::Reasoning { summary, content }),
                ItemContent::Reasoning { summary: more, content: more_content },
            ) => {
                summary.extend(more);
                content.extend(more_content);
            }
            (_, content) => merged.push(content),
        }
    }
    merged
}

/// The record without what the first message of the user determines.
fn without_first_message(record: StoredThread) -> StoredThread {
    StoredThread { preview: None, first_user_message: None, ..without_update(record) }
}

/// The recorded lines of each turn.
fn recorded_lines(lines: &[RolloutLine], positions: &[usize]) -> Vec<Vec<usize>> {
    let within = |turn: &Turn| {
        let is_within = |position: &usize| turn.lines.contains(&(*position as u64));
        (0..).zip(positions).filter(|(_, position)| is_within(position)).map(|(line, _)| line).collect()
    };
    project(lines).iter().map(within).collect()
}

fn response(value: Value) -> RolloutItem {
    ResponseItem::from_value(&value).unwrap().into()
}

fn world_state() -> impl Strategy<Value = RolloutItem> {
    let state = prop::sample::select(vec![
        json!({"title": "t", "preview": "p", "name": "n", "cwd": "/other", "model": "other", "git": {"branch": "b"}}),
        json!({"type": "user_message", "message": "hello"}),
        json!({}),
        json!([1]),
        Value::Null,
    ]);
    (any::<bool>(), state)
        .prop_map(|(full, state)| item(json!({"type": "world_state", "payload": {"full": full, "state": state}})))
}

/// Response items that do not count as messages of the user.
fn uncounted_response() -> impl Strategy<Value = RolloutItem> {
    let text = |kind: &str, text: &str| json!([{"type": kind, "text": text}]);
    prop::sample::select(vec![
        json!({"type": "message", "role": "assistant", "content": text("output_text", "title: something else")}),
        json!({"type": "message", "role": "developer", "content": text("input_text", "<token_budget>\n</token_budget>")}),
        json!({"type": "message", "role": "user", "content": text("input_text", "<environment_context>x</environment_context>")}),
        json!({"type": "message", "role": "system", "content": text("input_text", "be good")}),
        json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "thinking"}]}),
        json!({"type": "function_call", "name": "shell", "arguments": "{\"command\":[\"ls\"]}", "call_id": "c"}),
        json!({"type": "function_call_output", "call_id": "c", "output": "exit 1"}),
        json!({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}),
        json!({"type": "ghost_snapshot", "ghost_commit": {"id": "x"}}),
        json!({"type": "of_tomorrow", "message": "hello", "title": "t"}),
    ])
    .prop_map(response)
}

/// Messages that a rollback counts, and that are not shown.
fn counted_response() -> impl Strategy<Value = RolloutItem> {
    prop::sample::select(vec![
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a better preview"}]}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}),
        json!({"type": "agent_message", "author": "a", "recipient": "b", "content": [{"type": "text", "text": "hi"}]}),
    ])
    .prop_map(response)
}

fn turn_context() -> impl Strategy<Value = RolloutItem> {
    prop::sample::select(vec![
        json!({}),
        json!({"turn_id": "other", "cwd": "/other", "model": "other", "effort": "high", "approval_policy": "never"}),
        json!({"summary": "auto", "title": "t", "preview": "p", "name": "n", "user_instructions": "hello"}),
    ])
    .prop_map(|payload| item(json!({"type": "turn_context", "payload": payload})))
}

fn some(item: impl Strategy<Value = RolloutItem>) -> impl Strategy<Value = Vec<(prop::sample::Index, RolloutItem)>> {
    prop::collection::vec((any::<prop::sample::Index>(), item), 1..12)
}

fn thread() -> impl Strategy<Value = &'static Thread> {
    any::<prop::sample::Index>().prop_map(|index| &THREADS[index.index(THREADS.len())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn world_states_change_neither_turns_nor_metadata(thread in thread(), more in some(world_state())) {
        let (lines, positions) = thread.with(&more);
        prop_assert_eq!(shown(&lines), shown(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_update(record(thread, &lines)), without_update(record(thread, &thread.lines)), "{}", thread.name
        );
        // Forks and reverts use the same positions as before.
        let recorded: Vec<usize> = (0..thread.lines.len()).collect();
        prop_assert_eq!(recorded_lines(&lines, &positions), recorded_lines(&thread.lines, &recorded), "{}", thread.name);
    }

    #[test]
    fn response_items_change_nothing_that_events_tell(
        thread in thread(), more in some(uncounted_response()), counted in some(counted_response()),
    ) {
        let more = if thread.has_rollback { more } else { [more, counted].concat() };
        let (lines, _) = thread.with(&more);
        prop_assert_eq!(contents(&lines), contents(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_first_message(record(thread, &lines)), without_first_message(record(thread, &thread.lines)),
            "{}", thread.name
        );
    }

    #[test]
    fn settings_change_only_the_fields_of_settings(thread in thread(), more in some(turn_context())) {
        let (lines, positions) = thread.with(&more);
        prop_assert_eq!(shown(&lines), shown(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_settings(record(thread, &lines)), without_settings(record(thread, &thread.lines)), "{}", thread.name
        );
        let recorded: Vec<usize> = (0..thread.lines.len()).collect();
        prop_assert_eq!(recorded_lines(&lines, &positions), recorded_lines(&thread.lines, &recorded), "{}", thread.name);
    }
}

#[test]
fn metadata_is_the_same_without_the_lines_that_the_prefilter_skips() {
    let mut skipped = 0;
    for thread in THREADS.iter() {
        // As in a reader: items of the model are skipped as soon as the first message of the user is known.
        let mut fold = MetadataFold::new(thread.id, crate::story::time(0));
        for line in &thread.lines {
            let is_known = fold.thread().first_user_message.is_some();
            let skip = if is_known { has_no_later_metadata } else { has_no_metadata };
            if skip(line.text().as_bytes()) {
                skipped += 1;
            } else {
                fold.observe_line(line);
            }
        }
        let all = without_update(record(thread, &thread.lines));
        assert_eq!(without_update(fold.into_thread()), all, "{}", thread.name);
    }
    assert!(skipped > 100, "only {skipped} lines were skipped");
}
