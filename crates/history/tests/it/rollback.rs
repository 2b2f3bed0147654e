//! Rollbacks: what they remove and what they restore, for the model and for a client.

use proptest::prelude::*;
use selvedge_history::{ModelContext, replay};
use selvedge_protocol::{ItemContent, RolloutItem};
use serde_json::json;

use crate::story::{
    aborted, agent_event, assistant, compacted, compaction_turn, complete, event, fragment, item, item_kinds, patch,
    projected, replayed, rolled_back, snapshot, started, state, texts, turn, turn_context, turn_ids, user, user_event,
};

fn model(context: &ModelContext) -> Option<&str> {
    context.turn_context.as_ref()?.model.as_deref()
}

/// Two turns with context fragments before each, and a changed world state in the second.
fn two_turns() -> Vec<Vec<RolloutItem>> {
    let log = vec![started("t0"), fragment("first"), snapshot(json!({"cwd": "/a"}))];
    let changed = vec![fragment("second"), patch(json!({"cwd": "/b"}))];
    let second = [vec![started("t2")], changed, turn("t2", "q2", "a2").split_off(1)].concat();
    vec![[log, turn("t0", "q1", "a1").split_off(1)].concat(), second]
}

fn and(mut story: Vec<Vec<RolloutItem>>, more: Vec<RolloutItem>) -> Vec<Vec<RolloutItem>> {
    story.push(more);
    story
}

#[test]
fn a_rollback_removes_the_newest_turn_with_the_context_before_it() {
    let story = and(two_turns(), vec![rolled_back(1)]);
    let context = replayed(&story);
    let kept = texts(&context);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept[0].contains("first"));
    assert_eq!(kept[1..], ["q1", "a1"]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/a"}))));
    assert_eq!(model(&context), Some("t0"));
    assert_eq!(turn_ids(&projected(&story)), ["t0"]);
}

#[test]
fn a_rollback_of_more_turns_than_exist_keeps_what_was_before_the_first() {
    for turns in [2, 3, u64::MAX] {
        let story = and(two_turns(), vec![rolled_back(turns)]);
        let context = replayed(&story);
        let kept = texts(&context);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].contains("first"));
        assert_eq!((&context.world_state, model(&context)), (&None, None));
        assert_eq!(context.previous_settings, None);
        assert!(projected(&story).is_empty());
    }
}

