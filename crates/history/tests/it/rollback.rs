//! What a rollback takes away, and what it brings back: for the model and for a client.

use proptest::prelude::*;
use selvedge_history::{ModelContext, replay};
use selvedge_protocol::{RolloutItem, TurnItem};
use serde_json::json;

use crate::story::{
    agent_event, assistant, compacted, compaction_turn, complete, event, fragment, item, item_kinds, patch, projected,
    replayed, rolled_back, snapshot, started, state, texts, turn, turn_context, turn_ids, user, user_event,
};

fn model(context: &ModelContext) -> Option<&str> {
    context.turn_context.as_ref()?.model.as_deref()
}

/// Two turns with context before each and a changed world in the second.
fn two_turns() -> Vec<Vec<RolloutItem>> {
    let told = vec![started("t0"), fragment("first"), snapshot(json!({"cwd": "/a"}))];
    let changed = vec![fragment("second"), patch(json!({"cwd": "/b"}))];
    let second = [vec![started("t2")], changed, turn("t2", "q2", "a2").split_off(1)].concat();
    vec![[told, turn("t0", "q1", "a1").split_off(1)].concat(), second]
}

fn and(mut story: Vec<Vec<RolloutItem>>, more: Vec<RolloutItem>) -> Vec<Vec<RolloutItem>> {
    story.push(more);
    story
}

