//! What happened in a thread: how counts of tokens are read, which lines are copies, and which model and time a turn has.

use std::path::Path;

use selvedge_history::{ActivityFold, ThreadActivity};
use selvedge_protocol::{RolloutLine, ThreadId, Timestamp, TurnId};
use serde_json::{Value, json};

/// The thread of the tests. It was created at [`START`].
const THREAD: &str = "01a0f8f2-1000-7000-8000-000000000001";
const SOURCE: &str = "01a0f000-0000-7000-8000-000000000002";
const START: &str = "2026-10-07T10:00:00.000Z";

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_millis(start().as_millis() + 1000 * count)
}

fn id(text: &str) -> ThreadId {
    text.parse().unwrap()
}

/// Returns a line, written so many seconds after the thread was created.
fn at(second: i64, kind: &str, payload: &Value) -> String {
    json!({"timestamp": seconds(second), "type": kind, "payload": payload}).to_string()
}

fn event(second: i64, payload: &Value) -> String {
    at(second, "event_msg", payload)
}

/// Returns the head of the thread, with more fields.
fn head(more: &Value) -> String {
    let mut head = json!({"id": THREAD, "timestamp": START});
    head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    at(0, "session_meta", &head)
}

fn source_head(second: i64) -> String {
    at(second, "session_meta", &json!({"id": SOURCE, "timestamp": "2026-10-06T10:00:00.000Z"}))
}

fn usage(tokens: u64) -> Value {
    json!({"input_tokens": tokens, "cached_input_tokens": 0, "output_tokens": 1, "reasoning_output_tokens": 0, "total_tokens": tokens + 1})
}

/// Returns a count. The total counts `responses` responses, which read `total` tokens.
fn count(second: i64, total: u64, responses: u64, last: Option<u64>) -> String {
    let mut sum = usage(total);
    sum["output_tokens"] = responses.into();
    sum["total_tokens"] = (total + responses).into();
    let info = json!({"total_token_usage": sum, "last_token_usage": last.map(usage), "model_context_window": 1000});
    event(second, &json!({"type": "token_count", "info": info}))
}

fn started(second: i64, turn_id: &str) -> String {
    event(second, &json!({"type": "task_started", "turn_id": turn_id}))
}

/// Returns the id of a turn that began so many seconds after the thread was created.
fn turn_at(second: i64) -> String {
    let millis = seconds(second).as_millis();
    format!("{:08x}-{:04x}-7000-8000-00000000000{}", millis >> 16, millis & 0xffff, second.rem_euclid(10))
}

/// Folds the lines of the only segment of the thread.
fn fold(lines: &[String]) -> ThreadActivity {
    let mut fold = ActivityFold::new(id(THREAD), start(), 1);
    let mut end = 0;
    for line in lines {
        end += line.len() as u64 + 1;
        fold.observe(&RolloutLine::parse(line).unwrap(), end);
    }
    fold.finish().0
}

/// Returns turns and tokens.
fn sums(lines: &[String]) -> (u64, u64) {
    let total = fold(lines).total();
    (total.turns, total.total_tokens)
}

/// Returns the tokens that the counts of a thread say.
fn tokens(counts: &[String]) -> u64 {
    sums(&[&[head(&json!({}))][..], counts].concat()).1
}

#[test]
fn a_count_is_read_with_those_before_it() {
    assert_eq!(tokens(&[count(1, 100, 1, Some(100)), count(2, 100, 1, Some(100))]), 101, "repeated");
    let out_of_turn = [count(1, 100, 1, Some(100)), count(2, 300, 2, Some(200)), count(3, 100, 1, Some(100))];
    assert_eq!(tokens(&out_of_turn), 302, "an older count is repeated");
    // The second process counts from 0 and reads more than the first one did.
    assert_eq!(tokens(&[count(1, 100, 1, Some(100)), count(2, 500, 1, Some(500))]), 602, "restarted at a larger count");
    assert_eq!(tokens(&[count(1, 500, 1, None), count(2, 100, 1, None)]), 602, "restarted, without a last count");
    assert_eq!(tokens(&[count(1, 100, 1, Some(100)), count(2, 900, 3, Some(200))]), 903, "a count is missing");
    // Two processes write the same file. Both begin after the first count.
    let both = [
        count(1, 100, 1, Some(100)),
        count(2, 300, 2, Some(200)),
        count(3, 110, 2, Some(10)),
        count(4, 330, 3, Some(30)),
        count(5, 150, 3, Some(40)),
    ];
    assert_eq!(tokens(&both), 101 + 201 + 11 + 31 + 41, "two writers");
}