#[test]
fn a_rollback_without_a_user_message_removes_nothing() {
    let story = [vec![fragment("here"), assistant("hello"), snapshot(json!({"a": 1})), rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(context.history.len(), 2);
    assert_eq!(context.world_state, Some(state(json!({"a": 1}))));
}

#[test]
fn rollbacks_add_up() {
    let one = |n: u32| turn(&format!("t{n}"), &format!("q{n}"), &format!("a{n}"));
    let story = [one(1), one(2), one(3), vec![rolled_back(1)], one(4), vec![rolled_back(2)], one(5)];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "a1", "q5", "a5"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t5"]);
    let further = replayed(&[story.concat(), vec![rolled_back(1), rolled_back(1)]]);
    assert!(further.history.is_empty());
}

#[test]
fn a_rollback_past_a_compaction_restores_what_the_compaction_cleared() {
    let log = vec![started("t1"), snapshot(json!({"cwd": "/a"}))];
    let first = [log, turn("t1", "q1", "a1").split_off(1)].concat();
    let again = vec![started("t3"), snapshot(json!({"cwd": "/c"}))];
    let third = [again, turn("t3", "q3", "a3").split_off(1)].concat();
    let compaction = compaction_turn("c", &["q1", "q2", "summary"], 1);
    let story = [first, turn("t2", "q2", "a2"), compaction, third, vec![rolled_back(2)]];
    let context = replayed(&story);
    // The second turn is undone, and the compaction after it, too.
    assert_eq!(texts(&context), ["q1", "a1"]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/a"}))));
    assert_eq!(model(&context), Some("t1"));
    assert_eq!(context.window.number, 0);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

#[test]
fn a_compaction_before_the_undone_turn_stays() {
    let story =
        [turn("t1", "q1", "a1"), compaction_turn("c", &["q1", "s"], 1), turn("t2", "q2", "a2"), vec![rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "s"]);
    assert_eq!((model(&context), context.window.number), (None, 1));
    let turns = projected(&story);
    assert_eq!(turn_ids(&turns), ["t1", "c"]);
    assert_eq!(turns[1].items.len(), 1);
}

#[test]
fn a_compaction_after_the_undone_turn_is_undone_with_it() {
    for summary in ["s", ""] {
        let kept_texts = ["q1", "q2", summary];
        let compaction = compaction_turn("c", if summary.is_empty() { &kept_texts[..2] } else { &kept_texts }, 1);
        let story = [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), compaction, vec![rolled_back(1)]];
        assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
        assert_eq!(turn_ids(&projected(&story)), ["t1"]);
        assert_eq!((model(&replayed(&story)), replayed(&story).window.number), (Some("t1"), 0));
    }
}

#[test]
fn of_two_compactions_only_the_one_after_the_undone_turn_is_undone() {
    let story = [
        turn("t1", "q1", "a1"),
        compaction_turn("c1", &["q1", "s1"], 1),
        turn("t2", "q2", "a2"),
        compaction_turn("c2", &["q1", "q2", "s2"], 2),
        turn("t3", "q3", "a3"),
    ];
    for (undone, expected, shown) in [
        (1, vec!["q1", "q2", "s2"], vec!["t1", "c1", "t2", "c2"]),
        (2, vec!["q1", "s1"], vec!["t1", "c1"]),
        (3, vec![], vec![]),
    ] {
        let story = [story.concat(), vec![rolled_back(undone)]];
        assert_eq!(texts(&replayed(&story)), expected, "{undone}");
        assert_eq!(turn_ids(&projected(&story)), shown, "{undone}");
    }
}

#[test]
fn a_later_rollback_undoes_a_compaction_too() {
    // The first rollback undoes only the steering message of the third turn, the second one the fourth turn and the second.
    let mut third = turn("t3", "q3", "a3");
    let end = third.len() - 1;
    third.splice(end..end, [user("faster"), user_event("faster"), agent_event("a"), assistant("a")]);
    let story = [
        turn("t1", "q1", "a1"),
        turn("t2", "q2", "a2"),
        compaction_turn("c", &["q1", "q2", "s"], 1),
        third,
        vec![rolled_back(1)],
        turn("t4", "q4", "a4"),
        vec![rolled_back(2)],
        turn("t5", "q5", "a5"),
    ];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1", "q2", "a2", "q5", "a5"]);
    // An undone compaction is still shown if no undone message is before it.
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t2", "c", "t5"]);
}

/// A turn of the user with a compaction in its middle.
fn compacted_turn(id: &str, asked: &str, kept_texts: &[&str]) -> Vec<RolloutItem> {
    vec![
        started(id),
        user(asked),
        user_event(asked),
        agent_event("half"),
        assistant("half"),
        compacted(kept_texts, 1),
        event(json!({"type": "context_compacted"})),
        agent_event("done"),
        assistant("done"),
        complete(id),
    ]
}

#[test]
fn a_compaction_in_the_middle_of_the_undone_turn_is_undone() {
    let story = [
        turn("t1", "q1", "a1"),
        compacted_turn("t2", "q2", &["q1", "q2", "s"]),
        vec![rolled_back(1)],
        turn("t3", "q3", "a3"),
    ];
    let context = replayed(&story[..3]);
    assert_eq!(texts(&context), ["q1", "a1"]);
    assert_eq!((model(&context), context.window.number), (Some("t1"), 0));
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t3"]);

    let story = [turn("t1", "q1", "a1"), compacted_turn("t2", "q2", &["q1", "q2", "s"]), turn("t3", "q3", "a3")];
    let story = [story.concat(), vec![rolled_back(1)]];
    assert_eq!(texts(&replayed(&story)), ["q1", "q2", "s", "done"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t2"]);
}

#[test]
fn a_compaction_at_the_beginning_of_the_undone_turn_is_undone() {
    let asking = turn("t2", "q2", "a2").split_off(1);
    let second = [vec![started("t2"), compacted(&["q1", "s"], 1), event(json!({"type": "context_compacted"}))], asking];
    let mut story = vec![turn("t1", "q1", "a1"), second.concat(), vec![rolled_back(1)]];
    for (expected, shown) in [(vec!["q1", "a1"], vec!["t1"]), (vec![], vec![])] {
        assert_eq!(texts(&replayed(&story)), expected);
        assert_eq!(turn_ids(&projected(&story)), shown);
        story.push(vec![rolled_back(1)]);
    }
}

#[test]
fn turns_that_a_compaction_dropped_return_when_it_is_undone() {
    let compaction = compaction_turn("c", &["q3", "s"], 1);
    let story =
        [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), turn("t3", "q3", "a3"), compaction, turn("t4", "q4", "a4")];
    let undone = |turns| [story.concat(), vec![rolled_back(turns)]];
    for (turns, expected, shown) in [
        (1, vec!["q3", "s"], vec!["t1", "t2", "t3", "c"]),
        (2, vec!["q1", "a1", "q2", "a2"], vec!["t1", "t2"]),
        (3, vec!["q1", "a1"], vec!["t1"]),
        (4, vec![], vec![]),
        (9, vec![], vec![]),
    ] {
        assert_eq!(texts(&replayed(&undone(turns))), expected, "{turns}");
        assert_eq!(turn_ids(&projected(&undone(turns))), shown, "{turns}");
    }
}

/// A compaction without a replacement history.
fn legacy_compaction(summary: &str) -> RolloutItem {
    item(json!({"type": "compacted", "payload": {"message": summary}}))
}

/// A turn of early 2026, which no event opens.
fn implicit_turn(asked: &str) -> Vec<RolloutItem> {
    vec![user(asked), user_event(asked), agent_event("a"), assistant("a")]
}

#[test]
fn a_rollback_counts_the_messages_that_a_legacy_compaction_retained() {
    let long = "q2".repeat(45_000);
    let compaction = vec![legacy_compaction("s"), event(json!({"type": "context_compacted"}))];
    let story = [implicit_turn("q1"), implicit_turn(&long), compaction, implicit_turn("q3")];
    let undone = |turns| [story.concat(), vec![rolled_back(turns)]];
    let shown = |turns| projected(&undone(turns)).iter().map(|turn| turn.items.len()).collect::<Vec<_>>();
    assert_eq!(projected(&story).iter().map(|turn| turn.items.len()).collect::<Vec<_>>(), [2, 3, 2]);
    // The summary belongs to the compaction at the end of the second turn.
    assert_eq!((replayed(&undone(1)).history.len(), shown(1)), (2, vec![2, 3]));
    assert_eq!((replayed(&undone(2)).history.len(), shown(2)), (1, vec![2, 2]));
    // The long question was truncated, and the one before it was dropped.
    assert_eq!((replayed(&undone(3)).history.len(), shown(3)), (0, vec![2]));
    assert_eq!(shown(4), [0; 0]);
}

#[test]
fn a_second_summary_replaces_the_first_only_if_their_first_line_identifies_them() {
    let compact = |summary: &str| vec![legacy_compaction(summary), event(json!({"type": "context_compacted"}))];
    let known = |summary: &str| format!("{}\n{summary}", "The line of the program. ".repeat(10));
    let log = |first: &str, second: &str| {
        [implicit_turn("q1"), compact(first), implicit_turn("q2"), compact(second)].concat()
    };
    let kinds =
        |story: &[Vec<RolloutItem>]| projected(story).iter().map(|turn| item_kinds(turn).join(" ")).collect::<Vec<_>>();

    let unknown = vec![log("s1", "s2"), vec![rolled_back(3)]];
    assert_eq!(texts(&replayed(&unknown[..1])), ["q1", "s1", "q2", "s2"]);
    assert_eq!(texts(&replayed(&unknown)), ["q1"]);
    assert_eq!(kinds(&unknown), ["user_message agent_message"]);

    let known = vec![log(&known("s1"), &known("s2")), vec![rolled_back(2)]];
    assert_eq!(texts(&replayed(&known[..1])).len(), 3);
    assert_eq!(texts(&replayed(&known)), ["q1"]);
    assert_eq!(kinds(&known), ["user_message agent_message context_compaction"]);
}

#[test]
fn steering_messages_are_one_turn_but_several_messages() {
    let steered = vec![
        started("t2"),
        turn_context("t2", "t2"),
        user("q2"),
        user_event("q2"),
        user("faster"),
        user_event("faster"),
        assistant("a2"),
        complete("t2"),
    ];
    let story = [turn("t1", "q1", "a1"), steered, vec![rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "a1", "q2"]);
    assert_eq!(model(&context), Some("t1"));
    // A client sees what replay keeps: the question, without the steering message and what followed it.
    let turns = projected(&story);
    assert_eq!(turn_ids(&turns), ["t1", "t2"]);
    assert_eq!(item_kinds(&turns[1]), ["user_message"]);
}

#[test]
fn messages_of_other_agents_count_as_messages_of_the_user() {
    let message = item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}));
    let story = [turn("t1", "q1", "a1"), vec![started("t2"), message, assistant("a2"), complete("t2"), rolled_back(1)]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

#[test]
fn a_message_of_another_agent_between_turns_is_undone_alone() {
    let message = item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}));
    let answer = vec![started("t2"), agent_event("a2"), assistant("a2"), complete("t2")];
    let story = [turn("t1", "q1", "a1"), vec![message], answer, vec![rolled_back(1)]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
    let story = [story.concat(), vec![rolled_back(1)]];
    assert!(replayed(&story).history.is_empty());
    assert!(projected(&story).is_empty());
}

#[test]
fn a_running_turn_can_be_undone() {
    let running = vec![started("t2"), turn_context("t2", "t2"), user("q2"), user_event("q2"), assistant("half")];
    let story = [turn("t1", "q1", "a1"), running, vec![rolled_back(1)], turn("t3", "q3", "a3")];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1", "q3", "a3"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t3"]);
}