#[test]
fn the_newest_turn_goes_with_the_context_told_before_it() {
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
fn more_turns_than_there_are_leave_what_stood_before_the_first() {
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
fn without_a_user_message_nothing_is_cut() {
    let story = [vec![fragment("here"), assistant("hello"), snapshot(json!({"a": 1})), rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(context.history.len(), 2);
    assert_eq!(context.world_state, Some(state(json!({"a": 1}))));
}

#[test]
fn rollbacks_accumulate() {
    let one = |n: u32| turn(&format!("t{n}"), &format!("q{n}"), &format!("a{n}"));
    let story = [one(1), one(2), one(3), vec![rolled_back(1)], one(4), vec![rolled_back(2)], one(5)];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "a1", "q5", "a5"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t5"]);
    let further = replayed(&[story.concat(), vec![rolled_back(1), rolled_back(1)]]);
    assert!(further.history.is_empty());
}

#[test]
fn a_rollback_across_a_compaction_brings_back_what_that_cleared() {
    let told = vec![started("t1"), snapshot(json!({"cwd": "/a"}))];
    let first = [told, turn("t1", "q1", "a1").split_off(1)].concat();
    let again = vec![started("t3"), snapshot(json!({"cwd": "/c"}))];
    let third = [again, turn("t3", "q3", "a3").split_off(1)].concat();
    let compaction = compaction_turn("c", &["q1", "q2", "summary"], 1);
    let story = [first, turn("t2", "q2", "a2"), compaction, third, vec![rolled_back(2)]];
    let context = replayed(&story);
    // The second turn is undone, so that nothing was compacted behind it.
    assert_eq!(texts(&context), ["q1", "a1"]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/a"}))));
    assert_eq!(model(&context), Some("t1"));
    assert_eq!(context.window.number, 0);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

#[test]
fn a_compaction_that_stands_before_the_undone_turn_stays() {
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
fn a_compaction_behind_the_undone_turn_is_undone_with_it() {
    for summary in ["s", ""] {
        let left = ["q1", "q2", summary];
        let compaction = compaction_turn("c", if summary.is_empty() { &left[..2] } else { &left }, 1);
        let story = [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), compaction, vec![rolled_back(1)]];
        assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
        assert_eq!(turn_ids(&projected(&story)), ["t1"]);
        assert_eq!((model(&replayed(&story)), replayed(&story).window.number), (Some("t1"), 0));
    }
}

#[test]
fn of_two_compactions_the_one_before_the_undone_turn_stays() {
    let story = [
        turn("t1", "q1", "a1"),
        compaction_turn("c1", &["q1", "s1"], 1),
        turn("t2", "q2", "a2"),
        compaction_turn("c2", &["q1", "q2", "s2"], 2),
        turn("t3", "q3", "a3"),
    ];
    for (undone, heard, shown) in [
        (1, vec!["q1", "q2", "s2"], vec!["t1", "c1", "t2", "c2"]),
        (2, vec!["q1", "s1"], vec!["t1", "c1"]),
        (3, vec![], vec![]),
    ] {
        let story = [story.concat(), vec![rolled_back(undone)]];
        assert_eq!(texts(&replayed(&story)), heard, "{undone}");
        assert_eq!(turn_ids(&projected(&story)), shown, "{undone}");
    }
}

#[test]
fn a_compaction_is_undone_by_a_later_rollback_too() {
    // The first rollback takes the third turn back, the steering of it alone; the second one the fourth and the second.
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
    // A compaction that changes nothing any more goes on showing where no undone message stood before it.
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t2", "c", "t5"]);
}

/// A turn of the user in the middle of which the history is compacted.
fn compacted_turn(id: &str, asked: &str, left: &[&str]) -> Vec<RolloutItem> {
    vec![
        started(id),
        user(asked),
        user_event(asked),
        agent_event("half"),
        assistant("half"),
        compacted(left, 1),
        event(json!({"type": "context_compacted"})),
        agent_event("done"),
        assistant("done"),
        complete(id),
    ]
}

#[test]
fn a_compaction_in_the_middle_of_the_undone_turn_goes_with_it() {
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
fn a_compaction_at_the_beginning_of_the_undone_turn_goes_with_it() {
    let asking = turn("t2", "q2", "a2").split_off(1);
    let second = [vec![started("t2"), compacted(&["q1", "s"], 1), event(json!({"type": "context_compacted"}))], asking];
    let mut story = vec![turn("t1", "q1", "a1"), second.concat(), vec![rolled_back(1)]];
    for (heard, shown) in [(vec!["q1", "a1"], vec!["t1"]), (vec![], vec![])] {
        assert_eq!(texts(&replayed(&story)), heard);
        assert_eq!(turn_ids(&projected(&story)), shown);
        story.push(vec![rolled_back(1)]);
    }
}

#[test]
fn turns_that_a_compaction_left_out_come_back_when_it_is_undone() {
    let compaction = compaction_turn("c", &["q3", "s"], 1);
    let story =
        [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), turn("t3", "q3", "a3"), compaction, turn("t4", "q4", "a4")];
    let undone = |turns| [story.concat(), vec![rolled_back(turns)]];
    for (turns, heard, shown) in [
        (1, vec!["q3", "s"], vec!["t1", "t2", "t3", "c"]),
        (2, vec!["q1", "a1", "q2", "a2"], vec!["t1", "t2"]),
        (3, vec!["q1", "a1"], vec!["t1"]),
        (4, vec![], vec![]),
        (9, vec![], vec![]),
    ] {
        assert_eq!(texts(&replayed(&undone(turns))), heard, "{turns}");
        assert_eq!(turn_ids(&projected(&undone(turns))), shown, "{turns}");
    }
}

/// An old compaction: what is left is for the reader to find out.
fn old_compaction(summary: &str) -> RolloutItem {
    item(json!({"type": "compacted", "payload": {"message": summary}}))
}

/// A turn of early 2026, which nothing opens explicitly.
fn old_turn(asked: &str) -> Vec<RolloutItem> {
    vec![user(asked), user_event(asked), agent_event("a"), assistant("a")]
}

#[test]
fn an_old_compaction_is_undone_by_what_it_leaves() {
    let long = "q2".repeat(45_000);
    let compaction = vec![old_compaction("s"), event(json!({"type": "context_compacted"}))];
    let story = [old_turn("q1"), old_turn(&long), compaction, old_turn("q3")];
    let undone = |turns| [story.concat(), vec![rolled_back(turns)]];
    let shown = |turns| projected(&undone(turns)).iter().map(|turn| turn.items.len()).collect::<Vec<_>>();
    assert_eq!(projected(&story).iter().map(|turn| turn.items.len()).collect::<Vec<_>>(), [2, 3, 2]);
    // What the summary stands for is the compaction at the end of the second turn.
    assert_eq!((replayed(&undone(1)).history.len(), shown(1)), (2, vec![2, 3]));
    assert_eq!((replayed(&undone(2)).history.len(), shown(2)), (1, vec![2, 2]));
    // The long question was cut short and the one before it left out.
    assert_eq!((replayed(&undone(3)).history.len(), shown(3)), (0, vec![2]));
    assert_eq!(shown(4), [0; 0]);
}

#[test]
fn a_second_summary_takes_the_place_of_the_first_only_where_it_is_known_by_its_first_line() {
    let compact = |summary: &str| vec![old_compaction(summary), event(json!({"type": "context_compacted"}))];
    let known = |summary: &str| format!("{}\n{summary}", "The line of the program. ".repeat(10));
    let told = |first: &str, second: &str| [old_turn("q1"), compact(first), old_turn("q2"), compact(second)].concat();
    let kinds =
        |story: &[Vec<RolloutItem>]| projected(story).iter().map(|turn| item_kinds(turn).join(" ")).collect::<Vec<_>>();

    let unknown = vec![told("s1", "s2"), vec![rolled_back(3)]];
    assert_eq!(texts(&replayed(&unknown[..1])), ["q1", "s1", "q2", "s2"]);
    assert_eq!(texts(&replayed(&unknown)), ["q1"]);
    assert_eq!(kinds(&unknown), ["user_message agent_message"]);

    let known = vec![told(&known("s1"), &known("s2")), vec![rolled_back(2)]];
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
    // What shows is what replay keeps: the question, without the steering and what came of it.
    let turns = projected(&story);
    assert_eq!(turn_ids(&turns), ["t1", "t2"]);
    assert_eq!(item_kinds(&turns[1]), ["user_message"]);
}

#[test]
fn messages_of_other_agents_count_as_the_users() {
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
fn a_turn_that_is_undone_while_it_runs_is_gone() {
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
    assert_eq!(item_kinds(&turns[1]), ["user_message"], "the steering was in the second turn");
}

#[test]
fn turns_that_were_never_opened_explicitly_are_undone_too() {
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

/// Tells a story in few words: `3` is a turn, `3+` one that is steered, `C:q1,s` a turn that compacts and leaves these
/// messages, `2C:q1,s` one that compacts in its middle, `C2:q1,s` one that compacts before the user speaks, `O` an old compaction,
/// and `-2` a rollback.
fn in_short(story: &str) -> Vec<RolloutItem> {
    let says = |text: &str| vec![user(text), user_event(text)];
    let answers = |text: &str| vec![agent_event(text), assistant(text)];
    let asks = |n: &str| [says(&format!("q{n}")), answers(&format!("a{n}"))].concat();
    let compacts = |left: &str| vec![compacted(&left.split(',').collect::<Vec<_>>(), 1)];
    let mut told = Vec::new();
    for (number, word) in story.split_whitespace().enumerate() {
        if let Some(turns) = word.strip_prefix('-') {
            told.push(rolled_back(turns.parse().unwrap()));
            continue;
        }
        let items = match word.split_once(':') {
            Some(("C", left)) => compacts(left),
            Some((turn, left)) if turn.starts_with('C') => [compacts(left), asks(&turn[1..])].concat(),
            Some((turn, left)) => [asks(turn.trim_end_matches('C')), compacts(left), answers("more")].concat(),
            None if word == "O" => vec![old_compaction("SUM")],
            None => match word.strip_suffix('+') {
                Some(turn) => [asks(turn), says("st"), answers("ast")].concat(),
                None => asks(word),
            },
        };
        let id = format!("t{number}");
        told.extend([vec![started(&id)], items, vec![complete(&id)]].concat());
    }
    told
}

/// What 0.169 told the model of these very stories, written as files and resumed.
#[test]
fn the_model_is_told_what_the_program_tells_it() {
    for (story, heard) in [
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
        assert_eq!(texts(&replay(&in_short(story))).join(" "), heard, "{story}");
    }
}

/// A step of a story in which everything that the user says is different.
#[derive(Clone, Debug)]
enum Step {
    Turn,
    Steered,
    AgentMessage,
    /// Compacts, keeping so many of the newest messages of the user: in a turn of its own, in the middle of one of the user, or
    /// before the user speaks in it.
    Compaction(usize, When),
    OldCompaction,
    RollBack(u64),
}

#[derive(Clone, Copy, Debug)]
enum When {
    Between,
    Amid,
    Ahead,
}

fn any_step() -> impl Strategy<Value = Step> {
    let when = prop_oneof![Just(When::Between), Just(When::Amid), Just(When::Ahead)];
    prop_oneof![
        4 => Just(Step::Turn),
        1 => Just(Step::Steered),
        1 => Just(Step::AgentMessage),
        2 => (0_usize..4, when).prop_map(|(kept, when)| Step::Compaction(kept, when)),
        1 => Just(Step::OldCompaction),
        3 => (1_u64..5).prop_map(Step::RollBack),
    ]
}

/// Tells a story: its items, and what the user said that a compaction left out.
fn tell(steps: &[Step], is_explicit: bool) -> (Vec<RolloutItem>, Vec<String>) {
    let mut told = vec![fragment("here")];
    let mut left_out = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let id = format!("t{n}");
        let says = |text: String| vec![user(&text), user_event(&text)];
        let answers = || vec![agent_event("a"), assistant("a")];
        let seen = questions(&texts(&replay(&told)));
        let mut compacts = |kept: usize| {
            left_out.extend_from_slice(&seen[..seen.len().saturating_sub(kept)]);
            let kept = seen.iter().skip(seen.len().saturating_sub(kept)).cloned();
            let left: Vec<String> = kept.chain([format!("s{n}")]).collect();
            let left: Vec<&str> = left.iter().map(String::as_str).collect();
            vec![compacted(&left, 1), event(json!({"type": "context_compacted"}))]
        };
        let items = match step {
            Step::Turn => [says(format!("q{n}")), answers()].concat(),
            Step::Steered => [says(format!("q{n}")), answers(), says(format!("q{n} again")), answers()].concat(),
            Step::AgentMessage => {
                vec![item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}))]
            }
            Step::Compaction(kept, When::Between) => compacts(*kept),
            Step::Compaction(kept, When::Amid) => [says(format!("q{n}")), answers(), compacts(*kept)].concat(),
            Step::Compaction(kept, When::Ahead) => [compacts(*kept), says(format!("q{n}")), answers()].concat(),
            Step::OldCompaction => vec![old_compaction(&format!("s{n}")), event(json!({"type": "context_compacted"}))],
            Step::RollBack(turns) => vec![rolled_back(*turns)],
        };
        let is_turn = is_explicit && !matches!(step, Step::RollBack(_));
        let around = |item: RolloutItem| is_turn.then_some(item);
        told.extend(around(started(&id)).into_iter().chain(items).chain(around(complete(&id))));
        if matches!(step, Step::Compaction(_, When::Amid)) {
            left_out.push(format!("q{n}"));
        }
    }
    (told, left_out)
}

fn questions(texts: &[String]) -> Vec<String> {
    texts.iter().filter(|text| text.starts_with('q')).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_shows_is_what_replay_keeps(steps in prop::collection::vec(any_step(), 0..16), is_explicit in any::<bool>()) {
        let (told, left_out) = tell(&steps, is_explicit);
        let kept = questions(&texts(&replay(&told)));
        let turns = projected(&[told]);
        let shown: Vec<String> = turns.iter().flat_map(|turn| &turn.items).filter_map(|item| match item {
            TurnItem::UserMessage { text, .. } => Some(text.clone()),
            _ => None,
        }).collect();
        let (missing, more): (Vec<_>, Vec<_>) =
            (kept.iter().filter(|text| !shown.contains(text)).collect(), shown.iter().filter(|text| !kept.contains(text)).collect());
        prop_assert!(missing.is_empty(), "{missing:?} are kept and do not show");
        prop_assert!(more.iter().all(|text| left_out.contains(text)), "{more:?} show and are undone");
    }
}

proptest! {
    /// Without compactions an undone story reads as if it had not been told.
    #[test]
    fn undone_turns_leave_no_trace(steps in prop::collection::vec(prop_oneof![Just(0_u64), 1..4_u64], 0..20)) {
        let mut told = Vec::new();
        let mut standing: Vec<Vec<RolloutItem>> = Vec::new();
        for (number, undone) in steps.into_iter().enumerate() {
            if undone > 0 {
                told.push(vec![rolled_back(undone)]);
                standing.truncate(standing.len().saturating_sub(usize::try_from(undone).unwrap()));
            } else {
                let turn = turn(&format!("t{number}"), &format!("q{number}"), "a");
                told.push(turn.clone());
                standing.push(turn);
            }
        }
        prop_assert_eq!(replayed(&told), replayed(&standing));
        let items = |story| projected(story).into_iter().map(|turn| (turn.id, turn.items)).collect::<Vec<_>>();
        prop_assert_eq!(items(&told), items(&standing));
    }
}

#[test]
fn what_shows_of_a_steered_turn_is_what_replay_keeps() {
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
        let heard = texts(&replayed(&story)).into_iter().filter(|text| text != "a1").count();
        assert_eq!(heard, shown.iter().sum::<usize>(), "{undone}");
    }
}
