//! Turn boundaries: where they are, what they undo, and how much of a history determines them.

use selvedge_history::{
    BackwardRead, BaseFinder, BoundarySearch, ResolvedBoundary, TurnProjection, UnknownTurn, base_length,
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

/// A thread with three turns. The second one has two messages of the user; the event that shows the second message is missing.
/// The third one has no message.
fn turns() -> Result<TurnProjection, LineError> {
    let event = |payload: Value| ("event_msg", payload);
    let started = |turn: &str| event(json!({"type": "task_started", "turn_id": turn}));
    let complete = |turn: &str| event(json!({"type": "task_complete", "turn_id": turn}));
    let shown = |text: &str| event(json!({"type": "user_message", "message": text}));
    let item = |text: &str| ("response_item", json!(ResponseItem::user_text(text)));
    let agent = event(json!({"type": "agent_message", "message": "an answer"}));
    let lines = [
        ("session_meta", json!({})),
        started("a"),
        shown("one"),
        complete("a"),
        started("b"),
        item("two"),
        shown("two"),
        agent,
        item("three"),
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
fn a_boundary_is_resolved_to_a_position_and_what_it_undoes() {
    let found = |boundary| resolve_boundary(id(1), turns().unwrap(), 12, &boundary).unwrap();
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
fn heads_alone_are_no_base() {
    let header = RolloutLine::new(second(0), Some(0), &head(1, HistoryMode::Paginated).into());
    let other = RolloutLine::parse(r#"{"type":"event_msg","payload":{}}"#).unwrap();
    let lines = [header.clone(), header, other.clone(), other];
    assert_eq!([0, 1, 2, 3, 4, 9].map(|position| base_length(&lines, position)), [0, 0, 0, 3, 4, 4]);
}

/// How many of the last lines determine a boundary, and the result. `None` if only the whole history does.
fn resolve_from_end(
    mode: HistoryMode,
    lines: &[RolloutLine],
    boundary: &TurnBoundary,
) -> Option<(usize, ResolvedBoundary)> {
    let mut search = BoundarySearch::new(mode, boundary)?;
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
    let mut point = resolve_boundary(id(1), turns_to_boundary(mode, tail.iter()), tail.len() as u64, boundary).ok()?;
    point.position += first as u64;
    Some((tail.len(), point))
}

fn resolve_from_start(lines: &[RolloutLine], boundary: &TurnBoundary) -> ResolvedBoundary {
    let mut turns = TurnProjection::new();
    (0..).zip(lines).for_each(|(position, line)| turns.push(position, line));
    resolve_boundary(id(1), turns, lines.len() as u64, boundary).unwrap()
}

#[test]
fn the_end_of_a_history_determines_a_boundary_as_the_whole_does() {
    let story =
        || [turn("a", "one", "1"), turn("b", "two", "2"), compaction_turn("c", &["two"], 1), turn("d", "three", "3")];
    for (mode, lines) in [
        (HistoryMode::Legacy, lines(story().into_iter().flatten())),
        (HistoryMode::Paginated, ordinal_lines(story().into_iter().flatten())),
    ] {
        for (boundary, read) in [
            (TurnBoundary::BeforeNewest(1), 7),
            // The compaction is no turn that counts in the legacy thread. The events of this story show nothing in a paginated
            // thread, so there the search cannot tell which turns count without the turns before.
            (TurnBoundary::BeforeNewest(2), if mode == HistoryMode::Legacy { 18 } else { 25 }),
            (TurnBoundary::After("b".into()), 18),
            (TurnBoundary::Before("b".into()), 18),
            (TurnBoundary::Before("a".into()), 25),
            (TurnBoundary::BeforeNewest(9), 25),
        ] {
            let (count, from_end) = resolve_from_end(mode, &lines, &boundary).unwrap();
            let all = resolve_from_start(&lines, &boundary);
            let location = |point: ResolvedBoundary| (point.position, point.undone_turns);
            assert_eq!((count, location(from_end)), (read, location(all)), "{mode:?} {boundary:?}");
            assert!(mode == HistoryMode::Paginated || from_end == all, "{boundary:?}");
        }
    }
}

#[test]
fn a_turn_that_only_compacts_is_no_turn_for_a_rewind() {
    let item = || completed_item("c", json!({"type": "ContextCompaction", "id": "x"}));
    let said = |turn: &str| completed_item(turn, json!({"type": "UserMessage", "id": turn, "content": []}));
    let said_by_agent = |turn: &str, text: &str| {
        completed_item(turn, json!({"type": "AgentMessage", "id": text, "content": [{"type": "Text", "text": text}]}))
    };
    let talk = |mode, id: &str, text: &str| match mode {
        HistoryMode::Legacy => turn(id, text, "an answer"),
        HistoryMode::Paginated => vec![started(id), said(id), said_by_agent(id, text), complete(id)],
    };
    let compacts = |mode| match mode {
        HistoryMode::Legacy => compaction_turn("c", &["two"], 1),
        // Words about another kind of item do not make it that kind.
        HistoryMode::Paginated => {
            vec![started("c"), said_by_agent("c", "\"UserMessage\""), item(), complete("c")]
        }
    };
    for mode in [HistoryMode::Legacy, HistoryMode::Paginated] {
        let story =
            [talk(mode, "a", "one"), talk(mode, "b", "two"), compacts(mode), talk(mode, "d", "three"), compacts(mode)];
        let starts: Vec<usize> =
            story.iter().scan(0, |at, turn| Some(std::mem::replace(at, *at + turn.len()))).collect();
        let items = story.into_iter().flatten();
        let lines = if mode == HistoryMode::Legacy { lines(items) } else { ordinal_lines(items) };
        for (count, kept) in [(1, 3), (2, 1), (3, 0), (9, 0)] {
            let boundary = TurnBoundary::BeforeNewest(count);
            let found = resolve_from_start(&lines, &boundary);
            assert_eq!((found.position, found.undone_turns), (starts[kept] as u64, 5 - kept), "{mode:?} {count}");
            let (_, from_end) = resolve_from_end(mode, &lines, &boundary).unwrap();
            assert_eq!(
                (from_end.position, from_end.undone_turns),
                (found.position, found.undone_turns),
                "{mode:?} {count}"
            );
        }
        let only =
            if mode == HistoryMode::Legacy { self::lines(compacts(mode)) } else { ordinal_lines(compacts(mode)) };
        let found = resolve_from_start(&only, &TurnBoundary::BeforeNewest(1));
        assert_eq!((found.position, found.undone_turns), (only.len() as u64, 0), "{mode:?}");
    }
}

#[test]
fn a_late_item_of_an_earlier_turn_needs_the_lines_back_to_that_turn() {
    let late = completed_item("a", json!({"type": "AgentMessage", "id": "x", "content": []}));
    let items = [turn("a", "one", "1"), vec![started("b"), late, complete("b")]];
    let lines = ordinal_lines(items.into_iter().flatten());
    let boundary = TurnBoundary::BeforeNewest(1);
    assert_eq!(
        resolve_from_end(HistoryMode::Paginated, &lines, &boundary),
        Some((10, resolve_from_start(&lines, &boundary)))
    );
}

#[test]
fn rollbacks_and_synthetic_turn_ids_need_a_forward_read() {
    assert!(BoundarySearch::new(HistoryMode::Legacy, &TurnBoundary::After("turn-2".into())).is_none());
    assert!(BoundarySearch::new(HistoryMode::Legacy, &TurnBoundary::After("turn-two".into())).is_some());
    let undone = lines([started("a"), user("one"), complete("a"), rolled_back(1)]);
    assert_eq!(resolve_from_end(HistoryMode::Legacy, &undone, &TurnBoundary::BeforeNewest(1)), None);
    // A line of the other history mode.
    assert_eq!(resolve_from_end(HistoryMode::Paginated, &undone[..1], &TurnBoundary::BeforeNewest(1)), None);
}

#[test]
fn a_base_ends_at_the_last_line_with_an_ordinal() {
    let record = |ordinal: Option<u64>, end: u64, item| LineRecord {
        range: end - 10..end,
        number: 0,
        line: RolloutLine::new(second(0), ordinal, item),
    };
    let header = head(1, HistoryMode::Paginated).into();
    let (first, counted, uncounted) =
        (record(Some(0), 10, &header), record(Some(1), 20, &user("one")), record(None, 30, &user("two")));
    let mut forwards = BaseFinder::default();
    let mut backwards = BaseFinder::default();
    [&first, &counted, &uncounted].iter().for_each(|record| forwards.push_back(0, record));
    [&uncounted, &counted, &first].iter().for_each(|record| backwards.push_front(0, record));
    assert_eq!(forwards, backwards);
    let segment = SegmentId::from(id(7));
    let base = forwards.base(|_| segment).unwrap();
    assert_eq!((base.thread_id, base.end_ordinal_exclusive, base.end_byte_offset), (Some(segment), Some(2), Some(20)));
    assert_eq!(forwards.end_position(), Some((0, 30)));
    assert!(!forwards.is_after_boundary(0, &uncounted) && forwards.is_after_boundary(1, &first));
    let mut heads = BaseFinder::default();
    heads.push_back(0, &first);
    assert_eq!(heads.base(|_| segment), None);
}