#[test]
fn a_late_end_of_an_earlier_turn_does_not_end_the_open_one() {
    let open = vec![started("t2"), user("q2"), user_event("q2"), complete("t1"), user("faster"), user_event("faster")];
    let story = [turn("t1", "q1", "a1"), open, vec![complete("t2"), rolled_back(1)]];
    assert_eq!(model(&replayed(&story)), Some("t1"));
    let turns = projected(&story);
    assert_eq!(item_kinds(&turns[1]), ["user_message"], "the steering message was in the second turn");
}

#[test]
fn implicit_turns_are_undone_too() {
    let old = |n: u32| {
        vec![user(&format!("q{n}")), user_event(&format!("q{n}")), turn_context("", &format!("m{n}")), assistant("a")]
    };
    let story = [vec![fragment("here")], old(1), old(2), vec![rolled_back(1)], old(3)];
    let context = replayed(&story);
    assert_eq!(texts(&context)[1..], ["q1", "a", "q3", "a"]);
    assert_eq!(model(&context), Some("m3"));
    assert_eq!(turn_ids(&projected(&story)), ["turn-1", "turn-2"]);
    assert_eq!(model(&replayed(&story[..4])), Some("m1"));
}

#[test]
fn an_event_without_a_count_undoes_nothing() {
    let story = [turn("t1", "q1", "a1"), vec![event(json!({"type": "thread_rolled_back"}))]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

/// Parses the short form of a story: `3` is a turn, `3+` one with a steering message, `C:q1,s` a compaction turn that keeps these
/// messages, `2C:q1,s` a turn with a compaction in its middle, `C2:q1,s` one with a compaction before its message, `O` a legacy
/// compaction, and `-2` a rollback.
fn parse_story(story: &str) -> Vec<RolloutItem> {
    let message = |text: &str| vec![user(text), user_event(text)];
    let answer = |text: &str| vec![agent_event(text), assistant(text)];
    let exchange = |n: &str| [message(&format!("q{n}")), answer(&format!("a{n}"))].concat();
    let compaction = |kept_texts: &str| vec![compacted(&kept_texts.split(',').collect::<Vec<_>>(), 1)];
    let mut log = Vec::new();
    for (number, word) in story.split_whitespace().enumerate() {
        if let Some(turns) = word.strip_prefix('-') {
            log.push(rolled_back(turns.parse().unwrap()));
            continue;
        }
        let items = match word.split_once(':') {
            Some(("C", kept_texts)) => compaction(kept_texts),
            Some((turn, kept_texts)) if turn.starts_with('C') => {
                [compaction(kept_texts), exchange(&turn[1..])].concat()
            }
            Some((turn, kept_texts)) => {
                [exchange(turn.trim_end_matches('C')), compaction(kept_texts), answer("more")].concat()
            }
            None if word == "O" => vec![legacy_compaction("SUM")],
            None => match word.strip_suffix('+') {
                Some(turn) => [exchange(turn), message("st"), answer("ast")].concat(),
                None => exchange(word),
            },
        };
        let id = format!("t{number}");
        log.extend([vec![started(&id)], items, vec![complete(&id)]].concat());
    }
    log
}

/// Release 0.169 resumed files with these stories; the expected texts are what it gave the model.
#[test]
fn replay_equals_the_model_input_of_release_0_169() {
    for (story, expected) in [
        ("1 2 C:q1,q2,s 3 -2 4", "q1 a1 q4 a4"),
        ("1 2+ C:q1,q2,st,s 3 -2 4", "q1 a1 q2 a2 q4 a4"),
        ("1 2+ -1 4", "q1 a1 q2 a2 q4 a4"),
        ("1 2C:q1,q2,s -1 4", "q1 a1 q4 a4"),
        ("1 2C:q1,q2,s 3 -1 4", "q1 q2 s more q4 a4"),
        ("1 2 C:q1,q2,s -1 4", "q1 a1 q4 a4"),
        ("1 C:q1,s1 2 C:q1,q2,s2 3 -2 4", "q1 s1 q4 a4"),
        ("1 C:q1,s1 2 C:q1,q2,s2 3 -3 4", "q4 a4"),
        ("1 2 O 3 -2 4", "q1 q2 q4 a4"),
        ("1 2 O 3 -1 4", "q1 q2 SUM q4 a4"),
        ("1 2 C:q1,q2,s 3 -9 4", "q4 a4"),
        ("1 2 C:q1,q2,s 3+ -1 5 -2 4", "q1 a1 q2 a2 q4 a4"),
        ("1 2 C:q1,q2,s 3+ -1 -1 4", "q1 a1 q2 a2 q4 a4"),
        ("1 C2:q1,s -1 4", "q1 a1 q4 a4"),
        ("1 2 C:q1,q2,s 3 -2 4 C:q1,q4,s4 5", "q1 q4 s4 q5 a5"),
        ("1 2 C:q1,q2,s 3 -2 4 C:q1,q4,s4 5 -3 6", "q6 a6"),
        ("1 2 C:q1,q2 -1 4", "q1 a1 q4 a4"),
        ("1 O 2 C:q1,q2,s2 3 -2 4", "q1 SUM q4 a4"),
    ] {
        assert_eq!(texts(&replay(&parse_story(story))).join(" "), expected, "{story}");
    }
}

/// A step of a story in which all messages of the user differ.
#[derive(Clone, Debug)]
enum Step {
    Turn,
    Steered,
    AgentMessage,
    /// A compaction that keeps so many of the newest messages of the user: in a turn of its own, in the middle of a turn of the
    /// user, or before its message.
    Compaction(usize, CompactionLocation),
    LegacyCompaction,
    RollBack(u64),
}

#[derive(Clone, Copy, Debug)]
enum CompactionLocation {
    Alone,
    Middle,
    Start,
}

fn any_step() -> impl Strategy<Value = Step> {
    let location =
        prop_oneof![Just(CompactionLocation::Alone), Just(CompactionLocation::Middle), Just(CompactionLocation::Start)];
    prop_oneof![
        4 => Just(Step::Turn),
        1 => Just(Step::Steered),
        1 => Just(Step::AgentMessage),
        2 => (0_usize..4, location).prop_map(|(kept, location)| Step::Compaction(kept, location)),
        1 => Just(Step::LegacyCompaction),
        3 => (1_u64..5).prop_map(Step::RollBack),
    ]
}

/// Returns the items of a story, and the messages of the user that compactions dropped.
fn items_and_dropped(steps: &[Step], is_explicit: bool) -> (Vec<RolloutItem>, Vec<String>) {
    let mut log = vec![fragment("here")];
    let mut dropped = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let id = format!("t{n}");
        let message = |text: String| vec![user(&text), user_event(&text)];
        let answer = || vec![agent_event("a"), assistant("a")];
        let seen = questions(&texts(&replay(&log)));
        let mut compaction = |kept: usize| {
            dropped.extend_from_slice(&seen[..seen.len().saturating_sub(kept)]);
            let kept = seen.iter().skip(seen.len().saturating_sub(kept)).cloned();
            let kept_texts: Vec<String> = kept.chain([format!("s{n}")]).collect();
            let kept_texts: Vec<&str> = kept_texts.iter().map(String::as_str).collect();
            vec![compacted(&kept_texts, 1), event(json!({"type": "context_compacted"}))]
        };
        let items = match step {
            Step::Turn => [message(format!("q{n}")), answer()].concat(),
            Step::Steered => [message(format!("q{n}")), answer(), message(format!("q{n} again")), answer()].concat(),
            Step::AgentMessage => {
                vec![item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}))]
            }
            Step::Compaction(kept, CompactionLocation::Alone) => compaction(*kept),
            Step::Compaction(kept, CompactionLocation::Middle) => {
                [message(format!("q{n}")), answer(), compaction(*kept)].concat()
            }
            Step::Compaction(kept, CompactionLocation::Start) => {
                [compaction(*kept), message(format!("q{n}")), answer()].concat()
            }
            Step::LegacyCompaction => {
                vec![legacy_compaction(&format!("s{n}")), event(json!({"type": "context_compacted"}))]
            }
            Step::RollBack(turns) => vec![rolled_back(*turns)],
        };
        let is_turn = is_explicit && !matches!(step, Step::RollBack(_));
        let around = |item: RolloutItem| is_turn.then_some(item);
        log.extend(around(started(&id)).into_iter().chain(items).chain(around(complete(&id))));
        if matches!(step, Step::Compaction(_, CompactionLocation::Middle)) {
            dropped.push(format!("q{n}"));
        }
    }
    (log, dropped)
}