#[test]
fn a_full_window_costs_nothing() {
    let zero = |total: u64| json!({"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0, "reasoning_output_tokens": 0, "total_tokens": total});
    let filled = |second, last| {
        let info =
            json!({"total_token_usage": zero(1000), "last_token_usage": zero(last), "model_context_window": 1000});
        event(second, &json!({"type": "token_count", "info": info}))
    };
    // The total was below the window, and the last count is the difference.
    assert_eq!(tokens(&[count(1, 100, 1, Some(100)), filled(2, 899)]), 101);
    let info = json!({"total_token_usage": {"input_tokens": 50, "cached_input_tokens": 0, "output_tokens": 1, "reasoning_output_tokens": 0, "total_tokens": 1051}});
    let goes_on = event(3, &json!({"type": "token_count", "info": info}));
    assert_eq!(tokens(&[count(1, 5000, 1, Some(5000)), filled(2, 0), goes_on]), 5001 + 51);
    // After a compaction, the last count is the size of the context.
    let info = json!({"last_token_usage": zero(400)});
    assert_eq!(tokens(&[event(1, &json!({"type": "token_count", "info": info}))]), 0);
}

#[test]
fn a_last_count_without_total_counts_once() {
    let lone =
        |second, tokens| event(second, &json!({"type": "token_count", "info": {"last_token_usage": usage(tokens)}}));
    let answer = at(2, "response_item", &json!({"type": "message", "role": "assistant", "content": []}));
    assert_eq!(tokens(&[lone(1, 100), lone(2, 100)]), 101, "repeated");
    assert_eq!(tokens(&[lone(1, 100), answer, lone(2, 100)]), 202, "another response");
    assert_eq!(tokens(&[lone(1, 100), lone(2, 200)]), 302);
}

#[test]
fn a_record_and_its_event_count_once() {
    let record = |second, total: u64, responses: u64, last| {
        let mut sum = usage(total);
        sum["output_tokens"] = responses.into();
        sum["total_tokens"] = (total + responses).into();
        at(second, "token_usage_record", &json!({"thread_id": THREAD, "usage": usage(last), "thread_token_usage": sum}))
    };
    assert_eq!(tokens(&[record(1, 100, 1, 100), count(2, 100, 1, Some(100))]), 101);
    assert_eq!(tokens(&[count(1, 100, 1, Some(100)), record(2, 100, 1, 100)]), 101);
    assert_eq!(tokens(&[record(1, 100, 1, 100)]), 101, "the program was killed before it wrote the event");
    // The two can count from different totals, for example after an overflow.
    let counts = [
        record(1, 100, 1, 100),
        count(1, 100, 1, Some(100)),
        record(2, 200, 2, 100),
        count(2, 700, 1, Some(100)),
        record(3, 400, 3, 200),
        count(3, 900, 2, Some(200)),
    ];
    assert_eq!(tokens(&counts), 101 + 101 + 201);
    let other = record(1, 100, 1, 100).replace(THREAD, SOURCE);
    assert_eq!(tokens(&[other]), 0, "a record names the thread that spent the tokens");
}

#[test]
fn numbers_end_where_they_have_to() {
    assert_eq!(tokens(&[count(1, u64::MAX - 1, 1, None), count(2, 100, 1, Some(100))]), u64::MAX);
    for info in
        [json!(7), json!([]), json!({"total_token_usage": 7}), json!({"total_token_usage": {"input_tokens": -1}})]
    {
        assert_eq!(tokens(&[event(1, &json!({"type": "token_count", "info": info}))]), 0, "{info}");
    }
}

/// The lines that a fork has from its source: two turns of 101 tokens each. `second` is when they were written.
fn copies(second: i64, turn_ids: [&str; 2]) -> Vec<String> {
    vec![
        source_head(second),
        started(second, turn_ids[0]),
        count(second, 100, 1, Some(100)),
        started(second, turn_ids[1]),
        count(second, 200, 2, Some(100)),
    ]
}

#[test]
fn copies_of_a_fork_are_not_counted() {
    let fork = head(&json!({"forked_from_id": SOURCE}));
    let own = |second: i64, turn_id: &str| vec![started(second, turn_id), count(second, 250, 3, Some(50))];
    let (old, older) = (turn_at(-60), turn_at(-90));
    // Newer programs: the ids of turns say it, also if the first own turn follows immediately.
    let lines = [vec![fork.clone()], copies(0, [&older, &old]), own(0, &turn_at(0))].concat();
    assert_eq!(sums(&lines), (1, 51), "by the ids of turns");
    // Large forks take their time. The ids say that the copies go on.
    let mut slow = lines.clone();
    slow[3] = count(30, 100, 1, Some(100));
    assert_eq!(sums(&slow), (1, 51), "a pause in a turn that is known to be copied");
    // Other ids: the pause says it.
    let lines = [vec![fork.clone()], copies(0, ["one", "two"]), own(5, "three")].concat();
    assert_eq!(sums(&lines), (1, 51), "by the pause");
    // Copies with their old times.
    let lines = [vec![fork.clone()], copies(-100, ["one", "two"]), own(5, "three")].concat();
    assert_eq!(sums(&lines), (1, 51), "by their times");
    // An id of the future is no help.
    let lines =
        [vec![fork.clone()], copies(0, [&turn_at(90_000), &turn_at(90_001)]), own(5, &turn_at(99_000))].concat();
    assert_eq!(sums(&lines), (1, 51), "by the pause, because the ids are wrong");
    // A migration removes the head of the source.
    let lines = [vec![fork.clone()], copies(0, [&older, &old])[1..].to_vec(), own(0, &turn_at(0))].concat();
    assert_eq!(sums(&lines), (1, 51), "without the head of the source");
    // It also leaves counts out: the first total of the fork knows them, and they were spent in the source.
    let lines = [vec![fork], copies(0, [&older, &old])[1..3].to_vec(), own(0, &turn_at(0))].concat();
    assert_eq!(sums(&lines), (1, 51), "the step of the total is not the fork's own");
}

#[test]
fn a_fork_by_selvedge_says_how_many_bytes_are_copied() {
    let copies = copies(0, ["one", "two"]);
    let bytes: usize = copies.iter().map(|line| line.len() + 1).sum();
    let fork = head(&json!({"forked_from_id": SOURCE, "copied_bytes": bytes}));
    let own = vec![started(0, "three"), count(0, 250, 3, Some(50))];
    assert_eq!(sums(&[vec![fork], copies, own].concat()), (1, 51));
}

#[test]
fn a_thread_without_copies_counts_all() {
    let own = vec![started(1, &turn_at(1)), count(1, 100, 1, Some(100))];
    for more in [json!({}), json!({"parent_thread_id": SOURCE}), json!({"forked_from_id": SOURCE})] {
        assert_eq!(sums(&[vec![head(&more)], own.clone()].concat()), (1, 101), "{more}");
    }
    // A wrong clock makes no copies of lines of a thread that is no fork.
    let early = vec![started(-9000, "one"), count(-9000, 100, 1, Some(100))];
    assert_eq!(sums(&[vec![head(&json!({}))], early].concat()), (1, 101));
    // A file under another name is still the thread's.
    let renamed = head(&json!({})).replace(THREAD, SOURCE);
    assert_eq!(sums(&[vec![renamed], own].concat()), (1, 101));
}

#[test]
fn turns_have_the_model_and_the_time_at_which_they_ran() {
    let context = |second, model: &str| at(second, "turn_context", &json!({"model": model}));
    let lines = [
        head(&json!({})),
        started(1, "one"),
        context(2, "a"),
        count(3, 100, 1, Some(100)),
        // The model is named after the turn has begun.
        started(901, "two"),
        context(902, "b"),
        count(1801, 200, 2, Some(100)),
    ];
    let activity = fold(&lines);
    let entries: Vec<_> = activity
        .entries()
        .map(|entry| {
            let after = (entry.at.as_millis() - start().as_millis()) / 1000;
            (after, entry.model.unwrap_or("none"), entry.counts.turns, entry.counts.total_tokens)
        })
        .collect();
    assert_eq!(entries, [(0, "a", 1, 101), (900, "b", 1, 0), (1800, "b", 0, 101)]);
}

#[test]
fn messages_begin_turns_where_no_event_does() {
    let item = |role: &str, text: &str| {
        at(
            1,
            "response_item",
            &json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}),
        )
    };
    let shown = |text: &str| event(1, &json!({"type": "user_message", "message": text}));
    let context = item("user", "<environment_context>\n</environment_context>");
    let turns = |lines: &[String]| sums(&[&[head(&json!({}))][..], lines].concat()).0;
    assert_eq!(
        turns(&[
            context,
            item("user", "one"),
            shown("one"),
            item("assistant", "yes"),
            item("user", "two"),
            shown("two")
        ]),
        2
    );
    assert_eq!(
        turns(&[shown("one"), item("user", "one"), item("assistant", "yes"), shown("two"), item("user", "two")]),
        2
    );
    assert_eq!(turns(&[item("user", "one"), item("assistant", "yes"), item("user", "two")]), 2);
    let steered =
        [started(1, "one"), item("user", "one"), shown("one"), item("user", "two"), shown("two"), started(2, "one")];
    assert_eq!(turns(&steered), 1);
}

