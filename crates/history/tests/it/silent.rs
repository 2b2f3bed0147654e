//! What the model sees and is told does not show: lines of it at any place of a recording leave turns and row as they are.

use std::sync::LazyLock;

use proptest::prelude::*;
use selvedge_history::{MetadataFold, has_no_metadata};
use selvedge_protocol::{ResponseItem, RolloutItem, RolloutLine, StoredThread, ThreadId, Turn};
use serde_json::{Value, json};

use crate::recordings::{self, Recorded};
use crate::story::{item, project};

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

/// The recorded threads, those of old programs among them.
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
    /// Whether turns were undone by an event: it counts messages to the model.
    has_rollback: bool,
}

impl Thread {
    fn new(name: String, id: ThreadId, lines: Vec<RolloutLine>) -> Self {
        let has_rollback = lines.iter().any(|line| line.payload().contains("thread_rolled_back"));
        Self { name, id, lines, has_rollback }
    }

    /// The lines with more of them behind the first: each of the same time and ordinal as the one before it. And where
    /// the recorded ones went.
    fn with(&self, more: &[(prop::sample::Index, RolloutItem)]) -> (Vec<RolloutLine>, Vec<usize>) {
        let mut inserted: Vec<_> = more.iter().map(|(at, item)| (at.index(self.lines.len()), item)).collect();
        inserted.sort_by_key(|(at, _)| *at);
        let (mut lines, mut places) = (Vec::new(), Vec::new());
        for (position, line) in self.lines.iter().enumerate() {
            places.push(lines.len());
            lines.push(line.clone());
            let here = inserted.iter().filter(|(at, _)| *at == position);
            let at = line.timestamp().unwrap_or_default();
            lines.extend(here.map(|(_, item)| RolloutLine::new(at, line.ordinal(), item)));
        }
        (lines, places)
    }
}

fn row(thread: &Thread, lines: &[RolloutLine]) -> StoredThread {
    let mut fold = MetadataFold::new(thread.id, crate::story::time(0));
    for line in lines {
        fold.observe_line(line);
    }
    fold.thread().clone()
}

/// What was written before the envelope has no times, and a line that has one tells when the log last grew.
fn without_update(row: StoredThread) -> StoredThread {
    StoredThread { updated_at: row.created_at, ..row }
}

/// The row without what settings of a turn say: they are told nowhere else.
fn without_settings(row: StoredThread) -> StoredThread {
    StoredThread {
        cwd: None,
        model: None,
        reasoning_effort: None,
        approval_mode: None,
        permission_profile: None,
        ..without_update(row)
    }
}

fn shown(lines: &[RolloutLine]) -> Vec<Turn> {
    project(lines).into_iter().map(|turn| Turn { lines: 0..0, item_positions: Vec::new(), ..turn }).collect()
}

/// Which recorded lines each turn has.
fn extents(lines: &[RolloutLine], places: &[usize]) -> Vec<Vec<usize>> {
    let within = |turn: &Turn| {
        let is_within = |place: &usize| turn.lines.contains(&(*place as u64));
        (0..).zip(places).filter(|(_, place)| is_within(place)).map(|(line, _)| line).collect()
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

/// Items of the model that are no message of the user, nor stand for one.
fn quiet_response() -> impl Strategy<Value = RolloutItem> {
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

/// Messages that count as the user's where turns are undone, and that show nowhere all the same.
fn loud_response() -> impl Strategy<Value = RolloutItem> {
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
    fn what_the_model_is_told_of_its_surroundings_does_not_show(thread in thread(), more in some(world_state())) {
        let (lines, places) = thread.with(&more);
        prop_assert_eq!(shown(&lines), shown(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_update(row(thread, &lines)), without_update(row(thread, &thread.lines)), "{}", thread.name
        );
        // A fork or a revert goes to the same place as before.
        let recorded: Vec<usize> = (0..thread.lines.len()).collect();
        prop_assert_eq!(extents(&lines, &places), extents(&thread.lines, &recorded), "{}", thread.name);
    }

    #[test]
    fn what_the_model_sees_does_not_show(
        thread in thread(), more in some(quiet_response()), loud in some(loud_response()),
    ) {
        let more = if thread.has_rollback { more } else { [more, loud].concat() };
        let (lines, _) = thread.with(&more);
        prop_assert_eq!(shown(&lines), shown(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_update(row(thread, &lines)), without_update(row(thread, &thread.lines)), "{}", thread.name
        );
    }

    #[test]
    fn settings_do_not_show_but_as_settings(thread in thread(), more in some(turn_context())) {
        let (lines, places) = thread.with(&more);
        prop_assert_eq!(shown(&lines), shown(&thread.lines), "{}", thread.name);
        prop_assert_eq!(
            without_settings(row(thread, &lines)), without_settings(row(thread, &thread.lines)), "{}", thread.name
        );
        let recorded: Vec<usize> = (0..thread.lines.len()).collect();
        prop_assert_eq!(extents(&lines, &places), extents(&thread.lines, &recorded), "{}", thread.name);
    }
}

#[test]
fn a_row_is_the_same_without_the_lines_that_say_no_fact() {
    let mut passed_over = 0;
    for thread in THREADS.iter() {
        let has_no_metadata = |line: &RolloutLine| has_no_metadata(line.text().as_bytes());
        let rest: Vec<RolloutLine> = thread.lines.iter().filter(|line| !has_no_metadata(line)).cloned().collect();
        passed_over += thread.lines.len() - rest.len();
        let [all, rest] = [&thread.lines, &rest].map(|lines| without_update(row(thread, lines)));
        assert_eq!(all, rest, "{}", thread.name);
    }
    assert!(passed_over > 100, "only {passed_over} lines were passed over");
}
