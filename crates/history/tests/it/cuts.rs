//! Where cuts are, and what they undo.

use selvedge_history::{
    BackwardRead, BoundarySearch, LinesBefore, ResolvedBoundary, TurnProjection, UnknownTurn, base_length,
    resolve_boundary, turns_to_boundary,
};
use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{
    HistoryMode, LineError, ResponseItem, RolloutLine, SegmentId, SessionMeta, ThreadId, Timestamp, TurnBoundary,
};
use serde_json::{Value, json};

use crate::story::{compaction_turn, complete, completed_item, lines, ordinal_lines, rolled_back, started, turn, user};

fn id(n: u8) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-0000000000{n:02x}").parse().unwrap()
}

fn second(n: i64) -> Timestamp {
    Timestamp::from_seconds(n)
}

fn head(n: u8, mode: HistoryMode) -> SessionMeta {
    SessionMeta { history_mode: Some(mode), ..SessionMeta::new(id(n), second(0)) }
}

/// A thread of three turns. In the second one the user spoke twice, and the event that shows the second message was lost; in the
/// third nobody spoke.
fn turns() -> Result<TurnProjection, LineError> {
    let event = |payload: Value| ("event_msg", payload);
    let started = |turn: &str| event(json!({"type": "task_started", "turn_id": turn}));
    let complete = |turn: &str| event(json!({"type": "task_complete", "turn_id": turn}));
    let shown = |text: &str| event(json!({"type": "user_message", "message": text}));
    let told = |text: &str| ("response_item", json!(ResponseItem::user_text(text)));
    let agent = event(json!({"type": "agent_message", "message": "an answer"}));
    let lines = [
        ("session_meta", json!({})),
        started("a"),
        shown("one"),
        complete("a"),
        started("b"),
        told("two"),
        shown("two"),
        agent,
        told("three"),
        started("c"),
        complete("c"),
        event(json!({"type": "token_count"})),
    ];
    let mut turns = TurnProjection::new();
    for (position, (kind, payload)) in (0..).zip(lines) {
        let line = json!({"timestamp": "2026-11-21T09:00:00.000Z", "type": kind, "payload": payload});
        turns.push(position, &RolloutLine::parse(&line.to_string())?);
    }
    Ok(turns)
}

#[test]
fn a_cut_tells_where_it_is_and_what_it_undoes() {
    let found = |cut| resolve_boundary(id(1), turns().unwrap(), 12, &cut).unwrap();
    let point = |position, undone_turns, undone_messages| ResolvedBoundary { position, undone_turns, undone_messages };
    assert_eq!(found(TurnBoundary::Latest), point(12, 0, 0));
    assert_eq!(found(TurnBoundary::After("c".into())), point(11, 0, 0));
    assert_eq!(found(TurnBoundary::Before("c".into())), point(9, 1, 0));
    assert_eq!(found(TurnBoundary::After("b".into())), point(9, 1, 0));
    assert_eq!(found(TurnBoundary::Before("b".into())), point(4, 2, 2));
    assert_eq!(found(TurnBoundary::Before("a".into())), point(1, 3, 3));
    assert_eq!(found(TurnBoundary::BeforeNewest(2)), point(4, 2, 2));
    let unknown = resolve_boundary(id(1), turns().unwrap(), 12, &TurnBoundary::After("z".into()));
    assert!(matches!(unknown, Err(UnknownTurn { .. })));
}