fn questions(texts: &[String]) -> Vec<String> {
    texts.iter().filter(|text| text.starts_with('q')).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_client_sees_the_messages_that_replay_keeps(steps in prop::collection::vec(any_step(), 0..16), is_explicit in any::<bool>()) {
        let (log, dropped) = items_and_dropped(&steps, is_explicit);
        let kept = questions(&texts(&replay(&log)));
        let turns = projected(&[log]);
        let shown: Vec<String> = turns.iter().flat_map(|turn| &turn.items).filter_map(|item| match &item.content {
            ItemContent::UserMessage { text, .. } => Some(text.clone()),
            _ => None,
        }).collect();
        let (missing, more): (Vec<_>, Vec<_>) =
            (kept.iter().filter(|text| !shown.contains(text)).collect(), shown.iter().filter(|text| !kept.contains(text)).collect());
        prop_assert!(missing.is_empty(), "{missing:?} are kept and not shown");
        prop_assert!(more.iter().all(|text| dropped.contains(text)), "{more:?} are shown and undone");
    }
}

proptest! {
    /// Without compactions, a story with undone turns equals one without these turns.
    #[test]
    fn undone_turns_leave_no_trace(steps in prop::collection::vec(prop_oneof![Just(0_u64), 1..4_u64], 0..20)) {
        let mut log = Vec::new();
        let mut remaining: Vec<Vec<RolloutItem>> = Vec::new();
        for (number, undone) in steps.into_iter().enumerate() {
            if undone > 0 {
                log.push(vec![rolled_back(undone)]);
                remaining.truncate(remaining.len().saturating_sub(usize::try_from(undone).unwrap()));
            } else {
                let turn = turn(&format!("t{number}"), &format!("q{number}"), "a");
                log.push(turn.clone());
                remaining.push(turn);
            }
        }
        prop_assert_eq!(replayed(&log), replayed(&remaining));
        let items = |story| projected(story).into_iter().map(|turn| (turn.id, turn.items)).collect::<Vec<_>>();
        prop_assert_eq!(items(&log), items(&remaining));
    }
}