#[test]
fn a_fold_goes_on_where_it_ended() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let mut files = Vec::new();
    collect(&samples, &mut files);
    let mut resumed = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<(RolloutLine, u64)> = text
            .split_inclusive('\n')
            .scan(0, |end, line| {
                *end += line.len() as u64;
                Some((RolloutLine::parse(line).ok(), *end))
            })
            .filter_map(|(line, end)| Some((line?, end)))
            .collect();
        let mut whole = ActivityFold::new(id(THREAD), start(), 1);
        lines.iter().for_each(|(line, end)| whole.observe(line, *end));
        let whole = whole.finish();
        // Every line goes through what an index stores.
        let mut parts = ActivityFold::new(id(THREAD), start(), 1);
        for (line, end) in &lines {
            parts.observe(line, *end);
            let (activity, state) = parts.finish();
            let activity = serde_json::from_str(&serde_json::to_string(&activity).unwrap()).unwrap();
            let state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            parts = ActivityFold::resume(id(THREAD), activity, state);
        }
        assert_eq!(parts.finish(), whole, "{}", file.display());
        resumed += usize::from(!lines.is_empty());
    }
    assert!(resumed > 100, "{resumed} files");
    assert!(TurnId::from(turn_at(5).as_str()).made_at() == Some(seconds(5)), "the ids of the tests have times");
}

/// Collects the rollouts below a folder.
fn collect(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
}