#[test]
fn headers_alone_are_no_base() {
    let header = RolloutLine::new(second(0), Some(0), &head(1, HistoryMode::Paginated).into());
    let other = RolloutLine::parse(r#"{"type":"event_msg","payload":{}}"#).unwrap();
    let lines = [header.clone(), header, other.clone(), other];
    assert_eq!([0, 1, 2, 3, 4, 9].map(|position| base_length(&lines, position)), [0, 0, 0, 3, 4, 4]);
}

/// How many of the last lines tell a cut, and the cut as they tell it; nothing when it takes the whole history.
fn told_by_end(mode: HistoryMode, lines: &[RolloutLine], cut: &TurnBoundary) -> Option<(usize, ResolvedBoundary)> {
    let mut search = BoundarySearch::new(mode, cut)?;
    let mut first = lines.len();
    for (position, line) in lines.iter().enumerate().rev() {
        first = position;
        match search.take(line) {
            BackwardRead::NeedsMore => {}
            BackwardRead::Sufficient => break,
            BackwardRead::NeedsForwardRead => return None,
        }
    }
    let tail = &lines[first..];
    let mut point = resolve_boundary(id(1), turns_to_boundary(mode, tail.iter()), tail.len() as u64, cut).ok()?;
    point.position += first as u64;
    Some((tail.len(), point))
}

fn told_by_all(lines: &[RolloutLine], cut: &TurnBoundary) -> ResolvedBoundary {
    let mut turns = TurnProjection::new();
    (0..).zip(lines).for_each(|(position, line)| turns.push(position, line));
    resolve_boundary(id(1), turns, lines.len() as u64, cut).unwrap()
}

#[test]
fn the_end_of_a_history_tells_a_cut_as_the_whole_does() {
    let story =
        || [turn("a", "one", "1"), turn("b", "two", "2"), compaction_turn("c", &["two"], 1), turn("d", "three", "3")];
    for (mode, lines) in [
        (HistoryMode::Legacy, lines(story().into_iter().flatten())),
        (HistoryMode::Paginated, ordinal_lines(story().into_iter().flatten())),
    ] {
        for (cut, read) in [
            (TurnBoundary::BeforeNewest(1), 7),
            (TurnBoundary::BeforeNewest(2), 11),
            (TurnBoundary::After("b".into()), 18),
            (TurnBoundary::Before("b".into()), 18),
            (TurnBoundary::Before("a".into()), 25),
            (TurnBoundary::BeforeNewest(9), 25),
        ] {
            let (count, told) = told_by_end(mode, &lines, &cut).unwrap();
            let all = told_by_all(&lines, &cut);
            let place = |point: ResolvedBoundary| (point.position, point.undone_turns);
            assert_eq!((count, place(told)), (read, place(all)), "{mode:?} {cut:?}");
            assert!(mode == HistoryMode::Paginated || told == all, "{cut:?}");
        }
    }
}

#[test]
fn a_late_word_on_an_earlier_turn_takes_the_way_back_to_it() {
    let late = completed_item("a", json!({"type": "AgentMessage", "id": "x", "content": []}));
    let items = [turn("a", "one", "1"), vec![started("b"), late, complete("b")]];
    let lines = ordinal_lines(items.into_iter().flatten());
    let cut = TurnBoundary::BeforeNewest(1);
    assert_eq!(told_by_end(HistoryMode::Paginated, &lines, &cut), Some((10, told_by_all(&lines, &cut))));
}

#[test]
fn some_cuts_are_told_by_the_whole_history_only() {
    assert!(BoundarySearch::new(HistoryMode::Legacy, &TurnBoundary::After("turn-2".into())).is_none());
    assert!(BoundarySearch::new(HistoryMode::Legacy, &TurnBoundary::After("turn-two".into())).is_some());
    let undone = lines([started("a"), user("one"), complete("a"), rolled_back(1)]);
    assert_eq!(told_by_end(HistoryMode::Legacy, &undone, &TurnBoundary::BeforeNewest(1)), None);
    // Of another mode than is said.
    assert_eq!(told_by_end(HistoryMode::Paginated, &undone[..1], &TurnBoundary::BeforeNewest(1)), None);
}

#[test]
fn what_goes_on_builds_on_the_last_line_that_was_counted() {
    let record = |ordinal: Option<u64>, end: u64, item| LineRecord {
        range: end - 10..end,
        number: 0,
        line: RolloutLine::new(second(0), ordinal, item),
    };
    let header = head(1, HistoryMode::Paginated).into();
    let (first, counted, uncounted) =
        (record(Some(0), 10, &header), record(Some(1), 20, &user("one")), record(None, 30, &user("two")));
    let mut forwards = LinesBefore::default();
    let mut backwards = LinesBefore::default();
    [&first, &counted, &uncounted].iter().for_each(|record| forwards.take_next(0, record));
    [&uncounted, &counted, &first].iter().for_each(|record| backwards.take_previous(0, record));
    assert_eq!(forwards, backwards);
    let segment = SegmentId::from(id(7));
    let base = forwards.base(|_| segment).unwrap();
    assert_eq!((base.thread_id, base.end_ordinal_exclusive, base.end_byte_offset), (Some(segment), Some(2), Some(20)));
    assert_eq!(forwards.place(), Some((0, 30)));
    assert!(!forwards.is_behind(0, &uncounted) && forwards.is_behind(1, &first));
    let mut heads = LinesBefore::default();
    heads.take_next(0, &first);
    assert_eq!(heads.base(|_| segment), None);
}