#[test]
fn a_client_sees_the_steering_messages_that_replay_keeps() {
    let steered = || {
        vec![
            started("t2"),
            user("one"),
            user_event("one"),
            user("two"),
            user_event("two"),
            agent_event("done"),
            complete("t2"),
        ]
    };
    for (undone, shown) in [(1, vec![1, 1]), (2, vec![1]), (3, vec![])] {
        let story = [turn("t1", "q1", "a1"), steered(), vec![rolled_back(undone)]];
        let turns = projected(&story);
        let users = turns.iter().map(|turn| turn.items.iter().filter(|item| item.kind() == "user_message").count());
        assert_eq!(users.collect::<Vec<_>>(), shown, "{undone}");
        let expected = texts(&replayed(&story)).into_iter().filter(|text| text != "a1").count();
        assert_eq!(expected, shown.iter().sum::<usize>(), "{undone}");
    }
}

#[test]
fn a_rollback_of_more_turns_than_the_user_has_removes_turns_that_were_interrupted_before_their_message() {
    let empty = |id: &str| vec![started(id), aborted(id)];
    let one = || turn("t1", "q1", "a1");
    let shown =
        |story: &[Vec<RolloutItem>]| turn_ids(&projected(story)).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(shown(&[empty("e"), vec![rolled_back(1)]]), [""; 0]);
    assert_eq!(shown(&[one(), vec![rolled_back(1)], empty("e"), vec![rolled_back(1)]]), [""; 0]);
    assert_eq!(shown(&[empty("e"), one(), vec![rolled_back(2)]]), [""; 0]);
    assert_eq!(shown(&[empty("e1"), empty("e2"), one(), vec![rolled_back(2)]]), ["e1"]);
    // Codex 0.169 and 0.171 keep these, too.
    assert_eq!(shown(&[empty("e"), one(), vec![rolled_back(1)]]), ["e"]);
    assert_eq!(shown(&[one(), empty("e"), turn("t2", "q2", "a2"), vec![rolled_back(1)]]), ["t1", "e"]);
    // A turn that shows something was not undone, so the model still has it.
    let answering = vec![started("c"), agent_event("a"), complete("c")];
    assert_eq!(shown(&[answering, empty("e"), vec![rolled_back(3)]]), ["c"]);
}
